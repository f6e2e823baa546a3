// The child of a tool call, in order: descriptors, namespaces, root directory, then two processes:
// pid 1 of the call, which only waits, and the command in its jail.
//
// The order is the protection. Descriptors of the warden are closed before any path the agent may
// have planted is followed; mounts are made while we are still root; pid 1 has given everything up
// before the command may start; the filter comes last. Nothing here may allocate, log or throw.
#include "cells/cell_child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace peacrab {
namespace {

constexpr int kProgram = 4;

bool tmpfs(const char* path, unsigned long flags, const char* options) noexcept {
    return ::mount("tmpfs", path, "tmpfs", flags, options) == 0;
}

void hide(const char* path) noexcept {
    struct stat info;
    require(::stat(path, &info) == 0, "hide");
    if (S_ISDIR(info.st_mode))
        require(tmpfs(path, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
                      "mode=0555,size=4k,nr_inodes=2"),
                "hide");
    else
        require(::mount("/dev/null", path, nullptr, MS_BIND, nullptr) == 0, "hide");
}

void make_path(const char* path) noexcept {
    char part[PATH_MAX];
    const size_t length = ::strlen(path);
    require(length < sizeof part, "keep workspace");
    ::memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; ++i) {
        if (part[i] != '/' && part[i] != '\0') continue;
        const char end = part[i];
        part[i] = '\0';
        require(::mkdir(part, 0755) == 0 || errno == EEXIST, "keep workspace");
        part[i] = end;
    }
}

