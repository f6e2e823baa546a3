// Patterns come from a folder that may be anybody's work: matching is a table of parts against parts,
// and within a part goes back to the last star alone, so that none takes longer than its lengths
// multiplied.
#include "files/ignore.h"

#include <algorithm>

#include "error.h"
#include "files/listing.h"
#include "os.h"

namespace peacrab {
namespace {

// One `[…]` at `at`, which is behind the bracket. Nothing: it is none. Sets `at` behind it.
bool in_class(std::string_view pattern, size_t& at, unsigned char c, bool& well) {
    size_t i = at;
    const bool other = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
    if (other) ++i;
    bool hit = false;
    for (bool first = true; i < pattern.size() && (first || pattern[i] != ']'); first = false) {
        if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
        const auto low = static_cast<unsigned char>(pattern[i++]);
        auto high = low;
        if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
            i += pattern[i + 1] == '\\' && i + 2 < pattern.size() ? 2 : 1;
            high = static_cast<unsigned char>(pattern[i++]);
        }
        hit = hit || (low <= c && c <= high);
    }
    well = i < pattern.size();
    at = i + 1;
    return hit != other;
}

// One character of the name against what is at `at`, which is moved behind it.
bool matches_one(std::string_view pattern, size_t& at, char c) {
    const char p = pattern[at++];
    if (p == '?') return true;
    if (p == '\\' && at < pattern.size()) return pattern[at++] == c;
    if (p != '[') return p == c;
    bool well = false;
    const bool hit = in_class(pattern, at, static_cast<unsigned char>(c), well);
    return well && hit;
}

// Parts of a pattern against parts of a path; `**` is any number of them. The last row and column first.
bool matches_parts(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
    std::vector<bool> next(path.size() + 1, false);
    next[path.size()] = true;
    for (size_t p = pattern.size(); p-- > 0;) {
        std::vector<bool> now(path.size() + 1, false);
        const bool any = pattern[p] == "**";
        // At the end it is what is inside, not the folder itself.
        const bool some = any && p + 1 == pattern.size();
        now[path.size()] = any && !some && next[path.size()];
        for (size_t i = path.size(); i-- > 0;)
            now[i] = any ? now[i + 1] || (some ? true : next[i])
                         : next[i + 1] && matches_part(pattern[p], path[i]);
        next = std::move(now);
    }
    return next[0];
}

}  // namespace

bool matches_part(std::string_view pattern, std::string_view name) {
    size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = ++p;
            from = n;
            continue;
        }
        if (size_t at = p; p < pattern.size() && matches_one(pattern, at, name[n])) {
            p = at;
            ++n;
            continue;
        }
        if (star == std::string_view::npos) return false;
        p = star;
        n = ++from;
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

void Ignore::add(const std::string& folder, std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    while (line.ends_with(' ') && !line.ends_with("\\ ")) line.remove_suffix(1);
    if (!line.empty() && line[0] != '#') add_rule(folder, line);
}

// `line` as it is in text(): it is read once, so that both sides have the same rule.
void Ignore::add_rule(const std::string& folder, std::string_view line) {
    if (line.empty()) return;
    if (rules_.size() == kMostRules || line.size() > kMaxRule)
        throw Error("ignore files: " + printable(folder.empty() ? "." : folder) +
                    ": more than 4,096 rules in all, or a line longer than 1,024 bytes");
    Rule rule;
    rule.folder = folder;
    rule.line = line;
    rule.keeps = line[0] == '!';
    if (rule.keeps) line.remove_prefix(1);
    rule.folders_only = line.ends_with('/');
    if (rule.folders_only) line.remove_suffix(1);
    rule.bound = line.find('/') != std::string_view::npos;
    for (std::string& part : split(line, '/'))
        if (!part.empty()) rule.parts.push_back(std::move(part));
    if (!rule.parts.empty()) rules_.push_back(std::move(rule));
}

void Ignore::add_file(const std::string& folder, std::string_view text) {
    for (const std::string& line : split(text, '\n')) add(folder, line);
}

bool Ignore::leaves_out(const std::string& path, What what) const {
    const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
    if (name == ".git" || name.starts_with(kOurs)) return true;
    std::vector<std::string> parts;
    for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
        if (rule->folders_only && what == What::File) continue;
        const std::string& folder = rule->folder;
        if (!folder.empty() && !(path.starts_with(folder) && path[folder.size()] == '/')) continue;
        const size_t from = folder.empty() ? 0 : folder.size() + 1;
        const bool hit = rule->bound ? matches_parts(rule->parts, split(path.substr(from), '/'))
                                     : matches_part(rule->parts[0], name);
        if (hit) return !rule->keeps;
    }
    return false;
}

bool Ignore::leaves_out_within(const std::string& path, What what) const {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        if (leaves_out(path.substr(0, slash), What::Folder)) return true;
    return leaves_out(path, what);
}

std::string Ignore::text() const {
    std::string out;
    for (const Rule& rule : rules_)
        out += (rule.folder.empty() ? "." : escaped(rule.folder)) + " " + escaped(rule.line) + "\n";
    return out;
}

void Ignore::add_text(std::string_view text) {
    for (const std::string& line : split(text, '\n')) {
        if (line.empty()) continue;
        const size_t space = line.find(' ');
        if (space == std::string::npos) throw Error("ignore rules: a line that cannot be read");
        const std::string folder = unescaped(line.substr(0, space));
        add_rule(folder == "." ? "" : folder, unescaped(line.substr(space + 1)));
    }
}

}  // namespace peacrab
