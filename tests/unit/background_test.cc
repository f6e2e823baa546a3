// An agent's cell over time, what it leaves running in it, and the limits of a call. Run in our own
// guest too, there in containers.
#define DOCTEST_CONFIG_IMPLEMENT
#include "cells/background.h"

#include <doctest/doctest.h>

#include "cells/command_watch.h"
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

struct Bench {
    TestPlace test;
    Loop loop;
    int built = 0, gone = 0;
    std::vector<std::string> ended;
    Workplace place;

    explicit Bench(WarmTimes times = {})
        : place(loop, test.options, {[this](Cell&) { ++built; }, [this] { ++gone; }},
                [this](const std::string& line) { ended.push_back(line); }, times) {}

    bool until(const std::function<bool()>& done, Milliseconds span = Seconds(20)) {
        const Deadline deadline = Deadline::in(span);
        while (!done() && !deadline.passed()) loop.run_once(Milliseconds(20));
        return done();
    }
    ToolResult call(const std::string& name, const json::Value& arguments, CallLimits limits = {}) {
        auto decision = authorise({"1", name, json::dump(arguments)}, {test.contained(), {}});
        if (const Denied* denied = std::get_if<Denied>(&decision))
            return {Outcome::Denied, denied->why, {}};
        std::optional<ToolResult> result;
        ToolRun run(
            loop, place, std::move(std::get<Permit>(decision)),
            [&](const ToolResult& done) { result = done; }, limits);
        REQUIRE(until([&] { return result.has_value(); }, Seconds(60)));
        return *result;
    }
    ToolResult shell(const std::string& command, CallLimits limits = {}) {
        return call("shell", json::Value::object({{"command", command}}), limits);
    }
    ToolResult start(const std::string& command) {
        return call("shell", json::Value::object({{"command", command}, {"background", true}}));
    }
    ToolResult act(const std::string& action, const std::string& id = {}) {
        json::Value arguments = json::Value::object({{"action", action}});
        if (!id.empty()) arguments.set("id", id);
        return call("background", arguments);
    }
};

}  // namespace

TEST_CASE("watch: a command is looked at until it has ended, with nothing watched meanwhile, and may end its watch") {
    Bench bench;
    WarmCell::Stay stay = bench.place.cell.enter();
    ShellCall call;
    call.command = "echo one; sleep 0.2; echo two";
    call.limit = Seconds(20);
    std::optional<Command> command(stay.cell().shell(call));
    std::optional<CommandWatch> watch;
    std::string said;
    size_t looked = 0;
    watch.emplace(bench.loop, [&] {
        ++looked;
        if (!command->step()) return watch->wait(*command);
        said = command->result().output;
        command.reset();
        watch.reset();
    });
    watch->wait(*command);
    REQUIRE(bench.until([&] { return !watch; }));
    CHECK(said == "one\ntwo\n");
    CHECK(looked >= 2);
}

TEST_CASE("watch: it is ready at its time, or soon, and not once it was told to stop") {
    Bench bench;
    WarmCell::Stay stay = bench.place.cell.enter();
    ShellCall call;
    call.command = "sleep 600";
    call.limit = Seconds(600);
    Command command = stay.cell().shell(call);
    size_t ready = 0;
    CommandWatch watch(bench.loop, [&] { ++ready; });
    watch.wait(command, Deadline::in(Milliseconds(30)));
    CHECK(bench.until([&] { return ready == 1; }, Seconds(5)));
    CHECK_FALSE(bench.until([&] { return ready == 2; }, Milliseconds(100)));  // once
    watch.soon();
    CHECK(bench.until([&] { return ready == 2; }, Seconds(5)));
    watch.wait(command);
    watch.soon();
    watch.stop();
    CHECK_FALSE(bench.until([&] { return ready == 3; }, Milliseconds(100)));
    command.cancel();
    watch.wait(command);
    CHECK(bench.until([&] { return ready == 3; }, Seconds(5)));
}

