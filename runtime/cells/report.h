// What a child tells its parent between fork and exec, and at its end: records on a pipe. The steps
// every kind of child takes stand here too. Nothing allocates, logs or throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cells/users.h"
#include "jail.h"

namespace peacrab {

// Shorter than PIPE_BUF, so it is never torn.
struct CellReport {
    enum class Kind : int32_t { Failed = 1, Exited, Signalled } kind;
    int32_t value;  // errno, exit code, signal
    char step[32];  // Failed: what could not be done
};

// Where a child's descriptors stand; all but 0-2 are closed on exec.
constexpr int kReport = 3;

void report(CellReport::Kind kind, int value, const char* step) noexcept;
void report_end(int status) noexcept;  // as wait(2) gave it
[[noreturn]] void fail(const char* step) noexcept;  // reports errno
void require(bool done, const char* step) noexcept;

// Moves `from[i]` to descriptor i (-1: leaves i closed) and closes everything else: nothing of the
// warden may be reachable when a path of the agent is opened. At most 16.
void arrange_descriptors(std::span<const int> from) noexcept;
// The warden ignores and handles signals; a child starts with none of that.
void default_signals() noexcept;
// For a fork of the warden that stays what it is, `parent` its warden: nothing of it but the descriptor
// `kept`, as kReport, and its memory, into which nobody sees; no rights, and no life beyond it.
void keep_only(int kept, pid_t parent) noexcept;
// False: errno is set.
bool write_text(const char* path, const char* text) noexcept;
// Brings the loopback device of the current network namespace up. False: errno is set.
bool raise_loopback() noexcept;

constexpr const char* kCellHome = "/home/agent";
constexpr Ids kAgentIds{1000, 1000};
// Pid 1 of a cell and the keepers of its calls: neither root nor an id of any cell, so that nobody
// in one can signal or trace them; of slot 0, because a lower one may be somebody's in a sandbox. The
// ids of turns (launch/local) are in its lower half.
constexpr uint32_t kReaper = kFirstSlot * kCellIds + 65'533;
constexpr Ids kReaperIds{kReaper, kReaper};

}  // namespace peacrab
