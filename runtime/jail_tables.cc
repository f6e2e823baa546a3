// Which system calls each jail class has, and why. An allow-list: what is not here is refused.
//
// Left out on purpose, so that nobody adds them unthinking: keyrings, bpf, perf, userfaultfd,
// io_uring, the mount calls old and new, setns and unshare, open_by_handle_at, fanotify,
// pidfd_getfd, kcmp, modify_ldt, vmsplice, memfd_secret, quotactl, syslog, swap, acct, reboot,
// setting clocks, port access, modules, kexec. A row may be widened only with the program that
// needs it as reason.
#include "jail_tables.h"

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
constexpr unsigned kOurs = kFile | kTurns;
constexpr unsigned kAll = kOurs | kShell;

// clang-format off: one row a line.
constexpr AllowRow kAllowed[] = {
    // Files.
    {kAll, "read pread64 write writev lseek close", "streams and files"},
    {kAll, "open openat openat2", "openat2 keeps our own opens beneath a directory"},
    {kAll, "fstat newfstatat statx stat lstat", "is it a regular file, does it exist"},
    {kAll, "access faccessat faccessat2 readlink readlinkat getcwd", "loader; realpath"},
    {kAll, "getdents64 statfs fstatfs", "CA directory; SQLite asks for the file system"},
    {kAll, "mkdir mkdirat rename renameat renameat2 unlink unlinkat", "temp file, then rename"},
    {kAll, "fsync fdatasync fchmod ftruncate fcntl umask", "durable writes; SQLite's locks"},
    {kTurns | kShell, "readv pwrite64 rmdir flock fallocate", "SQLite's pages and hot journals"},
    {kShell, "preadv pwritev preadv2 pwritev2 creat truncate", "files, any program"},
    {kShell, "close_range dup dup2 dup3 getdents", "redirections"},
    {kShell, "sync syncfs sync_file_range readahead fadvise64", "databases"},
    {kShell, "copy_file_range sendfile splice tee", "cp, servers"},
    {kShell, "chmod fchmodat fchmodat2 chown fchown lchown fchownat", "tar, install"},
    {kShell, "utime utimes futimesat utimensat", "touch, make, tar"},
    {kShell, "setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr", "cp -a, tar"},
    {kShell, "listxattr llistxattr flistxattr", "cp -a, ls"},
    {kShell, "removexattr lremovexattr fremovexattr", "cp -a, tar"},
    {kShell, "link linkat symlink symlinkat mknod mknodat", "ln, mkfifo; devices need a right"},
    {kShell, "chdir fchdir chroot", "cd; chroot needs a capability"},
    {kShell, "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch", "tail -f, watchers"},
    // Memory.
    {kAll, "brk mmap munmap mprotect mremap madvise", "malloc, loader, SQLite's shared memory"},
    {kShell, "mincore msync mlock mlock2 munlock mlockall munlockall", "databases, runtimes"},
    {kShell, "memfd_create remap_file_pages", "runtimes, browsers"},
    {kShell, "pkey_alloc pkey_free pkey_mprotect membarrier mseal map_shadow_stack", "runtimes"},
    {kShell, "get_mempolicy", "numa-aware runtimes ask"},
    {kShell, "process_madvise process_mrelease", "own processes only"},
    // The start of a program: the filter is on before exec.
    {kFile | kShell, "execve execveat", "the start; file closes it with forbid_new_code()"},
    {kAll, "arch_prctl set_tid_address set_robust_list rseq prlimit64", "start of any libc"},
    {kAll, "getrandom", "hash seeds, stack protector, TLS"},
    {kAll, "futex sched_yield sched_getaffinity", "locks; OpenSSL counts CPUs"},
    {kAll, "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack", "SIGPIPE off; abort()"},
    {kAll, "getpid gettid tgkill", "abort(); OpenSSL and SQLite notice a fork"},
    {kAll, "getuid geteuid getgid getegid", "loader, SQLite"},
    {kAll, "uname sysinfo getrusage", "libc and OpenSSL at start"},
    {kAll, "exit exit_group restart_syscall", "the end"},
    // Time and waiting.
    {kAll, "clock_gettime clock_getres gettimeofday time", "where the vdso has no answer"},
    {kTurns | kShell, "clock_nanosleep nanosleep", "retry with a pause; SQLite's busy handler"},
    {kTurns | kShell, "poll ppoll eventfd eventfd2 pipe pipe2", "libcurl's multi handle"},
    {kShell, "select pselect6 epoll_create epoll_create1", "event loops"},
    {kShell, "epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2",
     "event loops"},
    {kShell, "alarm pause getitimer setitimer times", "timeout, sleep, time"},
    {kShell, "timer_create timer_delete timer_getoverrun timer_gettime timer_settime", "timers"},
    {kShell, "timerfd_create timerfd_gettime timerfd_settime", "event loops"},
    {kShell, "signalfd signalfd4", "event loops"},
    {kShell, "io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy", "databases"},
    // Processes, all within the call's own pid namespace.
    {kShell, "fork vfork wait4 waitid", "shells"},
    {kShell, "kill tkill pidfd_open pidfd_send_signal", "own processes"},
    {kShell, "rt_sigpending rt_sigqueueinfo rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo",
     "signals among own processes"},
    {kShell, "getppid getpgid getpgrp setpgid getsid setsid", "job control"},
    {kShell, "getrlimit setrlimit getcpu getpriority setpriority", "ulimit, nice"},
    {kShell, "ioprio_get ioprio_set", "ionice"},
    {kShell, "sched_setaffinity sched_getparam sched_setparam sched_getscheduler", "taskset, JVM"},
    {kShell, "sched_setscheduler sched_getattr sched_setattr", "real time stays out by rlimit"},
    {kShell, "sched_get_priority_max sched_get_priority_min sched_rr_get_interval", "JVM"},
    {kShell, "get_robust_list get_thread_area set_thread_area futex_waitv", "threads"},
    {kShell, "futex_wake futex_wait futex_requeue", "threads, newer libc"},
    {kShell, "ptrace process_vm_readv process_vm_writev", "gdb, strace on own processes"},
    {kShell, "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
     "programs that jail themselves further"},
    // Ids: one id, no capabilities; these can only fail or change nothing.
    {kShell, "getresuid getresgid getgroups capget capset", "id, libcap"},
    {kShell, "setuid setgid setreuid setregid setresuid setresgid", "su-like programs get EPERM"},
    {kShell, "setfsuid setfsgid setgroups", "servers that drop privileges"},
    // Sockets that are there; which may be made is decided below.
    {kTurns | kShell, "sendto recvfrom sendmsg recvmsg shutdown", "frames, the model route"},
    {kTurns | kShell, "getsockopt setsockopt getsockname getpeername", "libcurl on a given socket"},
    {kOwn | kShell, "connect bind sendmmsg recvmmsg", "resolver and connections of its own"},
    {kShell, "listen accept accept4", "servers on loopback"},
    // System V and POSIX queues live in the call's own ipc namespace.
    {kShell, "shmget shmat shmdt shmctl semget semop semtimedop semctl", "postgres"},
    {kShell, "msgget msgsnd msgrcv msgctl", "older servers"},
    {kShell, "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr", "queues"},
    // Pid 1 of a call waits, tells how the command ended, and ends.
    {kReaper, "wait4 write exit_group rt_sigreturn restart_syscall", "reap and report"},
    {kReaper, "syncfs", "what a call wrote is on the disk before its end is told"},
};

