// The e-mail channel: a mailbox of the agent's own by IMAP, mails of ours by SMTP; a person is an address, a thread a
// conversation. Only what the own server vouches for counts as written by its sender: without `authserv` nobody does.
//
// Settings: `address`, `imap`, `smtp` ("host" or "host:port"; 993 and 465), `imap_tls`, `smtp_tls` ("yes", "start",
// "no": to this machine alone; by the port), `user` (absent: the address), `login` ("password", or "token": OAuth 2),
// `authserv` (how the server calls itself in Authentication-Results), `name`, `copies` ("false" where the server keeps
// what is sent through it by itself), `hourly` (20), `poll` (60 s between looks, whatever the server tells by itself), `settle` (30 s, until a mail that is
// not in the mailbox was never taken). Secrets: `token`, the password. Source: the headers of email_*.h.
#pragma once

#include "channels/channel_port.h"

namespace peacrab {

// Until it is not wanted any more. Gives the exit code: 0, or kExitStandDown. Throws Error.
int run_email(ChannelPort& port, const ChannelPort::Start& start);

}  // namespace peacrab
