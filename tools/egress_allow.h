// `peacrab allow` and `peacrab port`: what the person says about ways out of and into cells.
#pragma once

#include <string>
#include <vector>

#include "machine.h"

namespace peacrab {

// The words of one or more rules, one after the other: `a.example:443 http://b.example:80 GET HEAD`.
// Throws Error for what is no rule.
std::vector<EgressRule> rules_of_words(const std::vector<std::string>& words);

int allow_list();
int allow_add(const std::vector<EgressRule>& rules);
// `words`: rules, or only their places: `http://b.example:80`.
int allow_remove(const std::vector<std::string>& words);

struct PortOptions {
    std::string agent;
    int port = 0;
    enum class Gate { Token, None } gate = Gate::Token;
    enum class Stay { UntilStopped, Detach, Close } stay = Stay::UntilStopped;
};
// Prints the address on stdout; stays until the port is closed or we are stopped.
int open_port(const MachinePlace& place, const PortOptions& options);

}  // namespace peacrab
