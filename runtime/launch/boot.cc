// PID 1 before it is the warden. The guest's root holds our binary, kernel modules and mount points
// and nothing else, so everything is done here by system call. Order matters and is explained.
// Source: mount(2), init_module(2), reboot(2), Linux Documentation/ABI sysfs-class-virtio-ports.
#include "launch/boot.h"

#include <fcntl.h>
#include <linux/module.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <thread>

#include "cells/limits.h"
#include "error.h"

namespace peacrab {
namespace {

// What a full disk holds back is for the warden (root) and the turn processes (their group): who may not write down
// what is said cannot be told to make room. Not for the uid that is the default, root: what a cell writes
// into its layer is written with the id of who mounted it. Nobody has uid 2000.
constexpr const char* kStateOptions = "discard,resuid=2000,resgid=2000,prjquota";
// Kept for the warden when agents use all they can.
constexpr Bytes kWardenMemory = MiB(32);

void mount_or_throw(const char* source, const char* target, const char* type, unsigned long flags,
                    const char* data = nullptr) {
    if (::mount(source, target, type, flags, data) < 0)
        throw ErrnoError(std::string("boot: mount ") + target);
}

// A setting that hardens; a kernel without the file has nothing to harden there.
void set_kernel(const char* path, std::string_view value, Booted& booted) {
    UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return;
    try {
        if (!fd) throw ErrnoError("open");
        write_all(fd.get(), value);
    } catch (const Error& error) {
        booted.complaints.push_back(std::string("boot: ") + path + ": " + error.what());
    }
}

// Seccomp filters and those that a cell's programs put on their sockets: no machine code is made of
// them. Nearly all calls are decided by the kernel's own table beside the filter, and making code costs
// each call of a tool more than its fork and exec. A kernel that cannot interpret goes on compiling.
void interpret_filters() {
    const UniqueFd file(::open("/proc/sys/net/core/bpf_jit_enable", O_WRONLY | O_CLOEXEC));
    [[maybe_unused]] const ssize_t n = file ? ::write(file.get(), "0", 1) : 0;
}

// The initial root has no parent mount, and pivot_root(2) refuses to put such a one aside, which
// every cell must do. A bind of it, moved over itself, has one. First of all, while it is empty.
void make_root_replaceable() {
    mount_or_throw("/", "/tmp", nullptr, MS_BIND);
    if (::chdir("/tmp") < 0) throw ErrnoError("boot: enter the new root");
    mount_or_throw(".", "/", nullptr, MS_MOVE);
    if (::chroot(".") < 0 || ::chdir("/") < 0) throw ErrnoError("boot: change root");
    // Comes with the kernel's own default archive; nothing of ours uses it.
    if (::rmdir("/root") < 0 && errno != ENOENT) throw ErrnoError("boot: remove /root");
}

void mount_kernel_file_systems() {
    constexpr unsigned long kQuiet = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    mount_or_throw("proc", "/proc", "proc", kQuiet);
    mount_or_throw("sysfs", "/sys", "sysfs", kQuiet | MS_RDONLY);
    // The kernel may have mounted it already (CONFIG_DEVTMPFS_MOUNT does so only without
    // initramfs).
    mount_or_throw("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755");
    mount_or_throw("tmpfs", "/run", "tmpfs", kQuiet, "mode=0755,size=16m");
}

// stderr is the console, which the host keeps in a bounded file.
void open_console() {
    UniqueFd console(::open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC));
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) throw ErrnoError("boot: open /dev/null");
    const int out = console ? console.get() : null.get();
    if (::dup2(null.get(), 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0)
        throw ErrnoError("boot: console");
}

void load_modules(Booted& booted) {
    for (const std::string& name : list_folder("/modules")) {
        UniqueFd fd(::open(("/modules/" + name).c_str(), O_RDONLY | O_CLOEXEC));
        if (fd && ::syscall(SYS_finit_module, fd.get(), "", 0) == 0) continue;
        if (errno != EEXIST)
            booted.complaints.push_back("boot: load " + name + ": " + std::strerror(errno));
    }
    // What is loaded is all there will ever be.
    set_kernel("/proc/sys/kernel/modules_disabled", "1", booted);
}

void put(const std::string& path, std::string_view text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) throw ErrnoError("boot: " + path);
    try {
        write_all(fd.get(), text);
    } catch (const Error& error) {
        throw Error("boot: " + path + ": " + std::string(text) + ": " + error.what());
    }
}

