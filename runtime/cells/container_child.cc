// A container's own processes, each a list of steps in an order that is the protection.
//
// Pid 1 makes everything while it is real root, in namespaces that belong to the machine; then it is
// an id no cell has, with no right, and rests. A call's keeper enters these namespaces, clones the
// command into the call's control group, and gives everything up; it stays outside of the cell's pid
// namespace, so that nothing in the cell can name it. The command takes the cell's ids last of all
// that needs a right. Nothing here may allocate, log or throw.
#include "cells/container_child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cells/mechanism.h"

namespace peacrab {
namespace {

pid_t clone_into(uint64_t flags, int group, int* pidfd) noexcept {
    clone_args args{};
    args.flags = flags | CLONE_INTO_CGROUP | (pidfd ? uint64_t{CLONE_PIDFD} : 0);
    args.pidfd = reinterpret_cast<uintptr_t>(pidfd);
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<uint64_t>(group);
    return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

// --- pid 1

constexpr int kContainerUsers = 4;

int listen_on_loopback() noexcept {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    const int one = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(kProxyPort);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
        ::listen(fd, 128) < 0)
        return -1;
    return fd;
}

// Servers may take any port, as in-cell root could otherwise not; nobody makes ICMP sockets.
int make_network() noexcept {
    require(raise_loopback(), "loopback");
    require(write_text("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"), "ports");
    require(write_text("/proc/sys/net/ipv4/ping_group_range", "1 0"), "ping");
    const int listener = listen_on_loopback();
    require(listener >= 0, "proxy port");
    return listener;
}

bool send_descriptor(int fd) noexcept {
    CellReport record{CellReport::Kind::Exited, 0, "built"};
    iovec bytes{&record, sizeof record};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    ::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return ::sendmsg(kReport, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof record);
}

[[noreturn]] void rest() noexcept {
    for (;;) ::pause();
}

[[noreturn]] void container_main(const ContainerPlan& plan) noexcept {
    const int descriptors[] = {-1, -1, -1, plan.socket, plan.root.users};
    arrange_descriptors(descriptors);
    default_signals();
    // The kernel reaps what is orphaned here.
    require(::signal(SIGCHLD, SIG_IGN) != SIG_ERR, "signals");
    require(write_text("/proc/self/oom_score_adj", "-1000"), "oom score");
    // From within its own group: what is above it has no name in the cell.
    if (on(Mechanism::CgroupNamespace)) require(::unshare(CLONE_NEWCGROUP) == 0, "own groups");
    const int listener = make_network();
    RootPlan root = plan.root;
    root.users = kContainerUsers;
    if (const char* step = build_root(root)) fail(step);
    require(::sethostname("peacrab", 7) == 0, "host name");
    require(send_descriptor(listener), "hand over");
    require(::close_range(0, kReport - 1, 0) == 0 && ::close_range(kReport + 1, ~0u, 0) == 0,
            "descriptors");
    JailOptions options;
    // Nobody's in the cell, or its root could signal us.
    options.ids = on(Mechanism::ReaperIds) ? kReaperIds : Ids{plan.root.first_id, plan.root.first_id};
    if (const char* step = enter_jail(options, *plan.reaper)) fail(step);
    // Taking ids clears it; and without us nobody is in the cell.
    require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");
    report(CellReport::Kind::Exited, 0, "resting");
    rest();
}

// --- a call

constexpr int kProgram = 4, kUsers = 5, kRules = 6, kKill = 7, kEvents = 8, kHome = 9, kGroup = 10,
              kCell = 11;

// What the jail and the start still need is closed by the start.
bool close_ours() noexcept {
    if (on(Mechanism::Descriptors)) return ::close_range(kKill, ~0u, 0) == 0;
    for (int fd = kReport; fd <= kCell; ++fd) ::fcntl(fd, F_SETFD, 0);
    return true;
}

[[noreturn]] void command_main(const EntryPlan& plan) noexcept {
    // Of all the cell's processes those of calls go first when memory runs out, and cannot change it.
    require(write_text("/proc/self/oom_score_adj", "500"), "oom score");
    if (plan.input < 0) require(::open("/dev/null", O_RDONLY) == 0, "open /dev/null");
    JailOptions jail = plan.jail;
    jail.user_namespace = on(Mechanism::UserNamespace) ? kUsers : -1;
    if (jail.landlock >= 0) jail.landlock = kRules;
    require(close_ours(), "descriptors");
    ::umask(022);
    if (const char* step = enter_jail(jail, *plan.filter)) fail(step);
    // Until exec our memory is the warden's, and taking ids may have opened it to others of them.
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");
    auto* arguments = const_cast<char* const*>(plan.arguments);
    auto* environment = const_cast<char* const*>(plan.environment);
    if (plan.act) ::_exit(plan.act());
    if (plan.program >= 0)
        ::syscall(SYS_execveat, kProgram, "", arguments, environment, AT_EMPTY_PATH);
    else
        ::execve(plan.path, arguments, environment);
    fail("execute");
}

// Is somebody in the group still? The first line that matters reads `populated 1`.
bool populated() noexcept {
    char text[128];
    const ssize_t n = ::pread(kEvents, text, sizeof text - 1, 0);
    if (n <= 0) return false;
    text[n] = '\0';
    return ::strstr(text, "populated 1") != nullptr;
}

[[noreturn]] void keep(pid_t command, bool outlives) noexcept {
    int status = 0;
    while (::wait4(command, &status, __WALL, nullptr) < 0)
        if (errno != EINTR) ::_exit(126);
    while (outlives && populated()) {
        pollfd one{kEvents, POLLPRI, 0};
        ::poll(&one, 1, -1);
    }
    if (on(Mechanism::KillCall) && ::write(kKill, "1", 1) == 1) {
        // Who cannot even be killed at once must not hold the call.
        for (int round = 0; round < 20 && populated(); ++round) {
            pollfd one{kEvents, POLLPRI, 0};
            ::poll(&one, 1, 100);
        }
    }
    // What it wrote is on the disk before its end is told, because our VM may be killed at any
    // moment, and a call that was reported as done must not be half gone then.
    ::syncfs(kHome);  // a throw-away cell has none
    report_end(status);
    ::_exit(0);
}

[[noreturn]] void entry_main(const EntryPlan& plan) noexcept {
    const int descriptors[] = {plan.input,   plan.output,
                               plan.output,  plan.report,
                               plan.program, plan.jail.user_namespace,
                               plan.jail.landlock, plan.kill,
                               plan.events,  plan.home,
                               plan.group,   plan.cell};
    arrange_descriptors(descriptors);
    default_signals();
    require(::setns(kCell, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                               CLONE_NEWCGROUP | CLONE_NEWPID) == 0,
            "enter cell");
    const pid_t command = clone_into(0, kGroup, nullptr);
    require(command >= 0, "fork");
    if (command == 0) command_main(plan);
    require(::close_range(0, kReport - 1, 0) == 0 && ::close_range(kProgram, kRules, 0) == 0 &&
                ::close_range(kGroup, ~0u, 0) == 0,
            "descriptors");
    JailOptions options;
    options.ids = kReaperIds;
    if (const char* step = enter_jail(options, *plan.reaper)) fail(step);
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");  // the keeper's, for good
    keep(command, plan.outlives);
}

}  // namespace

pid_t start_container(const ContainerPlan& plan, int init, int& pidfd) noexcept {
    const int spaces = (on(Mechanism::MountNamespace) ? CLONE_NEWNS : 0) |
                             (on(Mechanism::NetNamespace) ? CLONE_NEWNET : 0) |
                             (on(Mechanism::PidNamespace) ? CLONE_NEWPID : 0) |
                             (on(Mechanism::IpcNamespace) ? CLONE_NEWIPC : 0) |
                             (on(Mechanism::UtsNamespace) ? CLONE_NEWUTS : 0);
    const pid_t pid = clone_into(static_cast<uint64_t>(spaces), init, &pidfd);
    if (pid == 0) container_main(plan);
    return pid;
}

pid_t start_entry(const EntryPlan& plan, int keepers, int& pidfd) noexcept {
    const pid_t pid = clone_into(0, keepers, &pidfd);
    if (pid == 0) entry_main(plan);
    return pid;
}

}  // namespace peacrab
