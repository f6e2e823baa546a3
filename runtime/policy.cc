// Whether a call may run: its tool and its arguments against their row of builtins/tool_table.
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

constexpr json::Limits kArgumentLimits{size_t{1} << 20, 4};

const ToolKey* find_key(const ToolSchema& tool, std::string_view name) {
    for (const ToolKey& key : tool.keys)
        if (name == key.name) return &key;
    return nullptr;
}

std::string names_of(const ToolSchema& tool) {
    std::string names;
    for (const ToolKey& key : tool.keys)
        names += (names.empty() ? "" : ", ") + std::string(key.name);
    return names;
}

// What the model said, cut short: it is told back what it got wrong, not all of it.
std::string quoted(std::string_view text) {
    return "\"" + printable(json::valid_utf8(text.substr(0, 60))) + "\"";
}

// Empty when the value fits its key.
std::string complaint(const ToolKey& key, const json::Value& value) {
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
        for (const std::string& choice : key.choices) {
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

std::string complaint(const ToolSchema& tool, const json::Value& arguments) {
    if (!arguments.is_object()) return "the arguments must be one JSON object";
    for (const auto& [name, value] : arguments.members()) {
        const ToolKey* key = find_key(tool, name);
        if (!key) return "unknown key " + quoted(name) + "; known: " + names_of(tool);
        if (std::string why = complaint(*key, value); !why.empty()) return why;
    }
    for (const ToolKey& key : tool.keys)
        if (key.required && !arguments.find(key.name)) return std::string(key.name) + " is missing";
    return tool.combination ? tool.combination(arguments) : std::string();
}

}  // namespace

ToolCall unwrapped(ToolCall call) try {
    if (call.name != "more") return call;
    const json::Value said = json::parse(call.arguments, kArgumentLimits);
    const json::Value* const inner = said.find("arguments");
    const std::string tool = said.text("tool");
    if (!inner || said.members().size() != 2 || tool.empty() || tool == "more") return call;
    if (!inner->is_string() && !inner->is_object()) return call;
    // Some models write the object itself.
    return {call.id, tool, inner->is_string() ? inner->as_string() : json::dump(*inner)};
} catch (const Error&) {
    return call;
}

std::variant<Permit, Denied> authorise(const ToolCall& call, const ToolSet& has) {
    const ToolSchema* tool = nullptr;
    std::string known;
    const std::vector<ToolSchema> table = tool_table(has);
    for (const ToolSchema& row : table) {
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
    if (std::string why = complaint(*tool, arguments);
        !why.empty() && on(Mechanism::PolicySchema))
        return Denied{call.name + ": " + why};
    return Permit(call.id, call.name, std::move(arguments));
}

bool reads_only(std::string_view tool) {
    const ToolSchema* const row = find_tool(tool);
    return row && row->effect == ToolSchema::Effect::Reads;
}

}  // namespace peacrab
