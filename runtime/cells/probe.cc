// A table of attempts and the errno each must come to. All are made by one process, one after the
// other: nothing in class shell ends a process, and an attempt that works is the end of the cell
// anyway. An attempt that could hurt when it works is made so that it does not: with a bad pointer
// behind the check it is after, or with no effect. Nothing here may allocate or throw but the
// parent's part.
#include "cells/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <span>

#include "os.h"

namespace peacrab {
namespace {

// Below 0: refused, errno says why.
using Attempt = long (*)() noexcept;

constexpr unsigned kCell = 1, kShared = 2, kBoth = kCell | kShared;

struct Effect {
    const char* name;
    Attempt attempt;
    std::array<int, 3> walls;  // the errnos of its walls
    unsigned where = kBoth;
};

long refused(int code) noexcept {
    errno = code;
    return -1;
}

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) noexcept {
    return ::syscall(number, a, b, c, d, e);
}

// A file that is covered with /dev/null is as good as none.
long opens(const char* path, int flags) noexcept {
    const int fd = ::open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat info;
    if (fd < 0) return -1;
    const bool null =
        ::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
    ::close(fd);
    return null ? refused(ENODEV) : 0;
}

constexpr char kMemory[] = "/dev/mem", kLog[] = "/dev/kmsg", kDisk[] = "/dev/vda",
               kCorePattern[] = "/proc/sys/kernel/core_pattern", kSysrq[] = "/proc/sysrq-trigger";
template <const char* Path>
long opens_to_write() noexcept {
    return opens(Path, O_WRONLY);
}

long mount_scratch() noexcept {
    return ::mount("probe", "/tmp", "tmpfs", 0, nullptr);
}

template <int Family, int Type = SOCK_STREAM, int Protocol = 0>
long socket_of() noexcept {
    return ::socket(Family, Type | SOCK_CLOEXEC, Protocol);
}

template <long Flag>
long unshare_of() noexcept {
    return call(SYS_unshare, Flag);
}

long clone_user() noexcept {
    const long pid = call(SYS_clone, CLONE_NEWUSER | SIGCHLD);
    if (pid == 0) ::_exit(0);
    return pid;
}

long enter_own_mounts() noexcept {
    const int fd = ::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    const long result = fd < 0 ? -1 : call(SYS_setns, fd, 0);
    const int code = errno;
    if (fd >= 0) ::close(fd);
    errno = code;
    return result;
}

// The namespace's own bound: with 0 in it nobody in the cell can make one, filter or not.
long nested_namespaces() noexcept {
    for (const char* path :
         {"/proc/sys/user/max_user_namespaces", "/proc/sys/user/max_mnt_namespaces",
          "/proc/sys/user/max_net_namespaces", "/proc/sys/user/max_pid_namespaces"}) {
        char text[2] = {};
        const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd < 0 ? -1 : ::read(fd, text, sizeof text);
        if (fd >= 0) ::close(fd);
        if (n != 2 || text[0] != '0' || text[1] != '\n') return 1;
    }
    return refused(ENOSPC);
}

long make_device() noexcept {
    const long result = ::mknod("/tmp/.probe", S_IFBLK | 0600, makedev(254, 0));
    if (result == 0) ::unlink("/tmp/.probe");
    return result;
}

long write_kept_output() noexcept {
    const long result = opens("/run/output/.probe", O_WRONLY | O_CREAT | O_EXCL);
    if (result >= 0) ::unlink("/run/output/.probe");
    return result;
}

long read_init() noexcept {
    char byte;
    iovec ours{&byte, 1}, theirs{&byte, 1};
    return ::process_vm_readv(1, &ours, 1, &theirs, 1, 0);
}

long raise_interface() noexcept {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    ::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
    request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;  // as it is
    const long result = fd < 0 ? -1 : ::ioctl(fd, SIOCSIFFLAGS, &request);
    const int code = errno;
    if (fd >= 0) ::close(fd);
    errno = code;
    return result;
}

long add_route() noexcept {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rtentry route{};  // to nowhere
    const long result = fd < 0 ? -1 : ::ioctl(fd, SIOCADDRT, &route);
    const int code = errno;
    if (fd >= 0) ::close(fd);
    errno = code;
    return result;
}

long other_interface() noexcept {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    long result = refused(ENODEV);
    for (request.ifr_ifindex = 1; fd >= 0 && request.ifr_ifindex < 16; ++request.ifr_ifindex) {
        if (::ioctl(fd, SIOCGIFNAME, &request) == 0 && std::strcmp(request.ifr_name, "lo") != 0)
            result = 1;
    }
    if (fd >= 0) ::close(fd);
    if (result < 0) errno = ENODEV;
    return result;
}

template <int Type>
long dial_outside() noexcept {
    const int fd = ::socket(AF_INET, Type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);                  // discard
    to.sin_addr.s_addr = htonl(0xc6336401);  // 198.51.100.1: in documentation only
    const int result = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
    const int code = errno;
    ::close(fd);
    if (result < 0 && code != EINPROGRESS) return refused(code);
    return 0;
}

// What in-cell root keeps; see containers' calls.
constexpr uint64_t kRoot = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
                           1ull << CAP_FSETID | 1ull << CAP_SETUID | 1ull << CAP_SETGID |
                           1ull << CAP_SETPCAP | 1ull << CAP_KILL | 1ull << CAP_SYS_CHROOT |
                           1ull << CAP_SETFCAP;

long beyond(uint64_t kept) noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capget, &header, sets) < 0) return 1;
    for (unsigned i = 0; i < 64; ++i) {
        if (kept >> i & 1) continue;
        const auto& set = sets[i / 32];
        if ((set.effective | set.permitted | set.inheritable) >> i % 32 & 1) return i;
        // Whoever has no right to change it keeps a bounding set that nothing can be taken from.
        if (kept && ::prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) return i;
    }
    sets[CAP_SYS_ADMIN / 32].permitted |= 1u << CAP_SYS_ADMIN % 32;
    sets[CAP_SYS_ADMIN / 32].effective |= 1u << CAP_SYS_ADMIN % 32;
    return ::syscall(SYS_capset, &header, sets);
}

