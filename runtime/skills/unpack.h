// The child that unpacks what a person keeps for agents (skills/folders.h): our own program, executed anew in
// jail class file with one folder to write in. It also reads every SKILL.md, so that nobody else has to; its
// answer is one JSON object, hostile to who asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hooks/hook.h"
#include "jail.h"
#include "os.h"
#include "skills/skill.h"

namespace peacrab {

struct Unpacking {
    Pidfd child;
    UniqueFd answer;  // non-blocking; to be read to its end, at most kMaxUnpackAnswer
};
constexpr size_t kMaxUnpackAnswer = size_t{1} << 20;

// `folder`: a fresh one, of `ids` where they are given. Throws Error when it could not be started.
Unpacking start_unpack(const std::optional<Ids>& ids, const std::string& folder, const UniqueFd& archive);

struct Unpacked {
    std::string id;  // of what is in it: eight hexadecimal digits
    std::vector<Skill> skills;
    std::vector<std::string> warnings;
    bool programs = false;  // there is a folder of hooks
    std::vector<Hook> hooks = {};
};
// Throws Error with what went wrong.
Unpacked read_unpacked(std::string_view answer);

// The child's main: archive on stdin, answer on stdout, the folder is the working directory. Gives the exit code.
int skills_unpack_main();

}  // namespace peacrab