TEST_CASE("background: it has an id, outlives its call, is read, and stopped") {
    Bench bench;
    const ToolResult begun = bench.start("echo ready; while :; do sleep 0.1; test -e go && break; "
                                         "done; echo went; exec sleep 1000");
    CHECK(begun.outcome == Outcome::Ok);
    CHECK(begun.text.starts_with("ready\n[b1 has run for "));
    CHECK(holds(bench.act("list").text, "b1 has run for "));
    CHECK(bench.act("read", "b1").text.starts_with("[b1 has run"));
    CHECK(bench.shell("touch go").outcome == Outcome::Ok);
    std::string said;
    CHECK(bench.until([&] {
        said += bench.act("read", "b1").text;
        return holds(said, "went\n");
    }));
    CHECK(bench.act("stop", "b1").outcome == Outcome::Ok);
    CHECK(bench.place.background.running() == 0);
    CHECK(holds(bench.act("list").text, "b1 ended ("));
    CHECK(bench.ended.size() == 1);
    CHECK(bench.place.background.untold().empty());  // who stops it knows
}

TEST_CASE("background: one that fails at once is seen to fail") {
    Bench bench;
    const ToolResult failed = bench.start("echo no such port; exit 3");
    CHECK(failed.outcome == Outcome::Failed);
    CHECK(failed.text.starts_with("no such port\n[b1 ended (exit code 3): "));
    const ToolResult over = bench.start("echo quick");
    CHECK(over.outcome == Outcome::Ok);
    CHECK(holds(over.text, "b2 ended (exit code 0)"));
}

TEST_CASE("background: the end of one is told once to who was not there") {
    Bench bench;
    (void)bench.start("sleep 1.3; exit 4");
    REQUIRE(bench.until([&] { return bench.place.background.running() == 0; }));
    const std::vector<std::string> lines = bench.place.background.untold();
    REQUIRE(lines.size() == 1);
    CHECK(holds(lines[0], "b1 ended (exit code 4)"));
    CHECK(bench.place.background.untold().empty());
}

TEST_CASE("background: what runs is listed for the person, on one line whatever it is called") {
    Bench bench;
    (void)bench.start("sleep 1000 # \x1b[2J\nports: none" + std::string(200, 'x'));
    (void)bench.start("exit 3");
    json::Value rows = json::Value::array();
    bench.place.background.add_rows(rows, "main");
    REQUIRE(rows.items().size() == 1);
    const json::Value& row = rows.items()[0];
    CHECK(row.text("agent") == "main");
    CHECK(row.text("id") == "b1");
    CHECK(row.integer("ms") > 0);
    const std::string command = row.text("command");
    CHECK(command.starts_with("sleep 1000 # "));
    CHECK(command.size() <= 60);
    CHECK(command.find_first_of("\x1b\n") == std::string::npos);
}

TEST_CASE("background: the news of ends is one bracket each, and told once") {
    Bench bench;
    (void)bench.start("sleep 1.3; exit 4");
    (void)bench.start("sleep 1.4; exit 5");
    REQUIRE(bench.until([&] { return bench.place.background.running() == 0; }));
    CHECK(bench.place.background.news_of_ends() ==
          "\n\n[background: b1 ended (exit code 4): sleep 1.3; exit 4]"
          "\n\n[background: b2 ended (exit code 5): sleep 1.4; exit 5]");
    CHECK(bench.place.background.news_of_ends().empty());
}

TEST_CASE("background: one that ignores being asked is killed") {
    Bench bench;
    (void)bench.start("trap '' TERM; echo here; while :; do sleep 1; done");
    CHECK(bench.act("stop", "b1").outcome == Outcome::Ok);
    CHECK(bench.place.background.running() == 0);
}

TEST_CASE("background: those of a paused agent end at once, all together") {
    auto bench = std::make_unique<Bench>();
    for (size_t i = 0; i < Background::kMost; ++i)
        bench->place.background.start({"trap '' TERM; sleep 1000 & wait", {}, ShellCall::User::Root,
                                       ShellCall::Life::Background});
    bench->place.cell.pause(true);
    const auto began = std::chrono::steady_clock::now();
    bench.reset();
    CHECK(std::chrono::steady_clock::now() - began < Seconds(8));  // waited for it is 16
}

