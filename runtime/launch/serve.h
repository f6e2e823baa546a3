// `peacrabd serve`: messengers and the agent on a machine without a VM of ours, until it is told to end.
#pragma once

#include "launch/talk.h"

namespace peacrab {

int run_serve(const Arguments& arguments);
int run_channel_command(const Arguments& arguments);  // `peacrabd people`: pairing codes, who there is, what became of a message

}  // namespace peacrab
