// Finds them as the gateway does, and reads them as the guest does. Must not change anything.
#include "skill_commands.h"

#include <cstdio>

#include "config.h"
#include "error.h"
#include "os.h"
#include "skills/folders.h"
#include "skills/skill.h"

namespace peacrab {
namespace {

struct Row {
    Pack::Found found;
    Skill skill;
    std::string unusable;
};

Row read_row(const Pack::Found& found) {
    Row row{found, {found.name, {}}, {}};
    try {
        for (const char* name : {"/SKILL.md", "/skill.md"})
            if (const auto text = read_file_if_exists(found.from + name, Bytes{kMaxSkillText})) {
                row.skill = read_skill(found.name, *text);
                return row;
            }
        row.unusable = "it has no SKILL.md";
    } catch (const Error& error) {
        row.unusable = error.what();
    }
    return row;
}

json::Value texts(const std::vector<std::string>& list) {
    json::Value out = json::Value::array();
    for (const std::string& text : list) out.push(text);
    return out;
}

std::string source_of(const Row& row) { return row.found.own ? "yours" : "bundled"; }

void print_json(const std::vector<Row>& rows, const std::vector<std::string>& warnings) {
    json::Value list = json::Value::array();
    for (const Row& row : rows) {
        json::Value one = json::Value::object({{"name", row.found.name},
                                               {"source", source_of(row)},
                                               {"folder", row.found.from},
                                               {"usable", row.unusable.empty()},
                                               {"description", row.skill.description}});
        std::vector<std::string> all = row.skill.warnings;
        if (!row.unusable.empty()) all.push_back(row.unusable);
        one.set("warnings", texts(all));
        list.push(std::move(one));
    }
    const json::Value all = json::Value::object({{"skills", list}, {"warnings", texts(warnings)}});
    std::printf("%s\n", json::dump(all).c_str());
}

void print_text(const std::vector<Row>& rows, const std::vector<std::string>& warnings) {
    for (const Row& row : rows) {
        std::printf("%-24s %-8s %s\n", row.found.name.c_str(), source_of(row).c_str(),
                    row.unusable.empty() ? row.skill.description.c_str() : "(left out)");
        for (const std::string& warning : row.skill.warnings) std::printf("    warning: %s\n", warning.c_str());
        if (!row.unusable.empty()) std::printf("    left out: %s\n", row.unusable.c_str());
    }
    for (const std::string& warning : warnings) std::printf("warning: %s\n", warning.c_str());
}

}  // namespace

int skill_list(OutputForm form) {
    const SkillPlaces places = skill_places();
    const Pack pack = find_pack(places);
    std::vector<Row> rows;
    std::vector<Skill> usable;
    std::vector<std::string> warnings = pack.warnings;
    for (const Pack::Found& found : pack.skills) {
        rows.push_back(read_row(found));
        if (rows.back().unusable.empty()) usable.push_back(rows.back().skill);
    }
    for (const std::string& warning : catalogue_of(usable, "/skills/00000000").warnings) warnings.push_back(warning);
    if (form == OutputForm::Json) {
        print_json(rows, warnings);
        return 0;
    }
    print_text(rows, warnings);
    std::fprintf(stderr, "peacrab: yours are the folders in %s\n", printable(places.own).c_str());
    return 0;
}

}  // namespace peacrab
