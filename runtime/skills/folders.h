// What a person keeps for agents on the host: skills, and programs that are run around calls (hooks); with them
// the skills that came with us. Found and packed into one archive (with the hooks' rows in front), which is all that ever leaves this folder.
//
// Bounded: a skill that does not fit is left out whole. No link is followed and none is packed.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hooks/hook.h"
#include "types.h"

namespace peacrab {

struct SkillPlaces {
    std::string own;      // skills of the person; of the same name they win
    std::string bundled;  // "": none came with this program
    std::string hooks;
};
// In the configuration's folder; those that came with us are found by where our program lies.
SkillPlaces skill_places();

constexpr size_t kMaxPackedFiles = 2000;  // and folders
constexpr Bytes kMaxPacked = MiB(8);

struct Pack {
    struct File {
        std::string from;
        std::string to;  // skills/NAME/… or hooks/…
        bool folder = false;
        bool executable = false;
    };
    struct Found {
        std::string name;
        std::string from;  // its folder
        bool own = false;
    };
    std::vector<File> files;      // hooks first, then the person's skills, then ours
    std::vector<Found> skills;    // in this order
    std::vector<std::string> folders;  // that were looked into: where a change would be
    std::vector<std::string> warnings;
    std::string rows;                  // of hooks, as JSON; "": none
    std::string mark;  // another one when anything of it may have changed
};
Pack find_pack(const SkillPlaces& places, const std::vector<Hook>& hooks = {});
// What the stream says that carries one without rows; of another nothing is known until it has arrived.
constexpr const char* kNoHooks = "no hooks";
// The same bytes for the same files. Throws Error when one of them cannot be read any more.
void write_pack(const Pack& pack, const std::function<void(std::string_view)>& out);

}  // namespace peacrab
