// Questions with what is likely as an answer. For mail the servers are guessed from the address: the names that most
// providers use, and those of a few that use others.
#include "channel_setup.h"

#include "arguments.h"
#include "error.h"

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

std::string likely(const ChannelConfig& channel, const std::string& key) {
    if (key == "nick") return "peacrab";
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
}

std::string own_place(const ChannelConfig& channel) {
    return channel.type == "email" ? lower(channel.hub.settings.text("address")) : std::string();
}

std::string secret_words(const ChannelConfig& channel) {
    return channel.type == "email" ? "Password of " + own_place(channel) : "Token of " + channel.hub.name;
}

}  // namespace peacrab
