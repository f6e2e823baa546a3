// What an agent has, and what of the table of tools is there for it.
#pragma once

#include <string>
#include <vector>

#include "builtins/tool_table.h"
#include "json.h"

namespace peacrab {

// With it come which tools and keys there are. The zero value has least.
struct ToolSet {
    bool cell = false;                     // a container of its own
    std::vector<std::string> may_message;  // agents it has a route to
    Partner with = Partner::Delegate;      // who talks to it in this conversation
};

const char* partner_name(Partner partner);  // "delegate", "agent", "person"
Partner partner_from(std::string_view name);  // any other is Delegate

std::vector<ToolSchema> tool_table(const ToolSet& has);  // what this agent has, sorted by name
// The `tools` array of a request: the same bytes for as long as the agent has the same.
json::Value tools_for_model(const ToolSet& has);
// One of them as the model is told of it: name, description, input_schema. Null: it has none of this name.
json::Value tool_for_model(const ToolSet& has, std::string_view name);

}  // namespace peacrab