TEST_CASE("background: at most eight run; an unknown id is an answer, not an accident") {
    Bench bench;
    for (size_t i = 0; i < Background::kMost; ++i) {
        WarmCell::Stay stay = bench.place.cell.enter();
        bench.place.background.start({"exec sleep 1000", {}, ShellCall::User::Root,
                                      ShellCall::Life::Background});
    }
    const ToolResult ninth = bench.start("sleep 1");
    CHECK(ninth.outcome == Outcome::Failed);
    CHECK(holds(ninth.text, "stop one of them first"));
    for (const char* id : {"b9", "b0", "b", "c1", "b01", "b-1", "1", "b99999999999"}) {
        CHECK(bench.act("read", id).outcome == Outcome::Failed);
        CHECK(bench.act("stop", id).outcome == Outcome::Failed);
    }
    bench.place.background.stop_all();
    CHECK(bench.place.background.running() == 0);
    CHECK(bench.place.background.untold().size() == Background::kMost);
    CHECK(bench.start("sleep 1000").outcome == Outcome::Ok);
}

TEST_CASE("background: one that is forgotten while its stop is waited for is an answer") {
    Bench bench;
    for (size_t i = 0; i <= Background::kMost; ++i) {
        bench.place.background.start({i ? "true" : "exec sleep 1000", {}, ShellCall::User::Root,
                                      ShellCall::Life::Background});
        REQUIRE(bench.until([&] { return bench.place.background.running() == 1; }));
    }
    auto decision = authorise({"1", "background", R"({"action":"stop","id":"b1"})"}, {});
    std::optional<ToolResult> result;
    ToolRun run(bench.loop, bench.place, std::move(std::get<Permit>(decision)),
                [&](const ToolResult& done) { result = done; });
    // Another session of the agent begins one more, in the same moment.
    while (bench.place.background.running() > 0) bench.loop.run_once(Milliseconds(20));
    bench.place.background.start({"true", {}, ShellCall::User::Root,
                                  ShellCall::Life::Background});
    REQUIRE(bench.until([&] { return result.has_value(); }));
    CHECK((result->outcome == Outcome::Ok || holds(result->text, "no background process")));
}

