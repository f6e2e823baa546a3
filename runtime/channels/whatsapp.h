// The WhatsApp channel: webhooks that `peacrab relay` has kept on one side, calls of the Cloud API on the other.
//
// Secrets: `token`, of a system user; `relay`. Settings: `phone`, the id of the number; `api`, another server of the same
// API; `pace`, ms between two messages to one person; `settle`, seconds after which a message that WhatsApp tells nothing
// of was not taken; and those of relay_reader.h.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_whatsapp(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
