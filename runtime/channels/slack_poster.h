// How a text gets into a conversation of Slack's, and how one is found there again.
#pragma once

#include <vector>

#include "channels/outbox.h"
#include "channels/slack_api.h"

namespace peacrab {

class SlackPoster : public Poster {
  public:
    SlackPoster(ChannelPort& port, SlackApi& api) : port_(port), api_(api) {}
    static constexpr size_t kText = 4000;  // of a message; more is taken, and shown folded
    static constexpr size_t kButtons = 25;  // of a block
    static OutboxPace pace();

    bool knows(const std::string& conversation) const override { return is_slack_place(conversation); }
    bool is_group(const std::string& conversation) const override { return !conversation.starts_with('D'); }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override;
    Done post(const Where& where, const Piece& piece) override;
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override;
    Done post_file(const Where& where, const Piece& piece, const File& file) override;

    void set_self(const std::string& user) { self_ = user; }  // whose messages ours are

    // A `resolve`. Its answer comes from work(), when what may still be on its way has had time to arrive, and Slack
    // has said what is there: never a guess.
    void take_resolve(const json::Value& frame);
    void work();  // one of those that are due
    Outbox::Time next_due() const;
    bool idle() const { return lookups_.empty(); }
    // Whether the token was refused since this was asked last.
    std::optional<ChannelFailure> take_auth() { return std::exchange(auth_, std::nullopt); }

  private:
    struct Lookup {
        std::string id, key;
        Where where;
        int64_t part = 0;
        Outbox::Time due{};
        int tries = 0;
    };
    Done done_of(const SlackAnswer& answer, const std::string& otherwise = {});
    bool look(Lookup& lookup);
    enum class Found { Yes, No, NotNow, Gone };
    Found look_in(const Lookup& lookup, const char* method, ChannelFailure& why);
    bool shared_there(const std::string& file, const Where& where);

    ChannelPort& port_;
    SlackApi& api_;
    std::vector<Lookup> lookups_;
    std::string self_;
    std::optional<ChannelFailure> auth_;
};

}  // namespace peacrab
