// The model route: what stands on the host at the end of a `model` stream of the guest. A child of
// the gateway, one per stream: reads HTTP/1.1 requests from the connected socket it inherits,
// passes on those of the server's dialect and nothing else, and puts the real key in where TLS starts,
// or answers as the demo model. Which of the two is looked up at each request, so that a key set
// later works at the next message. Blocking; ends with the stream.
#pragma once

#include <string>

#include "budget/spending.h"
#include "http.h"
#include "http_server.h"
#include "config/model_choice.h"

namespace peacrab {

struct ModelRouteOptions {
    int fd = 3;           // the stream; not owned
    ModelConfig config;   // of the person: which model, which server
    std::vector<std::string> models;  // others of it that may be asked for: agents' own, fallbacks
    std::string secrets;  // folder of the key store; empty: the person's own
    const char* key_variable = nullptr;  // asked when the store has no key; null: the server's own
    HttpOptions upstream = [] {                      // proxy and CA of the person's environment
        HttpOptions http;
        http.environment = true;
        return http;
    }();
    HttpServerLimits limits;
    // Where it is written down what is spent, and by whom; before a request goes out it is asked whether
    // anything may be. Empty: neither (a test's).
    std::string book;
    std::string agent;
    Spending spending;
};

// The agent and the book from a job the gateway has written. Throws Error.
std::string model_job(const std::string& agent, const std::string& book);
void read_model_job(const std::string& job, ModelRouteOptions& options);

// Serves until the stream ends. Gives the exit code: 0, or 1 when the stream broke or the guest
// did what is not allowed to anybody (said on stderr). Throws nothing.
int serve_model_route(const ModelRouteOptions& options);

// The same as a whole process: bounds its own memory first.
int model_route_main(const ModelRouteOptions& options);

// The decision and the presence of keys, as serve_model_route() makes it at each request. Used by
// the gateway to say what answers. Throws Error for a bad model_url.
ModelChoice choose_model_here(const ModelRouteOptions& options);

}  // namespace peacrab
