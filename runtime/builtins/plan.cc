#include "builtins/plan.h"

#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMostSteps = 50;

const char* state_of(char mark) {
    if (mark == 'x' || mark == 'X') return "done";
    if (mark == '>') return "now";
    return mark == ' ' ? "open" : nullptr;
}

// What models put before a mark out of habit: "- ", "* ", "1. ", "2) ".
std::string_view without_bullet(std::string_view line) {
    size_t at = line.find_first_not_of("0123456789");
    if (at == std::string_view::npos) return line;
    const bool numbered = at > 0 && (line[at] == '.' || line[at] == ')');
    const bool bullet = at == 0 && (line[0] == '-' || line[0] == '*');
    if (numbered || bullet) ++at;
    while (at < line.size() && line[at] == ' ') ++at;
    return numbered || bullet ? line.substr(at) : line;
}

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

}  // namespace

json::Value plan_steps(std::string_view text) {
    json::Value steps;
    for (const std::string& row : split(text, '\n')) {
        std::string_view line = trimmed(row);
        if (line.empty()) continue;
        line = without_bullet(line);
        const char* const state = line.size() > 3 && line[0] == '[' && line[2] == ']' ? state_of(line[1]) : nullptr;
        const std::string_view words = state ? trimmed(line.substr(3)) : std::string_view();
        if (words.empty() || (!steps.is_null() && steps.items().size() == kMostSteps)) return {};
        steps.push(json::Value::object({{"state", state}, {"text", words}}));
    }
    return steps;
}

}  // namespace peacrab
