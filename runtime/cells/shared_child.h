// The processes of posture shared. One holder for an agent: it enters the namespaces and the
// Landlock domain once and starts every call from there, because processes of two domains could
// neither signal nor trace each other. Per call a keeper, which adopts what the command leaves
// behind and ends it, and the command in its jail. The next command's stand ready, jailed, while the model
// thinks; until it is executed a command's process is as hidden and untraceable as the keeper. Their steps
// report failures as {step, errno}.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "cells/report.h"
#include "jail.h"
#include "landlock.h"

namespace peacrab {

// What an ordinary user gets here. Decided once, by a real try; never weakened afterwards.
struct SharedLayers {
    enum class Kind {
        Separated,  // every namespace within a user namespace, the machine's files
        Plain,      // no user namespaces: the jail and Landlock
    } kind = Kind::Separated;
    // Separated: a pid namespace, and a /proc that shows only what is in it. Within a container the
    // kernel often refuses such a /proc.
    bool own_processes = true;
};

// All the holder needs. Descriptors of -1 are absent.
struct HolderPlan {
    SharedLayers layers;
    std::vector<std::string> hidden;  // Separated: covered by something empty
    std::string kept;                 // Separated: a workspace that lies in what is covered
    std::string output;  // Separated: the folder of kept output, if it lies there; seen read-only
    std::string shown;   // Separated: likewise what else is shown
    std::string workspace;
    std::string own;  // scratch of the place's own; HOME is made in it
    std::vector<std::string> environment;
    LandlockRules rules;  // of everything in the place; paths of what the holder mounts included
    int control = -1;     // a SOCK_SEQPACKET pair's end
    int program = -1;     // our own binary, which is the file helper
    int network = -1;     // Separated: the network namespace to enter
    int users = -1;       // Separated: the user namespace that owns it
    const JailFilter* shell = nullptr;
    const JailFilter* file = nullptr;
    const JailFilter* reaper = nullptr;
};

// One call, as it is asked for on the control socket: this byte, then four descriptors with a byte
// each: the text (of the command, or a helper's stdin), the output, the report, and one on which the keeper
// says by one byte that nobody is left. The answer is the pid, and a pidfd; or minus an errno.
//
// `Spare`, without descriptors, asks for the next command's processes before it is known. They are told of
// as a call is, and five descriptors more: where the command is sent to, the output's ends, what is read of
// report and clean. It is sent as a descriptor with a byte: its text and a 0.
enum class SharedCallKind : char { Shell = 's', Background = 'b', File = 'f', Files = 'F', Fetch = 'w', Probe = 'p', Spare = 'n' };
constexpr size_t kMaxCommand = size_t{1} << 20;

// In a child of the warden: builds the place, says so on the control socket (one CellReport, then
// the pidfd of the place's pid 1 where it has one), serves calls, which become the warden's own
// children, and ends when the socket does.
[[noreturn]] void hold(const HolderPlan& plan) noexcept;

}  // namespace peacrab
