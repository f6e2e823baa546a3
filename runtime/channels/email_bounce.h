// A notice that a mail of ours was not delivered after all. Pure. Source: RFC 3464, RFC 3462.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "channels/email_message.h"

namespace peacrab {

struct EmailBounce {
    std::string message;  // our Message-ID
    std::string why;      // a sentence of ours: nothing in it is a stranger's
};

// Of a mail as it was read from `raw`. Nothing: it is none, it is of no mail of `address`, it says only that there is a delay, or
// nobody vouches for it. Our own server does: by what it says of the sender (`authserv`), or because the mail came to it
// from nowhere, written by itself. What it is about is told by an id that only who has had that mail can know.
std::optional<EmailBounce> read_bounce(std::string_view raw, const EmailMessage& mail, const std::string& address, std::string_view authserv);

}  // namespace peacrab
