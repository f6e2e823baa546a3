// Root in a sandbox that is somebody else's. Its own processes, files and settings stay as they are: we
// add a group to its control groups, empty folders and a lock in /run, and our file in the state folder. What
// is needed is tried, in the order in which a person can mend it, before anything of an agent runs.
//
// The kernel keeps a loop device attached while any mount of it lives, somewhat longer than the process
// that holds our lock: a second mount of the same file would ruin it, so that is waited for too.
// Source: mount_namespaces(7), cgroups(7), loop(4), quotactl(2), mount_setattr(2).
#include "launch/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <thread>

#include "cells/limits.h"
#include "cells/quota.h"
#include "cells/users.h"
#include "config.h"
#include "error.h"
#include "landlock.h"

namespace peacrab {
namespace {

constexpr const char* kState = "/run/peacrab-state";
constexpr const char* kBase = "/run/peacrab-base";
constexpr const char* kAlone = "/run/peacrab-cells.lock";
constexpr const char* kControllers[] = {"memory", "pids", "cpu", "io"};
constexpr Milliseconds kTurnTaking{15'000};  // until the one before us has gone
constexpr Bytes kLeastDisk = MiB(128);

[[noreturn]] void refuse(const std::string& what, const std::string& next) {
    throw Error("cells: " + what + ": " + next);
}

[[noreturn]] void refuse_call(const std::string& what, const std::string& next) {
    refuse(what + ": " + std::strerror(errno), next);
}

// --- who we are

struct Right {
    int number;
    const char* name;
};
// What making a cell takes, and what its root is left with.
constexpr Right kRights[] = {
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},       {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"},
    {CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},     {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN"},       {CAP_MKNOD, "CAP_MKNOD"},
    {CAP_SETUID, "CAP_SETUID"},             {CAP_SETGID, "CAP_SETGID"},
    {CAP_SETPCAP, "CAP_SETPCAP"},           {CAP_SETFCAP, "CAP_SETFCAP"},
    {CAP_CHOWN, "CAP_CHOWN"},               {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
    {CAP_FOWNER, "CAP_FOWNER"},             {CAP_FSETID, "CAP_FSETID"},
    {CAP_KILL, "CAP_KILL"},
};

uint64_t our_rights() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (::syscall(SYS_capget, &header, sets) < 0) throw ErrnoError("cells: our rights");
    return sets[0].effective | uint64_t{sets[1].effective} << 32;
}

void check_rights() {
    const std::string missing = missing_rights(our_rights());
    if (!missing.empty())
        refuse("root lacks " + missing,
               "give the sandbox these rights (a container: --privileged), or run peacrabd as an "
               "ordinary user, or use `peacrab ask`");
}

// What it takes to look at the rest.
void check_root() {
    // Beneath a user namespace no right counts for mounts, loop devices or ids of our own.
    unsigned long long inside = 0, outside = 0, count = 0;
    const std::string map = read_file("/proc/self/uid_map", KiB(64));
    const bool whole =
        std::sscanf(map.c_str(), "%llu %llu %llu", &inside, &outside, &count) == 3 &&
        inside == 0 && outside == 0 && count == UINT32_MAX;
    if (!whole)
        refuse("root is not real here: this sandbox is in a user namespace (/proc/self/uid_map)",
               "start it without one, or run peacrabd as an ordinary user, or use `peacrab ask`");
    if (!(our_rights() >> CAP_SYS_ADMIN & 1)) check_rights();
}

void check_landlock() {
    if (landlock_version() < 1)
        refuse("Landlock is not in this kernel or not switched on",
               "/sys/kernel/security/lsm lists what is (Linux 5.13, boot option lsm=); or use "
               "`peacrab ask`, which brings its own kernel");
}

// With 1, whoever takes an agent's ids could be traced by the agent until it executes something, and what
// a call begins as is a copy of us. With 2 only root can look.
void check_dumpable() {
    if (read_file_if_exists("/proc/sys/fs/suid_dumpable", KiB(1)).value_or("").starts_with('1'))
        refuse("fs.suid_dumpable is 1: what takes other ids could be read by them",
               "sysctl fs.suid_dumpable=0");
}

// Whoever may write on the way there could put something else there, which root would mount.
void require_roots_alone(const std::string& what, const std::string& path, const std::string& next) {
    const std::string found = not_roots_alone(path);
    if (!found.empty()) refuse(what + ": others than root may write to " + printable(found), next);
}

// --- mounts

void require_folder(const std::string& path) {
    struct stat info;
    if (::lstat(path.c_str(), &info) < 0 || !S_ISDIR(info.st_mode) || info.st_uid != 0)
        refuse(printable(path) + " is no folder of root's", "move it away");
}

void make_mount_point(const char* path) {
    if (::mkdir(path, 0755) < 0 && errno != EEXIST)
        refuse_call(std::string("make the folder ") + path, "mount a tmpfs on /run");
    require_folder(path);
}

// From here on nothing that we mount is seen by anybody else, and all of it goes with us.
void separate_mounts() {
    if (::unshare(CLONE_NEWNS) < 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
        refuse_call("mount namespace", "let the sandbox mount (a container: --privileged)");
    // pivot_root(2) cannot put the very first root aside, as each cell must.
    for (const std::string& line : split(read_file("/proc/self/mountinfo", MiB(4)), '\n')) {
        const std::vector<std::string> fields = split(line, ' ');
        if (fields.size() > 4 && fields[4] == "/" && fields[1] == fields[0])
            refuse("/ is the kernel's initial root", "switch to a root of its own (switch_root)");
    }
}

// A clone of the base takes other ids, and an overlay takes layers as cells give them.
void try_base(const std::string& base) {
    const UniqueFd users = make_users(kFirstSlot * kCellIds);
    const UniqueFd tree(::open_tree(AT_FDCWD, base.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!tree) refuse_call("base: clone of " + printable(base), "name another with --base");
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY;
    attributes.userns_fd = static_cast<uint64_t>(users.get());
    if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        refuse_call("base: " + printable(base) + ": its file system gives no other ids (idmapped mounts)",
                    "put it on ext4, xfs or erofs");
    const UniqueFd overlay(static_cast<int>(::fsopen("overlay", FSOPEN_CLOEXEC)));
    if (!overlay) refuse_call("the kernel has no overlay file system", "load the module overlay");
    if (::fsconfig(overlay.get(), FSCONFIG_SET_STRING, "lowerdir+", base.c_str(), 0) < 0)
        refuse_call("overlay: a layer by itself", "a kernel of 6.8 or later is needed");
}

void bind_base(const std::string& base) {
    make_mount_point(kBase);
    if (::mount(base.c_str(), kBase, nullptr, MS_BIND, nullptr) < 0)
        throw ErrnoError("cells: base: mount " + printable(base));
}

// --- control groups

void put(const std::string& path, const std::string& text, const std::string& next) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file || ::write(file.get(), text.data(), text.size()) < 0)
        refuse_call("control groups: " + path + ": " + text, next);
}

void check_controllers() {
    const std::string root = kControlGroups;
    const std::string line = read_file(root + "/cgroup.controllers", KiB(4));
    const std::vector<std::string> available = split(line.substr(0, line.find('\n')), ' ');
    const std::string table = read_file_if_exists("/proc/cgroups", KiB(64)).value_or("");
    for (const std::string controller : kControllers) {
        if (std::find(available.begin(), available.end(), controller) == available.end())
            refuse("control groups: no controller " + controller + " in version 2",
                   why_missing(controller, table));
    }
}

void mount_control_groups() {
    make_mount_point(kControlGroups);
    constexpr unsigned long kQuiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (::mount("cgroup2", kControlGroups, "cgroup2", kQuiet, nullptr) < 0)
        refuse_call("control groups of version 2", "let the sandbox mount them");
    check_controllers();
}

// Our group, as /run/cgroup names it; "" for its root, and where it is outside of what we see.
std::string own_group() {
    for (const std::string& line : split(read_file("/proc/self/cgroup", KiB(64)), '\n'))
        if (line.starts_with("0::/") && line.find("/..") == std::string::npos) return line.substr(3);
    return {};
}

// Nobody's limit is left behind with the group it is on. Of what there is a part stays for the warden.
void bound_memory(const std::string& own, uint64_t all, const std::string& next) {
    put(own + "/memory.max", std::to_string(all), next);
    put(own + "/agents/memory.max", std::to_string(all / 100 * 80), next);
    put(own + "/turns/memory.max", std::to_string(all / 100 * 15), next);
}

// The guest's layout in a group of our own, which then stands where the guest has it. `name`: the same
// for the same state, so that what a killed predecessor left is found.
void make_control_groups(const std::string& name) {
    const std::string root = kControlGroups, own = root + "/" + name;
    const Bytes memory = memory_of(root, own_group());
    const std::string next = "let the sandbox write to them";
    for (const char* inner : {"", "/warden", "/turns", "/agents"})
        if (::mkdir((own + inner).c_str(), 0755) < 0 && errno != EEXIST)
            refuse_call("control groups: make " + own + inner, next);
    // Below a group that gives controllers on, processes may only be in leaves. First we leave it.
    put(own + "/warden/cgroup.procs", "0", next);
    const std::string all = "+memory +pids +cpu +io";
    put(root + "/cgroup.subtree_control", all,
        "other processes are in the sandbox's own group: move them to one below it, as with: cd "
        "/sys/fs/cgroup && mkdir -p rest && for p in $(cat cgroup.procs); do echo $p > "
        "rest/cgroup.procs; done");
    for (const char* inner : {"", "/agents"}) put(own + inner + "/cgroup.subtree_control", all, next);
    put(own + "/turns/pids.max", "256", next);
    bound_memory(own, memory.count, next);
    // As every cell will ask it.
    for (const char* there : {kBase, kState})
        put(own + "/agents/io.max", disk_of(there) + " rbps=max wbps=max",
            "the kernel cannot bound the traffic of its disk: put the base and the state on another");
    put("/proc/self/oom_score_adj", "-1000", next);
    if (::mount(own.c_str(), kControlGroups, nullptr, MS_BIND, nullptr) < 0)
        throw ErrnoError("cells: control groups: mount " + own);
}

// --- the state

// `whose`: of what two at a time would ruin each other's.
UniqueFd lock_file(const std::string& path, const std::string& whose, Deadline deadline) {
    UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat info;
    if (!lock || ::fstat(lock.get(), &info) < 0) throw ErrnoError("cells: lock: " + printable(path));
    if (!S_ISREG(info.st_mode) || info.st_uid != 0)
        refuse(printable(path) + " is no file of root's", "move it away");
    while (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) throw ErrnoError("cells: lock: " + printable(path));
        if (deadline.passed())
            refuse("another peacrabd is at work with " + whose, "wait for it to end");
        std::this_thread::sleep_for(Milliseconds(50));
    }
    return lock;
}

UniqueFd open_folder(const std::string& folder) {
    UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) throw ErrnoError("cells: state: " + printable(folder));
    return fd;
}

// Projects are numbers: who else on that file system has one would share it with an agent of ours.
bool is_free_for_projects(const std::string& folder) {
    const UniqueFd fd = open_folder(folder);
    return holds_projects(fd.get()) && !has_projects(fd.get());
}

void bind_state(const std::string& inner) {
    make_directories(inner, 0711);
    require_folder(inner);
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (::mount(inner.c_str(), kState, nullptr, MS_BIND, nullptr) < 0 ||
        ::mount_setattr(AT_FDCWD, kState, 0, &attributes, sizeof attributes) < 0)
        throw ErrnoError("cells: state: mount " + printable(inner));
}

// All it may grow to is taken at once: a disk that filled up beneath the loop device would fail under
// everybody's store.
void reserve(int file, off_t size, const std::string& image) {
    errno = ::posix_fallocate(file, 0, size);
    if (errno)
        refuse_call("state: take " + format_size({static_cast<uint64_t>(size)}) + " for " +
                        printable(image),
                    "make room there");
}

Bytes size_beneath(const std::string& folder, Bytes wanted) {
    struct statvfs disk;
    if (::statvfs(folder.c_str(), &disk) < 0) throw ErrnoError("cells: state: " + printable(folder));
    const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize,
                   size = std::min(wanted.count, free / 10 * 9) & ~(MiB(1).count - 1);
    if (size < kLeastDisk.count)
        refuse("state: " + printable(folder) + ": " + std::to_string(free >> 20) +
                   "M free, and a tenth is left free",
               "make room for " + format_size(kLeastDisk) +
                   ", or set XDG_STATE_HOME to a folder on a larger disk");
    return {size};
}

// What is not finished goes.
struct Unfinished {
    const std::string path;
    ~Unfinished() { ::unlink(path.c_str()); }
};

// As guest-image/state-disk makes it for our guest, but for tables that are zeroed later: a loop device
// gives back what is zeroed.
void make_image(const std::string& image, Bytes size) {
    const Unfinished unfinished{image + ".part"};
    const std::string& part = unfinished.path;
    ::unlink(part.c_str());
    UniqueFd file(::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) throw ErrnoError("cells: state: make " + printable(part));
    reserve(file.get(), static_cast<off_t>(size.count), part);
    file.reset();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("cells: state: fork");
    if (pid == 0) {
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        char* const none[] = {nullptr};
        for (const char* program : {"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"}) {
            const char* const words[] = {program, "-q", "-F", "-L", "peacrab-state", "-m", "0", "-O",
                                         "^resize_inode,metadata_csum,64bit,quota,project", "-E",
                                         "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,"
                                         "quotatype=prjquota,nodiscard",
                                         part.c_str(), nullptr};
            if (::dup2(null, 0) < 0) break;
            ::execve(program, const_cast<char* const*>(words), none);
        }
        ::_exit(127);
    }
    const ChildExit exit = Pidfd::of_child(pid).wait();
    if (exit.code == 127)
        refuse("state: no mkfs.ext4 to make its disk with", "apt-get install e2fsprogs");
    if (!exit.ok())
        refuse("state: mkfs.ext4 failed: " + exit.describe(), "look at what it says above");
    if (::rename(part.c_str(), image.c_str()) < 0)
        throw ErrnoError("cells: state: rename " + printable(part));
}

bool is_loop_name(const std::string& name) {
    return name.size() > 4 && name.starts_with("loop") &&
           name.find_first_not_of("0123456789", 4) == std::string::npos;
}

// The loop device that has the file, "" for none.
std::string attached_to(const struct stat& file) {
    for (const std::string& name : list_folder("/dev")) {
        if (!is_loop_name(name)) continue;
        const UniqueFd device(::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC));
        loop_info64 info{};
        if (device && ::ioctl(device.get(), LOOP_GET_STATUS64, &info) == 0 &&
            info.lo_inode == file.st_ino && info.lo_device == file.st_dev)
            return "/dev/" + name;
    }
    return {};
}

void wait_detached(int image, Deadline deadline) {
    struct stat file;
    if (::fstat(image, &file) < 0) throw ErrnoError("cells: state: its file");
    for (std::string device; !(device = attached_to(file)).empty();) {
        if (deadline.passed())
            refuse("state: its disk is still mounted from " + device,
                   "end who has it mounted (an earlier peacrabd?), or unmount it");
        std::this_thread::sleep_for(Milliseconds(20));
    }
}

// Detached by the kernel with the last mount of it. `device` names it.
UniqueFd attach(int image, std::string& device) {
    const std::string next = "load the module loop and give the sandbox /dev/loop-control and "
                             "/dev/loop*, or put the state folder on ext4 mounted with prjquota";
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) refuse_call("state: /dev/loop-control", next);
    for (int round = 0; round < 16; ++round) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) refuse_call("state: a loop device", next);
        device = "/dev/loop" + std::to_string(number);
        UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
        if (!fd) refuse_call("state: " + device, next);
        loop_config configuration{};
        configuration.fd = static_cast<uint32_t>(image);
        configuration.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        if (::ioctl(fd.get(), LOOP_CONFIGURE, &configuration) == 0) return fd;
        if (errno != EBUSY) refuse_call("state: " + device, next);  // else somebody was quicker
    }
    refuse("state: no loop device is free", next);
}