long gain_by_exec() noexcept {
    return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? refused(EPERM) : 1;
}

long inherited_descriptor() noexcept {
    // Three are ours; of what the start itself needed nothing survives a start.
    for (int fd = 0; fd < 64; ++fd)
        if (const int flags = ::fcntl(fd, F_GETFD); fd > 2 && flags >= 0 && !(flags & FD_CLOEXEC))
            return fd;
    return refused(EBADF);
}

long by_handle() noexcept {
    struct {
        unsigned bytes = 8;
        int type = 1;
        unsigned char handle[8] = {2};
    } root;
    return call(SYS_open_by_handle_at, AT_FDCWD, reinterpret_cast<long>(&root), O_RDONLY);
}

// clang-format off: one row a line.
constexpr Effect kEffects[] = {
    {"make a mount namespace", unshare_of<CLONE_NEWNS>, {EPERM}},
    {"make a user namespace", unshare_of<CLONE_NEWUSER>, {EPERM}},
    {"make a network namespace", unshare_of<CLONE_NEWNET>, {EPERM}},
    {"start a process in a user namespace", clone_user, {EPERM}},
    {"clone3", []() noexcept { return call(SYS_clone3); }, {ENOSYS}},
    {"enter a namespace", enter_own_mounts, {EPERM}},
    {"nest namespaces", nested_namespaces, {ENOSPC}, kCell},
    {"mount a file system", mount_scratch, {EPERM}},
    {"open a file system", []() noexcept { return call(SYS_fsopen); }, {EPERM}},
    {"clone a mount", []() noexcept { return call(SYS_open_tree, AT_FDCWD); }, {EPERM}},
    {"unmount", []() noexcept -> long { return ::umount2("/proc", 0); }, {EPERM}},
    {"change the root", []() noexcept { return call(SYS_pivot_root); }, {EPERM}},
    {"vsock", socket_of<AF_VSOCK>, {EAFNOSUPPORT}},
    {"kernel crypto", socket_of<AF_ALG, SOCK_SEQPACKET>, {EAFNOSUPPORT}},
    {"packet socket", socket_of<AF_PACKET, SOCK_RAW>, {EAFNOSUPPORT}},
    {"raw socket", socket_of<AF_INET, SOCK_RAW, 1>, {EAFNOSUPPORT}},
    {"netfilter", socket_of<AF_NETLINK, SOCK_RAW, 12>, {EAFNOSUPPORT}},
    {"io_uring", []() noexcept { return call(SYS_io_uring_setup); }, {ENOSYS}},
    {"userfaultfd", []() noexcept { return call(SYS_userfaultfd, 1); }, {ENOSYS}},
    {"bpf", []() noexcept { return call(SYS_bpf); }, {EPERM}},
    {"perf", []() noexcept { return call(SYS_perf_event_open); }, {EPERM}},
    {"keyrings", []() noexcept { return call(SYS_keyctl, 0, -3); }, {EPERM}},
    {"files by handle", by_handle, {EPERM}},
    {"kernel log", []() noexcept { return call(SYS_syslog, 10); }, {EPERM}},
    {"modules", []() noexcept { return call(SYS_finit_module, -1); }, {EPERM}},
    {"quotas", []() noexcept { return call(SYS_quotactl); }, {EPERM}},
    {"make a block device", make_device, {EPERM}, kCell},
    {"memory of the machine", opens_to_write<kMemory>, {ENOENT, EACCES, EPERM}},
    {"log device", opens_to_write<kLog>, {ENOENT, EACCES, EPERM}},
    {"disk", opens_to_write<kDisk>, {ENOENT, EACCES, EPERM}},
    {"core pattern", opens_to_write<kCorePattern>, {EROFS, EACCES, ENOENT}},
    {"sysrq", opens_to_write<kSysrq>, {ENODEV, EACCES, ENOENT}},
    {"write kept output", write_kept_output, {EROFS, EACCES}, kCell},
    {"signal pid 1", []() noexcept -> long { return ::kill(1, 0); }, {EPERM}, kCell},
    {"trace pid 1", []() noexcept { return call(SYS_ptrace, PTRACE_SEIZE, 1); }, {EPERM}, kCell},
    {"memory of pid 1", read_init, {EPERM}, kCell},
    {"type into a terminal", []() noexcept -> long { return ::ioctl(0, TIOCSTI, ""); }, {EPERM}},
    {"capability beyond the kept", []() noexcept { return beyond(kRoot); }, {EPERM}, kCell},
    {"any capability", []() noexcept { return beyond(0); }, {EPERM}, kShared},
    {"new privileges", gain_by_exec, {EPERM}},
    {"inherited descriptor", inherited_descriptor, {EBADF}},
    {"raise an interface", raise_interface, {EPERM}, kCell},
    {"add a route", add_route, {EPERM}, kCell},
    {"another interface", other_interface, {ENODEV}, kCell},
    {"connect outside", dial_outside<SOCK_STREAM>, {ENETUNREACH}, kCell},
    {"send outside", dial_outside<SOCK_DGRAM>, {ENETUNREACH}, kCell},
    // Own network, Landlock, or no sockets at all.
    {"connect outside", dial_outside<SOCK_STREAM>, {ENETUNREACH, EACCES, EAFNOSUPPORT}, kShared},
    {"send outside", dial_outside<SOCK_DGRAM>, {ENETUNREACH, EACCES, EAFNOSUPPORT}, kShared},
};
// clang-format on

