// Decides what answers the agent. Kept apart from the route and free of effects, because the
// gateway tells the person "this is the demo model" before any request is made, and a wrong word
// there would pass a fixed responder off as a model. It must never weaken into sending a key where
// the person did not ask for it: no url means the vendor's own, clear text means no key.
#include "model_choice.h"

#include "error.h"

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

// People write the base with and without "/v1"; the path of the messages brings its own.
std::string clean_base(std::string base) {
    const auto cut_slashes = [&] {
        while (base.ends_with('/')) base.pop_back();
    };
    cut_slashes();
    if (base.ends_with("/v1")) base.resize(base.size() - 3);
    cut_slashes();
    return base;
}

ModelChoice::Key choose_key(KeysPresent keys) {
    if (keys.stored) return ModelChoice::Key::Stored;
    return keys.environment ? ModelChoice::Key::Environment : ModelChoice::Key::None;
}

}  // namespace

std::string url_host(const std::string& url) {
    return parse_url(url).host;
}

ModelChoice choose_model(const ModelConfig& config, KeysPresent keys) {
    ModelChoice choice;
    choice.model = kDemoModel;
    choice.key = choose_key(keys);
    const bool asked_for_demo = config.model == kDemoModel;
    if (config.model_url.empty() && (asked_for_demo || choice.key == ModelChoice::Key::None)) {
        choice.key = ModelChoice::Key::None;
        return choice;
    }
    choice.demo = false;
    choice.model = config.model.empty() ? kDefaultModel : config.model;
    choice.url = config.model_url.empty() ? kDefaultModelUrl : config.model_url;
    choice.url = clean_base(choice.url);
    const Url url = parse_url(choice.url);
    if (choice.key != ModelChoice::Key::None && !url.https && !this_machine(url.host)) {
        choice.key = ModelChoice::Key::None;
        choice.note = "the key is not sent to " + url.host +
                      ": plain http shows it to everyone on the way; give an https address";
    }
    return choice;
}

}  // namespace peacrab
