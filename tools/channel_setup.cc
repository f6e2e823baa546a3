// Questions with what is likely as an answer. For mail the servers are guessed from the address: the names that most
// providers use, and those of a few that use others.
#include "channel_setup.h"

#include <algorithm>

#include "arguments.h"
#include "config/secrets.h"
#include "error.h"
#include "trust.h"

namespace peacrab {
namespace {

struct Question {
    const char* type;
    const char* key;
    const char* text;
};

constexpr Question kQuestions[] = {
    {"email", "address", "The agent's mail address (a mailbox of its own, not yours)"},
    {"email", "imap", "Its server for receiving, host or host:port"},
    {"email", "smtp", "Its server for sending, host or host:port"},
    {"email", "authserv", "What that server calls itself in the field Authentication-Results of the mails it receives"},
    {"irc", "server", "The server"},
    {"irc", "nick", "The agent's nick"},
    {"irc", "channels", "Channels to join, as #one,#two"},
    {"whatsapp", "phone", "The id of the phone number (digits; it stands under API Setup, and is not the number)"},
    {"webhook", "to", "The channel whose owner is told of it"},
    {"webhook", "do", "What the agent shall do with it, in your words"},
    {"matrix", "server", "The address of the homeserver where the agent has an account of its own, like https://matrix.example.org"},
    {"signal", "server", "Where `signal-cli -a NUMBER daemon --http` listens"},
    {"signal", "account", "The agent's own number, like +4915112345678"},
    {"ntfy", "server", "The server"},
    {"ntfy", "topic", "The topic: whoever may write to it is one person to the agent"},
};

constexpr struct Provider {
    const char* domain;
    const char* imap;
    const char* smtp;
    const char* authserv;
} kProviders[] = {
    {"gmail.com", "imap.gmail.com", "smtp.gmail.com", "mx.google.com"},
    {"googlemail.com", "imap.gmail.com", "smtp.gmail.com", "mx.google.com"},
    {"fastmail.com", "imap.fastmail.com", "smtp.fastmail.com", ".messagingengine.com"},
    {"icloud.com", "imap.mail.me.com", "smtp.mail.me.com:587", ".icloud.com"},
    {"gmx.net", "imap.gmx.net", "mail.gmx.net", "gmx.net"},
};

// The scopes are what it calls and hears, and no more; private channels and chats of several it only hears in when it
// was invited.
constexpr const char* kSlackGuide = R"(1. Open https://api.slack.com/apps, "Create New App", "From a manifest", choose the workspace, and paste this:

display_information:
  name: Peacrab
  description: An agent in a machine of its own
features:
  app_home:
    home_tab_enabled: false
    messages_tab_enabled: true
    messages_tab_read_only_enabled: false
  bot_user:
    display_name: Peacrab
    always_online: true
  slash_commands:
    - command: /peacrab
      description: What is answered without a model
      usage_hint: help, stop, new, undo, status, usage, model, whoami, why
      should_escape: false
oauth_config:
  scopes:
    bot:
      - app_mentions:read
      - channels:history
      - channels:read
      - chat:write
      - commands
      - files:read
      - files:write
      - groups:history
      - groups:read
      - im:history
      - im:read
      - mpim:history
      - mpim:read
      - users:read
settings:
  event_subscriptions:
    bot_events:
      - app_mention
      - message.channels
      - message.groups
      - message.im
      - message.mpim
  interactivity:
    is_enabled: true
  socket_mode_enabled: true
  org_deploy_enabled: false
  token_rotation_enabled: false

2. "Install to Workspace". Under "OAuth & Permissions" there is the token of the bot then; it begins with xoxb-.
3. "Basic Information", "App-Level Tokens", "Generate", with the scope connections:write: the token of the app,
   which begins with xapp-.
)";

constexpr const char* kDiscordGuide = R"(1. Open https://discord.com/developers/applications, "New Application", give it a name.
2. "Bot": switch "Message Content Intent" on, further down, and save. Switch "Public Bot" off if only you should be
   able to put it into servers ("Installation", "Install Link": None comes first).
3. On the same page "Reset Token" shows the token, once.
)";

constexpr const char* kWhatsAppGuide = R"(1. Open https://developers.facebook.com/apps, "Create App", and add the product WhatsApp. Under "API Setup" there is a
   test number, or add one of your own; beside it stands its id.
2. In the Business settings, "System users": one with the app and whatsapp_business_messaging; "Generate token".
3. "App settings", "Basic": the app secret, which webhooks are signed with.
)";

// View Channels, Send Messages, Attach Files, Read Message History, Send Messages in Threads
constexpr uint64_t kDiscordRights = 1 << 10 | 1 << 11 | 1 << 15 | 1 << 16 | uint64_t{1} << 38;

// The address by which a server takes the bot up. A token begins with the bot's own number.
std::string discord_invitation(const Secret& token) {
    std::string number;
    try {
        std::string first = token.reveal().substr(0, token.reveal().find('.'));
        first.append((4 - first.size() % 4) % 4, '=');
        number = decode_base64(first);
    } catch (const Error&) {
    }
    if (number.empty() || number.size() > 20 || number.find_first_not_of("0123456789") != std::string::npos)
        return "under \"OAuth2\", \"URL Generator\", with the scope bot";
    return "https://discord.com/oauth2/authorize?client_id=" + number + "&scope=bot&permissions=" +
           std::to_string(kDiscordRights);
}

