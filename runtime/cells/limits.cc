// Control groups, by their files.
//
// A limit must be in force before the first process it is for: groups are complete before anything is
// cloned into them. Everything that runs on behalf of an agent is in its group, ours too. Groups in use
// are never trusted to be empty because a call has ended: it is looked at. Source: Linux
// Documentation/admin-guide/cgroup-v2.rst.
#include "cells/limits.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "cells/mechanism.h"
#include "config.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr Milliseconds kEndLimit{2000};
constexpr int kStalls = 10;

UniqueFd open_in(const std::string& path, int flags) {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (!fd) throw ErrnoError("cell: control group: " + path);
    return fd;
}

void put(const std::string& path, std::string_view text) {
    try {
        write_all(open_in(path, O_WRONLY).get(), text);
    } catch (const ErrnoError& error) {
        throw Error("cell: control group: " + path + ": " + std::string(text) + ": " +
                    error.what());
    }
}

bool put_quietly(const std::string& path, std::string_view text) noexcept {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// The number after `name` and a space, at the start of a line.
uint64_t field(std::string_view text, std::string_view name) noexcept {
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        if (line.size() > name.size() + 1 && line.starts_with(name) && line[name.size()] == ' ') {
            uint64_t number = 0;
            for (const char c : line.substr(name.size() + 1)) {
                if (c < '0' || c > '9') break;
                number = number * 10 + static_cast<uint64_t>(c - '0');
            }
            return number;
        }
        at = end + 1;
    }
    return 0;
}

uint64_t field_of(int fd, std::string_view name) noexcept {
    std::array<char, 1024> text;
    const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
    return n <= 0 ? 0 : field({text.data(), static_cast<size_t>(n)}, name);
}

uint64_t field_of(const std::string& path, std::string_view name) noexcept {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return fd ? field_of(fd.get(), name) : 0;
}

bool make_group(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) == 0) return true;
    if (errno == EEXIST) return false;
    throw ErrnoError("cell: control group: " + path);
}

// Waits until nobody is in the group or below it. False: somebody still is.
bool wait_empty(const std::string& path, Deadline deadline) {
    const UniqueFd events(::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
    if (!events) return true;
    while (field_of(events.get(), "populated") != 0) {
        if (deadline.passed()) return false;
        pollfd one{events.get(), POLLPRI, 0};
        ::poll(&one, 1, deadline.poll_timeout());
    }
    return true;
}

void remove_tree(const std::string& path) {
    for (const std::string& name : list_folder(path)) {
        struct stat info;
        const std::string inner = path + "/" + name;
        if (::lstat(inner.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) remove_tree(inner);
    }
    // Who has just died may keep it busy for a moment more.
    const Deadline deadline = Deadline::in(Milliseconds(200));
    while (::rmdir(path.c_str()) < 0 && errno == EBUSY && !deadline.passed())
        std::this_thread::sleep_for(Milliseconds(1));
}

void end_tree(const std::string& path) {
    put_quietly(path + "/cgroup.kill", "1");
    wait_empty(path, Deadline::in(kEndLimit));
    remove_tree(path);
}

}  // namespace

Bytes memory_of(const std::string& tree, std::string group) {
    struct sysinfo info;
    if (::sysinfo(&info) < 0) throw ErrnoError("cell: memory of the machine");
    uint64_t least = uint64_t{info.totalram} * info.mem_unit;
    for (;;) {
        // The root of all has none, and "max" is no number.
        const std::string text =
            read_file_if_exists(tree + group + "/memory.max", KiB(1)).value_or("");
        uint64_t bound = 0;
        if (std::from_chars(text.data(), text.data() + text.size(), bound).ec == std::errc())
            least = std::min(least, bound);
        const size_t slash = group.rfind('/');
        if (slash == std::string::npos) return {least};
        group.erase(slash);
    }
}

Bytes memory_or_share(Bytes limit) {
    return limit.count ? limit : Bytes{memory_of(kControlGroups, "").count / 10 * 6};
}

std::string whole_disk(const std::string& device, const std::string& devices) {
    const std::string folder = devices + "/" + device;
    if (::access((folder + "/partition").c_str(), F_OK) < 0) return device;
    std::string whole = read_file(folder + "/../dev", KiB(1));
    while (whole.ends_with('\n')) whole.pop_back();
    return whole;
}

std::string disk_of(const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) < 0) throw ErrnoError("cell: disk: " + printable(path));
    return whole_disk(std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev)));
}

