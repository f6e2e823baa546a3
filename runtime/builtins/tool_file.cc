// The child behind the tools `read` and `write`: one request on stdin, one answer on stdout.
//
// It runs as the agent, in jail class file, in the agent's own root directory: whatever a path
// says, nothing can be reached that the agent may not have anyway. What it guards against is
// hanging and drowning: only regular files, never through /proc's magic links, never more than its
// bounds; and a write that is cut short must leave the old file whole.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

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
constexpr size_t kMaxScan = size_t{256} << 20;  // read past in search of the first line
constexpr size_t kSniff = 8192;                 // looked at to tell whether it is text

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

// Looked at before it is opened, because opening alone can have an effect (devices, pipes), and
// again after, because it may have been swapped in between.
Target open_regular(const std::string& path) {
    const auto open_as = [&](uint64_t flags) {
        open_how how{};
        how.flags = flags | O_CLOEXEC;
        how.resolve = RESOLVE_NO_MAGICLINKS;
        UniqueFd fd(
            static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
        if (!fd) throw ErrnoError(printable(path));
        struct stat info;
        if (::fstat(fd.get(), &info) < 0) throw ErrnoError(printable(path));
        if (!S_ISREG(info.st_mode)) throw Error(printable(path) + ": is " + kind_of(info.st_mode));
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
    const int64_t first = std::max<int64_t>(1, request.integer("offset", 1));
    const int64_t count = std::clamp<int64_t>(request.integer("limit", kMaxLines), 1, kMaxLines);
    const Target target = open_regular(path);
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

std::string parent_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// A link is written through, not replaced: what it names is what was meant.
std::string resolve_link(const std::string& path) {
    struct stat info;
    if (::lstat(path.c_str(), &info) < 0 || !S_ISLNK(info.st_mode)) return path;
    char resolved[PATH_MAX];
    if (!::realpath(path.c_str(), resolved))
        throw ErrnoError(printable(path) + ": is a link that leads nowhere");
    return resolved;
}

json::Value write_text(const json::Value& request) {
    const std::string given = request.text("path"), content = request.text("content");
    if (given.back() == '/') throw Error(printable(given) + ": names a directory");
    const std::string path = resolve_link(given);
    mode_t mode = 0644;
    struct stat info;
    const bool replaced = ::lstat(path.c_str(), &info) == 0;
    if (replaced && !S_ISREG(info.st_mode))
        throw Error(printable(given) + ": is " + kind_of(info.st_mode));
    if (replaced) mode = info.st_mode & 0777;
    const std::string parent = parent_of(path);
    make_directories(parent, 0755);
    write_file_atomic(path, content, mode);
    // The rename is durable only with its directory; what cannot be synced has been written anyway.
    const UniqueFd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) ::fsync(directory.get());
    return done((replaced ? "replaced " : "made ") + printable(given) + ": " +
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
