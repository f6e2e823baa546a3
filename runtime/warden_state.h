// The warden's inside, shared by its files: warden.cc (clients, sessions, what is shown),
// warden_agents.cc (who there is, messages between agents) and warden_turns.cc (turn processes and
// their tool calls). Nobody else includes it.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit.h"
#include "tools.h"
#include "turn_process.h"
#include "warden.h"

namespace peacrab {

class Budgets;
struct Portion;
struct TaskEnd;  // wardens/task.cc
constexpr const char* kDelegated = "delegate";  // the channel of what an agent was asked by itself

struct Client {
    Warden::ClientEnd end;
    FrameBuffer buffer;
    int64_t session = 0;  // 0: not attached yet
    std::string agent;
    std::string channel;
    std::shared_ptr<TaskEnd> tasks;  // it keeps the person's; null: it does not
    bool gone = false;  // takes nothing more; forgotten by a timer
};

// A tool call under way. Several at once only of those that merely read.
struct RunningCall {
    uint64_t number = 0;  // ours: an id is the turn's word
    std::string id;
    std::string name;
    int64_t row = 0;
    std::string summary;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    std::unique_ptr<ToolRun> run;
    int64_t child = 0;  // the session of the turn that works on it
    std::string arguments;
    std::shared_ptr<void> hook;  // that runs for it
    bool owes_hooks = false;     // those behind it are still to run
};

struct RunningTurn {
    int64_t id = 0;
    int64_t session = 0;
    std::string agent;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    Pidfd process;
    std::unique_ptr<FramePort> frames;
    UniqueFd model;
    UniqueFd stop;
    std::vector<MessageRow> handed;  // messages given to the turn process
    size_t stored = 0;               // bytes it had us write down
    size_t took = 0;                 // of these, journaled by it
    std::string partial;             // text shown since the last tool or reply
    std::list<RunningCall> calls;
    RunningCall* call(uint64_t number);  // null: it has ended
    Loop::TimerId timer = 0;  // to its kill, then to its burial
    std::string over;  // why no more may be spent on it
    int64_t parent = 0;        // the session whose call it works on; 0: nobody's
    uint64_t parent_call = 0;  // which one
    std::shared_ptr<Portion> portion;  // what it may spend, then
    bool asked = false;        // the person: it ends, and waits
    bool stopping = false;
    bool ending = false;
};

struct JournalWork;  // wardens/history.cc

struct Warden::State {
    Loop& loop;
    WardenOptions options;
    WardenStore store;
    std::optional<Audit> audit;   // none: it cannot be written, and nothing is run
    std::string audit_complaint;  // what is wrong with it, for posture
    std::map<ClientId, Client> clients;
    std::map<std::string, std::unique_ptr<Workplace>> places;  // by agent; outlive their turns
    std::map<int64_t, RunningTurn> turns;  // by session
    std::map<ClientId, std::shared_ptr<JournalWork>> works;  // on a journal, for a client: one each
    ClientId next_client = 1;
    std::string turn_memory;  // of the last turn process in a VM, at its end

    State(Loop& the_loop, WardenOptions the_options);

    // Agents (warden_agents.cc). refusal: why this one takes no message now; "" when it does.
    std::string refusal(const std::string& agent) const;
    std::optional<Ids> turn_ids(const std::string& agent);
    std::string model_of(const std::string& agent) const;
    void stop_turns(const std::string& agent, const std::string& why);
    // What was moved to `removed`: deleted by a child of ours. `done`: "" or why not.
    void sweep(std::function<void(const std::string& why)> done);
    void end_sweep(size_t count, const std::string& why);
    Pidfd sweeper;
    std::vector<std::function<void(const std::string& why)>> swept;  // who waits for it

    // Agents' folders and cells.
    std::string agent_folder(const std::string& agent) const;
    void prepare_agent(const std::string& agent);
    CellOptions cell_options(const std::string& agent);
    Workplace& place(const std::string& agent);
    json::Value background_of(const std::string& agent) const;  // "": of all
    ToolSet tools_of(const RunningTurn& turn);
    std::string posture(const std::string& agent);  // never throws: what fails is the posture

