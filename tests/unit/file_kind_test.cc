#include <doctest/doctest.h>

#include <random>

#include "json.h"
#include "messaging/file_kind.h"
#include "os.h"

using namespace peacrab;

namespace {

const FileKind kPlain = file_kind("some words");

std::string safe(std::string_view name) { return safe_file_name(name, kPlain); }

}  // namespace

TEST_CASE("file names: what leads elsewhere, hides or means something to a shell is gone") {
    CHECK(safe("photo.jpg") == "photo.jpg");
    CHECK(safe("../../etc/passwd") == "passwd");
    CHECK(safe("..\\..\\boot.ini") == "boot.ini");
    CHECK(safe("/") == "file.txt");
    CHECK(safe("..") == "file.txt");
    CHECK(safe("") == "file.txt");
    CHECK(safe(".bashrc") == "bashrc");
    CHECK(safe("-rf") == "rf");
    CHECK(safe(std::string_view("a\0b.txt", 7)) == "ab.txt");
    CHECK(safe("photo\u202egpj.exe") == "photogpj.exe");
    CHECK(safe("a\u200bb\ufeff.txt") == "ab.txt");
    CHECK(safe("a b\u3000c.txt") == "a-b-c.txt");
    CHECK(safe("$(reboot);'x'&.sh") == "__reboot___x__.sh");
    CHECK(safe("Übung № 1.pdf") == "Übung-№-1.pdf");
    CHECK(safe("a\xff\xfe.txt") == "a__.txt");
    CHECK(safe("name.") == "name");
}

TEST_CASE("file names: a long one keeps its extension and no half of a character") {
    const std::string name = safe(std::string(300, 'x') + ".jpeg");
    CHECK(name == std::string(95, 'x') + ".jpeg");
    std::string wide;
    for (int i = 0; i < 100; ++i) wide += "語";
    const std::string cut = safe(wide + ".txt");
    CHECK(cut.size() <= 100);
    CHECK(json::valid_utf8(cut) == cut);
    CHECK(cut.ends_with(".txt"));
    CHECK(safe(std::string(300, '.') + std::string(300, 'y')).size() == 100);
}

TEST_CASE("file names: of whatever bytes, one part of a path that stays what it is") {
    std::minstd_rand dice(41);
    const std::vector<std::string> pieces = {"..", "/", "\\", std::string(1, '\0'), "\u202e", "\n", "a", ".", "-", "~", "é", "\xf0\x9f",
                                             "🦀", " ", "`", "\u2066", "x.tar.gz", "\xed\xa0\x80", std::string(90, 'z')};
    for (int round = 0; round < 20'000; ++round) {
        std::string name;
        for (size_t n = dice() % 12; n > 0; --n)
            name += dice() % 3 ? pieces[dice() % pieces.size()] : std::string(1, static_cast<char>(dice() % 256));
        const std::string out = safe(name);
        REQUIRE(!out.empty());
        REQUIRE(out.size() <= 100);
        REQUIRE(out.find_first_of(std::string_view("/\\\0 \n'\"`$&|;<>(){}[]*?!#~%^=:,", 31)) == std::string::npos);
        REQUIRE(out[0] != '.');
        REQUIRE(out[0] != '-');
        REQUIRE(!out.ends_with('.'));
        REQUIRE(json::valid_utf8(out) == out);
        REQUIRE(printable(out) == out);
        REQUIRE(safe(out) == out);
    }
}

TEST_CASE("file kinds: by the beginning, whatever it is called") {
    const auto mime = [](std::string_view bytes) { return std::string(file_kind(bytes).mime); };
    CHECK(mime("\x89PNG\r\n\x1a\n") == "image/png");
    CHECK(mime("\xff\xd8\xff\xe0") == "image/jpeg");
    CHECK(mime("  \n<!DOCTYPE html><p>") == "text/html");
    CHECK(mime("<html>") == "text/html");
    CHECK(mime("%PDF-1.7") == "application/pdf");
    CHECK(mime("hello") == "text/plain");
    CHECK(mime("<svg xmlns") == "image/svg+xml");
    CHECK(mime("") == "application/octet-stream");
    CHECK(mime(std::string_view("a\0b", 3)) == "application/octet-stream");
    CHECK(mime("\xff\xfe") == "application/octet-stream");
    CHECK(file_kind("OggS" + std::string(24, '\0') + "OpusHead").kind == std::string("voice"));
    CHECK(file_kind("OggS" + std::string(24, '\0') + "\1vorbis").kind == std::string("audio"));
    CHECK(file_kind(std::string("\0\0\0\x18", 4) + "ftypisom").kind == std::string("video"));
    CHECK(file_kind(std::string(kSniffed - 1, 'a') + "é").mime == std::string("text/plain"));  // cut within it
}

TEST_CASE("file kinds: no bytes make it read beyond their end") {
    std::minstd_rand dice(43);
    const std::vector<std::string> starts = {"\xff\xd8\xff", "RIFF0000WEBPVP8 ", "GIF89a", "\x89PNG\r\n\x1a\n", "OggS", "\xef\xbb\xbf", "<"};
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = dice() % 2 ? starts[dice() % starts.size()] : "";
        for (size_t n = dice() % 60; n > 0; --n) bytes += static_cast<char>(dice() % 256);
        const std::string exact(bytes);  // so that a sanitizer sees the end
        REQUIRE(file_kind(exact).mime != nullptr);
    }
}
