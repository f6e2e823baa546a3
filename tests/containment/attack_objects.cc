// Rows A12 and on: sockets, system calls that no cell needs, devices, terminals, handles, rights.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>

#include "attack.h"

namespace attack {
namespace {

long socket_of(int family, int type, int protocol = 0) {
    return ::socket(family, type | SOCK_CLOEXEC, protocol);
}

void vsock(Report& report) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET})
        report.refused("AF_VSOCK type " + std::to_string(type), {EAFNOSUPPORT},
                       [=] { return socket_of(AF_VSOCK, type); });
    for (const char* path : {"/dev/vsock", "/dev/vhost-vsock", "/dev/vport0p1", "/dev/vport1p1"})
        report.refused(path, {ENOENT}, [=] { return open_for(path, O_RDWR); });
}

void local_socket(Report& report) {
    report.works("a unix socket", [] { return socket_of(AF_UNIX, SOCK_STREAM); });
    report.works("a TCP socket", [] { return socket_of(AF_INET, SOCK_STREAM); });
}

void crypto_sockets(Report& report) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
        report.refused("AF_ALG type " + std::to_string(type), {EAFNOSUPPORT},
                       [=] { return socket_of(AF_ALG, type); });
}

bool listed(int family, int type) {
    if (family == AF_INET || family == AF_INET6) return type == SOCK_STREAM || type == SOCK_DGRAM;
    return family == AF_UNIX || family == AF_NETLINK;
}

void families(Report& report) {
    for (int family = 0; family < 47; ++family)
        for (const int type : {1, 2, 3, 4, 5, 6, 10})
            if (!listed(family, type))
                report.refused("family " + std::to_string(family) + " type " + std::to_string(type),
                               {EAFNOSUPPORT}, [=] { return socket_of(family, type); });
    for (int protocol = 1; protocol < 23; ++protocol)
        for (const int type : {SOCK_RAW, SOCK_DGRAM})
            report.refused("netlink " + std::to_string(protocol), {EAFNOSUPPORT},
                           [=] { return socket_of(AF_NETLINK, type, protocol); });
    for (const int family : {AF_INET, AF_INET6})
        for (const auto& [type, protocol] : {std::pair{SOCK_DGRAM, 1},
                                             {SOCK_DGRAM, 58},
                                             {SOCK_DGRAM, 136},
                                             {SOCK_STREAM, 132},
                                             {SOCK_STREAM, 262},
                                             {SOCK_SEQPACKET, 132},
                                             {SOCK_RAW, 255}})
            report.refused("protocol " + std::to_string(protocol), {EAFNOSUPPORT},
                           [=, type = type, protocol = protocol] {
                               return socket_of(family, type, protocol);
                           });
    for (const int family : {AF_INET, AF_NETLINK, AF_VSOCK, 30 /* TIPC */})
        report.refused("a pair of family " + std::to_string(family), {EAFNOSUPPORT}, [=] {
            int pair[2];
            return static_cast<long>(::socketpair(family, SOCK_STREAM, 0, pair));
        });
}

void listed_families(Report& report) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET})
        report.works("unix", [=] { return socket_of(AF_UNIX, type); });
    for (const int family : {AF_INET, AF_INET6})
        for (const int type : {SOCK_STREAM, SOCK_DGRAM})
            report.works("inet", [=] { return socket_of(family, type); });
    report.works("netlink route", [] { return socket_of(AF_NETLINK, SOCK_RAW, 0); });
}

// Does the cell's filter let a call through? The kernel's own answer is often the same: it does not
// have the call, or wants a right. A filter of ours asks for a tracer; a refusal of the cell's outranks
// that, so the tracer hears of the call only when nothing refuses it. EACCES: refused.
long let_through(long number, long a = 0, long b = -1) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::alarm(8);
        sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
                              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
                              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        const sock_fprog program{4, code};
        if (raw(SYS_ptrace, PTRACE_TRACEME) < 0 ||
            raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, reinterpret_cast<long>(&program)) < 0)
            ::_exit(1);
        ::raise(SIGSTOP);
        raw(number, a, b);
        ::_exit(0);
    }
    int status = 0;
    const bool began = pid > 0 && ::waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) &&
                       raw(SYS_ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP) == 0 &&
                       raw(SYS_ptrace, PTRACE_CONT, pid) == 0 && ::waitpid(pid, &status, 0) == pid;
    const bool asked = began && WIFSTOPPED(status) &&
                       status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8);
    const bool ended = began && (WIFEXITED(status) || WIFSIGNALED(status));
    if (pid > 0 && !ended) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
    if (asked) return 0;
    return refusal(ended ? EACCES : EIO);
}

