// Only headers are looked at; a picture is never decoded here. A wrong header makes the provider refuse the
// request, which llm then repeats without pictures.
#include "builtins/picture.h"

#include <algorithm>
#include <array>

#include "error.h"
#include "protocols/base64.h"

namespace peacrab {
namespace {

constexpr std::array<std::string_view, 4> kMediaTypes = {"image/png", "image/jpeg", "image/gif", "image/webp"};
constexpr std::string_view kBetween = ";base64,";
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// `count` bytes at `at` as a number; 0 beyond the end.
uint32_t big(std::string_view bytes, size_t at, size_t count) {
    uint32_t value = 0;
    if (at + count > bytes.size()) return 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
}

uint32_t little(std::string_view bytes, size_t at, size_t count) {
    uint32_t value = 0;
    if (at + count > bytes.size()) return 0;
    while (count-- > 0) value = value << 8 | static_cast<unsigned char>(bytes[at + count]);
    return value;
}

// From segment to segment up to the one that begins a frame: markers C0 to CF but C4, C8 and CC.
PictureKind jpeg(std::string_view bytes) {
    PictureKind kind{"image/jpeg"};
    for (size_t at = 2; at + 9 <= bytes.size();) {
        const auto marker = static_cast<unsigned char>(bytes[at + 1]);
        if (bytes[at] != '\xff') return kind;
        if (marker == 0xff) {  // filling
            ++at;
            continue;
        }
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc)
            return {kind.media_type, big(bytes, at + 7, 2), big(bytes, at + 5, 2)};
        at += 2 + big(bytes, at + 2, 2);
    }
    return kind;
}

PictureKind webp(std::string_view bytes) {
    PictureKind kind{"image/webp"};
    const std::string_view chunk = bytes.substr(12, 4);
    if (chunk == "VP8 ") return {kind.media_type, little(bytes, 26, 2) & 0x3fff, little(bytes, 28, 2) & 0x3fff};
    if (chunk == "VP8X") return {kind.media_type, little(bytes, 24, 3) + 1, little(bytes, 27, 3) + 1};
    if (chunk == "VP8L")
        return {kind.media_type, (little(bytes, 21, 2) & 0x3fff) + 1, (little(bytes, 22, 3) >> 6 & 0x3fff) + 1};
    return kind;
}

}  // namespace

std::optional<PictureKind> picture_kind(std::string_view bytes) {
    if (bytes.starts_with("\x89PNG\r\n\x1a\n"))
        return PictureKind{"image/png", big(bytes, 16, 4), big(bytes, 20, 4)};
    if (bytes.starts_with("\xff\xd8\xff")) return jpeg(bytes);
    if (bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a"))
        return PictureKind{"image/gif", little(bytes, 6, 2), little(bytes, 8, 2)};
    if (bytes.starts_with("RIFF") && bytes.size() >= 16 && bytes.substr(8, 4) == "WEBP") return webp(bytes);
    return std::nullopt;
}

std::string picture_of(const PictureKind& kind, std::string_view bytes) {
    const std::string how = "; make it smaller first, with shell (convert, ffmpeg)";
    if (bytes.size() > kMaxPicture)
        throw Error("the picture has more than " + std::to_string(kMaxPicture >> 10) + " KiB" + how);
    if (kind.width == 0 || kind.height == 0) throw Error("the picture's header is damaged");
    if (kind.width > kMaxPictureSide || kind.height > kMaxPictureSide)
        throw Error("the picture is larger than " + std::to_string(kMaxPictureSide) + " pixels" + how);
    return kind.media_type + std::string(kBetween) + base64(bytes);
}

bool is_picture(std::string_view picture) {
    const size_t between = picture.find(kBetween);
    if (between == std::string_view::npos) return false;
    const std::string_view data = picture.substr(between + kBetween.size());
    const size_t digits = std::min(data.find_first_not_of(kDigits), data.size());
    return std::find(kMediaTypes.begin(), kMediaTypes.end(), picture.substr(0, between)) != kMediaTypes.end() &&
           !data.empty() && data.size() % 4 == 0 && data.size() <= (kMaxPicture + 2) / 3 * 4 &&
           data.size() - digits <= 2 && data.find_first_not_of('=', digits) == std::string_view::npos;
}

}  // namespace peacrab
