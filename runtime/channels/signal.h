// The Signal channel: a signal-cli daemon (`signal-cli -a NUMBER daemon --http`) on one side, the frames of README.md on
// the other. The account's keys stay with the daemon.
//
// Settings: `server`, where it listens (http://127.0.0.1:8080; it asks for no password, so nobody else may reach it);
// `account`, the agent's own number: it is called by it in groups, and a daemon of many accounts needs it; `name`, by
// which it is called too. What the daemon has handed out it does not have any more: what it was handing out when this
// ended at once is lost. Source: https://github.com/AsamK/signal-cli/blob/master/man/signal-cli-jsonrpc.5.adoc.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_signal(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