void closed_calls(Report& report) {
    const struct {
        const char* name;
        long number;
        int code;
    } calls[] = {
        {"io_uring_setup", SYS_io_uring_setup, ENOSYS},
        {"io_uring_enter", SYS_io_uring_enter, ENOSYS},
        {"io_uring_register", SYS_io_uring_register, ENOSYS},
        {"userfaultfd", SYS_userfaultfd, ENOSYS},
        {"cachestat", 451, ENOSYS},
        {"bpf", SYS_bpf, EPERM},
        {"perf_event_open", SYS_perf_event_open, EPERM},
        {"keyctl", SYS_keyctl, EPERM},
        {"add_key", SYS_add_key, EPERM},
        {"request_key", SYS_request_key, EPERM},
        {"kexec_load", SYS_kexec_load, EPERM},
        {"init_module", SYS_init_module, EPERM},
        {"finit_module", SYS_finit_module, EPERM},
        {"delete_module", SYS_delete_module, EPERM},
        {"fanotify_init", SYS_fanotify_init, EPERM},
        {"vmsplice", SYS_vmsplice, EPERM},
        {"memfd_secret", SYS_memfd_secret, EPERM},
        {"quotactl", SYS_quotactl, EPERM},
        {"syslog", SYS_syslog, EPERM},
        {"swapon", SYS_swapon, EPERM},
        {"acct", SYS_acct, EPERM},
        {"reboot", SYS_reboot, EPERM},
        {"clock_settime", SYS_clock_settime, EPERM},
        {"settimeofday", SYS_settimeofday, EPERM},
        {"sethostname", SYS_sethostname, EPERM},
        {"nfsservctl", 180, EPERM},
        {"a call of next year", 4000, ENOSYS},
#if defined(__x86_64__)
        {"iopl", SYS_iopl, EPERM},
        {"ioperm", SYS_ioperm, EPERM},
        {"modify_ldt", SYS_modify_ldt, EPERM},
        {"kexec_file_load", SYS_kexec_file_load, EPERM},
#endif
    };
    // Harmless arguments: where a call would be let through, the kernel itself says something else.
    for (const auto& call : calls) {
        report.refused(call.name, {call.code}, [&] { return raw(call.number, 0, -1, 0, 0, -1); });
        report.refused(std::string(call.name) + " by the filter", {EACCES},
                       [&] { return let_through(call.number); });
    }
    report.refused("a seccomp listener", {EPERM}, [] { return raw(SYS_seccomp, 1, 8, 0); });
    report.refused("prctl set_mm", {EPERM},
                   [] { return raw(SYS_prctl, PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0); });
    report.refused("prctl set_mm with wrong arguments", {EPERM},
                   [] { return raw(SYS_prctl, PR_SET_MM, PR_SET_MM_BRK, 0, 0, 1); });
    report.refused("personality", {EPERM}, [] { return raw(SYS_personality, 0x0400000); });
#if defined(__x86_64__)
    report.refused("the x32 entry", {-SIGSYS}, [] { return raw(SYS_getpid | 0x40000000L); });
    report.refused("the i386 entry", {-SIGSYS, -SIGSEGV}, [] {
        long result = 20;
        asm volatile("int $0x80" : "+a"(result) : : "memory");
        return result > 0 ? result : refusal(ENOSYS);
    });
#endif
}

void open_calls(Report& report) {
    report.works("epoll by the filter", [] { return let_through(SYS_epoll_create1); });
    report.works("epoll", [] { return static_cast<long>(::epoll_create1(0)); });
    report.works("memfd_create", [] { return static_cast<long>(::memfd_create("x", 0)); });
    report.works("personality, as gdb sets it", [] { return raw(SYS_personality, 0x40000); });
}

void devices(Report& report) {
    const struct {
        const char* name;
        unsigned kind, major, minor;
    } nodes[] = {{"mem", S_IFCHR, 1, 1},     {"kmsg", S_IFCHR, 1, 11},    {"vda", S_IFBLK, 254, 0},
                 {"vdb", S_IFBLK, 254, 16},  {"vsock", S_IFCHR, 10, 121}, {"null", S_IFCHR, 1, 3},
                 {"fuse", S_IFCHR, 10, 229}, {"hvc0", S_IFCHR, 229, 0}};
    for (const char* folder : {"/tmp/", "/home/agent/workspace/", "/var/tmp/", "/dev/shm/"})
        for (const auto& node : nodes)
            report.refused(std::string("mknod ") + folder + node.name, {EPERM}, [&] {
                return static_cast<long>(
                    ::mknod((folder + std::string("node-") + node.name).c_str(), node.kind | 0600,
                            makedev(node.major, node.minor)));
            });
    for (const char* path : {"/dev/mem",
                             "/dev/kmem",
                             "/dev/port",
                             "/dev/kmsg",
                             "/dev/vda",
                             "/dev/vdb",
                             "/dev/kvm",
                             "/dev/fuse",
                             "/dev/net/tun",
                             "/dev/hvc0",
                             "/dev/console",
                             "/dev/tty0",
                             "/dev/ttyS0",
                             "/dev/hwrng",
                             "/dev/loop0",
                             "/dev/loop-control",
                             "/dev/mapper/control",
                             "/dev/userfaultfd",
                             "/dev/input/event0",
                             "/dev/rtc0",
                             "/dev/cpu_dma_latency",
                             "/dev/nvram"})
        report.refused(path, {ENOENT, ENOTDIR}, [=] { return open_for(path, O_RDWR); });
}

