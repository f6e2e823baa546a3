// What is said on Discord: each message carries a nonce made of its key, by which Discord knows it again for some
// minutes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "channels/discord_api.h"
#include "channels/outbox.h"

namespace peacrab {

class DiscordPoster : public Poster {
  public:
    static constexpr size_t kText = 2000;            // units of UTF-16
    static constexpr size_t kButtons = 25;           // in five rows
    static constexpr int64_t kFile = 10 << 20;       // bytes, for bots of which nobody pays
    static constexpr Milliseconds kTypingLease{30'000};
    static OutboxPace pace();

    explicit DiscordPoster(DiscordApi& api) : api_(api) {}

    bool knows(const std::string& conversation) const override { return discord_id(conversation).has_value(); }
    bool is_group(const std::string&) const override { return false; }  // the same limits everywhere
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override;
    Done post(const Where& where, const Piece& piece) override;
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override;
    Done post_file(const Where& where, const Piece& piece, const File& file) override;
    Done show_typing(const Where& where) override;

    // Said once: the token is refused.
    std::optional<ChannelFailure> take_auth() { return std::exchange(auth_, std::nullopt); }

  private:
    Done done_of(const DiscordAnswer& answer, const std::string& otherwise = {});

    DiscordApi& api_;
    std::optional<ChannelFailure> auth_;
};

// At most 25 characters, always the same for the same part of the same delivery.
std::string discord_nonce(const std::string& key, size_t part);

}  // namespace peacrab