// The warden in a group of its own, which neither a turn nor an agent can starve.
void make_control_groups() {
    const std::string root = kControlGroups;
    const auto make = [&root](const char* name) {
        if (::mkdir((root + name).c_str(), 0755) < 0)
            throw ErrnoError("boot: control group " + root + name);
    };
    make("");
    mount_or_throw("cgroup2", kControlGroups, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    for (const char* name : {"/warden", "/turns", "/agents"}) make(name);
    put(root + "/warden/cgroup.procs", "0");
    for (const char* group : {"", "/agents"})
        put(root + group + "/cgroup.subtree_control", "+memory +pids +cpu +io");
    put(root + "/warden/memory.min", std::to_string(kWardenMemory.count));
    put(root + "/turns/pids.max", "256");
    put("/proc/self/oom_score_adj", "-1000");
}

// The block device whose virtio serial is `serial`: names depend on the order of probing.
std::string find_disk(const std::string& serial) {
    for (const std::string& name : list_folder("/sys/block")) {
        std::string found =
            read_file_if_exists("/sys/block/" + name + "/serial", KiB(1)).value_or("");
        while (!found.empty() && found.back() == '\n') found.pop_back();
        if (found == serial) return "/dev/" + name;
    }
    throw Error("boot: no disk with serial " + serial);
}

template <typename Work>
bool complain_unless(Booted& booted, Work work) {
    try {
        work();
        return true;
    } catch (const Error& error) {
        booted.complaints.push_back(error.what());
        return false;
    }
}

}  // namespace

bool is_guest_init() {
    return ::getpid() == 1 && ::access("/proc/self", F_OK) < 0;
}

Booted boot_guest() {
    Booted booted;
    ::umask(022);
    make_root_replaceable();
    mount_kernel_file_systems();
    open_console();
    // Nobody may read or trace the warden, and a crash leaves no image of its memory.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("boot: set dumpable");
    set_kernel("/proc/sys/kernel/core_pattern", "\n", booted);
    set_kernel("/proc/sys/fs/suid_dumpable", "0", booted);
    set_kernel("/proc/sys/kernel/dmesg_restrict", "1", booted);
    set_kernel("/proc/sys/kernel/kptr_restrict", "2", booted);
    set_kernel("/proc/sys/kernel/unprivileged_bpf_disabled", "2", booted);
    set_kernel("/proc/sys/kernel/perf_event_paranoid", "3", booted);
    set_kernel("/proc/sys/kernel/io_uring_disabled", "2", booted);
    set_kernel("/proc/sys/kernel/sysrq", "0", booted);
    interpret_filters();
    // What is written and not yet on the disk: each call waits for it at its end, also for what other
    // agents have written, who may not write it faster than their limit. Each gets its part of this.
    set_kernel("/proc/sys/vm/dirty_bytes", "4194304", booted);
    set_kernel("/proc/sys/vm/dirty_background_bytes", "1048576", booted);
    // A debugger attaches to what an earlier call has started; whom it may is the cell's walls' affair.
    set_kernel("/proc/sys/kernel/yama/ptrace_scope", "0", booted);
    load_modules(booted);
    complain_unless(booted, [] {
        mount_or_throw(find_disk("base").c_str(), "/base", "erofs",
                       MS_RDONLY | MS_NODEV | MS_NOSUID);
    });
    booted.state_mounted = complain_unless(booted, [] {
        mount_or_throw(find_disk("state").c_str(), "/state", "ext4",
                       MS_NODEV | MS_NOSUID | MS_NOATIME, kStateOptions);
    });
    complain_unless(booted, make_control_groups);
    for (const std::string& complaint : booted.complaints) log(LogLevel::Error, complaint);
    return booted;
}

UniqueFd open_link_port(Deadline deadline) {
    const std::string folder = "/sys/class/virtio-ports";
    do {
        for (const std::string& port : list_folder(folder)) {
            const std::string name =
                read_file_if_exists(folder + "/" + port + "/name", KiB(1)).value_or("");
            if (name != "peacrab.link\n") continue;
            UniqueFd fd(::open(("/dev/" + port).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
            if (!fd) throw ErrnoError("boot: open the link's port");
            return fd;
        }
        // The port is announced by the device asynchronously; there is no event to wait for here.
        std::this_thread::sleep_for(Milliseconds(2));
    } while (!deadline.passed());
    throw Error("boot: no port named peacrab.link");
}

void set_clock(int64_t unix_milliseconds) {
    timeval now{};
    now.tv_sec = unix_milliseconds / 1000;
    now.tv_usec = (unix_milliseconds % 1000) * 1000;
    if (::settimeofday(&now, nullptr) < 0) throw ErrnoError("boot: set the clock");
}

void power_off() {
    ::sync();
    // A child that was just killed may hold the disk for a moment more; unmounted, it needs no
    // recovery at the next start. Synced it is in any case.
    const Deadline deadline = Deadline::in(Seconds(2));
    while (::umount2("/state", 0) < 0 && errno == EBUSY && !deadline.passed())
        std::this_thread::sleep_for(Milliseconds(5));
    ::sync();
    ::reboot(RB_POWER_OFF);
    ::_exit(1);  // a kernel that cannot power off panics here, and the launcher sees the end
}

}  // namespace peacrab
