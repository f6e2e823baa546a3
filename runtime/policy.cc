// What the model may call and with which arguments: one table, from which both the check and the
// schema the model is shown are made, so that the two cannot differ.
//
// Pure: no clock, no file, no state. The arguments are the model's own text and hostile until they
// have passed. A refusal is written for the model: it says what to do differently.
#include "policy.h"

#include "error.h"

namespace peacrab {
namespace {

using Type = ToolKey::Type;

// A frame is at most 1 MiB, so no argument can be longer than this in any case.
constexpr int64_t kMaxText = int64_t{1} << 20;
constexpr int64_t kMaxPath = 4095;
constexpr int64_t kMaxCommand = 64 << 10;
constexpr int64_t kMaxLine = int64_t{1} << 40;
constexpr json::Limits kArgumentLimits{size_t{1} << 20, 4};

const std::vector<ToolSchema>& table() {
    static const std::vector<ToolSchema> kTable = {
        {"read",
         "Read a text file. At most 2000 lines or 48 KiB a call; the end says how to go on.",
         {{"path", Type::Text, true, "Absolute, or relative to the workspace", 1, kMaxPath},
          {"offset", Type::Integer, false, "First line, from 1", 1, kMaxLine},
          {"limit", Type::Integer, false, "Number of lines", 1, 2000}}},
        {"shell",
         "Run a command with sh -c in the workspace. No terminal, no network. Files stay; "
         "processes, also background ones, end with the call. Long output is cut in the middle.",
         {{"command", Type::Text, true, "", 1, kMaxCommand},
          {"timeout", Type::Integer, false, "Seconds, default 120", 1, 600}}},
        {"write",
         "Write a whole text file, replacing it; makes missing folders. At most 1 MiB.",
         {{"path", Type::Text, true, "Absolute, or relative to the workspace", 1, kMaxPath},
          {"content", Type::Text, true, "", 0, kMaxText}}},
    };
    return kTable;
}

const ToolSchema* find_tool(std::string_view name) {
    for (const ToolSchema& tool : table())
        if (name == tool.name) return &tool;
    return nullptr;
}

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
    return "\"" + json::valid_utf8(text.substr(0, 60)) + "\"";
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
    if (!value.is_string()) return name + " must be a string";
    const auto length = static_cast<int64_t>(value.as_string().size());
    if (length < key.least) return name + " must not be empty";
    if (length > key.most)
        return name + " is longer than " + std::to_string(key.most) + " bytes; use smaller steps";
    // A path or command ends at a NUL byte for the kernel; what follows would go unseen.
    if (std::string_view(key.name) != "content" &&
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
    return {};
}

}  // namespace

std::variant<Permit, Denied> authorise(const ToolCall& call) {
    const ToolSchema* tool = find_tool(call.name);
    if (!tool) {
        std::string known;
        for (const ToolSchema& row : table())
            known += (known.empty() ? "" : ", ") + std::string(row.name);
        return Denied{"there is no tool " + quoted(call.name) + "; there are: " + known};
    }
    json::Value arguments;
    try {
        arguments = json::parse(call.arguments, kArgumentLimits);
    } catch (const Error& error) {
        return Denied{call.name + ": the arguments are not valid: " +
                      json::valid_utf8(std::string_view(error.what()).substr(0, 200))};
    }
    if (std::string why = complaint(*tool, arguments); !why.empty())
        return Denied{call.name + ": " + why};
    return Permit(call.id, call.name, std::move(arguments));
}

const std::vector<ToolSchema>& tool_table() {
    return table();
}

json::Value tools_for_model() {
    json::Value tools = json::Value::array();
    for (const ToolSchema& tool : table()) {
        json::Value properties = json::Value::object();
        json::Value required = json::Value::array();
        for (const ToolKey& key : tool.keys) {
            json::Value property =
                json::Value::object({{"type", key.type == Type::Integer ? "integer" : "string"}});
            if (*key.description) property.set("description", key.description);
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
