// Supervise, route, authorise, execute, deliver: one poll loop over frames. It holds no feature.
//
// - A client (a person's terminal) says something: stored, then acknowledged; then one turn process
//   per session works on it. What is said while that runs is handed to it at its next step.
// - A turn asks for a tool: authorised by `policy`, written down as started, run in the cell,
//   written down as done, answered. The turn process never runs anything itself.
// - Every frame of both is checked as if its sender were hostile; one that breaks the protocol is
//   cut off, and its turn fails with a sentence.
// Never parses SSE, TLS, HTML or Markdown.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agents.h"
#include "cell.h"
#include "frame_port.h"
#include "loop.h"
#include "store.h"
#include "turn_process.h"

namespace peacrab {

struct WardenOptions {
    std::string state;  // folder for warden.db and agents/<name>/
    Durability durability = Durability::PowerLoss;
    CellOptions cell;  // `agent`, `slot` and `folder` are filled in per agent
    Agents agents;  // who there is at the start
    // Where the ids of turn processes begin; needs root. The agent in slot n has the n-th after them,
    // so that one turn process cannot read another agent's journals. Nothing: our own (posture shared).
    std::optional<Ids> turn_ids;
    // A fresh connected model stream for an agent's session. Absent: the turn process connects by
    // itself, with the key.
    std::function<UniqueFd(const std::string& agent, const std::string& session)> open_model;
    // A fresh stream to what searches the web for an agent (protocols/search_api).
    std::function<UniqueFd(const std::string& agent)> open_search;
    // A cell is there, or about to go. `listener` is its Cell::proxy() (not owned, good until
    // cell_gone): whoever connects to it is a process of that cell, whatever it says. Absent: nobody
    // accepts, and nothing of a cell gets out.
    std::function<void(const std::string& agent, int listener)> cell_here;
    std::function<void(const std::string& agent)> cell_gone;
    // Bounds what an agent's turns add to its journals, and says how much of theirs the warden may write
    // down in one turn, as the disk is now; throws Error.
    std::function<Bytes(const std::string& sessions, uint32_t slot)> hold_journals =
        [](const std::string&, uint32_t) { return MiB(256); };
    // What an agent's model is told of its skills, asked at each turn's start. Absent: nothing.
    std::function<std::string(const AgentSettings& agent)> skills;
    std::function<struct HookSet()> hooks;  // what is run around calls (wardens/hooks.h); absent: nothing
    ModelSettings model;
    std::string base_url;
    Secret key;  // only where open_model is absent
    std::shared_ptr<BegunTurn> begun;  // for the first turn of its agent; only without turn_ids
    // What to do with turns that are marked as running: they are the last warden's, unless others
    // may be at work on the same store.
    enum class Recovery { Report, Leave } recovery = Recovery::Report;
};

struct Spending;

class Warden {
  public:
    // Opens the store, and reports every turn that was running when the last warden ended as
    // interrupted, with the calls that were started and not finished.
    Warden(Loop& loop, WardenOptions options);
    ~Warden();

    // Clients. `send` takes whole frame lines; `drop` is called when the client is to be cut off
    // (never from inside connect or receive's caller's destructor; disconnect() need not follow).
    // Both may call disconnect().
    using ClientId = uint64_t;
    struct ClientEnd {
        std::function<void(std::string_view line)> send;
        std::function<void(const std::string& why)> drop;
    };
    ClientId connect(ClientEnd end);
    void receive(ClientId client, std::string_view bytes);   // as they come off a stream
    void handle(ClientId client, const json::Value& frame);  // one frame, checked already
    void disconnect(ClientId client);

    // A server in the agent's cell, as Cell::connect. Throws Error when no cell of it runs (none is made
    // for this) or nobody listens.
    UniqueFd connect_server(const std::string& agent, uint16_t port);

    // For files of the host: its cell may have to be built. Throws Error: there is no such agent. It goes
    // by set_agents() and remove_agent(); who stays in it must have left before.
    class WarmCell& cell_of(const std::string& agent);

    void set_model(ModelSettings model);  // for turns that start from now on
    void set_time_factor(int factor);
    void set_spending(const Spending& spending);  // before the first turn: else only the defaults hold
    // Who there is from now on. New limits hold from the next call that finds the cell idle. Turns of
    // an agent that is paused or no longer there are stopped; its files stay.
    void set_agents(Agents agents);
    // Ends all work of the agent and removes its files; the name is free, its slot is never used
    // again. `done` is called once, later, with "" or why not.
    void remove_agent(const std::string& name, std::function<void(const std::string& why)> done);
    // Puts a record into the audit, `kind` first, without waiting for the disk. False: it could not.
    bool note(const json::Value& record);
    std::string posture();
    std::string memory() const;       // of the warden: peak and anonymous
    std::string turn_memory() const;  // of a turn process in a VM, the last when none runs; "" before the first
    json::Value background() const;   // what runs so, of all agents: rows {agent, id, ms, command}
    bool idle() const;                // no turn runs
    void stop_all();    // ends every turn as stopped, before power-off

    static constexpr size_t kMaxTurns = 8;
    static constexpr size_t kMaxClients = 64;
    static constexpr size_t kMaxMessage = size_t{256} << 10;  // as written in JSON

    struct State;  // warden_state.h

  private:
    std::unique_ptr<State> state_;
};

}  // namespace peacrab
