// Which function runs which tool. A tool of the table that has no row here fails closed.
#include "wardens/tools.h"

#include "builtins/plan.h"

namespace peacrab {
namespace {

struct OwnTool {
    const char* name;
    std::optional<ToolResult> (*run)(Warden::State&, RunningTurn&, RunningCall&, Permit);
    void (*refused)(Warden::State&, const RunningTurn&, const ToolCall&, const std::string&) = nullptr;
};

constexpr OwnTool kOwnTools[] = {
    {"ask_user", run_ask_user},
    {"delegate", run_delegate},
    {"message", run_message, message_refused},
    {"more", run_more},
    {"plan", run_plan},
    {"send", run_send},
    {"task", run_task},
};

const OwnTool* find_own(std::string_view name) {
    for (const OwnTool& tool : kOwnTools)
        if (name == tool.name) return &tool;
    return nullptr;
}

}  // namespace

std::optional<ToolResult> run_own_tool(Warden::State& state, RunningTurn& turn, RunningCall& call,
                                       Permit permit) {
    if (const OwnTool* tool = find_own(permit.tool())) return tool->run(state, turn, call, std::move(permit));
    return ToolResult{Outcome::Failed, permit.tool() + ": nobody runs it", permit.tool()};
}

void own_tool_refused(Warden::State& state, const RunningTurn& turn, const ToolCall& call,
                      const std::string& why) {
    const OwnTool* tool = find_own(call.name);
    if (tool && tool->refused) tool->refused(state, turn, call, why);
}

// How to use a tool; one that is to run has been taken out of `more` by policy.
std::optional<ToolResult> run_more(Warden::State& state, RunningTurn& turn, RunningCall&, Permit permit) {
    const std::string name = permit.arguments().text("tool");
    const json::Value told = tool_for_model(state.tools_of(turn), name);
    if (told.is_null())
        return ToolResult{Outcome::Denied, "more: there is no such tool; its description names them", "no such tool"};
    return ToolResult{Outcome::Ok, json::dump(told), name};
}

std::optional<ToolResult> run_plan(Warden::State& state, RunningTurn& turn, RunningCall&, Permit permit) {
    const std::string steps = permit.arguments().text("steps");
    state.count_stored(turn, steps.size());
    if (!state.show(turn.session, turn.id, json::Value::object({{"type", "plan"},
                                                                {"turn", turn_name(turn.id)},
                                                                {"steps", plan_steps(steps)}})))
        return ToolResult{Outcome::Failed, "plan: it could not be stored; go on without", "not stored"};
    return ToolResult{Outcome::Ok, "shown", "plan"};
}

}  // namespace peacrab
