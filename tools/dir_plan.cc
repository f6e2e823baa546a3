#include "dir_plan.h"

#include <algorithm>

#include "os.h"

namespace peacrab {

MaybeListed find_listed(const Listing& listing, const std::string& path) {
    const auto it = listing.find(path);
    return it == listing.end() ? std::nullopt : MaybeListed(it->second);
}

std::set<std::string> all_paths(const Listing& one, const Listing& other) {
    std::set<std::string> paths;
    for (const auto& [path, entry] : one) paths.insert(path);
    for (const auto& [path, entry] : other) paths.insert(path);
    return paths;
}

Step send_step(const MaybeListed& base, const MaybeListed& host, const MaybeListed& copy) {
    if (host == base) return Step::Nothing;
    if (copy == host) return Step::Adopt;
    return copy == base ? Step::Bring : Step::Conflict;
}

// The same, from the other side.
Step apply_step(const MaybeListed& base, const MaybeListed& host, const MaybeListed& copy) {
    return send_step(base, copy, host);
}

// Without regard to case: a file system of the host may have none.
Guard guard_of(const std::string& path) {
    static const std::set<std::string> never = {".git", ".hg", ".svn", ".bzr", ".jj"};
    static const std::set<std::string> hooks = {
        ".githooks", ".husky",        ".envrc",    ".direnv",  ".vscode", ".idea",
        ".vs",       ".devcontainer", ".gitconfig", ".claude", ".cursor", ".pre-commit-config.yaml"};
    Guard guard = Guard::None;
    for (const std::string& part : split(path, '/')) {
        const std::string name = lower(part);
        if (never.count(name)) return Guard::Never;
        if (hooks.count(name)) guard = Guard::Hooks;
    }
    return guard;
}

bool leads_out(const std::string& path, const std::string& target) {
    if (target.empty() || target[0] == '/') return true;
    auto above = std::count(path.begin(), path.end(), '/');
    bool named = false;
    for (const std::string& part : split(target, '/')) {
        if (part.empty() || part == ".") continue;
        if (part != "..") named = true;
        else if (named || above-- == 0) return true;
    }
    return false;
}

}  // namespace peacrab
