// `peacrabd serve`: messengers and the agent on a machine without a VM of ours.
#pragma once

#include "launch/talk.h"

namespace peacrab {

int run_serve(const Arguments& arguments);
int run_people(const Arguments& arguments);
int run_tasks(const Arguments& arguments);

}  // namespace peacrab
