#include "builtins/patch.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "builtins/text_match.h"
#include "builtins/workspace.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxFiles = 64;
constexpr size_t kMaxPatch = size_t{256} << 10;
constexpr size_t kMaxShown = size_t{8} << 10;  // of all that was changed
constexpr std::string_view kAdd = "*** Add File: ", kUpdate = "*** Update File: ",
                           kDelete = "*** Delete File: ", kMove = "*** Move to: ";

std::string_view without_blanks(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// "@@ -1,4 +1,5 @@" of a unified diff names numbers that are not to be trusted: no anchor.
bool is_range(std::string_view anchor) {
    return anchor.starts_with('-') &&
           anchor.find_first_not_of("-+,0123456789 ") == anchor.find("@@") &&
           anchor.find("@@") != std::string_view::npos;
}

class Parser {
  public:
    explicit Parser(const std::string& text) : lines_(split(text, '\n')) {
        for (std::string& line : lines_)
            if (line.ends_with('\r')) line.pop_back();
    }
    std::vector<FilePatch> parse() {
        skip_blank();
        if (without_blanks(line()) != "*** Begin Patch") fail("must be *** Begin Patch");
        ++at_;
        while (without_blanks(line()) != "*** End Patch") {
            if (ended()) throw Error("patch: it ends without *** End Patch");
            files_.push_back(take_file());
            if (files_.size() > kMaxFiles)
                throw Error("patch: more than " + std::to_string(kMaxFiles) +
                            " files: use several");
        }
        ++at_;
        skip_blank();
        if (!ended()) fail("comes after *** End Patch");
        if (files_.empty()) throw Error("patch: it names no file");
        return std::move(files_);
    }

  private:
    bool ended() const { return at_ >= lines_.size(); }
    const std::string& line() const {
        static const std::string kNone;
        return ended() ? kNone : lines_[at_];
    }
    bool marker() const { return line().starts_with("*** "); }
    void skip_blank() {
        while (!ended() && without_blanks(line()).empty()) ++at_;
    }
    [[noreturn]] void fail(const std::string& why) const {
        throw Error("patch: line " + std::to_string(at_ + 1) + " (" + quoted_line(line()) + ") " +
                    why);
    }
    // What stands after `name` on this line, which is then done.
    std::optional<std::string> rest_of(std::string_view name) {
        if (!line().starts_with(name)) return std::nullopt;
        std::string rest(without_blanks(std::string_view(line()).substr(name.size())));
        if (rest.empty()) fail("names no file");
        ++at_;
        return rest;
    }
    FilePatch take_file() {
        FilePatch file;
        if (auto added = rest_of(kAdd)) {
            file.kind = FilePatch::Kind::Add;
            file.path = *added;
            for (; !ended() && !marker(); ++at_) {
                if (line().empty()) skip_blank();
                if (ended() || marker()) break;
                if (!line().starts_with('+')) fail("of an added file must begin with +");
                file.content += line().substr(1) + "\n";
            }
        } else if (auto deleted = rest_of(kDelete)) {
            file.kind = FilePatch::Kind::Delete;
            file.path = *deleted;
            skip_blank();
        } else if (auto updated = rest_of(kUpdate)) {
            file.path = *updated;
            if (auto to = rest_of(kMove)) file.to = *to;
            while (!ended() && (!marker() || line() == "*** End of File")) take_hunk(file);
            if (file.hunks.empty() && file.to.empty()) fail("comes where a hunk is missing");
        } else {
            fail("must be *** Add File: PATH, *** Update File: PATH, *** Delete File: PATH or "
                 "*** End Patch");
        }
        return file;
    }
    void take_hunk(FilePatch& file) {
        Hunk hunk;
        for (; line().starts_with("@@"); ++at_)
            if (const auto anchor = std::string_view(line()).substr(2);
                !without_blanks(anchor).empty() && !is_range(without_blanks(anchor)))
                hunk.anchors.emplace_back(anchor.substr(anchor.starts_with(' ')));
        for (; !ended() && !line().starts_with("@@") && !marker(); ++at_) {
            if (line().starts_with("\\ No newline")) continue;
            const char kind = line().empty() ? ' ' : line()[0];
            if (kind != ' ' && kind != '-' && kind != '+')
                fail("of a hunk must begin with a blank, - or +");
            hunk.lines.push_back({kind, line().empty() ? "" : line().substr(1)});
        }
        if (line() == "*** End of File") {
            hunk.at_end = true;
            ++at_;
        }
        const auto changes = [](const Hunk::Line& each) { return each.kind != ' '; };
        if (!std::any_of(hunk.lines.begin(), hunk.lines.end(), changes)) {
            // An empty line before the next marker is for the eye.
            if (hunk.anchors.empty() && !file.hunks.empty() && hunk.lines.empty()) return;
            fail("comes after a hunk that changes nothing");
        }
        file.hunks.push_back(std::move(hunk));
    }

    std::vector<std::string> lines_;
    size_t at_ = 0;
    std::vector<FilePatch> files_;
};

struct FileLine {
    std::string text;
    std::string end;  // "" of a last one without
};

std::vector<FileLine> lines_of(std::string_view text) {
    std::vector<FileLine> lines;
    while (!text.empty()) {
        const size_t newline = text.find('\n');
        if (newline == std::string_view::npos) {
            lines.push_back({std::string(text), ""});
            break;
        }
        const bool both = newline > 0 && text[newline - 1] == '\r';
        lines.push_back({std::string(text.substr(0, newline - both)), both ? "\r\n" : "\n"});
        text.remove_prefix(newline + 1);
    }
    return lines;
}

// Lines as numbers: equal ones have the same.
class Numbers {
  public:
    explicit Numbers(bool loosely) : loosely_(loosely) {}
    uint32_t of(const std::string& line) {
        const auto next = static_cast<uint32_t>(known_.size());
        return known_.try_emplace(loosely_ ? loosen(line).text : line, next).first->second;
    }

  private:
    bool loosely_;
    std::unordered_map<std::string, uint32_t> known_;
};

// Where `what` begins in `in`, from `from` on, overlapping, at most `most`. Knuth, Morris and Pratt:
// the time does not grow with the product of both lengths.
std::vector<size_t> find_lines(const std::vector<uint32_t>& in, const std::vector<uint32_t>& what,
                               size_t from, size_t most) {
    std::vector<size_t> border(what.size() + 1, 0), found;
    for (size_t i = 1, k = 0; i < what.size(); border[++i] = k) {
        while (k && what[i] != what[k]) k = border[k];
        if (what[i] == what[k]) ++k;
    }
    for (size_t i = from, k = 0; i < in.size() && found.size() < most; ++i) {
        while (k && (k == what.size() || in[i] != what[k])) k = border[k];
        if (in[i] == what[k]) ++k;
        if (k == what.size()) found.push_back(i + 1 - k);
    }
    return found;
}

class Application {
  public:
    explicit Application(const std::string& text)
        : text_(text),
          end_(line_end_of(text)),
          lines_(lines_of(text)),
          open_(!lines_.empty() && lines_.back().end.empty()),
          exact_(false),
          loose_(true) {
        for (const FileLine& line : lines_) {
            exact_lines_.push_back(exact_.of(line.text));
            loose_lines_.push_back(loose_.of(line.text));
        }
    }
    void apply(Hunk hunk) {
        size_t at = 0;
        try {
            at = find(hunk);
        } catch (const Error&) {  // an empty line at its end may be for the eye
            if (hunk.lines.back().kind != ' ' || !hunk.lines.back().text.empty()) throw;
            hunk.lines.pop_back();
            at = find(hunk);
        }
        for (; done_ < at; ++done_) out_.push_back(std::move(lines_[done_]));
        const size_t first = out_.size() + 1;
        for (const Hunk::Line& line : hunk.lines) {
            if (line.kind == '+')
                out_.push_back({line.text, std::string(end_)});
            else if (line.kind == '-')
                ++done_;
            else
                out_.push_back(std::move(lines_[done_++]));
        }
        places_.emplace_back(first, std::max(first, out_.size()));
    }
    Patched finish() {
        for (; done_ < lines_.size(); ++done_) out_.push_back(std::move(lines_[done_]));
        Patched patched{{}, std::move(places_)};
        for (size_t i = 0; i < out_.size(); ++i) {
            patched.text += out_[i].text;
            if (i + 1 < out_.size())
                patched.text += out_[i].end.empty() ? end_ : std::string_view(out_[i].end);
            else if (!open_)
                patched.text += out_[i].end;
        }
        return patched;
    }

  private:
    // The line after which the hunk is to be looked for, and whether one was named.
    size_t pass_anchors(const Hunk& hunk) {
        size_t at = done_;
        for (size_t i = 0; i < hunk.anchors.size(); ++i) {
            const std::string_view wanted = without_blanks(hunk.anchors[i]);
            const size_t from = i ? at + 1 : at;
            at = from;
            while (at < lines_.size() && lines_[at].text != hunk.anchors[i]) ++at;
            if (at == lines_.size())
                for (at = from; at < lines_.size() && without_blanks(lines_[at].text) != wanted;)
                    ++at;
            if (at == lines_.size())
                throw Error("there is no line as its @@ names" + after_last() + ": " +
                            quoted_line(hunk.anchors[i]));
        }
        return at;
    }
    size_t find(const Hunk& hunk) {
        const size_t from = pass_anchors(hunk);
        std::vector<std::string> old;
        for (const Hunk::Line& line : hunk.lines)
            if (line.kind != '+') old.push_back(line.text);
        if (old.empty()) {
            if (hunk.at_end || lines_.empty()) return lines_.size();
            if (!hunk.anchors.empty()) return from + 1;
            throw Error("it says not where: give lines of context, or *** End of File after it");
        }
        for (const bool loosely : {false, true}) {
            std::vector<size_t> places = places_of(old, from, loosely);
            if (hunk.at_end)
                std::erase_if(places, [&](size_t at) { return at + old.size() != lines_.size(); });
            if (places.size() == 1 || (!places.empty() && !loosely && !hunk.anchors.empty()))
                return places.front();
            if (places.empty()) continue;
            for (size_t& place : places) ++place;
            throw Error("it fits in several places, from lines " + listed(places) +
                        ": give more context, or an @@ line that comes before it");
        }
        std::string wanted;
        for (const std::string& line : old) wanted += line + "\n";
        throw Error("its context and removed lines do not occur" + after_last() + ": " +
                    nearest(text_, wanted));
    }
    std::vector<size_t> places_of(const std::vector<std::string>& old, size_t from, bool loosely) {
        std::vector<uint32_t> what;
        for (const std::string& line : old) what.push_back((loosely ? loose_ : exact_).of(line));
        return find_lines(loosely ? loose_lines_ : exact_lines_, what, from, lines_.size());
    }
    std::string after_last() const {
        return done_ ? " after line " + std::to_string(done_) +
                           ", where the hunk before it ends (hunks go down the file)"
                     : "";
    }

    const std::string& text_;
    std::string_view end_;
    std::vector<FileLine> lines_;
    bool open_;  // without a newline at its end
    Numbers exact_, loose_;
    std::vector<uint32_t> exact_lines_, loose_lines_;
    size_t done_ = 0;  // lines that are in `out_`, or gone
    std::vector<FileLine> out_;
    std::vector<std::pair<size_t, size_t>> places_;
};

// One file of a patch that can be carried out.
struct Planned {
    FilePatch patch;
    Place place, destination;
    struct stat info {};
    Patched result;
    std::optional<NewFile> fresh = {};
    bool written = false, removed = false;

    bool goes() const { return patch.kind == FilePatch::Kind::Delete || !patch.to.empty(); }
    bool stays() const { return patch.kind != FilePatch::Kind::Delete; }
    bool finished() const { return written == stays() && removed == goes(); }
    std::string what() const {
        const char* const kVerbs[] = {"added ", "updated ", "deleted "};
        return kVerbs[static_cast<int>(patch.kind)] + printable(patch.path) +
               (patch.to.empty() ? "" : ", moved to " + printable(patch.to)) + "\n";
    }
    // What is still to be done of it.
    std::string left() const {
        if (written) return "delete " + printable(patch.path) + " (its new text is at " + printable(patch.to) + " already)\n";
        const char* const kVerbs[] = {"add ", "update ", "delete "};
        return kVerbs[static_cast<int>(patch.kind)] + printable(patch.path) + "\n";
    }
};

class Plan {
  public:
    explicit Plan(const json::Value& request)
        : request_(request), workspace_(request.text("workspace")) {}

    void add(FilePatch patch) {
        Planned planned{std::move(patch), {}, {}, {}, {}};
        const FilePatch& file = planned.patch;
        once(file.path);
        planned.place = find_place(request_, file.path, Use::Write);
        if (file.kind == FilePatch::Kind::Add) {
            require_free(planned.place);
            planned.result.text = file.content;
        } else if (file.kind == FilePatch::Kind::Delete) {
            planned.info = *find_removable(planned.place, nullptr).replaced;
            if (request_.find("seen") && request_.find("seen")->find(name_of(file.path)))
                require_unchanged(request_, file.path, read_whole(planned.place).text);
        } else {
            plan_update(planned);
        }
        if (planned.result.text.size() > kMaxWhole)
            throw Error(printable(file.path) + ": it would be longer than 1 MiB: use shell for it");
        if (planned.info.st_ino &&
            !inodes_.insert({planned.info.st_dev, planned.info.st_ino}).second)
            throw Error(printable(file.path) + ": is a file that the patch names by another path");
        files_.push_back(std::move(planned));
    }

    // All is written beside its place first: a full disk, or a folder that takes nothing, changes nothing. What
    // is to go goes last, when all else is there.
    json::Value carry_out() {
        try {
            for (Planned& file : files_) prepare(file);
        } catch (const Error& error) {
            drop();
            throw Error(std::string(error.what()) + "; nothing was written");
        }
        try {
            for (Planned& file : files_)
                if (file.stays()) put_in_place(file);
            for (Planned& file : files_)
                if (file.goes()) remove(file);
        } catch (const Error& error) {
            drop();
            throw Error(error.what() + how_far());
        }
        return report();
    }

  private:
    std::string name_of(const std::string& path) const { return seen_name(path, workspace_); }
    void once(const std::string& path) {
        if (!names_.insert(name_of(path)).second)
            throw Error(printable(path) + ": is named twice: put all hunks of a file together");
    }
    static void require_free(const Place& place) {
        if (find_landing(place, Folders::Leave).replaced)
            throw Error(printable(place.given) + ": is there already: use Update File or write");
    }
    void plan_update(Planned& planned) {
        const FilePatch& file = planned.patch;
        WholeText whole = read_whole(planned.place);
        planned.info = whole.info;
        require_unchanged(request_, file.path, whole.text);
        const Landing landing = file.to.empty() ? find_landing(planned.place, Folders::Leave)
                                                : find_removable(planned.place, nullptr);
        require_same(file.path, landing, whole.info);
        require_replaceable(file.path, *landing.replaced);
        try {
            planned.result = apply_hunks(whole.text, file.hunks);
        } catch (const Error& error) {
            throw Error(printable(file.path) + ": " + error.what());
        }
        if (file.to.empty()) return;
        once(file.to);
        planned.destination = find_place(request_, file.to, Use::Write);
        require_free(planned.destination);
    }
    static void prepare(Planned& file) {
        if (file.goes()) require_may_remove(file.place, file.info);
        if (!file.stays()) return;
        const bool made = file.patch.kind == FilePatch::Kind::Add || !file.patch.to.empty();
        const Place& place = file.patch.to.empty() ? file.place : file.destination;
        Landing landing = find_landing(place, made ? Folders::Make : Folders::Leave);
        if (made && landing.replaced)
            throw Error(printable(place.given) + ": has come to be there meanwhile");
        if (!made) require_same(place.given, landing, file.info);
        file.fresh.emplace(place.given, std::move(landing), file.result.text,
                           made && file.info.st_ino ? &file.info : nullptr);
    }
    static void put_in_place(Planned& file) {
        file.fresh->put_in_place();
        file.written = true;
    }
    static void remove(Planned& file) {
        remove_file(file.place, file.info);
        file.removed = true;
    }
    // The last one first: the folders of the first are empty then.
    void drop() {
        for (auto file = files_.rbegin(); file != files_.rend(); ++file) file->fresh.reset();
    }
    // For the model: what it finds changed, and what not.
    std::string how_far() const {
        std::string made, left;
        bool any = false;
        for (const Planned& file : files_) {
            any = any || file.written || file.removed;
            (file.finished() ? made : left) += file.finished() ? file.what() : file.left();
        }
        return any ? "; written before that:\n" + made + "not done:\n" + left : "; nothing was written";
    }
    json::Value report() const {
        json::Value seen = json::Value::object();
        std::string made, shown;
        uint64_t bytes = 0;
        for (const Planned& file : files_) {
            const std::string stays = file.patch.to.empty() ? file.patch.path : file.patch.to;
            if (file.goes()) seen.set(name_of(file.patch.path), nullptr);
            if (file.stays()) seen.set(name_of(stays), content_mark(file.result.text));
            made += file.what();
            bytes += file.result.text.size();
            for (const auto& [first, last] : file.result.places)
                if (shown.size() < kMaxShown)
                    shown += printable(stays) + ":\n" + numbered(file.result.text, first, last);
        }
        return done(made + shown, bytes, std::move(seen));
    }

    const json::Value& request_;
    std::string workspace_;
    std::set<std::string> names_;
    std::set<std::pair<dev_t, ino_t>> inodes_;
    std::vector<Planned> files_;
};

}  // namespace