AgentGroup::AgentGroup(const std::string& name, const CellLimits& limits,
                       const std::vector<std::string>& disks)
    : path_(std::string(kControlGroups) + "/agents/" + name), limits_(limits) {
    limits_.memory = memory_or_share(limits.memory);
    if (!make_group(path_)) {
        end_tree(path_);
        if (!make_group(path_))
            throw Error("cell: control group: " + path_ + ": processes of an earlier cell remain");
    }
    try {
        // No cpu or io below: the whole agent has one share.
        put(path_ + "/cgroup.subtree_control", "+memory +pids");
        if (on(Mechanism::MemoryLimit))
            put(path_ + "/memory.max", std::to_string(limits_.memory.count));
        // A kernel without swap has no such file.
        if (::access((path_ + "/memory.swap.max").c_str(), F_OK) == 0)
            put(path_ + "/memory.swap.max", "0");
        if (limits_.cpu_percent && on(Mechanism::CpuLimit))
            put(path_ + "/cpu.max", std::to_string(limits_.cpu_percent * 1000) + " 100000");
        const std::string rate = std::to_string(limits_.io.count);
        for (const std::string& disk : disks)
            if (limits_.io.count && on(Mechanism::IoLimit))
                put(path_ + "/io.max", disk_of(disk) + " rbps=" + rate + " wbps=" + rate);
        for (const char* inner : {"/init", "/keepers", "/shell"}) make_group(path_ + inner);
        init_ = open_in(path_ + "/init", O_PATH | O_DIRECTORY);
        keepers_ = open_in(path_ + "/keepers", O_PATH | O_DIRECTORY);
        put(path_ + "/shell/cgroup.subtree_control", "+memory +pids");
        if (on(Mechanism::ProcessLimit))
            put(path_ + "/shell/pids.max", std::to_string(limits_.processes));
    } catch (...) {
        end_tree(path_);
        throw;
    }
}

std::unique_ptr<AgentGroup> AgentGroup::within(const std::string& agent, CellLimits limits) {
    static unsigned thrown_away = 0;
    const std::string outer = agent + "/shell";
    const std::string path = std::string(kControlGroups) + "/agents/" + outer;
    if (::access(path.c_str(), F_OK) < 0)
        throw ErrnoError("cell: control group: a throw-away cell is within its agent's");
    limits.cpu_percent = 0;  // the agent has one share of these
    limits.io = {};
    auto group = std::make_unique<AgentGroup>(outer + "/away-" + std::to_string(++thrown_away),
                                              limits, std::vector<std::string>());
    group->outer_ = path;
    return group;
}

AgentGroup::~AgentGroup() {
    end_tree(path_);
}

std::string AgentGroup::path_of(const Call& call) const {
    const std::string number = std::to_string(call.number);
    switch (call.kind) {
        case Kind::File:
            return path_ + "/file-" + number;
        case Kind::Call:
            return path_ + "/shell/call-" + number;
        case Kind::Background:
            break;
    }
    return path_ + "/shell/background-" + number;
}

// Refused by the bound of this group, or of the one it is in.
uint64_t AgentGroup::process_hits() const noexcept {
    return field_of(path_ + "/shell/pids.events", "max") +
           (outer_.empty() ? 0 : field_of(outer_ + "/pids.events", "max"));
}

bool AgentGroup::empty(const Call& call) const noexcept {
    return field_of(call.events.get(), "populated") == 0;
}

AgentGroup::Call AgentGroup::take(Kind kind) {
    process_hits_ = process_hits();
    for (size_t i = 0; i < free_.size(); ++i) {
        if (free_[i].kind != kind || !empty(free_[i])) continue;
        Call call = std::move(free_[i]);
        free_.erase(free_.begin() + static_cast<ptrdiff_t>(i));
        return call;
    }
    Call call;
    call.kind = kind;
    call.number = ++made_;
    const std::string path = path_of(call);
    make_group(path);
    if (on(Mechanism::MemoryGroup)) put(path + "/memory.oom.group", "1");
    call.directory = open_in(path, O_PATH | O_DIRECTORY);
    call.kill = open_in(path + "/cgroup.kill", O_WRONLY);
    call.events = open_in(path + "/cgroup.events", O_RDONLY);
    return call;
}

