// Pictures a model can be shown: PNG, JPEG, GIF and WebP, which every provider takes.
// Sources: RFC 2083 (PNG), ITU-T T.81 (JPEG), the GIF89a specification, RFC 9649 (WebP).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace peacrab {

struct PictureKind {
    const char* media_type;
    uint32_t width = 0, height = 0;  // as its header says; 0: it does not say
};

// By what stands at the beginning of a file. Nothing: no picture of these four.
std::optional<PictureKind> picture_kind(std::string_view bytes);

// As a journal keeps one and a frame carries it: "image/png;base64,iVBO…". Throws Error, for the model,
// when it is larger than a provider or a frame takes.
constexpr size_t kMaxPicture = size_t{640} << 10;
constexpr uint32_t kMaxPictureSide = 8000;  // pixels; beyond, the whole request would be refused
std::string picture_of(const PictureKind& kind, std::string_view bytes);

// Whether it is one that picture_of made: what a hostile cell or turn hands on must not spoil a request.
bool is_picture(std::string_view picture);

}  // namespace peacrab
