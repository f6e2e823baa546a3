// The demo model: what answers while there is no key. Deterministic, no language model, and every
// finished reply says so. It speaks the Anthropic Messages wire, so that everything below it is
// exercised as by the real thing; what it tells of the machine comes only from tool results.
// Source of the wire: https://docs.anthropic.com/en/api/messages-streaming.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace peacrab {

constexpr const char* kDemoFooter =
    "— demo model: a fixed responder, no language model. Set a key with `peacrab setup`.";

struct DemoAnswer {
    int status = 500;
    json::Value body;                 // the message, or an error of the Anthropic form
    std::vector<std::string> events;  // when the request wants a stream: the same as SSE events
};

// A pure function. Never throws for what the request holds: nonsense is a 400 with a sentence.
// `bytes`: the size of the request, from which the token counters are guessed.
DemoAnswer demo_answer(const json::Value& request, size_t bytes);

// {"type":"error","error":{"type":…,"message":…}}
json::Value error_body(const std::string& type, const std::string& message);

}  // namespace peacrab
