// Reads the rules of what cells may reach, and the one spelling of a host that rules and requests
// are compared in. Two spellings of one name, or a name that some resolver takes for an address
// (0x7f.1, 127.1, 010.0.0.1), are how a list of hosts is passed by; so what is not plainly a name is
// refused rather than repaired. Must not resolve anything.
#include "config/egress_rule.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_label(std::string_view label) {
    return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
           std::all_of(label.begin(), label.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
           });
}

// Written as the system would write it.
bool is_canonical_address(int family, const std::string& text) {
    unsigned char bytes[16];
    char again[INET6_ADDRSTRLEN];
    return text.find('\0') == std::string::npos && ::inet_pton(family, text.c_str(), bytes) == 1 &&
           ::inet_ntop(family, bytes, again, sizeof again) && text == again;
}

// What programs take for an IPv4 address: the last label is a number, decimal or not.
bool looks_numeric(std::string_view last) {
    return last.starts_with("0x") || std::all_of(last.begin(), last.end(), is_digit);
}

bool is_host(const std::string& text) {
    if (text.empty() || text.size() > 253) return false;
    const std::vector<std::string> labels = split(text, '.');
    if (!std::all_of(labels.begin(), labels.end(), is_label)) return false;
    return !looks_numeric(labels.back()) || is_canonical_address(AF_INET, text);
}

void read_place(EgressRule& rule, std::string_view place) {
    if (place.find('*') != std::string_view::npos)
        throw Error("a rule names one host, without `*`");
    if (place.find('/') != std::string_view::npos)
        throw Error("a rule names host and port, without a path");
    const size_t colon = place.ends_with(']') ? std::string_view::npos : place.rfind(':');
    if (colon == std::string_view::npos && !rule.plain_http)
        throw Error("the port is missing, as in `" + printable(place) + ":443`");
    const auto host = canonical_host(place.substr(0, colon));
    if (!host) throw Error("`" + printable(place.substr(0, colon)) + "` is no host's name");
    const auto port = colon == std::string_view::npos ? std::optional<uint16_t>(uint16_t{80})
                                                      : parse_port(place.substr(colon + 1));
    if (!port) throw Error("`" + printable(place.substr(colon + 1)) + "` is no port");
    rule.host = *host;
    rule.port = *port;
}

void read_method(EgressRule& rule, const std::string& word) {
    if (!rule.plain_http)
        throw Error("`" + printable(word) + "`: nobody sees the methods in a tunnel: leave it away, " +
                    "or write http:// in front");
    if (std::find(std::begin(kMethods), std::end(kMethods), word) == std::end(kMethods))
        throw Error("`" + printable(word) + "` is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    if (std::find(rule.methods.begin(), rule.methods.end(), word) == rule.methods.end())
        rule.methods.push_back(word);
}

}  // namespace

std::optional<uint16_t> parse_port(std::string_view text) {
    uint16_t port = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool whole = failure == std::errc() && end == text.data() + text.size();
    if (!whole || port == 0 || text.front() == '0') return std::nullopt;
    return port;
}

std::optional<std::string> canonical_host(std::string_view text) {
    if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
        const std::string address(text.substr(1, text.size() - 2));
        // ::ffff:1.2.3.4 is another way to write an IPv4 one.
        if (!is_canonical_address(AF_INET6, address) || address.find('.') != std::string::npos)
            return std::nullopt;
        return address;
    }
    if (text.ends_with('.')) text.remove_suffix(1);
    const std::string host = lower(text);
    if (!is_host(host)) return std::nullopt;
    return host;
}

std::string place_text(const std::string& host, uint16_t port) {
    const bool v6 = host.find(':') != std::string::npos;
    return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

EgressRule parse_egress_rule(std::string_view text) {
    std::vector<std::string> words;
    for (std::string& word : split(text, ' '))
        if (!word.empty()) words.push_back(std::move(word));
    if (words.empty()) throw Error("a rule such as `registry.example.org:443` was expected");
    std::string_view place = words[0];
    if (place.starts_with("https://"))
        throw Error("TLS goes through a tunnel: write HOST:443, without `https://`");
    EgressRule rule;
    rule.plain_http = place.starts_with("http://");
    if (rule.plain_http) place.remove_prefix(7);
    read_place(rule, place);
    for (size_t i = 1; i < words.size(); ++i) {
        if (words[i] == "private" && i + 1 == words.size()) rule.private_address = true;
        else read_method(rule, words[i]);
    }
    if (rule.plain_http && rule.methods.empty())
        throw Error("the methods are missing, as in `http://" + place_text(rule.host, rule.port) +
                    " GET HEAD`");
    return rule;
}

std::string format_egress_rule(const EgressRule& rule) {
    std::string text = (rule.plain_http ? "http://" : "") + place_text(rule.host, rule.port);
    for (const std::string& method : rule.methods) text += " " + method;
    return text + (rule.private_address ? " private" : "");
}

}  // namespace peacrab
