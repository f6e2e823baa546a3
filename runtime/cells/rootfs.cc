// A cell's root directory, by the mount calls. What an earlier cell of the agent left in its layer is
// hostile: it may have put a link where something is to be mounted, so every mount point is made
// sure of, beneath a descriptor, before anything is mounted, and nothing is ever followed. Nobody
// else is in the cell yet: what was made sure of stays so. Nothing here may allocate, log or throw.
//
// Overlays of 6.12 take layers only as paths of attached mounts, idmapped base first; the writes of
// an overlay run with the rights of who mounted it, so that with CAP_SYS_RESOURCE no quota would
// hold. Source: mount_setattr(2), fsconfig(2), Linux Documentation/filesystems/overlayfs.rst.
#include "cells/rootfs.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdint>

#include "cells/mechanism.h"
#include "cells/report.h"

namespace peacrab {
namespace {

constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV;
// Where a throw-away cell's layer is mounted, in the builder's own mount namespace.
constexpr const char* kMemory = "/tmp";

bool restrict_mount(const char* path, uint64_t attributes, uint64_t without = 0) noexcept {
    mount_attr attr{};
    attr.attr_set = attributes;
    attr.attr_clr = without;
    return ::mount_setattr(AT_FDCWD, path, 0, &attr, sizeof attr) == 0;
}

bool tmpfs(const char* path, unsigned long flags, const char* options) noexcept {
    return ::mount("tmpfs", path, "tmpfs", flags, options) == 0;
}

// The base with the cell's ids, mounted over itself. Gives a descriptor of it.
int attach_base(const RootPlan& plan) noexcept {
    // Not recursive: what is mounted beneath the base is not the cell's.
    const int tree = ::open_tree(AT_FDCWD, plan.base, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0) return -1;
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    attr.userns_fd = static_cast<uint64_t>(plan.users);
    if (::mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0 ||
        ::move_mount(tree, "", AT_FDCWD, plan.base, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -1;
    return tree;
}

bool make_owned(const char* path, uid_t owner, mode_t mode) noexcept {
    return ::mkdir(path, mode) == 0 && ::chown(path, owner, owner) == 0;
}

bool make_memory_layer(const RootPlan& plan) noexcept {
    const uid_t root = plan.first_id, agent = plan.first_id + kAgentIds.uid;
    char workspace[PATH_MAX];
    const int length = ::snprintf(workspace, sizeof workspace, "/tmp/home/%s", plan.workspace);
    return length > 0 && static_cast<size_t>(length) < sizeof workspace &&
           tmpfs(kMemory, kPlain, plan.memory_layer) && ::mkdir("/tmp/layer", 0700) == 0 &&
           make_owned("/tmp/layer/upper", root, 0755) && ::mkdir("/tmp/layer/work", 0700) == 0 &&
           make_owned("/tmp/home", agent, 0755) && make_owned(workspace, agent, 0755) &&
           ::mkdir("/tmp/output", 0755) == 0;
}

// The effective set without CAP_SYS_RESOURCE, or with it again.
bool use_resource_right(bool wanted) noexcept {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (::syscall(SYS_capget, &header, sets) < 0) return false;
    constexpr uint32_t kRight = 1u << CAP_SYS_RESOURCE;
    sets[0].effective = wanted ? sets[0].effective | kRight : sets[0].effective & ~kRight;
    return ::syscall(SYS_capset, &header, sets) == 0;
}

bool set(int context, const char* key, const char* value) noexcept {
    return ::fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) == 0;
}

// By descriptors: what the options say can be read in the cell.
bool set_layer(int context, const char* key, int fd) noexcept {
    char path[32];
    ::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return fd >= 0 && set(context, key, path);
}

bool configure_overlay(int context, int base, const char* layer) noexcept {
    constexpr int kOpen = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int at = ::open(layer, kOpen);
    const int upper = ::openat(at, "upper", kOpen), work = ::openat(at, "work", kOpen);
    // What is left open here is closed with all else before the cell is used.
    return set_layer(context, "lowerdir+", base) && set_layer(context, "upperdir", upper) &&
           set_layer(context, "workdir", work) && set(context, "metacopy", "off") &&
           set(context, "redirect_dir", "nofollow") && set(context, "index", "off") &&
           set(context, "xino", "off");
}

// Mounted over the base. Gives a descriptor of its root.
int attach_overlay(const RootPlan& plan, int base, const char* layer) noexcept {
    const int context = ::fsopen("overlay", FSOPEN_CLOEXEC);
    if (context < 0 || !configure_overlay(context, base, layer)) return -1;
    if (!use_resource_right(false)) return -1;
    const bool created = ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
    const int code = errno;
    if (!use_resource_right(true)) return -1;
    errno = code;
    if (!created) return -1;
    const unsigned attributes = (on(Mechanism::RootNosuid) ? MOUNT_ATTR_NOSUID : 0u) |
                                (on(Mechanism::RootNodev) ? MOUNT_ATTR_NODEV : 0u);
    const int root = ::fsmount(context, FSMOUNT_CLOEXEC, attributes);
    ::close(context);
    if (root < 0) return -1;
    if (::move_mount(root, "", AT_FDCWD, plan.base, MOVE_MOUNT_F_EMPTY_PATH) < 0) return -1;
    return root;
}

// A real directory of that name; what else the agent has put there gives way. -1: errno is set.
int sure_directory(int parent, const char* name, uid_t owner) noexcept {
    struct stat info;
    if (::fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(info.st_mode) &&
        ::unlinkat(parent, name, 0) < 0)
        return -1;
    if (::mkdirat(parent, name, 0755) == 0) {
        if (::fchownat(parent, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0) return -1;
    } else if (errno != EEXIST) {
        return -1;
    }
    return ::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool make_mount_points(int root, uid_t owner, const char* shown_as) noexcept {
    for (const char* name : {"proc", "dev", "tmp", "run", shown_as}) {
        if (!name) continue;
        const int fd = sure_directory(root, name, owner);
        if (fd < 0) return false;
        ::close(fd);
    }
    const int homes = sure_directory(root, "home", owner);
    if (homes < 0) return false;
    const int home = sure_directory(homes, "agent", owner + kAgentIds.uid);
    ::close(homes);
    if (home < 0) return false;
    ::close(home);
    return true;
}

const char* mount_devices(const RootPlan& plan) noexcept {
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
    if (!on(Mechanism::SmallDev))
        return ::mount("devtmpfs", "dev", "devtmpfs", 0, nullptr) == 0 ? nullptr : "mount /dev";
    if (!tmpfs("dev", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64"))
        return "mount /dev";
    for (const Device& device : kDevices)
        if (::mknod(device.path, S_IFCHR | 0666, makedev(device.major, device.minor)) < 0)
            return "make device";
    for (const auto& link : kLinks)
        if (::symlink(link[0], link[1]) < 0) return "make /dev links";
    if (::mkdir("dev/shm", 0755) < 0 || ::mkdir("dev/pts", 0755) < 0) return "make /dev";
    if (!tmpfs("dev/shm", kPlain, plan.shm)) return "mount /dev/shm";
    if (::mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, plan.terminals) < 0)
        return "mount /dev/pts";
    return restrict_mount("dev", MOUNT_ATTR_RDONLY) ? nullptr : "close /dev";
}

// Covers with /dev/null, and looks whether it did.
bool mask(const char* path) noexcept {
    struct stat info;
    if (::stat(path, &info) < 0) return errno == ENOENT;
    return ::mount("dev/null", path, nullptr, MS_BIND, nullptr) == 0 && ::stat(path, &info) == 0 &&
           S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

const char* mount_proc() noexcept {
    static constexpr const char* kMasked[] = {
        "proc/kcore",      "proc/keys",       "proc/key-users",     "proc/kmsg",
        "proc/kallsyms",   "proc/timer_list", "proc/sysrq-trigger", "proc/interrupts",
        "proc/softirqs",   "proc/kpagecount", "proc/kpageflags",    "proc/kpagecgroup",
        "proc/schedstat",  "proc/sched_debug", "proc/latency_stats"};
    static constexpr const char* kReadOnly[] = {"proc/sys", "proc/irq", "proc/bus", "proc/fs",
                                                "proc/acpi"};
    if (::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
        return "mount /proc";
    if (on(Mechanism::ProcMasked))
        for (const char* path : kMasked)
            if (!mask(path)) return "mask /proc";
    if (!on(Mechanism::ProcReadOnly)) return nullptr;
    for (const char* path : kReadOnly) {
        if (::mount(path, path, nullptr, MS_BIND, nullptr) < 0) {
            if (errno != ENOENT) return "close /proc";
            continue;
        }
        if (!restrict_mount(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                      MOUNT_ATTR_NOEXEC))
            return "close /proc";
    }
    return nullptr;
}

const char* mount_own_files(const RootPlan& plan, const char* home, const char* output) noexcept {
    if (!tmpfs("tmp", kPlain, plan.tmp)) return "mount /tmp";
    if (!tmpfs("run", kPlain | MS_NOEXEC, plan.run)) return "mount /run";
    if (::mkdir("run/lock", 01777) < 0 || ::chmod("run/lock", 01777) < 0 ||
        ::mkdir("run/output", 0755) < 0)
        return "make /run";
    if (::mount(output, "run/output", nullptr, MS_BIND, nullptr) < 0) return "bind output";
    const uint64_t output_attributes =
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
        (on(Mechanism::OutputReadOnly) ? uint64_t{MOUNT_ATTR_RDONLY} : 0) |
        (on(Mechanism::OutputNoexec) ? uint64_t{MOUNT_ATTR_NOEXEC} : 0);
    if (!restrict_mount("run/output", output_attributes)) return "close output";
    if (::mount(home, "home/agent", nullptr, MS_BIND, nullptr) < 0) return "bind home";
    constexpr uint64_t kHome = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    // The state disk's own mount has both as well: a test takes them off here.
    const uint64_t without = (on(Mechanism::HomeNosuid) ? 0 : uint64_t{MOUNT_ATTR_NOSUID}) |
                             (on(Mechanism::HomeNodev) ? 0 : uint64_t{MOUNT_ATTR_NODEV});
    return restrict_mount("home/agent", kHome & ~without, without) ? nullptr : "close home";
}

const char* mount_shown(const RootPlan& plan) noexcept {
    if (!plan.shown) return nullptr;
    if (::mount(plan.shown, plan.shown_as, nullptr, MS_BIND, nullptr) < 0) return "bind what is shown";
    return restrict_mount(plan.shown_as, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
               ? nullptr
               : "close what is shown";
}

const char* change_root() noexcept {
    if (::syscall(SYS_pivot_root, ".", ".") < 0) return "change root";
    if (on(Mechanism::OldRoot) && ::umount2(".", MNT_DETACH) < 0) return "drop old root";
    return ::chdir("/") == 0 ? nullptr : "enter root";
}

}  // namespace

const char* build_root(const RootPlan& plan) noexcept {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return "private mounts";
    ::umask(0);
    if (!plan.layer && !make_memory_layer(plan)) return "layer in memory";
    const char* layer = plan.layer ? plan.layer : "/tmp/layer";
    const char* home = plan.layer ? plan.home : "/tmp/home";
    const char* output = plan.layer ? plan.output : "/tmp/output";
    const int base = attach_base(plan);
    if (base < 0) return "idmapped base";
    const int root = attach_overlay(plan, base, layer);
    if (root < 0) return "overlay";
    if (!make_mount_points(root, plan.first_id, plan.shown_as)) return "mount points";
    if (::fchdir(root) < 0) return "enter layer";
    ::close(base);
    ::close(root);
    if (const char* step = mount_devices(plan)) return step;
    if (const char* step = mount_proc()) return step;
    if (const char* step = mount_own_files(plan, home, output)) return step;
    if (const char* step = mount_shown(plan)) return step;
    return change_root();
}

}  // namespace peacrab
