// A page as text: headings, lists, tables by rows, links as [text](address), code kept as it is written. What
// is not for reading is left out: scripts, styles, navigation, what a style hides.
#pragma once

#include <string>
#include <string_view>

#include "web/address.h"

namespace peacrab {

struct PageText {
    std::string title;
    std::string text;   // UTF-8, without hidden characters (web/characters)
    std::string note;   // what is to be known of it: cut, not readable; "" when it is whole
};

// `html` is UTF-8 (decode_charset). Takes time and memory in proportion to it; `most` bytes of text come out.
PageText read_html(std::string_view html, const WebAddress& at, size_t most);

// The charset that a meta element near the beginning names; "": none.
std::string html_charset(std::string_view bytes);

}  // namespace peacrab