void harmless_nodes(Report& report) {
    report.works("a fifo", [] {
        const long made = ::mkfifo("/tmp/twin-fifo", 0600);
        ::unlink("/tmp/twin-fifo");
        return made;
    });
    for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
        report.works(path, [=] { return static_cast<long>(::open(path, O_RDWR | O_CLOEXEC)); });
}

long on_terminal(unsigned long request, void* argument) {
    const int terminal = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) return refusal(EIO);
    return raw(SYS_ioctl, terminal, static_cast<long>(request), reinterpret_cast<long>(argument));
}

void terminals(Report& report) {
    static char byte = 'x';
    static int discipline = 0;
    const struct {
        const char* name;
        unsigned long request;
    } requests[] = {{"TIOCSTI", TIOCSTI},   {"TIOCLINUX", 0x541c},    {"TIOCCONS", TIOCCONS},
                    {"TIOCSETD", TIOCSETD}, {"FIFREEZE", 0xc0045877}, {"FITHAW", 0xc0045878}};
    for (const auto& request : requests) {
        void* argument = request.request == TIOCSETD ? static_cast<void*>(&discipline) : &byte;
        report.refused(request.name, {EPERM},
                       [=] { return on_terminal(request.request, argument); });
        report.refused(std::string(request.name) + " with high bits", {EPERM},
                       [=] { return on_terminal(request.request | (1UL << 32), argument); });
        report.refused(std::string(request.name) + " by the filter", {EACCES}, [=] {
            return let_through(SYS_ioctl, 0, static_cast<long>(request.request));
        });
        for (const int fd : {0, 1, 2})
            report.refused(std::string(request.name) + " on a stream", {EPERM}, [=] {
                return raw(SYS_ioctl, fd, static_cast<long>(request.request),
                           reinterpret_cast<long>(argument));
            });
    }
    report.must("no terminal of somebody's", open_for("/dev/tty", O_RDWR) < 0 && errno == ENXIO);
}

void own_terminal(Report& report) {
    report.works("the size of a terminal of one's own", [] {
        static struct winsize size;
        return on_terminal(TIOCGWINSZ, &size);
    });
}

void handles(Report& report) {
    const int top = ::open("/", O_RDONLY | O_CLOEXEC);
    for (uint32_t inode = 0; inode < 64; ++inode)
        for (const int type : {1, 2, 0xf8, 0xfb})
            report.refused("handle " + std::to_string(inode), {EPERM}, [=] {
                struct {
                    file_handle head;
                    uint32_t words[8];
                } handle{};
                handle.head.handle_bytes = 8;
                handle.head.handle_type = type;
                handle.words[0] = inode;
                return raw(SYS_open_by_handle_at, top, reinterpret_cast<long>(&handle), O_RDONLY);
            });
    ::close(top);
}

void by_name(Report& report) {
    report.works("the same by name", [] {
        return static_cast<long>(::openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC));
    });
}

bool copy_self(const std::string& to) {
    const int from = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const int file = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    char block[65536];
    ssize_t n = -1;
    while (file >= 0 && (n = ::read(from, block, sizeof block)) > 0)
        if (::write(file, block, static_cast<size_t>(n)) != n) return false;
    ::close(from);
    ::close(file);
    return n == 0;
}

constexpr const char* kFolders[] = {"/home/agent/workspace", "/tmp", "/var/tmp", "/dev/shm"};
const std::string kPowerless = "uid=1000 euid=1000 caps=0000000000000000 nnp=1 seccomp=2\n";

void gained_by_file(Report& report) {
    for (const char* folder : {"/", "/home/agent", "/tmp", "/dev/shm", "/run", "/usr"}) {
        struct statvfs info;
        report.must(std::string(folder) + " is nosuid",
                    ::statvfs(folder, &info) == 0 && (info.f_flag & ST_NOSUID));
    }
    report.must("no-new-privs", status_field("NoNewPrivs") == "1");
    if (!root()) return;
    for (const char* folder : kFolders) {
        const std::string file = std::string(folder) + "/rights";
        if (!copy_self(file)) continue;  // mounted noexec, or no space
        ::chmod(file.c_str(), 06755);
        const std::string by_mode = run_self(file, "--rights", 1000);
        if (by_mode != kPowerless && by_mode.find("exec:") == std::string::npos)
            report.escaped("setuid in " + file + ": " + by_mode);
        ::chmod(file.c_str(), 0755);
        const struct {
            uint32_t magic, permitted, inheritable, high_permitted, high_inheritable;
        } caps = {0x02000001, ~0u, ~0u, ~0u, ~0u};
        ::setxattr(file.c_str(), "security.capability", &caps, sizeof caps, 0);
        const std::string by_caps = run_self(file, "--rights", 1000);
        if (by_caps != kPowerless && by_caps.find("exec:") == std::string::npos)
            report.escaped("file capabilities in " + file + ": " + by_caps);
        ::unlink(file.c_str());
        report.must(folder, true);
    }
}

