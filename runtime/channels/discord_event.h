// A message as Discord has it, as an event of README.md. Pure: no network, no clock.
// Source: https://docs.discord.com/developers/resources/message.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json.h"

namespace peacrab {

// The bot itself.
struct DiscordSelf {
    std::string id, name;
};

// Where it was said. Messages asked for by REST do not say so themselves.
struct DiscordPlace {
    bool direct = false;
    std::string title;  // of a channel: as people see it
};

// Nothing: it is not for us, or nobody said it.
std::optional<json::Value> read_discord_message(const json::Value& message, const DiscordPlace& place,
                                                const DiscordSelf& self);
// Of what is told of a message again: only when somebody has changed its text, and not when Discord has added to it.
std::optional<json::Value> read_discord_edit(const json::Value& message, const DiscordPlace& place,
                                             const DiscordSelf& self);

// Of an interaction: a button below one of our messages was pressed. Nothing: it is something else.
std::optional<json::Value> read_discord_press(const json::Value& interaction, const DiscordPlace& place, const DiscordSelf& self);
// Where it is answered, below the API's base; "": nowhere.
std::string discord_press_answer(const json::Value& interaction);

// Where a file of it is to be had for now; "": it has none of that id.
std::string discord_file_url(const json::Value& message, std::string_view id);

}  // namespace peacrab
