// The messengers this program can be a channel of, a row each in adapters.cc.
#pragma once

#include <string>
#include <vector>

namespace peacrab {

// `peacrabd channel NAME`: that channel, in the jail it puts on itself, until the warden at the other end of its
// standard input and output has no more use for it. Gives the exit code; throws Error.
int run_channel(const std::vector<std::string>& arguments);

// On this process, for good: no program to run, no file to write, connections to the world. Throws Error.
void confine_adapter();

}  // namespace peacrab
