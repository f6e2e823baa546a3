// What answers: which server in which dialect, with a key or without, or the demo model. A pure decision,
// used by the gateway to say it and by the model route to do it, so the two cannot differ.
#pragma once

#include <functional>
#include <string>

#include "protocols/servers.h"

namespace peacrab {

// What the person configured (config file or --model, --model-url, --dialect); empty: not given.
struct ModelConfig {
    std::string model;
    std::string model_url;
    std::string dialect = {};
    // What is not given here is as in `other`.
    ModelConfig or_else(const ModelConfig& other) const;
};

// Where the key of one server could be taken from.
struct KeysPresent {
    bool stored = false;       // the secret store has it
    bool environment = false;  // its variable is set and not empty
};

struct ModelChoice {
    enum class Key { None, Stored, Environment };
    bool demo = true;     // the zero value sends nothing anywhere
    std::string url;      // as request_url() takes it; empty: demo
    std::string model;    // what the request names; "": the first that the server lists
    ModelServer server{"", "", ModelDialect::Unknown, "", "", "", {}};
    Key key = Key::None;  // None with a url: the sentinel is sent
    std::string note;     // one sentence for the person when something was left out; else empty
};

constexpr const char* kDemoModel = "demo";  // also a name to ask for

// The name of a server's key in the secret store, and the variable it may be in. `url`: of a server that is
// not known, which has a name for each host and port.
std::string key_name(const ModelServer& server, const std::string& url);
std::string key_variable(const ModelServer& server);

// The config wins over the environment, the store over the variable. Without a url it is the first server
// of the table whose key is there; none is the demo model, and so is the model name "demo" without a url.
// A key never goes out in clear text: over plain http only to this machine. Throws Error for a url that is
// no http or https one, and for a dialect that is none.
ModelChoice choose_model(const ModelConfig& config,
                         const std::function<KeysPresent(const ModelServer&, const std::string& url)>& keys);
// "api.anthropic.com": who is spoken to, for messages. Port kept, user part and path not.
std::string url_host(const std::string& url);

}  // namespace peacrab
