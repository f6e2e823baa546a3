// What the e-mail channel sends: a mail for each part, with a Message-ID that is made of its key. Of what may have
// arrived the mailbox is asked: there is our copy of it, or there is not.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "channels/channel_port.h"
#include "channels/email_account.h"
#include "channels/email_bounce.h"
#include "channels/email_imap.h"
#include "messaging/render.h"

namespace peacrab {

class EmailOutbox {
  public:
    EmailOutbox(ChannelPort& port, const EmailAccount& account) : port_(port), account_(account) {}

    void take(json::Value frame);
    // Does what is due. Throws Error when the mailbox is gone: what was not begun goes on with the next.
    void work(Imap& imap, const std::string& sent_mailbox);
    // A mail of ours was not delivered after all: told once our copy of it is found, which says what it was.
    void note_bounce(const EmailBounce& bounce);
    // There is no mailbox: nothing of what waits went out.
    void give_back(const std::string& why);
    bool idle() const {
        return deliveries_.empty() && std::all_of(looks_.begin(), looks_.end(), [](const Look& look) { return !look.bounced.empty(); });
    }
    Milliseconds until_due() const;
    bool take_refused() { return std::exchange(refused_, false); }  // the login was

  private:
    using Time = std::chrono::steady_clock::time_point;
    struct Look {
        std::string id, message;
        size_t part = 0;
        int troubles = 0;
        Time until{}, next{};
        std::string bounced = {};  // why, when it was; then there is no `id` yet
    };
    struct Thread {
        uint32_t uid = 0;  // 0: no mail of it is there
        std::string subject, parent, root;
    };
    void deliver(Imap& imap, const json::Value& frame);
    void send_parts(const json::Value& frame, const Thread& thread, const std::vector<RenderedPart>& parts);
    Thread find_thread(Imap& imap, const std::string& from, const std::string& root);
    bool tell(const Look& look, const EmailFields& fields, const std::string& parts);
    bool found(Imap& imap, const std::string& mailbox, const Look& look);
    Milliseconds wait_for(const std::string& to);
    void fail(const std::string& id, const char* kind, const std::string& why, Milliseconds retry = Milliseconds(0));

    ChannelPort& port_;
    const EmailAccount& account_;
    std::deque<json::Value> deliveries_;
    std::vector<Look> looks_;
    std::map<std::string, Time> paces_;  // to an address: when all it has had would be allowed
    Time pause_{};  // the server for sending was not there: what comes before this does not try
    std::string pause_why_;
    bool refused_ = false;
};

}  // namespace peacrab
