// The tools that the warden runs itself: those of the table (builtins/tool_table) that say By::Warden. What such
// a tool does is a file of this room, and a row in tools.cc.
#pragma once

#include <optional>

#include "warden_state.h"

namespace peacrab {

// Runs it. Nothing: its result comes later, with State::finish_call. May throw Error: then the turn fails.
std::optional<ToolResult> run_own_tool(Warden::State& state, RunningTurn& turn, RunningCall& call,
                                       Permit permit);
// Policy has refused a call of any tool.
void own_tool_refused(Warden::State& state, const RunningTurn& turn, const ToolCall& call, const std::string& why);

// The rows.
std::optional<ToolResult> run_ask_user(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);
std::optional<ToolResult> run_delegate(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);
std::optional<ToolResult> run_message(Warden::State& state, RunningTurn& turn, RunningCall& call,
                                      Permit permit);
void message_refused(Warden::State& state, const RunningTurn& turn, const ToolCall& call, const std::string& why);
std::optional<ToolResult> run_more(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);
std::optional<ToolResult> run_plan(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);
std::optional<ToolResult> run_send(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);
std::optional<ToolResult> run_task(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit);

}  // namespace peacrab
