// Everybody can send these requests, so that the signature comes before all else, over the bytes as they came. What is
// missing, twice there or odd is refused.
#include "relay_hooks.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "config/yaml.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using Kind = yaml::Node::Kind;

constexpr size_t kMostHooks = 32;
constexpr int64_t kClockSkew = 300;  // seconds
constexpr size_t kMostOfKey = 200;
constexpr size_t kMostOfChallenge = 200;

bool is_word(std::string_view text, size_t most, std::string_view also) {
    return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || also.find(c) != std::string_view::npos;
    });
}

std::string header_name(const yaml::Node& value) {
    const std::string name = lower(value.text);
    if (!is_word(name, 64, "-_")) throw Error(yaml::at(value) + "the name of a header was expected");
    return name;
}

int64_t number_of(const yaml::Node& value, int64_t most) {
    const std::string& text = value.text;
    const bool digits = !text.empty() && text.size() <= 7 && text.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoll(text) > most) throw Error(yaml::at(value) + "a number up to " + std::to_string(most) + " was expected");
    return std::stoll(text);
}

uint16_t port_of(const yaml::Node& value) {
    constexpr std::string_view kLoopback = "127.0.0.1:";
    if (!value.text.starts_with(kLoopback))
        throw Error(yaml::at(value) + "127.0.0.1:PORT was expected: TLS and the world are the affair of a reverse proxy or a tunnel in front of it");
    yaml::Node port = value;
    port.text = value.text.substr(kLoopback.size());
    const int64_t number = number_of(port, 65535);
    if (number == 0) throw Error(yaml::at(value) + "a port was expected");
    return static_cast<uint16_t>(number);
}

RelayHook read_hook(const yaml::Node& key, const yaml::Node& block) {
    RelayHook hook;
    hook.name = key.text;
    if (!is_word(hook.name, 24, "-")) throw Error(yaml::at(key) + "the name of a webhook is at most 24 small letters, digits and -");
    if (block.kind != Kind::Map) throw Error(yaml::at(key) + "`scheme: whatsapp` or `scheme: signed` was expected below it");
    bool has_scheme = false, has_hourly = false;
    for (const auto& [name, value] : block.entries) {
        if (value.kind != Kind::Text) throw Error(yaml::at(name) + printable(name.text) + ": a plain value was expected");
        if (name.text == "scheme") {
            has_scheme = value.text == "whatsapp" || value.text == "signed";
            hook.scheme = value.text == "whatsapp" ? RelayHook::Scheme::WhatsApp : RelayHook::Scheme::Signed;
        } else if (name.text == "timestamp") {
            hook.timestamp = header_name(value);
        } else if (name.text == "delivery") {
            hook.delivery = header_name(value);
        } else if (name.text == "hourly") {
            hook.hourly = number_of(value, 5'000);
            has_hourly = true;
        } else {
            throw Error(yaml::at(name) + "unknown key; known: scheme, timestamp, delivery, hourly");
        }
    }
    if (!has_scheme) throw Error(yaml::at(key) + "scheme: whatsapp or signed was expected: what nobody has signed is not taken");
    if (hook.scheme == RelayHook::Scheme::WhatsApp) {
        if (!hook.timestamp.empty() || !hook.delivery.empty()) throw Error(yaml::at(key) + "WhatsApp has neither timestamp nor delivery");
        if (!has_hourly) hook.hourly = 0;
    }
    return hook;
}

RelayConfig read_relay(const yaml::Node& relay) {
    RelayConfig config;
    if (relay.kind == Kind::Null) return config;
    if (relay.kind != Kind::Map) throw Error(yaml::at(relay) + "relay: listen, local or hooks were expected below it");
    for (const auto& [name, value] : relay.entries) {
        if (name.text == "listen") config.listen = port_of(value);
        else if (name.text == "local") config.local = port_of(value);
        else if (name.text != "hooks") throw Error(yaml::at(name) + "unknown key; known: listen, local, hooks");
        else if (value.kind == Kind::Map)
            for (const auto& [hook, block] : value.entries) config.hooks.push_back(read_hook(hook, block));
        else if (value.kind != Kind::Null) throw Error(yaml::at(name) + "hooks: names were expected below it");
    }
    if (config.hooks.size() > kMostHooks) throw Error("relay: at most 32 hooks");
    if (config.listen == config.local) throw Error("relay: listen and local have to be two ports");
    return config;
}

// "sha256=3b9a…" or "3b9a…".
bool signed_by(const std::optional<std::string>& header, const std::string& right) {
    if (!header) return false;
    const std::string given = lower(*header);
    constexpr std::string_view kName = "sha256=";
    return same_secret(given.starts_with(kName) ? std::string_view(given).substr(kName.size()) : std::string_view(given), right);
}

std::string value_of(std::string_view query, std::string_view name) {
    for (const std::string& pair : split(query, '&'))
        if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') return pair.substr(name.size() + 1);
    return {};
}

}  // namespace

