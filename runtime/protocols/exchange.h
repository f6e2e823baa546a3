// One try of a model: one request, and its answer put together or judged.
#pragma once

#include <optional>

#include "protocols/trouble.h"

namespace peacrab {

struct Attempt {
    ModelReply reply;  // whole exactly when there is no problem
    std::optional<Problem> problem;
};

// `messages`: the conversation that is answered, as in ModelRequest. What an event's callback throws
// passes through; nothing else is thrown.
Attempt try_model(const ModelOptions& options, const json::Value& messages, HttpClient& http,
                  HttpRequest& request, const ModelEvents& events, int cancel_fd);

}  // namespace peacrab