void runs_as_itself(Report& report) {
    const std::string said = run_self(own_path(), "--rights", root() ? 1000 : -1);
    if (said != kPowerless) report.surprise("an ordinary user runs as " + said);
    report.must("ran", true);
}

constexpr unsigned long long kCellRights = 0x800401fbULL;  // §9.3: what in-cell root has

void more_rights(Report& report) {
    for (int cap = 0; cap <= 40; ++cap) {
        const bool ours = root() && (kCellRights >> cap & 1);
        if (ours) continue;
        report.refused("capset " + std::to_string(cap), {EPERM}, [=] {
            __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
            __user_cap_data_struct sets[2] = {};
            sets[cap / 32].effective = sets[cap / 32].permitted = 1u << (cap % 32);
            return raw(SYS_capset, reinterpret_cast<long>(&header), reinterpret_cast<long>(sets));
        });
        report.refused("raise " + std::to_string(cap), {EPERM}, [=] {
            return raw(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
        });
        if (::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 && !(kCellRights >> cap & 1))
            report.escaped("capability " + std::to_string(cap) + " is in the bounding set");
    }
    char wanted[17];
    std::snprintf(wanted, sizeof wanted, "%016llx", root() ? kCellRights : 0ULL);
    report.must("effective " + status_field("CapEff"), status_field("CapEff") == wanted);
    report.must("permitted " + status_field("CapPrm"), status_field("CapPrm") == wanted);
    report.must("ambient", status_field("CapAmb") == "0000000000000000");
    report.must("inheritable", status_field("CapInh") == "0000000000000000");
}

void given_rights(Report& report) {
    report.works("the own sets can be read", [] {
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct sets[2] = {};
        return raw(SYS_capget, reinterpret_cast<long>(&header), reinterpret_cast<long>(sets));
    });
    if (root())
        report.works("root gives a file away", [] {
            const long fd = open_for("/tmp/twin-owner", O_WRONLY | O_CREAT);
            const long given = fd < 0 ? -1 : ::fchown(static_cast<int>(fd), 1000, 1000);
            ::unlink("/tmp/twin-owner");
            return given;
        });
}

std::string own_rights() {
    return "uid=" + std::to_string(::getuid()) + " euid=" + std::to_string(::geteuid()) +
           " caps=" + status_field("CapEff") + " nnp=1 seccomp=2\n";
}

void strange_starts(Report& report) {
    const int memory = ::memfd_create("x", 0);
    const int self = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char block[65536];
    ssize_t n;
    while ((n = ::read(self, block, sizeof block)) > 0)
        if (::write(memory, block, static_cast<size_t>(n)) != n) break;
    for (const std::string& program :
         {"/proc/self/fd/" + std::to_string(memory), "/proc/self/root" + own_path()}) {
        const std::string said = run_self(program, "--rights", -1);
        if (said != own_rights()) report.escaped(program + ": " + said);
        report.must("ran", true);
    }
    ::close(memory);
    ::close(self);
    report.refused("a program in the read-only output", {EACCES, EPERM, EROFS},
                   [] { return open_for("/run/output/attack", O_WRONLY | O_CREAT); });
}

void plain_start(Report& report) {
    const std::string said = run_self(own_path(), "--rights", -1);
    if (said != own_rights()) report.surprise(said);
    report.must("ran", true);
}

}  // namespace

std::vector<Row> object_rows() {
    return {
        {"A12", "vsock", vsock, local_socket},
        {"A13", "AF_ALG", crypto_sockets, local_socket},
        {"A14", "every family, type and netlink protocol", families, listed_families},
        {"A15", "system calls no cell needs", closed_calls, open_calls},
        {"A16", "device nodes, made and found", devices, harmless_nodes},
        {"A17", "typing into terminals", terminals, own_terminal},
        {"A18", "inodes by handle", handles, by_name},
        {"A19", "setuid files and file capabilities", gained_by_file, runs_as_itself},
        {"A20", "capabilities beyond the set", more_rights, given_rights},
        {"A21", "programs started in odd ways", strange_starts, plain_start},
    };
}

}  // namespace attack
