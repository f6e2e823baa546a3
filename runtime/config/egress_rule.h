// One line of the list `egress:`, a place outside that cells may reach. No rule, no way out.
//
//     http://deb.example.org:80 GET HEAD     plain HTTP: the gateway sees each request
//     registry.example.org:443               a tunnel (CONNECT): it sees nothing but the name
//     mirror.internal:443 private            at an address that is not public: refused without it
//
// Exact: one host, one port, and for plain HTTP the methods; no wildcard, no path, no range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct EgressRule {
    bool plain_http = false;
    std::string host;  // canonical; IPv6 without brackets
    uint16_t port = 0;
    std::vector<std::string> methods;  // plain HTTP: at least one; a tunnel has none
    bool private_address = false;      // may resolve to this machine or a private network
    bool operator==(const EgressRule&) const = default;
};

// Throws Error saying what was expected.
EgressRule parse_egress_rule(std::string_view text);
std::string format_egress_rule(const EgressRule& rule);

// The one spelling of a host: lower case, no dot at the end, labels of letters, digits, `-` and `_`
// (other scripts as xn--…); or an address as the system writes it, IPv6 in brackets in `text` and
// without in what is given back. Nothing: any other spelling, above all of an address.
std::optional<std::string> canonical_host(std::string_view text);
// Decimal digits alone, 1 to 65535.
std::optional<uint16_t> parse_port(std::string_view text);
// "host:port", with brackets where they are needed.
std::string place_text(const std::string& host, uint16_t port);

}  // namespace peacrab
