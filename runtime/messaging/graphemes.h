// Where a text may be cut without taking a character apart that a person sees as one.
#pragma once

#include <cstddef>
#include <string_view>

namespace peacrab {

// Length in bytes of the first of them in `text` (UTF-8, not empty): at most 24 code points are kept together.
// About Unicode's annex 29: marks, joined emoji, flags, skin tones, keycaps, Hangul syllables.
size_t grapheme_length(std::string_view text);
// Takes no column of its own: a combining mark, a joiner, a variation selector.
bool is_mark(char32_t c);
// Takes two columns on a terminal.
bool is_wide(char32_t c);

}  // namespace peacrab
