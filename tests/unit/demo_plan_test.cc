#include "demo_plan.h"

#include <doctest/doctest.h>

using namespace peacrab;
using Kind = DemoStep::Kind;

namespace {

// "shell: CMD | read: PATH | write: PATH=TEXT"
std::string told(const std::string& message) {
    std::string out;
    for (const DemoStep& step : demo_plan(message)) {
        if (!out.empty()) out += " | ";
        if (step.kind == Kind::Shell) out += "shell: " + step.subject;
        if (step.kind == Kind::Read) out += "read: " + step.subject;
        if (step.kind == Kind::Write) out += "write: " + step.subject + "=" + step.text;
    }
    return out;
}

}  // namespace

TEST_CASE("demo plan: run: is taken to the letter, each line a step") {
    CHECK(told("run: ls -la; echo  'a then b'") == "shell: ls -la; echo  'a then b'");
    CHECK(told("  RUN:   id  ") == "shell: id");
    CHECK(told("run: echo one\nrun: echo two") == "shell: echo one | shell: echo two");
    CHECK(told("please do this:\nrun: cat /etc/os-release and the date") ==
          "shell: cat /etc/os-release and the date");
    CHECK(told("run:") == "");
    CHECK(told("run:   \nrun:x") == "shell: x");
}

TEST_CASE("demo plan: plain words become one command, in the order they were said") {
    CHECK(told("what kernel are you running, and what is your user id?") == "shell: uname -sr; id");
    CHECK(told("Your user id and kernel? And uname?") == "shell: id; uname -sr");
    CHECK(told("who am I") == "shell: id");
    CHECK(told("What time is it?") == "shell: date");
    CHECK(told("How much disk space is left?") == "shell: df -h .");
    CHECK(told("where do you run?").starts_with("shell: uname"));
    CHECK(told("list the files please") == "shell: ls -la");
}

TEST_CASE("demo plan: a word counts only as a whole word") {
    CHECK(told("sometimes I zip my kernels with candidates") == "");
    CHECK(told("hello") == "");
    CHECK(told("") == "");
    CHECK(told("help") == "");
}

TEST_CASE("demo plan: files are read and written") {
    CHECK(told("read notes.txt") == "read: notes.txt");
    CHECK(told("Please read the file 'notes'.") == "read: notes");
    CHECK(told("cat /etc/hostname?") == "read: /etc/hostname");
    CHECK(told("show me the file ../x") == "read: ../x");
    CHECK(told("show a.txt") == "read: a.txt");
    CHECK(told("show the disk") == "shell: df -h .");
    CHECK(told("write hello world to a.txt") == "write: a.txt=hello world");
    CHECK(told("save \"x to y\" in the file b") == "write: b=x to y");
    CHECK(told("write a.txt: now and then to z") == "write: a.txt=now and then to z");
    CHECK(told("could you save it in c.md?") == "write: c.md=it");
    CHECK(told("write to x") == "");
    CHECK(told("read") == "");
}

TEST_CASE("demo plan: then makes two steps only when both sides are one") {
    CHECK(told("write hi to a.txt, then read a.txt") == "write: a.txt=hi | read: a.txt");
    CHECK(told("show the date and then read x.txt then tell your user id") ==
          "shell: date | read: x.txt | shell: id");
    CHECK(told("write now and then to a.txt") == "write: a.txt=now and then");
    CHECK(told("then then then") == "");
}

TEST_CASE("demo plan: the number of steps and what is read are bounded") {
    std::string many;
    for (int i = 0; i < 100; ++i) many += "run: echo " + std::to_string(i) + "\n";
    CHECK(demo_plan(many).size() == kMaxDemoSteps);
    CHECK(demo_plan(std::string(1 << 20, 'x') + "\nrun: id").empty());
    std::string thens;
    for (int i = 0; i < 5000; ++i) thens += "date then ";
    CHECK(demo_plan(thens).size() <= kMaxDemoSteps);
    CHECK(demo_plan(std::string("write \0\xff\xfe to \x1b[2J", 18)).size() <= 1);
}
