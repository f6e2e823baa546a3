// The child of a tool call, in order: descriptors, namespaces, root directory, then two processes:
// pid 1 of the call, which only waits, and the command in its jail.
//
// The order is the protection. Descriptors of the warden are closed before any path the agent may
// have planted is followed; mounts are made while we are still root; pid 1 has given everything up
// before the command may start; the filter comes last. Nothing here may allocate, log or throw.
#include "cells/cell_child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
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

// Where the child's descriptors stand; all but 0-2 are closed on exec.
constexpr int kReport = 3;
constexpr int kProgram = 4;
constexpr int kFirstFree = 5;

void report(CellReport::Kind kind, int value, const char* step) noexcept {
    CellReport record{kind, value, {}};
    ::strncpy(record.step, step, sizeof record.step - 1);
    // Nobody to tell when this fails; the parent sees a child that ended without a word.
    [[maybe_unused]] const ssize_t n = ::write(kReport, &record, sizeof record);
}

[[noreturn]] void fail(const char* step) noexcept {
    report(CellReport::Kind::Failed, errno, step);
    ::_exit(126);
}

void require(bool done, const char* step) noexcept {
    if (!done) fail(step);
}

// Moves what the plan names to its fixed place and closes everything else: nothing of the warden
// may be reachable when a path of the agent is opened.
void arrange_descriptors(const CellPlan& plan) noexcept {
    const int from[] = {plan.input, plan.output, plan.output, plan.report, plan.program};
    int safe[kFirstFree];
    for (int i = 0; i < kFirstFree; ++i) {
        safe[i] = from[i] < 0 ? -1 : ::fcntl(from[i], F_DUPFD_CLOEXEC, 16);
        if (from[i] >= 0 && safe[i] < 0) ::_exit(126);
    }
    for (int i = 0; i < kFirstFree; ++i) {
        if (safe[i] < 0)
            ::close(i);
        else if (::dup3(safe[i], i, i < kReport ? 0 : O_CLOEXEC) < 0)
            ::_exit(126);
    }
    require(::close_range(kFirstFree, ~0u, 0) == 0, "descriptors");
}

// The warden ignores and handles signals; the command starts with none of that.
void default_signals() noexcept {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    require(::sigprocmask(SIG_SETMASK, &none, nullptr) == 0, "signals");
}

bool write_file(const char* path, const char* text) noexcept {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const size_t length = ::strlen(text);
    const bool done = ::write(fd, text, length) == static_cast<ssize_t>(length);
    const int code = errno;
    ::close(fd);
    errno = code;
    return done;
}

bool restrict_mount(const char* path, uint64_t attributes) noexcept {
    mount_attr attr{};
    attr.attr_set = attributes;
    return ::mount_setattr(AT_FDCWD, path, 0, &attr, sizeof attr) == 0;
}

bool tmpfs(const char* path, unsigned long flags, const char* options) noexcept {
    return ::mount("tmpfs", path, "tmpfs", flags, options) == 0;
}

void mount_scratch() noexcept {
    constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV;
    require(tmpfs("tmp", kPlain, "mode=1777,size=25%,nr_inodes=65536"), "mount /tmp");
    require(tmpfs("run", kPlain | MS_NOEXEC, "mode=0755,size=16m,nr_inodes=4096"), "mount /run");
    require(tmpfs("home", kPlain, "mode=0755,size=64k,nr_inodes=16"), "mount /home");
}

