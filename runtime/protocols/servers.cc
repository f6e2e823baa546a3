// Compatible servers differ in small things, and people give an address, not a dialect. All that is known
// of them stands in one table; what is not in it is guessed from the address and can be overridden. A wrong
// guess costs a clear error, never a key: keys go by the address that the person gave.
#include "protocols/servers.h"

#include <algorithm>
#include <array>

#include "os.h"

namespace peacrab {
namespace {

constexpr std::array kServers = {
#define SERVER(name, host, dialect, base, variable, model, ...) \
    ModelServer{name, host, ModelDialect::dialect, base, variable, model, __VA_ARGS__},
#include "protocols/servers.def"
#undef SERVER
};

constexpr std::array kNames = {"", "anthropic", "chat", "responses"};

struct Address {
    std::string host, port, path;
};

Address split(const std::string& url) {
    Address address;
    const size_t scheme = url.find("://");
    std::string rest = url.substr(scheme == std::string::npos ? 0 : scheme + 3);
    const size_t slash = rest.find('/');
    if (slash != std::string::npos) {
        address.path = rest.substr(slash);
        rest.resize(slash);
    }
    const size_t colon = rest.rfind(':');
    if (colon != std::string::npos && rest.find(']', colon) == std::string::npos) {
        address.port = rest.substr(colon);
        rest.resize(colon);
    }
    rest = lower(rest);
    while (rest.ends_with('.')) rest.pop_back();  // the same name, written as absolute
    address.host = std::move(rest);
    return address;
}

// Where a local server is: this machine, or the host's side as containers name it.
bool local(const std::string& host) {
    return host == "localhost" || host == "[::1]" || host.starts_with("127.") ||
           host == "host.docker.internal" || host == "model-runner.docker.internal";
}

bool has(const std::string& path, std::string_view part) {
    return path.find(part) != std::string::npos;
}

}  // namespace

const char* dialect_name(ModelDialect dialect) {
    return kNames[static_cast<size_t>(dialect)];
}

ModelDialect dialect_from(std::string_view name) {
    const auto found = std::find(kNames.begin() + 1, kNames.end(), name);
    return found == kNames.end() ? ModelDialect::Unknown
                                 : static_cast<ModelDialect>(found - kNames.begin());
}

std::span<const ModelServer> model_servers() {
    return kServers;
}

const ModelServer* server_named(std::string_view name) {
    const auto found = std::find_if(kServers.begin(), kServers.end(),
                                    [&](const ModelServer& server) { return server.name == name; });
    return found == kServers.end() ? nullptr : &*found;
}

ModelServer server_at(const std::string& url) {
    const Address address = split(url);
    ModelServer found{"", "", ModelDialect::Anthropic, "", "", "", {}};
    for (const ModelServer& server : kServers)
        if (server.host == address.host ||
            (server.host == address.port && !address.port.empty() && local(address.host))) {
            found = server;
            break;
        }
    std::string path = address.path;
    while (path.ends_with('/')) path.pop_back();
    if (has(path, "/anthropic"))
        found.dialect = ModelDialect::Anthropic;
    else if (!*found.name && (path.ends_with("/v1") || has(path, "/openai") || has(path, "/engines")))
        found.dialect = ModelDialect::Chat;
    return found;
}

std::string request_url(std::string base, ModelDialect dialect) {
    const auto cut = [&base](std::string_view end) {
        if (base.ends_with(end)) base.resize(base.size() - end.size());
    };
    while (base.ends_with('/')) base.pop_back();
    if (dialect == ModelDialect::Anthropic) {
        cut("/v1");
        return base + "/v1/messages";
    }
    if (split(base).path.empty()) base += "/v1";
    return base + (dialect == ModelDialect::Responses ? "/responses" : "/chat/completions");
}

}  // namespace peacrab
