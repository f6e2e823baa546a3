// What a command said, as text: nothing in it can move a cursor or hide.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

// Without escape sequences and control bytes, valid UTF-8; a lone carriage return begins a new line.
std::string plain(std::string_view text);

}  // namespace peacrab
