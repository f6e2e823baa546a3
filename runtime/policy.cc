// What the model may call and with which arguments: one table, from which both the check and the
// schema the model is shown are made, so that the two cannot differ.
//
// Pure: no clock, no file, no state. The arguments are the model's own text and hostile until they
// have passed. A refusal is written for the model: it says what to do differently.
#include "policy.h"

#include <algorithm>

#include "cells/mechanism.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using Type = ToolKey::Type;

// A frame is at most 1 MiB, so no argument can be longer than this in any case.
constexpr int64_t kMaxText = int64_t{1} << 20;
constexpr int64_t kMaxPath = 4095;
constexpr int64_t kMaxPattern = 4096;
constexpr int64_t kMaxCommand = 64 << 10;
constexpr int64_t kMaxPatch = 256 << 10;
constexpr int64_t kMaxMessage = 32 << 10;  // from one agent to another
constexpr int64_t kMaxLine = int64_t{1} << 40;
constexpr json::Limits kArgumentLimits{size_t{1} << 20, 4};

const std::vector<ToolSchema>& table() {
    using Needs = ToolKey::Needs;
    static const std::vector<ToolSchema> kTable = {
        {"background",
         "Look after what shell started with background.",
         {{"action", Type::Choice, true, "", 0, 0, {"list", "read", "stop"}},
          {"id", Type::Text, false, "For read (what is new) and stop", 1, 16}}},
        {"edit",
         "Replace old, which occurs once (all: each time), by new in a text file; or apply patch.",
         {{"path", Type::Text, false, "", 1, kMaxPath},
          {"old", Type::Text, false, "", 1, kMaxText},
          {"new", Type::Text, false, "", 0, kMaxText},
          {"all", Type::Flag, false, ""},
          {"patch", Type::Text, false, "*** Begin Patch ... for several files", 1, kMaxPatch}}},
        {"message",
         "Send a message to another agent. An answer, if any, comes later, as a message.",
         {{"agent", Type::Choice, true, ""}, {"text", Type::Text, true, "", 1, kMaxMessage}}},
        {"read",
         "Read a text file. At most 2000 lines or 48 KiB a call; the end says how to go on.",
         {{"path", Type::Text, true, "In the workspace, or of kept output", 1, kMaxPath},
          {"offset", Type::Integer, false, "First line, from 1", 1, kMaxLine},
          {"limit", Type::Integer, false, "Number of lines", 1, 2000}}},
        {"search",
         "Search text files by regular expression; with glob alone, files by name, newest first.",
         {{"pattern", Type::Text, false, "", 1, kMaxPattern},
          {"path", Type::Text, false, "", 1, kMaxPath},
          {"glob", Type::Text, false, "*.c, src/**", 1, kMaxPattern},
          {"limit", Type::Integer, false, "", 1, 1000}}},
        {"shell",
         "Run a command with sh -c in the workspace. No terminal. Files stay; processes end with "
         "the call. Long output is cut in the middle and kept in a file.",
         {{"command", Type::Text, true, "", 1, kMaxCommand},
          {"timeout", Type::Integer, false, "Seconds, default 120", 1, 3600},
          {"background", Type::Flag, false, "For servers: keeps running, gives an id"},
          {"user", Type::Choice, false, "Not root", 0, 0, {"agent"}, Needs::Cell},
          {"throwaway", Type::Flag, false,
           "In a fresh container without your files; nothing stays", 0, 0, {}, Needs::Cell}}},
        {"write",
         "Write a whole text file, replacing it; makes missing folders. At most 1 MiB.",
         {{"path", Type::Text, true, "In the workspace", 1, kMaxPath},
          {"content", Type::Text, true, "", 0, kMaxText}}},
    };
    return kTable;
}

bool there(const ToolSchema& tool, const ToolSet& has) {
    return std::string_view(tool.name) != "message" || !has.may_message.empty();
}

bool there(const ToolKey& key, const ToolSet& has) {
    return key.needs == ToolKey::Needs::Nothing || has.cell;
}

// Whom it may message is the agent's own; every other choice stands in the table.
const std::vector<std::string>& choices_of(const ToolKey& key, const ToolSet& has) {
    return key.choices.empty() ? has.may_message : key.choices;
}

const ToolKey* find_key(const ToolSchema& tool, std::string_view name, const ToolSet& has) {
    for (const ToolKey& key : tool.keys)
        if (name == key.name && there(key, has)) return &key;
    return nullptr;
}

std::string names_of(const ToolSchema& tool, const ToolSet& has) {
    std::string names;
    for (const ToolKey& key : tool.keys)
        if (there(key, has)) names += (names.empty() ? "" : ", ") + std::string(key.name);
    return names;
}

const char* type_name(Type type) {
    if (type == Type::Integer) return "integer";
    return type == Type::Flag ? "boolean" : "string";
}

// What the model said, cut short: it is told back what it got wrong, not all of it.
std::string quoted(std::string_view text) {
    return "\"" + printable(json::valid_utf8(text.substr(0, 60))) + "\"";
}

