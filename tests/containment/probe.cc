// Tries forbidden effects from inside a cell, one line each: `name: refused REASON` or
// `name: POSSIBLE VALUE`, and at the end `N refused, M possible`. Exit code 1 when anything was
// possible. Static, so that it runs in any cell; needs nothing of the project. Each attempt is made
// in a process of its own: a filter may end it. Started with any capability it says so and tries
// nothing: then it stands in no jail, and what it tries could harm the machine.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

// Below 0: refused, errno says why.
using Attempt = long (*)();

struct Probe {
    const char* name;
    Attempt attempt;
};

long refused(int code) {
    errno = code;
    return -1;
}

// Opening alone tells; a file covered with /dev/null is as good as none.
long open_for(const char* path, int flags) {
    const int fd = ::open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat info;
    if (fd < 0 || ::fstat(fd, &info) < 0) return -1;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)) return refused(ENODEV);
    return fd;
}

// Holds the file anything but nothing?
long readable(const char* path) {
    const long fd = open_for(path, O_RDONLY);
    if (fd < 0) return -1;
    char bytes[64];
    const ssize_t n = ::read(static_cast<int>(fd), bytes, sizeof bytes);
    return n > 0 ? n : refused(n == 0 ? ENODATA : errno);
}

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
    return ::syscall(number, a, b, c, d, e);
}

long enter_spaces(const char* process) {
    for (const char* kind : {"mnt", "net", "user", "pid", "ipc", "uts", "cgroup"}) {
        char path[64];
        ::snprintf(path, sizeof path, "/proc/%s/ns/%s", process, kind);
        const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && ::setns(fd, 0) == 0) return 1;
    }
    return -1;
}

long dial(int type, const char* address, int port) {
    const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    ::inet_pton(AF_INET, address, &to.sin_addr);
    const int result = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
    return result < 0 && errno != EINPROGRESS ? -1 : 0;
}

long any_family() {
    for (int family = 0; family < 48; ++family)
        for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_RDM}) {
            const bool listed = family == AF_UNIX || family == AF_NETLINK ||
                                ((family == AF_INET || family == AF_INET6) && type <= SOCK_DGRAM);
            if (!listed && ::socket(family, type, 0) >= 0) return family;
        }
    return -1;
}

long any_netlink() {
    for (int protocol = 1; protocol < 23; ++protocol)
        if (::socket(AF_NETLINK, SOCK_RAW, protocol) >= 0) return protocol;
    return -1;
}

long other_device() {
    FILE* file = ::fopen("/proc/net/dev", "re");
    if (!file) return -1;
    char line[512];
    long others = 0;
    while (::fgets(line, sizeof line, file))
        if (std::strchr(line, ':') && !std::strstr(line, "lo:")) ++others;
    ::fclose(file);
    return others ? others : refused(ENODEV);
}

long inherited_descriptor() {
    for (int fd = 3; fd < 1024; ++fd)
        if (::fcntl(fd, F_GETFD) >= 0) return fd;
    return refused(EBADF);
}

long kill_init() {
    ::kill(1, SIGKILL);
    ::kill(1, SIGSTOP);
    for (int signal = 1; signal < NSIG; ++signal) ::kill(1, signal);
    return ::kill(1, 0) == 0 || errno == EPERM ? refused(EPERM) : 1;
}

long trace_init() {
    return ::ptrace(PTRACE_SEIZE, 1, nullptr, nullptr);
}

long read_init() {
    char byte;
    iovec ours{&byte, 1}, theirs{reinterpret_cast<void*>(&kill_init), 1};
    return ::process_vm_readv(1, &ours, 1, &theirs, 1, 0);
}

long any_capability() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    if (::syscall(SYS_capget, &header, sets) < 0) return -1;
    for (const auto& set : sets)
        if (set.effective || set.permitted || set.inheritable) return 1;
    // What is left in the bounding set of an ordinary user can only come back by new privileges.
    const bool closed = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && ::getuid() != 0;
    for (int i = 0; i < 64 && !closed; ++i)
        if (::prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) return i;
    return refused(EPERM);
}

