// Finding text that somebody wrote down from memory, and showing where it is. Pure, and linear in what
// it is given, which is hostile.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// A text without what nobody sees: blanks before a line end, the mark at its front; CRLF is LF;
// typographic quotes, dashes and blanks are ASCII. Each byte knows the bytes it comes of.
struct Loose {
    std::string text;
    std::vector<uint32_t> from, to;
    bool cut_end = false;  // blanks at the very end were left out
};
Loose loosen(std::string_view text);

// Where `what` begins in `text`, at most `most` of them. Overlapping ones too, unless `apart`.
enum class Matches { Overlapping, Apart };
std::vector<size_t> find_all(std::string_view text, std::string_view what, size_t most,
                             Matches matches = Matches::Overlapping);

// "\r\n" when most lines end so, else "\n".
std::string_view line_end_of(std::string_view text);
// `text`, whose lines end in either way, with this one.
std::string with_line_ends(std::string_view text, std::string_view end);
size_t line_at(std::string_view text, size_t offset);  // from 1
// "3", "3 and 9", "3, 9 and 20"; of more than eight the first, and "more".
std::string listed(const std::vector<size_t>& lines);

// One line of a file, quoted, short enough for a message.
std::string quoted_line(std::string_view line);
// Lines `first` to `last` and a few around them, with numbers; of many the middle is left out.
std::string numbered(std::string_view text, size_t first, size_t last);
// What in `text` comes nearest to `wanted`, which is not in it: a clause for the model.
std::string nearest(std::string_view text, std::string_view wanted);

}  // namespace peacrab
