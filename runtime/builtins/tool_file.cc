// The child behind the tools `read` and `write`: one request on stdin, one answer on stdout.
//
// It has more rights in the cell than the agent it works for (what the shell made as another user
// must be readable), so what it may touch is decided here, with the kernel's help: every path is
// opened beneath the workspace, no `..` and no link leads out, however fast somebody swaps folders
// for links meanwhile. It must not hang or drown: regular files only, never more than its bounds;
// and a write that is cut short must leave the old file whole.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "cells/mechanism.h"
#include "error.h"
#include "jail.h"
#include "json.h"
#include "os.h"
#include "tools.h"

namespace peacrab {
namespace {

constexpr size_t kMaxRequest = size_t{8} << 20;  // a MiB of content, every byte escaped
constexpr size_t kMaxText = size_t{48} << 10;
constexpr int64_t kMaxLines = 2000;
constexpr size_t kMaxScan = size_t{256} << 20;         // read past in search of the first line
constexpr size_t kSniff = 8192;                        // looked at to tell whether it is text
constexpr uint64_t kMaxReplaced = uint64_t{64} << 20;  // nobody can have read more than that
constexpr int kMaxLinks = 40;                          // as the kernel
constexpr int kMaxAttempts = 256;  // at a path that changes while it is resolved

// A path that is asked for: `path` beneath the open folder `root`; `given` is what the model said.
struct Place {
    UniqueFd root;
    std::string path;
    std::string given;
};

[[noreturn]] void fail(const std::string& given, int code) {
    const std::string name = printable(given);
    if (code == EXDEV) throw Error(name + ": leads out of the workspace: use shell for it");
    if (code == ELOOP) throw Error(name + ": too many links, or one of /proc: use shell for it");
    if (code == EAGAIN) throw Error(name + ": kept changing while it was opened: try again");
    throw ErrnoError(name, code);
}

// Opens beneath `root`. Empty: errno is set. The kernel asks for another attempt when something was
// renamed while it looked at `..`.
UniqueFd open_at(int root, const std::string& path, uint64_t flags, mode_t mode = 0) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.mode = mode;
    how.resolve = RESOLVE_NO_MAGICLINKS | (on(Mechanism::FileBeneath) ? RESOLVE_BENEATH : 0u);
    for (int attempt = 0;; ++attempt) {
        UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
        if (fd || errno != EAGAIN || attempt == kMaxAttempts) return fd;
    }
}

// A folder of the request's: named by the warden, but its place may be the agent's to rename.
UniqueFd open_root(const std::string& folder) {
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    UniqueFd fd(
        static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, folder.c_str(), &how, sizeof how)));
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

enum class Use { Read, Write };
Place find_place(const json::Value& request, Use use) {
    const std::string given = request.text("path"), workspace = request.text("workspace");
    if (given[0] != '/') return {open_root(workspace), given, given};
    if (const auto rest = beneath(given, workspace)) return {open_root(workspace), *rest, given};
    if (use == Use::Read)
        if (const auto rest = beneath(given, request.text("kept", "")))
            return {open_root(request.text("kept")), *rest, given};
    if (!on(Mechanism::FilePrefix)) return {open_root("/"), given.substr(1), given};
    throw Error(printable(given) + ": is outside of the workspace " + printable(workspace) +
                ": use shell for it");
}

struct Target {
    UniqueFd fd;
    uint64_t size = 0;
};

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

