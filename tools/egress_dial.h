// The host's way to a place outside: resolves the name, asks of every address whether it may be
// reached, connects to one of those that were asked about. Or through the proxy this host itself
// has to use: then names are resolved there, and addresses are not seen here. Blocking.
#pragma once

#include <optional>
#include <string>

#include "egress_policy.h"
#include "error.h"
#include "os.h"

namespace peacrab {

// As the variables http_proxy, https_proxy and no_proxy have it; empty: direct.
struct ProxySettings {
    std::string http;   // for plain HTTP
    std::string https;  // for tunnels
    std::string except;
    bool operator==(const ProxySettings&) const = default;
};
// Of this process' environment (either case, all_proxy last), else what apt's configuration names.
ProxySettings own_proxy_settings();

struct ProxyAddress {
    std::string host;
    uint16_t port = 0;
    std::string authorization;  // of Proxy-Authorization; "" for none
};
// What stands between us and a place; nothing: the way is direct. Throws Error for a setting that
// cannot be used (another scheme than http://): then there is no way at all.
std::optional<ProxyAddress> proxy_for(const ProxySettings& settings, const EgressAsk& ask);

class DialFailure : public Error {
  public:
    enum class Kind { Unreachable, PrivateAddress, Forbidden };
    DialFailure(Kind kind, const std::string& why) : Error(why), kind_(kind) {}
    Kind kind() const { return kind_; }

  private:
    Kind kind_;
};

struct Dialed {
    UniqueFd fd;                        // not blocking
    std::optional<ProxyAddress> proxy;  // plain HTTP: the other end is this proxy
};
// A tunnel's connection is at its target when this returns. Throws DialFailure: its sentence holds
// no address. `private_address`: also this machine and private networks.
Dialed dial(const EgressAsk& ask, bool private_address, const ProxySettings& settings,
            Deadline deadline);

// Whether some address of this name is not public; false also when there is none.
bool resolves_to_private(const std::string& host);

}  // namespace peacrab