void mount_image(const std::string& image, Bytes size, Deadline deadline) {
    if (::access(image.c_str(), F_OK) < 0)
        make_image(image, size_beneath(image.substr(0, image.rfind('/')), size));
    const UniqueFd file(::open(image.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    struct stat info;
    if (!file || ::fstat(file.get(), &info) < 0) throw ErrnoError("cells: state: " + printable(image));
    if (info.st_uid != 0 || info.st_mode != (S_IFREG | 0600))
        refuse(printable(image) + " is no file of root's alone", "chown 0, chmod 600, or move it away");
    // mkfs and an earlier version leave holes, and now and then the kernel does.
    if (info.st_blocks < info.st_size / 512) reserve(file.get(), info.st_size, image);
    wait_detached(file.get(), deadline);
    std::string device;
    const UniqueFd held = attach(file.get(), device);
    if (::mount(device.c_str(), kState, "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME,
                "prjquota") < 0)
        refuse_call("state: mount " + printable(image) + " as ext4 with prjquota",
                    errno == ESRCH ? "the kernel counts no quotas (QFMT_V2): load the module quota_v2"
                                   : "see dmesg; a damaged file: e2fsck " + printable(image));
}

void mount_state(const std::string& folder, Bytes size, Deadline deadline) {
    make_mount_point(kState);
    // What was begun one way goes on that way.
    const std::string inner = folder + "/files";
    const bool begun = ::access(inner.c_str(), F_OK) == 0;  // bind_state() looks what it is
    if (begun || is_free_for_projects(folder))
        bind_state(inner);
    else
        mount_image(folder + "/state.img", size, deadline);
    if (!holds_projects(open_folder(kState).get()))
        refuse("state: quotas by project are not in force", "mount it with prjquota");
}

}  // namespace

std::string missing_rights(uint64_t effective) {
    std::string missing;
    for (const Right& right : kRights)
        if (!(effective >> right.number & 1)) missing += (missing.empty() ? "" : ", ") + std::string(right.name);
    return missing;
}

std::string not_roots_alone(const std::string& path) {
    for (size_t end = 0;;) {
        const std::string part = end == 0 ? "/" : path.substr(0, end);
        struct stat info;
        if (::stat(part.c_str(), &info) < 0) return errno == ENOENT ? "" : part;
        if (!S_ISDIR(info.st_mode) || info.st_uid != 0 || (info.st_mode & 0022)) return part;
        if (end == std::string::npos) return {};
        end = path.find('/', end + 1);
    }
}

std::string why_missing(std::string_view controller, std::string_view proc_cgroups) {
    const std::string_view name = controller == "io" ? "blkio" : controller;
    for (const std::string& line : split(proc_cgroups, '\n')) {
        const std::vector<std::string> fields = split(line, '\t');
        if (fields.size() < 4 || fields[0] != name) continue;
        if (fields[3] == "0")
            return "it is switched off on the kernel's command line (cgroup_disable)";
        if (fields[1] != "0")
            return "it is bound to version 1 (hybrid): start the machine with "
                   "systemd.unified_cgroup_hierarchy=1, or unmount version 1; or use `peacrab ask`";
    }
    return "the sandbox is not given it (or the kernel has none): delegate memory, pids, cpu and io "
           "to it, or use `peacrab ask`";
}

void check_base(const std::string& base) {
    const std::string next = "mount the base.erofs of a peacrab image there (mount -o ro base.erofs " +
                             printable(base) + "), or name another tree with --base";
    struct stat info, root;
    if (::stat(base.c_str(), &info) < 0 || !S_ISDIR(info.st_mode))
        refuse("base: " + printable(base) + ": there is no clean Debian for cells", next);
    if (::stat("/", &root) < 0) throw ErrnoError("cells: /");
    if (info.st_dev == root.st_dev && info.st_ino == root.st_ino)
        refuse("base: " + printable(base) + " is the sandbox's own root, whose files no cell may see",
               next);
    if (::access((base + "/bin/sh").c_str(), X_OK) < 0 || ::access((base + "/etc/debian_version").c_str(), R_OK) < 0)
        refuse("base: " + printable(base) + ": holds no Debian (bin/sh, etc/debian_version)", next);
    if (info.st_uid != 0 || (info.st_mode & 0022))
        refuse("base: " + printable(base) + ": others than root may write to it", "chown 0, chmod go-w");
    if (major(info.st_dev) == 0)
        refuse("base: " + printable(base) + ": lies on no disk, so that reading it could not be limited",
               "put it on ext4, xfs or erofs on a block device");
}

Sandbox enter_sandbox(const SandboxOptions& options) {
    // First what only a new start of the sandbox mends.
    check_root();
    separate_mounts();
    mount_control_groups();
    check_rights();
    check_landlock();
    check_dumpable();
    check_base(options.base);
    const std::string base = require_real_path("cells", options.base);
    for (const std::string& path : {options.base, base})
        require_roots_alone("base", path, "move it to where only root may write");
    try_base(base);
    const std::string elsewhere =
        "set XDG_STATE_HOME to a folder where only root may write, as /var/lib (sudo -E keeps a user's)";
    require_roots_alone("state", options.state, elsewhere);
    make_directories(options.state, 0700);
    const std::string state = require_real_path("cells", options.state);
    require_roots_alone("state", state, elsewhere);
    const Deadline deadline = Deadline::in(kTurnTaking);
    // Ids are the machine's: whose state it is does not matter for them.
    UniqueFd alone = lock_file(kAlone, "cells in this sandbox", deadline);
    UniqueFd lock = lock_file(state + "/lock", "the same cells", deadline);
    struct stat info;
    if (::fstat(lock.get(), &info) < 0) throw ErrnoError("cells: state");
    bind_base(base);
    mount_state(state, options.disk, deadline);
    make_control_groups("peacrab-" + std::to_string(info.st_dev) + "-" + std::to_string(info.st_ino));
    return {kBase, kState, std::move(lock), std::move(alone)};
}

}  // namespace peacrab
