// The way out of a cell, on the host: a child of the gateway, one for each connection that a cell made
// to its proxy. Reads requests from the stream it inherits, asks the rules, and relays. No key is
// near it, nothing is intercepted, a redirect is passed back as it came. Blocking; ends with the
// stream.
//
// Answers: 400 what is not clear, 403 what no rule allows (the body and the reason name the one command
// that would), 405 and 501 what is not done here, 502 and 504 what went wrong outside.
#pragma once

#include <string>
#include <vector>

#include "egress_dial.h"
#include "egress_policy.h"

namespace peacrab {

struct EgressRouteOptions {
    int fd = 3;         // the stream; not owned
    std::string agent;  // whose cell: from the gateway
    int64_t connection = 0;  // its number in the guest's audit, by the guest's word; 0: none was said
    std::vector<EgressRule> rules;
    ProxySettings proxies;
    Milliseconds connect_limit{15'000};
    Milliseconds head_limit{10'000};  // from a head's first byte to its last; the first one: from now
    Milliseconds idle_limit{300'000};
};

// Serves until the stream ends; gives the exit code. Throws nothing.
int serve_egress_route(const EgressRouteOptions& options);

// What the gateway hands to the child on descriptor 4, so that the child opens no configuration.
std::string egress_job(const EgressRouteOptions& options);
EgressRouteOptions read_egress_job(std::string_view text);  // throws Error

// The same as a whole process: reads the job, takes from itself what it does not need.
int egress_route_main();

}  // namespace peacrab
