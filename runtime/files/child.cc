// The child behind a `files` stream: stdin is that stream, both ways; stdout is for the warden.
//
//     in:  {"op","path","workspace"} and a newline, from the warden, the path escaped (files/listing);
//          then what the host sends, to its end
//     list    in: rules (files/ignore)   out: lines (files/listing)
//     get     in: paths, one a line      out: "archive" or "archive of a file" on a line, then one
//             (none: everything)              (protocols/tar); what is not there has none
//     put     in: an archive             out: nothing
//     remove  in: paths, one a line      out: nothing
//
// The verdict goes to the warden, one JSON object, and from it to the host: no name or content of the
// tree can look like it. It has more rights in the cell than the agent: every path is opened beneath the
// workspace and through no link.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>

#include "cells/mechanism.h"
#include "error.h"
#include "files/tree.h"
#include "jail.h"
#include "json.h"
#include "os.h"
#include "protocols/tar.h"
#include "tools.h"

namespace peacrab {
namespace {

constexpr size_t kMaxRequest = size_t{16} << 10;
constexpr size_t kMaxText = size_t{32} << 20;  // of paths, or rules
constexpr size_t kMostEntries = 250'000;          // of an archive: a long name is one more
constexpr size_t kPiece = size_t{64} << 10;

// The stream: what was read behind the request comes first.
class Stream {
  public:
    std::string request() {
        size_t end;
        while ((end = kept_.find('\n')) == std::string::npos) {
            if (kept_.size() > kMaxRequest || !more()) throw Error("request: none came");
        }
        std::string line = kept_.substr(0, end);
        kept_.erase(0, end + 1);
        return line;
    }
    // The next piece; empty at its end.
    std::string_view next() {
        if (!kept_.empty()) {
            last_ = std::move(kept_);
            kept_.clear();
            return last_;
        }
        const size_t n = read();
        return {bytes_.data(), n};
    }
    std::string all() {
        std::string text;
        for (std::string_view piece = next(); !piece.empty(); piece = next()) {
            text += piece;
            if (text.size() > kMaxText) throw Error("request: too long");
        }
        return text;
    }
    void write(std::string_view bytes) {
        try {
            write_all(STDIN_FILENO, bytes);
        } catch (const ErrnoError& error) {
            silent(error.code());
            throw;
        }
    }
    // Until the host has said all: who stops listening cuts it off before it is answered.
    void drain() {
        while (!next().empty()) {
        }
    }

  private:
    // Its time-outs are set by the warden.
    static void silent(int code) {
        if (code == EAGAIN) throw Error("the other side was silent for too long");
    }
    size_t read() {
        const std::optional<size_t> n = read_some(STDIN_FILENO, bytes_);
        if (!n) silent(EAGAIN);
        return n.value_or(0);
    }
    bool more() {
        const size_t n = read();
        kept_.append(bytes_.data(), n);
        return n > 0;
    }
    std::array<char, kPiece> bytes_;
    std::string kept_, last_;
};

// What there is to be told in the end, whatever became of it.
struct Verdict {
    uint64_t files = 0, bytes = 0;
    size_t skipped = 0;      // neither file, folder nor link
    size_t failed = 0;       // entries that could not be taken or given
    std::string why;         // the first of these
    bool missing = false;    // the folder itself
    void fail(const std::string& reason) {
        if (failed++ == 0) why = reason;
    }
};

class Work {
  public:
    Work(Stream& stream, const json::Value& request, Verdict& verdict)
        : stream_(stream), verdict_(verdict), workspace_(request.text("workspace")) {
        std::string path = unescaped(request.text("path"));
        // As the agent names it.
        if (path == workspace_) path.clear();
        if (path.starts_with(workspace_ + "/")) path = path.substr(workspace_.size() + 1);
        if (path.starts_with('/')) throw Error(printable(path) + ": is outside of the workspace");
        path_ = tar_path(path);
        root_ = open_workspace();
    }
    void run(const std::string& op) {
        if (op == "put") return put();
        if (op == "get") return get();
        if (op == "list") return list();
        if (op == "remove") return remove();
        throw Error("request: unknown operation");
    }

