// What `peacrab serve` and `peacrabd serve` have in common: the hub and its channels until they are told to end; `people`
// and `tasks`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/secrets.h"
#include "messaging/hub.h"
#include "os.h"

namespace peacrab {

struct Serving {
    struct Agent {
        std::function<UniqueFd()> open_chat;  // as HubOptions has it
        std::function<UniqueFd(const std::string& agent, const std::string& op, const std::string& path)> open_files;  // likewise
        HubOptions::Opening opening = HubOptions::Opening::AtOnce;
        int life = -1;                        // hangs up when the agent can be had no more; -1: it always can
    };
    std::vector<std::string> adapter;  // as ChannelRun has it
    std::function<Agent()> begin;
};

// Until SIGINT, SIGTERM or SIGHUP (0), or until no channel is left that can be started (1). Throws Error.
int serve_channels(const Serving& serving);

// A line for each channel of the configuration: whether it is heard, and what waits. Throws Error.
int list_channels();
// What the messenger says to the token in `secrets`: the account that it is of. Throws Error when it takes none within
// half a minute, or cannot be reached for ten seconds. Nothing is received. With an address of its `own` something is
// sent there, and then found.
std::string try_channel(const std::vector<std::string>& adapter, const struct ChannelConfig& channel, const SecretSource& secrets,
                        const std::string& own);

// Nothing: who there is. `pair CHANNEL [ROLE]`, `remove CHANNEL ID`, `explain MESSAGE`. Throws Error, UsageError.
int people_command(const std::vector<std::string>& arguments);
// Nothing: all tasks. pause, resume, delete, history, allow, and a number. Throws Error, UsageError.
int tasks_command(const std::vector<std::string>& arguments);

}  // namespace peacrab
