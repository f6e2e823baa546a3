// What a tool child does between fork and exec: namespaces, root, pid 1, jail. Nothing here
// allocates, logs or throws; a failure travels through the report pipe as {step, errno}.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "cells/report.h"
#include "jail.h"

namespace peacrab {

// The layers a call gets. Decided once, by a real try; never weakened afterwards.
struct CellLayers {
    enum class Kind {
        Separated,  // ordinary user: every namespace within a user namespace, the machine's files
        Plain,      // ordinary user without user namespaces: only the jail
    } kind = Kind::Separated;
    bool fresh_proc = true;  // Separated: a /proc that shows only the call's processes
};

// All the child needs; made by the parent, which keeps what it points to alive over the fork.
// Descriptors of -1 are absent.
struct CellPlan {
    CellLayers layers;
    std::span<const char* const> hidden;  // Separated: covered by something empty
    const char* kept = nullptr;           // Separated: a workspace that lies in what is covered
    int input = -1;                       // absent: /dev/null
    int output = -1;                      // stdout and stderr
    int report = -1;
    int program = -1;            // executed when set, else `path`
    int network = -1;            // Separated: the network namespace to enter
    int user = -1;               // Separated: the user namespace that owns it
    const char* path = nullptr;  // neither path nor program: a trial, exits 0 in the jail
    const char* const* arguments = nullptr;
    const char* const* environment = nullptr;
    JailOptions jail;
    const JailFilter* filter = nullptr;
    const JailFilter* reaper_filter = nullptr;
};

// Makes the child in the namespaces of the layers. Gives its pid and sets `pidfd`; -1: errno is
// set.
pid_t start_cell_child(const CellPlan& plan, int& pidfd) noexcept;

}  // namespace peacrab
