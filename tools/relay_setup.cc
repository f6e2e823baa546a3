#include "relay_setup.h"

#include <unistd.h>

#include "channels/whatsapp_event.h"
#include "config.h"
#include "config/secrets.h"
#include "error.h"
#include "relay.h"
#include "relay_hooks.h"
#include "relay_spool.h"

namespace peacrab {
namespace {

constexpr useconds_t kLookAgain = 500'000;

std::string hook_of(const ChannelConfig& channel) {
    return channel.hub.settings.text("hook", channel.hub.name);
}

}  // namespace

bool is_on_relay(const ChannelConfig& channel) {
    return channel.type == "whatsapp" || channel.type == "webhook";
}

ChannelConfig trial_of(ChannelConfig channel) {
    if (is_on_relay(channel)) channel.hub.settings.set("deaf", "true");
    return channel;
}

void add_webhook(ChannelConfig& channel, ConfigEdit& edit) {
    const RelayConfig relay = load_relay(config_file());
    const std::string hook = hook_of(channel);
    if (!relay.find(hook)) edit.set({"relay", "hooks", hook, "scheme"}, channel.type == "whatsapp" ? "whatsapp" : "signed");
    if (relay.local != RelayConfig().local && !channel.hub.settings.find("relay")) {
        const std::string place = "127.0.0.1:" + std::to_string(relay.local);
        channel.hub.settings.set("relay", place);
        edit.set({"channels", channel.hub.name, "relay"}, place);
    }
}

std::string relay_words(const ChannelConfig& channel) {
    const std::string hook = hook_of(channel);
    const std::string lead = "Run `peacrab relay` in another terminal, for as long as anything shall arrive, and have your reverse proxy or tunnel "
                             "lead https://YOUR-HOST/" + hook + " to 127.0.0.1:" + std::to_string(load_relay(config_file()).listen) + ".";
    if (channel.type == "webhook") return lead + " That is the address for its sender.";
    const std::optional<Secret> secret = SecretStore().read("hook-" + hook);
    return lead + "\nThen, in the app's settings under WhatsApp, Configuration: that address as callback URL, as verify token " +
           (secret ? verify_token(*secret) : std::string("?")) + ", and subscribe to the field \"messages\".";
}

std::string await_message(const ChannelConfig& channel, Seconds limit) {
    make_directories(relay_folder());
    RelaySpool spool(relay_folder() + "/spool.db");
    const std::string hook = hook_of(channel);
    int64_t seen = spool.newest(hook);
    for (const Deadline deadline = Deadline::in(limit); !deadline.passed(); ::usleep(kLookAgain))
        for (const SpoolEntry& entry : spool.after(hook, seen)) {
            seen = entry.seq;
            for (const json::Value& event : read_whatsapp(entry.body, channel.hub.settings.text("phone")).events)
                return event.text("sender");
        }
    return {};
}

}  // namespace peacrab
