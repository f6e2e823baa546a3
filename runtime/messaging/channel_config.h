// The key `channels` of the configuration: which messengers there are.
//
//     channels:
//       telegram:                  # of that kind, unless `type` says another
//         agent: main
//         listens: true            # to what is said in groups and not to the agent: told with the next that is
//       office:
//         type: irc
//         server: irc.example.org  # what is no key of ours is a setting of the channel's own
//       builds:
//         type: webhook            # of `peacrab relay`
//         to: telegram             # whose first owner is told, by the agent there; or "telegram 4711", that person
//         do: Tell me which build has failed.
//       mine:
//         command: [/usr/local/bin/mine, --fast]   # any program that speaks channels/README.md
#pragma once

#include <string>
#include <vector>

#include "messaging/hub.h"

namespace peacrab {

struct ChannelConfig {
    HubChannel hub;
    std::string type;                  // of ours; "": `command`
    std::vector<std::string> command;
};

// Of the file of load_config(); none when there is no such file or key. Throws Error naming file and line.
std::vector<ChannelConfig> load_channels(const std::string& path);

}  // namespace peacrab
