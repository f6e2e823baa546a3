// Our own guest sets the whole kernel for its cells (launch/boot); a sandbox that is somebody else's
// is left as it is. What is otherwise there and no wall of the cell makes up for is said, never set.
#include "cells/foreign.h"

#include <cstdlib>

#include "cells/shared_relay.h"
#include "error.h"

namespace peacrab {
namespace {

// "": this kernel has no such setting.
std::string setting(const char* path) {
    std::string text = read_file_if_exists(path, KiB(4)).value_or("");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

bool is_more_than(const char* path, long bound) {
    const std::string text = setting(path);
    return !text.empty() && std::strtol(text.c_str(), nullptr, 10) > bound;
}

std::string way_out() {
    try {
        if (proxy_of_environment()) return "where tools may go, the environment's proxy says";
        return "no way out for tools (the environment names no proxy)";
    } catch (const Error& error) {
        return std::string("no way out for tools (") + error.what() + ")";
    }
}

}  // namespace

std::vector<std::string> lacks_of_a_sandbox() {
    std::vector<std::string> lacks = {
        "no VM of ours: the kernel is the sandbox's own, shared with all in it", way_out()};
    if (setting("/proc/sys/kernel/core_pattern").starts_with('|'))
        lacks.push_back("a crash in a cell starts the sandbox's own crash handler");
    if (is_more_than("/proc/sys/fs/suid_dumpable", 0))
        lacks.push_back("a crash of what takes other ids leaves its memory to the sandbox's root");
    if (setting("/proc/sys/kernel/modules_disabled") == "0")
        lacks.push_back("the kernel may load further modules");
    if (is_more_than("/proc/sys/kernel/yama/ptrace_scope", 0))
        lacks.push_back("debuggers see only what they start");
    if (!is_more_than("/proc/sys/vm/dirty_bytes", 0) ||
        is_more_than("/proc/sys/vm/dirty_bytes", long{4} << 20))
        lacks.push_back("what one cell writes may hold others up");
    return lacks;
}

}  // namespace peacrab
