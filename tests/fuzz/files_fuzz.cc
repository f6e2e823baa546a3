// What a host reads of an agent's folder: listings and the verdict behind them, where links lead; and the ignore
// rules, which either side may have written.
//
// What was read says the same when it is written and read again; no path leads out of the folder; a star matches
// as it would if every way were tried; a link that is taken leads nowhere above its folder.
#include "dir_plan.h"
#include "error.h"
#include "files/ignore.h"
#include "files_answer.h"
#include "fuzz.h"

using namespace peacrab;

namespace {

void require_within(const std::string& path) {
    require(!path.empty() && path[0] != '/' && path.find('\0') == std::string::npos);
    for (const std::string& part : split(path, '/')) require(!part.empty() && part != "." && part != "..");
}

// A link that is taken names something in its folder: followed by its letters alone, nothing being a link.
void require_led_within(const std::string& path, const std::string& target) {
    require(target[0] != '/');
    int64_t depth = 0;
    for (const std::string& part : split(path.substr(0, path.rfind('/') + 1) + target, '/')) {
        if (part.empty() || part == ".") continue;
        depth += part == ".." ? -1 : 1;
        require(depth >= 0);
    }
}

void listing(const std::string& text) {
    const std::vector<std::string> lines = split(text, '\n');
    size_t next = 0;
    Listing found;
    try {
        const FilesVerdict verdict = read_listing(
            [&] {
                if (next == lines.size()) throw Error("the end");
                return lines[next++];
            },
            found);
        require(is_shown_line(verdict.why));
    } catch (const Error&) {
    }
    for (const auto& [path, entry] : found) {
        require_within(path);
        require(entry.target.empty() == (entry.kind != Listed::Kind::Link));
        if (!entry.target.empty() && !leads_out(path, entry.target)) require_led_within(path, entry.target);
        const std::string line = listing_line(path, entry);
        require(line.find('\n') == line.size() - 1);
        const auto [again, same] = parse_listing_line(line.substr(0, line.size() - 1));
        require(again == path && same == entry);
        (void)guard_of(path);
    }
}

bool every_way(std::string_view pattern, std::string_view name) {
    if (pattern.empty()) return name.empty();
    if (pattern[0] == '*')
        return every_way(pattern.substr(1), name) || (!name.empty() && every_way(pattern, name.substr(1)));
    return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
           every_way(pattern.substr(1), name.substr(1));
}

void part(const std::string& pattern, const std::string& name) {
    const bool matches = matches_part(pattern, name);
    if (pattern.find_first_of("[\\") == std::string::npos && pattern.size() <= 12 && name.size() <= 12)
        require(matches == every_way(pattern, name));
}

void rules(const std::string& folder, const std::string& text, const std::string& path) {
    if (folder == ".") return;  // is written so for the topmost
    Ignore given, passed_on;
    try {
        given.add_file("", "*.keep\n" + text.substr(0, text.size() / 2));
        given.add_file(folder, text.substr(text.size() / 2));
        passed_on.add_text(given.text());
    } catch (const Error&) {
        return;
    }
    require(passed_on.text() == given.text());
    for (const Ignore::What what : {Ignore::What::File, Ignore::What::Folder}) {
        require(given.leaves_out(path, what) == passed_on.leaves_out(path, what));
        require(given.leaves_out_within(path, what) == passed_on.leaves_out_within(path, what));
        if (given.leaves_out(path, what)) require(given.leaves_out_within(path, what));
    }
}

void hostile_rules(const std::string& text) {
    Ignore rules;
    try {
        rules.add_text(text);
    } catch (const Error&) {
    }
    (void)rules.leaves_out_within("a/b.c", Ignore::What::File);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 3);
    switch (input.kind % 4) {
        case 0: listing(input.texts[0]); break;
        case 1: part(input.texts[0], input.texts[1]); break;
        case 2: rules(input.texts[0], input.texts[1], input.texts[2]); break;
        default: hostile_rules(input.texts[0]); break;
    }
    return 0;
}