std::vector<FilePatch> parse_patch(const std::string& text) {
    if (text.size() > kMaxPatch) throw Error("patch: longer than 256 KiB");
    return Parser(text).parse();
}

Patched apply_hunks(const std::string& text, const std::vector<Hunk>& hunks) {
    const bool marked = text.starts_with(kByteOrderMark);
    const std::string body = text.substr(marked ? kByteOrderMark.size() : 0);
    Application application(body);
    for (size_t i = 0; i < hunks.size(); ++i) try {
            application.apply(hunks[i]);
        } catch (const Error& error) {
            throw Error("hunk " + std::to_string(i + 1) + ": " + error.what());
        }
    Patched patched = application.finish();
    if (marked) patched.text.insert(0, kByteOrderMark);
    return patched;
}

json::Value patch_files(const json::Value& request) {
    Plan plan(request);
    try {
        for (FilePatch& file : parse_patch(request.text("patch"))) plan.add(std::move(file));
    } catch (const Error& error) {
        throw Error(std::string(error.what()) + "; nothing was written");
    }
    return plan.carry_out();
}

std::vector<std::string> patched_paths(const std::string& text) {
    std::vector<std::string> paths;
    for (const std::string& line : split(text, '\n'))
        for (const std::string_view marker : {kAdd, kUpdate, kDelete, kMove})
            if (line.starts_with(marker))
                paths.emplace_back(without_blanks(std::string_view(line).substr(marker.size())));
    return paths;
}

}  // namespace peacrab
