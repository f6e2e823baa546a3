// What answers: which server, with a key or without, or the demo model. A pure decision, used by
// the gateway to say it and by the model route to do it, so the two cannot differ.
#pragma once

#include <string>

#include "types.h"

namespace peacrab {

// What the person configured (config file or --model, --model-url); empty: not given.
struct ModelConfig {
    std::string model;
    std::string model_url;
};

// Where a key could be taken from.
struct KeysPresent {
    bool stored = false;       // the secret store has one
    bool environment = false;  // ANTHROPIC_API_KEY is set and not empty
};

struct ModelChoice {
    enum class Key { None, Stored, Environment };
    bool demo = true;     // the zero value sends nothing anywhere
    std::string url;      // base without /v1/messages and without a slash at its end; empty: demo
    std::string model;    // what the request names
    Key key = Key::None;  // None with a url: the sentinel is sent
    std::string note;     // one sentence for the person when something was left out; else empty
};

constexpr const char* kDemoModel = "demo";  // also a name to ask for

// The config wins over the environment, the store over ANTHROPIC_API_KEY. No key and no url is the
// demo model, and so is the model name "demo" without a url. A key never goes out in clear text:
// over plain http only to this machine. Throws Error for a url that is no http or https one.
ModelChoice choose_model(const ModelConfig& config, KeysPresent keys);

// "api.anthropic.com": who is spoken to, for messages. Port kept, user part and path not.
std::string url_host(const std::string& url);

}  // namespace peacrab