    // Clients.
    void send(Client& client, const json::Value& frame);
    void broadcast(int64_t session, const json::Value& frame);
    // Stored, together with what `also` stores, then broadcast. False: nothing of it was stored.
    bool show(int64_t session, int64_t turn, json::Value frame,
              const std::function<void()>& also = {});
    bool kept(const std::function<void()>& write);                // logs a failure of the store
    void on_client(ClientId id, const json::Value& frame);
    void drop(ClientId id, const std::string& why);
    void attach(Client& client, const json::Value& frame);
    void choose_session(Client& client, const json::Value& frame, Replay& replay);
    void take_message(Client& client, const json::Value& frame);
    void on_message(Client& client, const json::Value& frame);
    void status(Client& client);
    void on_history(ClientId id, const json::Value& frame);  // wardens/history.cc
    void end_works(const std::string& agent);
    json::Value undone_turns(int64_t session);

    // Turns.
    void report_interrupted();
    void interrupt(const TurnRow& turn);
    void start_turn(int64_t session, const std::string& agent, int64_t id);
    TurnProcess begin_turn_of(const std::string& agent, const std::optional<Ids>& ids) const;
    TurnProcess turn_process(const std::string& agent);
    json::Value start_frame(const RunningTurn& turn);
    std::string news_for(const std::string& agent) const;
    bool takes_more(const RunningTurn& turn, const std::string& text) const;
    void steer(RunningTurn& turn, const MessageRow& message);
    void on_turn(RunningTurn& turn, const json::Value& frame);
    void on_delta(RunningTurn& turn, const json::Value& frame);
    void on_model(int64_t session);
    void count_stored(RunningTurn& turn, size_t bytes);
    void ask_stop(RunningTurn& turn);
    void end_turn(RunningTurn& turn, const std::string& status, const std::string& error,
                  const json::Value& done);
    void bury(int64_t session);
    void requeue(const RunningTurn& turn);

    // What is spent, and what may be (budget/charging.cc).
    std::shared_ptr<Budgets> budgets;
    void open_budgets();
    void charge(RunningTurn& turn, const json::Value& frame);  // one call of a model; may stop the turn
    std::string over_budget(const RunningTurn& turn) const;    // why it may not begin; ""
    void put_spent(json::Value& turn_done, int64_t turn) const;
    json::Value spending_of(const Client& client) const;
    // `more` to a session whose budget has ended its last turn: as much again, and what the model is told.
    std::string said_of(const Client& client, const std::string& text);

    // Questions to the person (wardens/question.cc): a call of `ask_user` with the outcome "waiting".
    void watch_questions();  // those whose time has run out are answered; then again in a while
    bool waits(int64_t turn);
    void close_question(int64_t session, Outcome how);
    void put_asked(json::Value& start, int64_t session);
    Loop::TimerId question_timer = 0;
    ~State() {
        loop.cancel(question_timer);
        for (const auto& [session, turn] : turns) loop.cancel(turn.timer);
    }

    // Tasks, which a client keeps (wardens/task.cc). later: why none begins now; "".
    void keep_tasks(Client& client);
    void on_task(Client& client, const json::Value& frame);
    std::string later(int64_t session);
    void tell_of_end(const std::string& agent);  // of a background process

    // What an agent has asked of itself (wardens/delegate.cc): turns with a parent.
    bool full() const;  // as many turns run as may, those with a parent apart
    RunningTurn* child_of(const RunningCall& call);
    void note_step(const RunningTurn& turn, const std::string& summary);
    void delegate_ended(const RunningTurn& turn, const std::string& status, const std::string& error);

    // Tool calls.
    void on_tool(RunningTurn& turn, const json::Value& frame);
    bool begin_call(RunningTurn& turn, RunningCall& running, const ToolCall& call,
                    const Denied* denied);
    void run_call(RunningTurn& turn, RunningCall& call, Permit permit);
    void finish_call(RunningTurn& turn, uint64_t number, const ToolResult& result);
    void show_call_done(const RunningTurn& turn, const RunningCall& call, const ToolResult& result);
    uint64_t next_call = 1;

    // The audit. `record` begins with its kind; false: it could not be written.
    void open_audit();
    bool recorded(const json::Value& record, Audit::Until until = Audit::Until::Page);
    json::Value call_record(const char* kind, const RunningTurn& turn,
                            const RunningCall& call) const;
};

// "t17", "s3": how turns and sessions are named outside; 0 when it is no such name.
std::string turn_name(int64_t id);
std::string session_name(int64_t id);
int64_t parse_name(const std::string& name, char letter);
// A process's peak and its anonymous memory, as the kernel words them; "" when it has gone.
std::string memory_of(pid_t pid);

}  // namespace peacrab
