// The channel of webhooks that anybody may sign (`scheme: signed` of `peacrab relay`): nothing is sent to it, and what it
// receives is a trigger. Secrets: `relay`. Settings: those of relay_reader.h.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_webhook(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
