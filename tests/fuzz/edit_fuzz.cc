// What a model wants to have changed in a file that anybody may have written: patches, and one text for another.
//
// A patch takes away only what it names and puts in only what it has: lines are counted. One that replaces all
// lines of a file by all of another makes the other. What stands once is replaced there, and nowhere else. What is
// loosened knows where each of its bytes comes from.
#include <algorithm>
#include <map>

#include "builtins/edit.h"
#include "builtins/patch.h"
#include "builtins/text_match.h"
#include "error.h"
#include "fuzz.h"

using namespace peacrab;

namespace {

// Lines by how often each is there, without what ends it.
std::map<std::string, int64_t> counted(std::string text) {
    std::map<std::string, int64_t> count;
    if (text.ends_with('\n')) text.pop_back();
    for (std::string& line : split(text, '\n')) {
        if (line.ends_with('\r')) line.pop_back();
        ++count[line];
    }
    return count;
}

size_t lines_in(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
}

// One line behind the end is where a hunk has removed the last ones.
void check_places(const std::vector<std::pair<size_t, size_t>>& places, const std::string& text) {
    for (const auto& [first, last] : places) {
        require(first >= 1 && first <= last + 1 && last <= lines_in(text) + 1);
        (void)numbered(text, first, last);
    }
}

// Of an update without anything loose: what was there, without the removed lines, with the added ones.
void check_update(const std::string& text, const FilePatch& patch) {
    Patched patched;
    try {
        patched = apply_hunks(text, patch.hunks);
    } catch (const Error& error) {
        require(!std::string_view(error.what()).empty());
        return;
    }
    check_places(patched.places, patched.text);
    int64_t added = 0, removed = 0;
    for (const Hunk& hunk : patch.hunks)
        for (const Hunk::Line& line : hunk.lines) {
            added += line.kind == '+';
            removed += line.kind == '-';
        }
    const auto total = [](const std::string& body) {
        if (body.empty() || body == kByteOrderMark) return int64_t{0};
        return std::count(body.begin(), body.end(), '\n') + !body.ends_with('\n');
    };
    // A last line that is empty and does not end cannot be told from none.
    const int64_t off = total(patched.text) - (total(text) + added - removed);
    require(off == 0 || off == -1);
    require(patched.text.starts_with(kByteOrderMark) || !text.starts_with(kByteOrderMark));
}

void patch(const std::string& text, const std::string& envelope) {
    const std::vector<std::string> named = patched_paths(envelope);
    std::vector<FilePatch> files;
    try {
        files = parse_patch(envelope);
    } catch (const Error&) {
        return;
    }
    for (const FilePatch& file : files) {
        require(std::find(named.begin(), named.end(), file.path) != named.end());
        if (file.kind == FilePatch::Kind::Update) check_update(text, file);
        else require(file.hunks.empty() && file.to.empty());
    }
}

// The head of a patch for one file, so that chance need not find it.
void update(const std::string& text, const std::string& hunks) {
    patch(text, "*** Begin Patch\n*** Update File: f\n" + hunks + "\n*** End Patch");
}

void whole(const std::string& from, const std::string& to) {
    if (from.empty() || from.find('\r') != std::string::npos || to.find('\r') != std::string::npos ||
        from.starts_with(kByteOrderMark))
        return;
    Hunk hunk;
    for (const std::string& line : split(from, '\n')) hunk.lines.push_back({'-', line});
    for (const std::string& line : split(to, '\n')) hunk.lines.push_back({'+', line});
    require(apply_hunks(from + "\n", {hunk}).text == to + "\n");
}

void replace(const std::string& text, const std::string& old, const std::string& fresh) {
    Edited edited;
    try {
        edited = replace_text(text, old, fresh, Times::Once);
    } catch (const Error&) {
        return;
    }
    check_places(edited.places, edited.text);
    require(edited.places.size() == 1);
    if (edited.loosely || old.starts_with(kByteOrderMark)) return;
    const size_t at = text.find(old);
    require(at != std::string::npos && text.find(old, at + 1) == std::string::npos);
    require(edited.text.starts_with(std::string_view(text).substr(0, at)));
    require(edited.text.ends_with(std::string_view(text).substr(at + old.size())));
}

void loose(const std::string& text) {
    const Loose made = loosen(text);
    require(made.from.size() == made.text.size() && made.to.size() == made.text.size());
    for (size_t i = 0; i < made.text.size(); ++i) {
        require(made.from[i] < made.to[i] && made.to[i] <= text.size());
        require(i == 0 || made.from[i] >= made.from[i - 1]);
    }
    (void)nearest(text, text.substr(text.size() / 3));
    require(counted(with_line_ends(text, "\n")) == counted(with_line_ends(with_line_ends(text, "\r\n"), "\n")));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 3);
    const std::vector<std::string>& texts = input.texts;
    switch (input.kind % 5) {
        case 0: patch(texts[0], texts[1]); break;
        case 1: update(texts[0], texts[1]); break;
        case 2: whole(texts[0], texts[1]); break;
        case 3: replace(texts[0], texts[1], texts[2]); break;
        default: loose(texts[0]); break;
    }
    return 0;
}
