// Few charsets on purpose: nearly all of the web is UTF-8, and what is not says so in these.
// Sources: WHATWG Encoding (windows-1252 stands for Latin-1 and ASCII), Unicode's DerivedCoreProperties.
#include "web/characters.h"

#include <array>
#include <cstdint>

#include "os.h"

namespace peacrab {
namespace {

constexpr char32_t kReplacement = 0xfffd;

// windows-1252 from 0x80; the five that it has not are controls.
constexpr std::array<char16_t, 32> kWindows = {
    0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178};

struct Range {
    char32_t first, last;
};
constexpr Range kHidden[] = {
    {0x00, 0x08},       {0x0b, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},
    {0x034f, 0x034f},   {0x061c, 0x061c},   {0x115f, 0x1160},   {0x17b4, 0x17b5},
    {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb},   {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

std::string from_utf16(std::string_view bytes, bool big) {
    std::string out;
    const auto unit = [&](size_t i) {
        const auto a = static_cast<uint8_t>(bytes[i]), b = static_cast<uint8_t>(bytes[i + 1]);
        return static_cast<char32_t>(big ? a << 8 | b : b << 8 | a);
    };
    for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
        char32_t c = unit(i);
        if (c >= 0xd800 && c < 0xdc00 && i + 3 < bytes.size()) {
            const char32_t low = unit(i + 2);
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        append_utf8(out, c);
    }
    return out;
}

// One byte, one character.
std::string from_single(std::string_view bytes, bool known) {
    std::string out;
    out.reserve(bytes.size() + bytes.size() / 8);
    for (const char byte : bytes) {
        const auto c = static_cast<uint8_t>(byte);
        if (c < 0x80)
            out += byte;
        else
            append_utf8(out, !known ? kReplacement : c < 0xa0 ? char32_t{kWindows[c - 0x80u]} : c);
    }
    return out;
}

bool is_utf8(std::string_view bytes) {
    constexpr size_t kLong = 4096;  // what is longer may have been cut
    const bool whole = bytes.size() < kLong;
    while (!bytes.empty()) {
        const size_t length = utf8_length(bytes);
        if (!length) return !whole && bytes.size() < 4;
        bytes.remove_prefix(length);
    }
    return true;
}

}  // namespace

void append_utf8(std::string& out, char32_t c) {
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = kReplacement;
    const auto put = [&](char32_t bits) { out += static_cast<char>(bits); };
    if (c < 0x80) return put(c);
    if (c < 0x800) {
        put(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            put(0xe0 | c >> 12);
        } else {
            put(0xf0 | c >> 18);
            put(0x80 | (c >> 12 & 0x3f));
        }
        put(0x80 | (c >> 6 & 0x3f));
    }
    put(0x80 | (c & 0x3f));
}

char32_t next_character(std::string_view text, size_t& at) {
    const size_t length = utf8_length(text.substr(at, 4));
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
    if (!length) return ++at, kReplacement;
    char32_t c = length == 1 ? byte(0) : byte(0) & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) c = c << 6 | (byte(i) & 0x3fu);
    at += length;
    return c;
}

bool is_hidden_character(char32_t c) {
    for (const Range& range : kHidden)
        if (c >= range.first && c <= range.last) return true;
    return (c & 0xfffe) == 0xfffe;
}

std::string decode_charset(std::string_view bytes, std::string_view charset) {
    const std::string name = lower(charset);
    if (bytes.starts_with("\xff\xfe")) return from_utf16(bytes.substr(2), false);
    if (bytes.starts_with("\xfe\xff")) return from_utf16(bytes.substr(2), true);
    if (bytes.starts_with("\xef\xbb\xbf")) return std::string(bytes.substr(3));
    if (name == "utf-16le" || name == "utf-16") return from_utf16(bytes, false);
    if (name == "utf-16be") return from_utf16(bytes, true);
    // Whatever it says it is: text that is valid UTF-8 by chance is rare.
    if (is_utf8(bytes) || name == "utf-8" || name == "utf8") return std::string(bytes);
    const bool known = name.empty() || name == "windows-1252" || name == "cp1252" ||
                       name.starts_with("iso-8859-1") || name == "latin1" || name == "us-ascii" ||
                       name == "ascii";
    return from_single(bytes, known);
}

std::string clean_text(std::string_view utf8) {
    std::string out;
    out.reserve(utf8.size());
    for (size_t at = 0; at < utf8.size();) {
        const char32_t c = next_character(utf8, at);
        if (c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029) {
            if (c != '\r' || at >= utf8.size() || utf8[at] != '\n') out += '\n';
        } else if (!is_hidden_character(c)) {
            append_utf8(out, c);
        }
    }
    return out;
}

}  // namespace peacrab
