// Rows as a person writes them, and as they travel. A row that is not understood is an Error everywhere: a
// hook that is left out would be a call that nobody looks at.
#include "hooks/hook.h"

#include <algorithm>
#include <charconv>

#include "builtins/tool_table.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using yaml::Node;

constexpr int64_t kMaxSeconds = 60;

bool is_program_name(std::string_view text) {
    return !text.empty() && text.size() <= 64 && text[0] != '.' && text[0] != '-' &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                      c == '_' || c == '-';
           });
}

Hook::Event event_from(const std::string& name) {
    for (const Hook::Event event : {Hook::Event::BeforeTool, Hook::Event::AfterTool})
        if (name == hook_event_name(event)) return event;
    throw Error("event: before-tool or after-tool was expected");
}

// What both ways of writing have to hold.
void check(const Hook& hook) {
    if (!is_program_name(hook.program))
        throw Error("run: the name of a program in the folder hooks was expected, without a path");
    if (hook.limit < Seconds(1) || hook.limit > Seconds(kMaxSeconds))
        throw Error("timeout: a number of seconds from 1 to 60 was expected");
    for (const std::string& tool : hook.tools)
        if (!find_tool(tool)) throw Error("tools: there is no tool `" + printable(tool.substr(0, 40)) + "`");
}

std::string text_of(const Node& node) {
    if (node.kind != Node::Kind::Text) throw Error("a plain value was expected");
    return node.text;
}

Hook read_hook(const Node& row) {
    if (row.kind != Node::Kind::Map) throw Error("event, tools, run and timeout were expected");
    Hook hook;
    if (!row.find("event") || !row.find("run")) throw Error("event and run are needed");
    for (const auto& [key, value] : row.entries) {
        if (key.text == "event") {
            hook.event = event_from(text_of(value));
        } else if (key.text == "run") {
            hook.program = text_of(value);
        } else if (key.text == "timeout") {
            int64_t seconds = 0;
            const std::string text = text_of(value);
            const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
            const bool number = failure == std::errc() && end == text.data() + text.size();
            hook.limit = Seconds(number ? std::clamp<int64_t>(seconds, 0, kMaxSeconds + 1) : 0);
        } else if (key.text == "tools") {
            if (value.kind != Node::Kind::List || value.items.empty()) throw Error("tools: a list was expected");
            for (const Node& tool : value.items) hook.tools.push_back(text_of(tool));
        } else {
            throw Error("unknown key " + printable(key.text) + "; known: event, tools, run, timeout");
        }
    }
    check(hook);
    return hook;
}

}  // namespace

const char* hook_event_name(Hook::Event event) {
    return event == Hook::Event::BeforeTool ? "before-tool" : "after-tool";
}

bool wants(const Hook& hook, Hook::Event event, std::string_view tool) {
    return hook.event == event &&
           (hook.tools.empty() || std::find(hook.tools.begin(), hook.tools.end(), tool) != hook.tools.end());
}

std::vector<Hook> read_hooks(const Node& list) {
    std::vector<Hook> hooks;
    if (list.kind == Node::Kind::Null) return hooks;
    if (list.kind != Node::Kind::List)
        throw Error(at(list) + "hooks: lines `- event: before-tool` were expected below it");
    for (const Node& row : list.items) {
        try {
            if (hooks.size() >= kMaxHooks) throw Error("at most " + std::to_string(kMaxHooks));
            hooks.push_back(read_hook(row));
        } catch (const Error& error) {
            throw Error(at(row) + "hooks: " + error.what());
        }
    }
    return hooks;
}

json::Value hooks_to_json(const std::vector<Hook>& hooks) {
    json::Value rows = json::Value::array();
    for (const Hook& hook : hooks) {
        json::Value tools = json::Value::array();
        for (const std::string& tool : hook.tools) tools.push(tool);
        rows.push(json::Value::object({{"event", hook_event_name(hook.event)},
                                       {"run", hook.program},
                                       {"tools", tools},
                                       {"seconds", static_cast<int64_t>(hook.limit.count())}}));
    }
    return rows;
}

std::vector<Hook> hooks_from(const json::Value& rows) {
    std::vector<Hook> hooks;
    if (!rows.is_array() || rows.items().size() > kMaxHooks) throw Error("hooks: no such rows");
    for (const json::Value& row : rows.items()) {
        Hook hook;
        hook.event = event_from(row.text("event"));
        hook.program = row.text("run");
        hook.limit = Seconds(std::clamp<int64_t>(row.integer("seconds"), 0, kMaxSeconds + 1));
        for (const json::Value& tool : row.at("tools").items()) hook.tools.push_back(tool.as_string());
        check(hook);
        hooks.push_back(std::move(hook));
    }
    return hooks;
}

}  // namespace peacrab
