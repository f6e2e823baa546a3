// What fuzz targets share: a claim that must hold, and several texts in one input.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "os.h"

namespace peacrab {

inline void require(bool holds) {
    if (!holds) std::abort();
}

// The first byte picks what is done; the rest is texts, each up to a zero byte. There are at least `least`.
struct FuzzInput {
    uint8_t kind = 0;
    std::vector<std::string> texts;

    FuzzInput(const uint8_t* data, size_t size, size_t least) {
        if (size) kind = data[0];
        if (size > 1) texts = split({reinterpret_cast<const char*>(data) + 1, size - 1}, '\0');
        if (texts.size() < least) texts.resize(least);
    }
};

// On one line, of characters that no terminal obeys.
inline bool is_shown_line(std::string_view text) {
    return printable(text) == text && text.find('\n') == std::string_view::npos;
}

}  // namespace peacrab
