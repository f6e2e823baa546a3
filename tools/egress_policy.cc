// The decision on one request of a cell. Everything compared here is in the one spelling that
// canonical_host() gives; what has another one was refused before. Must not touch the network: a name
// is resolved after it was allowed, and its addresses are then asked about one by one.
#include "egress_policy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "http_server.h"

namespace peacrab {
namespace {

// `otherwise`: the port when none is written; 0: one must be.
EgressAsk read_place(std::string_view text, std::string_view method, uint16_t otherwise) {
    const size_t colon = text.ends_with(']') ? std::string_view::npos : text.rfind(':');
    const auto host = canonical_host(text.substr(0, colon));
    if (!host)
        throw BadRequest(400, "the target is not a plain host name: no user name, no escapes, no "
                              "address in any form but its usual one");
    const auto port = colon == std::string_view::npos ? std::optional<uint16_t>(otherwise)
                                                      : parse_port(text.substr(colon + 1));
    if (!port || *port == 0) throw BadRequest(400, "the target's port is missing or no number");
    return {*host, *port, std::string(method)};
}

std::string what_is_asked(const EgressAsk& ask) {
    const std::string place = place_text(ask.host, ask.port);
    return ask.tunnel() ? "connect to " + place : ask.method + " at http://" + place;
}

struct Range4 {
    uint32_t network;
    int bits;
    Reach reach;
};
constexpr uint32_t quad(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return a << 24 | b << 16 | c << 8 | d;
}
// The first row that holds the address decides.
constexpr Range4 kRanges4[] = {
    {quad(0, 0, 0, 0), 8, Reach::Never},           // "this network"; 0.0.0.0 reaches ourselves
    {quad(169, 254, 0, 0), 16, Reach::Never},      // link-local: metadata services
    {quad(168, 63, 129, 16), 32, Reach::Never},    // a cloud's own services
    {quad(100, 100, 100, 200), 32, Reach::Never},  // likewise
    {quad(192, 0, 0, 0), 24, Reach::Never},        // protocol assignments, metadata
    {quad(224, 0, 0, 0), 4, Reach::Never},         // multicast
    {quad(240, 0, 0, 0), 4, Reach::Never},         // reserved, broadcast
    {quad(192, 88, 99, 0), 24, Reach::Never},      // 6to4 relays
    {quad(127, 0, 0, 0), 8, Reach::Private},       // this machine
    {quad(10, 0, 0, 0), 8, Reach::Private},
    {quad(172, 16, 0, 0), 12, Reach::Private},
    {quad(192, 168, 0, 0), 16, Reach::Private},
    {quad(100, 64, 0, 0), 10, Reach::Private},     // carriers
    {quad(192, 0, 2, 0), 24, Reach::Private},      // not routed: examples, benchmarks
    {quad(198, 51, 100, 0), 24, Reach::Private},
    {quad(203, 0, 113, 0), 24, Reach::Private},
    {quad(198, 18, 0, 0), 15, Reach::Private},
};

Reach reach4(uint32_t address) {
    for (const Range4& range : kRanges4)
        if ((address ^ range.network) >> (32 - range.bits) == 0) return range.reach;
    return Reach::Public;
}

using Bytes16 = std::array<uint8_t, 16>;

bool within(const Bytes16& address, const char* network, int bits) {
    Bytes16 other{};
    if (::inet_pton(AF_INET6, network, other.data()) != 1) return false;
    for (int i = 0; i < bits; ++i) {
        const auto at = static_cast<size_t>(i / 8);
        if (((address[at] ^ other[at]) >> (7 - i % 8) & 1) != 0) return false;
    }
    return true;
}

Reach reach6(const Bytes16& address) {
    const uint32_t last = quad(address[12], address[13], address[14], address[15]);
    if (within(address, "::ffff:0:0", 96)) return reach4(last);   // IPv4-mapped
    if (within(address, "64:ff9b::", 96)) return reach4(last);    // NAT64
    if (within(address, "::1", 128)) return Reach::Private;
    if (within(address, "fd00:ec2::254", 128)) return Reach::Never;  // a cloud's metadata
    if (within(address, "fc00::", 7)) return Reach::Private;         // unique local
    if (within(address, "2001:db8::", 32)) return Reach::Private;
    if (within(address, "2001::", 23)) return Reach::Never;          // Teredo and other protocols
    if (within(address, "2002::", 16)) return Reach::Never;          // 6to4: some IPv4 address
    return within(address, "2000::", 3) ? Reach::Public : Reach::Never;
}

}  // namespace

EgressAsk read_connect_target(std::string_view target) {
    return read_place(target, "CONNECT", 0);
}

AbsoluteTarget read_absolute_target(std::string_view method, std::string_view target) {
    if (target.starts_with("/") || target == "*")
        throw BadRequest(400, "this is a proxy: the target must be a whole address, http://HOST/…");
    if (!target.starts_with("http://"))
        throw BadRequest(501, "only http:// is passed on; for https:// use CONNECT HOST:443");
    target.remove_prefix(7);
    const size_t end = std::min(target.find_first_of("/?#"), target.size());
    const std::string_view path = target.substr(end);
    if (path.find('#') != std::string_view::npos)
        throw BadRequest(400, "the target has a fragment");
    AbsoluteTarget out;
    out.ask = read_place(target.substr(0, end), method, 80);
    out.path = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
    out.authority = place_text(out.ask.host, out.ask.port);
    if (out.ask.port == 80) out.authority.resize(out.authority.rfind(':'));
    return out;
}

bool names_same_host(std::string_view header, const EgressAsk& ask, uint16_t default_port) {
    try {
        const EgressAsk named = read_place(header, ask.method, default_port);
        return named.host == ask.host && named.port == ask.port;
    } catch (const BadRequest&) {
        return false;
    }
}

std::string allow_command(const EgressAsk& ask) {
    const std::string place = place_text(ask.host, ask.port);
    if (ask.tunnel()) return "peacrab allow " + place;
    const bool reads = ask.method == "GET" || ask.method == "HEAD";
    return "peacrab allow http://" + place + " " + (reads ? "GET HEAD" : ask.method);
}

EgressDecision decide_egress(const std::vector<EgressRule>& rules, const EgressAsk& ask,
                             const std::string& agent) {
    EgressDecision decision;
    std::string listed;
    for (const EgressRule& rule : rules) {
        if (rule.host != ask.host || rule.port != ask.port || rule.plain_http == ask.tunnel()) continue;
        const bool fits = !rule.plain_http || std::find(rule.methods.begin(), rule.methods.end(),
                                                     ask.method) != rule.methods.end();
        decision.allowed |= fits;
        decision.private_address |= rule.private_address;
        for (const std::string& method : rule.methods) listed += (listed.empty() ? "" : ", ") + method;
    }
    if (decision.allowed) return decision;
    decision.private_address = false;
    decision.why = "the agent `" + agent + "` may not " + what_is_asked(ask) +
                   (rules.empty() ? ": nothing outside is allowed here" : "") +
                   (listed.empty() ? "" : ": only " + listed + " is allowed there") +
                   ". The person at the host can allow it: " + allow_command(ask);
    return decision;
}

std::string private_refusal(const EgressAsk& ask, const std::string& agent) {
    return "the agent `" + agent + "` may not " + what_is_asked(ask) +
           ": this name is at an address that is not public. The person at the host can allow it: " +
           allow_command(ask) + " private";
}

Reach reach_of(const sockaddr* address) {
    if (address->sa_family == AF_INET) {
        sockaddr_in four;
        std::memcpy(&four, address, sizeof four);
        return reach4(ntohl(four.sin_addr.s_addr));
    }
    if (address->sa_family != AF_INET6) return Reach::Never;
    sockaddr_in6 six;
    std::memcpy(&six, address, sizeof six);
    if (six.sin6_scope_id != 0) return Reach::Never;
    Bytes16 bytes;
    std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
    return reach6(bytes);
}

}  // namespace peacrab
