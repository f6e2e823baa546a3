// Character references of HTML: &amp; &#8212; &#x2014; &eacute;
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

// `text` with its references replaced; one that is not known stays as it is written.
std::string decode_entities(std::string_view text);
// The character a name stands for in HTML and (most of them) in a PDF's glyph names; 0: not known.
char32_t named_character(std::string_view name);

}  // namespace peacrab
