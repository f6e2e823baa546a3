// What a cell may reach: the rules of the config, applied to one request; and which addresses a name
// may turn out to have. Pure functions. The zero values refuse.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "config/egress_rule.h"

namespace peacrab {

struct EgressAsk {
    std::string host;  // canonical
    uint16_t port = 0;
    std::string method;  // "CONNECT": a tunnel; else plain HTTP
    bool tunnel() const { return method == "CONNECT"; }
};

// The target of a request line and what it asks for. Throws BadRequest (http_server.h): 400 for what
// is not the one spelling of a host and port, 501 for what this proxy does not do.
EgressAsk read_connect_target(std::string_view target);
struct AbsoluteTarget {
    EgressAsk ask;
    std::string authority;  // what the Host header must say: host, and the port unless it is 80
    std::string path;       // "/" and the query; what goes upstream
};
AbsoluteTarget read_absolute_target(std::string_view method, std::string_view target);
// Whether a Host header names the same place. `default_port`: the one that may be left out.
bool names_same_host(std::string_view header, const EgressAsk& ask, uint16_t default_port);

struct [[nodiscard]] EgressDecision {
    bool allowed = false;
    bool private_address = false;  // may be at an address that is not public
    std::string why;               // refused: a sentence for a person, with the one command
};
// `agent` is only for the sentence.
EgressDecision decide_egress(const std::vector<EgressRule>& rules, const EgressAsk& ask,
                             const std::string& agent);
// The one command that would allow it.
std::string allow_command(const EgressAsk& ask);
// What to say when the host is allowed, but not at such an address.
std::string private_refusal(const EgressAsk& ask, const std::string& agent);

enum class Reach {
    Never,    // link-local and metadata services, multicast, broadcast, nothing, unknown
    Private,  // this machine, private networks, carriers' networks, ranges that are not routed
    Public,
};
// IANA's registries of special-purpose addresses, RFC 6890. An address that stands for an IPv4 one
// (mapped, NAT64) is as that one.
Reach reach_of(const sockaddr* address);

}  // namespace peacrab
