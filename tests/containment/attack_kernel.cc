// Rows A: the kernel and the walls of the cell. Each says which refusal is the right one: a wall
// that fell behind another wall shows by a different errno.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "attack.h"

namespace attack {
namespace {

struct Named {
    const char* name;
    long value;
};

constexpr Named kSpaces[] = {
    {"mnt", CLONE_NEWNS},  {"cgroup", CLONE_NEWCGROUP}, {"uts", CLONE_NEWUTS},
    {"ipc", CLONE_NEWIPC}, {"user", CLONE_NEWUSER},     {"pid", CLONE_NEWPID},
    {"net", CLONE_NEWNET},
};
constexpr long kTimeSpace = 0x80;

long clone_with(long flags) {
    const long pid = raw(SYS_clone, flags | SIGCHLD);
    if (pid == 0) ::_exit(0);
    if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
    return pid;
}

void new_spaces(Report& report) {
    long all = 0;
    for (const Named& space : kSpaces) {
        all |= space.value;
        const long both = space.value | CLONE_NEWUSER;
        report.refused(std::string("unshare ") + space.name, {EPERM},
                       [&] { return raw(SYS_unshare, space.value); });
        report.refused(std::string("clone ") + space.name, {EPERM},
                       [&] { return clone_with(space.value); });
        report.refused(std::string("unshare user and ") + space.name, {EPERM},
                       [&] { return raw(SYS_unshare, both); });
        report.refused(std::string("clone user and ") + space.name, {EPERM},
                       [&] { return clone_with(both); });
    }
    report.refused("unshare time", {EPERM}, [] { return raw(SYS_unshare, kTimeSpace); });
    report.refused("unshare everything", {EPERM},
                   [=] { return raw(SYS_unshare, all | kTimeSpace); });
    report.refused("clone everything", {EPERM}, [=] { return clone_with(all); });
}

void plain_clone(Report& report) {
    report.works("clone without a namespace", [] { return clone_with(0); });
}

void clone3(Report& report) {
    for (const Named& space : kSpaces)
        report.refused(std::string("clone3 ") + space.name, {ENOSYS}, [&] {
            clone_args arguments{};
            arguments.flags = static_cast<uint64_t>(space.value);
            arguments.exit_signal = SIGCHLD;
            const long pid = raw(SYS_clone3, reinterpret_cast<long>(&arguments), sizeof arguments);
            if (pid == 0) ::_exit(0);
            return pid;
        });
}

void a_thread(Report& report) {
    report.works("a thread, by the older call", [] {
        long said = -1;
        std::thread([&] { said = 1; }).join();
        return said;
    });
}

void enter_spaces(Report& report) {
    for (const int pid : pids())
        for (const char* kind :
             {"mnt", "net", "user", "pid", "pid_for_children", "ipc", "uts", "cgroup", "time"}) {
            const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + kind;
            const std::string target = link_of(path);
            if (target.empty()) continue;
            if (target != link_of(std::string("/proc/self/ns/") + kind))
                report.escaped(path + " is another's: " + target);
            report.refused("setns " + path, {EPERM}, [&] {
                const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
                return fd < 0 ? -1 : raw(SYS_setns, fd, 0);
            });
        }
    report.refused("setns by pidfd", {EPERM}, [] {
        const long fd = raw(SYS_pidfd_open, ::getpid(), 0);
        return fd < 0 ? refusal(EBADF) : raw(SYS_setns, fd, CLONE_NEWUTS);
    });
}

void own_spaces(Report& report) {
    report.must("own namespaces are listed", list("/proc/self/ns").size() >= 8);
    report.works("one of them opens", [] {
        return static_cast<long>(::open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
    });
}

void mounts(Report& report) {
    const auto mount_of = [&](const char* what, const char* from, const char* to, const char* type,
                              unsigned long flags, const char* data) {
        report.refused(what, {EPERM},
                       [=] { return static_cast<long>(::mount(from, to, type, flags, data)); });
    };
    mount_of("mount tmpfs", "t", "/tmp", "tmpfs", 0, nullptr);
    mount_of("mount proc", "p", "/tmp", "proc", 0, nullptr);
    mount_of("mount sysfs", "s", "/tmp", "sysfs", 0, nullptr);
    mount_of("mount cgroup2", "c", "/tmp", "cgroup2", 0, nullptr);
    mount_of("mount devpts", "d", "/tmp", "devpts", 0, nullptr);
    mount_of("mount mqueue", "m", "/tmp", "mqueue", 0, nullptr);
    mount_of("mount overlay", "o", "/tmp", "overlay", 0, "lowerdir=/usr:/etc");
    mount_of("mount ext4", "/dev/vdb", "/tmp", "ext4", 0, nullptr);
    mount_of("bind", "/", "/tmp", nullptr, MS_BIND | MS_REC, nullptr);
    mount_of("move", "/proc", "/tmp", nullptr, MS_MOVE, nullptr);
    mount_of("propagate", "", "/", nullptr, MS_SHARED | MS_REC, nullptr);
    mount_of("remount", "", "/", "", MS_REMOUNT | MS_BIND, nullptr);
    mount_of("remount output writable", "", "/run/output", "", MS_REMOUNT | MS_BIND, nullptr);
    mount_of("remount /proc/sys", "", "/proc/sys", "", MS_REMOUNT | MS_BIND, nullptr);
    report.refused("umount /proc", {EPERM},
                   [] { return static_cast<long>(::umount2("/proc", MNT_DETACH)); });
    report.refused("umount a mask", {EPERM},
                   [] { return static_cast<long>(::umount2("/proc/kcore", MNT_DETACH)); });
    report.refused("fsopen", {EPERM},
                   [] { return raw(SYS_fsopen, reinterpret_cast<long>("tmpfs"), 0); });
    report.refused("fspick", {EPERM},
                   [] { return raw(SYS_fspick, AT_FDCWD, reinterpret_cast<long>("/"), 0); });
    report.refused("fsmount", {EPERM}, [] { return raw(SYS_fsmount, -1, 0, 0); });
    report.refused("fsconfig", {EPERM}, [] { return raw(SYS_fsconfig, -1, 0, 0, 0, 0); });
    report.refused("open_tree", {EPERM}, [] {
        return raw(SYS_open_tree, AT_FDCWD, reinterpret_cast<long>("/"), OPEN_TREE_CLONE);
    });
    report.refused("move_mount", {EPERM}, [] {
        return raw(SYS_move_mount, AT_FDCWD, reinterpret_cast<long>("/proc"), AT_FDCWD,
                   reinterpret_cast<long>("/tmp"), 0);
    });
    report.refused("mount_setattr", {EPERM}, [] {
        mount_attr attr{};
        attr.attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        return raw(SYS_mount_setattr, AT_FDCWD, reinterpret_cast<long>("/"), 0,
                   reinterpret_cast<long>(&attr), sizeof attr);
    });
}

void own_files(Report& report) {
    report.works("a folder and a file of one's own", [] {
        char name[] = "/tmp/twin.XXXXXX";
        const long made =
            ::mkdtemp(name) ? open_for(name + std::string("/f"), O_WRONLY | O_CREAT) : -1;
        ::unlink((name + std::string("/f")).c_str());
        ::rmdir(name);
        return made;
    });
}

// Out of a chroot by a directory kept open: ends at the cell's own root, never beyond it.
long climb() {
    struct stat top {
    }, after{};
    const int kept = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[] = "/tmp/climb.XXXXXX";
    if (kept < 0 || ::fstat(kept, &top) < 0 || !::mkdtemp(name)) return refusal(EIO);
    const long jailed = ::chroot(name);
    if (jailed == 0) {
        if (::fchdir(kept) < 0) return refusal(EIO);
        for (int i = 0; i < 64; ++i)
            if (::chdir("..") < 0) return refusal(EIO);
        if (::chroot(".") < 0) return refusal(EIO);
    }
    ::rmdir(name);
    if (::stat("/", &after) < 0) return refusal(EIO);
    if (top.st_dev != after.st_dev || top.st_ino != after.st_ino) return 1;
    for (const char* beyond : {"/peacrabd", "/state", "/base", "/agents"})
        if (::access(beyond, F_OK) == 0) return 2;
    return refusal(jailed == 0 ? ELOOP : EPERM);
}

void root_moves(Report& report) {
    report.refused("pivot_root", {EPERM}, [] {
        return raw(SYS_pivot_root, reinterpret_cast<long>("."), reinterpret_cast<long>("."));
    });
    // ELOOP is ours: climbed, and came out at the same root.
    report.refused("chroot and climb", {root() ? ELOOP : EPERM}, climb);
}

void hidden_by_chroot(Report& report) {
    report.works("a chroot hides, or is refused to an ordinary user", [] {
        char name[] = "/tmp/hide.XXXXXX";
        if (!::mkdtemp(name)) return -1L;
        const long made = ::chroot(name);
        if (made == 0) return ::access("/tmp", F_OK) < 0 ? 1L : -1L;
        ::rmdir(name);
        return errno == EPERM && !root() ? 1L : -1L;
    });
}

void descriptors(Report& report) {
    for (const int fd : first_descriptors()) {
        const std::string target = link_of("/proc/self/fd/" + std::to_string(fd));
        report.must("descriptor " + std::to_string(fd) + " is a stream: " + target,
                    target == "/dev/null" || target.rfind("pipe:", 0) == 0);
        if (fd > 2) report.escaped("descriptor " + std::to_string(fd) + " is " + target);
        report.refused("fchdir to it", {ENOTDIR}, [=] { return static_cast<long>(::fchdir(fd)); });
    }
    report.must("three descriptors", first_descriptors().size() == 3);
}

void a_descriptor(Report& report) {
    report.works("a directory of one's own can be entered",
                 [] { return static_cast<long>(::fchdir(::open("/", O_RDONLY | O_CLOEXEC))); });
}

void working_folder(Report& report) {
    const std::string wanted = "/home/agent/workspace";
    char here[4096];
    report.must("getcwd", ::getcwd(here, sizeof here) && wanted == here);
    report.must("/proc/self/cwd", link_of("/proc/self/cwd") == wanted);
    report.must("/proc/self/root", link_of("/proc/self/root") == "/");
    report.must("the place of the program", own_path().rfind(wanted, 0) == 0);
    for (const char* name : {"cwd", "root", "exe"})
        report.refused(std::string("readlink /proc/1/") + name, {EACCES, EPERM}, [&] {
            char target[256];
            return ::readlink((std::string("/proc/1/") + name).c_str(), target, sizeof target);
        });
    for (const char* name : {"root/etc/passwd", "cwd/.", "exe", "fd", "map_files", "environ",
                             "maps", "auxv", "stack", "syscall", "mem"})
        report.refused(std::string("open /proc/1/") + name, {EACCES, EPERM, ENOENT}, [&] {
            const long fd = open_for(std::string("/proc/1/") + name, O_RDONLY);
            if (fd < 0) return -1L;
            char byte;
            const ssize_t n = ::read(static_cast<int>(fd), &byte, 1);
            return n < 0 && errno == EISDIR ? static_cast<long>(list("/proc/1/fd").size())
                                            : (n < 0 ? -1L : static_cast<long>(n));
        });
}

void own_links(Report& report) {
    report.works("the own root by its alias",
                 [] { return open_for("/proc/self/root/etc/passwd", O_RDONLY); });
    report.works("the own program", [] { return open_for("/proc/self/exe", O_RDONLY); });
}

void running_programs(Report& report) {
    report.refused("write to the running program", {ETXTBSY, EACCES},
                   [] { return open_for("/proc/self/exe", O_RDWR); });
    // Whatever else runs here: a program that is no file of this cell is ours, and must stay shut.
    for (int round = 0; round < 200; ++round)
        for (const int pid : pids()) {
            const std::string exe = "/proc/" + std::to_string(pid) + "/exe", target = link_of(exe);
            struct stat by_link, by_name;
            if (target.empty() || ::stat(exe.c_str(), &by_link) < 0) continue;
            if (::stat(target.c_str(), &by_name) == 0 && by_link.st_ino == by_name.st_ino) continue;
            if (target.find(" (deleted)") != std::string::npos) continue;
            if (open_for(exe, O_RDONLY) >= 0 || open_for(exe, O_RDWR) >= 0)
                report.escaped("a program from outside can be opened: " + target);
        }
}

void write_when_not_running(Report& report) {
    const std::string copy = "/tmp/attack-copy";
    report.works("a copy that does not run", [&] {
        const int from = ::open("/proc/self/exe", O_RDONLY),
                  to = ::open(copy.c_str(), O_WRONLY | O_CREAT, 0700);
        char block[4096];
        const ssize_t n = ::read(from, block, sizeof block);
        const long result = n > 0 && ::write(to, block, static_cast<size_t>(n)) == n ? 0 : -1;
        ::unlink(copy.c_str());
        return result;
    });
}

void kernel_files(Report& report) {
    for (const char* path : {"/proc/sys/kernel/core_pattern",
                             "/proc/sys/kernel/modprobe",
                             "/proc/sys/kernel/hotplug",
                             "/proc/sys/kernel/sysrq",
                             "/proc/sys/kernel/hostname",
                             "/proc/sys/kernel/pid_max",
                             "/proc/sys/kernel/ns_last_pid",
                             "/proc/sys/kernel/shmmax",
                             "/proc/sys/vm/drop_caches",
                             "/proc/sys/vm/overcommit_memory",
                             "/proc/sys/fs/file-max",
                             "/proc/sys/net/ipv4/ip_forward",
                             "/proc/sys/net/ipv4/ping_group_range",
                             "/proc/sys/user/max_user_namespaces",
                             "/proc/sysrq-trigger",
                             "/proc/irq/default_smp_affinity",
                             "/sys/kernel/uevent_helper",
                             "/sys/fs/cgroup/cgroup.procs",
                             "/proc/self/oom_score_adj_none",
                             "/sys/kernel/debug/x",
                             "/proc/acpi/wakeup",
                             "/proc/bus/pci/00"})
        report.refused(std::string("write ") + path, {EACCES, EROFS, ENOENT, EPERM, ENODEV},
                       [=] { return open_for(path, O_WRONLY); });
    for (const char* path :
         {"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/timer_list",
          "/proc/vmallocinfo", "/proc/slabinfo", "/proc/kpagecount", "/proc/sched_debug",
          "/proc/latency_stats", "/proc/interrupts", "/proc/kpageflags",
          "/sys/firmware/acpi/tables/DSDT"})
        report.refused(std::string("read ") + path, {EACCES, EPERM, ENOENT, ENODATA, ENODEV},
                       [=] { return holds_bytes(path); });
    report.refused("an address in kallsyms", {ENODATA}, [] {
        const std::string text = read_all("/proc/kallsyms", 4096);
        for (const char c : text.substr(0, 16))
            if (c != '0') return 1L;
        return refusal(ENODATA);
    });
    report.refused("lower the own OOM score", {EACCES, EPERM}, [] {
        const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY);
        return fd < 0 ? -1L : ::write(fd, "-1000", 5);
    });
}

void plain_proc(Report& report) {
    for (const char* path :
         {"/proc/self/status", "/proc/meminfo", "/proc/cpuinfo", "/proc/sys/kernel/ostype"})
        report.works(std::string("read ") + path, [=] { return holds_bytes(path); });
}

void first_process(Report& report) {
    report.refused("open /proc/1/mem", {EACCES, EPERM},
                   [] { return open_for("/proc/1/mem", O_RDWR); });
    report.refused("ptrace seize", {EPERM}, [] { return raw(SYS_ptrace, PTRACE_SEIZE, 1, 0, 0); });
    report.refused("ptrace attach", {EPERM},
                   [] { return raw(SYS_ptrace, PTRACE_ATTACH, 1, 0, 0); });
    report.refused("process_vm_writev", {EPERM}, [] {
        char byte = 0;
        const iovec ours{&byte, 1}, theirs{reinterpret_cast<void*>(0x400000), 1};
        return raw(SYS_process_vm_writev, 1, reinterpret_cast<long>(&ours), 1,
                   reinterpret_cast<long>(&theirs), 1, 0);
    });
    for (const int signal : {0, SIGKILL, SIGSTOP, SIGTERM, SIGSEGV, SIGRTMIN, SIGCONT})
        report.refused("kill 1 with " + std::to_string(signal), {EPERM},
                       [=] { return static_cast<long>(::kill(1, signal)); });
    report.refused("signal by pidfd", {EPERM}, [] {
        return raw(SYS_pidfd_send_signal, raw(SYS_pidfd_open, 1, 0), SIGKILL, 0, 0);
    });
    for (const char* name : {"oom_score_adj", "clear_refs", "coredump_filter", "timerslack_ns",
                             "comm", "loginuid", "setgroups", "uid_map"})
        report.refused(std::string("write /proc/1/") + name, {EACCES, EPERM, ENOENT}, [&] {
            const long fd = open_for(std::string("/proc/1/") + name, O_WRONLY);
            return fd < 0 ? -1L : ::write(static_cast<int>(fd), "0", 1);
        });
    report.must("pid 1 is there", ::access("/proc/1", F_OK) == 0);
}

volatile long g_marker = 4711;

long trace_child(bool read_memory) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        for (;;) ::pause();
    }
    long result = -1;
    if (read_memory) {
        long copy = 0;
        const iovec ours{&copy, sizeof copy}, theirs{const_cast<long*>(&g_marker), sizeof g_marker};
        if (::process_vm_readv(child, &ours, 1, &theirs, 1, 0) > 0) result = copy == 4711 ? 0 : -1;
    } else {
        result = raw(SYS_ptrace, PTRACE_SEIZE, child, 0, 0);
    }
    if (::kill(child, SIGKILL) < 0) result = -1;
    ::waitpid(child, nullptr, 0);
    return result;
}

