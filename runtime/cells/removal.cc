// Deleting what an agent has left on the disk. It made those names: a tree may be deeper than any stack
// or table of open files, and a name may change into a link meanwhile. Must follow none, and must not
// need more descriptors for a deeper tree.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "cell.h"

namespace peacrab {
namespace {

// What is in `name` of `folder`: files are deleted, folders moved up beside it.
bool flatten(int folder, const char* name, uint64_t& moved) {
    const int fd = ::openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* const entries = fd < 0 ? nullptr : ::fdopendir(fd);
    if (!entries) {
        if (fd >= 0) ::close(fd);
        return false;
    }
    bool well = true;
    while (const dirent* entry = ::readdir(entries)) {
        const std::string_view each = entry->d_name;
        if (each == "." || each == "..") continue;
        if (::unlinkat(fd, entry->d_name, 0) == 0) continue;
        // A sweep that was cut off has left names of this kind.
        int result;
        do {
            const std::string up = ".up-" + std::to_string(moved++);
            result = ::renameat(fd, entry->d_name, folder, up.c_str());
        } while (result < 0 && (errno == ENOTEMPTY || errno == EEXIST));
        well = result == 0 && well;
    }
    ::closedir(entries);
    return well;
}

}  // namespace

// Deletes what is in `folder`, which is open. However deep a tree is, only two levels of it are open
// at once: folders of folders are moved up first. Follows no link. Each round ends a level.
bool delete_below(int folder) {
    uint64_t moved = 0;
    for (bool left = true; left;) {
        left = false;
        const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR* const entries = copy < 0 ? nullptr : ::fdopendir(copy);
        if (!entries) return false;
        while (const dirent* entry = ::readdir(entries)) {
            const std::string_view each = entry->d_name;
            if (each == "." || each == "..") continue;
            if (::unlinkat(folder, entry->d_name, 0) == 0) continue;
            left = true;
            const bool flat = flatten(folder, entry->d_name, moved);
            if (!flat || ::unlinkat(folder, entry->d_name, AT_REMOVEDIR) < 0) {
                ::closedir(entries);
                return false;
            }
        }
        ::closedir(entries);
    }
    return true;
}

}  // namespace peacrab
