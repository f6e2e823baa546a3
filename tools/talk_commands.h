// The subcommands that talk to an agent in its machine.
#pragma once

#include "arguments.h"
#include "config/model_choice.h"

namespace peacrab {

ModelConfig model_flags(const Arguments& arguments);

// Each gives its exit code (channels/terminal.h).
int run_chat(const Arguments& arguments);
int run_ask(const Arguments& arguments);
int run_wait(const Arguments& arguments);
int run_sessions(const Arguments& arguments);
int run_export(const Arguments& arguments);

}  // namespace peacrab
