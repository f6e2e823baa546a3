// The Matrix channel, for rooms that are not encrypted: sync on one side, the frames of README.md on the other.
//
// Secrets: `token`, an access token of the agent's own account. Settings: `server`, its homeserver's address; `invites`:
// whose are taken, as users and servers with commas ("@ann:example.org,example.org"), "*" for all; absent: those of
// people of its own server. What is said in a room is for the warden to let in or not. Source:
// https://spec.matrix.org/latest/client-server-api/.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_matrix(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
