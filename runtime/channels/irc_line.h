// A line of IRC, taken apart. Anything may stand in one; nothing is looked up here.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct IrcLine {
    std::map<std::string, std::string> tags;  // unescaped; without a value: ""
    std::string source;                       // nick!user@host, or a server
    std::string command;                      // in upper case, or three digits
    std::vector<std::string> words;           // at most 15

    std::string nick() const { return source.substr(0, source.find_first_of("!@")); }
    const std::string& word(size_t at) const;  // "": there are fewer
};

IrcLine parse_irc(std::string_view line);
// As it may stand in a line: no line ends, no NUL.
std::string irc_text(std::string_view text);
// Whether two nicks or channels are one (RFC 2812, 2.2).
bool irc_same(std::string_view one, std::string_view other);
// What is said to `nick` in a channel, "nick: hello" or "nick, hello": without that; else false, and `text` as it was.
bool irc_addressed(std::string& text, std::string_view nick);
// Without mIRC's codes for colours and the like.
std::string irc_plain(std::string_view text);

}  // namespace peacrab
