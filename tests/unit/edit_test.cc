// What `edit` makes of a text, and what it says when it will not. Files: tool_file_test.
#include "builtins/edit.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "builtins/seen.h"
#include "builtins/text_match.h"
#include "builtins/workspace.h"
#include "error.h"

using namespace peacrab;

namespace {

const std::string kMark(kByteOrderMark);

std::string edited(const std::string& text, const std::string& old, const std::string& fresh,
                   Times times = Times::Once) {
    return replace_text(text, old, fresh, times).text;
}

std::string refusal(const std::string& text, const std::string& old,
                    const std::string& fresh = "new", Times times = Times::Once) {
    try {
        return "did: " + edited(text, old, fresh, times);
    } catch (const Error& error) {
        return error.what();
    }
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("edit: what occurs once is replaced, and nothing else") {
    CHECK(edited("a\nb\nc\n", "b", "x") == "a\nx\nc\n");
    CHECK(edited("a\nb\nc\n", "b\n", "") == "a\nc\n");
    CHECK(edited("abc", "abc", "x\ny") == "x\ny");
    CHECK(edited("\xff\xfe b \xff", "b", "c") == "\xff\xfe c \xff");
    const Edited result = replace_text("1\n2\n3\n4\n", "2\n", "a\nb\n", Times::Once);
    CHECK(result.places == std::vector<std::pair<size_t, size_t>>{{2, 3}});
    CHECK_FALSE(result.loosely);
}

TEST_CASE("edit: what occurs several times is left alone, and its lines are said") {
    CHECK(holds(refusal("x\ny\nx\nx\n", "x"), "several times, at lines 1, 3 and 4: give more"));
    CHECK(holds(refusal("aaa", "aa"), "several times, at lines 1:"));  // overlapping
    std::string many;
    for (int i = 0; i < 50; ++i) many += "x\n";
    CHECK(holds(refusal(many, "x"), "7, 8 and more"));
}

TEST_CASE("edit: all replaces each, once over") {
    CHECK(edited("x y x", "x", "xx", Times::All) == "xx y xx");
    CHECK(edited("aaaa", "aa", "b", Times::All) == "bb");
    const Edited result = replace_text("x\nx\n", "x", "y\nz", Times::All);
    CHECK(result.places == std::vector<std::pair<size_t, size_t>>{{1, 2}, {3, 4}});
    // What is found only nearly must be one place.
    CHECK(holds(refusal("x \ny\nx \ny\n", "x\ny", "z", Times::All), "at lines 1 and 3"));
}

TEST_CASE("edit: blanks at line ends do not hinder") {
    CHECK(edited("if a:  \n\tb\t\nc\n", "if a:\n\tb\nc", "d") == "d\n");
    CHECK(edited("if a:\n  b\nc\n", "if a:   \n  b \n", "d\n") == "d\nc\n");
    CHECK(replace_text("a  \nb", "a\nb", "c", Times::Once).loosely);
    CHECK(edited("foo\nbar\n", "foo  ", "x") == "x\nbar\n");
    // Blanks at its end say that a word ends there.
    CHECK(holds(refusal("foobar\n", "foo  "), "does not occur"));
    // Blanks before the text are the text's meaning.
    CHECK(holds(refusal("  a\n  b\n", "a\nb"), "it is there from line 1 on but for the blanks"));
}

TEST_CASE("edit: line ends of either kind match, and the file keeps its own") {
    CHECK(edited("a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz") == "x\r\ny\r\nz\r\nc\r\n");
    CHECK(edited("a\r\nb\r\n", "b", "x\ny") == "a\r\nx\r\ny\r\n");
    CHECK(edited("a\nb\n", "a\r\nb", "x\r\ny") == "x\ny\n");
    CHECK(edited("a\r\nb\nc\nd\n", "d", "x\ny") == "a\r\nb\nc\nx\ny\n");
}

TEST_CASE("edit: typographic quotes, dashes and blanks match their plain forms") {
    CHECK(edited("say \xe2\x80\x9cit\xe2\x80\x99s\xe2\x80\x9d \xe2\x80\x94 now\n", "say \"it's\" - now", "done") ==
          "done\n");
    CHECK(edited("a-b 'c'\n", "a\xe2\x80\x93"
                              "b \xe2\x80\x98"
                              "c\xe2\x80\x99", "x") == "x\n");
    CHECK(edited("a\xc2\xa0"
                 "b", "a b", "c") == "c");
    // The exact one is meant, even if another nearly is.
    CHECK(edited("\xe2\x80\x98x\xe2\x80\x99 'x'", "'x'", "y") == "\xe2\x80\x98x\xe2\x80\x99 y");
    CHECK(holds(refusal("\xe2\x80\x98x' 'x\xe2\x80\x99", "'x'"), "give it as it stands"));
}

TEST_CASE("edit: a byte order mark stays one") {
    CHECK(edited(kMark + "a\nb", kMark + "a", kMark + "c") == kMark + "c\nb");
    CHECK(edited(kMark + "a\nb", "a\nb", "c") == kMark + "c");
    CHECK(edited("a\nb", kMark + "a", "c") == "c\nb");
}

TEST_CASE("edit: what is not there is answered with what is nearest") {
    const std::string text = "int main() {\n    run(1);\n    return 0;\n}\n";
    CHECK(holds(refusal(text, "    run(2);"), "the nearest to its first line: line 2 is:     run(1);"));
    CHECK(holds(refusal(text, "int main() {\n    run(3);\n"),
                "its beginning is at line 1, but line 2 is:     run(1);"));
    CHECK(holds(refusal(text, "return 0;\n}\nmore"), "at line 3, where the file ends"));
    CHECK(holds(refusal(text, "zzzzzzzz"), "no line is like its first one"));
    CHECK(holds(refusal("", "x"), "no line is like"));
    CHECK(holds(refusal("x", "\n\n"), "only blanks"));
    const std::string hostile = refusal("\x1b[2Jrun(1);" + std::string(5000, 'y') + "\n", "\x1b[2Jrun(2);");
    CHECK_FALSE(holds(hostile, "\x1b"));
    CHECK(hostile.size() < 600);
}

TEST_CASE("edit: nothing to do, nothing to look for and too much are refused") {
    CHECK(holds(refusal("a", "a", "a"), "are the same"));
    CHECK(holds(refusal("a", kMark), "old is empty"));
    CHECK(holds(refusal(std::string(2000, 'a'), "a", std::string(1000, 'b'), Times::All),
                "longer than 1 MiB"));
}

TEST_CASE("edit: texts made to be slow are not") {
    const std::string text(1 << 20, 'a');
    const std::string blanks(1 << 20, ' ');
    std::string lines;
    for (int i = 0; i < 1 << 19; ++i) lines += "\n";
    CHECK(holds(refusal(text, std::string(1 << 19, 'a') + "b"), "does not occur"));
    CHECK(holds(refusal(text, std::string(1 << 19, 'a')), "several times"));
    CHECK(edited(text, "a", "b", Times::All) == std::string(1 << 20, 'b'));
    CHECK(holds(refusal(blanks + "x", blanks.substr(9) + "y"), "does not occur"));
    CHECK(holds(refusal(lines, "x" + lines), "does not occur"));
    CHECK(holds(refusal(lines + "x", lines + "y"), "no line is like"));
}

TEST_CASE("edit: what is shown has numbers, its surroundings and bounds") {
    std::string text;
    for (int i = 1; i <= 100; ++i) text += "line " + std::to_string(i) + "\r\n";
    CHECK(numbered(text, 50, 50) ==
          "47| line 47\n48| line 48\n49| line 49\n50| line 50\n51| line 51\n52| line 52\n53| line 53\n");
    CHECK(numbered(text, 1, 1) == "1| line 1\n2| line 2\n3| line 3\n4| line 4\n");
    CHECK(numbered(text, 100, 100).ends_with("100| line 100\n"));
    const std::string most = numbered(text, 10, 90);
    CHECK(holds(most, "16| line 16\n  ...\n84| line 84\n"));
    CHECK(numbered(std::string(1 << 20, 'x'), 1, 1).size() < 250);
    CHECK(numbered("\x1b[2J\xff", 1, 1).find('\x1b') == std::string::npos);
}

TEST_CASE("seen: the newest marks are kept, within bounds, and what is hostile is not") {
    SeenFiles seen;
    const auto about = [&](const std::string& path) {
        return seen.for_edit(json::Value::object({{"path", path}}), "/w").text(path);
    };
    seen.learn(json::Value::object({{"a", "1"}, {"b", "2"}}));
    CHECK(about("a") == "1");
    CHECK(seen.for_edit(json::Value::object({{"path", "/w//./a"}}), "/w").text("a") == "1");
    CHECK(about("c").empty());
    CHECK(seen.for_edit(json::Value::object({{"patch", ""}}), "/w").members().size() == 2);
    seen.learn(json::Value::object({{"a", nullptr}}));
    CHECK(about("a").empty());
    seen.learn(json::Value::object({{"b", std::string(1000, 'x')}}));
    CHECK(about("b").empty());
    seen.learn("nonsense");
    for (int i = 0; i < 2000; ++i)
        seen.learn(json::Value::object({{"f" + std::to_string(i), "m"}}));
    CHECK(about("f1999") == "m");
    CHECK(about("f0").empty());
    for (int i = 0; i < 100; ++i)
        seen.learn(json::Value::object({{std::to_string(i) + std::string(4000, 'n'), "m"}}));
    CHECK(json::dump(seen.for_edit(json::Value::object({{"patch", ""}}), "/w")).size() < 80'000);
}

TEST_CASE("edit: what is written to a file between the look and the rename stays") {
    const std::string folder = std::filesystem::temp_directory_path() / ("peacrab-edit-" + random_hex(8));
    make_directories(folder);
    const std::string path = folder + "/f";
    const auto place = [&] {
        return Place{UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), "f", "f"};
    };
    write_file_atomic(path, "old", 0600);
    Landing old = find_landing(place(), Folders::Leave);
    write_file_atomic(path, "of somebody else", 0600);
    CHECK_THROWS_WITH(write_whole(place(), std::move(old), "ours"),
                      "f: changed while it was worked on: read it and try again");
    CHECK(read_file(path, KiB(1)) == "of somebody else");
    REQUIRE(::unlink(path.c_str()) == 0);
    Landing none = find_landing(place(), Folders::Leave);
    write_file_atomic(path, "new", 0600);
    CHECK_THROWS_WITH(write_whole(place(), std::move(none), "ours"), "f: has come to be there meanwhile: read it first");
    CHECK(read_file(path, KiB(1)) == "new");
    CHECK(list_folder(folder) == std::vector<std::string>{"f"});
    std::filesystem::remove_all(folder);
}
