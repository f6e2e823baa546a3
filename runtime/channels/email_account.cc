// A password goes out over TLS, or to a program on this machine (a bridge) that was named so.
#include "channels/email_account.h"

#include "channels/email_fields.h"
#include "error.h"

namespace peacrab {
namespace {

[[noreturn]] void expected(const std::string& key, std::string_view what) {
    throw Error(joined({"email: `", key, "`: ", what, " was expected"}));
}

int64_t number(const json::Value& settings, const char* key, int64_t otherwise, int64_t least, int64_t most) {
    const std::string text = settings.text(key, std::to_string(otherwise));
    const bool digits = !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == std::string::npos;
    const int64_t value = digits ? std::stoll(text) : -1;
    if (value < least || value > most) expected(key, joined({"a number from ", std::to_string(least), " to ", std::to_string(most)}));
    return value;
}

bool is_this_machine(const std::string& host) { return host == "127.0.0.1" || host == "[::1]" || host == "localhost"; }

}  // namespace

EmailAccount::EmailAccount(const json::Value& settings, Secret given) : secret(std::move(given)) {
    address = lower(settings.text("address"));
    if (!is_address(address)) expected("address", "the mail address of the agent");
    for (const char c : settings.text("name", "Peacrab")) name += std::string_view("\"(),:;<>@[]\\\r\n").find(c) == std::string_view::npos ? c : ' ';
    authserv = lower(settings.text("authserv"));
    if (authserv.find_first_of(" \t;\"()") != std::string::npos) expected("authserv", "one word, as the server calls itself,");
    copies = settings.text("copies", "true") != "false";
    hourly = number(settings, "hourly", 20, 1, 1000);
    poll = Milliseconds(1000 * number(settings, "poll", 60, 1, 60));
    settle = Milliseconds(1000 * number(settings, "settle", 30, 1, 120));
    if (secret.empty()) throw Error("email: there is no password: `peacrab secret set channel-NAME`");
    imap_ = server(settings, "imap", true);
    smtp_ = server(settings, "smtp", false);
}

ByteStreamOptions EmailAccount::server(const json::Value& settings, const char* key, bool imap) const {
    using Protocol = ByteStreamLogin::Protocol;
    ByteStreamOptions options;
    std::string host = settings.text(key), port;
    if (host.empty()) expected(key, "a host");
    if (const size_t colon = host.rfind(':'); colon != std::string::npos && host.find(']', colon) == std::string::npos) {
        port = host.substr(colon + 1);
        host.resize(colon);
    }
    json::Value as_given;
    as_given.set(key, port.empty() ? std::string(imap ? "993" : "465") : port);
    options.host = host;
    options.port = static_cast<uint16_t>(number(as_given, key, 0, 1, 65535));
    const bool usual = options.port == 143 || options.port == 587 || options.port == 25;
    const std::string about = joined({key, "_tls"}), tls = settings.text(about, usual ? "start" : "yes");
    if (tls != "yes" && tls != "start" && tls != "no") expected(about, "yes, start or no");
    options.tls = tls != "no";
    if (!options.tls && !is_this_machine(host)) expected(about, "this machine as the place for a password without TLS");
    options.environment = !is_this_machine(host) || options.tls;
    options.login.protocol = imap ? Protocol::Imap : Protocol::Smtp;
    options.login.starttls = tls == "start";
    options.login.user = settings.text("user", address);
    options.login.token = settings.text("login", "password") == "token";
    if (!imap) options.login.domain = address.substr(address.find('@') + 1);
    return options;
}

ByteStream::Opened EmailAccount::open(ByteStreamOptions options, int cancel_fd) const {
    options.login.secret = &secret;
    return ByteStream::open(options, cancel_fd);
}

}  // namespace peacrab
