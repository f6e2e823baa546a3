// The IRC channel: one connection on one side, the frames of README.md on the other.
//
// Settings: `server`, `port` (6697), `tls` ("true"), `nick` (peacrab), `account` (of SASL; absent: the nick),
// `channels` ("#one,#two"), `pace` (ms between lines after the first four; 1000). Secrets: `token`, the password of
// SASL, which goes out over TLS alone. What a server with IRCv3's `chathistory` keeps is fetched after a gap; of any
// other what was said while nobody was there is lost, and a text that it had not confirmed when the connection broke
// may be sent twice. Source: RFC 2812, https://ircv3.net/irc/.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_irc(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
