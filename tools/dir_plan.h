// What becomes of each path of a folder that two work on: pure decisions.
//
// Of each there is what was sent (base), what is here (host) and what the agent has (copy); nothing:
// absent. What one side alone has changed goes to the other; what both have changed is left and named.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "files/listing.h"

namespace peacrab {

using MaybeListed = std::optional<Listed>;
MaybeListed find_listed(const Listing& listing, const std::string& path);
std::set<std::string> all_paths(const Listing& one, const Listing& other);

enum class Step {
    Nothing,
    Bring,     // to the other side
    Adopt,     // both sides are the same already: only the base is behind
    Conflict,  // both have changed it, differently
};
Step send_step(const MaybeListed& base, const MaybeListed& host, const MaybeListed& copy);
Step apply_step(const MaybeListed& base, const MaybeListed& host, const MaybeListed& copy);

// What runs by itself on the person's machine: whoever can write it is the person.
enum class Guard {
    None,
    Hooks,  // only when asked for: .githooks, .husky, .envrc, .vscode, …
    Never,  // .git, .hg, .svn
};
Guard guard_of(const std::string& path);

// Whether a link at `path` could lead out of the folder: an absolute target, more `..` than it is deep, or
// `..` behind a name, which may be a link itself.
bool leads_out(const std::string& path, const std::string& target);

}  // namespace peacrab
