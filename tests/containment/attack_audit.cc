// `audit PART`: what a cell is like, from inside, as lines that compare with a golden file. Nothing
// is judged here; what changes from start to start (ids, counts) is left out or replaced by a
// letter.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "attack.h"

extern char** environ;

namespace attack {
namespace {

int rights() {
    for (const char* name : {"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd",
                             "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"})
        std::printf("%s %s\n", name, status_field(name).c_str());
    for (const char* name : {"uid_map", "gid_map", "setgroups"}) {
        unsigned long inside = 0, outside = 0, count = 0;
        const std::string text = read_all(std::string("/proc/self/") + name);
        if (std::sscanf(text.c_str(), "%lu %lu %lu", &inside, &outside, &count) == 3)
            std::printf("%s %lu %s %lu\n", name, inside,
                        outside >= 1048576 && outside % 65536 == 0 ? "own range" : "SHARED RANGE",
                        count);
        else
            std::printf("%s %s", name, text.c_str());
    }
    for (const char* name : {"user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"}) {
        // The initial ones have the first numbers: include/linux/proc_ns.h. Who may not even ask
        // for the owner stands outside of it.
        const std::string path = std::string("/proc/self/ns/") + name, target = link_of(path);
        const size_t at = target.find('[');
        const bool initial =
            at != std::string::npos && std::atoll(target.c_str() + at + 1) <= 4026531841;
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const long owner = raw(SYS_ioctl, fd, 0xb701);  // NS_GET_USERNS
        std::printf("namespace %s %s, owner %s\n", name,
                    target.empty() ? "none"
                    : initial      ? "initial"
                                   : "own",
                    owner < 0 && errno == EPERM ? "outside" : "WITHIN");
        ::close(fd);
    }
    for (const char* name : {"user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"})
        std::printf("max_%s_namespaces %s", name,
                    read_all(std::string("/proc/sys/user/max_") + name + "_namespaces").c_str());
    return 0;
}

int mounts() {
    std::vector<std::string> lines;
    const std::string text = read_all("/proc/self/mountinfo");
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
        char root[512], point[512], options[256];
        if (std::sscanf(text.c_str() + at, "%*d %*d %*s %511s %511s %255s", root, point, options) !=
            3)
            break;
        const std::string line = text.substr(at, text.find('\n', at) - at);
        std::string kind = line.substr(line.find(" - ") + 3);
        kind = kind.substr(0, kind.find(' '));
        const bool shared =
            line.find(" shared:") < line.find(" - ") || line.find(" master:") < line.find(" - ");
        lines.push_back(std::string(point) + " " + kind + " " + options +
                        (shared ? " PROPAGATES" : ""));
    }
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines) std::printf("mount %s\n", line.c_str());
    return 0;
}

void print_nodes(const std::string& folder) {
    std::vector<std::string> names = list(folder);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
        const std::string path = folder + "/" + name;
        struct stat info;
        if (::lstat(path.c_str(), &info) < 0) continue;
        if (S_ISDIR(info.st_mode)) {
            std::printf("dir %s %o\n", path.c_str(), info.st_mode & 07777);
            if (path != "/dev/shm" && path != "/dev/mqueue") print_nodes(path);
        } else if (S_ISLNK(info.st_mode)) {
            std::printf("link %s %s\n", path.c_str(), link_of(path).c_str());
        } else {
            std::printf("%s %s %o %u:%u\n",
                        S_ISCHR(info.st_mode)   ? "char"
                        : S_ISBLK(info.st_mode) ? "block"
                                                : "file",
                        path.c_str(), info.st_mode & 07777, major(info.st_rdev),
                        minor(info.st_rdev));
        }
    }
}

int devices() {
    print_nodes("/dev");
    return 0;
}

int sockets() {
    for (const char* name :
         {"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix", "netlink", "packet"}) {
        const std::string text = read_all(std::string("/proc/net/") + name);
        if (text.empty()) continue;
        for (size_t at = text.find('\n') + 1; at && at < text.size();
             at = text.find('\n', at) + 1) {
            char local[128], remote[128], state[8];
            if (std::sscanf(text.c_str() + at, " %*s %127s %127s %7s", local, remote, state) != 3)
                break;
            if (std::strcmp(name, "unix") == 0 || std::strcmp(name, "netlink") == 0)
                std::printf("socket %s\n", name);
            else if (std::strcmp(state, "06") != 0)  // not what is closing
                std::printf("socket %s %s %s\n", name, local, state);
        }
    }
    const std::string devices = read_all("/proc/net/dev");
    for (size_t at = 0; at < devices.size(); at = devices.find('\n', at) + 1) {
        char name[64];
        if (std::sscanf(devices.c_str() + at, " %63[^: ]:", name) == 1 &&
            devices.find(':', at) < devices.find('\n', at))
            std::printf("device %s\n", name);
    }
    const std::string routes = read_all("/proc/net/route");
    std::printf("routes %ld\n", std::count(routes.begin(), routes.end(), '\n') - 1);
    return 0;
}

