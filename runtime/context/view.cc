// A journal may be damaged or of another version, so everything here has an answer for any entries. What is
// shown depends on nothing but the entries: two builds of one conversation are the same bytes, or the
// provider's cache would miss.
#include "context/view.h"

#include <algorithm>

#include "os.h"

namespace peacrab {
namespace {

struct Step {
    int64_t seq = 0;
    bool sums_up = false;
    ShownState after;
};

std::vector<Step> steps(const std::vector<Entry>& entries) {
    std::vector<Step> all;
    for (const Entry& entry : entries) {
        if (entry.kind != Entry::Kind::Summary) continue;
        const json::Value& content = entry.content;
        if (const int64_t back = content.integer("undo"); back > 0) {
            while (!all.empty() && all.back().seq >= back) all.pop_back();
            continue;
        }
        Step step{entry.seq, false, all.empty() ? ShownState() : all.back().after};
        const int64_t upto = content.integer("upto");
        const std::string text = content.text("text");
        if (upto > step.after.upto && upto < entry.seq && !text.empty()) {
            step.after.upto = upto;
            step.after.text = text;
            step.sums_up = true;
        }
        step.after.stubs = std::max(step.after.stubs, std::min(content.integer("stubs"), entry.seq));
        if (const int64_t window = content.integer("window"); window > 0) {
            step.after.window = static_cast<uint64_t>(window);
            step.after.model = content.text("model");
        }
        all.push_back(std::move(step));
    }
    return all;
}

bool continues(char c) {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// Whole lines where they are not too long, whole characters always.
std::string_view head_of(std::string_view text, size_t most) {
    size_t end = std::min(most, text.size());
    const size_t line = text.rfind('\n', end);
    if (line != std::string_view::npos && line >= end / 2) end = line;
    return utf8_prefix(text, end);
}

std::string_view tail_of(std::string_view text, size_t most) {
    size_t begin = text.size() - std::min(most, text.size());
    const size_t line = text.find('\n', begin);
    if (line != std::string_view::npos && line + 1 < text.size() && line - begin <= most / 2) begin = line + 1;
    while (begin < text.size() && continues(text[begin])) ++begin;
    return text.substr(begin);
}

// As cells/output.h ends the line that says what was cut. A result may make such a line up; it leads no
// further than the model could have gone by itself.
std::string kept_file(std::string_view result) {
    constexpr std::string_view kName = "/out-";
    const size_t said = result.find(" is in /");
    if (said == std::string_view::npos) return {};
    const size_t begin = said + 7;
    const size_t end = result.find_first_of(":,\n ", begin);
    if (end == std::string_view::npos || end - begin > 200) return {};
    const std::string_view path = result.substr(begin, end - begin);
    return path.find(kName) != std::string_view::npos && path.ends_with(".txt") ? std::string(path) : "";
}

// Before an answer, unless it goes on with the one before, or before what was said; not before a result.
bool may_begin(const std::vector<Entry>& entries, size_t at) {
    const Entry::Kind kind = entries[at].kind;
    if (kind == Entry::Kind::User) return true;
    if (kind != Entry::Kind::Assistant) return false;
    for (size_t before = at; before-- > 0;)
        if (entries[before].kind != Entry::Kind::Summary)
            return entries[before].kind != Entry::Kind::Assistant;
    return false;
}

// The newest are shown. They go some at a time: with each that goes, a provider's cache begins anew.
size_t pictures_not_shown(const std::vector<Entry>& entries) {
    constexpr size_t kMost = 8, kAtOnce = 4;
    const auto all = static_cast<size_t>(
        std::count_if(entries.begin(), entries.end(),
                      [](const Entry& entry) { return entry.kind == Entry::Kind::Picture; }));
    return all <= kMost ? 0 : (all - kMost + kAtOnce - 1) / kAtOnce * kAtOnce;
}

constexpr const char* kPictureGone = "\n[the picture is not shown any more; read the file again]";

}  // namespace

std::vector<Entry> standing(std::vector<Entry> entries) {
    std::vector<Entry> out;
    out.reserve(entries.size());
    for (Entry& entry : entries) {
        if (entry.kind != Entry::Kind::Rewind) {
            out.push_back(std::move(entry));
            continue;
        }
        const int64_t from = entry.content.integer("from");
        while (from > 0 && !out.empty() && out.back().seq >= from) out.pop_back();
    }
    return out;
}

std::optional<Entry> rewind_of(const std::vector<Entry>& entries, const std::string& turn) {
    for (const Entry& entry : entries)
        if (entry.turn == turn)
            return Entry{Entry::Kind::Rewind, turn, {}, {},
                         json::Value::object({{"from", entry.seq}, {"turn", turn}}), Outcome::Ok};
    return std::nullopt;
}

ShownState shown_state(const std::vector<Entry>& entries) {
    const std::vector<Step> all = steps(entries);
    return all.empty() ? ShownState() : all.back().after;
}

std::optional<int64_t> newest_summary(const std::vector<Entry>& entries) {
    const std::vector<Step> all = steps(entries);
    const auto found = std::find_if(all.rbegin(), all.rend(), [](const Step& step) { return step.sums_up; });
    return found == all.rend() ? std::nullopt : std::optional(found->seq);
}

std::vector<Entry> shown(const std::vector<Entry>& entries, const ShownState& state) {
    std::vector<Entry> out;
    size_t too_many = pictures_not_shown(entries);
    if (state.upto > 0) {
        Entry summary{Entry::Kind::Summary, {}, {}, state.text, {}, Outcome::Ok, state.upto};
        out.push_back(std::move(summary));
    }
    for (const Entry& entry : entries) {
        if (entry.kind == Entry::Kind::Summary || (state.upto > 0 && entry.seq <= state.upto)) continue;
        if (entry.kind == Entry::Kind::Picture && (entry.seq <= state.stubs || too_many > 0)) {
            if (too_many > 0) --too_many;
            if (!out.empty() && out.back().call == entry.call && out.back().kind != Entry::Kind::Picture) out.back().text += kPictureGone;
            continue;
        }
        out.push_back(entry);
        if (entry.kind == Entry::Kind::Result && state.stubs > 0 && entry.seq <= state.stubs)
            out.back().text = stub(entry.text);
    }
    return out;
}

size_t size_of(const Entry& entry) {
    constexpr size_t kAround = 40;  // roles, ids, brackets
    if (entry.kind == Entry::Kind::Picture) return kPictureSize;
    if (entry.kind == Entry::Kind::Assistant) return json::dump(entry.content).size() + kAround;
    return json::dump(json::Value(entry.text)).size() + kAround;
}

std::string stub(const std::string& result) {
    if (result.size() <= kLongResult) return result;
    const std::string_view head = head_of(result, 700), tail = tail_of(result, 500);
    const std::string file = kept_file(result);
    return std::string(head) + "\n[... " + std::to_string(result.size() - head.size() - tail.size()) +
           " bytes of this older result are not shown any more; " +
           (file.empty() ? "make the call again if you need them" : "all of it is in " + file) + " ...]\n" +
           std::string(tail);
}

std::optional<size_t> cut(const std::vector<Entry>& entries, size_t first, size_t bytes) {
    std::optional<size_t> later;  // the place behind the one that is looked at
    size_t kept = 0;
    for (size_t at = entries.size(); at-- > first + 1;) {
        if (entries[at].kind != Entry::Kind::Summary) kept += size_of(entries[at]);
        if (!may_begin(entries, at)) continue;
        if (kept >= bytes) return kept > 2 * bytes && later ? later : std::optional(at);
        later = at;
    }
    return later;
}

}  // namespace peacrab