int try_effects(unsigned where) noexcept {
    // Enough for every number and a space.
    char said[std::size(kEffects) * 8];
    char* at = said;
    for (const Effect& effect : kEffects) {
        if (!(effect.where & where)) continue;
        errno = 0;
        const int code = effect.attempt() < 0 ? errno : 0;
        at = std::to_chars(at, said + sizeof said, code).ptr;
        *at++ = ' ';
    }
    for (const char* from = said; from < at;) {
        const ssize_t n = ::write(1, from, static_cast<size_t>(at - from));
        if (n < 0 && errno != EINTR) return 1;
        if (n > 0) from += n;
    }
    return 0;
}

Tried judge(const Effect& effect, int code) {
    using Outcome = Tried::Outcome;
    Tried tried{Outcome::Possible, effect.name, code};
    if (code != 0) tried.outcome = Outcome::Unexpected;
    for (const int wall : effect.walls)
        if (code != 0 && code == wall) tried.outcome = Outcome::Refused;
    return tried;
}

Probes probes_of(std::string_view said, unsigned where) {
    Probes probes;
    for (const Effect& effect : kEffects) {
        if (!(effect.where & where)) continue;
        int code = 0;
        const auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), code);
        if (error != std::errc() || end == said.data() + said.size() || *end != ' ') return {};
        said.remove_prefix(static_cast<size_t>(end - said.data()) + 1);
        probes.tried.push_back(judge(effect, code));
    }
    return said.empty() ? probes : Probes();
}

}  // namespace

