#include "protocols/base64.h"

#include <algorithm>
#include <cstdint>

namespace peacrab {

std::string base64(std::string_view bytes) {
    constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
        const size_t count = std::min<size_t>(3, bytes.size() - at);
        uint32_t bits = 0;
        for (size_t n = 0; n < 3; ++n) bits = bits << 8 | (n < count ? static_cast<unsigned char>(bytes[at + n]) : 0U);
        for (size_t n = 0; n < 4; ++n) out += n <= count ? kDigits[bits >> (18 - 6 * n) & 63] : '=';
    }
    return out;
}

}  // namespace peacrab