// Empty when the value fits its key.
std::string complaint(const ToolKey& key, const json::Value& value, const ToolSet& has) {
    const std::string name = key.name;
    if (key.type == Type::Integer) {
        if (!value.is_integer()) return name + " must be a whole number";
        if (value.as_integer() < key.least || value.as_integer() > key.most)
            return name + " must be " + std::to_string(key.least) + " to " +
                   std::to_string(key.most);
        return {};
    }
    if (key.type == Type::Flag) return value.is_bool() ? "" : name + " must be true or false";
    if (!value.is_string()) return name + " must be a string";
    if (key.type == Type::Choice) {
        std::string known;
        for (const std::string& choice : choices_of(key, has)) {
            if (value.as_string() == choice) return {};
            known += (known.empty() ? "" : ", ") + choice;
        }
        return name + " must be one of: " + known;
    }
    const auto length = static_cast<int64_t>(value.as_string().size());
    if (length < key.least) return name + " must not be empty";
    if (length > key.most)
        return name + " is longer than " + std::to_string(key.most) + " bytes; use smaller steps";
    // A path or command ends at a NUL byte for the kernel; what follows would go unseen.
    if (std::string_view(key.name) != "content" && std::string_view(key.name) != "text" &&
        value.as_string().find('\0') != std::string::npos)
        return name + " must not hold a NUL byte";
    return {};
}

// What the schema of a tool cannot say.
std::string combination(const std::string& tool, const json::Value& arguments) {
    if (tool == "background" && arguments.text("action") != "list" && !arguments.find("id"))
        return "id is missing; the action list shows the ids";
    if (tool == "search" && !arguments.find("pattern") && !arguments.find("glob"))
        return "pattern or glob is missing";
    if (tool == "edit" && arguments.find("patch"))
        return arguments.members().size() == 1 ? "" : "patch goes alone, without path, old and new";
    if (tool == "edit")
        for (const char* name : {"path", "old", "new"})
            if (!arguments.find(name)) return std::string(name) + " is missing (or give a patch)";
    if (tool != "shell" || !arguments.flag("background")) return {};
    if (arguments.find("timeout")) return "timeout and background do not go together";
    if (arguments.flag("throwaway")) return "throwaway and background do not go together";
    return {};
}

std::string complaint(const ToolSchema& tool, const json::Value& arguments, const ToolSet& has) {
    if (!arguments.is_object()) return "the arguments must be one JSON object";
    for (const auto& [name, value] : arguments.members()) {
        const ToolKey* key = find_key(tool, name, has);
        if (!key) return "unknown key " + quoted(name) + "; known: " + names_of(tool, has);
        if (std::string why = complaint(*key, value, has); !why.empty()) return why;
    }
    for (const ToolKey& key : tool.keys)
        if (key.required && !arguments.find(key.name)) return std::string(key.name) + " is missing";
    return combination(tool.name, arguments);
}

}  // namespace

std::variant<Permit, Denied> authorise(const ToolCall& call, const ToolSet& has) {
    const ToolSchema* tool = nullptr;
    std::string known;
    for (const ToolSchema& row : table()) {
        if (!there(row, has)) continue;
        if (call.name == row.name) tool = &row;
        known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    if (!tool)
        return Denied{"there is no tool " + quoted(call.name) + "; there are: " + known};
    json::Value arguments;
    try {
        arguments = json::parse(call.arguments, kArgumentLimits);
    } catch (const Error& error) {
        return Denied{call.name + ": the arguments are not valid: " +
                      json::valid_utf8(std::string_view(error.what()).substr(0, 200))};
    }
    if (std::string why = complaint(*tool, arguments, has);
        !why.empty() && on(Mechanism::PolicySchema))
        return Denied{call.name + ": " + why};
    return Permit(call.id, call.name, std::move(arguments));
}

bool reads_only(std::string_view tool) {
    return tool == "read" || tool == "search";
}

std::vector<ToolSchema> tool_table(const ToolSet& has) {
    std::vector<ToolSchema> tools;
    for (ToolSchema tool : table()) {
        if (!there(tool, has)) continue;
        std::erase_if(tool.keys, [&](const ToolKey& key) { return !there(key, has); });
        for (ToolKey& key : tool.keys)
            if (key.type == Type::Choice) key.choices = std::vector(choices_of(key, has));
        tools.push_back(std::move(tool));
    }
    return tools;
}

json::Value tools_for_model(const ToolSet& has) {
    json::Value tools = json::Value::array();
    for (const ToolSchema& tool : tool_table(has)) {
        json::Value properties = json::Value::object();
        json::Value required = json::Value::array();
        for (const ToolKey& key : tool.keys) {
            json::Value property = json::Value::object({{"type", type_name(key.type)}});
            if (*key.description) property.set("description", key.description);
            for (const std::string& choice : key.choices) {
                if (!property.find("enum")) property.set("enum", json::Value::array());
                property.find("enum")->push(choice);
            }
            properties.set(key.name, std::move(property));
            if (key.required) required.push(key.name);
        }
        tools.push(json::Value::object(
            {{"name", tool.name},
             {"description", tool.description},
             {"input_schema", json::Value::object({{"type", "object"},
                                                   {"properties", std::move(properties)},
                                                   {"required", std::move(required)},
                                                   {"additionalProperties", false}})}}));
    }
    return tools;
}

}  // namespace peacrab
