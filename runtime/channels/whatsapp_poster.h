// What is sent to WhatsApp, and whether it is there: each message carries a mark that comes back with its statuses,
// which the relay keeps.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "channels/outbox.h"
#include "channels/relay_reader.h"
#include "channels/whatsapp_api.h"
#include "channels/whatsapp_event.h"

namespace peacrab {

class WhatsAppPoster : public Poster {
  public:
    // `settle`: what has no status by then was not taken.
    WhatsAppPoster(ChannelPort& port, WhatsAppApi& api, RelayReader& relay, Milliseconds settle)
        : port_(port), api_(api), relay_(relay), settle_(settle) {}

    static OutboxPace pace(Milliseconds between);
    static constexpr size_t kButtons = 3;
    static constexpr Milliseconds kTypingLasts{25'000};
    static constexpr Milliseconds kTypingAgain{20'000};
    static constexpr int64_t kMostOfAFile = int64_t{64} << 20;

    bool knows(const std::string& conversation) const override { return is_whatsapp_person(conversation); }
    bool is_group(const std::string&) const override { return false; }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override;
    Done post(const Where& where, const Piece& piece) override;
    Done edit(const Where& where, const std::string&, const Piece& piece) override { return post(where, piece); }
    Done post_file(const Where& where, const Piece& piece, const File& file) override;
    Done show_typing(const Where& where) override;

    // The newest that somebody has said: what is read, and typed an answer to.
    void heard(const json::Value& event);
    // What became of ours. What has failed after it was taken is told so.
    void take(const WhatsAppStatus& status);

    // A `resolve`. Its answer comes from work(), when there is a status or long has been none.
    void take_resolve(const json::Value& frame);
    void work();  // one of those that are due
    Outbox::Time next_due() const;
    bool idle() const { return lookups_.empty(); }
    std::optional<ChannelFailure> take_auth() { return std::exchange(auth_, std::nullopt); }

  private:
    struct Lookup {
        std::string id, key;
        int64_t part = 0;
        Outbox::Time due{}, until{};
    };
    json::Value message_to(const Where& where, const Piece& piece) const;
    Done send(const json::Value& message);
    Done done_of(const WhatsAppAnswer& answer);
    bool look(const Lookup& lookup);

    ChannelPort& port_;
    WhatsAppApi& api_;
    RelayReader& relay_;
    const Milliseconds settle_;
    std::vector<Lookup> lookups_;
    std::map<std::string, std::string> newest_;  // conversation → message
    std::optional<ChannelFailure> auth_;
};

}  // namespace peacrab