std::string likely(const ChannelConfig& channel, const std::string& key) {
    if (key == "nick") return "peacrab";
    if (channel.type == "signal" && key == "server") return "http://127.0.0.1:8080";
    if (channel.type == "ntfy") return key == "server" ? "https://ntfy.sh" : "peacrab-" + random_hex(8);
    const std::string address = channel.hub.settings.text("address");
    const std::string domain = lower(address.substr(address.find('@') + 1));
    if (channel.type != "email" || domain.empty()) return {};
    for (const Provider& provider : kProviders)
        if (domain == provider.domain) return key == "imap" ? provider.imap : key == "smtp" ? provider.smtp : key == "authserv" ? provider.authserv : "";
    return key == "imap" || key == "smtp" ? key + "." + domain : std::string();
}

}  // namespace

void complete_settings(ChannelConfig& channel, const std::vector<std::string>& given, Dialogue* person, ConfigEdit& edit) {
    const auto put = [&](const std::string& key, const std::string& value) {
        if (key == "type") channel.type = value;
        else channel.hub.settings.set(key, value);
        edit.set({"channels", channel.hub.name, key}, value);
    };
    for (const std::string& word : given) {
        const size_t equals = word.find('=');
        const std::string key = word.substr(0, equals);
        if (equals == std::string::npos || key.empty() || key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != std::string::npos)
            throw UsageError("channel: KEY=VALUE was expected, not " + printable(word));
        if (key == "agent" || key == "listens" || key == "command") throw UsageError("channel: " + key + " is written into the configuration");
        put(key, word.substr(equals + 1));
    }
    for (const Question& question : kQuestions) {
        if (!person || channel.type != question.type || channel.hub.settings.find(question.key)) continue;
        const std::string guess = likely(channel, question.key);
        const std::string answer = person->ask(std::string(question.text) + (guess.empty() ? "" : " [" + guess + "]") + ": ");
        if (!answer.empty() || !guess.empty()) put(question.key, answer.empty() ? guess : answer);
    }
    static constexpr const char* kTypes[] = {"telegram", "slack",  "discord", "email",    "irc",
                                             "matrix",   "signal", "ntfy",    "whatsapp", "webhook"};
    if (!channel.command.empty()) return;
    std::string names;
    for (const char* type : kTypes) names += (names.empty() ? "" : ", ") + std::string(type);
    if (std::find(std::begin(kTypes), std::end(kTypes), channel.type) == std::end(kTypes))
        throw UsageError("channel: there is no messenger " + printable(channel.type) + ", only " + names + "; under another name: type=NAME");
    // Without these there is nothing to try.
    static constexpr struct {
        const char* type;
        const char* key;
    } kNeeded[] = {{"email", "address"}, {"irc", "server"}, {"webhook", "to"}, {"matrix", "server"}, {"ntfy", "topic"}, {"whatsapp", "phone"}};
    for (const auto& needed : kNeeded)
        if (channel.type == needed.type && channel.hub.settings.text(needed.key).empty())
            throw UsageError("channel: " + std::string(needed.key) + " is missing: channel add " + printable(channel.hub.name) + " " + needed.key + "=...");
}

std::string own_place(const ChannelConfig& channel) {
    if (channel.type == "ntfy") return split(channel.hub.settings.text("topic"), ',').front();
    return channel.type == "email" ? lower(channel.hub.settings.text("address")) : std::string();
}

std::vector<ChannelSecret> secrets_of(const ChannelConfig& channel) {
    const std::string name = "channel-" + channel.hub.name;
    if (channel.type == "email") return {{name, "Password of " + own_place(channel)}};
    if (channel.type == "slack") return {{name, "Token of the bot (xoxb-...)"}, {name + "_app", "Token of the app (xapp-...)"}};
    if (channel.type == "discord") return {{name, "Token of the bot"}};
    if (channel.type == "matrix") return {{name, "Access token of that account (in Element: Settings, Help & About, Advanced)"}};
    if (channel.type == "signal") return {};
    if (channel.type == "irc") return {{name, "Password of the agent's account there; none if it has none", false}};
    if (channel.type == "ntfy") return {{name, "Token of an account there; none for a topic that is open to anybody", false}};
    const std::string hook = "hook-" + channel.hub.settings.text("hook", channel.hub.name);
    if (channel.type == "whatsapp") return {{name, "Token of the system user"}, {hook, "App secret"}};
    if (channel.type == "webhook") return {{hook, "What its sender signs with"}};
    return {{name, "Token of " + channel.hub.name}};
}

std::string guide_to(const std::string& type) {
    return type == "slack" ? kSlackGuide : type == "discord" ? kDiscordGuide : type == "whatsapp" ? kWhatsAppGuide : "";
}

std::string after_words(const ChannelConfig& channel) {
    const std::optional<Secret> token = SecretStore().read("channel-" + channel.hub.name);
    if (channel.type != "discord" || !token) return {};
    return "Put it into a server of yours, or it can be written to by nobody: " + discord_invitation(*token);
}

}  // namespace peacrab
