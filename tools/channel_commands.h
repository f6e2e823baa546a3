// `peacrab serve`, `people`, `secret` and `channel`: messengers on the host, where tokens and people stay.
#pragma once

#include "arguments.h"

namespace peacrab {

int run_serve(const Arguments& arguments);
int run_channel_command(const Arguments& arguments);  // `add NAME`, `ls`, `rm NAME`
int run_people(const Arguments& arguments);
int run_tasks(const Arguments& arguments);
// `set NAME` (from standard input), `ls`, `rm NAME`. What a secret is, is shown nowhere.
int run_secret(const Arguments& arguments);

}  // namespace peacrab
