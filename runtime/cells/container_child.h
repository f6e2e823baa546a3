// What the children of a container do between fork and exec: its pid 1, which builds it and then
// rests, and per call a keeper and the command it starts. Nothing here allocates, logs or throws; a
// failure travels through the report as {step, errno}.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "cells/report.h"
#include "cells/rootfs.h"
#include "jail.h"

namespace peacrab {

constexpr uint16_t kProxyPort = 3128;

// Pid 1 of a cell.
struct ContainerPlan {
    RootPlan root;
    // A SOCK_SEQPACKET pair's end. It sends CellReport records: Failed, or twice Exited 0: with the
    // first comes the listening socket of 127.0.0.1:3128; after the second it has given up every
    // right.
    int socket = -1;
    const JailFilter* reaper = nullptr;
};

// One call.
struct EntryPlan {
    int cell = -1;    // pidfd of its pid 1
    int group = -1;   // the control group of the call
    int kill = -1;    // its cgroup.kill
    int events = -1;  // its cgroup.events
    int home = -1;    // the agent's home, as the machine has it: synced at the end
    int input = -1;   // absent: /dev/null
    int output = -1;  // stdout and stderr
    int report = -1;
    int program = -1;            // executed when set, else `path`
    const char* path = nullptr;
    // Run in place of a program, in the jail; its value is the exit code.
    int (*act)() noexcept = nullptr;
    const char* const* arguments = nullptr;
    const char* const* environment = nullptr;
    bool outlives = false;  // what the command leaves behind belongs to the call, which ends with it
    JailOptions jail;
    const JailFilter* filter = nullptr;
    const JailFilter* reaper = nullptr;
};

// Each gives the child's pid and sets `pidfd`; -1: errno is set.
// In the control group `init`, with mount, net, pid, ipc, uts and cgroup namespaces of its own, which
// belong to the machine's user namespace.
pid_t start_container(const ContainerPlan& plan, int init, int& pidfd) noexcept;
// The keeper, in the control group `keepers`.
pid_t start_entry(const EntryPlan& plan, int keepers, int& pidfd) noexcept;

}  // namespace peacrab