void make_devices() noexcept {
    struct Device {
        const char* path;
        unsigned major, minor;
    };
    static constexpr Device kDevices[] = {{"dev/null", 1, 3},    {"dev/zero", 1, 5},
                                          {"dev/full", 1, 7},    {"dev/random", 1, 8},
                                          {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    static constexpr const char* kLinks[][2] = {{"/proc/self/fd", "dev/fd"},
                                                {"/proc/self/fd/0", "dev/stdin"},
                                                {"/proc/self/fd/1", "dev/stdout"},
                                                {"/proc/self/fd/2", "dev/stderr"},
                                                {"pts/ptmx", "dev/ptmx"}};
    require(tmpfs("dev", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64"), "mount /dev");
    for (const Device& device : kDevices)
        require(::mknod(device.path, S_IFCHR | 0666, makedev(device.major, device.minor)) == 0,
                "make device");
    for (const auto& link : kLinks) require(::symlink(link[0], link[1]) == 0, "make /dev links");
    require(::mkdir("dev/shm", 0755) == 0 && ::mkdir("dev/pts", 0755) == 0, "make /dev");
    require(tmpfs("dev/shm", MS_NOSUID | MS_NODEV, "mode=1777,size=25%,nr_inodes=4096"),
            "mount /dev/shm");
    require(::mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                    "newinstance,ptmxmode=0666,mode=0620,max=64") == 0,
            "mount /dev/pts");
    require(restrict_mount("dev", MOUNT_ATTR_RDONLY), "close /dev");
}

// Covers with /dev/null, and looks whether it did.
void mask(const char* path) noexcept {
    struct stat info;
    if (::stat(path, &info) < 0) {
        require(errno == ENOENT, "mask /proc");
        return;
    }
    require(::mount("dev/null", path, nullptr, MS_BIND, nullptr) == 0, "mask /proc");
    require(::stat(path, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3),
            "mask /proc");
}

void mount_proc() noexcept {
    static constexpr const char* kMasked[] = {
        "proc/kcore",      "proc/keys",       "proc/key-users",     "proc/kmsg",
        "proc/kallsyms",   "proc/timer_list", "proc/sysrq-trigger", "proc/interrupts",
        "proc/kpagecount", "proc/kpageflags", "proc/kpagecgroup",   "proc/latency_stats",
        "proc/sched_debug"};
    static constexpr const char* kReadOnly[] = {"proc/sys", "proc/irq", "proc/bus", "proc/fs"};
    require(::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0,
            "mount /proc");
    for (const char* path : kMasked) mask(path);
    for (const char* path : kReadOnly) {
        if (::mount(path, path, nullptr, MS_BIND, nullptr) < 0) {
            require(errno == ENOENT, "close /proc");
            continue;
        }
        require(restrict_mount(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                         MOUNT_ATTR_NOEXEC),
                "close /proc");
    }
}

// As root, in fresh namespaces: the base becomes a read-only root with scratch space, a small /dev,
// a /proc of its own and the agent's home; what was there before is gone afterwards.
void build_root(const CellPlan& plan) noexcept {
    require(write_file("/proc/self/oom_score_adj", "1000"), "oom score");
    require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
    // Not recursive: what is mounted beneath the base is not the cell's.
    require(::mount(plan.base, plan.base, nullptr, MS_BIND, nullptr) == 0, "bind base");
    require(::chdir(plan.base) == 0, "enter base");
    require(restrict_mount(".", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV),
            "close base");
    ::umask(0);
    mount_scratch();
    make_devices();
    mount_proc();
    require(::mkdir("home/agent", 0755) == 0, "make home");
    require(::mount(plan.home, "home/agent", nullptr, MS_BIND, nullptr) == 0, "bind home");
    require(restrict_mount("home/agent", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "close home");
    require(restrict_mount("home", MOUNT_ATTR_RDONLY), "close /home");
    require(::syscall(SYS_pivot_root, ".", ".") == 0, "change root");
    require(::umount2(".", MNT_DETACH) == 0, "drop old root");
    require(::chdir("/") == 0, "enter root");
    require(::sethostname("peacrab", 7) == 0, "host name");
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

void report_end(int status) noexcept {
    if (WIFEXITED(status))
        report(CellReport::Kind::Exited, WEXITSTATUS(status), "");
    else
        report(CellReport::Kind::Signalled, WTERMSIG(status), "");
}

// Pid 1 of a pid namespace: reaps what is orphaned; when the command ends, so does the namespace.
// `home` ≥ 0: what the command wrote is on the disk before its end is told, because our VM may be
// killed at any moment, and a call that was reported as done must not be half gone then.
[[noreturn]] void reap_until(pid_t command, int home) noexcept {
    for (;;) {
        int status = 0;
        const pid_t pid = ::wait4(-1, &status, __WALL, nullptr);
        if (pid == command) {
            if (home >= 0) ::syncfs(home);
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
    int home = -1;
    if (plain) {
        // A signal that can be waited for: should the warden end, there are descendants to end.
        require(::sigprocmask(SIG_BLOCK, &awaited, nullptr) == 0, "signals");
        require(::prctl(PR_SET_PDEATHSIG, SIGTERM) == 0, "death signal");
    } else {
        JailOptions options;
        if (plan.layers.kind == CellLayers::Kind::Root) {
            home = ::open("/home/agent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            require(home >= 0, "open home");
            options.ids = kReaperIds;
        }
        if (const char* step = enter_jail(options, *plan.reaper_filter)) fail(step);
        // Taking ids clears it.
        require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
    }
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");
    // close() is not in the reaper's filter, so the gate opens by a byte.
    require(::write(gate[1], "", 1) == 1, "gate");
    if (plain) watch_until(command, awaited);
    reap_until(command, home);
}

[[noreturn]] void child_main(const CellPlan& plan) noexcept {
    // Before anything else: our memory is a copy of the warden's.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) ::_exit(126);
    const bool root = plan.layers.kind == CellLayers::Kind::Root;
    if (root && ::setns(plan.network, CLONE_NEWNET) < 0) ::_exit(126);
    arrange_descriptors(plan);
    // The parent may have gone before its death could be announced.
    pollfd reader{kReport, 0, 0};
    if (::poll(&reader, 1, 0) != 0) ::_exit(126);
    default_signals();
    switch (plan.layers.kind) {
        case CellLayers::Kind::Root:
            build_root(plan);
            break;
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
        case CellLayers::Kind::Root:
            return start_in(kSpaces, SIGCHLD, plan, pidfd);
        case CellLayers::Kind::Separated:
            return start_separated(plan, pidfd);
        case CellLayers::Kind::Plain:
            return start_plain(plan, pidfd);
    }
    errno = EINVAL;
    return -1;
}

bool raise_loopback() noexcept {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    ifreq request{};
    ::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
    bool done = ::ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    done = done && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    const int code = errno;
    ::close(fd);
    errno = code;
    return done;
}

}  // namespace peacrab
