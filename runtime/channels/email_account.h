// Whose mail it is, and the two servers it goes through: settings of the channel, read once.
#pragma once

#include <string>

#include "channels/email_imap.h"
#include "channels/email_smtp.h"
#include "json.h"
#include "protocols/byte_stream.h"

namespace peacrab {

struct EmailAccount {
    std::string address;   // lower case
    std::string name;      // in front of it
    std::string authserv;  // "": nobody vouches for any sender
    bool copies = true;    // we get what we send, so that it can be looked for
    int64_t hourly = 20;   // mails to one address
    Milliseconds poll{60'000};    // we look at least as often, whatever the server tells by itself
    Milliseconds settle{30'000};  // a mail that was not found by then was not taken
    Secret secret;

    // Throws Error naming the setting.
    EmailAccount(const json::Value& settings, Secret given);

    // What was opened: `stream` empty says why in `detail`.
    ByteStream::Opened open_imap(int cancel_fd) const { return open(imap_, cancel_fd); }
    ByteStream::Opened open_smtp() const { return open(smtp_, -1); }
    const std::string& imap_host() const { return imap_.host; }

  private:
    ByteStreamOptions server(const json::Value& settings, const char* key, bool imap) const;
    ByteStream::Opened open(ByteStreamOptions options, int cancel_fd) const;
    ByteStreamOptions imap_, smtp_;
};

}  // namespace peacrab
