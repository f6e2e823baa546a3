// A skill: a folder with a SKILL.md, which begins with `name` and `description` between lines of `---`.
// What the model is told of each is one line; the rest it reads when it needs it.
//
// Read leniently: real ones bend the format. What was bent is a warning, and only what cannot be used at
// all an Error. Source: https://agentskills.io/specification. Pure; the text is hostile and bounded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct Skill {
    std::string name;         // its folder's
    std::string description;  // one line, no control bytes
    std::vector<std::string> warnings = {};
};

constexpr size_t kMaxSkillText = size_t{256} << 10;  // of a SKILL.md
constexpr size_t kMaxFrontMatter = size_t{16} << 10;
constexpr size_t kMaxDescription = 1024;
constexpr size_t kMaxSkills = 200;
constexpr size_t kMaxCatalogue = 8000;  // bytes, for one agent

// A letter or digit, then these and `.`, `_`, `-`, at most 64: a name is a folder and stands in a path.
bool is_skill_name(std::string_view text);

// `folder`: the name it has; the front matter's own only brings a warning when it differs. Throws Error
// when there is no description to be had.
Skill read_skill(const std::string& folder, std::string_view text);

// What a model is told of them, "" for none: `root` is where it finds their folders. What does not fit is
// shortened, all alike, and dropped from the end when that does not help.
struct Catalogue {
    std::string text;
    std::vector<std::string> warnings;
};
Catalogue catalogue_of(const std::vector<Skill>& skills, const std::string& root,
                       size_t budget = kMaxCatalogue);

}  // namespace peacrab
