#include "builtins/edit.h"

#include <algorithm>

#include "builtins/patch.h"
#include "builtins/text_match.h"
#include "builtins/workspace.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMostNamed = 9;      // places of an ambiguous text
constexpr size_t kMostShown = 3;      // of what was replaced
constexpr size_t kDescribedName = 80;  // bytes of a path, for the person

struct Found {
    std::vector<std::pair<size_t, size_t>> ranges;  // in the text as it is
    bool loosely = false;
};

std::vector<size_t> lines_at(std::string_view text, const std::vector<size_t>& offsets) {
    std::vector<size_t> lines;
    for (const size_t offset : offsets)
        if (const size_t line = line_at(text, offset); lines.empty() || lines.back() != line)
            lines.push_back(line);
    return lines;
}

// Where `old` is but for what nobody sees; nothing unless that is one place.
Found find_loosely(const std::string& text, const std::string& old) {
    const Loose in = loosen(text), what = loosen(old);
    std::vector<size_t> offsets = find_all(in.text, what.text, kMostNamed);
    const size_t length = what.text.size();
    // What ended in blanks is not there where the line goes on.
    if (what.cut_end)
        std::erase_if(offsets, [&](size_t at) {
            return at + length < in.text.size() && in.text[at + length] != '\n';
        });
    if (offsets.empty())
        throw Error("old does not occur: " + nearest(text, old));
    if (offsets.size() > 1)
        throw Error("old does not occur as it stands, and but for blanks, line ends, quotes and "
                    "dashes at lines " + listed(lines_at(in.text, offsets)) +
                    ": give it as it stands, with more lines around it");
    return {{{in.from[offsets[0]], in.to[offsets[0] + length - 1]}}, true};
}

Found find_old(const std::string& text, const std::string& old, Times times) {
    const bool all = times == Times::All;
    const std::vector<size_t> offsets = find_all(text, old, all ? text.size() : kMostNamed,
                                                 all ? Matches::Apart : Matches::Overlapping);
    if (offsets.empty()) return find_loosely(text, old);
    if (offsets.size() > 1 && !all)
        throw Error("old occurs several times, at lines " + listed(lines_at(text, offsets)) +
                    ": give more of the lines around the one that is meant, or all: true");
    Found found;
    for (const size_t at : offsets) found.ranges.emplace_back(at, at + old.size());
    return found;
}

json::Value edit_one(const json::Value& request) {
    const std::string given = request.text("path"), name = printable(given);
    const Place place = find_place(request, given, Use::Write);
    const WholeText whole = read_whole(place);
    require_unchanged(request, given, whole.text);
    Edited edited;
    try {
        edited = replace_text(whole.text, request.text("old"), request.text("new"),
                              request.flag("all") ? Times::All : Times::Once);
    } catch (const Error& error) {
        throw Error(name + ": " + error.what());
    }
    Landing landing = find_landing(place, Folders::Leave);
    require_same(given, landing, whole.info);
    require_replaceable(given, *landing.replaced);
    write_whole(place, std::move(landing), edited.text);
    const size_t count = edited.places.size();
    std::string text = "edited " + name + ": " + std::to_string(count) +
                       (count == 1 ? " replacement" : " replacements") +
                       (edited.loosely ? " (old matched but for blanks, line ends, quotes or dashes)"
                                       : "") +
                       "\n";
    for (size_t i = 0; i < std::min(count, kMostShown); ++i)
        text += (i ? "  ...\n" : "") + numbered(edited.text, edited.places[i].first, edited.places[i].second);
    return done(std::move(text), edited.text.size(),
                json::Value::object(
                    {{seen_name(given, request.text("workspace")), content_mark(edited.text)}}));
}

}  // namespace

Edited replace_text(const std::string& text, std::string old, std::string fresh, Times times) {
    for (std::string* each : {&old, &fresh})
        if (each->starts_with(kByteOrderMark)) each->erase(0, kByteOrderMark.size());
    if (old.empty()) throw Error("old is empty: to make a file or replace all of it, use write");
    if (old == fresh) throw Error("old and new are the same: nothing was done");
    const Found found = find_old(text, old, times);
    fresh = with_line_ends(fresh, line_end_of(text));
    size_t size = text.size();
    for (const auto& [from, to] : found.ranges) size = size - (to - from) + fresh.size();
    if (size > kMaxWhole) throw Error("it would be longer than 1 MiB: use shell for it");
    Edited edited;
    edited.loosely = found.loosely;
    size_t at = 0, line = 1;
    const auto add = [&](std::string_view part) {
        edited.text += part;
        line += static_cast<size_t>(std::count(part.begin(), part.end(), '\n'));
    };
    for (const auto& [from, to] : found.ranges) {
        add(std::string_view(text).substr(at, from - at));
        const size_t first = line;
        add(fresh);
        edited.places.emplace_back(first, fresh.ends_with('\n') ? line - 1 : line);
        at = to;
    }
    add(std::string_view(text).substr(at));
    return edited;
}

json::Value edit_files(const json::Value& request) {
    return request.find("patch") ? patch_files(request) : edit_one(request);
}

std::string shown_edit(const json::Value& arguments) {
    if (!arguments.find("patch")) return arguments.text("path");
    std::string files;
    for (const std::string& path : patched_paths(arguments.text("patch")))
        files += (files.empty() ? "" : ", ") + path.substr(0, kDescribedName);
    return files;
}

}  // namespace peacrab
