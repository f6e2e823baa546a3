// How the file tools get at a file. Every path is opened beneath the workspace with the kernel's help:
// no `..` and no link leads out. It must not hang (regular files only), must not make folders of a
// path that leads elsewhere, and a write that is cut short must leave the old file whole.
#include "builtins/workspace.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "cells/mechanism.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kSniff = 8192;                        // looked at to tell whether it is text
constexpr uint64_t kMaxReplaced = uint64_t{64} << 20;  // nobody can have read more than that
constexpr int kMaxLinks = 40;                          // as the kernel

// A folder of the request's: named by the warden, but its place may be the agent's to rename.
UniqueFd open_root(const std::string& folder) {
    UniqueFd fd = open_resolved(AT_FDCWD, folder.c_str(), O_PATH | O_DIRECTORY,
                                RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
    if (!fd)
        throw Error("the folder " + printable(folder) +
                    " is not there any more: make it again with shell (mkdir -p)");
    return fd;
}

// What is left of `path` in `folder`; nothing when it does not begin with it.
std::optional<std::string> beneath(const std::string& path, const std::string& folder) {
    if (folder.empty() || !path.starts_with(folder)) return std::nullopt;
    const std::string rest = path.substr(folder.size());
    if (rest.empty()) return ".";
    if (rest[0] != '/') return std::nullopt;
    const size_t first = rest.find_first_not_of('/');
    return first == std::string::npos ? "." : rest.substr(first);
}

const char* kind_of(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory: list it with shell";
    if (S_ISFIFO(mode)) return "a named pipe, not a regular file";
    if (S_ISSOCK(mode)) return "a socket, not a regular file";
    return "a device, not a regular file";
}

void require_regular(const std::string& given, const struct stat& info) {
    if (!S_ISREG(info.st_mode) && on(Mechanism::FileRegular))
        throw Error(printable(given) + ": is " + kind_of(info.st_mode));
}

// "a/b/c" is c in "a/b"; a name alone is in ".".
std::pair<std::string, std::string> split_name(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

std::pair<std::string, std::string> named(const Place& place, const std::string& path) {
    auto parts = split_name(path);
    if (parts.second.empty() || parts.second == "." || parts.second == "..")
        throw Error(printable(place.given) + ": names a directory");
    return parts;
}

// Opens the folder `path`, making what is missing of it. Each part is opened beneath the root
// again, so that what was swapped for a link in between leads nowhere else.
UniqueFd make_folder(const Place& place, const std::string& path, MadeFolders& made) {
    UniqueFd at = open_beneath(place.root.get(), ".", O_PATH | O_DIRECTORY);
    for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        UniqueFd next = open_beneath(place.root.get(), part, O_PATH | O_DIRECTORY);
        if (!next && errno == ENOENT && at) {
            const std::string name = split_name(part).second;
            if (::mkdirat(at.get(), name.c_str(), 0755) == 0)
                made.add(open_beneath(at.get(), ".", O_PATH | O_DIRECTORY), name);
            else if (errno != EEXIST)
                fail_at(place.given, errno);
            next = open_beneath(place.root.get(), part, O_PATH | O_DIRECTORY);
        }
        if (!next) fail_at(place.given, errno);
        at = std::move(next);
        if (slash == std::string::npos) return at;
    }
}

}  // namespace

[[noreturn]] void fail_at(const std::string& given, int code) {
    const std::string name = printable(given);
    if (code == EXDEV) throw Error(name + ": leads out of the workspace: use shell for it");
    if (code == ELOOP) throw Error(name + ": too many links, or one of /proc: use shell for it");
    if (code == EAGAIN) throw Error(name + ": kept changing while it was opened: try again");
    throw ErrnoError(name, code);
}

UniqueFd open_beneath(int root, const std::string& path, uint64_t flags) {
    return open_resolved(root, path.c_str(), flags,
                         RESOLVE_NO_MAGICLINKS | (on(Mechanism::FileBeneath) ? RESOLVE_BENEATH : 0u));
}

Place find_place(const json::Value& request, const std::string& given, Use use) {
    const std::string workspace = request.text("workspace");
    if (given.empty() || given.find('\0') != std::string::npos || given.size() >= PATH_MAX)
        throw Error("request: no usable path");
    if (given[0] != '/') return {open_root(workspace), given, given};
    if (const auto rest = beneath(given, workspace)) return {open_root(workspace), *rest, given};
    if (use == Use::Read)
        for (const char* root : {"kept", "shown"})
            if (const auto rest = beneath(given, request.text(root, "")))
                return {open_root(request.text(root)), *rest, given};
    if (!on(Mechanism::FilePrefix)) return {open_root("/"), given.substr(1), given};
    throw Error(printable(given) + ": is outside of the workspace " + printable(workspace) +
                ": use shell for it");
}

