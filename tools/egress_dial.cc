// Resolves and connects. What is checked is what is dialled: the addresses of one answer of the
// resolver, which is asked once, so that a name cannot have one address for the check and another
// for the connection. One address that may not be reached spoils the whole answer: somebody plays
// with that name. Source: getaddrinfo(3), RFC 9110, 9.3.6.
#include "egress_dial.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "http_head.h"
#include "spawn.h"

namespace peacrab {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Empty when there is no such name.
Addresses resolve(const std::string& host, uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* list = nullptr;
    const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
    return Addresses(code == 0 ? list : nullptr);
}

[[noreturn]] void unreachable(const std::string& why) {
    throw DialFailure(DialFailure::Kind::Unreachable, why);
}

UniqueFd connect_one(const addrinfo& address, Deadline deadline) {
    UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return {};
    if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) < 0 && errno != EINPROGRESS)
        return {};
    pollfd one{fd.get(), POLLOUT, 0};
    int ready;
    do {
        ready = ::poll(&one, 1, deadline.poll_timeout());
    } while (ready < 0 && errno == EINTR);
    int code = 0;
    socklen_t size = sizeof code;
    if (ready <= 0 || ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code != 0)
        return {};
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

// The last address gets all the time that is left, the others a share.
UniqueFd connect_first(const addrinfo* list, Deadline deadline) {
    for (const addrinfo* each = list; each && !deadline.passed(); each = each->ai_next) {
        const Milliseconds share = each->ai_next ? deadline.left() / 3 : deadline.left();
        if (UniqueFd fd = connect_one(*each, Deadline::in(share))) return fd;
    }
    return {};
}

void check_addresses(const addrinfo* list, bool private_address) {
    for (const addrinfo* each = list; each; each = each->ai_next) {
        const Reach reach = reach_of(each->ai_addr);
        if (reach == Reach::Never)
            throw DialFailure(DialFailure::Kind::Forbidden,
                              "this name is at an address that nothing may reach from a cell");
        if (reach == Reach::Private && !private_address)
            throw DialFailure(DialFailure::Kind::PrivateAddress, "");
    }
}

bool is_local_name(const std::string& host) {
    return host == "localhost" || host.ends_with(".localhost");
}

// An address, or a name that is always this machine: known before anybody resolves it.
void check_literal(const EgressAsk& ask, bool private_address) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (::getaddrinfo(ask.host.c_str(), "0", &hints, &list) == 0) {
        const Addresses addresses(list);
        check_addresses(list, private_address);
    } else if (is_local_name(ask.host) && !private_address) {
        throw DialFailure(DialFailure::Kind::PrivateAddress, "");
    }
}

std::string base64(std::string_view bytes) {
    static constexpr char kDigits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; ++k)
            group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U);
        for (size_t k = 0; k < 4; ++k)
            out += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

int hex_digit(char c) {
    const size_t at = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool code = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                          hex_digit(text[i + 2]) >= 0;
        out += code ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
        if (code) i += 2;
    }
    return out;
}

ProxyAddress parse_proxy(std::string_view text) {
    if (text.starts_with("http://")) text.remove_prefix(7);
    else if (text.find("://") != std::string_view::npos)
        throw Error("the proxy of this host is no http:// proxy");
    text = text.substr(0, text.find('/'));
    ProxyAddress proxy;
    if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
        proxy.authorization = "Basic " + base64(percent_decoded(text.substr(0, at)));
        text.remove_prefix(at + 1);
    }
    const size_t colon = text.ends_with(']') ? std::string_view::npos : text.rfind(':');
    const auto host = canonical_host(text.substr(0, colon));
    const auto port = colon == std::string_view::npos ? std::optional<uint16_t>(uint16_t{80})
                                                      : parse_port(text.substr(colon + 1));
    if (!host || !port) throw Error("the proxy setting of this host is no http://HOST:PORT");
    proxy.host = *host;
    proxy.port = *port;
    return proxy;
}

// One item of no_proxy: `*`, a host, a domain with or without its dot, either with a port.
bool excepts(std::string item, const EgressAsk& ask) {
    item.erase(std::remove(item.begin(), item.end(), ' '), item.end());
    if (item == "*") return true;
    if (const size_t colon = item.rfind(':');
        colon != std::string::npos && item.find(':') == colon) {
        if (parse_port(item.substr(colon + 1)) != ask.port) return false;
        item.resize(colon);
    }
    if (item.starts_with("*.")) item.erase(0, 1);
    if (item.starts_with('.')) item.erase(0, 1);
    item = lower(item);
    return !item.empty() && (ask.host == item || ask.host.ends_with("." + item));
}

