// One fork and exec for all children of the host programs. Between fork and exec nothing allocates,
// throws or logs: the child reports {step, errno} and ends. Must not know what it starts.
#include "spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "error.h"

extern char** environ;

namespace peacrab {
namespace {

struct Failure {
    char step[24];
    int error;
};

// Everything the child needs, made before the fork.
struct Prepared {
    const SpawnOptions& options;
    std::vector<char*> arguments;
    std::vector<char*> environment;
    std::vector<int> high;  // room for the descriptors out of the way of their targets
    int null_fd;
    int report_fd;
    pid_t parent;
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
}

// Our own ignored and blocked signals must not be the child's.
bool default_signals() noexcept {
    ::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    return ::sigprocmask(SIG_SETMASK, &none, nullptr) == 0;
}

// First all sources out of the way, then each to its number, then everything else is closed. The
// report pipe ends up right above the highest number and stays CLOEXEC.
bool place_descriptors(Prepared& p) noexcept {
    constexpr int kHigh = 64;
    int top = 2;
    for (size_t i = 0; i < p.high.size(); ++i) {
        p.high[i] = ::fcntl(p.options.descriptors[i].first, F_DUPFD_CLOEXEC, kHigh);
        if (p.high[i] < 0) return false;
        top = std::max(top, p.options.descriptors[i].second);
    }
    const int null_high = ::fcntl(p.null_fd, F_DUPFD_CLOEXEC, kHigh);
    const int report_high = ::fcntl(p.report_fd, F_DUPFD_CLOEXEC, kHigh);
    if (null_high < 0 || report_high < 0) return false;
    for (int fd = 0; fd <= 2; ++fd)
        if (::dup2(null_high, fd) < 0) return false;
    for (size_t i = 0; i < p.high.size(); ++i)
        if (::dup2(p.high[i], p.options.descriptors[i].second) < 0) return false;
    if (::dup3(report_high, top + 1, O_CLOEXEC) < 0) return false;
    p.report_fd = top + 1;
    return ::syscall(SYS_close_range, static_cast<unsigned>(top + 2), ~0U, 0) == 0;
}

bool set_limit(__rlimit_resource what, uint64_t value) noexcept {
    const rlimit limit{value, value};
    return ::setrlimit(what, &limit) == 0;
}

// Nothing an exec could give back. Without CAP_SETPCAP there is nothing to drop.
bool drop_bounding_set() noexcept {
    for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
        if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EPERM) return false;
    return ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0;
}

bool take_ids(const Confinement::UserIds& ids) noexcept {
    return ::setgroups(ids.groups.size(), ids.groups.data()) == 0 &&
           ::setresgid(ids.group, ids.group, ids.group) == 0 &&
           ::setresuid(ids.user, ids.user, ids.user) == 0;
}

// As root with no other ids, and inside a user namespace, capabilities are still in the sets.
bool clear_capabilities() noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    return ::syscall(SYS_capset, &header, none) == 0;
}

const char* confine(const Confinement& confinement) noexcept {
    const bool offline = confinement.network == Confinement::Network::None;
    const int spaces = CLONE_NEWIPC | CLONE_NEWUTS | (offline ? CLONE_NEWNET : 0);
    if (::unshare(spaces) < 0 && ::unshare(CLONE_NEWUSER | spaces) < 0) {
        // Not allowed here. The VM has no network card; this layer is one more, not the one.
    }
    if (!set_limit(RLIMIT_CORE, 0)) return "core limit";
    if (!set_limit(RLIMIT_FSIZE, confinement.file_limit.count)) return "file size limit";
    if (!set_limit(RLIMIT_NOFILE, confinement.open_files)) return "open files limit";
    if (!drop_bounding_set()) return "bounding set";
    if (confinement.ids && !take_ids(*confinement.ids)) return "take ids";
    if (!clear_capabilities()) return "capabilities";
    return nullptr;
}

