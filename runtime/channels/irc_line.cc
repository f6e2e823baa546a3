// Source: RFC 2812, 2.3; https://ircv3.net/specs/extensions/message-tags; https://modern.ircdocs.horse/formatting.
#include "channels/irc_line.h"

#include <algorithm>

namespace peacrab {
namespace {

constexpr size_t kMostWords = 15;
constexpr size_t kMostTags = 64;

std::string unescaped(std::string_view value) {
    std::string out;
    for (size_t i = 0; i < value.size(); ++i) {
        if (value[i] != '\\') {
            out += value[i];
            continue;
        }
        if (++i == value.size()) break;
        const char c = value[i];
        out += c == ':' ? ';' : c == 's' ? ' ' : c == 'r' ? '\r' : c == 'n' ? '\n' : c;
    }
    return out;
}

std::string_view take_word(std::string_view& rest) {
    const size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    return word;
}

char lowered(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
    return c == '[' ? '{' : c == ']' ? '}' : c == '\\' ? '|' : c == '~' ? '^' : c;
}

}  // namespace

const std::string& IrcLine::word(size_t at) const {
    static const std::string none;
    return at < words.size() ? words[at] : none;
}

IrcLine parse_irc(std::string_view line) {
    IrcLine out;
    if (line.starts_with('@')) {
        std::string_view tags = take_word(line).substr(1);
        while (!tags.empty() && out.tags.size() < kMostTags) {
            const std::string_view tag = tags.substr(0, tags.find(';'));
            tags.remove_prefix(std::min(tag.size() + 1, tags.size()));
            const size_t equals = tag.find('=');
            out.tags[std::string(tag.substr(0, equals))] = equals == tag.npos ? "" : unescaped(tag.substr(equals + 1));
        }
    }
    if (line.starts_with(':')) out.source = take_word(line).substr(1);
    out.command = take_word(line);
    for (char& c : out.command)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    while (!line.empty() && out.words.size() < kMostWords) {
        if (line[0] == ':') {
            out.words.emplace_back(line.substr(1));
            break;
        }
        out.words.emplace_back(take_word(line));
    }
    return out;
}

std::string irc_text(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c == '\r' || c == '\n' || c == '\0') c = ' ';
    return out;
}

bool irc_same(std::string_view one, std::string_view other) {
    return one.size() == other.size() &&
           std::equal(one.begin(), one.end(), other.begin(), [](char a, char b) { return lowered(a) == lowered(b); });
}

bool irc_addressed(std::string& text, std::string_view nick) {
    if (text.size() <= nick.size() || !irc_same(std::string_view(text).substr(0, nick.size()), nick)) return false;
    const char mark = text[nick.size()];
    if (mark != ':' && mark != ',') return false;
    text.erase(0, std::min(text.find_first_not_of(' ', nick.size() + 1), text.size()));
    return true;
}

std::string irc_plain(std::string_view text) {
    std::string out;
    const auto digit = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\x03') {  // a colour, and another behind a comma
            for (int part = 0; part < 2; ++part) {
                for (int n = 0; n < 2 && digit(i + 1); ++n) ++i;
                if (part == 0 && i + 1 < text.size() && text[i + 1] == ',' && digit(i + 2)) ++i;
                else break;
            }
        } else if (c == '\t' || static_cast<unsigned char>(c) >= 0x20) {
            out += c;
        }
    }
    return out;
}

}  // namespace peacrab
