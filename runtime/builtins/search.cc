// A walk down a folder that somebody may change meanwhile, and that may be made to be endless: every
// folder and file is opened beneath the workspace by its whole path, links are not followed, and depth,
// names, files, bytes, matches and time are bounded. What was left out is said, or "no match" would be
// taken for an answer.
#include "builtins/search.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "builtins/pattern.h"
#include "builtins/workspace.h"
#include "cells/mechanism.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr int64_t kUsualMatches = 100, kMaxMatches = 1000;
constexpr size_t kMaxShown = size_t{40} << 10;
constexpr size_t kShownLine = 240, kShownBefore = 160;  // bytes of a line, and before a match's end
constexpr size_t kMaxFile = size_t{16} << 20;
constexpr size_t kMaxBytes = size_t{256} << 20;
constexpr size_t kMaxFiles = 50'000, kMaxNames = 200'000;
constexpr size_t kMaxDepth = 64;
constexpr size_t kSniff = 8192;
constexpr Seconds kLongest{15};  // half of what the call has

// What is made by programs and fills the answer with noise; searched when named by path.
constexpr std::string_view kLeftOut[] = {".git",   ".hg",   ".svn",        "node_modules", "__pycache__",
                                         ".venv",  ".tox",  ".mypy_cache", ".pytest_cache"};

struct Found {
    std::string path;
    struct timespec changed {};
};

// The names in a folder by kind, sorted.
struct Folder {
    std::vector<std::string> files, folders, links;
};

class Walk {
  public:
    explicit Walk(const json::Value& request)
        : place_(find_place(request, request.text("path", "."), Use::Read)),
          limit_(static_cast<size_t>(
              std::clamp<int64_t>(request.integer("limit", kUsualMatches), 1, kMaxMatches))),
          deadline_(Deadline::in(kLongest)) {
        if (request.find("pattern")) pattern_.emplace(request.text("pattern"));
        if (!request.find("glob")) return;
        const std::string glob = request.text("glob");
        whole_path_ = glob.find('/') != std::string::npos;
        glob_.emplace(Pattern::glob(glob));
    }

    json::Value run() {
        base_ = place_.path;
        const UniqueFd there = open_beneath(place_.root.get(), base_, O_PATH);
        struct stat info;
        if (!there || ::fstat(there.get(), &info) < 0) fail_at(place_.given, errno);
        each_.root = open_beneath(place_.root.get(), ".", O_PATH | O_DIRECTORY);
        if (S_ISDIR(info.st_mode))
            enter("", 0);
        else
            file(base_, place_.given, true);
        if (!pattern_) list();
        const std::string said = summary();
        return done(text_.empty() ? said : text_ + "\n" + said, text_.size());
    }

