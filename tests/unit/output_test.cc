#include "cells/output.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>

#include "cell_fixture.h"
#include "json.h"

using namespace peacrab;
using test::Folder;

namespace {

constexpr size_t kLimit = 1000;

struct Kept {
    Folder folder;
    std::shared_ptr<OutputFolder> output =
        std::make_shared<OutputFolder>(folder.path + "/output", "/run/output");

    std::string on_disk(const Capture& capture) const {
        const std::string name = capture.kept().substr(capture.kept().rfind('/'));
        return read_file(folder.path + "/output" + name, MiB(128));
    }
    size_t files() const {
        size_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator(folder.path + "/output"))
            n += entry.is_regular_file() || entry.is_symlink();
        return n;
    }
};

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("output: up to the limit nothing is cut and no file is made") {
    Kept kept;
    Capture capture(kLimit, kept.output);
    for (size_t i = 0; i < kLimit; ++i) capture.append("x");
    CHECK(capture.text() == std::string(kLimit, 'x'));
    CHECK(capture.kept().empty());
    CHECK(kept.files() == 0);
}

TEST_CASE("output: beyond the limit head and tail are shown and the file has every byte") {
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{999}, size_t{5000}}) {
        Kept kept;
        Capture capture(kLimit, kept.output);
        std::string all;
        for (int i = 0; all.size() < 5000; ++i) all += std::to_string(i) + "\n";
        for (size_t at = 0; at < all.size(); at += piece)
            capture.append(std::string_view(all).substr(at, piece));
        CHECK(capture.kept() == "/run/output/out-000001.txt");
        CHECK(kept.on_disk(capture) == all);
        const std::string text = capture.text();
        CHECK(text.starts_with(all.substr(0, 500)));
        CHECK(text.ends_with(all.substr(all.size() - 500)));
        CHECK(holds(text, std::to_string(all.size() - 1000) + " bytes cut; all of it is in " +
                              capture.kept()));
    }
}

TEST_CASE("output: what was cut is said however the pieces fall") {
    for (const size_t piece : {(size_t{1} << 20), (size_t{1} << 20) + 1, (size_t{1} << 20) + 500}) {
        Capture capture(kLimit);
        for (int i = 0; i < 3; ++i) capture.append(std::string(piece, 'x'));
        CHECK(holds(capture.text(), std::to_string(3 * piece - kLimit) + " bytes cut ..."));
    }
}

TEST_CASE("output: a character is never cut in its middle") {
    Capture capture(kLimit);
    std::string all = "x";
    for (int i = 0; i < 1000; ++i) all += "\xf0\x9f\xa6\x80";
    capture.append(all);
    CHECK(json::valid_utf8(capture.text()) == capture.text());
}

TEST_CASE("output: memory stays bounded, and the file ends at its bound") {
    Kept kept;
    Capture capture(kLimit, kept.output);
    const std::string piece(size_t{1} << 20, 'y');
    for (int i = 0; i < 64; ++i) capture.append(piece);
    CHECK_FALSE(capture.too_much());
    capture.append(piece);
    capture.append("end");
    CHECK(capture.too_much());
    CHECK(capture.text().size() < 2 * kLimit);
    CHECK(capture.text().ends_with("end"));
    CHECK(kept.on_disk(capture).size() == Capture::kMaxCall.count);
}

TEST_CASE("output: of a background process the file begins anew, and never is too much") {
    Kept kept;
    Capture capture(kLimit, kept.output, Capture::Beyond::BeginAnew);
    const std::string piece(size_t{1} << 20, 'z');
    for (int i = 0; i < 70; ++i) capture.append(piece);
    capture.append("end");
    CHECK_FALSE(capture.too_much());
    const std::string file = kept.on_disk(capture);
    CHECK(file.size() <= Capture::kMaxBackground.count);
    CHECK(file.starts_with("[what came before was dropped]\n"));
    CHECK(file.ends_with("end"));
}

