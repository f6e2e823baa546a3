// Addresses of the web: what a tool may be asked for, and where a link of a page leads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace peacrab {

struct WebAddress {
    bool tls = true;
    std::string host;    // lower case; of an IPv6 literal with its brackets
    uint16_t port = 443;
    std::string target;  // path and query, percent-encoded, never with a fragment
    std::string text() const;   // the usual port left out
    std::string place() const;  // host:port
};

constexpr size_t kMaxAddress = 4096;

// Throws Error, for a model: not http or https, with a name or password, too long, no host name in ASCII.
WebAddress parse_address(std::string_view text);
// What `reference` means on a page at `base` (RFC 3986, section 5), with its fragment; "" when it is nothing a
// tool could be asked for.
std::string resolve_link(const WebAddress& base, std::string_view reference);
// Each byte that `stays` refuses as %XX.
std::string percent_encoded(std::string_view text, bool (*stays)(char));

}  // namespace peacrab
