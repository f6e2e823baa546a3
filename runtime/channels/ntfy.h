// The ntfy channel: a topic's stream on one side, the frames of README.md on the other.
//
// Settings: `topic`, or up to eight with commas; `server` (https://ntfy.sh); `priority` (1 to 5); `markdown` ("true":
// for apps that show it). Secrets: `token`; none: a topic anybody may use. ntfy knows no senders: who may write to a
// topic is one person, so a topic needs a name that nobody guesses or, better, an access rule. Source:
// https://docs.ntfy.sh/publish/, https://docs.ntfy.sh/subscribe/api/.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_ntfy(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
