// What a channel has to be told before it can be tried: given as KEY=VALUE, standing in the configuration, or asked.
#pragma once

#include <string>
#include <vector>

#include "config_edit.h"
#include "dialogue.h"
#include "messaging/channel_config.h"

namespace peacrab {

// Adds to `channel` what is given, and, where there is a `person`, asks for the rest that its type needs. All of it goes
// into `edit` as well. Throws Error.
void complete_settings(ChannelConfig& channel, const std::vector<std::string>& given, Dialogue* person, ConfigEdit& edit);

// Where a channel can send something to itself and find it there: its own address. "": nowhere.
std::string own_place(const ChannelConfig& channel);
// What it is let in by.
struct ChannelSecret {
    std::string name;   // in the key store
    std::string words;  // as a person is asked for it
    bool needed = true;
};
std::vector<ChannelSecret> secrets_of(const ChannelConfig& channel);
// What has to be done at the messenger before; "": nothing that is not known to everybody.
std::string guide_to(const std::string& type);
// What is left to be done there once it has been let in; "": nothing.
std::string after_words(const ChannelConfig& channel);

}  // namespace peacrab
