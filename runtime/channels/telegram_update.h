// What Telegram says has happened, as the events of README.md. Pure: no network, no clock.
// Source: https://core.telegram.org/bots/api#update.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "json.h"

namespace peacrab {

// The bot itself, as getMe says.
struct TelegramSelf {
    int64_t id = 0;
    std::string name;  // without @
};

// The events of some updates, in order: pictures of one album are one event, what is no event to us is left out, and
// so is what cannot be read. Each with the cursor that follows it.
std::vector<Arrived> read_telegram_updates(const std::vector<json::Value>& updates, const TelegramSelf& self);
// Of those of them that are presses of a button, by what they are answered.
std::vector<std::string> telegram_presses(const std::vector<json::Value>& updates);
// Where they lead: one more than the greatest number among them. Nothing: there is none.
std::optional<int64_t> telegram_cursor(const std::vector<json::Value>& updates);
// The album that the last of them belongs to; more of it may be on its way. "": to none.
std::string open_telegram_album(const std::vector<json::Value>& updates);

}  // namespace peacrab