// Runs in the child; gives the name of the step that failed.
const char* become(Prepared& p) noexcept {
    if (!default_signals()) return "signals";
    if (p.options.new_session && ::setsid() < 0) return "new session";
    if (!place_descriptors(p)) return "descriptors";
    if (p.options.confinement)
        if (const char* step = confine(*p.options.confinement)) return step;
    // After the ids: changing them clears it. The parent may have gone before it was set.
    if (p.options.die_with_parent &&
        (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || ::getppid() != p.parent))
        return "die with parent";
    if (p.options.confinement && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return "no new privileges";
    ::execve(p.options.program.c_str(), p.arguments.data(), p.environment.data());
    return "exec";
}

[[noreturn]] void child_main(Prepared& p) noexcept {
    const char* step = become(p);
    Failure failure{};
    failure.error = errno;
    std::strncpy(failure.step, step, sizeof failure.step - 1);
    const ssize_t ignored = ::write(p.report_fd, &failure, sizeof failure);
    static_cast<void>(ignored);
    ::_exit(127);
}

}  // namespace

Pidfd spawn(const SpawnOptions& options) {
    Pipe report = Pipe::make();
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) throw ErrnoError("spawn: open /dev/null");
    Prepared prepared{options,    pointers(options.arguments), pointers(options.environment),
                      std::vector<int>(options.descriptors.size()),
                      null.get(), report.write.get(), ::getpid()};
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("spawn: fork");
    if (pid == 0) child_main(prepared);
    Pidfd child = Pidfd::of_child(pid);
    report.write.reset();
    Failure failure{};
    char* const bytes = reinterpret_cast<char*>(&failure);
    size_t got = 0;
    while (got < sizeof failure) {  // end of file: the exec closed the pipe
        const size_t n = read_some(report.read.get(), {bytes + got, sizeof failure - got}).value_or(0);
        if (n == 0) break;
        got += n;
    }
    if (got == sizeof failure)
        throw ErrnoError("spawn: " + options.program + ": " + failure.step, failure.error);
    if (got != 0) throw Error("spawn: " + options.program + ": died before its exec");
    return child;
}

std::vector<std::string> own_environment() {
    std::vector<std::string> out;
    for (char** entry = environ; entry && *entry; ++entry) out.push_back(*entry);
    return out;
}

std::string find_program(const std::string& name) {
    for (const std::string& folder : split(env("PATH") + ":/usr/sbin:/sbin:/usr/bin:/bin", ':')) {
        if (folder.empty() || folder[0] != '/') continue;
        std::string path = folder + "/" + name;
        if (::access(path.c_str(), X_OK) == 0) return path;
    }
    return "";
}

RunResult run_program(SpawnOptions options, Milliseconds limit) {
    constexpr size_t kKept = 4096;
    Pipe output = Pipe::make();
    options.descriptors.emplace_back(output.write.get(), 1);
    options.descriptors.emplace_back(output.write.get(), 2);
    options.die_with_parent = true;
    Pidfd child = spawn(options);
    output.write.reset();
    RunResult result;
    const Deadline deadline = Deadline::in(limit);
    std::vector<char> buffer(kKept);
    for (;;) {
        pollfd one{output.read.get(), POLLIN, 0};
        const int ready = ::poll(&one, 1, deadline.poll_timeout());
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) throw Error("run: " + options.program + ": no end in time");  // killed
        const size_t n = read_some(output.read.get(), buffer).value_or(0);
        if (n == 0) break;
        result.output.append(buffer.data(), n);
        if (result.output.size() > kKept) result.output.erase(0, result.output.size() - kKept);
    }
    // It closed its output; a program that then lingers is still bounded.
    pollfd ended{child.fd(), POLLIN, 0};
    while (::poll(&ended, 1, deadline.poll_timeout()) < 0 && errno == EINTR) {
    }
    if (!ended.revents) throw Error("run: " + options.program + ": no end in time");
    result.exit = child.wait();
    return result;
}

}  // namespace peacrab
