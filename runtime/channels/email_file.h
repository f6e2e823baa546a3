// The files of a mail that was read: where one begins, which is what its handle says, and its bytes from there on.
#pragma once

#include <string>

#include "channels/channel_port.h"
#include "channels/email_imap.h"
#include "channels/email_message.h"

namespace peacrab {

// "": it cannot be found again.
std::string file_handle(uint32_t validity, uint32_t uid, const EmailFile& file);

// Answers a `fetch`. Throws Error when the mailbox is gone; then it is answered too.
void send_file(ChannelPort& port, Imap& imap, uint32_t validity, const json::Value& fetch);

// The body of a part as it comes, decoded. Ends at the boundary.
class PartDecoder {
  public:
    PartDecoder(std::string encoding, std::string boundary) : encoding_(std::move(encoding)), end_("\n--" + boundary) {}
    // Of the next bytes what is sure by now; `last`: there are no more.
    std::string take(std::string_view bytes, bool last);
    bool ended() const { return ended_; }

  private:
    std::string encoding_, end_, held_;
    Base64Reader base64_;
    bool begun_ = false, ended_ = false;
};

}  // namespace peacrab