const RelayHook* RelayConfig::find(std::string_view name) const {
    const auto found = std::find_if(hooks.begin(), hooks.end(), [&](const RelayHook& hook) { return hook.name == name; });
    return found == hooks.end() ? nullptr : &*found;
}

RelayConfig load_relay(const std::string& path) {
    const std::optional<std::string> text = read_file_if_exists(path, KiB(256));
    if (!text) return {};
    try {
        const yaml::Node root = yaml::parse(*text);
        const yaml::Node* const relay = root.find("relay");
        return relay ? read_relay(*relay) : RelayConfig();
    } catch (const Error& error) {
        throw Error(printable(path) + ": " + error.what());
    }
}

std::string hmac_sha256(std::string_view key, std::string_view text) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
              text.size(), digest, &size))
        throw Error("relay: HMAC");
    return hex_digits({reinterpret_cast<const char*>(digest), size});
}

bool same_secret(std::string_view one, std::string_view other) {
    return one.size() == other.size() && !one.empty() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

HookVerdict judge_hook(const RelayHook& hook, const Secret& secret, const ServedRequest& request, int64_t now) {
    if (secret.empty()) return {503, "there is no secret hook-" + hook.name, {}};
    std::string text = request.body;
    if (!hook.timestamp.empty()) {
        const std::optional<std::string> at = request.header(hook.timestamp);
        if (!at || at->empty() || at->size() > 12 || at->find_first_not_of("0123456789") != std::string::npos)
            return {401, "there is no timestamp", {}};
        const int64_t seconds = std::stoll(*at);
        if (seconds < now - kClockSkew || seconds > now + kClockSkew) return {401, "its timestamp is not of now", {}};
        text = *at + "." + text;
    }
    const std::string right = hmac_sha256(secret.reveal(), text);
    const bool other = hook.scheme == RelayHook::Scheme::Signed && signed_by(request.header("x-signature"), right);
    if (!other && !signed_by(request.header("x-hub-signature-256"), right)) return {401, "its signature is none, or wrong", {}};
    HookVerdict verdict{200, {}, right};
    if (hook.delivery.empty()) return verdict;
    const std::optional<std::string> id = request.header(hook.delivery);
    if (!id || id->empty() || id->size() > kMostOfKey) return {400, "there is no " + hook.delivery, {}};
    verdict.key = "id " + *id;
    return verdict;
}

std::string verify_token(const Secret& secret) {
    return hmac_sha256(secret.reveal(), "peacrab: verify token").substr(0, 32);
}

std::optional<std::string> answer_challenge(const Secret& secret, std::string_view query) {
    if (secret.empty() || value_of(query, "hub.mode") != "subscribe") return std::nullopt;
    if (!same_secret(value_of(query, "hub.verify_token"), verify_token(secret))) return std::nullopt;
    const std::string challenge = value_of(query, "hub.challenge");
    // Letters and digits only: what is answered is shown by nobody's browser as a page.
    if (!is_word(lower(challenge), kMostOfChallenge, "-_")) return std::nullopt;
    return challenge;
}

}  // namespace peacrab
