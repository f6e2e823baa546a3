// The front matter is YAML, and where it is none (`description: Use it: often`, an anchor, a tab) the two keys
// that count are taken from their lines. Must not believe anything: names and descriptions come from whoever
// wrote the skill, and end in a system prompt.
#include "skills/skill.h"

#include <algorithm>
#include <optional>

#include "config/yaml.h"
#include "error.h"
#include "json.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kLeastShown = 40;  // of a description; below that one says nothing
constexpr std::string_view kSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// On one line, with single spaces, and nothing a terminal or a reader could be misled by.
std::string one_line(std::string_view text) {
    const std::string shown = printable(json::valid_utf8(text));
    std::string out;
    for (const char c : shown) {
        const bool space = kSpace.find(c) != std::string_view::npos;
        if (!space)
            out += c;
        else if (!out.empty() && out.back() != ' ')
            out += ' ';
    }
    return std::string(trimmed(out));
}

// At most so many bytes, between characters.
std::string shortened(const std::string& text, size_t most) {
    if (text.size() <= most) return text;
    return std::string(trimmed(utf8_prefix(text, most - 3))) + "...";
}

// Line by line, without what ends it.
std::optional<std::string_view> next_line(std::string_view& text) {
    if (text.empty()) return std::nullopt;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

bool is_fence(std::string_view line) {
    return line.starts_with("---") && trimmed(line.substr(3)).empty();
}

// What stands between the first two lines of `---`. Throws Error.
std::string front_matter(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    text = text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
    const auto first = next_line(text);
    if (!first || !is_fence(*first)) throw Error("SKILL.md does not begin with ---, name and description");
    std::string out;
    while (const auto line = next_line(text)) {
        if (is_fence(*line)) return out;
        if (out.size() + line->size() > kMaxFrontMatter)
            throw Error("what SKILL.md begins with is longer than 16 KiB, or has no second ---");
        out.append(*line) += '\n';
    }
    throw Error("SKILL.md has no second ---");
}

struct Said {
    std::string name;
    std::string description;
};

std::string text_of(const yaml::Node& root, const char* key, std::vector<std::string>& warnings) {
    const yaml::Node* const node = root.find(key);
    if (!node || node->kind == yaml::Node::Kind::Null) return {};
    if (node->kind == yaml::Node::Kind::Text) return node->text;
    warnings.push_back(std::string(key) + " is no text");
    return {};
}

Said read_yaml(const yaml::Node& root, std::vector<std::string>& warnings) {
    static constexpr std::string_view kKnown[] = {"name",     "description",   "license", "compatibility",
                                                  "metadata", "allowed-tools"};
    if (root.kind != yaml::Node::Kind::Map) throw Error("`name: …` was expected");
    std::string ignored;
    for (const auto& [key, value] : root.entries)
        if (std::find(std::begin(kKnown), std::end(kKnown), key.text) == std::end(kKnown) &&
            ignored.size() < 200)
            ignored += (ignored.empty() ? "" : ", ") + shortened(one_line(key.text), 40);
    if (!ignored.empty()) warnings.push_back("ignored: " + ignored);
    if (root.find("allowed-tools"))
        warnings.push_back("allowed-tools is not a grant here, and ignored");
    return {text_of(root, "name", warnings), text_of(root, "description", warnings)};
}

// A value as it stands behind its key: without its quotes, or the sign of a block.
std::string plain_value(std::string_view value) {
    value = trimmed(value);
    if (!value.empty() && (value[0] == '|' || value[0] == '>') && value.size() <= 3) return {};
    if (value.size() > 1 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0])
        value = value.substr(1, value.size() - 2);
    return std::string(value);
}

// The first of each counts, with the deeper lines below it.
Said read_lines(std::string_view text) {
    Said said;
    std::string* open = nullptr;
    while (const auto line = next_line(text)) {
        const bool deeper = line->starts_with(' ') || line->starts_with('\t');
        if (deeper && open) {
            *open += " " + std::string(trimmed(*line));
            continue;
        }
        open = nullptr;
        for (const auto& [key, value] : {std::pair{"name:", &said.name}, {"description:", &said.description}}) {
            if (!line->starts_with(key) || !value->empty()) continue;
            *value = plain_value(line->substr(std::string_view(key).size()));
            open = value;
        }
    }
    return said;
}

Said read_front_matter(const std::string& text, std::vector<std::string>& warnings) {
    try {
        return read_yaml(yaml::parse(text), warnings);
    } catch (const Error& error) {
        warnings.push_back("not YAML (" + shortened(one_line(error.what()), 120) +
                           "), so only the lines of name and description were read");
        return read_lines(text);
    }
}

std::string entry_of(const Skill& skill, size_t most) {
    return "\n" + skill.name + ": " + shortened(skill.description, most);
}

size_t size_of(const std::vector<Skill>& skills, size_t count, size_t most) {
    size_t size = 0;
    for (size_t i = 0; i < count; ++i) size += entry_of(skills[i], most).size();
    return size;
}

}  // namespace

bool is_skill_name(std::string_view text) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && text.size() <= 64 && plain(text[0]) &&
           std::all_of(text.begin(), text.end(), [&](char c) {
               return plain(c) || c == '.' || c == '_' || c == '-';
           });
}

Skill read_skill(const std::string& folder, std::string_view text) {
    if (!is_skill_name(folder))
        throw Error("its folder's name cannot be used: letters, digits, `-`, `_` and `.`, at most 64");
    if (text.size() > kMaxSkillText) throw Error("SKILL.md is longer than 256 KiB");
    Skill skill{folder, {}};
    const Said said = read_front_matter(front_matter(text), skill.warnings);
    skill.description = one_line(said.description);
    if (skill.description.empty()) throw Error("SKILL.md has no description");
    const std::string name = one_line(said.name);
    if (name.empty())
        skill.warnings.push_back("it has no name; its folder's is taken");
    else if (name != folder)
        skill.warnings.push_back("it calls itself `" + shortened(name, 64) + "`; its folder's name counts");
    if (skill.description.size() > kMaxDescription) {
        skill.description = shortened(skill.description, kMaxDescription);
        skill.warnings.push_back("its description is longer than 1024 bytes, and was shortened");
    }
    return skill;
}

Catalogue catalogue_of(const std::vector<Skill>& skills, const std::string& root, size_t budget) {
    Catalogue out;
    if (skills.empty()) return out;
    const std::string head =
        "Skills, for when one fits the task: read " + root + "/NAME/SKILL.md first, then follow it.";
    const size_t room = budget > head.size() ? budget - head.size() : 0;
    size_t count = skills.size();
    while (count > 0 && size_of(skills, count, kLeastShown) > room) --count;
    size_t least = kLeastShown, most = kMaxDescription;
    while (least < most) {  // the most that fits
        const size_t middle = (least + most + 1) / 2;
        if (size_of(skills, count, middle) <= room)
            least = middle;
        else
            most = middle - 1;
    }
    if (least < kMaxDescription)
        out.warnings.push_back("descriptions are cut to " + std::to_string(least) + " bytes: all skills together have " +
                               std::to_string(budget));
    if (count < skills.size())
        out.warnings.push_back(std::to_string(skills.size() - count) + " skills do not fit and are left out, from `" +
                               skills[count].name + "` on");
    if (count == 0) return out;
    out.text = head;
    for (size_t i = 0; i < count; ++i) out.text += entry_of(skills[i], least);
    return out;
}

}  // namespace peacrab
