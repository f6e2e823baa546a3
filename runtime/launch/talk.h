// The subcommands with which a person or a script talks to the agent without a VM of ours.
#pragma once

#include <string>
#include <vector>

#include "channels/terminal.h"
#include "error.h"

namespace peacrab {

using Arguments = std::vector<std::string>;

// Each gives the exit code of channels/terminal.h; UsageError: 2.
int run_ask(const Arguments& arguments);
int run_chat(const Arguments& arguments);
int run_sessions(const Arguments& arguments);
int run_export(const Arguments& arguments);

// What --help says of them.
extern const std::string kTalkHelp;

}  // namespace peacrab
