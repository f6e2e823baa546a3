// Bytes from the web as text a model may be shown: UTF-8, and nothing in it that a person looking at the
// same page could not see.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

void append_utf8(std::string& out, char32_t c);  // what is no character becomes U+FFFD

// Control characters, bidi overrides, zero-width and tag characters, variation selectors: what hides text or
// carries it unseen. Newline and tab are none of these.
bool is_hidden_character(char32_t c);

// `bytes` in `charset` (as HTTP or a meta element names it; "": found out) as UTF-8, as they are: not yet
// cleaned. A charset that is not known here keeps its ASCII, the rest becomes U+FFFD.
std::string decode_charset(std::string_view bytes, std::string_view charset);

// UTF-8 without hidden characters; a lone carriage return and the line separators become newlines.
std::string clean_text(std::string_view utf8);

// The next character of `text` at `at`, which moves on; U+FFFD for bytes that are none.
char32_t next_character(std::string_view text, size_t& at);

}  // namespace peacrab
