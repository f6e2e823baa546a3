// The top-level keys and their values; what has keys of its own is read by a file of the room config/.
// An unknown key or a wrong kind is refused rather than guessed at, with its line.
#include "config.h"

#include <charconv>

#include "config/agent_keys.h"
#include "config/search_keys.h"
#include "config/budget_keys.h"
#include "config/yaml.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

std::string xdg(const char* variable, const char* fallback) {
    const std::string value = env(variable);
    if (!value.empty() && value[0] == '/') return value + "/peacrab";
    const std::string home = env("HOME");
    if (home.empty() || home[0] != '/')
        throw Error("config: HOME names no folder: set it, or " + std::string(variable));
    return home + "/" + fallback + "/peacrab";
}

int parse_count(const std::string& text, int least = 1, int most = 256) {
    int count = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (failure != std::errc() || end != text.data() + text.size() || count < least || count > most)
        throw Error("a number from " + std::to_string(least) + " to " + std::to_string(most) + " was expected");
    return count;
}

// False: no plain value has this key.
bool set(Config& config, const std::string& key, const std::string& value) {
    if (key == "model")
        config.model = value;
    else if (key == "model-url")
        config.model_url = value;
    else if (key == "dialect") {
        if (value != "anthropic" && value != "chat" && value != "responses")
            throw Error("anthropic, chat or responses was expected");
        config.dialect = value;
    }
    else if (key == "window")
        config.window = static_cast<uint64_t>(parse_count(value, 4096, 100'000'000));
    else if (key == "search")
        config.search = search_service(value);
    else if (key == "search-url")
        config.search_url = value;
    else if (key == "cpus")
        config.cpus = parse_count(value);
    else if (key == "memory")
        config.memory = parse_size(value);
    else if (key == "disk")
        config.disk = parse_size(value);
    else if (key == "accelerator") {
        if (value != "auto" && value != "kvm" && value != "tcg")
            throw Error("auto, kvm or tcg was expected");
        config.accelerator = value;
    } else {
        return false;
    }
    return true;
}

void read_egress(Config& config, const yaml::Node& list) {
    using Kind = yaml::Node::Kind;
    config.egress_given = true;
    if (list.kind != Kind::List && list.kind != Kind::Null)
        throw Error(at(list) + "egress: lines `- host:port` were expected below it");
    for (const yaml::Node& item : list.items) {
        try {
            if (item.kind != Kind::Text) throw Error("a plain value was expected");
            config.egress.push_back(parse_egress_rule(item.text));
        } catch (const Error& error) {
            throw Error(at(item) + "egress: " + error.what());
        }
    }
}

void read_fallback(Config& config, const yaml::Node& list) {
    using Kind = yaml::Node::Kind;
    if (list.kind != Kind::List && list.kind != Kind::Null)
        throw Error(at(list) + "fallback: lines `- model` were expected below it");
    for (const yaml::Node& item : list.items) {
        if (item.kind != Kind::Text || item.text.empty() || item.text.size() > 200)
            throw Error(at(item) + "fallback: the name of a model was expected");
        if (config.fallback.size() == 8) throw Error(at(item) + "fallback: at most 8 models");
        config.fallback.push_back(item.text);
    }
}

Config read_config(const yaml::Node& root) {
    using Kind = yaml::Node::Kind;
    if (root.kind != Kind::Map && root.kind != Kind::Null)
        throw Error(yaml::at(root) + "`key: value` was expected");
    Config config;
    for (const auto& [key, value] : root.entries) {
        if (key.text == "limits" || key.text == "agents" || key.text == "may-message" ||
            key.text == "egress" || key.text == "fallback" || key.text == "budget" || key.text == "prices" ||
            key.text == "hooks" || key.text == "channels" || key.text == "relay" || key.text == "voice")
            continue;
        try {
            const bool plain = value.kind == Kind::Text || value.kind == Kind::Null;
            if (!set(config, key.text, value.text))
                throw Error("unknown key; known: model, model-url, dialect, fallback, window, search, search-url, cpus, memory, disk, "
                            "accelerator, limits, agents, may-message, budget, prices, egress, hooks, channels, voice, relay");
            if (!plain) throw Error("a plain value was expected");
        } catch (const Error& error) {
            throw Error(yaml::at(key) + printable(key.text) + ": " + error.what());
        }
    }
    config.agents =
        read_agents(root.find("limits"), root.find("agents"), root.find("may-message"));
    config.spending = read_spending(root.find("budget"), root.find("prices"), root.find("agents"));
    if (const yaml::Node* egress = root.find("egress")) read_egress(config, *egress);
    if (const yaml::Node* hooks = root.find("hooks")) config.hooks = read_hooks(*hooks);
    if (const yaml::Node* fallback = root.find("fallback")) read_fallback(config, *fallback);
    return config;
}

}  // namespace

std::string config_folder() {
    return xdg("XDG_CONFIG_HOME", ".config");
}
std::string state_folder() {
    return xdg("XDG_STATE_HOME", ".local/state");
}
std::string cache_folder() {
    return xdg("XDG_CACHE_HOME", ".cache");
}
std::string data_folder() {
    return xdg("XDG_DATA_HOME", ".local/share");
}
std::string config_file() {
    return config_folder() + "/config.yaml";
}

Config parse_config(const std::string& text, const std::string& name) {
    try {
        return read_config(yaml::parse(text));
    } catch (const Error& error) {
        throw Error(name + ": " + error.what());
    }
}

Config load_config(const std::string& path) {
    const std::optional<std::string> text = read_file_if_exists(path, kMaxConfig);
    return text ? parse_config(*text, path) : Config();
}

Bytes parse_size(const std::string& text) {
    uint64_t number = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] = std::from_chars(text.data(), last, number);
    int shift = -1;
    if (end == last)
        shift = 0;
    else if (end + 1 == last) {
        const size_t unit = std::string_view("KMGT").find(*end);
        if (unit != std::string_view::npos) shift = 10 * (static_cast<int>(unit) + 1);
    }
    if (failure != std::errc() || shift < 0 || number == 0 ||
        (number << shift >> shift) != number || number << shift > (uint64_t{1} << 50))
        throw Error("a size such as 512M or 8G was expected, not `" + printable(text) + "`");
    return {number << shift};
}

std::string format_size(Bytes size) {
    static const char* const units[] = {"", "K", "M", "G", "T"};
    size_t unit = 0;
    uint64_t number = size.count;
    while (unit < 4 && number && number % 1024 == 0) {
        number /= 1024;
        ++unit;
    }
    return std::to_string(number) + units[unit];
}

}  // namespace peacrab
