// The file helper against a workspace whose owner is hostile. Run in our own guest too
// (tests/containment/cell_guest_test.sh), there in containers.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cstring>

#include "guest_main.h"
#include "place_fixture.h"
#include "tools.h"

using namespace peacrab;
using namespace peacrab::test;

int peacrab::test::run_tests(int argc, char** argv) {
    stay_ordinary();
    return doctest::Context(argc, argv).run();
}

namespace {

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

class Bench {
  public:
    ToolResult call(const std::string& name, const json::Value& arguments) {
        auto decision = authorise({"1", name, json::dump(arguments)}, {false, {}, Partner::Person});
        if (const Denied* denied = std::get_if<Denied>(&decision))
            return {Outcome::Denied, denied->why, {}};
        std::optional<ToolResult> result;
        ToolRun run(loop_, place_, std::move(std::get<Permit>(decision)),
                    [&](const ToolResult& done) { result = done; });
        while (!result) loop_.run_once(Milliseconds(1000));
        return *result;
    }
    ToolResult shell(const std::string& command) {
        return call("shell", json::Value::object({{"command", command}, {"timeout", 60}}));
    }
    void must(const std::string& command) {
        const ToolResult result = shell(command);
        REQUIRE_MESSAGE(result.outcome == Outcome::Ok, result.text);
    }
    ToolResult read(const std::string& path, int64_t offset = 1) {
        return call("read", json::Value::object({{"path", path}, {"offset", offset}}));
    }
    ToolResult write(const std::string& path, const std::string& content) {
        return call("write", json::Value::object({{"path", path}, {"content", content}}));
    }
    ToolResult edit(const std::string& path, const std::string& old, const std::string& fresh) {
        return call("edit", json::Value::object({{"path", path}, {"old", old}, {"new", fresh}}));
    }
    ToolResult patch(const std::string& inside) {
        return call("edit", json::Value::object(
                                {{"patch", "*** Begin Patch\n" + inside + "*** End Patch"}}));
    }
    ToolResult search(const std::string& pattern, const std::string& path = ".",
                      const std::string& glob = "*", int limit = 100) {
        return call("search", json::Value::object(
                                  {{"pattern", pattern}, {"path", path}, {"glob", glob}, {"limit", limit}}));
    }
    std::string workspace() const { return test_.options.workspace; }  // as a tool sees it
    std::string at(const std::string& name) const { return test_.workspace + "/" + name; }

  private:
    TestPlace test_;
    Loop loop_;
    Workplace place_{loop_, test_.options};
};

void refused(const ToolResult& result, const std::string& why) {
    CHECK(result.outcome == Outcome::Failed);
    CHECK_MESSAGE(holds(result.text, why), result.text);
}

// Swaps two names as fast as it can until it is dropped.
class Swapper {
  public:
    Swapper(const std::string& one, const std::string& other) : pid_(::fork()) {
        if (pid_ != 0) return;
        for (;;)
            ::syscall(SYS_renameat2, AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(),
                      RENAME_EXCHANGE);
    }
    Swapper(const Swapper&) = delete;
    ~Swapper() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }

  private:
    pid_t pid_;
};

}  // namespace

TEST_CASE("file: a path is the workspace's, relative or by its full name") {
    Bench bench;
    const std::string full = bench.workspace();
    CHECK(bench.write(full + "/a/./b//c.txt", "one\n").outcome == Outcome::Ok);
    CHECK(bench.read("a/b/c.txt").text == "one\n");
    CHECK(bench.read(full + "//a/b/../b/c.txt").text == "one\n");
    refused(bench.read(full), "is a directory");
    refused(bench.read(full + "/"), "is a directory");
    refused(bench.write(full, "x"), "names a directory");
}