long type_into_terminal() {
    const int terminal = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    char byte = 'x';
    return terminal < 0 ? -1 : ::ioctl(terminal, TIOCSTI, &byte);
}

long by_handle() {
    struct {
        file_handle head;
        unsigned char bytes[8];
    } handle = {{8, 1, {}}, {2, 0, 0, 0, 0, 0, 0, 0}};
    const int root = ::open("/", O_RDONLY | O_CLOEXEC);
    return ::syscall(SYS_open_by_handle_at, root, &handle, O_RDONLY);
}

long gain_by_setuid() {
    return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? refused(EPERM) : 1;
}

long climb_out() {
    const int top = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat before, after;
    ::fstat(top, &before);
    ::mkdir("climb", 0700);
    const int jailed = ::chroot("climb");
    if (jailed == 0) {
        if (::fchdir(top) < 0) return -1;
        for (int i = 0; i < 64; ++i)
            if (::chdir("..") < 0) break;
        ::stat(".", &after);
        if (before.st_ino != after.st_ino) return 1;
    }
    ::rmdir("climb");
    return jailed < 0 ? -1 : refused(EPERM);
}

#if defined(__x86_64__)
long old_entry() {
    long result = 20;
    asm volatile("int $0x80" : "+a"(result) : : "memory");
    return result > 0 ? result : refused(ENOSYS);
}
#endif

template <int Flag>
long unshare_one() {
    return ::unshare(Flag);
}
template <int Flag>
long clone_one() {
    const long pid = raw(SYS_clone, Flag | SIGCHLD);
    if (pid == 0) ::_exit(0);
    return pid;
}