// Looked at before it is opened, because opening alone can have an effect (devices, pipes), and
// again after, because it may have been swapped in between.
Target open_regular(const Place& place) {
    const auto open_as = [&](uint64_t flags) {
        UniqueFd fd = open_beneath(place.root.get(), place.path, flags);
        struct stat info;
        if (!fd || ::fstat(fd.get(), &info) < 0) fail_at(place.given, errno);
        require_regular(place.given, info);
        return Target{std::move(fd), info};
    };
    (void)open_as(O_PATH);
    return open_as(O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

WholeText read_whole(const Place& place) {
    const Target target = open_regular(place);
    const std::string name = printable(place.given);
    const auto too_long = [&] {
        return Error(name + ": is longer than 1 MiB: use shell for it (sed, patch)");
    };
    if (static_cast<uint64_t>(target.info.st_size) > kMaxWhole && on(Mechanism::FileSize))
        throw too_long();
    WholeText whole{read_all(target.fd.get(), kMaxWhole), target.info};
    if (whole.text.size() > kMaxWhole) throw too_long();
    if (whole.text.substr(0, kSniff).find('\0') != std::string::npos)
        throw Error(name + ": is a binary file: use shell for it");
    return whole;
}

Landing find_landing(const Place& place, Folders folders) {
    std::string path = place.path;
    for (int links = 0; links <= kMaxLinks; ++links) {
        const auto [parent, name] = named(place, path);
        Landing landing{{}, name};
        landing.folder = folders == Folders::Make && links == 0
                             ? make_folder(place, parent, landing.made)
                             : open_beneath(place.root.get(), parent, O_PATH | O_DIRECTORY);
        struct stat info;
        if (landing.folder &&
            ::fstatat(landing.folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
            landing.replaced = info;
        } else if (errno != ENOENT) {
            fail_at(place.given, errno);
        } else if (links) {
            throw Error(printable(place.given) + ": is a link that leads nowhere");
        }
        if (!landing.replaced || !S_ISLNK(landing.replaced->st_mode)) return landing;
        std::array<char, PATH_MAX> target;
        const ssize_t n =
            ::readlinkat(landing.folder.get(), name.c_str(), target.data(), target.size());
        if (n <= 0) fail_at(place.given, n < 0 ? errno : ENOENT);
        const std::string to(target.data(), static_cast<size_t>(n));
        if (to[0] == '/') fail_at(place.given, EXDEV);
        path = parent + "/" + to;
    }
    fail_at(place.given, ELOOP);
}

void require_replaceable(const std::string& given, const struct stat& info) {
    require_regular(given, info);
    if (info.st_nlink > 1)
        throw Error(printable(given) + ": has " + std::to_string(info.st_nlink) +
                    " names (hard links), which writing one would part: use shell for it");
    if (static_cast<uint64_t>(info.st_size) > kMaxReplaced && on(Mechanism::FileSize))
        throw Error(printable(given) + ": is " + std::to_string(info.st_size) +
                    " bytes, too much to be replaced as a whole: use shell for it");
}

void require_same(const std::string& given, const Landing& landing, const struct stat& read) {
    const std::optional<struct stat>& now = landing.replaced;
    if (!now || now->st_ino != read.st_ino || now->st_dev != read.st_dev ||
        now->st_size != read.st_size || now->st_mtim.tv_sec != read.st_mtim.tv_sec ||
        now->st_mtim.tv_nsec != read.st_mtim.tv_nsec)
        throw Error(printable(given) + ": changed while it was worked on: read it and try again");
}

MadeFolders::~MadeFolders() {
    for (; !made_.empty(); made_.pop_back())
        if (made_.back().first) ::unlinkat(made_.back().first.get(), made_.back().second.c_str(), AT_REMOVEDIR);
}

NewFile::NewFile(std::string given, Landing landing, const std::string& content, const struct stat* like)
    : given_(std::move(given)), landing_(std::move(landing)) {
    const int folder = landing_.folder.get();
    const bool beside = on(Mechanism::FileAtomic) || !landing_.replaced;
    const std::string name = beside ? ".new-" + random_hex(8) : landing_.name;
    const int fresh = beside ? O_CREAT | O_EXCL : O_TRUNC;
    const UniqueFd file(::openat(folder, name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC | fresh, 0600));
    if (!file) fail_at(given_, errno);
    try {
        fill(file.get(), content, landing_.replaced ? &*landing_.replaced : like);
    } catch (...) {
        if (beside) ::unlinkat(folder, name.c_str(), 0);
        throw;
    }
    if (beside) temporary_ = name;
}

NewFile::NewFile(NewFile&& other) noexcept
    : given_(std::move(other.given_)), landing_(std::move(other.landing_)),
      temporary_(std::exchange(other.temporary_, {})) {}

NewFile::~NewFile() {
    if (!temporary_.empty()) ::unlinkat(landing_.folder.get(), temporary_.c_str(), 0);
}

// It goes to who had it, or to whose folder it is in; where we may not give, it stays ours.
void NewFile::fill(int file, const std::string& content, const struct stat* like) const {
    struct stat owner, now;
    if (like) owner = *like;
    if ((!like && ::fstat(landing_.folder.get(), &owner) < 0) || ::fstat(file, &now) < 0) fail_at(given_, errno);
    if ((now.st_uid != owner.st_uid || now.st_gid != owner.st_gid) &&
        ::fchown(file, owner.st_uid, owner.st_gid) < 0 && like)
        throw Error(printable(given_) + ": belongs to somebody else: use shell for it");
    write_all(file, content);
    if (::fchmod(file, like ? like->st_mode & 0777 : 0644) < 0 || ::fsync(file) < 0) fail_at(given_, errno);
}

// Whoever looks sees the old file or the new one. What another process has written since it was looked at
// stays, as far as one look before the rename can tell.
void NewFile::put_in_place() {
    const int folder = landing_.folder.get();
    const char* const name = landing_.name.c_str();
    if (!temporary_.empty()) {
        if (landing_.replaced) {
            Landing now{{}, landing_.name};
            struct stat info;
            if (::fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0) now.replaced = info;
            require_same(given_, now, *landing_.replaced);
        }
        const unsigned flags = landing_.replaced ? 0 : RENAME_NOREPLACE;
        if (::renameat2(folder, temporary_.c_str(), folder, name, flags) < 0) {
            if (errno == EEXIST) throw Error(printable(given_) + ": has come to be there meanwhile: read it first");
            fail_at(given_, errno);
        }
        temporary_.clear();
    }
    landing_.made.keep();
    // The rename is durable only with its directory; what cannot be synced has been written anyway.
    const UniqueFd directory(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) ::fsync(directory.get());
}

void write_whole(const Place& place, Landing landing, const std::string& content) {
    NewFile(place.given, std::move(landing), content).put_in_place();
}

Landing find_removable(const Place& place, const struct stat* read) {
    const auto [parent, name] = named(place, place.path);
    Landing landing{open_beneath(place.root.get(), parent, O_PATH | O_DIRECTORY), name};
    struct stat info;
    if (!landing.folder ||
        ::fstatat(landing.folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0)
        fail_at(place.given, errno);
    if (S_ISLNK(info.st_mode))
        throw Error(printable(place.given) + ": is a link: remove it with shell");
    require_regular(place.given, info);
    landing.replaced = info;
    if (read) require_same(place.given, landing, *read);
    return landing;
}

void remove_file(const Place& place, const struct stat& read) {
    const Landing landing = find_removable(place, &read);
    if (::unlinkat(landing.folder.get(), landing.name.c_str(), 0) < 0) fail_at(place.given, errno);
}

void require_may_remove(const Place& place, const struct stat& read) {
    const Landing landing = find_removable(place, &read);
    if (::faccessat(landing.folder.get(), ".", W_OK | X_OK, AT_EACCESS) < 0) fail_at(place.given, errno);
}

std::string seen_name(const std::string& given, const std::string& workspace) {
    const std::string path = given[0] == '/' ? beneath(given, workspace).value_or(given) : given;
    std::string name = path[0] == '/' ? "/" : "";
    for (const std::string& part : split(path, '/'))
        if (!part.empty() && part != ".")
            name += (name.empty() || name.back() == '/' ? "" : "/") + part;
    return name;
}

std::string content_mark(std::string_view text) {
    return std::to_string(text_hash(text)) + "-" + std::to_string(text.size());
}

void require_unchanged(const json::Value& request, const std::string& given,
                       std::string_view text) {
    const json::Value* seen = request.find("seen");
    const std::string mark =
        seen ? seen->text(seen_name(given, request.text("workspace"))) : std::string();
    if (!mark.empty() && mark != content_mark(text))
        throw Error(printable(given) + ": it changed since you read it: read it again");
}

json::Value done(std::string text, uint64_t bytes, json::Value seen) {
    json::Value answer =
        json::Value::object({{"ok", true}, {"text", std::move(text)}, {"bytes", bytes}});
    if (!seen.is_null()) answer.set("seen", std::move(seen));
    return answer;
}

}  // namespace peacrab
