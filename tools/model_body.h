// The body schema of the model route: what a request to a model may ask for. The model's server
// is an allowed host, and some of its features would fetch addresses, run code or store files for
// whoever writes the request: those are refused here, before a key is near.
#pragma once

#include <string>

#include "json.h"
#include "protocols/servers.h"

namespace peacrab {

// Why the request is not passed on, one sentence; empty when it is. Everything that is not named
// in the tables of model_body.cc is refused. Sources: https://docs.anthropic.com/en/api/messages,
// https://platform.openai.com/docs/api-reference/chat and /responses.
std::string body_fault(ModelDialect dialect, const json::Value& body);

}  // namespace peacrab
