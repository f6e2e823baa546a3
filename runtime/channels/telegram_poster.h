// What is said on Telegram.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "channels/outbox.h"
#include "channels/telegram_api.h"

namespace peacrab {

// An id of Telegram's as it was given back to us. Nothing: it is none.
std::optional<int64_t> telegram_id(const std::string& text);

class TelegramPoster : public Poster {
  public:
    static constexpr int64_t kFile = 50'000'000;  // bytes
    static constexpr size_t kText = 4096;         // units of UTF-16, once Telegram has read it
    static constexpr size_t kButtons = 20;        // a hundred are taken, and too many to be read
    static OutboxPace pace();

    explicit TelegramPoster(TelegramApi& api) : api_(api) {}

    bool knows(const std::string& conversation) const override { return telegram_id(conversation).has_value(); }
    bool is_group(const std::string& conversation) const override { return conversation.starts_with('-'); }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override;
    Done post(const Where& where, const Piece& piece) override;
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override;
    Done post_file(const Where& where, const Piece& piece, const File& file) override;
    Done show_typing(const Where& where) override;

    // Said once: the token is refused.
    std::optional<ChannelFailure> take_auth() { return std::exchange(auth_, std::nullopt); }

  private:
    Done done_of(const TelegramAnswer& answer);
    TelegramAnswer put(const char* method, json::Value parameters, const Piece& piece, TelegramApi::Repeat repeat);
    TelegramAnswer put_file(const Where& where, const File& file, const char* method, const char* field);

    TelegramApi& api_;
    std::optional<ChannelFailure> auth_;
};

}  // namespace peacrab
