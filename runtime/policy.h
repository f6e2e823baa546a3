// Pure decisions. What may happen is decided here and nowhere else; the result is data.
//
// A tool runs only with a Permit, and only authorise() can mint one.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "builtins/tool_table.h"
#include "json.h"
#include "types.h"

namespace peacrab {

// Leave to run one tool call, once. Move-only; consumed by the run.
class Permit {
  public:
    Permit(Permit&&) = default;
    Permit& operator=(Permit&&) = default;
    const std::string& call_id() const { return call_id_; }
    const std::string& tool() const { return tool_; }
    const json::Value& arguments() const { return arguments_; }  // checked against the schema

  private:
    friend std::variant<Permit, struct Denied> authorise(const ToolCall& call,
                                                         const struct ToolSet& has);
    Permit(std::string call_id, std::string tool, json::Value arguments)
        : call_id_(std::move(call_id)), tool_(std::move(tool)), arguments_(std::move(arguments)) {}
    std::string call_id_;
    std::string tool_;
    json::Value arguments_;
};

struct Denied {
    std::string why;  // for the model: what to do differently
};

// What an agent has, and with it which tools and keys there are for it. The zero value has least.
struct ToolSet {
    bool cell = false;                     // a container of its own
    std::vector<std::string> may_message;  // agents it has a route to
};

// Opens the arguments against the tool's schema (builtins/tool_table): a tool or
// key this agent has not, bad JSON, a missing or wrong-typed key, over-long text are denied.
std::variant<Permit, Denied> authorise(const ToolCall& call, const ToolSet& has = {});

// Whether a call of this tool changes nothing: such calls may run beside each other.
bool reads_only(std::string_view tool);

std::vector<ToolSchema> tool_table(const ToolSet& has);  // what this agent has, sorted by name
json::Value tools_for_model(const ToolSet& has);         // the `tools` array of a request

}  // namespace peacrab