// Looked at before it is opened, because opening alone can have an effect (devices, pipes), and
// again after, because it may have been swapped in between.
Target open_regular(const Place& place) {
    const auto open_as = [&](uint64_t flags) {
        UniqueFd fd = open_at(place.root.get(), place.path, flags);
        struct stat info;
        if (!fd || ::fstat(fd.get(), &info) < 0) fail(place.given, errno);
        require_regular(place.given, info);
        return Target{std::move(fd), static_cast<uint64_t>(info.st_size)};
    };
    (void)open_as(O_PATH);
    return open_as(O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

// Reads a file line by line; a line comes in pieces when it is long.
class LineReader {
  public:
    explicit LineReader(int fd) : fd_(fd) {}
    // The next piece: up to and including a newline, or what is in the buffer. Empty: the end.
    std::string_view next() {
        if (at_ == filled_ && !fill()) return {};
        const std::string_view rest(buffer_.data() + at_, filled_ - at_);
        const size_t newline = rest.find('\n');
        const std::string_view piece =
            newline == std::string_view::npos ? rest : rest.substr(0, newline + 1);
        at_ += piece.size();
        return piece;
    }
    bool looks_binary() {
        if (!fill()) return false;
        const std::string_view start(buffer_.data(), std::min(filled_, kSniff));
        return start.find('\0') != std::string_view::npos;
    }

  private:
    bool fill() {
        at_ = 0;
        filled_ = read_some(fd_, buffer_).value_or(0);
        return filled_ > 0;
    }
    int fd_;
    size_t at_ = 0, filled_ = 0;
    std::array<char, 65536> buffer_;
};

json::Value done(std::string text, uint64_t bytes) {
    return json::Value::object({{"ok", true}, {"text", std::move(text)}, {"bytes", bytes}});
}

// Moves to line `first`. False: the file ends before; `line` is how many it has.
bool skip_to(LineReader& reader, int64_t first, int64_t& line) {
    size_t scanned = 0;
    while (line < first) {
        const std::string_view piece = reader.next();
        if (piece.empty()) return false;
        scanned += piece.size();
        if (scanned > kMaxScan)
            throw Error("line " + std::to_string(first) +
                        ": too far into the "
                        "file; use shell (sed -n, tail)");
        if (piece.back() == '\n') ++line;
    }
    return true;
}

// Drops a sequence that was cut in its middle, so that a cut does not look like bad bytes.
void trim_torn_end(std::string& text) {
    size_t back = 0;
    while (back < 3 && back < text.size() &&
           (static_cast<unsigned char>(text[text.size() - 1 - back]) & 0xc0) == 0x80)
        ++back;
    if (back < text.size() && static_cast<unsigned char>(text[text.size() - 1 - back]) >= 0xc0)
        text.resize(text.size() - 1 - back);
}

struct Slice {
    std::string text;
    int64_t next = 0;       // the line to go on with
    bool more = false;      // there is more
    bool cut_line = false;  // the last line shown is not whole
};

Slice take_lines(LineReader& reader, int64_t first, int64_t count) {
    Slice slice;
    slice.next = first;
    int64_t left = count;
    std::string line;
    bool at_end = false;
    while (left > 0 && !at_end) {
        line.clear();
        do {
            const std::string_view piece = reader.next();
            at_end = piece.empty();
            line.append(piece);
        } while (!at_end && line.back() != '\n' && line.size() <= kMaxText);
        if (line.empty()) return slice;
        if (slice.text.size() + line.size() > kMaxText) {
            slice.more = true;
            if (!slice.text.empty()) return slice;
            line.resize(kMaxText);
            trim_torn_end(line);
            slice.text = line;
            slice.cut_line = true;
            return slice;
        }
        slice.text += line;
        ++slice.next;
        --left;
    }
    slice.more = !at_end && !reader.next().empty();
    return slice;
}

json::Value read_text(const json::Value& request) {
    const std::string path = request.text("path");
    const Place place = find_place(request, Use::Read);
    const int64_t first = std::max<int64_t>(1, request.integer("offset", 1));
    const int64_t count = std::clamp<int64_t>(request.integer("limit", kMaxLines), 1, kMaxLines);
    const Target target = open_regular(place);
    {
        LineReader sniffer(target.fd.get());
        if (sniffer.looks_binary())
            throw Error(printable(path) + ": is a binary file of " + std::to_string(target.size) +
                        " bytes; look at it with shell (file, od)");
        // Some of /proc cannot seek; there the sniffed bytes are all there is to lose.
        if (::lseek(target.fd.get(), 0, SEEK_SET) < 0) throw ErrnoError(printable(path));
    }
    LineReader reader(target.fd.get());
    int64_t line = 1;
    if (!skip_to(reader, first, line))
        throw Error(printable(path) + ": offset " + std::to_string(first) +
                    " is past the end: there are fewer lines");
    Slice slice = take_lines(reader, first, count);
    const uint64_t bytes = slice.text.size();
    if (slice.text.empty()) return done(first == 1 ? "(empty file)" : "(no more lines)", 0);
    std::string text = json::valid_utf8(slice.text);
    const bool repaired = text != slice.text;
    if (slice.more || repaired) text += text.back() == '\n' ? "" : "\n";
    if (repaired) text += "[bytes that are not UTF-8 are shown as \xef\xbf\xbd]\n";
    if (slice.cut_line)
        text += "[line " + std::to_string(first) +
                " is longer than 48 KiB and cut here; see the rest "
                "with shell (cut -c)]";
    else if (slice.more)
        text += "[lines " + std::to_string(first) + "-" + std::to_string(slice.next - 1) +
                "; go on with offset " + std::to_string(slice.next) + "]";
    return done(std::move(text), bytes);
}

// "a/b/c" is c in "a/b"; a name alone is in ".".
std::pair<std::string, std::string> split_name(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// Opens the folder `path`, making what is missing of it. Each part is opened beneath the root
// again, so that what was swapped for a link in between leads nowhere else.
UniqueFd make_folder(const Place& place, const std::string& path) {
    UniqueFd at = open_at(place.root.get(), ".", O_PATH | O_DIRECTORY);
    for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        UniqueFd next = open_at(place.root.get(), part, O_PATH | O_DIRECTORY);
        if (!next && errno == ENOENT && at) {
            const std::string name = split_name(part).second;
            if (::mkdirat(at.get(), name.c_str(), 0755) < 0 && errno != EEXIST)
                fail(place.given, errno);
            next = open_at(place.root.get(), part, O_PATH | O_DIRECTORY);
        }
        if (!next) fail(place.given, errno);
        at = std::move(next);
        if (slash == std::string::npos) return at;
    }
}

// Where a write lands: a name in an open folder, and what has that name now. The name is no link.
struct Landing {
    UniqueFd folder;
    std::string name;
    std::optional<struct stat> replaced;
};

// A link is written through, not replaced: what it names is what was meant.
Landing find_landing(const Place& place) {
    std::string path = place.path;
    for (int links = 0; links <= kMaxLinks; ++links) {
        const auto [parent, name] = split_name(path);
        if (name.empty() || name == "." || name == "..")
            throw Error(printable(place.given) + ": names a directory");
        Landing landing{links ? open_at(place.root.get(), parent, O_PATH | O_DIRECTORY)
                              : make_folder(place, parent),
                        name, std::nullopt};
        struct stat info;
        if (landing.folder &&
            ::fstatat(landing.folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
            landing.replaced = info;
        } else if (errno != ENOENT) {
            fail(place.given, errno);
        } else if (links) {
            throw Error(printable(place.given) + ": is a link that leads nowhere");
        }
        if (!landing.replaced || !S_ISLNK(landing.replaced->st_mode)) return landing;
        std::array<char, PATH_MAX> target;
        const ssize_t n =
            ::readlinkat(landing.folder.get(), name.c_str(), target.data(), target.size());
        if (n <= 0) fail(place.given, n < 0 ? errno : ENOENT);
        const std::string to(target.data(), static_cast<size_t>(n));
        if (to[0] == '/') fail(place.given, EXDEV);
        path = parent + "/" + to;
    }
    fail(place.given, ELOOP);
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

// A temporary file beside it, synced, then renamed: whoever looks sees the old file or the new one.
void write_whole(const Place& place, const Landing& landing, const std::string& content) {
    const int folder = landing.folder.get();
    const bool replaces = landing.replaced.has_value();
    const std::string temporary =
        on(Mechanism::FileAtomic) || !replaces ? ".new-" + random_hex(8) : landing.name;
    const mode_t mode = replaces ? landing.replaced->st_mode & 0777 : 0644;
    const int fresh = temporary == landing.name ? O_TRUNC : O_CREAT | O_EXCL;
    const UniqueFd file(
        ::openat(folder, temporary.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC | fresh, 0600));
    if (!file) fail(place.given, errno);
    try {
        // It goes to who had it, or to whose folder it is in; where we may not give, it stays ours.
        struct stat owner, now;
        if (replaces) owner = *landing.replaced;
        if ((!replaces && ::fstat(folder, &owner) < 0) || ::fstat(file.get(), &now) < 0)
            fail(place.given, errno);
        if ((now.st_uid != owner.st_uid || now.st_gid != owner.st_gid) &&
            ::fchown(file.get(), owner.st_uid, owner.st_gid) < 0 && replaces)
            throw Error(printable(place.given) + ": belongs to somebody else: use shell for it");
        write_all(file.get(), content);
        if (::fchmod(file.get(), mode) < 0 || ::fsync(file.get()) < 0 ||
            (temporary != landing.name &&
             ::renameat(folder, temporary.c_str(), folder, landing.name.c_str()) < 0))
            fail(place.given, errno);
    } catch (...) {
        if (temporary != landing.name) ::unlinkat(folder, temporary.c_str(), 0);
        throw;
    }
    // The rename is durable only with its directory; what cannot be synced has been written anyway.
    const UniqueFd directory(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) ::fsync(directory.get());
}

json::Value write_text(const json::Value& request) {
    const std::string content = request.text("content");
    const Place place = find_place(request, Use::Write);
    const Landing landing = find_landing(place);
    if (landing.replaced) require_replaceable(place.given, *landing.replaced);
    write_whole(place, landing, content);
    return done((landing.replaced ? "replaced " : "made ") + printable(place.given) + ": " +
                    std::to_string(content.size()) + " bytes",
                content.size());
}

std::string read_request() {
    std::string text;
    std::vector<char> buffer(65536);
    while (const size_t n = read_some(STDIN_FILENO, buffer).value_or(0)) {
        text.append(buffer.data(), n);
        if (text.size() > kMaxRequest) throw Error("request: too large");
    }
    return text;
}

json::Value answer_to(const std::string& text) {
    const json::Value request = json::parse(text, {kMaxRequest, 4});
    const std::string path = request.text("path"), op = request.text("op");
    if (path.empty() || path.find('\0') != std::string::npos)
        throw Error("request: no usable path");
    if (op == "read") return read_text(request);
    if (op == "write") return write_text(request);
    throw Error("request: unknown operation");
}

}  // namespace

int tool_file_main() {
    // What runs beside us in the cell must not read or steer us.
    if (::prctl(PR_SET_DUMPABLE, on(Mechanism::Dumpable) ? 0 : 1) < 0) return 125;
    // Everything that will ever run here is loaded by now.
    if (!forbid_new_code()) return 125;
    json::Value answer;
    try {
        answer = answer_to(read_request());
    } catch (const Error& error) {
        answer = json::Value::object({{"ok", false}, {"error", error.what()}});
    }
    try {
        write_all(STDOUT_FILENO, json::dump(answer));
    } catch (const Error&) {
        return 1;  // nobody is left to tell
    }
    return 0;
}

}  // namespace peacrab
