// Must be pure: the tools stand at the very front of each request, and a byte that differs makes the provider
// read all of it anew.
#include "builtins/tool_set.h"

#include <algorithm>

namespace peacrab {
namespace {

using Type = ToolKey::Type;

bool there(const ToolSchema& tool, const ToolSet& has) {
    if (has.with < tool.with) return false;
    return std::string_view(tool.name) != "message" || !has.may_message.empty();
}

bool there(const ToolKey& key, const ToolSet& has) {
    return key.needs == ToolKey::Needs::Nothing || has.cell;
}

const char* type_name(Type type) {
    if (type == Type::Integer) return "integer";
    return type == Type::Flag ? "boolean" : "string";
}

json::Value schema_of(const ToolSchema& tool) {
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
    // Not said: that there are no further keys. Who tries one is told by policy; here it would stand in each tool.
    json::Value schema = json::Value::object({{"type", "object"}, {"properties", std::move(properties)}});
    if (!required.items().empty()) schema.set("required", std::move(required));
    return schema;
}

json::Value told(const ToolSchema& tool, const std::string& more = {}) {
    return json::Value::object({{"name", tool.name},
                                {"description", tool.description + more},
                                {"input_schema", schema_of(tool)}});
}

// "background (after shell's background: list, read, stop), message (to another agent)"
std::string rarely_used(const std::vector<ToolSchema>& tools) {
    std::string names;
    for (const ToolSchema& tool : tools)
        if (tool.rarely)
            names += (names.empty() ? "" : ", ") + std::string(tool.name) + " (" + tool.rarely + ")";
    return names;
}

}  // namespace

const char* partner_name(Partner partner) {
    return partner == Partner::Person ? "person" : partner == Partner::Agent ? "agent" : "delegate";
}

Partner partner_from(std::string_view name) {
    for (const Partner known : {Partner::Agent, Partner::Person})
        if (name == partner_name(known)) return known;
    return Partner::Delegate;
}

std::vector<ToolSchema> tool_table(const ToolSet& has) {
    std::vector<ToolSchema> tools;
    for (ToolSchema tool : every_tool()) {
        if (!there(tool, has)) continue;
        std::erase_if(tool.keys, [&](const ToolKey& key) { return !there(key, has); });
        for (ToolKey& key : tool.keys)
            if (key.type == Type::Choice && key.choices.empty()) key.choices = has.may_message;
        tools.push_back(std::move(tool));
    }
    return tools;
}

json::Value tools_for_model(const ToolSet& has) {
    const std::vector<ToolSchema> table = tool_table(has);
    json::Value tools = json::Value::array();
    for (const ToolSchema& tool : table)
        if (!tool.rarely) tools.push(told(tool, std::string_view(tool.name) == "more" ? rarely_used(table) : ""));
    return tools;
}

json::Value tool_for_model(const ToolSet& has, std::string_view name) {
    for (const ToolSchema& tool : tool_table(has))
        if (name == tool.name) return told(tool);
    return {};
}

}  // namespace peacrab
