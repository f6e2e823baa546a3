// Strict where a request is made of it: what two readers could understand differently is refused.
#include "web/address.h"

#include <charconv>
#include <vector>

#include "error.h"
#include "os.h"
#include "web/characters.h"

namespace peacrab {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The length of "scheme:" at the front, without the colon; 0: there is none.
size_t scheme_length(std::string_view text) {
    size_t i = 0;
    while (i < text.size() && (is_letter(text[i]) || (i > 0 && (is_digit(text[i]) || text[i] == '+' ||
                                                               text[i] == '-' || text[i] == '.'))))
        ++i;
    return i < text.size() && text[i] == ':' ? i : 0;
}

// As browsers send it: what may not stand in a request line is encoded, what is encoded already stays.
std::string encoded(std::string_view text) {
    return percent_encoded(text, [](char c) {
        return c > 0x20 && c < 0x7f && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
    });
}

std::string without_dots(std::string_view path) {
    std::vector<std::string_view> parts;
    bool folder = false;
    for (size_t at = 1; at <= path.size();) {
        const size_t end = std::min(path.find('/', at), path.size());
        const std::string_view part = path.substr(at, end - at);
        folder = part == "." || part == "..";
        if (part == ".." && !parts.empty()) parts.pop_back();
        if (!folder) parts.push_back(part);
        at = end + 1;
    }
    if (folder) parts.push_back({});
    std::string out;
    for (const std::string_view part : parts) (out += '/') += part;
    return out.empty() ? "/" : out;
}

void set_target(WebAddress& address, std::string_view text) {
    text = text.substr(0, text.find('#'));
    const size_t query = std::min(text.find('?'), text.size());
    const std::string path = encoded(text.substr(0, query));
    address.target = (path.empty() ? "/" : without_dots(path)) + encoded(text.substr(query));
}

void set_host(WebAddress& address, std::string_view authority) {
    if (authority.find('@') != std::string_view::npos)
        throw Error("a user name or password in an address is not sent: leave it out");
    size_t end = authority.size();
    const size_t bracket = authority.find(']');
    const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
    if (colon != std::string_view::npos) {
        end = colon;
        const std::string_view digits = authority.substr(colon + 1);
        unsigned port = address.port;
        const auto [at, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (!digits.empty() && (error != std::errc() || at != digits.data() + digits.size() || port == 0 ||
                                port > 65535))
            throw Error("the port in the address is none");
        address.port = static_cast<uint16_t>(port);
    }
    address.host = lower(authority.substr(0, end));
    const bool six = address.host.starts_with('[');
    if (address.host.empty() || address.host.size() > 253 || (six && !address.host.ends_with(']')))
        throw Error("the address has no host");
    const std::string_view inside = six ? std::string_view(address.host).substr(1, address.host.size() - 2)
                                        : std::string_view(address.host);
    for (const char c : inside) {
        const bool fits = six ? is_digit(c) || (c >= 'a' && c <= 'f') || c == ':' || c == '.'
                              : is_digit(c) || is_letter(c) || c == '-' || c == '.' || c == '_';
        if (!fits) throw Error("the host in the address is not a name in ASCII (xn--… for others)");
    }
}

}  // namespace

std::string WebAddress::place() const {
    return host + ":" + std::to_string(port);
}

std::string WebAddress::text() const {
    const bool usual = port == (tls ? 443 : 80);
    return (tls ? "https://" : "http://") + (usual ? host : place()) + target;
}

WebAddress parse_address(std::string_view text) {
    if (text.size() > kMaxAddress) throw Error("the address is longer than 4096 bytes");
    const size_t scheme = scheme_length(text);
    const std::string name = lower(text.substr(0, scheme));
    WebAddress address;
    if (name == "http") {
        address.tls = false;
        address.port = 80;
    } else if (name != "https") {
        throw Error("only http:// and https:// addresses are fetched");
    }
    text.remove_prefix(scheme + 1);
    if (!text.starts_with("//")) throw Error("the address has no host");
    text.remove_prefix(2);
    const size_t end = std::min(text.find_first_of("/?#"), text.size());
    set_host(address, text.substr(0, end));
    set_target(address, text.substr(end));
    if (address.target.size() > 2 * kMaxAddress) throw Error("the address is too long");
    return address;
}

std::string resolve_link(const WebAddress& base, std::string_view reference) {
    while (!reference.empty() && static_cast<uint8_t>(reference.front()) <= 0x20) reference.remove_prefix(1);
    while (!reference.empty() && static_cast<uint8_t>(reference.back()) <= 0x20) reference.remove_suffix(1);
    if (reference.empty() || reference.size() > kMaxAddress) return {};
    const size_t hash = std::min(reference.find('#'), reference.size());
    const std::string fragment = encoded(reference.substr(hash));
    const std::string_view rest = reference.substr(0, hash);
    try {
        if (scheme_length(rest)) return parse_address(rest).text() + fragment;
        if (rest.starts_with("//"))
            return parse_address((base.tls ? "https:" : "http:") + std::string(rest)).text() + fragment;
        WebAddress address = base;
        const std::string path = base.target.substr(0, base.target.find('?'));
        if (rest.starts_with('/'))
            set_target(address, rest);
        else if (rest.starts_with('?'))
            set_target(address, path + std::string(rest));
        else if (!rest.empty())
            set_target(address, path.substr(0, path.rfind('/') + 1) + std::string(rest));
        return address.text() + fragment;
    } catch (const Error&) {
        return {};
    }
}

std::string percent_encoded(std::string_view text, bool (*stays)(char)) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<uint8_t>(c);
        if (stays(c))
            out += c;
        else
            (out += '%') += {kHex[byte >> 4], kHex[byte & 15]};
    }
    return out;
}

}  // namespace peacrab
