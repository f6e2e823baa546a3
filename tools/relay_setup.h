// What setting up a channel of `peacrab relay` takes beside its own settings: a webhook in the configuration, what is to
// be done at the sender's, and a message that comes all the way and is answered.
#pragma once

#include <functional>

#include "config_edit.h"
#include "messaging/channel_config.h"

namespace peacrab {

bool is_on_relay(const ChannelConfig& channel);
// The same that takes nothing of what waits for it: that is for `serve`.
ChannelConfig trial_of(ChannelConfig channel);
// Its webhook under `relay:`, unless there is one, and where the relay listens for it.
void add_webhook(ChannelConfig& channel, ConfigEdit& edit);
// What is left to be done at the sender's. The secrets are there by then.
std::string relay_words(const ChannelConfig& channel);

// Waits for somebody's first message to WhatsApp, and gives who wrote it; "": none came within `limit`.
std::string await_message(const ChannelConfig& channel, Seconds limit);

}  // namespace peacrab
