// The Slack channel: Socket Mode and the Web API on one side, the frames of README.md on the other.
//
// Secrets: `token` (xoxb-, of the bot), `app` (xapp-, with connections:write). Settings: `api`, the address of another
// server of the same API; `threads`: "true": what is said to it in a channel is answered in a thread there;
// `patience`: for how many seconds another program with the same app is waited for to go.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_slack(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