constexpr AbsentRow kAbsent[] = {
    {kShell | kOwn, "clone3", "its flags are in memory a filter cannot read; libc falls back"},
    {kShell, "io_uring_setup io_uring_enter io_uring_register", "runtimes fall back to epoll"},
    {kShell, "userfaultfd", "runtimes fall back"},
};

constexpr uint32_t kEvery = ~uint32_t{0};
constexpr uint32_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint32_t kTypeMask = 0xf;  // below the flags of socket(2)'s type
constexpr uint32_t kTcp = 6, kUdp = 17, kNetlinkRoute = 0;

constexpr ArgumentRow kByArgument[] = {
    {kShell, "clone", 1, {{{0, kNamespaces, 0}}}, kAllow, "processes and threads"},
    {kShell, "clone", 0, {}, EPERM, "no namespace may be made: each opens new kernel code"},
    {kOwn, "clone", 1, {{{0, CLONE_THREAD | kNamespaces, CLONE_THREAD}}}, kAllow,
     "a shared libcurl resolves names in a thread"},
    {kOwn, "clone", 0, {}, EPERM, "no processes"},

    {kShell | kOwn, "socket", 1, {{{0, kEvery, AF_UNIX}}}, kAllow, "local sockets; syslog"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, 0}}}, kAllow, "TCP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, kTcp}}}, kAllow, "TCP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, 0}}}, kAllow, "UDP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, kUdp}}}, kAllow, "UDP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET6}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, 0}}}, kAllow, "TCP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET6}, {1, kTypeMask, SOCK_STREAM}, {2, kEvery, kTcp}}}, kAllow, "TCP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET6}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, 0}}}, kAllow, "UDP"},
    {kShell | kOwn, "socket", 3,
     {{{0, kEvery, AF_INET6}, {1, kTypeMask, SOCK_DGRAM}, {2, kEvery, kUdp}}}, kAllow, "UDP"},
    {kShell | kOwn, "socket", 2, {{{0, kEvery, AF_NETLINK}, {2, kEvery, kNetlinkRoute}}}, kAllow,
     "getaddrinfo asks which addresses the machine has"},
    {kShell | kTurns, "socket", 0, {}, EAFNOSUPPORT, "vsock, alg, packet, xdp, raw and the rest"},

    {kShell | kTurns, "socketpair", 1, {{{0, kEvery, AF_UNIX}}}, kAllow, "wake-ups, pipes"},
    {kShell | kTurns, "socketpair", 0, {}, EAFNOSUPPORT, "only AF_UNIX has pairs worth having"},

    {kShell, "ioctl", 1, {{{1, kEvery, TIOCSTI}}}, EPERM, "types into somebody's terminal"},
    {kShell, "ioctl", 1, {{{1, kEvery, 0x541c}}}, EPERM, "TIOCLINUX: pastes into the console"},
    {kShell, "ioctl", 1, {{{1, kEvery, TIOCCONS}}}, EPERM, "takes the console's output"},
    {kShell, "ioctl", 1, {{{1, kEvery, TIOCSETD}}}, EPERM, "loads line disciplines"},
    {kShell, "ioctl", 1, {{{1, kEvery, 0xc0045877}}}, EPERM, "FIFREEZE"},
    {kShell, "ioctl", 1, {{{1, kEvery, 0xc0045878}}}, EPERM, "FITHAW"},
    {kShell, "ioctl", 0, {}, kAllow, "terminals, sockets, files"},
    {kOurs, "ioctl", 1, {{{1, kEvery, FIONBIO}}}, kAllow, "libcurl"},
    {kOurs, "ioctl", 1, {{{1, kEvery, FIONREAD}}}, kAllow, "libcurl"},
    {kOurs, "ioctl", 0, {}, ENOTTY, "isatty() and what else the libraries try"},

    {kShell, "prctl", 1, {{{0, kEvery, PR_SET_MM}}}, EPERM, "rewrites the process's own map"},
    {kShell, "prctl", 0, {}, kAllow, "names, death signals, dumpable, own filters"},
    {kOurs | kReaper, "prctl", 1, {{{0, kEvery, PR_SET_DUMPABLE}}}, kAllow, "hides our memory"},
    {kOurs | kReaper, "prctl", 1, {{{0, kEvery, PR_SET_PDEATHSIG}}}, kAllow, "ends with us"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_NO_NEW_PRIVS}}}, kAllow, "before a filter of its own"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_NAME}}}, kAllow, "threads"},
    {kOurs, "prctl", 1, {{{0, kEvery, PR_SET_VMA}}}, kAllow, "malloc names its areas"},
    {kOurs | kReaper, "prctl", 0, {}, EPERM, "nothing else is needed"},

    {kShell, "personality", 1, {{{0, kEvery, 0}}}, kAllow, "query by setting the default"},
    {kShell, "personality", 1, {{{0, kEvery, 0x8}}}, kAllow, "PER_LINUX32"},
    {kShell, "personality", 1, {{{0, kEvery, 0x20000}}}, kAllow, "UNAME26"},
    {kShell, "personality", 1, {{{0, kEvery, 0x40000}}}, kAllow, "gdb: ADDR_NO_RANDOMIZE"},
    {kShell, "personality", 1, {{{0, kEvery, kEvery}}}, kAllow, "query"},
    {kShell, "personality", 0, {}, EPERM, "READ_IMPLIES_EXEC and other old doors"},

    {kShell | kOurs, "seccomp", 2,
     {{{0, kEvery, SECCOMP_SET_MODE_FILTER},
       {1, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0}}}, kAllow, "programs that jail themselves further"},
    {kShell, "seccomp", 1, {{{0, kEvery, SECCOMP_GET_ACTION_AVAIL}}}, kAllow, "libseccomp asks"},
    {kShell | kOurs, "seccomp", 0, {}, EPERM, "a listener could answer for the kernel"},
};
// clang-format on

}  // namespace

std::span<const AllowRow> allowed() { return kAllowed; }
std::span<const AbsentRow> absent() { return kAbsent; }
std::span<const ArgumentRow> by_argument() { return kByArgument; }

}  // namespace peacrab::jail_tables
