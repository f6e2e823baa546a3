// Who fills a disk must hurt nobody but himself. A turn process is the hard case: the blocks held back
// on a full disk are for it too, because somebody who can make room must be able to write down that he
// was told to; one that was taken over would take them all. What it may add is therefore counted from
// what was there when the disk was last not full. Source: quotactl(2), ioctl_xfs_fsgetxattr(2), Linux
// Documentation/filesystems/ext4, include/uapi/linux/quota.h.
#include "cells/quota.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

#include "cells/mechanism.h"
#include "config.h"
#include "error.h"
#include "os.h"

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif

namespace peacrab {
namespace {

constexpr int kGetNextQuota = 0x800009;  // Q_GETNEXTQUOTA, which libc does not name
constexpr uint64_t kJournalFiles = 64;   // a step: a session has three
constexpr Bytes kLeastStep = MiB(1), kMostStep = MiB(16);

int quota_control(int fd, int command, uint32_t project, void* value) noexcept {
    return static_cast<int>(
        ::syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, value));
}

// As the kernel writes it for Q_GETNEXTQUOTA (if_nextdqblk).
struct Project {
    uint64_t most_blocks, soft_blocks, space, most_files, soft_files, files, block_time, file_time;
    uint32_t valid, id;
};

// Every one from `first` to `last`, with its bounds and its use.
std::map<uint32_t, Project> projects(int fd, uint32_t first, uint32_t last) {
    std::map<uint32_t, Project> found;
    Project next{};
    while (quota_control(fd, kGetNextQuota, first, &next) == 0 && next.id >= first && next.id <= last) {
        found[next.id] = next;
        if (next.id == last) break;
        first = next.id + 1;
    }
    return found;
}

void set_bounds(int fd, uint32_t project, uint64_t blocks, uint64_t files) {
    struct dqblk bounds {};
    bounds.dqb_bhardlimit = blocks;
    bounds.dqb_ihardlimit = files;
    bounds.dqb_valid = QIF_LIMITS;
    if (quota_control(fd, Q_SETQUOTA, project, &bounds) < 0)
        throw ErrnoError("cell: quota: the state disk has none");
}

struct statvfs disk_of(int fd) {
    struct statvfs disk;
    if (::fstatvfs(fd, &disk) < 0) throw ErrnoError("cell: quota: size of the state disk");
    return disk;
}

// What is kept for those who may use a full disk. The kernel keeps a part for itself beside it (ext4:
// a fiftieth, at most 4096 blocks), which nobody gets.
uint64_t bytes_held_back(const struct statvfs& disk) {
    const uint64_t all = disk.f_bfree - disk.f_bavail, own = std::min<uint64_t>(disk.f_blocks / 50, 4096);
    return all > own ? (all - own) * disk.f_frsize : 0;
}

// Of the inodes; what the warden needs in a year is a few hundred.
uint64_t files_held_back(const struct statvfs& disk) { return disk.f_files / 32; }

UniqueFd open_beneath(int folder, const char* name) {
    UniqueFd fd(::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) throw ErrnoError("cell: quota: open a journal");
    return fd;
}

// What an earlier version has left there counts as well.
void count_what_is_there(int folder, uint32_t project) {
    const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* const entries = copy < 0 ? nullptr : ::fdopendir(copy);
    if (!entries) throw ErrnoError("cell: quota: list the journals");
    const auto close = [](DIR* directory) { ::closedir(directory); };
    const std::unique_ptr<DIR, decltype(close)> owner(entries, close);
    while (const dirent* entry = ::readdir(entries)) {
        struct stat info;
        if (::fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
            count_for_project(open_beneath(folder, entry->d_name).get(), project);
    }
}

}  // namespace

bool holds_projects(int fd) noexcept {
    fs_quota_stat now{};
    return quota_control(fd, Q_XGETQSTAT, 0, &now) == 0 && (now.qs_flags & FS_QUOTA_PDQ_ENFD);
}

bool has_projects(int fd) noexcept {
    Project next{};
    return quota_control(fd, kGetNextQuota, 1, &next) == 0 || (errno != ENOENT && errno != ESRCH);
}

void count_for_project(int fd, uint32_t project) {
    if (!on(Mechanism::QuotaInherited)) return;
    struct stat info;
    fsxattr attributes{};
    if (::fstat(fd, &info) < 0 || ::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        throw ErrnoError("cell: quota: the state disk counts no projects");
    const uint32_t inherit = S_ISDIR(info.st_mode) ? FS_XFLAG_PROJINHERIT : 0;
    if (attributes.fsx_projid == project && (attributes.fsx_xflags & inherit) == inherit) return;
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= inherit;
    if (::ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0)
        throw ErrnoError("cell: quota: count for the project");
}

void fit_to_disk(int fd, CellLimits& limits) {
    const struct statvfs disk = disk_of(fd);
    const auto share = [](uint64_t whole) { return whole / 10 * 9; };
    limits.disk.count = std::min(limits.disk.count, share(uint64_t{disk.f_blocks} * disk.f_frsize) &
                                                        ~(MiB(1).count - 1));
    limits.files = std::min(limits.files, share(disk.f_files));
}

uint64_t share_files(int fd, uint32_t project, uint64_t wanted) {
    const struct statvfs disk = disk_of(fd);
    if (disk.f_files == 0) return wanted;  // a file system that makes them as they are needed
    const uint64_t held = files_held_back(disk);
    std::map<uint32_t, Project> all = projects(fd, 1, kFirstJournals);
    const uint64_t used = all[project].files;
    all.erase(project);
    std::erase_if(all, [](const auto& each) { return each.second.files == 0; });
    const uint64_t free = disk.f_ffree > held ? disk.f_ffree - held : 0;
    const uint64_t even = free / (all.size() + 1);
    for (const auto& [other, now] : all)
        if (now.most_files == 0 || now.most_files > now.files + even)
            set_bounds(fd, other, now.most_blocks, now.files + even);
    return std::min(wanted, used + even);
}

void set_quota(int fd, uint32_t project, const CellLimits& limits, Room room) {
    const bool building = room == Room::Building;
    const uint64_t blocks = (limits.disk.count + (building ? MiB(1).count : 0)) / 1024,
                   files = limits.files + (building ? 64 : 0);
    set_bounds(fd, project, on(Mechanism::DiskQuota) ? blocks : 0,
               on(Mechanism::FilesQuota) ? files : 0);
}

std::string quota_hit(int fd, uint32_t project, const CellLimits& limits) noexcept {
    struct dqblk now {};
    if (quota_control(fd, Q_GETQUOTA, project, &now) < 0) return {};
    const uint64_t bytes = now.dqb_bhardlimit * 1024;
    // A write that does not fit whole may leave a little.
    if (bytes && now.dqb_curspace + KiB(64).count >= bytes)
        return "disk: " + format_size(limits.disk);
    if (now.dqb_ihardlimit && now.dqb_curinodes + 1 >= now.dqb_ihardlimit)
        return "files: " + std::to_string(limits.files);
    return {};
}

Bytes hold_journals(const std::string& sessions, uint32_t slot) {
    constexpr Bytes kMuch = MiB(256);
    if (!on(Mechanism::JournalQuota)) return kMuch;
    const uint32_t project = kFirstJournals + slot;
    const UniqueFd folder(
        ::open(sessions.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // Of a folder that counts for a project the kernel tells the project's size, not the disk's.
    const UniqueFd above(::openat(folder.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || !above) throw ErrnoError("cell: quota: open the journals");
    const struct statvfs disk = disk_of(above.get());
    const uint64_t held = bytes_held_back(disk),
                   available = uint64_t{disk.f_bavail} * disk.f_frsize;
    std::map<uint32_t, Project> all = projects(folder.get(), kFirstJournals + 1, ~0U);
    const bool first = !all.contains(project);
    if (first) {
        count_for_project(folder.get(), project);
        count_what_is_there(folder.get(), project);
        all = projects(folder.get(), kFirstJournals + 1, ~0U);
    }
    const Project now = all[project];
    // All of them together: half of what is held back, or they have the least that is of use.
    const uint64_t step = std::clamp(held / 2 / all.size(), kLeastStep.count, kMostStep.count);
    const bool full = available < std::max(held, all.size() * step),
               more_blocks = now.most_blocks == 0 || !full,
               more_files = now.most_files == 0 || disk.f_ffree > files_held_back(disk);
    const uint64_t most = std::min(now.space + step, uint64_t{disk.f_blocks} * disk.f_frsize / 8);
    set_bounds(folder.get(), project, more_blocks ? most / 1024 : now.most_blocks,
               more_files ? now.files + kJournalFiles : now.most_files);
    return full ? Bytes{step} : kMuch;
}

}  // namespace peacrab
