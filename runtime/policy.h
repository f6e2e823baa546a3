// Pure decisions. What may happen is decided here and nowhere else; the result is data.
//
// A tool runs only with a Permit, and only authorise() can mint one.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "builtins/tool_set.h"
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
    friend std::variant<Permit, struct Denied> authorise(const ToolCall& call, const ToolSet& has);
    Permit(std::string call_id, std::string tool, json::Value arguments)
        : call_id_(std::move(call_id)), tool_(std::move(tool)), arguments_(std::move(arguments)) {}
    std::string call_id_;
    std::string tool_;
    json::Value arguments_;
};

struct Denied {
    std::string why;  // for the model: what to do differently
};

// A call of `more` with arguments is one of the tool it names: from here on nothing else is seen of it. Any
// other call, and one of `more` that cannot be taken apart or names itself, stays as it is.
ToolCall unwrapped(ToolCall call);

// Opens the arguments against the tool's schema (builtins/tool_table): a tool or
// key this agent has not, bad JSON, a missing or wrong-typed key, over-long text are denied.
std::variant<Permit, Denied> authorise(const ToolCall& call, const ToolSet& has = {});

// Whether a call of this tool changes nothing: such calls may run beside each other.
bool reads_only(std::string_view tool);

}  // namespace peacrab