TEST_CASE("file: what is sent is told by its path in the workspace, its size and its sum") {
    Bench bench;
    const auto send = [&](const std::string& path) {
        return bench.call("send", json::Value::object({{"path", path}}));
    };
    bench.must("mkdir d && printf abc > d/f && ln -s /etc/passwd out && mkfifo pipe");
    for (const std::string& path : {std::string("d//./f"), bench.workspace() + "/d/f"}) {
        const ToolResult result = send(path);
        REQUIRE_MESSAGE(result.outcome == Outcome::Ok, result.text);
        const json::Value said = json::parse(result.text);
        CHECK(said.text("path") == "d/f");
        CHECK(said.integer("size") == 3);
        CHECK(said.text("sha256") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    bench.must("head -c 200000 /dev/zero > big");
    CHECK(json::parse(send("big").text).text("sha256") ==
          "4cbbd9be0cba685835755f827758705db5a413c5494c34262cd25946a73e7582");
    for (const char* path : {"out", "pipe", "/etc/passwd", "d", "none"})
        CHECK(send(path).outcome == Outcome::Failed);
}

TEST_CASE("file: no path leads out, and the answer names the tool that may") {
    Bench bench;
    bench.must(
        "mkdir -p d; ln -s / root; ln -s /proc/self/root slash; ln -s ../.. up; "
        "ln -s /etc/passwd secret; ln -s /proc/self/fd/0 magic");
    const std::string full = bench.workspace();
    const std::vector<std::string> outside = {"/etc/passwd", full + "x/f", "/proc/self/status",
                                              "//etc/passwd", "/proc/self/root" + full + "/f"};
    for (const std::string& path : outside) {
        refused(bench.read(path), "outside of the workspace");
        refused(bench.write(path, "x"), "outside of the workspace");
        refused(bench.edit(path, "x", "y"), "outside of the workspace");
        refused(bench.search(".", path), "outside of the workspace");
        for (const char* kind : {"Add", "Update", "Delete"})
            refused(bench.patch("*** " + std::string(kind) + " File: " + path + "\n+x\n"),
                    kind[0] == 'D' ? "line 3" : "outside of the workspace");
        refused(bench.patch("*** Delete File: " + path + "\n"), "outside of the workspace");
    }
    const std::vector<std::string> leading = {
        "../x",   "d/../../x",       full + "/../x",     "up/x",
        "secret", "root/etc/passwd", "root/tmp/new/file"};
    for (const std::string& path : leading) {
        refused(bench.read(path), "leads out of the workspace: use shell");
        refused(bench.write(path, "x"), "leads out of the workspace: use shell");
        refused(bench.edit(path, "x", "y"), "leads out of the workspace: use shell");
        refused(bench.search(".", path), "leads out of the workspace: use shell");
        refused(bench.patch("*** Update File: " + path + "\n-x\n"), "leads out of the workspace");
    }
    CHECK(bench.read("slash/etc/passwd").outcome == Outcome::Failed);
    CHECK(bench.write("slash/tmp/x", "x").outcome == Outcome::Failed);
    CHECK(bench.read("magic").outcome == Outcome::Failed);
    CHECK(bench.write("magic", "x").outcome == Outcome::Failed);
    CHECK(bench.read(std::string("a\0b", 3)).outcome != Outcome::Ok);
    // %2e and an overlong dot are names like others.
    refused(bench.read("%2e%2e/x"), "No such file");
    CHECK(bench.write("..x/...", "fine").outcome == Outcome::Ok);
    for (const char* path : {"root", "up", "..", "slash", "magic", "slash/etc"})
        CHECK(bench.search(".", path).outcome == Outcome::Failed);
    const ToolResult searched = bench.search("root:|fine");
    CHECK_MESSAGE(searched.text == "..x/...\n1: fine\n\n[1 match in 1 file of 1; skipped: 5 links]",
                  searched.text);
    bench.must("echo x > from");
    for (const std::string& path : {std::string("/etc/peacrab"), std::string("../x/y"),
                                    std::string("root/tmp/new/file"), full + "/../z"}) {
        CHECK(bench.patch("*** Add File: " + path + "\n+x\n").outcome == Outcome::Failed);
        CHECK(bench.patch("*** Update File: from\n*** Move to: " + path + "\n").outcome ==
              Outcome::Failed);
    }
    refused(bench.patch("*** Delete File: secret\n"), "is a link");
    bench.must("test ! -e ../x && test ! -e /tmp/new && test ! -e /etc/peacrab && test ! -e ../z && "
               "test -h secret && cat from");
}

TEST_CASE("file: links within the workspace are followed, but not for ever") {
    Bench bench;
    bench.must(
        "mkdir d; echo here > d/f; ln -s d e; ln -s ../e/f d/g; ln -s loop loop; "
        "ln -s d/f l0; for i in $(seq 1 50); do ln -s l$((i-1)) l$i; done");
    CHECK(bench.read("e/g").text == "here\n");
    CHECK(bench.write("e/g", "new").outcome == Outcome::Ok);
    CHECK(bench.read("d/f").text == "new");
    CHECK(bench.shell("test -h d/g && test -h e && echo yes").text == "yes\n");
    CHECK(bench.write("l5", "six").outcome == Outcome::Ok);
    CHECK(bench.read("d/f").text == "six");
    refused(bench.read("l50"), "too many links");
    refused(bench.write("l50", "x"), "too many links");
    refused(bench.write("loop", "x"), "too many links");
    CHECK(bench.read("d/f").text == "six");
}

TEST_CASE("file: a folder that is swapped for a link all the time lets nothing out") {
    Bench bench;
    bench.must(
        "mkdir d; echo inside > d/passwd; ln -s ../../../../../../etc out; "
        "ln -s /etc out2");
    int answered = 0, refusals = 0;
    {
        const Swapper swapper(bench.at("d"), bench.at("out"));
        for (int i = 0; i < 60; ++i) {
            const ToolResult read = bench.read("d/passwd");
            CHECK_FALSE(holds(read.text, "root:"));
            ++(read.outcome == Outcome::Ok ? answered : refusals);
            const ToolResult written = bench.write("d/peacrab-race", "escaped");
            ++(written.outcome == Outcome::Ok ? answered : refusals);
            (void)bench.write("d/new/peacrab-race", "escaped");
            const ToolResult edited = bench.edit("d/passwd", "inside", "inside.");
            CHECK_FALSE(holds(edited.text, "root:"));
            CHECK_FALSE(holds(bench.search("root:", i % 2 ? "." : "d").text, "root:x"));
            if (i % 4 == 0)
                (void)bench.patch("*** Update File: d/passwd\n*** Move to: d/peacrab-race2\n"
                                  "*** Add File: d/more/peacrab-race\n+x\n");
        }
    }
    // Otherwise nothing was raced.
    CHECK(answered > 0);
    CHECK(refusals > 0);
    bench.must("test ! -e /etc/peacrab-race && test ! -e /etc/new && test ! -e /etc/more");
    bench.must("test -z \"$(ls -A d out | grep '^\\.new-')\"");
}

TEST_CASE("file: a target that is swapped for a link is replaced, never written through") {
    Bench bench;
    bench.must(
        "echo a > f; echo outside > /tmp/peacrab-target; "
        "ln -s ../../../../../../tmp/peacrab-target l");
    {
        const Swapper swapper(bench.at("f"), bench.at("l"));
        for (int i = 0; i < 100; ++i) (void)bench.write("f", "inside");
    }
    const ToolResult left = bench.shell("cat /tmp/peacrab-target");
    CHECK_MESSAGE(!holds(left.text, "inside"), left.text);
}

TEST_CASE("file: pipes, sockets and devices are refused without a wait") {
    Bench bench;
    bench.must(
        "mkfifo pipe; ln -s pipe link; python3 -c 'import socket as s; "
        "s.socket(s.AF_UNIX).bind(\"sock\")'");
    for (const char* path : {"pipe", "link"}) {
        refused(bench.read(path), "named pipe");
        refused(bench.write(path, "x"), "named pipe");
        refused(bench.edit(path, "x", "y"), "named pipe");
        refused(bench.search("x", path), "named pipe");
        refused(bench.patch("*** Update File: " + std::string(path) + "\n-x\n"), "named pipe");
    }
    refused(bench.read("sock"), "a socket");
    refused(bench.write("sock", "x"), "a socket");
    refused(bench.write("pipe/x", "x"), "Not a directory");
    CHECK(bench.search("x").text == "[no match in 0 files; skipped: 1 link]");
}

TEST_CASE("file: one line of ten gigabytes, and offsets into it, are answered within bounds") {
    Bench bench;
    // Made so by somebody who may: a call's files are bounded.
    bench.must("printf x > sparse; yes '' | head -c 1000 > lines");
    for (const char* name : {"sparse", "lines"})
        REQUIRE(::truncate(bench.at(name).c_str(), off_t{10} << 30) == 0);
    const ToolResult first = bench.read("sparse");
    CHECK(first.text.size() < 60'000);
    const ToolResult beyond = bench.read("lines", 2'000'000);
    CHECK(beyond.outcome == Outcome::Failed);
    CHECK(beyond.text.size() < 1000);
    refused(bench.write("sparse", "x"), "too much to be replaced");
    refused(bench.edit("sparse", "x", "y"), "longer than 1 MiB");
    CHECK(bench.search("x").text == "[no match in 2 files; skipped: 2 larger than 16 MiB]");
    refused(bench.patch("*** Update File: sparse\n-x\n"), "longer than 1 MiB");
    bench.must("test $(stat -c %s sparse) = 10737418240");
    bench.must("head -c 9000000 /dev/zero | tr '\\0' 'x' > long");
    const ToolResult line = bench.read("long");
    CHECK(line.outcome == Outcome::Ok);
    CHECK(line.text.size() < 60'000);
    CHECK(holds(line.text, "longer than 48 KiB"));
}

TEST_CASE("file: names with newlines, escapes and bytes that are no text stay names") {
    Bench bench;
    for (const std::string& name :
         {std::string("a\nb"), std::string("\x1b[31mred"), std::string("tab\there"),
          std::string("-rf"), std::string("*"), std::string(" "), std::string("\xe2\x80\xae txt"),
          std::string(250, 'n')}) {
        const ToolResult made = bench.write(name, "x\n");
        CHECK_MESSAGE(made.outcome == Outcome::Ok, made.text);
        CHECK_FALSE(holds(made.text, "\x1b"));
        CHECK_FALSE(holds(made.text, "\xe2\x80\xae"));
        CHECK(bench.read(name).text == "x\n");
        refused(bench.read(name + "/x"), "Not a directory");
    }
    const ToolResult searched = bench.search("x");
    CHECK(holds(searched.text, "[8 matches in 8 files of 8"));
    CHECK_FALSE(holds(searched.text, "\x1b"));
    CHECK_FALSE(holds(searched.text, "\xe2\x80\xae"));
    CHECK(bench.shell("ls -A | grep -vx output | wc -l").text == "9\n");  // one has two lines
    refused(bench.write(std::string(300, 'n'), "x"), "File name too long");
    CHECK(bench.write("d/" + std::string(5000, 'n'), "x").outcome != Outcome::Ok);
}

TEST_CASE("file: a workspace that is gone is said, not made up") {
    Bench bench;
    const std::string full = bench.workspace();
    bench.must("true");  // the cell is there, and stays
    if (in_guest())
        bench.must("cd / && rm -rf " + full);
    else
        std::filesystem::remove_all(full);
    CHECK(bench.read("x").outcome == Outcome::Failed);
    CHECK(bench.write("x", "y").outcome == Outcome::Failed);
    CHECK((in_guest() || !std::filesystem::exists(full)));
    if (!in_guest()) return;
    refused(bench.read("x"), "is not there any more");
    refused(bench.write("x", "y"), "is not there any more");
    // Nor may a link stand in its place.
    bench.must("ln -s /etc " + full);
    refused(bench.read("passwd"), "is not there any more");
    refused(bench.write("x", "y"), "is not there any more");
    bench.must("rm " + full + " && mkdir " + full);
    CHECK(bench.write("x", "y").outcome == Outcome::Ok);
}

TEST_CASE("file: what cannot be replaced as one file is left as it was") {
    Bench bench;
    bench.must(
        "echo one > f; ln f g; mkdir locked; echo old > locked/f; "
        "mkdir deep; echo keep > deep/f");
    refused(bench.write("f", "two"), "2 names (hard links)");
    CHECK(bench.read("g").text == "one\n");
    CHECK(bench.read("f").text == "one\n");
    if (!in_guest()) {  // in a cell the helper may, and the shell is root
        bench.must("chmod 555 locked");
        refused(bench.write("locked/f", "new"), "Permission denied");
        bench.must("test -z \"$(ls -A locked | grep new)\" && chmod 755 locked");
    }
    CHECK(bench.read("locked/f").text == "old\n");
    CHECK(bench.write("deep/f", "kept mode").outcome == Outcome::Ok);
    CHECK(bench.shell("ls -A deep").text == "f\n");
}

TEST_CASE("file: an edit keeps mode and links, and shows what it made") {
    Bench bench;
    bench.must("mkdir d; printf 'one\\ntwo\\nthree\\n' > d/f; chmod 750 d/f; ln -s d/f l; "
               "printf 'ELF\\0x' > binary; echo a > h; ln h h2");
    const ToolResult result = bench.edit("l", "two\n", "2\n2.5\n");
    CHECK(result.outcome == Outcome::Ok);
    CHECK(result.text == "edited l: 1 replacement\n1| one\n2| 2\n3| 2.5\n4| three\n");
    CHECK(bench.shell("test -h l && stat -c %a d/f && cat d/f && ls -A d").text ==
          "750\none\n2\n2.5\nthree\nf\n");
    refused(bench.edit("d/f", "four", "4"), "d/f: old does not occur: ");
    refused(bench.edit("missing", "a", "b"), "No such file");
    refused(bench.edit("d", "a", "b"), "is a directory");
    refused(bench.edit("binary", "x", "y"), "binary file");
    refused(bench.edit("h", "a", "b"), "2 names (hard links)");
    CHECK(bench.call("edit", json::Value::object({{"path", "d/f"}, {"old", "2"}, {"new", "x"},
                                                  {"all", true}}))
              .text.starts_with("edited d/f: 2 replacements\n"));
    CHECK(bench.read("d/f").text == "one\nx\nx.5\nthree\n");
}

TEST_CASE("file: what changed since it was read is read again before it is edited") {
    Bench bench;
    bench.must("echo one > f; echo one > g");
    CHECK(bench.edit("g", "one", "two").outcome == Outcome::Ok);  // never read
    CHECK(bench.read("f").text == "one\n");
    bench.must("echo two >> f");
    const std::string stale = "it changed since you read it: read it again";
    refused(bench.edit("./f", "one", "1"), stale);
    refused(bench.edit(bench.workspace() + "//f", "one", "1"), stale);
    refused(bench.patch("*** Update File: f\n-one\n"), stale);
    refused(bench.patch("*** Delete File: f\n"), stale);
    CHECK(bench.read("f").outcome == Outcome::Ok);
    CHECK(bench.edit("f", "one", "1").outcome == Outcome::Ok);
    CHECK(bench.edit("f", "two", "2").outcome == Outcome::Ok);  // its own edit is no surprise
    CHECK(bench.patch("*** Update File: f\n-1\n+one\n").outcome == Outcome::Ok);
    CHECK(bench.edit("f", "one", "1").outcome == Outcome::Ok);
    bench.must("echo other > f");
    refused(bench.edit("f", "other", "x"), stale);
    CHECK(bench.write("f", "fresh\n").outcome == Outcome::Ok);
    CHECK(bench.edit("f", "fresh", "x").outcome == Outcome::Ok);
    bench.must("touch f");  // the same contents
    CHECK(bench.edit("f", "x", "y").outcome == Outcome::Ok);
    CHECK(bench.patch("*** Delete File: f\n").outcome == Outcome::Ok);
    bench.must("echo new > f");
    CHECK(bench.edit("f", "new", "z").outcome == Outcome::Ok);
}

TEST_CASE("file: a patch does all of it or, when something does not fit, nothing") {
    Bench bench;
    bench.must("mkdir s; printf 'a\\nb\\nc\\n' > s/one; chmod 700 s/one; echo x > two; echo y > three");
    const ToolResult done = bench.patch(
        "*** Update File: s/one\n@@\n a\n-b\n+B\n*** Update File: two\n*** Move to: t/four\n-x\n+X\n"
        "*** Delete File: three\n*** Add File: n/e/w\n+new\n");
    CHECK(done.text ==
          "updated s/one\nupdated two, moved to t/four\ndeleted three\nadded n/e/w\n"
          "s/one:\n1| a\n2| B\n3| c\nt/four:\n1| X\n");
    CHECK(bench.shell("stat -c %a s/one; cat s/one t/four n/e/w; ls -A s t n/e").text ==
          "700\na\nB\nc\nX\nnew\nn/e:\nw\n\ns:\none\n\nt:\nfour\n");
    bench.must("test ! -e two && test ! -e three");
    for (const char* last :
         {"*** Update File: s/one\n-zzz\n", "*** Add File: t/four\n+x\n", "*** Delete File: none\n",
          "*** Delete File: s\n", "*** Update File: t/four\n*** Move to: n/e/w\n",
          "*** Add File: fresh\n+x\n", "*** Update File: s/../t/four\n*** Move to: m\n"
          "*** Delete File: t/four\n", "*** Add File: s/one/x\n+x\n"}) {
        const ToolResult result =
            bench.patch("*** Add File: ./fresh\n+x\n*** Add File: deep/er/f\n+x\n" + std::string(last));
        CHECK(result.outcome == Outcome::Failed);
        CHECK_MESSAGE(holds(result.text, "; nothing was written"), result.text);
        bench.must("test ! -e fresh && test ! -e deep && test ! -e m && test -e t/four");
    }
    refused(bench.patch("*** Add File: t/four\n+x\n"), "t/four: is there already");
    refused(bench.patch("*** Update File: s/one\n a\n-zzz\n"), "s/one: hunk 1: ");
}

TEST_CASE("file: a search gives lines with their numbers, by file, and says what it left out") {
    Bench bench;
    bench.must("mkdir -p src/deep .git node_modules/x; echo needle > .git/a; echo needle > node_modules/x/a; "
               "printf 'one\\nneedle 1\\r\\nx\\nneedle 2' > src/b.txt; echo 'a needle' > src/deep/c.md; "
               "printf 'needle\\0' > src/binary; ln -s src/b.txt l; echo nothing > empty");
    CHECK(bench.search("needle").text ==
          "src/b.txt\n2: needle 1\n4: needle 2\n\nsrc/deep/c.md\n1: a needle\n\n"
          "[3 matches in 2 files of 4; skipped: 1 binary, 1 link, .git, node_modules]");
    CHECK(bench.search("needle$", "src").text ==
          "src/deep/c.md\n1: a needle\n\n[1 match in 1 file of 3; skipped: 1 binary]");
    CHECK(bench.search("needle", ".git").text == ".git/a\n1: needle\n\n[1 match in 1 file of 1]");
    CHECK(bench.search("needle", bench.workspace() + "/src/b.txt", "*", 1).text ==
          bench.workspace() + "/src/b.txt\n2: needle 1\n\n"
          "[1 match in 1 file of 1; ended at 1 match: narrow it by path, glob or pattern]");
    CHECK(bench.search("needle", ".", "*.md").text == "src/deep/c.md\n1: a needle\n\n[1 match in 1 file of 1; skipped: 1 link, .git, node_modules]");
    CHECK(bench.search("needle", ".", "src/*").text.starts_with("src/b.txt\n2: needle 1\n4: needle 2\n\n[2"));
    CHECK(bench.search("needle", "l").text.starts_with("l\n2: needle 1\n"));  // named, so meant
    CHECK(bench.search("absent", "src/deep").text == "[no match in 1 file]");
    refused(bench.search("needle", "none"), "No such file");
    refused(bench.search("(x"), "pattern: a ( is not closed");
    refused(bench.search("x", ".", "{x"), "glob: ");
    bench.must("head -c 3000 /dev/zero | tr '\\0' x > long; echo needle >> long; head -c 3000 /dev/zero | tr '\\0' y >> long");
    const ToolResult clipped = bench.search("xneedle|needle", "long");
    CHECK(clipped.text.size() < 400);
    bench.must("(head -c 3000 /dev/zero | tr '\\0' x; echo needle) > long");
    CHECK(holds(bench.search("xneedle", "long").text, "xneedle\n"));
}

TEST_CASE("file: a search by name alone lists files, the newest first") {
    Bench bench;
    bench.must("mkdir -p d/e; touch -d 2020-01-01 a.c; touch -d 2022-01-01 d/e/b.c; touch -d 2021-01-01 d/c.h d/x.o");
    const auto list = [&](const std::string& glob, int limit = 100) {
        return bench.call("search", json::Value::object({{"glob", glob}, {"limit", limit}})).text;
    };
    CHECK(list("*.{c,h}") == "d/e/b.c\nd/c.h\na.c\n\n[3 files]");
    CHECK(list("d/**/*.c") == "d/e/b.c\n\n[1 file]");
    CHECK(list("*.c", 1) == "d/e/b.c\n\n[1 file of 2; the newest are shown]");
    CHECK(list("*.py") == "[no such file]");
}

TEST_CASE("file: a search ends within bounds, however much there is") {
    Bench bench;
    bench.must("d=.; for i in $(seq 1 80); do d=$d/d; done; mkdir -p $d; echo x > $d/f; ln -s . d/loop; "
               "yes needle | head -c 1000000 > many; mkdir w; cd w; seq 1 3000 | xargs touch");
    const ToolResult many = bench.search("needle", ".", "*", 1000);
    CHECK(many.text.size() < 50'000);
    CHECK(holds(many.text, "[1000 matches in 1 file"));
    CHECK(holds(bench.search("x", "d").text, "1 folder too deep"));
    CHECK(holds(bench.search("x", "w").text, "[no match in 3000 files]"));
    bench.must("head -c 4000000 /dev/urandom | tr -dc ab | head -c 20000 > noise; "
               "for i in $(seq 1 7); do cat noise noise > n2; mv n2 noise; done");
    const ToolResult slow = bench.search("a[ab]{40}a[ab]{40}a[ab]{400}c", "noise");
    refused(slow, "it takes too long on this text");
}

TEST_CASE("file: on a full disk the old file stays whole and no rest is left" *
          doctest::skip(!in_guest())) {
    Bench bench;
    bench.must("echo old > f");
    // The quota of the cell's disk, but for less than the write needs.
    (void)bench.shell("cat /dev/zero > fill 2>/dev/null; sync; true");
    const ToolResult result = bench.write("f", std::string(900'000, 'x'));
    CHECK(result.outcome == Outcome::Failed);
    CHECK_MESSAGE((holds(result.text, "quota") || holds(result.text, "space")), result.text);
    CHECK(bench.read("f").text == "old\n");
    CHECK(bench.edit("f", "old", std::string(900'000, 'x')).outcome == Outcome::Failed);
    CHECK(bench.read("f").text == "old\n");
    CHECK(bench.shell("ls -A").text.starts_with("f\nfill\n"));
    bench.must("rm fill");
    CHECK(bench.write("f", "new").outcome == Outcome::Ok);
}

TEST_CASE("file: in a cell a file keeps its owner, a new one has its folder's" *
          doctest::skip(!in_guest())) {
    Bench bench;
    bench.must("mkdir d; chown 1000:1000 d; echo x > e; chown 7:8 e; chmod 640 e");
    CHECK(bench.write("d/f", "x").outcome == Outcome::Ok);
    CHECK(bench.write("e", "y").outcome == Outcome::Ok);
    CHECK(bench.edit("e", "y", "z").outcome == Outcome::Ok);
    CHECK(bench.shell("stat -c %u:%g:%a d/f e").text == "1000:1000:644\n7:8:640\n");
    CHECK(bench.patch("*** Update File: e\n*** Move to: g\n-z\n+y\n").outcome == Outcome::Ok);
    CHECK(bench.shell("stat -c %u:%g:%a g").text == "7:8:640\n");
}

TEST_CASE("file tools: a picture is shown as one; what only begins like one is not") {
    Bench bench;
    // A PNG of one pixel, as every encoder writes it.
    bench.must("printf '\\211PNG\\r\\n\\032\\n\\0\\0\\0\\015IHDR\\0\\0\\0\\001\\0\\0\\0\\001\\010\\0\\0\\0\\0' > dot.png;"
               "cp dot.png large.png; head -c 700000 /dev/zero >> large.png;"
               "printf '\\211PNG\\r\\n\\032\\nnothing' > torn.png");
    const ToolResult dot = bench.read("dot.png");
    CHECK(dot.outcome == Outcome::Ok);
    CHECK(dot.text == "image/png, 1 x 1 pixels");
    CHECK(dot.picture.starts_with("image/png;base64,iVBORw0KGgo"));
    const ToolResult large = bench.read("large.png");
    CHECK(large.outcome == Outcome::Failed);
    CHECK(holds(large.text, "more than 640 KiB"));
    CHECK(large.picture.empty());
    CHECK(holds(bench.read("torn.png").text, "header is damaged"));
    bench.must("head -c 600000 /dev/urandom > noise; cat dot.png noise > most.png");
    CHECK(bench.read("most.png").picture.size() > 800'000);
}
