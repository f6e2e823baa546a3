// From a journal to what the model is asked. The prefix (tools, system) is byte-stable, so that it
// is cached by the provider; the conversation is repaired where a crash left it unpaired.
#pragma once

#include <string>
#include <vector>

#include "llm.h"
#include "policy.h"
#include "sessions/journal.h"

namespace peacrab {

struct PromptOptions {
    std::string agent;
    std::string workspace;  // as the tools see it
    ToolSet tools;
    std::string skills{};  // the catalogue, as it is to be read (skills/skill.h)
    std::string rules{};   // of the operator; behind all that is the same for every agent
};

// The whole request. Guarantees of the wire (Anthropic Messages): the first message is the user's,
// roles alternate, every tool_use has exactly one tool_result directly after it and first in its
// message (a call without one is reported as interrupted; a result without a call is left out), no
// empty text, at most four cache breakpoints.
// `entries` are those that are to be shown (context/view.h).
ModelRequest build_prompt(const PromptOptions& options, const std::vector<Entry>& entries);

// What the model is told of a call that was started and never finished.
extern const char* const kInterruptedCall;

}  // namespace peacrab
