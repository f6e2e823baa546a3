// Which system calls each jail class has, and why. An allow-list: what is not here is refused.
// What must not be allowed unthinking is named among the refused. A row may be widened only with
// the program that needs it as reason.
#include "jails/tables.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

namespace peacrab::jail_tables {
namespace {

constexpr unsigned kTurns = kTurn | kOwn;
constexpr unsigned kOwns = kOwn | kAdapterOwn;  // a resolver and connections of their own
constexpr unsigned kStreams = kTurns | kAdapter | kAdapterOwn;  // files of their own, sockets that are there
constexpr unsigned kOurs = kFile | kStreams;
constexpr unsigned kAll = kOurs | kShells;
constexpr unsigned kEach = kAll | kFetch;

// clang-format off: one row a line.
constexpr AllowRow kAllowed[] = {
    // Files.
    {kEach, "read write close", "streams and files"},
    {kAll, "pread64 writev lseek", "files"},
    {kFetch, "readv writev", "streams"},
    {kAll, "open openat openat2", "openat2 keeps our own opens beneath a directory"},
    {kEach, "fstat", "what is this stream"},
    {kAll, "newfstatat statx stat lstat", "is it a regular file, does it exist"},
    {kAll, "access faccessat faccessat2 readlink readlinkat getcwd", "loader; realpath"},
    {kAll, "getdents64 statfs fstatfs", "CA directory; SQLite asks for the file system"},
    {kAll, "mkdir mkdirat rename renameat renameat2 unlink unlinkat", "temp file, then rename"},
    {kAll, "fsync fdatasync fchmod ftruncate fcntl umask", "durable writes; SQLite's locks"},
    {kStreams | kShells, "readv pwrite64 rmdir flock fallocate", "SQLite's pages and hot journals"},
    {kShells, "preadv pwritev preadv2 pwritev2 creat truncate", "files, any program"},
    {kShells, "close_range dup dup2 dup3 getdents", "redirections"},
    {kShells, "sync syncfs sync_file_range readahead fadvise64", "databases"},
    {kShells, "copy_file_range sendfile splice tee", "cp, servers"},
    {kFile | kShells, "fchown", "a file that is replaced keeps its owner"},
    {kFile | kShells, "symlinkat utimensat", "files of the host come with their links and times"},
    {kShells, "chmod fchmodat fchmodat2 chown lchown fchownat", "tar, install"},
    {kShells, "utime utimes futimesat", "touch, make, tar"},
    {kShells, "setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr", "cp -a, tar"},
    {kShells, "listxattr llistxattr flistxattr", "cp -a, ls"},
    {kShells, "removexattr lremovexattr fremovexattr", "cp -a, tar"},
    {kShells, "link linkat symlink mknod mknodat", "ln, mkfifo; devices need more"},
    {kShells, "chdir fchdir chroot", "cd; a root within one's own root"},
    {kShells, "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch", "tail -f, watchers"},
    // Memory.
    {kEach, "brk mmap munmap mprotect mremap madvise", "malloc, loader, SQLite's shared memory"},
    {kShells, "mincore msync mlock mlock2 munlock mlockall munlockall", "databases, runtimes"},
    {kShells, "memfd_create remap_file_pages", "runtimes, browsers"},
    {kShells, "pkey_alloc pkey_free pkey_mprotect membarrier mseal map_shadow_stack", "runtimes"},
    {kShells, "get_mempolicy", "numa-aware runtimes ask"},
    {kShells, "process_madvise process_mrelease", "own processes only"},
    // The start of a program: the filter is on before exec.
    {kFile | kShells, "execve execveat", "the start; file closes it with forbid_new_code()"},
    {kAll, "arch_prctl set_tid_address set_robust_list rseq prlimit64", "start of any libc"},
    {kEach, "getrandom", "hash seeds, stack protector, TLS"},
    {kEach, "futex sched_yield sched_getaffinity", "locks; OpenSSL counts CPUs"},
    {kEach, "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack", "SIGPIPE off; abort()"},
    {kEach, "getpid gettid tgkill", "abort(); OpenSSL and SQLite notice a fork"},
    {kAll, "getuid geteuid getgid getegid", "loader, SQLite"},
    {kAll, "uname sysinfo getrusage", "libc and OpenSSL at start"},
    {kEach, "exit exit_group restart_syscall", "the end"},
    // Time and waiting.
    {kEach, "clock_gettime clock_getres gettimeofday time", "where the vdso has no answer"},
    {kStreams | kShells, "clock_nanosleep nanosleep", "retry with a pause; SQLite's busy handler"},
    {kStreams | kShells | kFetch, "poll ppoll", "waits for its streams"},
    {kStreams | kShells, "eventfd eventfd2 pipe pipe2", "libcurl's multi handle"},
    {kShells, "select pselect6 epoll_create epoll_create1", "event loops"},
    {kShells, "epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2",
     "event loops"},
    {kShells, "alarm pause getitimer setitimer times", "timeout, sleep, time"},
    {kShells, "timer_create timer_delete timer_getoverrun timer_gettime timer_settime", "timers"},
    {kShells, "timerfd_create timerfd_gettime timerfd_settime", "event loops"},
    {kShells, "signalfd signalfd4", "event loops"},
    {kShells, "io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy", "databases"},
    // Processes, all within the call's own pid namespace.
    {kShells, "fork vfork wait4 waitid", "shells"},
    {kShells, "kill tkill pidfd_open pidfd_send_signal", "own processes"},
    {kShells, "rt_sigpending rt_sigqueueinfo rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo",
     "signals among own processes"},
    {kShells, "getppid getpgid getpgrp setpgid getsid setsid", "job control"},
    {kShells, "getrlimit setrlimit getcpu getpriority setpriority", "ulimit, nice"},
    {kShells, "ioprio_get ioprio_set", "ionice"},
    {kShells, "sched_setaffinity sched_getparam sched_setparam sched_getscheduler", "taskset, JVM"},
    {kShells, "sched_setscheduler sched_getattr sched_setattr", "real time stays out by rlimit"},
    {kShells, "sched_get_priority_max sched_get_priority_min sched_rr_get_interval", "JVM"},
    {kShells, "get_robust_list get_thread_area set_thread_area futex_waitv", "threads"},
    {kShells, "futex_wake futex_wait futex_requeue", "threads, newer libc"},
    {kShells, "ptrace process_vm_readv process_vm_writev", "gdb, strace on own processes"},
    {kShells, "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
     "programs that jail themselves further"},
    // Ids of the cell's own range; capabilities that count only there.
    {kShells, "getresuid getresgid getgroups capget capset", "id, libcap"},
    {kShells, "setuid setgid setreuid setregid setresuid setresgid", "apt, su"},
    {kShells, "setfsuid setfsgid setgroups", "servers that drop privileges"},
    // Sockets that are there; which may be made is decided below.
    {kStreams | kFetch | kShell | kLocalShell, "sendto sendmsg", "frames, the model route"},
    {kStreams | kFetch | kShells, "recvfrom recvmsg shutdown", "frames, the model route"},
    {kStreams | kFetch | kShells, "getsockopt setsockopt getsockname getpeername", "libcurl"},
    {kOwns | kShells, "connect bind recvmmsg", "resolver and connections of its own"},
    {kOwns | kShell | kLocalShell, "sendmmsg", "the resolver"},
    {kShells, "listen accept accept4", "servers on loopback"},
    // System V and POSIX queues live in the call's own ipc namespace.
    {kShells, "shmget shmat shmdt shmctl semget semop semtimedop semctl", "postgres"},
    {kShells, "msgget msgsnd msgrcv msgctl", "older servers"},
    {kShells, "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr", "queues"},
    // Pid 1 of a cell only stays. Who waits for a call ends what is left of it, tells, and ends.
    {kReaper, "wait4 waitid write exit_group rt_sigreturn restart_syscall", "reap and report"},
    {kReaper, "syncfs", "what a call wrote is on the disk before its end is told"},
    {kReaper, "pause ppoll poll pread64",
     "pid 1 rests; cgroup.events: does anybody of a background call live"},
};

constexpr RefusedRow kRefused[] = {
    {kShells | kOwns, Mechanism::SeccompClone3, "clone3", ENOSYS,
     "its flags are in memory a filter cannot read; libc falls back"},
    {kShells, Mechanism::SeccompUring, "io_uring_setup io_uring_enter io_uring_register", ENOSYS,
     "much of the kernel past every other filter; runtimes fall back to epoll"},
    {kShells, Mechanism::SeccompUserfault, "userfaultfd", ENOSYS, "halts the kernel at will"},
    {kShells, Mechanism::SeccompMemory, "cachestat", ENOSYS, "what others read of shared files"},
    {kShells, Mechanism::SeccompMemory, "vmsplice memfd_secret", EPERM,
     "pages of others, written by splicing; memory nobody can look at"},
    {kShells, Mechanism::SeccompMount, "statmount listmount", ENOSYS, "mountinfo tells it"},
    {kShells, Mechanism::SeccompMount, "mount umount2 pivot_root", EPERM, "the cell's files stand"},
    {kShells, Mechanism::SeccompMount, "open_tree move_mount fsopen fsconfig fsmount fspick", EPERM,
     "the same by the new calls"},
    {kShells, Mechanism::SeccompMount, "mount_setattr open_tree_attr", EPERM, "and the newest"},
    {kShells, Mechanism::SeccompNamespaces, "unshare setns", EPERM, "each opens new kernel code"},
    {kShells, Mechanism::SeccompBpf, "bpf", EPERM, "programs in the kernel"},
    {kShells, Mechanism::SeccompPerf, "perf_event_open", EPERM, "counts what others do"},
    {kShells, Mechanism::SeccompKeys, "keyctl add_key request_key", EPERM,
     "keyrings have no namespace"},
    {kShells, Mechanism::SeccompHandles, "open_by_handle_at fanotify_init fanotify_mark", EPERM,
     "files by number, past every path"},
    {kShells, Mechanism::SeccompForeign, "pidfd_getfd kcmp", EPERM, "descriptors of others"},
    {kShells, Mechanism::SeccompLdt, "modify_ldt", EPERM, "old segments, old holes"},
    {kShells, Mechanism::SeccompQuota, "quotactl quotactl_fd", EPERM, "limits are the warden's"},
    {kShells, Mechanism::SeccompMachine, "init_module finit_module delete_module kexec_load", EPERM,
     "the machine is not the cell's"},
    {kShells, Mechanism::SeccompMachine, "kexec_file_load reboot swapon swapoff acct", EPERM,
     "the machine is not the cell's"},
    {kShells, Mechanism::SeccompMachine, "settimeofday clock_settime clock_adjtime adjtimex", EPERM,
     "everybody's clock"},
    {kShells, Mechanism::SeccompMachine, "sethostname setdomainname vhangup", EPERM,
     "names and terminals of the machine"},
    {kShells, Mechanism::SeccompSyslog, "syslog", EPERM, "the kernel's log names its addresses"},
    {kShells, Mechanism::SeccompPorts, "iopl ioperm", EPERM, "ports of the hardware"},
};

constexpr uint32_t kEvery = ~uint32_t{0};
constexpr uint32_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint32_t kInet = ~uint32_t{AF_INET ^ AF_INET6};  // the one and the other
static_assert((AF_INET & kInet) == AF_INET && (AF_INET6 & kInet) == AF_INET);
constexpr uint32_t kTypeMask = 0xf;  // below the flags of socket(2)'s type
constexpr uint32_t kFastOpen = 0x20000000;  // MSG_FASTOPEN
constexpr uint32_t kTcp = 6, kUdp = 17, kNetlinkRoute = 0;

constexpr ArgumentRow kByArgument[] = {
    {kShells, "clone", 1, {{{0, kNamespaces, 0}}}, kAllow, "processes and threads"},
    {kShells, "clone", 0, {}, EPERM, "no namespace may be made: each opens new kernel code",
     Mechanism::SeccompNamespaces},
    {kOwns, "clone", 1, {{{0, CLONE_THREAD | kNamespaces, CLONE_THREAD}}}, kAllow,
     "a shared libcurl resolves names in a thread"},
    {kOwns, "clone", 0, {}, EPERM, "no processes"},

    {kShells | kOwn, "socket", 1, {{{0, kEvery, AF_UNIX}}}, kAllow, "local sockets; syslog"},
    {kShell | kTcpShell | kOwns, "socket", 3,
     {{{0, kInet, AF_INET}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, 0}}}, kAllow, "TCP"},
    {kShell | kTcpShell | kOwns, "socket", 3,
     {{{0, kInet, AF_INET}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, kTcp}}}, kAllow, "TCP"},
    {kShell | kOwns, "socket", 3,
     {{{0, kInet, AF_INET}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, 0}}}, kAllow, "UDP"},
    {kShell | kOwns, "socket", 3,
     {{{0, kInet, AF_INET}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, kUdp}}}, kAllow, "UDP"},
    {kShells | kOwns, "socket", 2, {{{0, kEvery, AF_NETLINK}, {2, kEvery, kNetlinkRoute}}}, kAllow,
     "getaddrinfo asks which addresses the machine has"},
    {kShells | kStreams, "socket", 0, {}, EAFNOSUPPORT, "vsock, alg, raw and the rest"},

    {kTcpShell, "sendto", 1, {{{3, kFastOpen, kFastOpen}}}, EOPNOTSUPP,
     "connects past Landlock, which looks at connect()"},
    {kTcpShell, "sendto", 0, {}, kAllow, "on what is connected"},
    {kTcpShell, "sendmsg", 1, {{{2, kFastOpen, kFastOpen}}}, EOPNOTSUPP, "as sendto"},
    {kTcpShell, "sendmsg", 0, {}, kAllow, "on what is connected"},
    {kTcpShell, "sendmmsg", 1, {{{3, kFastOpen, kFastOpen}}}, EOPNOTSUPP, "as sendto"},
    {kTcpShell, "sendmmsg", 0, {}, kAllow, "on what is connected"},

    {kAdapterOwn, "socketpair", 2, {{{0, kEvery, AF_UNIX}, {1, kTypeMask, SOCK_STREAM}}}, kAllow,
     "wake-ups; one of datagrams could be connected to a service of the person's"},
    {kShells | kTurns | kAdapter, "socketpair", 1, {{{0, kEvery, AF_UNIX}}}, kAllow, "wake-ups, pipes"},
    {kShells | kStreams, "socketpair", 0, {}, EAFNOSUPPORT, "only AF_UNIX has pairs worth having"},

    {kShells, "ioctl", 1, {{{1, kEvery, TIOCSTI}}}, EPERM, "types into somebody's terminal",
     Mechanism::SeccompTerminal},
    {kShells, "ioctl", 1, {{{1, kEvery, 0x541c}}}, EPERM, "TIOCLINUX: pastes into the console",
     Mechanism::SeccompTerminal},
    {kShells, "ioctl", 1, {{{1, kEvery, TIOCCONS}}}, EPERM, "takes the console's output",
     Mechanism::SeccompTerminal},
    {kShells, "ioctl", 1, {{{1, kEvery, TIOCSETD}}}, EPERM, "loads line disciplines",
     Mechanism::SeccompTerminal},
    {kShells, "ioctl", 1, {{{1, kEvery, 0xc0045877}}}, EPERM, "FIFREEZE",
     Mechanism::SeccompFreeze},
    {kShells, "ioctl", 1, {{{1, kEvery, 0xc0045878}}}, EPERM, "FITHAW",
     Mechanism::SeccompFreeze},
    {kShells, "ioctl", 1, {{{1, kEvery, 0x401c5820}}}, EPERM, "FS_IOC_FSSETXATTR: whose quota",
     Mechanism::SeccompQuota},
    {kShells, "ioctl", 0, {}, kAllow, "terminals, sockets, files"},
    {kFetch, "fcntl", 1, {{{1, kEvery, F_GETFL}}}, kAllow, "libcurl"},
    {kFetch, "fcntl", 1, {{{1, kEvery, F_SETFL}}}, kAllow, "libcurl: its socket does not block"},
    {kFetch, "fcntl", 0, {}, EPERM, "nothing else is needed"},

    {kOurs, "ioctl", 1, {{{1, kEvery, FIONBIO}}}, kAllow, "libcurl"},
    {kOurs, "ioctl", 1, {{{1, kEvery, FIONREAD}}}, kAllow, "libcurl"},
    {kOurs, "ioctl", 0, {}, ENOTTY, "isatty() and what else the libraries try"},

    {kShells, "prctl", 1, {{{0, kEvery, PR_SET_MM}}}, EPERM, "rewrites the process's own map",
     Mechanism::SeccompPrctl},
    {kShells, "prctl", 0, {}, kAllow, "names, death signals, dumpable, own filters"},
    {kOurs | kReaper, "prctl", 1, {{{0, kEvery, PR_SET_DUMPABLE}}}, kAllow, "hides our memory"},
    {kOurs | kReaper, "prctl", 1, {{{0, kEvery, PR_SET_PDEATHSIG}}}, kAllow, "ends with us"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_NO_NEW_PRIVS}}}, kAllow, "before a filter of its own"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_NAME}}}, kAllow, "threads"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_VMA}}}, kAllow, "malloc names its areas"},
    {kOurs | kReaper, "prctl", 0, {}, EPERM, "nothing else is needed"},

    {kShells, "personality", 1, {{{0, kEvery, 0}}}, kAllow, "query by setting the default"},
    {kShells, "personality", 1, {{{0, kEvery, 0x8}}}, kAllow, "PER_LINUX32"},
    {kShells, "personality", 1, {{{0, kEvery, 0x20000}}}, kAllow, "UNAME26"},
    {kShells, "personality", 1, {{{0, kEvery, 0x40000}}}, kAllow, "gdb: ADDR_NO_RANDOMIZE"},
    {kShells, "personality", 1, {{{0, kEvery, kEvery}}}, kAllow, "query"},
    {kShells, "personality", 0, {}, EPERM, "READ_IMPLIES_EXEC and other old doors",
     Mechanism::SeccompPersonality},

    {kShells | kOurs, "seccomp", 2,
     {{{0, kEvery, SECCOMP_SET_MODE_FILTER},
       {1, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0}}}, kAllow, "programs that jail themselves further"},
    {kShells, "seccomp", 1, {{{0, kEvery, SECCOMP_GET_ACTION_AVAIL}}}, kAllow, "libseccomp asks"},
    {kShells, "seccomp", 2, {{{0, kEvery, SECCOMP_SET_MODE_STRICT}, {1, kEvery, 1}}}, EINVAL,
     "what the kernel says: libseccomp asks by it whether there is seccomp at all"},
    {kShells | kOurs, "seccomp", 0, {}, EPERM, "a listener could answer for the kernel",
     Mechanism::SeccompListener},
};
// clang-format on

}  // namespace

std::span<const AllowRow> allowed() { return kAllowed; }
std::span<const RefusedRow> refused() { return kRefused; }
std::span<const ArgumentRow> by_argument() { return kByArgument; }

}  // namespace peacrab::jail_tables
