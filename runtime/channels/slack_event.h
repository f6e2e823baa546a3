// What Slack says has happened, as the events of README.md. Pure: no network, no clock.
// Source: https://docs.slack.dev/reference/events/message, and "Formatting message text" for what stands in a text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "json.h"

namespace peacrab {

// The app itself, as auth.test says, and how it is set up.
struct SlackSelf {
    std::string user, bot;
    bool threads = false;  // what is said to it in a channel begins a thread there
};

// Names as people see them, by id; what is not known is its id.
using SlackNames = std::map<std::string, std::string>;

// The event of a `message`, an `app_mention`, or a message of a conversation's history with `channel` put in. Nothing:
// it is not for us. One that a message has twice has one key.
std::optional<json::Value> read_slack_event(const json::Value& event, const SlackSelf& self, const SlackNames& names);
// Of a command that was registered for the app: "/pea stop" is "/stop".
std::optional<json::Value> read_slack_command(const json::Value& payload, const SlackNames& names);
// Of a button below one of our messages that was pressed (block_actions). Nothing: it is something else.
std::optional<json::Value> read_slack_press(const json::Value& payload, const SlackSelf& self, const SlackNames& names);

// Ids in it that a name is wanted for: who wrote it, where, who is mentioned; at most eight.
std::vector<std::string> slack_ids(const json::Value& event);

// Text as Slack writes it (<@U1>, <https://a|b>, &lt;) as it was meant, in plain text.
std::string slack_plain(std::string_view text, const SlackNames& names);

}  // namespace peacrab
