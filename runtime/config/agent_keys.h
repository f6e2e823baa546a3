// The keys `limits`, `agents` and `may-message` of the configuration → Agents.
#pragma once

#include "agents.h"
#include "config/yaml.h"

namespace peacrab {

// Null: the key is absent. Throws Error("line N: …").
Agents read_agents(const yaml::Node* limits, const yaml::Node* agents, const yaml::Node* routes);

// The keys of an agent's block, in the order they are shown in.
constexpr const char* kLimitKeys[] = {"memory", "processes", "cpus", "disk", "files", "io"};
constexpr const char* kAgentKeys[] = {"model", "rules", "paused", "skills"};  // and those of the limits

// "1", "0.5": CPUs' worth of time → percent, and back. Throws Error.
unsigned parse_cpus(const std::string& text);
std::string format_cpus(unsigned percent);

}  // namespace peacrab
