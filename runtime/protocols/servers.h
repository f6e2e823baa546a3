// Which dialect a model's server speaks, where, with which key, and where it differs from others: known
// from its address (servers.def), or from how the address is written.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "types.h"

namespace peacrab {

enum class ModelDialect {
    Unknown,    // the zero value: nothing can be asked
    Anthropic,  // Messages
    Chat,       // OpenAI Chat Completions
    Responses,  // OpenAI Responses
};
const char* dialect_name(ModelDialect dialect);  // "anthropic", "chat", "responses"; Unknown: ""
ModelDialect dialect_from(std::string_view name);  // Unknown for anything else

struct ModelServer {
    const char* name;  // "" of a server that is not known
    const char* host;
    ModelDialect dialect;
    const char* base;
    const char* key_variable;   // where people keep its key; "": it needs none
    const char* default_model;  // "": the first that the server lists
    struct Quirks {
        bool local = false;              // loads the model at the first request, which takes minutes
        bool completion_tokens = false;  // Chat: the bound is called max_completion_tokens
        bool short_ids = false;          // Chat: ids of calls are nine letters and digits
        bool asks_for_parallel = false;  // Chat: several calls at once only with parallel_tool_calls
    } quirks;
};

constexpr Milliseconds kModelLoads{600'000};  // how long a local server may be silent before it answers

std::span<const ModelServer> model_servers();
const ModelServer* server_named(std::string_view name);  // null: there is none

// What an address says. A server that is not known has no name and no quirks; its dialect is Anthropic
// unless the path looks like another's (it ends in "/v1", or "/openai" or "/engines" is in it).
ModelServer server_at(const std::string& url);

// Where requests go: `base` is an address as people write it, with or without "/v1" and slashes.
std::string request_url(std::string base, ModelDialect dialect);

}  // namespace peacrab