int try_effects_in_cell() noexcept {
    return try_effects(kCell);
}
int try_effects_in_shared() noexcept {
    return try_effects(kShared);
}
Probes probes_in_cell(std::string_view said) {
    return probes_of(said, kCell);
}
Probes probes_in_shared(std::string_view said) {
    return probes_of(said, kShared);
}

bool Probes::all_refused() const {
    return failure().empty();
}

std::string Probes::failure() const {
    if (tried.empty()) return "nothing was tried";
    for (const Tried& one : tried) {
        if (one.outcome == Tried::Outcome::Possible) return one.name + ": possible";
        if (one.outcome == Tried::Outcome::Unexpected)
            return one.name + ": refused, but not by its wall: " + std::strerror(one.error);
    }
    return {};
}

namespace {

bool can_make(int family, int type, int protocol = 0) {
    return static_cast<bool>(UniqueFd(::socket(family, type | SOCK_CLOEXEC, protocol)));
}

// Is there a system call, which even root is not refused?
bool has_call(long number, long argument) {
    if (::syscall(number, argument, 0, 0, 0, 0) >= 0) return true;
    return errno != ENOSYS && errno != EPERM;
}

bool has_userfaultfd() {
    const UniqueFd made(static_cast<int>(::syscall(SYS_userfaultfd, 1)));
    return static_cast<bool>(made);
}

int setting(const char* path) {
    try {
        return std::atoi(read_file(path, KiB(1)).c_str());
    } catch (const std::exception&) {
        return -1;
    }
}

#if defined(__x86_64__)
// The 32-bit entry, in a child: a kernel without it faults.
bool has_old_entry() {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::signal(SIGSEGV, SIG_DFL);  // where there is none
        long result = 20;            // getpid there
        asm volatile("int $0x80" : "+a"(result) : : "memory");
        ::_exit(result > 0 ? 0 : 1);
    }
    int status = 1;
    while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#endif

}  // namespace

std::vector<std::string> only_seccomp_stops() {
    std::vector<std::string> found;
    const auto add = [&](bool there, const char* name) {
        if (there) found.push_back(name);
    };
    add(has_call(SYS_io_uring_setup, 0), "io_uring");
    add(has_userfaultfd(), "userfaultfd");
    add(has_call(SYS_keyctl, -1), "keyrings");
    add(has_call(SYS_bpf, -1) && setting("/proc/sys/kernel/unprivileged_bpf_disabled") == 0, "bpf");
    // At 3, Debian's own value, it is for who has the right alone.
    add(has_call(SYS_perf_event_open, 0) && setting("/proc/sys/kernel/perf_event_paranoid") < 3,
        "perf");
    add(can_make(AF_VSOCK, SOCK_STREAM), "vsock");
    add(can_make(AF_ALG, SOCK_SEQPACKET), "kernel crypto sockets");
    add(can_make(33, SOCK_DGRAM, AF_INET), "rxrpc");
    add(can_make(30, SOCK_STREAM), "tipc");
    add(can_make(43, SOCK_STREAM), "smc");
    add(can_make(AF_INET, SOCK_STREAM, 132), "sctp");
    add(can_make(AF_INET, SOCK_STREAM, 262), "mptcp");
#if defined(__x86_64__)
    add(has_call(SYS_modify_ldt, 0), "local descriptor tables");
    add(has_old_entry(), "32-bit system calls");
#endif
    return found;
}

}  // namespace peacrab
