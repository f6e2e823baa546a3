// Skills and hooks: a SKILL.md as anybody has written it, the rows of hooks, and what the child that unpacks them
// tells the warden.
//
// What a model is told of them is on a line each, without a character that hides or that a terminal obeys, and
// within its bound; rows that travel arrive as they were.
#include "error.h"
#include "fuzz.h"
#include "hooks/hook.h"
#include "skills/skill.h"
#include "skills/unpack.h"

using namespace peacrab;

namespace {

void check_skill(const Skill& skill) {
    require(is_skill_name(skill.name));
    require(!skill.description.empty() && skill.description.size() <= kMaxDescription);
    require(is_shown_line(skill.description));
    require(json::valid_utf8(skill.description) == skill.description);
    for (const std::string& warning : skill.warnings) require(is_shown_line(warning) && warning.size() < 512);
}

void skills(const std::vector<std::string>& texts, size_t budget) {
    std::vector<Skill> all;
    for (const std::string& text : texts) {
        try {
            all.push_back(read_skill("s" + std::to_string(all.size()), text));
            check_skill(all.back());
        } catch (const Error& error) {
            require(is_shown_line(error.what()));
        }
    }
    const Catalogue catalogue = catalogue_of(all, "/skills", budget);
    require(catalogue.text.size() <= budget);
    require(json::valid_utf8(catalogue.text) == catalogue.text);
}

void answer(const std::string& text) {
    try {
        const Unpacked unpacked = read_unpacked(text);
        require(unpacked.id.size() == 8 && unpacked.hooks.size() <= kMaxHooks);
        for (const Skill& skill : unpacked.skills) {
            require(is_skill_name(skill.name) && is_shown_line(skill.description));
            require(json::valid_utf8(skill.description) == skill.description);
        }
    } catch (const Error&) {
    }
}

void require_travels(const std::vector<Hook>& hooks) {
    require(hooks.size() <= kMaxHooks);
    for (const Hook& hook : hooks)
        require(hook.program.find_first_of("/'\n ") == std::string::npos && hook.limit <= Seconds(60));
    require(hooks_from(hooks_to_json(hooks)) == hooks);
}

void rows(const std::string& written, const std::string& travelled) {
    try {
        require_travels(read_hooks(yaml::parse(written)));
    } catch (const Error&) {
    }
    try {
        require_travels(hooks_from(json::parse(travelled, {size_t{64} << 10, 4})));
    } catch (const Error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 2);
    switch (input.kind % 4) {
        case 0: skills(input.texts, kMaxCatalogue); break;
        case 1: skills(input.texts, input.kind); break;
        case 2: answer(input.texts[0]); break;
        default: rows(input.texts[0], input.texts[1]); break;
    }
    return 0;
}