TEST_CASE("background: of a flood the end is read, and nothing of it is too much") {
    Bench bench;
    std::string last =
        bench.start("yes 0123456789 | head -c 100000000; echo last; exec sleep 1000").text;
    const auto read = [&] {
        CHECK(last.size() < 60'000);
        if (!holds(last, "last\n")) last = bench.act("read", "b1").text;
        return holds(last, "last\n");
    };
    CHECK(bench.until(read, Seconds(60)));
    CHECK(bench.place.background.runs("b1"));
}

TEST_CASE("warm: built at the first call, kept, removed when idle, and built again") {
    Bench bench({Milliseconds(50), Milliseconds(50)});
    CHECK(bench.built == 0);
    CHECK(bench.shell("echo kept > file").outcome == Outcome::Ok);
    CHECK(bench.shell("true").outcome == Outcome::Ok);
    CHECK(bench.built == 1);
    REQUIRE(bench.until([&] { return bench.gone == 1; }));
    CHECK(bench.place.cell.present() == nullptr);
    CHECK(bench.shell("cat file").text == "kept\n");
    CHECK(bench.built == 2);
}

TEST_CASE("warm: what runs in the background keeps the cell, and its end lets it go") {
    Bench bench({Milliseconds(10), Milliseconds(10)});
    (void)bench.start("sleep 1.5");
    CHECK_FALSE(bench.until([&] { return bench.gone > 0; }, Milliseconds(300)));
    CHECK(bench.until([&] { return bench.gone == 1; }));
}

TEST_CASE("warm: a paused agent is refused with a sentence, and goes on where it was") {
    Bench bench;
    CHECK(bench.shell("true").outcome == Outcome::Ok);
    bench.place.cell.pause(true);
    CHECK_THROWS_WITH_AS(bench.place.cell.enter(),
                         "this agent is paused: nothing of it runs until it is resumed", Error);
    bench.place.cell.pause(false);
    CHECK(bench.shell("echo on").text == "on\n");
    CHECK(bench.built == 1);
}

TEST_CASE("warm: other options take effect as soon as nobody stays") {
    Bench bench;
    (void)bench.shell("true");
    {
        WarmCell::Stay stay = bench.place.cell.enter();
        bench.place.cell.configure(bench.test.options);
        CHECK_FALSE(bench.until([&] { return bench.gone > 0; }, Milliseconds(100)));
    }
    CHECK(bench.until([&] { return bench.gone == 1; }));
}

TEST_CASE("warm: a cell that is not accepted is not used") {
    TestPlace test;
    Loop loop;
    WarmCell cell(loop, test.options, {[](Cell&) { throw Error("no"); }, {}});
    CHECK_THROWS_WITH_AS(cell.enter(), "no", Error);
    CHECK(cell.present() == nullptr);
}

TEST_CASE("tools: a call that says nothing for too long is ended, one that speaks is not") {
    Bench bench;
    CallLimits limits;
    limits.quiet = Milliseconds(700);
    const ToolResult quiet = bench.shell("echo begun; sleep 1000", limits);
    CHECK(quiet.outcome == Outcome::TimedOut);
    CHECK(quiet.text.starts_with("begun\n[ended: it said nothing for too long"));
    CHECK(quiet.limit == "quiet");
    const ToolResult speaks = bench.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", limits);
    CHECK(speaks.outcome == Outcome::Ok);
}

TEST_CASE("tools: a call that says more than 64 MiB is ended and told to write a file") {
    Bench bench;
    const ToolResult flood = bench.shell("yes | head -c 200000000; sleep 1000");
    CHECK(flood.outcome == Outcome::Failed);
    CHECK(holds(flood.text, "[ended: more than 64 MiB of output; write it to a file instead]"));
    CHECK(flood.limit == "output");
}

TEST_CASE("tools: long output is kept in a file that the next call can read") {
    Bench bench;
    const ToolResult result = bench.shell("seq 1 100000");
    const size_t at = result.text.find("all of it is in ");
    REQUIRE(at != std::string::npos);
    const std::string path = result.text.substr(at + 16, result.text.find(": go on") - at - 16);
    CHECK(bench.shell("sed -n 50000p " + path).text == "50000\n");
    CHECK(bench.shell("wc -l < " + path).text == "100000\n");
}

TEST_CASE("tools: a cancelled call is done soon, and a dropped one never says so") {
    Bench bench;
    auto decision = authorise({"1", "shell", R"({"command":"sleep 1000"})"});
    std::optional<ToolResult> result;
    ToolRun run(bench.loop, bench.place, std::move(std::get<Permit>(decision)),
                [&](const ToolResult& done) { result = done; });
    run.cancel();
    REQUIRE(bench.until([&] { return result.has_value(); }));
    CHECK(result->outcome == Outcome::Interrupted);
    bool said = false;
    {
        auto again = authorise({"1", "shell", R"({"command":"sleep 1000"})"});
        ToolRun dropped(bench.loop, bench.place, std::move(std::get<Permit>(again)),
                        [&](const ToolResult&) { said = true; });
    }
    (void)bench.shell("true");
    CHECK_FALSE(said);
}

TEST_CASE("tools: a throw-away cell sees nothing of the agent, and leaves nothing") {
    Bench bench;
    if (!bench.test.contained()) {
        MESSAGE("skipped: containers are made in our own guest");
        return;
    }
    (void)bench.shell("echo mine > file");
    const ToolResult result =
        bench.call("shell", json::Value::object(
                                {{"command", "cat file; touch left; ls"}, {"throwaway", true}}));
    CHECK_FALSE(holds(result.text, "mine"));
    CHECK(bench.shell("ls").text == "file\n");
}