TEST_CASE("output: news are what came since they were last asked for, of much the end") {
    Kept kept;
    Capture capture(kLimit, kept.output, Capture::Beyond::BeginAnew);
    CHECK(capture.news().empty());
    capture.append("one ");
    CHECK(capture.news() == "one ");
    CHECK(capture.news().empty());
    for (int i = 0; i < 100; ++i) {
        capture.append(std::string(90, 'a') + std::to_string(100 + i));
        CHECK(capture.news() == std::string(90, 'a') + std::to_string(100 + i));
    }
    for (int i = 0; i < 100; ++i) capture.append(std::string(99, 'b') + "\n");
    const std::string much = capture.news();
    CHECK(much.starts_with("[... 9500 bytes not shown; all of it is in /run/output/"));
    CHECK(much.ends_with("b\n"));
    CHECK(capture.news().empty());
}

TEST_CASE("output: the folder keeps the newest files, never those still written, and only those") {
    Kept kept;
    std::vector<OutputFolder::File> open;
    open.push_back(kept.output->make());
    write_file_atomic(kept.folder.path + "/output/notes", "mine", 0644);
    for (int i = 0; i < 100; ++i) kept.output->close(kept.output->make());
    CHECK(kept.files() == OutputFolder::kMaxFiles + 1);
    CHECK(std::filesystem::exists(kept.folder.path + "/output/notes"));
    CHECK(std::filesystem::exists(kept.folder.path + "/output/out-000001.txt"));
    CHECK_FALSE(std::filesystem::exists(kept.folder.path + "/output/out-000002.txt"));
    CHECK(std::filesystem::exists(kept.folder.path + "/output/out-000101.txt"));
    // The next one goes on counting.
    OutputFolder later(kept.folder.path + "/output", "/run/output");
    CHECK(later.make().seen_as == "/run/output/out-000102.txt");
}

TEST_CASE("output: what its files hold together is bounded") {
    Kept kept;
    for (int i = 0; i < 5; ++i) {
        Capture capture(kLimit, kept.output);
        capture.append(std::string(Capture::kMaxCall.count, 'x'));
    }
    CHECK(kept.files() == 4);
}

TEST_CASE("output: a link that waits where a file will be is not followed") {
    Kept kept;
    write_file_atomic(kept.folder.path + "/victim", "safe", 0600);
    std::filesystem::create_symlink(kept.folder.path + "/victim",
                                    kept.folder.path + "/output/out-000001.txt");
    Capture capture(kLimit, kept.output);
    capture.append(std::string(5000, 'x'));
    CHECK(capture.kept() == "/run/output/out-000002.txt");
    CHECK(read_file(kept.folder.path + "/victim", KiB(1)) == "safe");
    Folder other;
    std::filesystem::create_symlink(kept.folder.path, other.path + "/output");
    CHECK_THROWS_AS(OutputFolder(other.path + "/output", "/run/output"), Error);
}

TEST_CASE("output: on a disk that is nearly full head and tail are still shown, and it is said") {
    if (!test::is_root()) {
        MESSAGE("skipped: a small disk needs root");
        return;
    }
    Folder folder;
    REQUIRE(::mount("none", folder.path.c_str(), "tmpfs", 0, "size=70m") == 0);
    {
        auto output = std::make_shared<OutputFolder>(folder.path + "/output", "/run/output");
        Capture capture(kLimit, output);
        for (int i = 0; i < 20; ++i) capture.append(std::string(size_t{1} << 20, 'x'));
        CHECK(holds(capture.text(), "the beginning is in /run/output/out-000001.txt, the disk is"));
        Capture second(kLimit, output);
        second.append(std::string(5000, 'y'));
        CHECK(holds(second.text(), "4000 bytes cut; it was not kept: the disk is full"));
        CHECK(second.text().ends_with("yyy"));
        CHECK(std::filesystem::space(folder.path).available > 60u << 20);
    }
    REQUIRE(::umount2(folder.path.c_str(), MNT_DETACH) == 0);
}
