// Names come from a directory or from an archive that was checked (protocols/tar); in between the tree
// may change under us, and what was a folder be a link: no step follows one.
#include "files/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <memory>
#include <vector>

#include "error.h"
#include "audit.h"
#include "protocols/tar.h"

namespace peacrab {
namespace {

constexpr Bytes kMaxRuleFile = MiB(1);

[[noreturn]] void fail(const std::string& path, int code = errno) {
    const std::string shown = printable(path);
    if (code == ELOOP || code == EXDEV || code == ENOTDIR)
        throw ErrnoError(shown + ": a link, or no folder, is in its way", code);
    throw ErrnoError(shown, code);
}

UniqueFd open_within(int root, const std::string& path, uint64_t flags) {
    return open_resolved(root, path.c_str(), flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

// "a/b/c" is c in "a/b"; a name alone is in ".".
std::pair<std::string, std::string> split_name(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
}

struct CloseFolder {
    void operator()(DIR* folder) const { ::closedir(folder); }
};

std::vector<std::string> names_in(int folder, const std::string& path, size_t most) {
    UniqueFd own(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, CloseFolder> list(own ? ::fdopendir(own.get()) : nullptr);
    if (!list) fail(path);
    own.release();
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(list.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (names.size() == most) throw Error("more than " + std::to_string(most) + " files and folders");
        names.emplace_back(name);
    }
    if (errno) fail(path);
    std::sort(names.begin(), names.end());
    return names;
}

class TreeWalk {
  public:
    TreeWalk(Ignore* rules, RuleFiles files, const TreeLimits& limits,
             const std::function<void(const WalkedEntry&)>& found)
        : rules_(rules), files_(files), limits_(limits), found_(found) {}
    void folder(int at, const std::string& path, size_t depth) {
        if (files_ == RuleFiles::Read && rules_) read_rules(at, path);
        for (const std::string& name : names_in(at, path.empty() ? "." : path, limits_.entries))
            entry(at, name, path.empty() ? name : path + "/" + name, depth);
    }
    WalkCount count;

  private:
    void read_rules(int at, const std::string& path) {
        for (const char* name : Ignore::kFiles) {
            struct stat info;
            const UniqueFd file = open_file_within(at, name, info);
            if (!file) continue;
            std::string text;
            (void)read_through(file.get(), kMaxRuleFile.count,
                               [&](std::string_view bytes) { text += bytes; });
            rules_->add_file(path, text);
        }
    }
    void entry(int at, const std::string& name, const std::string& path, size_t depth) {
        WalkedEntry found{path, {}, {}};
        if (::fstatat(at, name.c_str(), &found.info, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT) return;  // it has gone
            fail(path);
        }
        const mode_t mode = found.info.st_mode;
        const auto what = S_ISDIR(mode) ? Ignore::What::Folder : Ignore::What::File;
        if (name.starts_with(Ignore::kOurs)) return;
        // That it is there is told to who asks by rules of another: what is in it stays out of sight.
        if (rules_ && files_ == RuleFiles::Leave && name == ".git") {
            found.kind = Listed::Kind::Folder;
            return found_(found);
        }
        if (rules_ && rules_->leaves_out(path, what)) return void(++count.left_out);
        if (!S_ISDIR(mode) && !S_ISREG(mode) && !S_ISLNK(mode)) return void(++count.special);
        if (++count.entries > limits_.entries)
            throw Error("more than " + std::to_string(limits_.entries) + " files and folders");
        found.kind = S_ISDIR(mode)    ? Listed::Kind::Folder
                     : S_ISLNK(mode)  ? Listed::Kind::Link
                     : mode & S_IXUSR ? Listed::Kind::Program
                                      : Listed::Kind::File;
        if (found.kind != Listed::Kind::Folder) {
            if (S_ISREG(mode)) count.bytes += static_cast<uint64_t>(found.info.st_size);
            if (count.bytes > limits_.total.count)
                throw Error("more than " + std::to_string(limits_.total.count >> 20) + " MiB in all");
            return found_(found);
        }
        if (depth == limits_.depth) throw Error(printable(path) + ": too many folders in each other");
        found_(found);
        const UniqueFd inner(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!inner && errno == ENOENT) return;
        if (!inner) fail(path);
        folder(inner.get(), path, depth + 1);
    }
    Ignore* rules_;
    RuleFiles files_;
    const TreeLimits& limits_;
    const std::function<void(const WalkedEntry&)>& found_;
};

}  // namespace

UniqueFd open_folder_within(int root, const std::string& path) {
    UniqueFd fd = open_within(root, path, O_RDONLY | O_DIRECTORY);
    if (!fd) fail(path);
    return fd;
}

// Looked at before it is opened: opening a device has effects.
UniqueFd open_file_within(int root, const std::string& path, struct stat& info) {
    for (const uint64_t flags : {uint64_t{O_PATH}, uint64_t{O_RDONLY | O_NONBLOCK | O_NOCTTY}}) {
        UniqueFd fd = open_within(root, path, flags);
        if (!fd && errno == ENOENT) return fd;
        // What is not followed cannot be opened to be read, either.
        if (!fd && errno == ELOOP) return fd;
        if (!fd || ::fstat(fd.get(), &info) < 0) fail(path);
        if (!S_ISREG(info.st_mode)) return UniqueFd();
        if (flags != O_PATH) return fd;
    }
    return UniqueFd();
}

bool look_within(int root, const std::string& path, struct stat& info) {
    const auto [parent, name] = split_name(path);
    const UniqueFd folder = open_within(root, parent, O_PATH | O_DIRECTORY);
    if (folder && ::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return false;
    fail(path);
}

std::string link_within(int root, const std::string& path) {
    const auto [parent, name] = split_name(path);
    const UniqueFd folder = open_within(root, parent, O_PATH | O_DIRECTORY);
    std::array<char, PATH_MAX> target;
    const ssize_t n = folder ? ::readlinkat(folder.get(), name.c_str(), target.data(), target.size()) : -1;
    if (n <= 0) fail(path, n < 0 ? errno : ENOENT);
    return {target.data(), static_cast<size_t>(n)};
}

WalkCount walk_tree(int root, Ignore* rules, RuleFiles files, const TreeLimits& limits,
                    const std::function<void(const WalkedEntry&)>& found) {
    TreeWalk walk(rules, files, limits, found);
    walk.folder(root, "", 1);
    return walk.count;
}

uint64_t read_through(int fd, uint64_t most, const std::function<void(std::string_view)>& take) {
    std::array<char, 65536> bytes;
    uint64_t all = 0;
    while (all < most) {
        const size_t want = static_cast<size_t>(std::min<uint64_t>(bytes.size(), most - all));
        const size_t n = read_some(fd, {bytes.data(), want}).value_or(0);
        if (n == 0) break;
        take({bytes.data(), n});
        all += n;
    }
    return all;
}

Listed listed_within(int root, const WalkedEntry& entry) {
    Listed listed{entry.kind};
    if (entry.kind == Listed::Kind::Link) listed.target = link_within(root, entry.path);
    if (!listed.file()) return listed;
    struct stat info;
    const UniqueFd file = open_file_within(root, entry.path, info);
    if (!file) throw Error(printable(entry.path) + ": it changed while it was looked at");
    Sha256 hash;
    listed.size = read_through(file.get(), GiB(1).count + 1, [&](std::string_view bytes) { hash.add(bytes); });
    listed.hash = hash.hex();
    return listed;
}

// --- writing

std::pair<UniqueFd, std::string> TreeWriter::landing(const std::string& path) {
    auto [parent, name] = split_name(path);
    UniqueFd at = open_within(root_, ".", O_PATH | O_DIRECTORY);
    if (parent == ".") return {std::move(at), name};
    for (size_t slash = parent.find('/');; slash = parent.find('/', slash + 1)) {
        const std::string part = parent.substr(0, slash);
        UniqueFd next = open_within(root_, part, O_PATH | O_DIRECTORY);
        if (!next && errno == ENOENT && at) {
            const std::string own = split_name(part).second;
            if (::mkdirat(at.get(), own.c_str(), 0755) < 0 && errno != EEXIST) fail(part);
            next = open_within(root_, part, O_PATH | O_DIRECTORY);
            struct stat above, made;
            // It goes to whose folder it is in; where we may not give, it stays ours.
            const UniqueFd given = next ? open_within(root_, part, O_RDONLY | O_DIRECTORY) : UniqueFd();
            if (given && ::fstat(at.get(), &above) == 0 && ::fstat(given.get(), &made) == 0 &&
                (above.st_uid != made.st_uid || above.st_gid != made.st_gid))
                (void)!::fchown(given.get(), above.st_uid, above.st_gid);
        }
        if (!next) fail(part);
        at = std::move(next);
        if (slash == std::string::npos) return {std::move(at), name};
    }
}

namespace {

void require_no_folder(int folder, const std::string& name, const std::string& path) {
    struct stat there;
    if (::fstatat(folder, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) return;
    if (S_ISDIR(there.st_mode)) throw Error(printable(path) + ": a folder has that name there");
    if (!S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode))
        throw Error(printable(path) + ": a device or pipe has that name there");
}

}  // namespace

TreeWriter::File TreeWriter::create(const std::string& path, mode_t mode, int64_t mtime) {
    File file;
    std::tie(file.folder_, file.name_) = landing(path);
    require_no_folder(file.folder_.get(), file.name_, path);
    file.path_ = path;
    file.mode_ = mode & 0777;
    file.mtime_ = mtime;
    file.sync_ = sync_;
    const std::string temporary = Ignore::kOurs + random_hex(8);
    file.file_ = UniqueFd(::openat(file.folder_.get(), temporary.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.file_) fail(path);
    file.temporary_ = temporary;
    struct stat above, made;
    if (::fstat(file.folder_.get(), &above) == 0 && ::fstat(file.file_.get(), &made) == 0 &&
        (above.st_uid != made.st_uid || above.st_gid != made.st_gid))
        (void)!::fchown(file.file_.get(), above.st_uid, above.st_gid);
    return file;
}

TreeWriter::File::~File() {
    if (folder_ && !temporary_.empty()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

void TreeWriter::File::write(std::string_view bytes) {
    try {
        write_all(file_.get(), bytes);
    } catch (const ErrnoError& error) {
        fail(path_, error.code());
    }
}

void TreeWriter::File::commit() {
    const timespec times[2] = {{0, UTIME_NOW}, {static_cast<time_t>(mtime_), mtime_ ? 0 : UTIME_NOW}};
    if (::fchmod(file_.get(), mode_) < 0 || ::futimens(file_.get(), times) < 0 ||
        (sync_ == Sync::Each && ::fsync(file_.get()) < 0) ||
        ::renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) < 0)
        fail(path_);
    temporary_.clear();
}

void TreeWriter::link(const std::string& path, const std::string& target) {
    const auto [folder, name] = landing(path);
    require_no_folder(folder.get(), name, path);
    const std::string temporary = Ignore::kOurs + random_hex(8);
    if (::symlinkat(target.c_str(), folder.get(), temporary.c_str()) < 0) fail(path);
    if (::renameat(folder.get(), temporary.c_str(), folder.get(), name.c_str()) == 0) return;
    const int code = errno;
    ::unlinkat(folder.get(), temporary.c_str(), 0);
    fail(path, code);
}

void TreeWriter::folder(const std::string& path) {
    (void)landing(path + "/.");
}

bool TreeWriter::remove(const std::string& path) {
    const auto [parent, name] = split_name(path);
    const UniqueFd folder = open_within(root_, parent, O_PATH | O_DIRECTORY);
    if (!folder) {
        if (errno == ENOENT) return true;
        fail(path);
    }
    struct stat there;
    if (::fstatat(folder.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT) return true;
        fail(path);
    }
    const int what = S_ISDIR(there.st_mode) ? AT_REMOVEDIR : 0;
    if (::unlinkat(folder.get(), name.c_str(), what) == 0 || errno == ENOENT) return true;
    if (what && (errno == ENOTEMPTY || errno == EEXIST)) return false;
    fail(path);
}

}  // namespace peacrab
