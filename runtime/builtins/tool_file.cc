// The child behind the tools `read`, `write`, `edit` and `search`: one request on stdin, one answer on stdout.
//
// It has more rights in the cell than the agent it works for (what the shell made as another user
// must be readable), so what it may touch is decided here and in workspace.cc, by which every path is
// opened. It must not hang or drown: never more than its bounds.
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "audit.h"
#include "builtins/edit.h"
#include "builtins/picture.h"
#include "builtins/search.h"
#include "builtins/workspace.h"
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
constexpr size_t kMaxScan = size_t{256} << 20;  // read past in search of the first line
constexpr size_t kSniff = 8192;                 // looked at to tell whether it is text

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
    std::string_view start() { return filled_ > 0 || fill() ? std::string_view(buffer_.data(), filled_) : ""; }

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
            slice.text = utf8_prefix(line, kMaxText);
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

bool looks_binary(std::string_view start) {
    return start.substr(0, kSniff).find('\0') != std::string_view::npos;
}

// From the beginning; a byte more than `most` when there are more.
std::string read_again(int fd, size_t most) {
    return ::lseek(fd, 0, SEEK_SET) < 0 ? std::string() : read_all(fd, most);
}

// What an edit will compare with; of a file that is too large to be edited, nothing.
json::Value mark_of(const Target& target, const std::string& path, const std::string& workspace) {
    if (static_cast<uint64_t>(target.info.st_size) > kMaxWhole) return {};
    const std::string text = read_again(target.fd.get(), kMaxWhole);
    if (text.size() > kMaxWhole) return {};
    return json::Value::object({{seen_name(path, workspace), content_mark(text)}});
}

json::Value show_picture(const Target& target, const std::string& path) {
    const std::string bytes = read_again(target.fd.get(), kMaxPicture);
    const std::optional<PictureKind> kind = picture_kind(bytes);
    if (!kind) throw Error(printable(path) + ": changed while it was read");
    json::Value answer = done(std::string(kind->media_type) + ", " + std::to_string(kind->width) + " x " +
                                  std::to_string(kind->height) + " pixels",
                              bytes.size());
    answer.set("picture", picture_of(*kind, bytes));
    return answer;
}

json::Value read_one(const json::Value& request) {
    const std::string path = request.text("path");
    const Place place = find_place(request, path, Use::Read);
    const int64_t first = std::max<int64_t>(1, request.integer("offset", 1));
    const int64_t count = std::clamp<int64_t>(request.integer("limit", kMaxLines), 1, kMaxLines);
    const Target target = open_regular(place);
    json::Value seen;
    {
        LineReader sniffer(target.fd.get());
        if (picture_kind(sniffer.start())) return show_picture(target, path);
        if (looks_binary(sniffer.start()))
            throw Error(printable(path) + ": is a binary file of " + std::to_string(target.info.st_size) +
                        " bytes; look at it with shell (file, od)");
        // Before it is shown: what changes in between is noticed at the next edit.
        seen = mark_of(target, path, request.text("workspace"));
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
    if (slice.text.empty()) return done(first == 1 ? "(empty file)" : "(no more lines)", 0, std::move(seen));
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
    return done(std::move(text), bytes, std::move(seen));
}

json::Value write_text(const json::Value& request) {
    const std::string content = request.text("content");
    const std::string path = request.text("path");
    const Place place = find_place(request, path, Use::Write);
    Landing landing = find_landing(place, Folders::Make);
    const bool replaces = landing.replaced.has_value();
    if (replaces) require_replaceable(place.given, *landing.replaced);
    write_whole(place, std::move(landing), content);
    return done((replaces ? "replaced " : "made ") + printable(place.given) + ": " +
                    std::to_string(content.size()) + " bytes",
                content.size(),
                json::Value::object(
                    {{seen_name(path, request.text("workspace")), content_mark(content)}}));
}

// What a file is, for somebody who is told of it and does not have it.
json::Value sum_of(const json::Value& request) {
    const std::string path = request.text("path");
    const Target target = open_regular(find_place(request, path, Use::Write));
    Sha256 sum;
    uint64_t size = 0;
    std::vector<char> buffer(65536);
    while (const size_t n = read_some(target.fd.get(), buffer).value_or(0)) {
        sum.add({buffer.data(), n});
        size += n;
    }
    const json::Value said = json::Value::object({{"path", printable(seen_name(path, request.text("workspace")))},
                                                  {"size", size},
                                                  {"sha256", sum.hex()}});
    return done(json::dump(said), size);
}

json::Value answer_to(const std::string& text) {
    if (text.size() > kMaxRequest) throw Error("request: too large");
    const json::Value request = json::parse(text, {kMaxRequest, 4});
    const std::string op = request.text("op");
    if (op == "read") return read_one(request);
    if (op == "write") return write_text(request);
    if (op == "edit") return edit_files(request);
    if (op == "search") return search_files(request);
    if (op == "send") return sum_of(request);
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
        answer = answer_to(read_all(STDIN_FILENO, kMaxRequest));
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