  private:
    UniqueFd open_workspace() {
        UniqueFd fd = open_resolved(AT_FDCWD, workspace_.c_str(), O_RDONLY | O_DIRECTORY,
                                    RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
        if (!fd) throw ErrnoError("the workspace");
        return fd;
    }
    // The folder that is meant; empty when it is not there.
    UniqueFd open_base() {
        if (path_.empty()) return open_folder_within(root_.get(), ".");
        struct stat info;
        if (!look_within(root_.get(), path_, info)) return UniqueFd();
        return open_folder_within(root_.get(), path_);
    }
    std::string within(const std::string& path) const {
        return path_.empty() ? path : path_ + "/" + path;
    }
    void put();
    void get();
    void get_one(int base, const std::string& path, TarWriter& writer);
    void list();
    void remove();
    void send_file(int base, const std::string& path, const struct stat& info, TarWriter& writer);
    std::vector<std::string> paths();
    // Of one entry. What no further entry can get by ends it all.
    void each(const std::function<void()>& what) {
        try {
            what();
        } catch (const ErrnoError& error) {
            if (error.code() == ENOSPC || error.code() == EDQUOT || error.code() == EPIPE) throw;
            verdict_.fail(error.what());
        } catch (const Error& error) {
            verdict_.fail(error.what());
        }
    }
    Stream& stream_;
    Verdict& verdict_;
    std::string workspace_, path_;
    UniqueFd root_;
};

void Work::put() {
    TreeWriter writer(root_.get(), TreeWriter::Sync::Never);  // its keeper syncs, before its end is told
    std::optional<TreeWriter::File> file;
    if (!path_.empty()) writer.folder(path_);
    TarReader reader({.begin =
                          [&](const TarEntry& entry) {
                              file.reset();
                              ++verdict_.files;
                              each([&] {
                                  const std::string path = within(entry.path);
                                  using Kind = TarEntry::Kind;
                                  if (entry.kind == Kind::Folder) return writer.folder(path);
                                  if (entry.kind == Kind::Link) return writer.link(path, entry.target);
                                  file.emplace(writer.create(path, entry.mode, entry.mtime));
                              });
                          },
                      .data =
                          [&](std::string_view bytes) {
                              verdict_.bytes += bytes.size();
                              if (file) file->write(bytes);
                          },
                      .end =
                          [&] {
                              if (file) each([&] { file->commit(); });
                              file.reset();
                          }},
                     {.entries = kMostEntries});
    for (std::string_view piece = stream_.next(); !piece.empty(); piece = stream_.next())
        if (reader.feed(piece) < piece.size()) break;
    verdict_.skipped = reader.skipped();
    if (!reader.ended()) throw Error("it was cut off; what had come whole is there");
}

std::vector<std::string> Work::paths() {
    std::vector<std::string> out;
    for (const std::string& line : split(stream_.all(), '\n')) {
        if (line.empty()) continue;
        const std::string path = unescaped(line);
        if (path.empty() || tar_path(path) != path) throw Error("request: a path that leads elsewhere");
        out.push_back(path);
    }
    return out;
}

// As long as was said, whatever happens to it meanwhile: it is said in the verdict.
void Work::send_file(int base, const std::string& path, const struct stat& info, TarWriter& writer) {
    struct stat now;
    const UniqueFd file = open_file_within(base, path, now);
    if (!file) return verdict_.fail(printable(path) + ": it changed while it was read");
    TarEntry entry{TarEntry::Kind::File, path, "", info.st_mode & 0777,
                   static_cast<uint64_t>(now.st_size), now.st_mtim.tv_sec};
    if (entry.size > TarLimits().file.count)
        return verdict_.fail(printable(path) + ": larger than 1 GiB");
    writer.begin(entry);
    uint64_t left = entry.size - read_through(file.get(), entry.size, [&](std::string_view bytes) {
        writer.data(bytes);
    });
    verdict_.bytes += entry.size - left;
    if (left) verdict_.fail(printable(path) + ": it changed while it was read");
    const std::string zeros(kPiece, '\0');
    for (; left; left -= std::min<uint64_t>(left, zeros.size()))
        writer.data(std::string_view(zeros).substr(0, std::min<uint64_t>(left, zeros.size())));
}

void Work::get_one(int base, const std::string& path, TarWriter& writer) {
    struct stat info;
    if (!look_within(base, path, info)) return;  // the host sees that it is not there
    ++verdict_.files;
    if (S_ISREG(info.st_mode)) return send_file(base, path, info, writer);
    if (S_ISDIR(info.st_mode))
        return writer.begin({TarEntry::Kind::Folder, path, "", 0755, 0, info.st_mtim.tv_sec});
    if (S_ISLNK(info.st_mode))
        return writer.begin({TarEntry::Kind::Link, path, link_within(base, path), 0777, 0,
                             info.st_mtim.tv_sec});
    ++verdict_.skipped;
}

void Work::get() {
    const std::vector<std::string> wanted = paths();
    struct stat info;
    verdict_.missing = !path_.empty() && !look_within(root_.get(), path_, info);
    if (verdict_.missing) return;
    const bool file = wanted.empty() && !path_.empty() && !S_ISDIR(info.st_mode);
    stream_.write(file ? "archive of a file\n" : "archive\n");
    TarWriter writer([&](std::string_view bytes) { stream_.write(bytes); });
    if (file) {
        const size_t slash = path_.rfind('/');
        const bool top = slash == std::string::npos;
        const UniqueFd folder = open_folder_within(root_.get(), top ? "." : path_.substr(0, slash));
        each([&] { get_one(folder.get(), top ? path_ : path_.substr(slash + 1), writer); });
    } else {
        const UniqueFd base = open_base();
        const auto one = [&](const std::string& path) {
            each([&] { get_one(base.get(), path, writer); });
        };
        for (const std::string& path : wanted) one(path);
        if (wanted.empty())
            verdict_.skipped = walk_tree(base.get(), nullptr, RuleFiles::Leave, {},
                                         [&](const WalkedEntry& entry) { one(entry.path); })
                                   .special;
    }
    writer.finish();
}

void Work::list() {
    Ignore rules;
    rules.add_text(stream_.all());
    const UniqueFd base = open_base();
    if (!base) {
        verdict_.missing = true;
        return;
    }
    std::string lines;
    const WalkCount count = walk_tree(
        base.get(), &rules, RuleFiles::Leave, {}, [&](const WalkedEntry& entry) {
            each([&] { lines += listing_line(entry.path, listed_within(base.get(), entry)); });
            if (lines.size() < kPiece) return;
            stream_.write(lines);
            lines.clear();
        });
    stream_.write(lines);
    verdict_.files = count.entries;
    verdict_.bytes = count.bytes;
    verdict_.skipped = count.special;
}

void Work::remove() {
    const std::vector<std::string> gone = paths();
    TreeWriter writer(root_.get(), TreeWriter::Sync::Never);
    for (const std::string& path : gone)
        each([&] { verdict_.files += writer.remove(within(path)) ? 1 : 0; });
}

}  // namespace

int tool_files_main() {
    // As tool_file_main().
    if (::prctl(PR_SET_DUMPABLE, on(Mechanism::Dumpable) ? 0 : 1) < 0) return 125;
    if (!forbid_new_code()) return 125;
    Verdict verdict;
    bool ok = false;
    Stream stream;
    try {
        const json::Value request = json::parse(stream.request(), {kMaxRequest, 2});
        Work(stream, request, verdict).run(request.text("op"));
        ok = verdict.failed == 0;
    } catch (const Error& error) {
        verdict.fail(error.what());
    }
    try {
        stream.drain();
    } catch (const Error&) {
        // Nobody is there any more.
    }
    json::Value answer = json::Value::object({{"ok", ok},
                                              {"files", verdict.files},
                                              {"bytes", verdict.bytes},
                                              {"skipped", verdict.skipped},
                                              {"failed", verdict.failed},
                                              {"missing", verdict.missing}});
    if (!verdict.why.empty()) answer.set("why", json::valid_utf8(verdict.why).substr(0, 1000));
    try {
        write_all(STDOUT_FILENO, json::dump(answer));
    } catch (const Error&) {
        return 1;
    }
    return 0;
}

}  // namespace peacrab
