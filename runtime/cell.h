// Builds and enters the place a tool child runs in.
//
// Interim, until each agent has a container of its own: in our VM a fresh pid, mount, net (empty),
// ipc and uts namespace per call, over the read-only Debian base with the agent's home bound in,
// uid 1000; outside a VM (posture shared) the same jail with the namespaces an ordinary user can
// have, in the caller's directory. What posture() says is what is in force. Nothing survives a
// call: when its command ends, so does every process it started.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jail.h"
#include "os.h"

namespace peacrab {

struct CellOptions {
    enum class Place {
        None,  // the zero value: nothing runs
        Vm,    // `base` is the Debian root, `home` the agent's home on the state disk
        Here,  // no VM: the workspace is a directory of this machine
    } place = Place::None;
    std::string base;       // Vm: e.g. "/base"
    std::string home;       // Vm: e.g. "/state/agents/main/home"
    std::string workspace;  // as the tool sees it; Vm: "/home/agent/workspace"
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
    std::string failed_step;   // not empty: the child never ran; "step: reason"
};

// One running tool child. The owner watches its fds through a Loop, or calls run(). A command that
// could not even be forked is one that has ended: its fds are readable and step() says true.
class Command {
  public:
    Command(Command&&) noexcept;
    ~Command();  // kills everything of the call that is alive

    // fds to watch for POLLIN: the output pipe and the child's pidfd. step() is to be called when
    // either is readable or the deadline passed; true when the command has ended.
    int output_fd() const;
    int exit_fd() const;
    Deadline deadline() const;
    bool step();
    void cancel();           // kills the whole call; step() then ends it
    CommandResult result();  // after step() said true
    CommandResult run();     // blocks until it has ended

  private:
    friend class Cell;
    struct State;
    explicit Command(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

class Cell {
  public:
    // Tries the layers once, for real. Throws Error when a mechanism it needs is missing, and in
    // Place::Here as root. Makes this process undumpable: a tool child may have the same uid.
    explicit Cell(CellOptions options);
    Cell(Cell&&) noexcept;
    ~Cell();

    static constexpr size_t kMaxOutput = size_t{48} << 10;

    // `sh -c command` in the workspace, jail class shell. stdin is /dev/null; the environment is
    // made here (PATH, HOME, LANG, TERM=dumb), nothing is inherited. Ends at `limit` (times the
    // factor). Output beyond kMaxOutput: head and tail are kept, a line between says what was cut.
    Command shell(const std::string& command, Milliseconds limit);
    // Our own file helper (this very binary: `peacrabd tool-file`), jail class file. `request` is
    // one JSON object on its stdin; its stdout is the answer, one JSON object.
    Command file(const std::string& request, Milliseconds limit);
    static constexpr size_t kMaxAnswer = size_t{512} << 10;  // of file()'s output

    // One line: which layers are in force and what is missing, e.g. "interim: no cells (…)".
    std::string posture() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace peacrab
