// Patches as models write them, and as nobody should. Files: tool_file_test.
#include "builtins/patch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <functional>

#include "builtins/workspace.h"
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

// A workspace, and what a patch says that is applied to it by somebody who is not root and may write there.
class Workspace {
  public:
    Workspace() : path_(std::filesystem::temp_directory_path() / ("peacrab-patch-" + random_hex(8))) {
        make_directories(path_);
        own(path_);
    }
    Workspace(const Workspace&) = delete;
    ~Workspace() { std::filesystem::remove_all(path_); }
    std::string at(const std::string& name) const { return path_ + "/" + name; }
    void folder(const std::string& name, mode_t mode = 0755) const {
        make_directories(at(name));
        own(at(name));
        REQUIRE(::chmod(at(name).c_str(), mode) == 0);
    }
    void file(const std::string& name, const std::string& text) const {
        write_file_atomic(at(name), text, 0644);
        own(at(name));
    }
    std::string text(const std::string& name) const { return read_file(at(name), MiB(2)); }
    // All names beneath it, links not followed.
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path_))
            all.push_back(entry.path().string().substr(path_.size() + 1));
        std::sort(all.begin(), all.end());
        return all;
    }
    std::string apply(const std::string& inside, const std::function<void()>& before = {}) const {
        Pipe pipe = Pipe::make();
        const pid_t pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            if (::getuid() == 0 && (::setgid(kNobody) < 0 || ::setuid(kNobody) < 0)) ::_exit(1);
            if (before) before();
            std::string said;
            try {
                said = patch_files(json::Value::object({{"workspace", path_}, {"patch", envelope(inside)}})).text("text");
            } catch (const Error& error) {
                said = error.what();
            }
            write_all(pipe.write.get(), said);
            ::_exit(0);
        }
        pipe.write.reset();
        std::string said;
        std::array<char, 4096> bytes;
        while (const size_t n = read_some(pipe.read.get(), bytes).value_or(0)) said.append(bytes.data(), n);
        int status = 0;
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
        return said;
    }

  private:
    static constexpr uid_t kNobody = 65534;
    static void own(const std::string& path) {
        if (::getuid() == 0) REQUIRE(::chown(path.c_str(), kNobody, kNobody) == 0);
    }
    std::string path_;
};

using Names = std::vector<std::string>;

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

TEST_CASE("patch: a folder that takes nothing, or gives nothing away, leaves all files as they were") {
    const Workspace work;
    work.file("one", "1\n");
    work.file("two", "2\n");
    work.folder("shut");
    work.file("shut/three", "3\n");
    work.folder("shut", 0555);
    const std::string first = "*** Update File: one\n-1\n+I\n*** Add File: new/er/four\n+4\n*** Delete File: two\n";
    for (const std::string third :
         {"*** Update File: shut/three\n-3\n+III\n", "*** Delete File: shut/three\n", "*** Add File: shut/x\n+x\n",
          "*** Add File: shut/deep/x\n+x\n", "*** Update File: shut/three\n*** Move to: five\n-3\n+III\n"}) {
        CAPTURE(third);
        const std::string said = work.apply(first + third);
        CHECK_MESSAGE(holds(said, "Permission denied; nothing was written"), said);
        CHECK(work.names() == Names{"one", "shut", "shut/three", "two"});
        CHECK(work.text("one") + work.text("shut/three") == "1\n3\n");
    }
    CHECK(work.apply(first) == "updated one\nadded new/er/four\ndeleted two\none:\n1| I\n");
    work.folder("shut", 0755);
}

TEST_CASE("patch: where there is no room for the last file, none is changed") {
    const Workspace work;
    work.file("one", "1\n");
    work.file("big", std::string(100'000, 'x') + "\n");
    const auto little = [] {
        const rlimit most{65536, 65536};
        if (std::signal(SIGXFSZ, SIG_IGN) == SIG_ERR || ::setrlimit(RLIMIT_FSIZE, &most) < 0) ::_exit(2);
    };
    const std::string said = work.apply(
        "*** Update File: one\n-1\n+I\n*** Add File: new/two\n+2\n*** Update File: big\n+y\n*** End of File\n", little);
    CHECK_MESSAGE(holds(said, "File too large; nothing was written"), said);
    CHECK(work.names() == Names{"big", "one"});
    CHECK(work.text("one") == "1\n");
    CHECK(work.text("big").size() == 100'001);
}

TEST_CASE("patch: what fails when some files are in their places says which") {
    const Workspace work;
    work.file("one", "1\n");
    work.file("two", "2\n");
    work.folder("a");
    std::filesystem::create_directory_symlink("a", work.at("b"));
    // Both are free when they are looked at, and are one.
    CHECK(work.apply("*** Update File: one\n-1\n+I\n*** Add File: a/x\n+first\n*** Add File: b/x\n+second\n"
                     "*** Delete File: two\n*** Add File: c/y\n+y\n") ==
          "b/x: has come to be there meanwhile: read it first; written before that:\nupdated one\nadded a/x\n"
          "not done:\nadd b/x\ndelete two\nadd c/y\n");
    CHECK(work.names() == Names{"a", "a/x", "b", "one", "two"});
    CHECK(work.text("one") + work.text("a/x") + work.text("two") == "I\nfirst\n2\n");
}

TEST_CASE("patch: a place that has become a folder, or somebody else's file, stays") {
    const Workspace work;
    const auto make = [&] {
        Place place{UniqueFd(::open(work.at("").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), "f", "f"};
        return NewFile("f", find_landing(place, Folders::Leave), "ours\n");
    };
    for (const char* before : {"", "old\n"}) {
        if (*before) work.file("f", before);
        {
            NewFile file = make();
            CHECK(work.names().size() == (*before ? 2 : 1));  // it is beside its place
            ::unlink(work.at("f").c_str());
            work.folder("f");
            CHECK_THROWS_AS(file.put_in_place(), Error);
        }
        CHECK(work.names() == Names{"f"});
        CHECK(std::filesystem::is_directory(work.at("f")));
        std::filesystem::remove(work.at("f"));
    }
    {
        NewFile file = make();
        work.file("f", "theirs\n");
        CHECK_THROWS_WITH(file.put_in_place(), "f: has come to be there meanwhile: read it first");
    }
    CHECK(work.names() == Names{"f"});
    CHECK(work.text("f") == "theirs\n");
}
