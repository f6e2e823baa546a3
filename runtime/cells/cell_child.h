// What a tool child does between fork and exec: namespaces, root, pid 1, jail. Nothing here
// allocates, logs or throws; a failure travels through the report pipe as {step, errno}.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "jail.h"

namespace peacrab {

// The layers a call gets. Decided once, by a real try; never weakened afterwards.
struct CellLayers {
    enum class Kind {
        Root,       // in our VM, as real root: every namespace and a root directory of its own
        Separated,  // ordinary user: every namespace within a user namespace, the machine's files
        Plain,      // ordinary user without user namespaces: only the jail
    } kind = Kind::Root;
    bool fresh_proc = true;  // Separated: a /proc that shows only the call's processes
};

// All the child needs; made by the parent, which keeps what it points to alive over the fork.
// Descriptors of -1 are absent.
struct CellPlan {
    CellLayers layers;
    const char* base = nullptr;           // Root: what becomes the root directory, read-only
    const char* home = nullptr;           // Root: what becomes /home/agent
    std::span<const char* const> hidden;  // Separated: covered by something empty
    const char* kept = nullptr;           // Separated: a workspace that lies in what is covered
    int input = -1;                       // absent: /dev/null
    int output = -1;                      // stdout and stderr
    int report = -1;
    int program = -1;            // executed when set, else `path`
    int network = -1;            // Root, Separated: the network namespace to enter
    int user = -1;               // Separated: the user namespace that owns it
    const char* path = nullptr;  // neither path nor program: a trial, exits 0 in the jail
    const char* const* arguments = nullptr;
    const char* const* environment = nullptr;
    JailOptions jail;
    const JailFilter* filter = nullptr;
    const JailFilter* reaper_filter = nullptr;
};

// One record on the report pipe; shorter than PIPE_BUF, so it is never torn.
struct CellReport {
    enum class Kind : int32_t { Failed = 1, Exited, Signalled } kind;
    int32_t value;  // errno, exit code, signal
    char step[32];  // Failed: what could not be done
};

// Makes the child in the namespaces of the layers. Gives its pid and sets `pidfd`; -1: errno is
// set.
pid_t start_cell_child(const CellPlan& plan, int& pidfd) noexcept;

// Brings the loopback device of the current network namespace up.
bool raise_loopback() noexcept;

constexpr const char* kCellHome = "/home/agent";
constexpr Ids kAgentIds{1000, 1000};
// Pid 1 of a call: neither root nor the agent, so that neither can signal or trace the other.
constexpr Ids kReaperIds{65533, 65533};

}  // namespace peacrab
