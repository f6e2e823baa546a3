#include "protocols/tar.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "../support/folder.h"
#include "error.h"
#include "os.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

struct Seen {
    TarEntry entry;
    std::string data;
    bool whole = false;
};

struct Archive {
    std::vector<Seen> seen;
    size_t skipped = 0;
    size_t taken = 0;
    bool ended = false;
};

Archive read(std::string_view bytes, size_t piece = size_t{1} << 20, TarLimits limits = {}) {
    Archive archive;
    TarReader reader({.begin = [&](const TarEntry& entry) { archive.seen.push_back({entry, {}, false}); },
                      .data = [&](std::string_view data) { archive.seen.back().data += data; },
                      .end = [&] { archive.seen.back().whole = true; }},
                     limits);
    for (size_t at = 0; at < bytes.size() && !reader.ended(); at += piece)
        archive.taken += reader.feed(bytes.substr(at, piece));
    archive.skipped = reader.skipped();
    archive.ended = reader.ended();
    return archive;
}

TarEntry file(const std::string& path, uint64_t size, uint32_t mode = 0644) {
    return {TarEntry::Kind::File, path, "", mode, size, 1'700'000'000};
}

std::string written(const std::function<void(TarWriter&)>& fill) {
    std::string out;
    TarWriter writer([&](std::string_view bytes) { out += bytes; });
    fill(writer);
    writer.finish();
    return out;
}

std::string one(const TarEntry& entry, const std::string& data = "") {
    return written([&](TarWriter& writer) {
        writer.begin(entry);
        writer.data(data);
    });
}

// A header of ours with bytes put over it, its sum mended.
std::string patched(std::string archive, size_t at, std::string_view bytes) {
    archive.replace(at, bytes.size(), bytes);
    archive.replace(148, 8, "        ");
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(archive[i]);
    char digits[8];
    std::snprintf(digits, sizeof digits, "%06o", sum);
    archive.replace(148, 7, std::string(digits, 7));
    return archive;
}

std::string run(const std::string& command) {
    FILE* pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe);
    std::string out;
    char buffer[65536];
    while (const size_t n = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
    REQUIRE(::pclose(pipe) == 0);
    return out;
}

}  // namespace

