// Patches as models write them, and as nobody should. Files: tool_file_test.
#include "builtins/patch.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

namespace {

std::string envelope(const std::string& inside) {
    return "*** Begin Patch\n" + inside + "*** End Patch\n";
}

// What one update makes of `text`.
std::string patched(const std::string& text, const std::string& hunks) {
    const auto files = parse_patch(envelope("*** Update File: f\n" + hunks));
    REQUIRE(files.size() == 1);
    return apply_hunks(text, files[0].hunks).text;
}

std::string refusal(const std::string& text, const std::string& hunks) {
    try {
        return "did: " + patched(text, hunks);
    } catch (const Error& error) {
        return error.what();
    }
}

std::string unreadable(const std::string& patch) {
    try {
        (void)parse_patch(patch);
        return "read";
    } catch (const Error& error) {
        return error.what();
    }
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("patch: the envelope is read whole") {
    const auto files = parse_patch(
        "\n*** Begin Patch\r\n*** Add File: a b.txt\n+one\n+\n+two\n"
        "*** Update File: old\n*** Move to: new\n@@ class A\n@@   def f\n x\n-y\n+z\n\n@@\n w\n+v\n"
        "*** End of File\n*** Delete File: gone\n*** End Patch\n\n");
    REQUIRE(files.size() == 3);
    CHECK(files[0].kind == FilePatch::Kind::Add);
    CHECK(files[0].path == "a b.txt");
    CHECK(files[0].content == "one\n\ntwo\n");
    CHECK(files[1].to == "new");
    REQUIRE(files[1].hunks.size() == 2);
    CHECK(files[1].hunks[0].anchors == std::vector<std::string>{"class A", "  def f"});
    CHECK(files[1].hunks[0].lines.size() == 4);
    CHECK(files[1].hunks[1].at_end);
    CHECK(files[2].kind == FilePatch::Kind::Delete);
    CHECK(patched_paths("*** Add File: a\n*** Update File: b\n*** Move to: c\n*** Delete File: d\n") ==
          std::vector<std::string>{"a", "b", "c", "d"});
}

TEST_CASE("patch: what is no patch is refused with the line that is wrong") {
    CHECK(holds(unreadable(""), "must be *** Begin Patch"));
    CHECK(holds(unreadable("--- a\n+++ b\n"), "must be *** Begin Patch"));
    CHECK(holds(unreadable("*** Begin Patch\n*** Add File: a\n+x\n"), "without *** End Patch"));
    CHECK(holds(unreadable(envelope("")), "names no file"));
    CHECK(holds(unreadable(envelope("*** Rename File: a\n")), "line 2 (*** Rename File: a) must be"));
    CHECK(holds(unreadable(envelope("*** Add File: \n+x\n")), "line 2"));
    CHECK(holds(unreadable(envelope("*** Add File: a\nx\n")), "line 3 (x) of an added file"));
    CHECK(holds(unreadable(envelope("*** Update File: a\n@@\nx\n")), "line 4 (x) of a hunk"));
    CHECK(holds(unreadable(envelope("*** Update File: a\n")), "hunk is missing"));
    CHECK(holds(unreadable(envelope("*** Update File: a\n@@\n x\n y\n")), "changes nothing"));
    CHECK(holds(unreadable(envelope("*** Delete File: a\n") + "x\n"), "after *** End Patch"));
    CHECK(holds(unreadable(std::string(300 << 10, 'x')), "longer than 256 KiB"));
    std::string many;
    for (int i = 0; i < 65; ++i) many += "*** Delete File: f" + std::to_string(i) + "\n";
    CHECK(holds(unreadable(envelope(many)), "more than 64 files"));
    CHECK_FALSE(holds(unreadable("\x1b[2J"), "\x1b"));
}

TEST_CASE("patch: hunks go down the file, each in its place") {
    const std::string text = "a\nb\nc\nd\ne\n";
    CHECK(patched(text, " a\n-b\n+x\n c\n") == "a\nx\nc\nd\ne\n");
    CHECK(patched(text, "@@\n-a\n@@\n d\n+y\n e\n") == "b\nc\nd\ny\ne\n");
    CHECK(patched(text, "@@ -2,1 +2,1 @@ a\n-b\n+x\n") == "a\nx\nc\nd\ne\n");
    CHECK(holds(refusal(text, "@@\n-d\n@@\n-a\n"), "hunk 2: its context and removed lines do not "
                                                   "occur after line 4"));
    CHECK(holds(refusal(text, "@@\n-a\n@@\n c\n-x\n"), "hunk 2:"));
    CHECK(holds(refusal(text, " c\n-x\n"), "its beginning is at line 3, but line 4 is: d"));
}

TEST_CASE("patch: a hunk that fits twice needs a line before it") {
    const std::string text = "class A\n  def f\n    x\nclass B\n  def f\n    x\n";
    CHECK(holds(refusal(text, "@@\n-    x\n+    y\n"), "several places, from lines 3 and 6"));
    CHECK(patched(text, "@@ class B\n-    x\n+    y\n") == "class A\n  def f\n    x\nclass B\n  def f\n    y\n");
    CHECK(patched(text, "@@ class B\n@@ def f\n+    w\n") ==
          "class A\n  def f\n    x\nclass B\n  def f\n    w\n    x\n");
    CHECK(patched(text, "@@ class A\n class A\n+  v\n") == "class A\n  v\n" + text.substr(8));
    CHECK(patched(text, "@@\n-    x\n+    y\n*** End of File\n") ==
          "class A\n  def f\n    x\nclass B\n  def f\n    y\n");
    CHECK(holds(refusal(text, "@@ class C\n-    x\n"), "no line as its @@ names: class C"));
    CHECK(holds(refusal(text, "@@\n+new\n"), "says not where"));
    CHECK(patched(text, "@@\n+new\n*** End of File\n") == text + "new\n");
    CHECK(patched("", "@@\n+new\n") == "new\n");
}

TEST_CASE("patch: context that differs unseen fits, and stays as the file has it") {
    CHECK(patched("a  \nb\t\nc\n", " a\n-b\n+x\n c\n") == "a  \nx\nc\n");
    CHECK(patched("say \xe2\x80\x9chi\xe2\x80\x9d\nb\n", " say \"hi\"\n-b\n+c\n") ==
          "say \xe2\x80\x9chi\xe2\x80\x9d\nc\n");
    CHECK(patched("a\r\nb\r\n", " a\n-b\n+x\n+y\n") == "a\r\nx\r\ny\r\n");
    CHECK(patched("\xef\xbb\xbf" "a\nb\n", "-a\n+x\n") == "\xef\xbb\xbf" "x\nb\n");
    CHECK(patched("a\nb", " a\n-b\n+x\n") == "a\nx");
    CHECK(patched("a\nb", " a\n b\n+x\n") == "a\nb\nx");
    CHECK(patched("a\nb\n", "-a\n\n") == "b\n");  // the empty line is for the eye
    CHECK(holds(refusal("  a\n", "-a\n"), "but for the blanks around it"));
    CHECK(holds(refusal("a \nb\na \n", "@@ a \n-a\n+x\n"), "several places"));
}

TEST_CASE("patch: everything may go, and lines made to be slow are not") {
    CHECK(patched("a\nb\n", "-a\n-b\n").empty());
    std::string text, hunk = "@@\n";
    for (int i = 0; i < 1 << 19; ++i) text += "\n";
    for (int i = 0; i < 60'000; ++i) hunk += "-\n";
    CHECK(holds(refusal(text + "x\n", hunk + "-y\n"), "do not occur"));
    CHECK(holds(refusal(text, hunk), "several places"));
}
