// Hooks: programs of the operator's that are run before and after calls. Which, is in the configuration; the
// programs lie in its folder `hooks`, and travel together with these rows (skills/folders), so that no call is
// ever looked at by half a version.
//
//     hooks:
//       - event: before-tool        # or after-tool
//         tools: [shell, write]     # absent: all
//         run: check.sh             # in the folder hooks
//         timeout: 5                # seconds, up to 60
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/yaml.h"
#include "json.h"
#include "types.h"

namespace peacrab {

struct Hook {
    enum class Event { BeforeTool, AfterTool } event = Event::BeforeTool;
    std::string program;             // a name, no path
    std::vector<std::string> tools;  // none: all
    Seconds limit{5};
    bool operator==(const Hook&) const = default;
};
constexpr size_t kMaxHooks = 16;

const char* hook_event_name(Hook::Event event);  // "before-tool"
bool wants(const Hook& hook, Hook::Event event, std::string_view tool);

// Throws Error("line N: …").
std::vector<Hook> read_hooks(const yaml::Node& list);
// As they travel. hooks_from throws Error on what hooks_to_json would not have made.
json::Value hooks_to_json(const std::vector<Hook>& hooks);
std::vector<Hook> hooks_from(const json::Value& rows);

// What is in force in a guest: the rows and where their programs are. Until it is known every call is
// refused, by `missing`.
struct HookSet {
    std::vector<Hook> hooks = {};
    std::string folder = {};   // "": there is none, and each hook's program is missing
    std::string missing = {};  // why it is not known
};

}  // namespace peacrab
