// Run in our own guest too (tests/containment/cell_guest_test.sh), there in containers.
#define DOCTEST_CONFIG_IMPLEMENT
#include "tools.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <cstring>

#include "guest_main.h"
#include "place_fixture.h"

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
        auto decision = authorise({"1", name, json::dump(arguments)});
        if (const Denied* denied = std::get_if<Denied>(&decision))
            return {Outcome::Denied, denied->why, {}};
        std::optional<ToolResult> result;
        ToolRun run(loop_, place_, std::move(std::get<Permit>(decision)),
                    [&](const ToolResult& done) { result = done; });
        while (!result) loop_.run_once(Milliseconds(1000));
        return *result;
    }
    ToolResult shell(const std::string& command, int timeout = 20) {
        return call("shell", json::Value::object({{"command", command}, {"timeout", timeout}}));
    }
    ToolResult read(const std::string& path, int64_t offset = 1, int64_t limit = 2000) {
        return call("read",
                    json::Value::object({{"path", path}, {"offset", offset}, {"limit", limit}}));
    }
    ToolResult write(const std::string& path, const std::string& content) {
        return call("write", json::Value::object({{"path", path}, {"content", content}}));
    }
    // A file in the workspace, from this machine's side.
    std::string at(const std::string& name) const { return test_.workspace + "/" + name; }
    void put(const std::string& name, const std::string& text) {
        CHECK(shell("true").outcome == Outcome::Ok);  // a container makes the workspace with itself
        write_file_atomic(at(name), text, 0644);
    }

  private:
    TestPlace test_;
    Loop loop_;
    Workplace place_{loop_, test_.options};
};

}  // namespace

TEST_CASE("tools: shell gives output and outcome") {
    Bench bench;
    CHECK(bench.shell("echo hi").text == "hi\n");
    CHECK(bench.shell("echo hi").outcome == Outcome::Ok);
    CHECK(bench.shell("true").text == "(no output)");
    const ToolResult failed = bench.shell("printf no; exit 3");
    CHECK(failed.outcome == Outcome::Failed);
    CHECK(failed.text == "no\n[exit code 3]");
    CHECK(failed.summary == "exit code 3");
    CHECK(bench.shell("kill -9 $$").text == "[killed by signal 9]");
}

TEST_CASE("tools: shell says when it timed out, and keeps what was said before") {
    Bench bench;
    const ToolResult result = bench.shell("echo begun; sleep 1000", 1);
    CHECK(result.outcome == Outcome::TimedOut);
    CHECK(result.text == "begun\n[timed out after 1 s; for longer work give timeout, for a server background]");
}

TEST_CASE("tools: no terminal escape and no invalid byte reaches the model") {
    Bench bench;
    const auto shown = [&](const std::string& octal) {
        return bench.shell("printf '" + octal + "'").text;
    };
    CHECK(shown("\\033[1;31mred\\033[0m") == "red");
    CHECK(shown("a\\033]0;title\\007b") == "ab");
    CHECK(shown("a\\033]8;;http://x\\033\\\\b") == "ab");
    CHECK(shown("a\\033P1;2q\\033\\\\b") == "ab");
    CHECK(shown("a\\033(Bb\\033cc") == "abc");
    CHECK(shown("one\\r\\ntwo\\rthree") == "one\ntwo\nthree");
    CHECK(shown("a\\000\\001\\010\\177b") == "ab");
    CHECK(shown("a\\302\\233b") == "ab");  // C1, as UTF-8
    CHECK(shown("a\\377b") ==
          "a\xef\xbf\xbd"
          "b");
    CHECK(shown("\\303\\251\\tz") == "\xc3\xa9\tz");
    // An escape that never ends does not hide what follows.
    CHECK(holds(bench.shell("printf '\\033]'; head -c 9000 /dev/zero | tr '\\0' x").text, "xxx"));
    CHECK(holds(shown("\\033[12"), "12"));
    CHECK(shown("\\033") == "(no output)");
}

