#include "builtins/picture.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

namespace {

std::string of(std::initializer_list<int> bytes) {
    std::string out;
    for (const int byte : bytes) out += static_cast<char>(byte);
    return out;
}

const std::string kPng = "\x89PNG\r\n\x1a\n" + of({0, 0, 0, 13}) + "IHDR" + of({0, 0, 2, 128, 0, 0, 1, 224, 8, 2});
// SOI, a segment of two bytes, filling, a table that is no frame, then a frame of 240 x 320.
const std::string kJpeg = of({0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc2, 0, 11, 8, 1,
                              64, 0, 240, 3, 1, 1, 1});
const std::string kGif = "GIF89a" + of({16, 0, 8, 1, 0});
const std::string kWebp = "RIFF" + of({9, 0, 0, 0}) + "WEBPVP8X" + of({10, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 49, 0, 0});
const std::string kLossless = "RIFF" + of({9, 0, 0, 0}) + "WEBPVP8L" + of({9, 0, 0, 0, 0x2f, 99, 64, 12, 0});

}  // namespace

TEST_CASE("picture: the four kinds are known by their first bytes, with their size") {
    struct Row {
        std::string bytes;
        const char* type;
        uint32_t width, height;
    };
    for (const Row& row : {Row{kPng, "image/png", 640, 480}, Row{kJpeg, "image/jpeg", 240, 320},
                           Row{kGif, "image/gif", 16, 264}, Row{kWebp, "image/webp", 100, 50},
                           Row{kLossless, "image/webp", 100, 50}}) {
        const std::optional<PictureKind> kind = picture_kind(row.bytes);
        REQUIRE(kind);
        CHECK(std::string(kind->media_type) == row.type);
        CHECK(kind->width == row.width);
        CHECK(kind->height == row.height);
    }
    for (const char* other : {"", "BM", "GIF90a", "\xff\xd8", "RIFF....WAVEfmt ", "<svg/>", "%PDF-1.7"})
        CHECK_FALSE(picture_kind(other));
}

TEST_CASE("picture: a header that is cut anywhere is read no further, and is no size") {
    for (const std::string& whole : {kPng, kJpeg, kGif, kWebp, kLossless})
        for (size_t size = 0; size < whole.size(); ++size) {
            const std::string bytes(whole, 0, size);  // exactly as long: a read behind it is seen by the sanitizer
            const std::optional<PictureKind> kind = picture_kind(std::string_view(bytes.data(), size));
            if (kind && (kind->width == 0 || kind->height == 0)) CHECK_THROWS_AS((void)picture_of(*kind, bytes), Error);
        }
}

TEST_CASE("picture: what is made passes the check, whatever its length; nothing else does") {
    for (size_t more = 0; more < 7; ++more) {
        const std::string bytes = kPng + std::string(more, '\xff');
        CHECK(is_picture(picture_of(*picture_kind(bytes), bytes)));
    }
    CHECK(picture_of({"image/gif", 1, 1}, "Man") == "image/gif;base64,TWFu");
    CHECK(picture_of({"image/gif", 1, 1}, "Ma") == "image/gif;base64,TWE=");
    CHECK(picture_of({"image/gif", 1, 1}, "M") == "image/gif;base64,TQ==");
    for (const char* other :
         {"", "image/png", "image/png;base64,", "image/png;base64,TWF", "image/png;base64,TW=u", "image/png;base64,T===",
          "image/png;base64,TWFu\n", "image/svg+xml;base64,TWFu", "data:image/png;base64,TWFu", "image/png,TWFu"})
        CHECK_FALSE(is_picture(other));
    CHECK_FALSE(is_picture("image/png;base64," + std::string(kMaxPicture * 4 / 3 + 8, 'A')));
}

TEST_CASE("picture: what a provider would refuse is refused here, with what to do") {
    CHECK_THROWS_WITH((void)picture_of({"image/png", 8001, 1}, "x"),
                      "the picture is larger than 8000 pixels; make it smaller first, with shell (convert, ffmpeg)");
    CHECK_THROWS_WITH((void)picture_of({"image/png", 1, 1}, std::string(kMaxPicture + 1, 'x')),
                      "the picture has more than 640 KiB; make it smaller first, with shell (convert, ffmpeg)");
}