// Names: `device:` and `write:` depend on the files of the place, the rest on the jail alone.
const Probe kProbes[] = {
    {"unshare mount", unshare_one<CLONE_NEWNS>},
    {"unshare user", unshare_one<CLONE_NEWUSER>},
    {"unshare net", unshare_one<CLONE_NEWNET>},
    {"unshare pid", unshare_one<CLONE_NEWPID>},
    {"unshare ipc", unshare_one<CLONE_NEWIPC>},
    {"unshare uts", unshare_one<CLONE_NEWUTS>},
    {"unshare cgroup", unshare_one<CLONE_NEWCGROUP>},
    {"unshare time", unshare_one<0x80>},
    {"clone user", clone_one<CLONE_NEWUSER>},
    {"clone user mount net", clone_one<CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET>},
    {"clone pid", clone_one<CLONE_NEWPID>},
    {"clone3", [] { return raw(SYS_clone3); }},
    {"setns own", [] { return enter_spaces("self"); }},
    {"setns pid 1", [] { return enter_spaces("1"); }},
    {"mount tmpfs", [] { return static_cast<long>(::mount("t", "/tmp", "tmpfs", 0, nullptr)); }},
    {"mount proc", [] { return static_cast<long>(::mount("p", "/proc", "proc", 0, nullptr)); }},
    {"mount bind",
     [] { return static_cast<long>(::mount("/", "/tmp", nullptr, MS_BIND, nullptr)); }},
    {"remount writable",
     [] { return static_cast<long>(::mount("", "/", "", MS_REMOUNT | MS_BIND, nullptr)); }},
    {"umount", [] { return static_cast<long>(::umount2("/proc", MNT_DETACH)); }},
    {"fsopen", [] { return static_cast<long>(::fsopen("tmpfs", 0)); }},
    {"open_tree clone",
     [] { return static_cast<long>(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE)); }},
    {"mount_setattr",
     [] {
         mount_attr attr{};
         return static_cast<long>(::mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof attr));
     }},
    {"pivot_root", [] { return ::syscall(SYS_pivot_root, ".", "."); }},
    {"chroot and climb", climb_out},
    {"inherited descriptor", inherited_descriptor},
    {"pid 1 killed", kill_init},
    {"pid 1 traced", trace_init},
    {"pid 1 memory", read_init},
    {"pid 1 mem file", [] { return open_for("/proc/1/mem", O_RDWR); }},
    {"pid 1 environment", [] { return readable("/proc/1/environ"); }},
    {"pid 1 root", [] { return open_for("/proc/1/root/etc/passwd", O_RDONLY); }},
    {"pid 1 descriptors", [] { return ::opendir("/proc/1/fd") ? 1L : -1L; }},
    {"socket vsock", [] { return static_cast<long>(::socket(AF_VSOCK, SOCK_STREAM, 0)); }},
    {"socket alg", [] { return static_cast<long>(::socket(AF_ALG, SOCK_SEQPACKET, 0)); }},
    {"socket packet", [] { return static_cast<long>(::socket(AF_PACKET, SOCK_RAW, 0)); }},
    {"socket raw", [] { return static_cast<long>(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
    {"socket ping", [] { return static_cast<long>(::socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)); }},
    {"socket sctp", [] { return static_cast<long>(::socket(AF_INET, SOCK_STREAM, 132)); }},
    {"socket mptcp", [] { return static_cast<long>(::socket(AF_INET, SOCK_STREAM, 262)); }},
    {"socket of any other family", any_family},
    {"netlink but route", any_netlink},
    {"network device but lo", other_device},
    {"connect tcp", [] { return dial(SOCK_STREAM, "192.0.2.1", 80); }},
    {"connect metadata", [] { return dial(SOCK_STREAM, "169.254.169.254", 80); }},
    {"connect udp 53", [] { return dial(SOCK_DGRAM, "192.0.2.1", 53); }},
    {"io_uring", [] { return raw(SYS_io_uring_setup, 4); }},
    {"userfaultfd", [] { return raw(SYS_userfaultfd, 1); }},
    {"bpf", [] { return raw(SYS_bpf); }},
    {"perf", [] { return raw(SYS_perf_event_open); }},
    {"keyctl", [] { return raw(SYS_keyctl, 0, -3, 0); }},
    {"add_key", [] { return ::syscall(SYS_add_key, "user", "x", "y", 1, -2); }},
    {"kexec", [] { return raw(SYS_kexec_load); }},
    {"init_module", [] { return raw(SYS_init_module); }},
    {"finit_module", [] { return raw(SYS_finit_module, -1); }},
    {"open_by_handle_at", by_handle},
    {"fanotify", [] { return raw(SYS_fanotify_init, 0x200); }},
    {"pidfd_getfd", [] { return raw(SYS_pidfd_getfd, -1); }},
    {"kcmp", [] { return raw(SYS_kcmp, ::getpid(), ::getpid(), 2); }},
    {"vmsplice", [] { return raw(SYS_vmsplice, -1); }},
    {"memfd_secret", [] { return raw(SYS_memfd_secret); }},
    {"modify_ldt", [] { return raw(154); }},
    {"quotactl", [] { return raw(SYS_quotactl); }},
    {"syslog", [] { return raw(SYS_syslog, 10); }},
    {"swapon", [] { return ::syscall(SYS_swapon, "/none", 0); }},
    {"acct", [] { return ::syscall(SYS_acct, nullptr); }},
    {"reboot", [] { return raw(SYS_reboot, 0xfee1dead, 672274793, 0); }},
    {"clock_settime", [] { return raw(SYS_clock_settime, 0); }},
    {"sethostname", [] { return static_cast<long>(::sethostname("x", 1)); }},
    {"seccomp listener", [] { return raw(SYS_seccomp, 1, 8); }},
    {"personality", [] { return raw(SYS_personality, 0x0400000); }},
    {"prctl set_mm", [] { return static_cast<long>(::prctl(PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0)); }},
    {"type into a terminal", type_into_terminal},
    {"ioctl high bits", [] { return raw(SYS_ioctl, 0, TIOCSTI | (1L << 32)); }},
    {"any capability", any_capability},
    {"setuid programs", gain_by_setuid},
    {"setuid 0", [] { return static_cast<long>(::setuid(0)); }},
    {"setgroups", [] { return static_cast<long>(::setgroups(0, nullptr)); }},
    {"real-time scheduling",
     [] {
         sched_param parameters{1};
         return static_cast<long>(::sched_setscheduler(0, SCHED_FIFO, &parameters));
     }},
    {"higher priority", [] { return static_cast<long>(::setpriority(PRIO_PROCESS, 0, -5)); }},
    {"raised limit",
     [] {
         const rlimit limit{1 << 20, 1 << 20};
         return static_cast<long>(::setrlimit(RLIMIT_NOFILE, &limit));
     }},
    {"core dump",
     [] {
         const rlimit limit{1, 1};
         return static_cast<long>(::setrlimit(RLIMIT_CORE, &limit));
     }},
    {"mknod device",
     [] { return static_cast<long>(::mknod("probe-node", S_IFBLK | 0600, makedev(8, 0))); }},
    {"kernel log", [] { return readable("/proc/kmsg"); }},
    {"kcore", [] { return readable("/proc/kcore"); }},
    {"write: core_pattern", [] { return open_for("/proc/sys/kernel/core_pattern", O_WRONLY); }},
    {"write: sysrq-trigger", [] { return open_for("/proc/sysrq-trigger", O_WRONLY); }},
    {"write: uevent_helper", [] { return open_for("/sys/kernel/uevent_helper", O_WRONLY); }},
    {"write: /etc", [] { return open_for("/etc/probe-file", O_WRONLY | O_CREAT); }},
    {"write: /usr/bin", [] { return open_for("/usr/bin/probe-file", O_WRONLY | O_CREAT); }},
    {"write: ld.so.preload", [] { return open_for("/etc/ld.so.preload", O_WRONLY | O_CREAT); }},
    {"device: mem", [] { return open_for("/dev/mem", O_RDONLY); }},
    {"device: kmsg", [] { return open_for("/dev/kmsg", O_RDONLY); }},
    {"device: vda", [] { return open_for("/dev/vda", O_RDONLY); }},
    {"device: kvm", [] { return open_for("/dev/kvm", O_RDWR); }},
    {"device: fuse", [] { return open_for("/dev/fuse", O_RDWR); }},
    {"device: tun", [] { return open_for("/dev/net/tun", O_RDWR); }},
    {"device: vsock", [] { return open_for("/dev/vsock", O_RDWR); }},
    {"device: vport", [] { return open_for("/dev/vport0p1", O_RDWR); }},
    {"device: hvc0", [] { return open_for("/dev/hvc0", O_RDWR); }},
    {"device: console", [] { return open_for("/dev/console", O_RDWR); }},
#if defined(__x86_64__)
    {"iopl", [] { return raw(SYS_iopl, 3); }},
    {"ioperm", [] { return raw(SYS_ioperm, 0x80, 1, 1); }},
    {"x32 entry", [] { return raw(SYS_getpid | 0x40000000L); }},
    {"i386 entry", old_entry},
#endif
};

// In a process of its own. True when the effect was possible.
bool tried(const Probe& probe) {
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid < 0) {
        std::printf("%s: POSSIBLE could not be tried\n", probe.name);
        return true;
    }
    if (pid == 0) {
        errno = 0;
        const long result = probe.attempt();
        if (result < 0)
            std::printf("%s: refused %s\n", probe.name, std::strerror(errno));
        else
            std::printf("%s: POSSIBLE %ld\n", probe.name, result);
        std::fflush(stdout);
        ::_exit(result < 0 ? 0 : 1);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        std::printf("%s: refused by signal %d\n", probe.name, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) != 0;
}

}  // namespace

int main() {
    if (any_capability() >= 0) {
        std::puts("any capability: POSSIBLE, so nothing else is tried");
        return 1;
    }
    int refusals = 0, possible = 0;
    for (const Probe& probe : kProbes) ++(tried(probe) ? possible : refusals);
    std::printf("%d refused, %d possible\n", refusals, possible);
    return possible ? 1 : 0;
}
