// Bytes of a program that may be hostile to the terminal of whoever looks. Must not look far for the end of a
// sequence that has none.
#include "builtins/plain.h"

#include "cells/mechanism.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kMaxUnterminated = 4096;  // of an escape sequence

// Length of the escape sequence at `text`, which begins with ESC. Source: ECMA-48.
size_t escape_length(std::string_view text) {
    if (text.size() < 2) return 1;
    const char kind = text[1];
    const std::string_view near = text.substr(0, kMaxUnterminated);
    if (kind == '[') {  // control sequence: parameters, then one final byte
        for (size_t i = 2; i < near.size(); ++i)
            if (near[i] >= 0x40 && near[i] <= 0x7e)
                return i + 1;
            else if (near[i] < 0x20)
                return i;
        return 2;
    }
    if (std::string_view("]PX^_").find(kind) != std::string_view::npos) {  // strings: to BEL or ST
        for (size_t i = 2; i < near.size(); ++i) {
            if (near[i] == '\a') return i + 1;
            if (near[i] == '\x1b') return i + (near.substr(i).starts_with("\x1b\\") ? 2 : 0);
        }
        return 2;  // no end in sight: what follows is shown
    }
    size_t i = 1;  // intermediates, then one final byte
    while (i < near.size() && near[i] >= 0x20 && near[i] <= 0x2f) ++i;
    return i < near.size() && near[i] >= 0x30 && near[i] <= 0x7e ? i + 1 : 1;
}

}  // namespace

std::string plain(std::string_view text) {
    if (!on(Mechanism::ScrubOutput)) return json::valid_utf8(text);
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const char c = text.front();
        size_t length = 1;
        if (c == '\x1b')
            length = escape_length(text);
        else if (c == '\r') {
            if (text.size() < 2 || text[1] != '\n') out += '\n';
        } else if (text.size() > 1 && c == '\xc2' && (text[1] & '\xe0') == '\x80')
            length = 2;  // C1
        else if (static_cast<unsigned char>(c) >= 0x20 ? c != '\x7f' : c == '\n' || c == '\t')
            out += c;
        text.remove_prefix(length);
    }
    return json::valid_utf8(out);
}

}  // namespace peacrab
