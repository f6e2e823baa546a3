// Builds and enters the place a tool child runs in.
//
// Place::Cell is an agent's own container: namespaces made by real root and owned outside it, ids of
// its own, a copy-on-write Debian, limits, and one way out, a listening socket of ours. It stays
// warm between calls and holds what background processes there are. Place::Here is a machine without
// the right to make one (posture shared): the same jail on the machine's own files. posture() says
// what is in force. A mechanism that is missing is an Error naming it: nothing has a weaker fallback.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jail.h"
#include "os.h"
#include "types.h"

namespace peacrab {

class Capture;  // cells/output.h

struct CellOptions {
    enum class Place {
        None,  // the zero value: nothing runs
        Cell,  // a container over `base`, with what it keeps in `folder`
        Here,  // no container: the workspace is a directory of this machine
    } place = Place::None;
    enum class Files {
        Kept,       // in `folder`, for the next cell of this agent
        Discarded,  // a throw-away cell: nothing of `folder` is seen, what is written goes with it
    } files = Files::Kept;
    // Cell: whose kernel. Own is for who has set all of it (launch/boot): the posture is then `full`.
    enum class Kernel { Foreign, Own } kernel = Kernel::Foreign;
    std::string agent;      // its name: of the control group, and in messages
    uint32_t slot = 0;      // Cell: never 0, never used by two agents: makes ids and quota
    std::string base;       // Cell: the read-only Debian, e.g. "/base"
    // Cell: e.g. "/state/agents/main"; home/ layer/ output/ are made in it. Here: output/ alone, which
    // the child must be able to read; "": what is cut from long output is not kept.
    std::string folder;
    std::string workspace;  // as the tool sees it; Cell: "/home/agent/workspace"
    // A folder of ours that calls read, and run what is in it. Cell: seen as /NAME; Here: as it is.
    struct Shown {
        std::string from, as;
    } shown;
    CellLimits limits;
    // Here: paths the child must not see, where a mount namespace can be had: our configuration
    // (the key) and state (the journal). Made when missing, so that the child cannot plant them.
    std::vector<std::string> hidden;
    int time_factor = 1;  // tool time-outs are multiplied by it (slow emulated CPU)
};

struct [[nodiscard]] CommandResult {
    ChildExit exit;
    bool timed_out = false;
    bool cancelled = false;
    std::string output;        // stdout and stderr together, head and tail, ≤ kMaxOutput
    uint64_t total_bytes = 0;  // before clipping
    std::string kept_output;   // not empty: where in the cell all of it can be read
    std::string limit_hit;     // not empty: which limit ended or hindered it, e.g. "memory: 600M"
    std::string failed_step;   // not empty: the child never ran; "step: reason"
};

// One running tool child. The owner watches its fds through a Loop, or calls run(). A command that
// could not even be forked is one that has ended: its fds are readable and step() says true.
class Command {
  public:
    Command(Command&&) noexcept;
    ~Command();  // kills everything of the call that is alive

    // fds to watch for POLLIN: the output pipe and the child's pidfd. step() is to be called when
    // either is readable or next_step() passed; true when the command has ended.
    int output_fd() const;
    int exit_fd() const;
    Deadline next_step() const;
    Deadline deadline() const;  // when it is ended
    bool step();
    void cancel();           // kills the whole call; step() then ends it
    void terminate();        // SIGTERM to everything of it, where that can be said
    Capture& output();       // what it has said so far
    CommandResult result();  // after step() said true
    CommandResult run();     // blocks until it has ended

  private:
    friend class Cell;
    struct State;
    explicit Command(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

struct ShellCall {
    std::string command;  // for `sh -c`, in the workspace
    Milliseconds limit{};  // times the factor
    enum class User { Root, Agent } user = User::Root;  // in-cell ids 0 or 1000
    // Background: not ended by `limit`, and what it starts lives on with it; it ends by cancel(), by
    // itself, or with the cell.
    enum class Life { Call, Background } life = Life::Call;
    std::string input = {};  // its stdin; "": /dev/null
};

// What is in force, decided by real tries.
struct Posture {
    std::string name;                // "full", "full (stock kernel)", "cells", "shared"; "": none
    std::vector<std::string> lacks;  // what it does not give, a phrase each
    int probes = 0;                  // forbidden effects tried from inside at the start, all refused
    std::string text() const;        // one line
};

class Cell {
  public:
    // Builds it, and tries the forbidden effects from inside. Throws Error when a mechanism is
    // missing or an effect was possible (nothing is left of it then), and in Place::Here as root.
    // Makes this process undumpable.
    explicit Cell(CellOptions options);
    Cell(Cell&&) noexcept;
    ~Cell();  // ends every process in it; its files stay

    static constexpr size_t kMaxOutput = size_t{48} << 10;
    static constexpr const char* kSeenOutput = "/run/output";  // Cell: folder's output/, in it

    // Jail class shell. stdin is /dev/null; the environment is made here, nothing is inherited.
    // Output beyond kMaxOutput: head and tail are kept, a line between says what was cut and where
    // all of it is.
    Command shell(const ShellCall& call);
    // Our own file helper (this very binary: `peacrabd tool-file`), jail class file. `request` is
    // one JSON object on its stdin; its stdout is the answer, one JSON object.
    Command file(const std::string& request, Milliseconds limit);
    // The same binary as `peacrabd tool-files`, of the same class: `stream` is its stdin, both ways.
    Command files(UniqueFd stream, Milliseconds limit);
    // Our own web helper (`peacrabd tool-fetch`), which puts jail class fetch on itself; `input` is its stdin.
    Command fetch(const UniqueFd& input, Milliseconds limit);
    static constexpr size_t kMaxAnswer = size_t{896} << 10;  // of the output of both

    // The listening socket behind 127.0.0.1:3128 of the cell's own network, for the owner to accept
    // on: who connects is a process of this cell, whatever it says. -1 in Place::Here without one.
    int proxy() const;
    // A connection to a server in the cell, on its loopback; non-blocking, and where the server is slow
    // to accept not there yet. Throws Error when nobody listens.
    UniqueFd connect(uint16_t port);

    void freeze();
    void thaw();
    const Posture& posture() const;
    const CellOptions& options() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// Deletes what is in `folder`, which is open; what agents have left there is hostile. False: not all.
bool delete_below(int folder);

}  // namespace peacrab
