// The Discord channel: the gateway and the REST API (v10) on one side, the frames of README.md on the other.
//
// Secrets: `token`. Settings: `api`, the address of another server of the same API.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_discord(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