  private:
    bool over() {
        if (stopped_.empty() && deadline_.passed()) stopped_ = "the time";
        if (stopped_.empty() && files_ >= kMaxFiles) stopped_ = std::to_string(kMaxFiles) + " files";
        if (stopped_.empty() && names_ >= kMaxNames) stopped_ = std::to_string(kMaxNames) + " names";
        if (stopped_.empty() && bytes_ >= kMaxBytes) stopped_ = "256 MiB of text";
        if (stopped_.empty() && pattern_ && matches_ > limit_) {
            matches_ = limit_;
            stopped_ = counted(limit_, "match", "matches");
        }
        if (stopped_.empty() && text_.size() > kMaxShown) stopped_ = "40 KiB of matches";
        return !stopped_.empty();
    }
    // `below`: from the searched folder on, "" or with a slash at its end.
    void enter(const std::string& below, size_t depth) {
        if (over()) return;
        const std::optional<Folder> folder = names_in(base_ + "/" + below);
        if (!folder) {
            if (depth == 0) fail_at(place_.given, errno);
            ++unreadable_;
            return;
        }
        links_ += folder->links.size();
        for (const std::string& name : folder->files) {
            if (over()) return;
            if (fits(below, name)) file(base_ + "/" + below + name, below + name, false);
        }
        for (const std::string& name : folder->folders) {
            if (std::find(std::begin(kLeftOut), std::end(kLeftOut), name) != std::end(kLeftOut))
                left_out_.insert(name);
            else if (depth + 1 >= kMaxDepth)
                ++too_deep_;
            else
                enter(below + name + "/", depth + 1);
        }
    }
    // None: it cannot be read.
    std::optional<Folder> names_in(const std::string& path) {
        UniqueFd fd = open_beneath(place_.root.get(), path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        if (!fd) return std::nullopt;
        const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(fd.get()), ::closedir);
        if (!folder) return std::nullopt;
        fd.release();
        Folder names;
        while (const dirent* entry = ::readdir(folder.get())) {
            const std::string name = entry->d_name;
            if (name == "." || name == "..") continue;
            if (++names_ > kMaxNames) break;
            unsigned char type = entry->d_type;
            struct stat info;
            if (type == DT_UNKNOWN && ::fstatat(::dirfd(folder.get()), name.c_str(), &info,
                                                AT_SYMLINK_NOFOLLOW) == 0)
                type = static_cast<unsigned char>(IFTODT(info.st_mode));
            if (type == DT_REG) names.files.push_back(name);
            if (type == DT_DIR) names.folders.push_back(name);
            if (type == DT_LNK) names.links.push_back(name);
        }
        std::sort(names.files.begin(), names.files.end());
        std::sort(names.folders.begin(), names.folders.end());
        return names;
    }
    bool fits(const std::string& below, const std::string& name) {
        return !glob_ || glob_->end_in(whole_path_ ? below + name : name);
    }
    // `shown` is what the model may say to read it, but for the folder it asked for.
    void file(const std::string& path, const std::string& shown, bool asked) {
        ++files_;
        each_.path = path;
        each_.given = asked || place_.given == "." ? shown : joined(place_.given, shown);
        if (!pattern_) return note();
        switch (asked ? read_text() : try_to_read()) {
            case Read::Text:
                return look_through(each_.given);
            case Read::Binary:
                ++binary_;
                return;
            case Read::TooLarge:
                ++too_large_;
                return;
            case Read::No:
                ++unreadable_;
        }
    }
    enum class Read { No, Text, Binary, TooLarge };
    Read try_to_read() try {
        return read_text();
    } catch (const Error&) {  // it has gone, or is not what it was
        return Read::No;
    }
    static std::string joined(const std::string& folder, const std::string& name) {
        return folder + (folder.ends_with('/') ? "" : "/") + name;
    }
    Read read_text() {
        const Target target = open_regular(each_);
        if (static_cast<uint64_t>(target.info.st_size) > kMaxFile && on(Mechanism::FileSize))
            return Read::TooLarge;
        buffer_.clear();
        std::array<char, 65536> piece;
        while (const size_t n = read_some(target.fd.get(), piece).value_or(0)) {
            buffer_.append(piece.data(), n);
            bytes_ += n;
            if (buffer_.size() == n &&
                std::string_view(buffer_).substr(0, kSniff).find('\0') != std::string_view::npos)
                return Read::Binary;
            if (buffer_.size() > kMaxFile) return Read::TooLarge;
        }
        return Read::Text;
    }
    void look_through(const std::string& name) {
        std::string_view rest = buffer_;
        bool here = false;
        for (size_t number = 1; !rest.empty() && !over(); ++number) {
            const size_t end = std::min(rest.find('\n'), rest.size());
            std::string_view line = rest.substr(0, end);
            rest.remove_prefix(std::min(end + 1, rest.size()));
            if (line.ends_with('\r')) line.remove_suffix(1);
            const std::optional<size_t> match = pattern_->end_in(line);
            if (!match) continue;
            if (++matches_ > limit_) continue;  // there is more: over() says so
            if (!std::exchange(here, true)) {
                text_ += (text_.empty() ? "" : "\n") + printable(json::valid_utf8(name)) + "\n";
                ++matching_files_;
            }
            text_ += std::to_string(number) + ": " + clipped(line, *match) + "\n";
        }
        (void)over();
    }
    // Of a long line what is around the match.
    static std::string clipped(std::string_view line, size_t match) {
        const auto inside = [&](size_t at) {
            return at < line.size() && (static_cast<unsigned char>(line[at]) & 0xc0) == 0x80;
        };
        size_t from = line.size() > kShownLine && match > kShownBefore ? match - kShownBefore : 0;
        size_t to = std::min(line.size(), from + kShownLine);
        for (int i = 0; i < 3 && inside(from); ++i) ++from;
        for (int i = 0; i < 3 && inside(to); ++i) --to;
        const std::string text = printable(json::valid_utf8(line.substr(from, to - from)));
        return (from ? "..." : "") + text + (to < line.size() ? "..." : "");
    }
    void note() {
        const UniqueFd fd = open_beneath(each_.root.get(), each_.path, O_PATH);
        struct stat info;
        if (!fd || ::fstat(fd.get(), &info) < 0)
            ++unreadable_;
        else
            found_.push_back({each_.given, info.st_mtim});
    }
    void list() {
        std::stable_sort(found_.begin(), found_.end(), [](const Found& one, const Found& other) {
            const auto at = [](const Found& each) {
                return std::pair(each.changed.tv_sec, each.changed.tv_nsec);
            };
            return at(one) > at(other);
        });
        for (const Found& each : found_) {
            if (matching_files_ >= limit_ || text_.size() > kMaxShown) break;
            text_ += printable(json::valid_utf8(each.path)) + "\n";
            ++matching_files_;
        }
    }
    static std::string counted(size_t count, const std::string& what, const std::string& many) {
        return std::to_string(count) + " " + (count == 1 ? what : many);
    }
    std::string summary() const {
        std::string said = "[";
        if (pattern_)
            said += matches_ ? counted(matches_, "match", "matches") + " in " +
                                   counted(matching_files_, "file", "files") + " of " +
                                   std::to_string(files_)
                             : "no match in " + counted(files_, "file", "files");
        else
            said += found_.empty() ? "no such file" : counted(matching_files_, "file", "files");
        if (!pattern_ && matching_files_ < found_.size())
            said += " of " + std::to_string(found_.size()) + "; the newest are shown";
        std::string skipped;
        const auto skip = [&](size_t count, const std::string& text) {
            if (count) skipped += (skipped.empty() ? "" : ", ") + text;
        };
        skip(binary_, std::to_string(binary_) + " binary");
        skip(too_large_, std::to_string(too_large_) + " larger than 16 MiB");
        skip(unreadable_, std::to_string(unreadable_) + " unreadable");
        skip(links_, counted(links_, "link", "links"));
        skip(too_deep_, counted(too_deep_, "folder", "folders") + " too deep");
        for (const std::string& name : left_out_) skip(1, name);
        if (!skipped.empty()) said += "; skipped: " + skipped;
        if (!stopped_.empty())
            said += "; ended at " + stopped_ + ": narrow it by path, glob or pattern";
        return said + "]";
    }

    Place place_, each_;  // what is searched, and the file in it
    std::string base_;
    size_t limit_;
    Deadline deadline_;
    std::optional<Pattern> pattern_, glob_;
    bool whole_path_ = false;
    std::string buffer_, text_, stopped_;
    std::vector<Found> found_;
    std::set<std::string> left_out_;
    size_t files_ = 0, names_ = 0, bytes_ = 0, matches_ = 0, matching_files_ = 0;
    size_t binary_ = 0, too_large_ = 0, unreadable_ = 0, links_ = 0, too_deep_ = 0;
};

}  // namespace

json::Value search_files(const json::Value& request) {
    return Walk(request).run();
}

std::string shown_search(const json::Value& arguments) {
    std::string shown = arguments.text("pattern").substr(0, 100);
    if (const std::string glob = arguments.text("glob").substr(0, 60); !glob.empty())
        shown += (shown.empty() ? "" : " in ") + glob;
    if (const std::string path = arguments.text("path").substr(0, 100); !path.empty())
        shown += " below " + path;
    return shown;
}

}  // namespace peacrab
