// What the warden wants sent to Telegram: when it may go out, and what became of it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "channels/telegram_api.h"
#include "channels/telegram_text.h"

namespace peacrab {

// An id of Telegram's as it was given back to us. Nothing: it is none.
std::optional<int64_t> telegram_id(const std::string& text);

class TelegramOutbox {
  public:
    using Time = std::chrono::steady_clock::time_point;
    // What `hello` says of it.
    static constexpr int64_t kMostSent = 50'000'000;          // bytes of a file
    static constexpr int64_t kMostText = 4096;
    static constexpr Milliseconds kBetween{1'000};            // two messages, or edits, in one chat
    static constexpr Milliseconds kBetweenShownGroup{3'000};  // two edits of a line that may be lost, in a group
    static constexpr Milliseconds kTypingLease{30'000};

    TelegramOutbox(ChannelPort& port, TelegramApi& api) : port_(port), api_(api) {}

    // deliver, fetch, show, typing, resolve; other frames are not ours.
    void take(const json::Value& frame);
    // Sends what is due: of each conversation one part at most, so that none waits for another.
    void work();
    Time next_due();
    bool idle() const { return deliveries_.empty(); }  // what is to be fetched, the warden asks for again
    // The last answer that concerns all of them: not sent at all, or the token is refused. Once.
    std::optional<TelegramAnswer> take_trouble() { return std::exchange(trouble_, std::nullopt); }

  private:
    struct Chat {
        std::vector<Time> sent;  // within the last minute
        Time free{};            // not before: pace, and what Telegram said
        Time shown{};
    };
    struct Delivery {
        std::string id, conversation, thread, reply_to, edits;
        std::vector<TelegramText> parts;
        json::Value file = {};  // the frame, when it is one; it has one part then
        size_t next = 0;
    };
    struct Show {
        std::string slot, conversation, thread, text, platform;
        Time until{};  // then it is old
    };
    struct Posted {
        std::string slot, conversation, thread, message;
        Time until;
    };
    struct Typing {
        std::string conversation, thread;
        Time again{}, ends{};
    };

    void take_delivery(const json::Value& frame);
    void take_show(const json::Value& frame);
    void take_typing(const json::Value& frame);
    void forget_shows(const Delivery& delivery);

    Chat& chat(const std::string& conversation);
    Time free_at(const std::string& conversation, size_t most_in_group);
    void spend(const std::string& conversation);
    Time due_of(const Show& show);
    Time due_of(const Delivery& delivery);

    bool deliver_part(Delivery& delivery);
    TelegramAnswer post(const Delivery& delivery, const TelegramText& part);
    TelegramAnswer post_file(const Delivery& delivery);
    TelegramAnswer put_file(const Delivery& delivery, const char* method, const char* field);
    TelegramAnswer edit(const Delivery& delivery, const TelegramText& part);
    TelegramAnswer put(const char* method, json::Value parameters, const TelegramText& part,
                       TelegramApi::Repeat repeat);
    bool settle(Delivery& delivery, const TelegramAnswer& answer);
    void show(Show& show);
    void show_typing(Typing& typing);
    json::Value place(const std::string& conversation, const std::string& thread) const;

    ChannelPort& port_;
    TelegramApi& api_;
    std::vector<Delivery> deliveries_;
    std::vector<json::Value> fetches_;
    std::vector<Show> shows_;
    std::vector<Posted> posted_;  // what the warden may not have heard of yet
    std::vector<Typing> typing_;
    std::map<std::string, Chat> chats_;
    Time any_{};  // the next message of any chat, not before
    std::optional<TelegramAnswer> trouble_;
};

}  // namespace peacrab
