// Decides what answers the agent. Kept apart from the route and free of effects, because the
// gateway tells the person "this is the demo model" before any request is made, and a wrong word
// there would pass a fixed responder off as a model. It must never weaken into sending a key where
// the person did not ask for it: no url means the vendor's own, clear text means no key.
#include "config/model_choice.h"

#include <cstdio>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

struct Url {
    bool https = false;
    bool user = false;  // a "user@" part, which we do not take
    std::string host;   // with its port
};

Url parse_url(const std::string& text) {
    Url url;
    size_t start = 0;
    if (text.starts_with("https://")) {
        url.https = true;
        start = 8;
    } else if (text.starts_with("http://")) {
        start = 7;
    } else {
        throw Error("model url: '" + text + "': it must begin with https:// or http://");
    }
    for (const char c : text)
        if (c <= 0x20 || c == 0x7f || c == '\\')
            throw Error("model url: it has blanks, backslashes or control characters in it");
    if (text.find_first_of("?#") != std::string::npos)
        throw Error("model url: '" + text + "': only scheme, host and path may stand in it");
    url.host = text.substr(start, text.find('/', start) - start);
    url.user = url.host.find('@') != std::string::npos;
    if (url.user || url.host.empty())
        throw Error(
            "model url: give a host name and no user or password; keys go in by `peacrab setup`");
    return url;
}

bool this_machine(const std::string& host) {
    const bool bracket = host.starts_with("[");
    const std::string name =
        bracket ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
    if (name == "localhost" || name == "[::1]") return true;
    // 127.0.0.1 as digits and dots; "127.evil.example" is a name somebody else owns.
    return name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos;
}

ModelChoice::Key choose_key(KeysPresent keys) {
    if (keys.stored) return ModelChoice::Key::Stored;
    return keys.environment ? ModelChoice::Key::Environment : ModelChoice::Key::None;
}

}  // namespace

std::string url_host(const std::string& url) {
    return parse_url(url).host;
}

std::string key_name(const ModelServer& server, const std::string& url) {
    if (*server.name) return server.name;
    // Readable, and no two hosts the same.
    const std::string host = lower(url_host(url));
    std::string name = "at-";
    uint32_t hash = 2166136261u;  // FNV-1a, 32 bits
    for (const char c : host) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
        const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (name.size() < 40) name += plain ? c : '-';
    }
    char number[10];
    std::snprintf(number, sizeof number, "-%08x", hash);
    return name + number;
}

std::string key_variable(const ModelServer& server) {
    if (*server.name) return server.key_variable;
    return server.dialect == ModelDialect::Anthropic ? "ANTHROPIC_API_KEY" : "OPENAI_API_KEY";
}

namespace {

// Without an address: the first in the table whose key is there, a stored one before one that the
// environment happens to have.
const ModelServer* first_with_key(
    const std::function<KeysPresent(const ModelServer&, const std::string&)>& keys) {
    const auto first = [&](bool KeysPresent::*where) -> const ModelServer* {
        for (const ModelServer& server : model_servers())
            if (!server.quirks.local && keys(server, server.base).*where) return &server;
        return nullptr;
    };
    if (const ModelServer* server = first(&KeysPresent::stored)) return server;
    return first(&KeysPresent::environment);
}

}  // namespace

ModelConfig ModelConfig::or_else(const ModelConfig& other) const {
    return {model.empty() ? other.model : model, model_url.empty() ? other.model_url : model_url,
            dialect.empty() ? other.dialect : dialect};
}

ModelChoice choose_model(const ModelConfig& config,
                         const std::function<KeysPresent(const ModelServer&, const std::string&)>& keys) {
    ModelChoice choice;
    choice.model = kDemoModel;
    choice.server.dialect = ModelDialect::Anthropic;  // the demo model's
    const ModelDialect dialect = dialect_from(config.dialect);
    if (!config.dialect.empty() && dialect == ModelDialect::Unknown)
        throw Error("dialect: anthropic, chat or responses was expected");
    if (config.model_url.empty()) {
        const ModelServer* found = config.model == kDemoModel ? nullptr : first_with_key(keys);
        if (!found) return choice;
        choice.server = *found;
        choice.url = found->base;
    } else {
        choice.server = server_at(config.model_url);
        choice.url = config.model_url;
    }
    const Url url = parse_url(choice.url);
    while (choice.url.ends_with('/')) choice.url.pop_back();
    if (dialect != ModelDialect::Unknown) choice.server.dialect = dialect;
    choice.demo = false;
    choice.model = config.model.empty() ? choice.server.default_model : config.model;
    if (choice.model.empty() && choice.server.dialect == ModelDialect::Anthropic)
        choice.model = model_servers().front().default_model;
    choice.key = choose_key(keys(choice.server, choice.url));
    if (choice.key != ModelChoice::Key::None && !url.https && !this_machine(url.host)) {
        choice.key = ModelChoice::Key::None;
        choice.note = "the key is not sent to " + url.host +
                      ": plain http shows it to everyone on the way; give an https address";
    }
    return choice;
}

}  // namespace peacrab
