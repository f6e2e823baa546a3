// The command line of `peacrab`, taken apart by its table of subcommands (peacrab.cc), and what several of them
// make of it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "channels/terminal.h"
#include "error.h"
#include "machine.h"

namespace peacrab {

// Exit codes; `ask` and `wait` add those of channels/terminal.h.
constexpr int kOk = 0;
constexpr int kFailure = 1;
constexpr int kUsage = kExitUsage;
constexpr int kNotRunning = kExitUnreachable;

struct Arguments {
    std::vector<std::string> words;
    std::map<std::string, std::string> values;
    std::set<std::string> switches;
    bool has(const char* name) const { return switches.count(name) != 0; }
    std::string value(const char* name, const char* otherwise = "") const {
        const auto it = values.find(name);
        return it == values.end() ? otherwise : it->second;
    }
};

// `flags`: names separated by blanks.
bool knows(const char* flags, const std::string& flag);

// --name, --cpus and so on; UsageError when one of them says nothing.
MachineOptions machine_options(const Arguments& arguments);

// A sentence for the person, on stderr.
void tell(const std::string& sentence);

}  // namespace peacrab