TEST_CASE("tools: long output is clipped and says so") {
    Bench bench;
    const ToolResult result = bench.shell("head -c 200000 /dev/zero | tr '\\0' x");
    CHECK(result.text.size() < 50'000);
    CHECK(holds(result.text, "bytes cut"));
}

TEST_CASE("tools: write makes folders, replaces whole files and keeps their mode") {
    Bench bench;
    const ToolResult made = bench.write("a/b/c.txt", "one\n");
    CHECK(made.outcome == Outcome::Ok);
    CHECK(made.text == "made a/b/c.txt: 4 bytes");
    CHECK(read_file(bench.at("a/b/c.txt"), KiB(1)) == "one\n");
    CHECK(bench.shell("chmod 750 a/b/c.txt").outcome == Outcome::Ok);
    CHECK(bench.write("a/b/c.txt", "two").text == "replaced a/b/c.txt: 3 bytes");
    struct stat info;
    REQUIRE(::stat(bench.at("a/b/c.txt").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0750);
    CHECK(bench.shell("ls -A a/b").text == "c.txt\n");  // no temporary is left
    CHECK(bench.shell("stat -c %a a/b a/b/c.txt").text == "755\n750\n");
}

TEST_CASE("tools: write goes through a link, and not through one that leads nowhere") {
    Bench bench;
    CHECK(bench.shell("echo old > real; ln -s real link; ln -s gone dangling").outcome ==
          Outcome::Ok);
    CHECK(bench.write("link", "new").outcome == Outcome::Ok);
    CHECK(bench.shell("test -h link && cat real").text == "new");
    CHECK(holds(bench.write("dangling", "x").text, "link that leads nowhere"));
}

TEST_CASE("tools: write says what stands in its way") {
    Bench bench;
    CHECK(bench.shell("mkdir dir; mkfifo pipe; echo x > file").outcome == Outcome::Ok);
    CHECK(holds(bench.write("dir", "x").text, "is a directory"));
    CHECK(holds(bench.write("dir/", "x").text, "names a directory"));
    CHECK(holds(bench.write("pipe", "x").text, "named pipe"));
    CHECK(holds(bench.write("file/x", "x").text, "Not a directory"));
    CHECK(holds(bench.write("/dev/null", "x").text, "outside of the workspace"));
    CHECK(bench.write("/etc/passwd", "x").outcome == Outcome::Failed);
    CHECK(bench.write("/proc/self/root/etc/passwd", "x").outcome == Outcome::Failed);
}

TEST_CASE("tools: write takes every byte a text can hold") {
    Bench bench;
    std::string text;
    for (int i = 0; i < 128; ++i) text += static_cast<char>(i);
    text += "\xe2\x82\xac\xf0\x9f\xa6\x80";
    CHECK(bench.write("bytes", text).outcome == Outcome::Ok);
    CHECK(read_file(bench.at("bytes"), KiB(1)) == text);
    const std::string large(900'000, '"');
    CHECK(bench.write("large", large).outcome == Outcome::Denied);  // escaped it is beyond 1 MiB
    CHECK(bench.write("large", std::string(900'000, 'x')).outcome == Outcome::Ok);
}

TEST_CASE("tools: read gives a slice of lines and says how to go on") {
    Bench bench;
    bench.put("lines", "1\n2\n3\n4\n5");
    CHECK(bench.read("lines").text == "1\n2\n3\n4\n5");
    CHECK(bench.read("lines", 2, 2).text == "2\n3\n[lines 2-3; go on with offset 4]");
    CHECK(bench.read("lines", 4, 2).text == "4\n5");
    CHECK(bench.read("lines", 5, 1).text == "5");
    CHECK(holds(bench.read("lines", 6).text, "offset 6 is past the end"));
    CHECK(bench.read("lines", 6).outcome == Outcome::Failed);
    bench.put("empty", "");
    CHECK(bench.read("empty").text == "(empty file)");
}

TEST_CASE("tools: read stops at 2000 lines and at 48 KiB, at a line's end") {
    Bench bench;
    std::string many;
    for (int i = 0; i < 3000; ++i) many += "x\n";
    bench.put("many", many);
    CHECK(bench.read("many").text.ends_with("x\n[lines 1-2000; go on with offset 2001]"));
    std::string wide;
    for (int i = 0; i < 100; ++i) wide += std::string(999, 'y') + "\n";
    bench.put("wide", wide);
    const ToolResult result = bench.read("wide");
    CHECK(result.text.size() < (49u << 10));
    CHECK(result.text.ends_with("y\n[lines 1-49; go on with offset 50]"));
}

TEST_CASE("tools: read of one endless line is cut between characters and says so") {
    Bench bench;
    std::string line;
    for (int i = 0; i < 100'000; ++i) line += "\xe2\x82\xac";
    bench.put("line", "x" + line + "\nlast\n");
    const ToolResult result = bench.read("line");
    CHECK(holds(result.text, "[line 1 is longer than 48 KiB and cut here"));
    CHECK_FALSE(holds(result.text, "\xef\xbf\xbd"));
    CHECK(bench.read("line", 2).text == "last\n");
}

TEST_CASE("tools: read keeps what a file holds, but for bytes that are no text") {
    Bench bench;
    bench.put("odd", "a\r\nb\x1b[1mc\n\xff\n");
    const ToolResult result = bench.read("odd");
    CHECK(result.text.starts_with("a\r\nb\x1b[1mc\n\xef\xbf\xbd\n"));
    CHECK(holds(result.text, "not UTF-8"));
    bench.put("binary", std::string("ELF\0\1\2", 6));
    CHECK(holds(bench.read("binary").text, "binary file of 6 bytes"));
}

TEST_CASE("tools: read refuses what is not a regular file, and does not hang on it") {
    Bench bench;
    CHECK(bench
              .shell("mkfifo pipe; mkdir dir; ln -s pipe link; ln -s /proc/self/exe magic; "
                     "python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind(\"sock\")'")
              .outcome == Outcome::Ok);
    CHECK(holds(bench.read("pipe").text, "named pipe"));
    CHECK(holds(bench.read("link").text, "named pipe"));
    CHECK(holds(bench.read("dir").text, "is a directory"));
    CHECK(holds(bench.read("sock").text, "a socket"));
    CHECK(holds(bench.read("/dev/zero").text, "outside of the workspace"));
    CHECK(bench.read("magic").outcome == Outcome::Failed);
    CHECK(bench.read("/proc/self/fd/0").outcome == Outcome::Failed);
    CHECK(bench.read("/proc/self/root/etc/passwd").outcome == Outcome::Failed);
    CHECK(bench.read("/proc/1/environ").outcome == Outcome::Failed);
    CHECK(holds(bench.read("missing").text, "No such file"));
}

TEST_CASE("tools: a description is one line without control bytes, however hostile the call") {
    CHECK(describe_call({"1", "shell", R"({"command":"ls -la"})"}) == "shell: ls -la");
    CHECK(describe_call({"1", "read", R"({"path":"a"})"}) == "read: a");
    CHECK(describe_call({"1", "write", R"({"path":"a","content":"12345"})"}) ==
          "write: a (5 bytes)");
    CHECK(describe_call({"1", "edit", R"({"path":"a","old":"x","new":"y"})"}) == "edit: a");
    CHECK(describe_call({"1", "edit",
                         R"({"patch":"*** Begin Patch\n*** Update File: a\n*** Add File: b\n+x\n"})"}) ==
          "edit: a, b");
    CHECK(describe_call({"1", "search", R"({"pattern":"x+","glob":"*.c","path":"src"})"}) ==
          "search: x+ in *.c below src");
    for (const ToolCall& call :
         {ToolCall{"1", "shell", R"({"command":"a\nb\u001b]0;x\u0007\u202e"})"},
          ToolCall{"1", "shell", "{\"command\":\"" + std::string(100'000, 'x') + "\"}"},
          ToolCall{"1", "edit", R"({"patch":"*** Add File: \u001b[2J\u202e\n"})"},
          ToolCall{"1", "edit", R"({"patch":["\u001b"],"path":{}})"},
          ToolCall{"1", "no\x1b[2J\xff", "{}"}, ToolCall{"1", "", ""},
          ToolCall{"1", "shell", "not json\n\x1b"}, ToolCall{"1", std::string(9999, '\n'), "{}"}}) {
        const std::string line = describe_call(call);
        CHECK(line.size() <= 200);
        CHECK(json::valid_utf8(line) == line);
        for (const char c : line) CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
    }
}

TEST_CASE("types: outcomes have names both ways, and an unknown one is a failure") {
    for (const Outcome outcome :
         {Outcome::Failed, Outcome::Ok, Outcome::Denied, Outcome::TimedOut, Outcome::Interrupted})
        CHECK(outcome_from(outcome_name(outcome)) == outcome);
    CHECK(outcome_from("") == Outcome::Failed);
    CHECK(outcome_from("OK") == Outcome::Failed);
    CHECK(std::string(outcome_name(Outcome::TimedOut)) == "timed out");
}
