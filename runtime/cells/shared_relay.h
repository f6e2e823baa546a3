// The way out of a place with a network of its own: what listens on its loopback, joined byte for
// byte to the proxy that the environment names. Which hosts may be reached, the proxy says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "os.h"

namespace peacrab {

struct ProxyAddress {
    std::string host;
    uint16_t port = 0;
    std::string url() const;
};
// From HTTPS_PROXY, HTTP_PROXY (and in small letters): http://HOST:PORT. Nothing when there is
// none. Throws Error for what cannot be used: another scheme, a password (no byte of ours would say
// it).
std::optional<ProxyAddress> proxy_of_environment();
// A socket that does not block, on its way there; none when that cannot be.
UniqueFd dial(const ProxyAddress& proxy);

// A process of its own, in our network; it ends with this object, or with us.
class ProxyRelay {
  public:
    // `listener`: non-blocking, made in the other network; not owned.
    ProxyRelay(const ProxyAddress& proxy, int listener);

  private:
    Pidfd process_;
};

}  // namespace peacrab