TEST_CASE("tar: what is written is read again, however it is cut") {
    const std::string long_path = std::string(200, 'd') + "/" + std::string(250, 'f');
    const std::string odd = "new\nline \x1b[31m \xff";
    const std::string body(1300, 'x');
    const std::string archive = written([&](TarWriter& writer) {
        writer.begin({TarEntry::Kind::Folder, "folder", "", 0755, 0, 5});
        writer.begin(file("folder/a", body.size(), 0755));
        writer.data(body.substr(0, 700));
        writer.data(body.substr(700));
        writer.begin(file(long_path, 1));
        writer.data("y");
        writer.begin(file(odd, 0));
        writer.begin({TarEntry::Kind::Link, "link", std::string(300, 't'), 0777, 0, 0});
    });
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{512}, size_t{100'000}}) {
        const Archive got = read(archive + "behind it", piece);
        CHECK(got.ended);
        REQUIRE(got.seen.size() == 5);
        CHECK(got.seen[0].entry.kind == TarEntry::Kind::Folder);
        CHECK(got.seen[0].entry.path == "folder");
        CHECK(got.seen[0].entry.mtime == 5);
        CHECK(got.seen[1].entry.mode == 0755);
        CHECK(got.seen[1].entry.mtime == 1'700'000'000);
        CHECK(got.seen[1].data == body);
        CHECK(got.seen[2].entry.path == long_path);
        CHECK(got.seen[2].data == "y");
        CHECK(got.seen[3].entry.path == odd);
        CHECK(got.seen[4].entry.kind == TarEntry::Kind::Link);
        CHECK(got.seen[4].entry.target == std::string(300, 't'));
        for (const Seen& seen : got.seen) CHECK(seen.whole);
        if (piece == 1) CHECK(got.taken == archive.size());
    }
    // What comes behind the end is not taken.
    CHECK(read(archive + "behind it").taken == archive.size());
}

TEST_CASE("tar: Debian's tar reads ours, and we read its three formats") {
    const Folder folder;
    const std::string deep = std::string(90, 'a') + "/" + std::string(90, 'b');
    run("cd " + folder.path + " && mkdir -p in/" + deep + " && printf hello > in/" + deep +
        "/file && chmod 4755 in/" + deep + "/file && ln -s ../../etc/passwd in/link && echo > in/hard && ln in/hard in/second && mkfifo in/pipe");
    for (const std::string format : {"gnu", "pax", "ustar"}) {
        CAPTURE(format);
        const Archive got = read(
            run("tar -C " + folder.path + "/in --sort=name --format=" + format + " -cf - ."), 333);
        CHECK(got.ended);
        CHECK(got.skipped == 2);  // the second name, and the pipe
        REQUIRE(got.seen.size() == 5);
        CHECK(got.seen[2].entry.path == deep + "/file");
        CHECK(got.seen[2].entry.mode == 0755);  // nothing of set-id
        CHECK(got.seen[2].data == "hello");
        CHECK(got.seen[4].entry.target == "../../etc/passwd");
    }
    write_file_atomic(folder.path + "/ours.tar", written([&](TarWriter& writer) {
                          writer.begin({TarEntry::Kind::Folder, "x", "", 0755, 0, 0});
                          writer.begin(file("x/" + deep, 3));
                          writer.data("abc");
                          writer.begin({TarEntry::Kind::Link, "x/l", std::string(150, 'q'), 0777, 0, 0});
                      }),
                      0600);
    run("cd " + folder.path + " && tar -xf ours.tar");
    CHECK(read_file(folder.path + "/x/" + deep, KiB(1)) == "abc");
    CHECK(std::filesystem::read_symlink(folder.path + "/x/l") == std::string(150, 'q'));
}

TEST_CASE("tar: no path leads out") {
    for (const std::string path : {"/etc/passwd", "../x", "a/../../x", "a/..", "..", "/"}) {
        CAPTURE(path);
        CHECK_THROWS_AS((void)read(one(file(path, 0))), Error);
    }
    CHECK_THROWS_AS((void)tar_path(std::string_view("a\0b", 3)), Error);
    CHECK(tar_path("./a//./b/") == "a/b");
    CHECK(tar_path("./") == "");
    CHECK(tar_path("..a/b..") == "..a/b..");
    // By an extension as well: GNU's and pax's.
    const std::string gnu = patched(one(file("name", 6), "../out"), 156, "L");
    CHECK_THROWS_AS((void)read(gnu.substr(0, 1024) + one(file("a", 0))), Error);
    const std::string pax = patched(one(file("name", 15), "15 path=../out\n"), 156, "x");
    CHECK_THROWS_AS((void)read(pax.substr(0, 1024) + one(file("a", 0))), Error);
    const std::string zero =
        patched(one(file("name", 12), std::string("12 path=a\0b\n", 12)), 156, "x");
    CHECK_THROWS_AS((void)read(zero.substr(0, 1024) + one(file("a", 0))), Error);
}

TEST_CASE("tar: each bound holds") {
    TarLimits small{.name = 20, .depth = 3, .entries = 3, .file = Bytes{10}, .total = Bytes{15}};
    const auto refused = [&](const std::string& archive) {
        CHECK_THROWS_AS((void)read(archive, 100, small), Error);
    };
    CHECK(read(one(file("a/b/c", 10), "0123456789"), 100, small).ended);
    refused(one(file("a/b/c/d", 0)));
    refused(one(file("a23456789/b23456789/c", 0)));
    refused(one(file("a", 11), "0123456789x"));
    refused(one(file(std::string(256, 'n'), 0)));
    refused(one({TarEntry::Kind::Link, "l", std::string(21, 't'), 0777, 0, 0}));
    refused(one({TarEntry::Kind::Link, "l", "", 0777, 0, 0}));
    refused(written([](TarWriter& writer) {
        for (const char* name : {"a", "b"}) {
            writer.begin(file(name, 8));
            writer.data("01234567");
        }
    }));
    refused(written([](TarWriter& writer) {
        for (const char* name : {"a", "b", "c", "d"}) writer.begin(file(name, 0));
    }));
    // What a header claims is not believed: nothing is taken in advance.
    const std::string huge = patched(one(file("a", 1), "x"), 124, std::string("\x80\0\0\0\0\xff\0\0\0\0\0\0", 12));
    CHECK_THROWS_AS((void)read(huge), Error);
    const std::string endless = patched(one(file("a", 1), "x"), 124, std::string(12, '\xff'));
    CHECK_THROWS_AS((void)read(endless), Error);
    // Nor is an extension that would be kept in memory.
    CHECK_THROWS_AS((void)read(patched(patched(one(file("n", 0)), 124, "00000400000"), 156, "x")), Error);
}

TEST_CASE("tar: what is no file, folder or link is skipped and counted, or refused") {
    std::string archive;
    for (const char* type : {"1", "3", "4", "6"})
        archive += patched(one(file("x", 0)), 156, type).substr(0, 512);
    archive += one(file("y", 0));
    const Archive got = read(archive);
    CHECK(got.skipped == 4);
    REQUIRE(got.seen.size() == 1);
    CHECK(got.seen[0].entry.path == "y");
    for (const char* type : {"S", "V", "M", "D", "\x01"})
        CHECK_THROWS_AS((void)read(patched(one(file("x", 0)), 156, type)), Error);
}

TEST_CASE("tar: damage is noticed, and a cut archive never seems whole") {
    const std::string archive = one(file("name", 600), std::string(600, 'z'));
    std::string damaged = archive;
    damaged[3] ^= 1;
    CHECK_THROWS_AS((void)read(damaged), Error);
    CHECK_THROWS_AS((void)read(std::string(512, 'q')), Error);
    CHECK_THROWS_AS((void)read(std::string(512, '\0') + archive), Error);
    for (const size_t length : {size_t{0}, size_t{100}, size_t{512}, size_t{1000}, archive.size() - 1})
        CHECK(!read(archive.substr(0, length)).ended);
    CHECK(!read(archive.substr(0, 1000)).seen[0].whole);
}
