// The journal alone says what has got as far as the journal: a turn may have been killed between any two of its
// steps, and the warden knows only what it was told.
#include "context/said.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "error.h"
#include "policy.h"

namespace peacrab {
namespace {

// How often something said to each turn was journaled. A result whose call is of an earlier turn was said.
std::map<std::string, size_t> journaled(const std::vector<Entry>& journal) {
    std::map<std::string, size_t> counts;
    std::string calling;
    for (const Entry& entry : journal) {
        if (entry.kind == Entry::Kind::Assistant) calling = entry.turn;
        const bool answer = entry.kind == Entry::Kind::Result && entry.turn != calling;
        if (entry.kind == Entry::Kind::User || answer) ++counts[entry.turn];
    }
    return counts;
}

// The arguments of the call that waits for what is said next; nothing: none does.
std::optional<json::Value> waiting(const std::vector<Entry>& journal, const json::Value& asked) try {
    const std::string call = asked.text("call"), turn = asked.text("turn");
    for (auto entry = journal.rbegin(); entry != journal.rend(); ++entry) {
        if (entry->kind == Entry::Kind::User || (entry->kind == Entry::Kind::Result && entry->call == call)) break;
        if (entry->kind != Entry::Kind::Assistant) continue;
        if (entry->turn != turn || !entry->content.is_array()) break;
        for (const json::Value& block : entry->content.items()) {
            const json::Value* input = block.find("input");
            if (block.text("type") != "tool_use" || block.text("id") != call || !input) continue;
            const ToolCall inner = unwrapped({call, block.text("name"), json::dump(*input)});
            if (inner.name == "ask_user") return json::parse(inner.arguments);
        }
        break;
    }
    return std::nullopt;
} catch (const Error&) {
    return std::nullopt;
}

// "2", or "2" and what the warden puts behind it: the second choice.
std::string answer(const json::Value& arguments, const std::string& text) {
    const size_t end = std::min(text.find("\n\n[background: b"), text.size());
    const std::vector<std::string> choices = choices_in(arguments.text("choices"));
    const size_t begin = text.find_first_not_of(" \t\r\n");
    const size_t last = text.find_last_not_of(" \t\r\n.)", end - 1);
    size_t number = 0;
    if (begin == std::string::npos || last == std::string::npos || last < begin) return text;
    const char* const stop = text.data() + last + 1;
    const auto [rest, fault] = std::from_chars(text.data() + begin, stop, number);
    if (fault != std::errc() || rest != stop || number == 0 || number > choices.size()) return text;
    return choices[number - 1] + text.substr(end);
}

}  // namespace

std::vector<Entry> said_entries(const std::vector<Entry>& journal, const json::Value& start) {
    const auto user = [](const std::string& turn, const std::string& text) {
        return Entry{Entry::Kind::User, turn, {}, text, {}, Outcome::Failed};
    };
    std::vector<Entry> said;
    std::map<std::string, size_t> there = journaled(journal);
    if (const json::Value* earlier = start.find("earlier"))
        for (const json::Value& each : earlier->items()) {
            size_t& count = there[each.text("turn")];
            if (count == 0) said.push_back(user(each.text("turn"), each.text("text")));
            count -= count > 0;
        }
    for (const json::Value& text : start.at("messages").items())
        said.push_back(user(start.text("turn"), text.as_string()));
    const json::Value* const asked = start.find("asked");
    if (said.empty() || !asked) return said;
    if (const std::optional<json::Value> arguments = waiting(journal, *asked)) {
        Entry& first = said.front();
        const std::string words = asked->flag("late") ? first.text : "The person answers: " + answer(*arguments, first.text);
        first = {Entry::Kind::Result, first.turn, asked->text("call"), words, {}, Outcome::Ok};
    }
    return said;
}

}  // namespace peacrab
