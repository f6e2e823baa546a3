// What the Discord channel knows from one run to the next: its session, and the last message of each conversation, for
// when the session is gone. It is handed to the warden with each batch, so it never says more than what is stored.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "channels/discord_gateway.h"

namespace peacrab {

struct DiscordCursor {
    struct Place {
        uint64_t last = 0;  // message
        bool direct = false;
    };
    DiscordSession session;
    uint64_t mark = 0;                // nothing before it is of interest
    std::map<uint64_t, Place> places;  // by channel; those with the newest messages, some hundreds

    void note(uint64_t channel, uint64_t message, bool direct);
    // `whole`: else without the session: what it would go on behind is not all stored.
    std::string text(bool whole) const;
};

// Throws Error: it is none.
DiscordCursor read_discord_cursor(std::string_view text);

}  // namespace peacrab
