// The operator's hooks around a call (hooks/hook.h): each runs in a throw-away cell that holds nothing of the agent,
// with the hooks' folder read-only, and gets one JSON object on its stdin. A hook can refuse a call, and keep
// what it said from the model; it can widen nothing. What it cannot say is a refusal.
#pragma once

#include "warden_state.h"

namespace peacrab {

// Runs the call when all that are to look at it have let it pass, which may be now or later. Its end is
// State::finish_call's, whatever it is. May throw Error: then the turn fails.
void run_hooked(Warden::State& state, RunningTurn& turn, RunningCall& call, const ToolCall& asked, Permit permit);
// Starts those behind it, once. True: State::finish_call comes again later, with what they made of the result.
bool hooks_after(Warden::State& state, RunningTurn& turn, RunningCall& call, const ToolResult& result);

}  // namespace peacrab