int environment() {
    std::vector<std::string> lines;
    for (char** each = environ; *each; ++each) lines.emplace_back(*each);
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines)
        if (line.rfind("_=", 0) != 0) std::printf("env %s\n", line.c_str());
    for (const int fd : first_descriptors()) {
        std::string target = link_of("/proc/self/fd/" + std::to_string(fd));
        std::printf("fd %d %s\n", fd, target.substr(0, target.find('[')).c_str());
    }
    static const struct {
        const char* name;
        int which;
    } kLimits[] = {{"cpu", 0},       {"fsize", 1},   {"core", 4},   {"nproc", 6},
                   {"nofile", 7},    {"memlock", 8}, {"locks", 10}, {"sigpending", 11},
                   {"msgqueue", 12}, {"nice", 13},   {"rtprio", 14}};
    for (const auto& limit : kLimits) {
        unsigned long pair[2] = {};
        raw(SYS_prlimit64, 0, limit.which, 0, reinterpret_cast<long>(pair));
        const bool of_memory =
            limit.which == 6 || limit.which == 11;  // the kernel's default is a share of it
        std::printf("limit %s %s\n", limit.name,
                    pair[1] == ~0UL ? "none"
                    : of_memory     ? "some"
                                    : std::to_string(pair[1]).c_str());
    }
    return 0;
}

// Every system call number with arguments that no call accepts, in a child of its own. EPERM,
// ENOSYS and a kill are a refusal; everything else shows a call that the filter lets through. Calls
// that would end, stop or replace the child are told by how it ended.
int calls() {
    std::string open;
    for (long number = 0; number < 480; ++number) {
        const Try result = in_child([=] { return raw(number, -1, -1, -1, -1, -1, -1); }, 1);
        const bool refused =
            result.signal == SIGSYS || (!result.signal && result.value < 0 &&
                                        (result.error == EPERM || result.error == ENOSYS));
        if (!refused) open += " " + std::to_string(number);
    }
    std::printf("calls%s\n", open.c_str());
    return 0;
}

int files() {
    for (const char* path :
         {"/", "/home/agent", "/home/agent/workspace", "/tmp", "/run", "/run/output", "/dev/shm",
          "/proc", "/proc/sys"}) {
        struct stat info;
        if (::lstat(path, &info) < 0)
            std::printf("path %s none\n", path);
        else
            std::printf("path %s %o %u:%u %s\n", path, info.st_mode & 07777, info.st_uid,
                        info.st_gid, ::access(path, W_OK) == 0 ? "writable" : "read-only");
    }
    std::printf("sysfs %s\n", list("/sys").empty() ? "none" : "PRESENT");
    std::printf("hostname %s", read_all("/proc/sys/kernel/hostname").c_str());
    std::string group = read_all("/proc/self/cgroup");
    if (const size_t at = group.find_last_of('-'); at != std::string::npos) group.resize(at);
    std::printf("cgroup %s\n", group.c_str());
    return 0;
}

std::string field(const std::string& status, const char* name) {
    const size_t at = status.find("\n" + std::string(name) + ":\t");
    if (at == std::string::npos) return "?";
    const size_t from = at + std::strlen(name) + 3;
    return status.substr(from, status.find_first_of("\t\n", from) - from);
}

// Every kind of process there is to see: pid 1, what runs in the cell, and what runs a program that
// is no file of the cell (`helper`).
int watch(int seconds) {
    std::vector<std::string> lines;
    const time_t end = ::time(nullptr) + seconds;
    while (::time(nullptr) < end)
        for (const int pid : pids()) {
            const std::string folder = "/proc/" + std::to_string(pid);
            const std::string status = read_all(folder + "/status");
            if (status.empty() || field(status, "State")[0] == 'Z') continue;
            const std::string exe = link_of(folder + "/exe");
            const bool helper = pid != 1 && (exe.empty() || ::access(exe.c_str(), F_OK) < 0);
            const std::string name = pid == 1 ? "1" : helper ? "helper" : "program";
            if (name != "program" && raw(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0) == 0)
                std::printf("TRACED %s\n", status.substr(0, 200).c_str());
            const std::string line = "seen " + name + " seccomp=" + field(status, "Seccomp") +
                                     " nnp=" + field(status, "NoNewPrivs") +
                                     " filters=" + field(status, "Seccomp_filters") +
                                     " caps=" + field(status, "CapEff") +
                                     " uid=" + field(status, "Uid");
            if (std::find(lines.begin(), lines.end(), line) == lines.end() && lines.size() < 50) {
                lines.push_back(line);
                std::puts(line.c_str());
            }
        }
    return 0;
}

}  // namespace

int audit(const std::vector<std::string>& words) {
    if (words.size() == 2 && words[0] == "watch") return watch(std::atoi(words[1].c_str()));
    if (words.size() != 2 || words[0] != "audit") return -1;
    const struct {
        const char* name;
        int (*run)();
    } parts[] = {{"rights", rights},   {"mounts", mounts},           {"devices", devices},
                 {"sockets", sockets}, {"environment", environment}, {"calls", calls},
                 {"files", files}};
    int found = -1;
    for (const auto& part : parts)
        if (words[1] == part.name || words[1] == "all") found = part.run();
    return found < 0 ? 2 : found;
}

}  // namespace attack