void AgentGroup::end(Call& call) const noexcept {
    if (!on(Mechanism::KillCall)) return;
    // Who is about to be cloned into it is not in it yet.
    if (!call.closed) put_quietly(path_of(call) + "/pids.max", "0");
    call.closed = true;
    [[maybe_unused]] const ssize_t n = ::write(call.kill.get(), "1", 1);
}

void AgentGroup::give_back(Call call) noexcept {
    if (!empty(call)) {
        if (!on(Mechanism::KillCall)) return;
        end(call);
    }
    if (call.closed && !put_quietly(path_of(call) + "/pids.max", "max")) return;
    call.closed = false;
    // Looked at again before it is used: who was killed may take a moment.
    free_.push_back(std::move(call));
}

void AgentGroup::terminate(const Call& call) const noexcept try {
    const std::string path = path_of(call);
    const std::string group = path.substr(std::string(kControlGroups).size());
    for (const std::string& line : split(read_file(path + "/cgroup.procs", KiB(64)), '\n')) {
        const pid_t pid = static_cast<pid_t>(std::strtol(line.c_str(), nullptr, 10));
        if (pid <= 1) continue;
        const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        // Its number may be another's by now.
        const std::string now =
            read_file_if_exists("/proc/" + std::to_string(pid) + "/cgroup", KiB(4)).value_or("");
        if (process && now.ends_with(group + "\n"))
            ::syscall(SYS_pidfd_send_signal, process.get(), SIGTERM, nullptr, 0);
    }
} catch (const std::exception&) {  // cancel() is what ends a call for sure
}

void AgentGroup::freeze(bool frozen) {
    put(path_ + "/cgroup.freeze", frozen ? "1" : "0");
}

void AgentGroup::look() noexcept {
    Look now{std::chrono::steady_clock::now(), 0, 0, 0};
    if (now.at - last_.at < Milliseconds(900)) return;  // another call has looked
    // A throw-away cell is within /agents/NAME/shell, and the agent's bound is its own.
    const std::string agent = outer_.empty() ? path_ : outer_.substr(0, outer_.rfind('/'));
    std::array<char, 8192> text;
    const UniqueFd stat(::open((agent + "/memory.stat").c_str(), O_RDONLY | O_CLOEXEC));
    const ssize_t n = stat ? ::read(stat.get(), text.data(), text.size()) : 0;
    const std::string_view said(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
    now.hits = field_of(agent + "/memory.events", "max");
    now.refaults = field(said, "workingset_refault_file");
    const uint64_t file = field(said, "file"), shared = field(said, "shmem");
    const uint64_t spare = file - std::min(file, shared) + field(said, "slab_reclaimable");
    const uint64_t again = (now.refaults - last_.refaults) * 4096;
    const bool stall = now.hits > last_.hits && spare <= limits_.memory.count / 20 &&
                       (again >= spare / 8 || spare <= limits_.memory.count / 100);
    if (stall && now.at - last_.at < Seconds(5)) now.stalls = last_.stalls + 1;
    last_ = now;
}

// Of the calls that live the one that holds most, as the kernel itself would choose.
bool AgentGroup::stalled(Call& call) noexcept try {
    if (!on(Mechanism::MemoryStall)) return false;
    look();
    if (last_.stalls < kStalls) return false;
    const auto held = [](const std::string& group) {
        uint64_t bytes = 0;
        if (field_of(group + "/cgroup.events", "populated") == 0) return bytes;
        const std::string text = read_file_if_exists(group + "/memory.current", KiB(1)).value_or("");
        std::from_chars(text.data(), text.data() + text.size(), bytes);
        return bytes;
    };
    const uint64_t own = held(path_of(call));
    for (const std::string& name : list_folder(path_ + "/shell"))
        if (held(path_ + "/shell/" + name) > own) return false;
    last_.stalls = 0;  // what this frees is looked at first
    call.stalled = true;
    return true;
} catch (const std::exception&) {  // too many open files: asked again in a second
    return false;
}

std::string AgentGroup::limit_hit(Call& call) noexcept {
    const uint64_t oom_kills = field_of(path_of(call) + "/memory.events", "oom_kill");
    const bool memory = oom_kills > call.oom_kills || call.stalled;
    call.oom_kills = oom_kills;
    call.stalled = false;
    if (memory) return "memory: " + format_size(limits_.memory);
    const uint64_t hits = process_hits();
    const bool processes = call.kind != Kind::File && hits > process_hits_;
    process_hits_ = hits;
    return processes ? "processes: " + std::to_string(limits_.processes) : "";
}

}  // namespace peacrab