std::string variable(const char* lower_case, const char* upper_case) {
    const std::string value = env(lower_case);
    return value.empty() ? env(upper_case) : value;
}

// The value of `NAME "value";` in what apt-config printed.
std::string apt_value(const std::string& dump, const std::string& name) {
    for (const std::string& line : split(dump, '\n')) {
        if (!line.starts_with(name + " \"") || !line.ends_with("\";")) continue;
        const size_t begin = name.size() + 2;
        return line.substr(begin, line.size() - begin - 2);
    }
    return {};
}

// A proxy's answer to our CONNECT, read without taking a byte behind it.
void await_tunnel(int fd, Deadline deadline) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
        pollfd one{fd, POLLIN, 0};
        const int ready = ::poll(&one, 1, deadline.poll_timeout());
        if (ready < 0 && errno == EINTR) continue;
        char byte;
        if (ready <= 0 || ::read(fd, &byte, 1) != 1 || head.size() >= kMaxHead)
            unreachable("the proxy of this host gave no answer");
        head += byte;
    }
    int status = 0;
    try {
        status = parse_response_head(head).status;
    } catch (const Error&) {
        unreachable("the proxy of this host gave no proper answer");
    }
    if (status < 200 || status > 299)
        unreachable("the proxy of this host refused it with status " + std::to_string(status));
}

void ask_for_tunnel(int fd, const EgressAsk& ask, const ProxyAddress& proxy, Deadline deadline) {
    const std::string place = place_text(ask.host, ask.port);
    std::string text = "CONNECT " + place + " HTTP/1.1\r\nHost: " + place + "\r\n";
    if (!proxy.authorization.empty()) text += "Proxy-Authorization: " + proxy.authorization + "\r\n";
    text += "\r\n";
    // A fresh socket takes so few bytes at once.
    if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
        unreachable("the proxy of this host does not listen");
    await_tunnel(fd, deadline);
}

}  // namespace

ProxySettings own_proxy_settings() {
    ProxySettings settings{variable("http_proxy", "HTTP_PROXY"), variable("https_proxy", "HTTPS_PROXY"),
                           variable("no_proxy", "NO_PROXY")};
    const std::string all = variable("all_proxy", "ALL_PROXY");
    if (settings.http.empty()) settings.http = all;
    if (settings.https.empty()) settings.https = all;
    const std::string apt = find_program("apt-config");
    if (!settings.http.empty() || !settings.https.empty() || apt.empty()) return settings;
    SpawnOptions options;
    options.program = apt;
    options.arguments = {"apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy"};
    options.environment = {"PATH=/usr/bin:/bin"};
    try {
        const RunResult result = run_program(options, Seconds(5));
        settings.http = apt_value(result.output, "Acquire::http::Proxy");
        settings.https = apt_value(result.output, "Acquire::https::Proxy");
    } catch (const Error& error) {
        log(LogLevel::Info, std::string("egress: apt's proxy: ") + error.what());
    }
    for (std::string* value : {&settings.http, &settings.https})
        if (*value == "DIRECT" || *value == "false") value->clear();
    return settings;
}

std::optional<ProxyAddress> proxy_for(const ProxySettings& settings, const EgressAsk& ask) {
    const std::string& value = ask.tunnel() ? settings.https : settings.http;
    if (value.empty() || is_local_name(ask.host)) return std::nullopt;
    for (const std::string& item : split(settings.except, ','))
        if (excepts(item, ask)) return std::nullopt;
    return parse_proxy(value);
}

Dialed dial(const EgressAsk& ask, bool private_address, const ProxySettings& settings,
            Deadline deadline) {
    Dialed out;
    check_literal(ask, private_address);
    try {
        out.proxy = proxy_for(settings, ask);
    } catch (const Error& error) {
        unreachable(error.what());
    }
    const Addresses addresses = out.proxy ? resolve(out.proxy->host, out.proxy->port)
                                          : resolve(ask.host, ask.port);
    if (!addresses) unreachable(out.proxy ? "the proxy of this host has no address" : "no such host");
    if (!out.proxy) check_addresses(addresses.get(), private_address);
    out.fd = connect_first(addresses.get(), deadline);
    if (!out.fd) unreachable(out.proxy ? "the proxy of this host does not answer" : "it does not answer");
    if (out.proxy && ask.tunnel()) ask_for_tunnel(out.fd.get(), ask, *out.proxy, deadline);
    return out;
}

bool resolves_to_private(const std::string& host) {
    const Addresses addresses = resolve(host, 80);
    for (const addrinfo* each = addresses.get(); each; each = each->ai_next)
        if (reach_of(each->ai_addr) == Reach::Private) return true;
    return false;
}

}  // namespace peacrab
