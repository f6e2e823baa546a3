// The system calls of each jail class, a reason per line. Data only: jail.cc makes filters of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "cells/mechanism.h"

namespace peacrab::jail_tables {

// One bit per filter that can be compiled.
enum Class : unsigned {
    kFile = 1,          // read and write: our own helper
    kShell = 2,         // any program, in a network of its own
    kTurn = 4,          // the turn process with the model route as its only network
    kOwn = 8,           // the turn process that opens its own connections
    kReaper = 16,       // pid 1 of a cell, and who waits for a call
    kFetch = 32,        // speaks and reads what came on one connected socket
    kAdapter = 64,      // a messenger's adapter: its folder, and the sockets it is given
    kTcpShell = 128,    // any program, in the machine's network: Landlock says which port
    kLocalShell = 256,  // any program, without a network
    kAdapterOwn = 512,  // a messenger's adapter that opens its own connections
    kShells = kShell | kTcpShell | kLocalShell,
};

// Allowed whatever the arguments are. What stands in no row is refused by the class's default:
// EPERM for Shell, the end of the process for the others. A name this machine's architecture does
// not have, or that is newer than libseccomp, is skipped: its number stays refused.
struct AllowRow {
    unsigned classes;
    const char* names;  // separated by spaces
    const char* reason;
};
std::span<const AllowRow> allowed();

// Refused on purpose, so that nobody allows them unthinking. ENOSYS where callers know how to go on
// without, else what the class refuses with anyway.
struct RefusedRow {
    unsigned classes;
    Mechanism mechanism;
    const char* names;
    int code;
    const char* reason;
};
std::span<const RefusedRow> refused();

// Decided by arguments. Rows of one class and name are tried in order, the first whose conditions
// all hold decides; the last row of each must have none. Only the low 32 bits are compared: these
// arguments are ints in the kernel, and what stands above them must not change the answer.
struct Condition {
    unsigned argument;
    uint32_t mask;
    uint32_t value;
};
constexpr int kAllow = 0;  // else an errno
struct ArgumentRow {
    unsigned classes;
    const char* name;
    unsigned count;  // of conditions used
    std::array<Condition, 3> when;
    int verdict;
    const char* reason;
    Mechanism mechanism = Mechanism::SeccompSocket;  // of a row that refuses
};
std::span<const ArgumentRow> by_argument();

}  // namespace peacrab::jail_tables