// Among the machine's files are doors past the jail: sockets of the person's session bus, service
// manager, containers and terminal multiplexer, the terminal itself, others' shared memory. Where
// they usually are, a call has something empty of its own.
void cover_doors(const CellPlan& plan) noexcept {
    struct Cover {
        const char* path;
        const char* type;
        const char* options;
    };
    static constexpr Cover kCovers[] = {
        {"/tmp", "tmpfs", "mode=1777,nr_inodes=65536"},
        {"/run", "tmpfs", "mode=0755,size=16m,nr_inodes=4096"},
        {"/dev/shm", "tmpfs", "mode=1777,nr_inodes=4096"},
        {"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,max=64"},
    };
    int kept = -1;
    if (plan.kept) {
        kept = ::open_tree(AT_FDCWD, plan.kept, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        require(kept >= 0, "keep workspace");
    }
    for (const Cover& cover : kCovers) {
        const unsigned long flags = MS_NOSUID | (*cover.type == 't' ? MS_NODEV : MS_NOEXEC);
        require(::mount(cover.type, cover.path, cover.type, flags, cover.options) == 0 ||
                    errno == ENOENT,
                "cover /tmp, /run and /dev");
    }
    if (!plan.kept) return;
    make_path(plan.kept);
    require(::move_mount(kept, "", AT_FDCWD, plan.kept, MOVE_MOUNT_F_EMPTY_PATH) == 0,
            "keep workspace");
    ::close(kept);
}

// As an ordinary user, in namespaces that belong to a user namespace of our own. The files stay the
// machine's, except for what is hidden and the doors.
void separate(const CellPlan& plan) noexcept {
    require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
    for (const char* path : plan.hidden) hide(path);
    cover_doors(plan);
    if (plan.layers.fresh_proc)
        require(::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0,
                "mount /proc");
    require(::sethostname("peacrab", 7) == 0, "host name");
}

[[noreturn]] void run_command(const CellPlan& plan, int gate) noexcept {
    // If pid 1 goes, everything goes with it; without a pid namespace this must be asked for.
    require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
    char byte;
    while (::read(gate, &byte, 1) < 0 && errno == EINTR) {
    }
    ::umask(022);
    if (const char* step = enter_jail(plan.jail, *plan.filter)) fail(step);
    auto* arguments = const_cast<char* const*>(plan.arguments);
    auto* environment = const_cast<char* const*>(plan.environment);
    if (plan.program >= 0) {
        ::syscall(SYS_execveat, kProgram, "", arguments, environment, AT_EMPTY_PATH);
        fail("execute");
    }
    if (plan.path) {
        ::execve(plan.path, arguments, environment);
        fail("execute");
    }
    ::_exit(0);
}

// Pid 1 of a pid namespace: reaps what is orphaned; when the command ends, so does the namespace.
[[noreturn]] void reap_until(pid_t command) noexcept {
    for (;;) {
        int status = 0;
        const pid_t pid = ::wait4(-1, &status, __WALL, nullptr);
        if (pid == command) {
            report_end(status);
            ::_exit(0);
        }
        if (pid < 0 && errno != EINTR) ::_exit(126);
    }
}

// Kills our own children as often as new orphans turn up. Source: proc(5), "children".
void kill_descendants() noexcept {
    char path[64];
    ::snprintf(path, sizeof path, "/proc/self/task/%d/children", ::getpid());
    for (int round = 0; round < 256; ++round) {
        char pids[4096];
        const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd < 0 ? -1 : ::read(fd, pids, sizeof pids - 1);
        if (fd >= 0) ::close(fd);
        if (n <= 0) return;
        pids[n] = '\0';
        char* at = pids;
        for (long pid; (pid = ::strtol(at, &at, 10)) > 1;) ::kill(static_cast<pid_t>(pid), SIGKILL);
        while (::waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
}

// Without a pid namespace: ends with the command or at SIGTERM, and takes along whom it can find.
[[noreturn]] void watch_until(pid_t command, const sigset_t& awaited) noexcept {
    bool told = false;
    for (;;) {
        int status = 0;
        pid_t pid;
        while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
            if (pid == command) {
                report_end(status);
                told = true;
            }
        }
        if (told) break;
        if (::sigwaitinfo(&awaited, nullptr) == SIGTERM) break;
    }
    ::kill(-command, SIGKILL);
    kill_descendants();
    ::_exit(0);
}

[[noreturn]] void supervise(const CellPlan& plan) noexcept {
    const bool plain = plan.layers.kind == CellLayers::Kind::Plain;
    if (plan.input < 0) require(::open("/dev/null", O_RDONLY) == 0, "open /dev/null");
    sigset_t awaited;
    ::sigemptyset(&awaited);
    ::sigaddset(&awaited, SIGCHLD);
    ::sigaddset(&awaited, SIGTERM);
    if (plain) require(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "adopt orphans");
    int gate[2];
    require(::pipe2(gate, O_CLOEXEC) == 0, "gate");
    const pid_t command = ::_Fork();
    require(command >= 0, "fork");
    if (command == 0) {
        ::close(gate[1]);
        run_command(plan, gate[0]);
    }
    // Nothing but the report and the gate is kept.
    require(::close_range(0, kReport - 1, 0) == 0, "descriptors");
    if (gate[1] > kReport + 1)
        require(::close_range(kReport + 1, static_cast<unsigned>(gate[1]) - 1, 0) == 0,
                "descriptors");
    require(::close_range(static_cast<unsigned>(gate[1]) + 1, ~0u, 0) == 0, "descriptors");
    if (plain) {
        // A signal that can be waited for: should the warden end, there are descendants to end.
        require(::sigprocmask(SIG_BLOCK, &awaited, nullptr) == 0, "signals");
        require(::prctl(PR_SET_PDEATHSIG, SIGTERM) == 0, "death signal");
    } else {
        JailOptions options;
        if (const char* step = enter_jail(options, *plan.reaper_filter)) fail(step);
        // Taking ids clears it.
        require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
    }
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");
    // close() is not in the reaper's filter, so the gate opens by a byte.
    require(::write(gate[1], "", 1) == 1, "gate");
    if (plain) watch_until(command, awaited);
    reap_until(command);
}

[[noreturn]] void child_main(const CellPlan& plan) noexcept {
    // Before anything else: our memory is a copy of the warden's.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) ::_exit(126);
    const int descriptors[] = {plan.input, plan.output, plan.output, plan.report, plan.program};
    arrange_descriptors(descriptors);
    // The parent may have gone before its death could be announced.
    pollfd reader{kReport, 0, 0};
    if (::poll(&reader, 1, 0) != 0) ::_exit(126);
    default_signals();
    switch (plan.layers.kind) {
        case CellLayers::Kind::Separated:
            separate(plan);
            break;
        case CellLayers::Kind::Plain:
            break;
    }
    supervise(plan);
}

}  // namespace

namespace {

constexpr uint64_t kSpaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;

pid_t start_in(uint64_t flags, int exit_signal, const CellPlan& plan, int& pidfd) noexcept {
    clone_args args{};
    args.flags = CLONE_PIDFD | flags;
    args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
    args.exit_signal = static_cast<uint64_t>(exit_signal);
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) child_main(plan);
    return static_cast<pid_t>(pid);
}

// The user namespace has to be entered before the others can be made, and a process that has
// entered cannot come back: one borrows our memory for these three calls, makes the child as its
// sibling, and is gone.
pid_t start_separated(const CellPlan& plan, int& pidfd) noexcept {
    volatile pid_t made = -1;
    volatile int code = 0;
    const pid_t entering = ::vfork();
    if (entering == 0) {
        int unused = -1;
        if (::setns(plan.user, CLONE_NEWUSER) == 0 && ::setns(plan.network, CLONE_NEWNET) == 0)
            made = start_in(CLONE_PARENT | kSpaces, 0, plan, unused);
        code = errno;
        ::_exit(0);
    }
    if (entering < 0) return -1;
    while (::waitpid(entering, nullptr, 0) < 0 && errno == EINTR) {
    }
    errno = code;
    if (made <= 0) return -1;
    pidfd = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(made), 0));
    return made;
}

// By the old call: a sandbox around us that has no namespaces to give refuses clone3 as well.
pid_t start_plain(const CellPlan& plan, int& pidfd) noexcept {
    const pid_t pid = ::_Fork();
    if (pid == 0) child_main(plan);
    if (pid > 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    return pid;
}

}  // namespace

pid_t start_cell_child(const CellPlan& plan, int& pidfd) noexcept {
    switch (plan.layers.kind) {
        case CellLayers::Kind::Separated:
            return start_separated(plan, pidfd);
        case CellLayers::Kind::Plain:
            return start_plain(plan, pidfd);
    }
    errno = EINVAL;
    return -1;
}

}  // namespace peacrab