void own_child(Report& report) {
    report.works("kill and trace a child of one's own", [] { return trace_child(false); });
    report.works("read its memory", [] { return trace_child(true); });
}

void every_pid(Report& report) {
    const std::string space = link_of("/proc/self/ns/pid");
    for (int pid = 1; pid <= 40000; ++pid) {
        const long fd = raw(SYS_pidfd_open, pid, 0);
        if (fd < 0) {
            // ENOENT/EINVAL: a thread; ESRCH: nobody
            if (errno != ESRCH && errno != EINVAL && errno != ENOENT)
                report.surprise("pidfd_open " + std::to_string(pid) + ": " +
                                ::strerrorname_np(errno));
            continue;
        }
        ::close(static_cast<int>(fd));
        const std::string theirs = link_of("/proc/" + std::to_string(pid) + "/ns/pid");
        if (pid != 1 && !theirs.empty() && theirs != space)
            report.escaped("pid " + std::to_string(pid) + " of another namespace");
    }
    for (const long pid : {1L, -1L, 0L, 4194304L}) {
        report.refused("seize " + std::to_string(pid), {EPERM, ESRCH},
                       [=] { return raw(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0); });
        report.refused("process_vm_readv " + std::to_string(pid), {EPERM, ESRCH}, [=] {
            char byte = 0;
            const iovec ours{&byte, 1}, theirs{reinterpret_cast<void*>(0x400000), 1};
            return raw(SYS_process_vm_readv, pid, reinterpret_cast<long>(&ours), 1,
                       reinterpret_cast<long>(&theirs), 1, 0);
        });
    }
    report.refused("pidfd_getfd", {EPERM},
                   [] { return raw(SYS_pidfd_getfd, raw(SYS_pidfd_open, ::getpid(), 0), 0, 0); });
    report.refused("kcmp with pid 1", {EPERM},
                   [] { return raw(SYS_kcmp, ::getpid(), 1, 2, 0, 0); });
}

}  // namespace

std::vector<Row> object_rows();  // attack_objects.cc: A12 and on

std::vector<Row> kernel_rows() {
    std::vector<Row> rows = {
        {"A1", "every new namespace, by unshare and clone", new_spaces, plain_clone},
        {"A2", "clone3 with every namespace", clone3, a_thread},
        {"A3", "enter every namespace in sight", enter_spaces, own_spaces},
        {"A4", "mount, by the old calls and the new", mounts, own_files},
        {"A5", "pivot_root; out of a chroot by a kept directory", root_moves, hidden_by_chroot},
        {"A6", "descriptors that were inherited", descriptors, a_descriptor},
        {"A7", "working folder, root and program, our own and pid 1's", working_folder, own_links},
        {"A8", "write to a running program; read ours", running_programs, write_when_not_running},
        {"A9", "kernel files", kernel_files, plain_proc},
        {"A10", "write, trace and kill pid 1", first_process, own_child},
        {"A11", "trace and read every process number", every_pid, own_child},
    };
    for (const Row& row : object_rows()) rows.push_back(row);
    return rows;
}

}  // namespace attack
