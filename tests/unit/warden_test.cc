// The warden against scripted clients and a scripted turn process, which does what the first message
// says: orders, life signs, interruption, what is shown again. (hostile_turn_test.cc has the worse
// ones.) The warden executes its own program with "turn"; here that is this test.
#include "warden.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <list>

#include "agent.h"
#include "audit.h"
#include "budget/spending.h"
#include "cell_fixture.h"
#include "error.h"
#include "json.h"

using namespace peacrab;

namespace {

json::Value frame(std::initializer_list<json::Member> members) {
    return json::Value::object(members);
}

json::Value done_frame(const std::string& status) {
    return frame({{"type", "done"}, {"status", status}});
}

// The scripted turn process. Whatever is no order of these: it ends without a word.
void play(FrameSocket& warden, const std::string& order, const json::Value& start) {
    const auto say = [&](const json::Value& value) { warden.send(value); };
    const auto took = [&](int64_t count) { say(frame({{"type", "took"}, {"count", count}})); };
    if (order == "die") ::raise(SIGKILL);
    if (order == "garbage") write_all(kTurnFrames, "{\"type\":\"format_disk\"}\n");
    if (order == "endless line") write_all(kTurnFrames, std::string(3 << 20, 'x'));
    if (order == "took too many") took(5);
    if (order == "took less than none") took(-1);
    if (order == "unknown end") say(done_frame("glorious"));
    if (order == "hang") {
        took(1);
        char byte;
        [[maybe_unused]] const ssize_t n = ::read(kTurnStop, &byte, 1);  // until told to stop
        say(done_frame("stopped"));
    }
    if (order == "reply") {
        took(1);
        say(frame({{"type", "delta"}, {"text", "hel"}}));
        say(frame({{"type", "usage"},
                   {"model", "m"},
                   {"answered", ""},
                   {"input", 1},
                   {"output", 4},
                   {"cache_read", 1},
                   {"cache_write", 1}}));
        (void)warden.receive(Deadline::never());  // go
        say(frame({{"type", "reply"}, {"text", "hello \x1b[2J"}}));
        say(done_frame("done"));
    }
    if (order == "spend") {  // a step of seven tokens after the other, until it is told to stop
        took(1);
        for (int step = 1;; ++step) {
            say(frame({{"type", "delta"}, {"text", "cut off"}}));  // a try that fails, and is told of
            const auto usage = [&](int64_t tokens) {
                say(frame({{"type", "usage"}, {"model", "m"}, {"answered", ""}, {"input", tokens}, {"output", 0},
                           {"cache_read", 0}, {"cache_write", 0}}));
                (void)warden.receive(Deadline::never());  // go
            };
            usage(3);
            say(frame({{"type", "restart"}}));
            say(frame({{"type", "delta"}, {"text", "step " + std::to_string(step) + "."}}));
            usage(4);
            pollfd stop{kTurnStop, POLLIN, 0};
            if (::poll(&stop, 1, 0) > 0) return say(done_frame("stopped"));
            say(frame({{"type", "tool"}, {"id", "c1"}, {"name", "format_disk"}, {"arguments", "{}"}}));
            (void)warden.receive(Deadline::never());
        }
    }
    if (order == "bad tool" || order == "two tools") {
        took(1);
        const json::Value tool =
            frame({{"type", "tool"}, {"id", "c1"}, {"name", "format_disk"}, {"arguments", "{}"}});
        say(tool);
        if (order == "two tools") say(frame({{"type", "took"}, {"count", 7}}));
        const auto result = warden.receive(Deadline::never());
        say(frame({{"type", "reply"}, {"text", result ? result->text("outcome") : "none"}}));
        say(done_frame("done"));
    }
    if (order == "tell scout") {
        took(1);
        for (const char* to : {"scout", "nobody", "main"})
            for (const char* text : {"said to \x1b[2J", "more"}) {
                const json::Value said = frame({{"agent", to}, {"text", text}});
                say(frame({{"type", "tool"},
                           {"id", "c1"},
                           {"name", "message"},
                           {"arguments", json::dump(said)}}));
                (void)warden.receive(Deadline::never());
            }
        say(done_frame("done"));
    }
    if (order.starts_with("call ")) {  // a line each: the tool, its arguments; the reply is what came of them
        took(1);
        std::string told;
        for (const std::string& row : split(order.substr(5), '\n')) {
            const size_t gap = row.find(' ');
            say(frame({{"type", "tool"},
                       {"id", "c1"},
                       {"name", row.substr(0, gap)},
                       {"arguments", row.substr(gap + 1)}}));
            const auto result = warden.receive(Deadline::never());
            told += result ? result->text("outcome") + ": " + result->text("text") + "\n" : "none";
        }
        say(frame({{"type", "reply"}, {"text", told}}));
        say(done_frame("done"));
    }
    if (order == "what was asked") {
        took(1);
        const json::Value* asked = start.find("asked");
        say(frame({{"type", "reply"}, {"text", asked ? json::dump(*asked) : "nothing"}}));
        say(done_frame("done"));
    }
    if (order == "ask when something was said") {
        took(1);
        (void)warden.receive(Deadline::never());
        say(frame({{"type", "tool"}, {"id", "c1"}, {"name", "ask_user"}, {"arguments", R"({"question":"?"})"}}));
        const auto result = warden.receive(Deadline::never());
        say(frame({{"type", "reply"}, {"text", result ? result->text("text") : "none"}}));
        say(done_frame("done"));
    }
    if (order == "take slowly") {  // what is said to it, once it is told to stop
        took(1);
        char byte;
        [[maybe_unused]] const ssize_t n = ::read(kTurnStop, &byte, 1);
        took(3);
        say(frame({{"type", "notice"}, {"text", "took three"}}));
        for (;;) (void)warden.receive(Deadline::never());
    }
    if (order == "ignore the rest") {  // ends without taking what was said meanwhile
        took(1);
        (void)warden.receive(Deadline::never());
        say(done_frame("done"));
    }
    if (order.starts_with('[')) {
        took(1);
        say(frame({{"type", "reply"}, {"text", order}}));
        say(done_frame("done"));
    }
    if (order == "said meanwhile") {
        took(1);
        say(frame({{"type", "reply"}, {"text", "next turn"}}));
        say(done_frame("done"));
    }
}

// The scripted work on a journal, by the session it is asked of: a good one, and bad ones.
void play_work(FrameSocket& warden, const json::Value& asked) {
    const auto say = [&](const json::Value& value) { warden.send(value); };
    const auto part = [&](const std::string& text) { say(frame({{"type", "part"}, {"text", text}})); };
    const std::string session = asked.text("session");
    if (asked.text("what") != "export") {
        if (asked.text("what") == "copy") write_file_atomic(asked.text("to"), json::dump(asked), 0600);
        return say(done_frame("done"));
    }
    part("of " + session);
    if (session == "s2") part("nobody has asked for more");
    (void)warden.receive(Deadline::never());  // more
    if (session == "s3") write_all(kTurnFrames, "{\"type\":\"part\",\"text\":\"" + std::string(200'000, '\x7f') + "\"}\n");
    if (session == "s4") say(frame({{"type", "tool"}, {"id", "c"}, {"name", "shell"}, {"arguments", "{}"}}));
    if (session == "s5") ::raise(SIGKILL);
    part(json::dump(asked.at("undone")));
    (void)warden.receive(Deadline::never());
    say(done_frame("done"));
}

// Runs before main, when the warden has started us as its turn process.
__attribute__((constructor)) void be_the_turn(int count, char** values, char**) {
    if (count < 2 || std::string(values[1]) != "turn") return;
    FrameSocket warden(UniqueFd(kTurnFrames), Dialect::WardenToTurn, Dialect::TurnToWarden);
    try {
        const auto start = warden.receive(Deadline::never());
        std::string order = "reply";
        if (start->text("type") != "work") order = start->at("messages").items().at(0).as_string();
        if (const size_t task = order.find("The task:\n"); task != std::string::npos) order.erase(0, task + 10);
        if (start->text("type") == "work")
            play_work(warden, *start);
        else if (order == "what is undone?")
            play(warden, start->find("undone") ? json::dump(start->at("undone")) : "reply", *start);
        else
            play(warden, order, *start);
    } catch (const Error&) {
        // The warden has cut us off.
    }
    ::_exit(0);
}

struct World {
    test::Folder folder;
    Loop loop;
    std::optional<Warden> warden;

    Agents agents;

    World() { start(); }
    void start() {
        warden.reset();
        WardenOptions options;
        options.state = folder.path;
        options.durability = Durability::ProcessCrash;
        options.cell.place = CellOptions::Place::Here;
        options.cell.workspace = folder.path;
        options.base_url = "http://127.0.0.1:1";
        options.model.name = "scripted";
        options.agents = agents;
        warden.emplace(loop, std::move(options));
    }
    // Once all that was begun has ended, and who was attached has gone.
    void start_anew() {
        while (!warden->idle()) loop.run_once(Milliseconds(10));
        loop.run_once(Milliseconds(10));
        start();
    }
};

Agents with_scout(AgentSettings scout = {}) {
    Agents agents;
    scout.name = "scout";
    agents.list.push_back(std::move(scout));
    return agents;
}

// What remove_agent answers.
std::string removal(World& world, const std::string& name) {
    std::optional<std::string> answer;
    world.warden->remove_agent(name, [&](const std::string& why) { answer = why; });
    const Deadline deadline = Deadline::in(Seconds(20));
    while (!answer && !deadline.passed()) world.loop.run_once(Milliseconds(50));
    return answer.value_or("no answer");
}

struct Person {
    World& world;
    std::vector<json::Value> seen;
    std::string dropped;
    Warden::ClientId id;

    explicit Person(World& the_world) : world(the_world) {
        id = world.warden->connect(
            {[this](std::string_view line) {
                 line.remove_suffix(1);
                 seen.push_back(parse_frame(Dialect::WardenToClient, line));
             },
             [this](const std::string& why) { dropped = why; }});
    }
    ~Person() {
        if (world.warden) world.warden->disconnect(id);
    }
    void say(const json::Value& value) {
        world.warden->receive(id, write_frame(Dialect::ClientToWarden, value));
    }
    void attach(const char* agent = "main") {
        say(frame({{"type", "attach"}, {"agent", agent}, {"channel", "ask"}}));
    }
    void message(const std::string& name, const std::string& text) {
        say(frame({{"type", "message"}, {"id", name}, {"text", text}}));
    }
    // Runs the loop until the `nth` frame of this type came.
    json::Value wait_for(const std::string& type, size_t nth = 1) {
        const Deadline deadline = Deadline::in(Seconds(20));
        for (;;) {
            size_t found = 0;
            for (const json::Value& value : seen)
                if (value.text("type") == type && ++found == nth) return value;
            REQUIRE_MESSAGE(!deadline.passed(), "no frame of type " << type);
            world.loop.run_once(Milliseconds(50));
        }
    }
    size_t count(const std::string& type) const {
        size_t found = 0;
        for (const json::Value& value : seen) found += value.text("type") == type;
        return found;
    }
};

// The end of a turn that was given `order`; whatever it did, the warden serves the next one.
json::Value end_of(const std::string& order) {
    World world;
    Person person(world);
    person.attach();
    person.message("m", order);
    const json::Value end = person.wait_for("turn_done");
    person.message("m2", "reply");
    CHECK(person.wait_for("reply").text("text") == "hello \x1b[2J");
    return end;
}

}  // namespace

TEST_CASE("warden: a message is acknowledged, runs one turn, and its reply is shown") {
    World world;
    Person person(world);
    person.attach();
    CHECK(person.wait_for("attached").text("agent") == "main");
    person.message("m1", "reply");
    CHECK(person.wait_for("ack").text("turn") == person.wait_for("turn_start").text("turn"));
    const json::Value end = person.wait_for("turn_done");
    CHECK(end.text("status") == "done");
    CHECK(end.integer("input_tokens") == 3);
    CHECK(person.count("reply") == 1);
}

TEST_CASE("warden: the same message twice runs once") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "reply");
    person.wait_for("turn_done");
    person.message("m1", "reply");
    CHECK(person.wait_for("ack", 2).flag("duplicate"));
    CHECK(person.wait_for("ack", 2).text("turn") == person.wait_for("ack").text("turn"));
    CHECK(person.count("turn_start") == 1);
}

TEST_CASE("warden: a turn process that dies, babbles or lies fails its turn and nothing else") {
    for (const std::string order : {"die", "garbage", "endless line", "took too many",
                                    "took less than none", "two tools", "silence", "unknown end"}) {
        CAPTURE(order);
        CHECK(end_of(order).text("status") == "failed");
    }
    CHECK(end_of("garbage").text("error").find("format_disk") != std::string::npos);
}

TEST_CASE("warden: a tool that is not in the table is denied, and the turn is told so") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "bad tool");
    CHECK(person.wait_for("tool_done").text("outcome") == "denied");
    CHECK(person.wait_for("reply").text("text") == "denied");
}

TEST_CASE("warden: more tells how to use a tool, or runs it as if it had been called itself") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "call more {\"tool\":\"send\"}\nmore {\"tool\":\"rm\"}\n"
                        "more {\"tool\":\"send\",\"arguments\":\"{\\\"text\\\":\\\"hi\\\"}\"}");
    const std::string told = person.wait_for("reply").text("text");
    CHECK(told.find("ok: {\"name\":\"send\",") == 0);
    CHECK(told.find("\"input_schema\":{\"type\":\"object\"") != std::string::npos);
    CHECK(told.find("\ndenied: more: there is no such tool") != std::string::npos);
    CHECK(told.find("\nok: sent\n") != std::string::npos);
    CHECK(person.wait_for("said").text("text") == "hi");
    CHECK(person.wait_for("tool", 3).text("name") == "send");
    CHECK(person.wait_for("tool", 3).text("summary") == "send: hi");
    const std::string audit = read_file(world.folder.path + "/audit/audit-000001.jsonl", MiB(1));
    CHECK(audit.find("\"tool\":\"send\"") != std::string::npos);
    CHECK(audit.find(sha256_hex(R"({"text":"hi"})")) != std::string::npos);
}

TEST_CASE("warden: a plan and what is sent are shown at once, in order, and again to who comes back") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "call plan {\"steps\":\"[x] a\\n[>] b\"}\nsend {\"text\":\"here\"}\nplan {\"steps\":\"a\"}");
    person.wait_for("turn_done");
    Person later(world);
    later.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}, {"watch", "t1"}}));
    for (Person* each : {&person, &later}) {
        CHECK(each->wait_for("plan").at("steps").items().at(1).text("state") == "now");
        CHECK(each->wait_for("said").text("text") == "here");
        CHECK(each->wait_for("plan").integer("seq") < each->wait_for("said").integer("seq"));
        CHECK(each->wait_for("said").integer("seq") < each->wait_for("reply").integer("seq"));
        CHECK(each->count("said") == 1);
        CHECK(each->count("plan") == 1);
    }
}

TEST_CASE("warden: a question ends its turn and outlives the warden; the next message is its answer") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m", R"(call ask_user {"question":"which?","choices":"red\nblue","default":"red"})");
        CHECK(person.wait_for("turn_done").text("status") == "waiting");
        CHECK(person.wait_for("tool_done").text("outcome") == "waiting");
    }
    world.start_anew();
    Person person(world);
    person.attach();
    const json::Value question = person.wait_for("question");
    CHECK(question.text("text") == "which?");
    CHECK(question.at("choices").items().size() == 2);
    CHECK(question.text("default") == "red");
    CHECK(question.integer("until") > 86'000 + int64_t{::time(nullptr)});
    CHECK(person.count("question") == 1);
    CHECK(person.count("turn_done") == 1);
    person.message("a", "what was asked");
    CHECK(person.wait_for("reply", 2).text("text") == R"({"turn":"t1","call":"c1","late":false})");
    CHECK(person.count("turn_start") == 2);
}

TEST_CASE("warden: a question nobody answers goes on with its default, once, also after a restart") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m", R"(call ask_user {"question":"which?","default":"red","timeout":1})");
        person.wait_for("turn_done");
    }
    world.start_anew();
    {
        Person person(world);
        person.attach();
        CHECK(person.wait_for("turn_start", 2).text("text") ==
              "Nobody answered in time. Go on with the default: red");
        person.wait_for("turn_done", 2);
    }
    world.start_anew();
    Person person(world);
    person.attach();
    person.message("a", "what was asked");
    CHECK(person.wait_for("turn_start", 3).text("text") == "what was asked");
    CHECK(person.wait_for("reply", 2).text("text").find("\"late\":true") != std::string::npos);
    CHECK(person.count("question") == 1);
}

TEST_CASE("warden: an agent does not keep itself going with questions that nobody answers") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m", R"(call ask_user {"question":"?","timeout":1})");
        person.wait_for("turn_done");
    }
    world.start_anew();  // no more of that warden's timers
    {
        Database database(world.folder.path + "/warden.db", Durability::ProcessCrash);
        for (int i = 0; i < 10; ++i)
            database.run(("INSERT INTO inbox(channel, id, turn, text) VALUES('question', 'late:x" + std::to_string(i) +
                          "', 1, '')").c_str());
    }
    Person person(world);
    person.attach();
    const Deadline deadline = Deadline::in(Milliseconds(2500));
    while (!deadline.passed()) world.loop.run_once(Milliseconds(50));
    CHECK(person.count("turn_start") == 1);
    person.message("a", "what was asked");  // it is still open
    CHECK(person.wait_for("reply", 2).text("text").find("\"late\":false") != std::string::npos);
}

TEST_CASE("warden: nothing is asked while something that was said waits to be read") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "ask when something was said");
    person.wait_for("turn_start");
    person.message("m2", "said meanwhile");
    CHECK(person.wait_for("reply").text("text").find("has said something meanwhile") != std::string::npos);
    CHECK(person.wait_for("reply", 2).text("text") == "next turn");
    CHECK(person.count("question") == 0);
}

TEST_CASE("warden: where no person is, nobody is asked and nothing is sent") {
    World world;
    Person person(world);
    person.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "agent:scout"}}));
    person.message("m", "call ask_user {\"question\":\"?\"}\nsend {\"text\":\"hi\"}");
    const std::string told = person.wait_for("reply").text("text");
    CHECK(told.find("denied: there is no tool \"ask_user\"") == 0);
    CHECK(told.find("\ndenied: there is no tool \"send\"") != std::string::npos);
}

TEST_CASE("warden: what an agent asks of itself is a turn apart, and its answer the result") {
    const auto delegated = [](const std::string& task) {
        return "call delegate " + json::dump(frame({{"task", task}}));
    };
    const auto result = [&](const std::string& task) {
        World world;
        Person person(world);
        person.attach();
        person.message("m", delegated(task));
        CHECK(person.wait_for("turn_done").text("status") == "done");
        CHECK(person.count("turn_start") == 1);  // the other one's are its own
        return person.wait_for("reply").text("text");
    };
    CHECK(result("reply") == "ok: hello \x1b[2J\n");
    CHECK(result("die").starts_with("failed: it did not finish: the turn process ended unexpectedly"));
    const std::string deeper = result(delegated("reply") + "\nask_user {\"question\":\"?\"}\nsend {\"text\":\"x\"}\n"
                                                          "more {\"tool\":\"delegate\"}");
    for (const char* tool : {"delegate", "ask_user", "send"})
        CHECK_MESSAGE(deeper.find(std::string("denied: there is no tool \"") + tool) != std::string::npos, deeper);
    CHECK(deeper.find("denied: more: there is no such tool") != std::string::npos);
}

TEST_CASE("warden: the person sees the steps of a delegate, and stop ends it, too") {
    World world;
    Person person(world);
    person.attach();
    const auto delegated = [](const std::string& task) {
        return "call delegate " + json::dump(frame({{"task", task}}));
    };
    person.message("m", delegated("bad tool"));
    CHECK(person.wait_for("notice").text("text").find("delegate: format_disk") != std::string::npos);
    person.wait_for("turn_done");
    person.message("m2", delegated("hang"));
    person.wait_for("tool", 2);
    for (int i = 0; i < 5; ++i) world.loop.run_once(Milliseconds(20));
    person.say(frame({{"type", "stop"}}));
    person.wait_for("turn_done", 2);
    CHECK(person.wait_for("tool_done", 2).text("outcome") == "interrupted");
    const Deadline deadline = Deadline::in(Seconds(20));
    while (!world.warden->idle() && !deadline.passed()) world.loop.run_once(Milliseconds(20));
    CHECK(world.warden->idle());
}

TEST_CASE("warden: a delegate ends when its own budget is spent, and who asked goes on with what it said") {
    World world;
    Spending spending;
    spending.day = kLifted;
    spending.every.turn = {kNoLimit, 100};
    const auto told = [&](const json::Value& arguments) {
        world.warden->set_spending(spending);
        Person person(world);
        person.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}, {"fresh", true}}));
        person.message(json::dump(arguments) + std::to_string(spending.every.turn.tokens),
                       "call delegate " + json::dump(arguments));
        CHECK(person.wait_for("turn_done").text("status") == "done");
        CHECK(person.wait_for("turn_done").find("error") == nullptr);
        return person.wait_for("reply").text("text");
    };
    const std::string end = "; what it changed in the workspace stands. Go on from there yourself\n\nWhat it had said "
                            "so far:\nstep 1.\n";
    const auto ended = [&](const std::string& spent, const std::string& more) {
        return "failed: it did not finish: the budget of this delegate is spent: " + spent + end + more + "\n";
    };
    // 100 tokens of the turn: half of them.
    std::string steps;
    for (int step = 2; step <= 8; ++step) steps += "step " + std::to_string(step) + ".\n";
    CHECK(told(frame({{"task", "spend"}})) == ended("56 tokens of 50 tokens", steps));
    CHECK(told(frame({{"task", "spend"}, {"budget", "14 tokens"}})) == ended("14 tokens of 14 tokens", "step 2.\n"));
    CHECK(told(frame({{"task", "spend"}, {"budget", "1M tokens"}})) == ended("56 tokens of 50 tokens", steps));
    spending.every.delegate = {kNoLimit, 7};
    CHECK(told(frame({{"task", "spend"}, {"budget", "9 tokens"}})) == ended("7 tokens of 7 tokens", ""));
    for (const char* bad : {"", "none", "0 USD", "0 tokens", "-1 USD", "7", "all of it", "1 USD; 2 USD"})
        CHECK(told(frame({{"task", "spend"}, {"budget", bad}})).starts_with("denied: "));
    spending.every.turn = {kNoLimit, 1};
    spending.every.delegate = {};
    CHECK(told(frame({{"task", "spend"}})).starts_with("denied: delegate: too little is left of the budget"));
}

TEST_CASE("warden: when a delegate spends the last of what its turn may, the turn ends, too") {
    World world;
    Spending spending;
    spending.every.turn = {kNoLimit, 20};
    spending.every.delegate = kLifted;
    world.warden->set_spending(spending);
    Person person(world);
    person.attach();
    // Were it not told to stop it would go on, and spend.
    person.message("m", "call delegate {\"task\":\"spend\"}\ndelegate {\"task\":\"reply\"}");
    CHECK(person.wait_for("tool_done").text("outcome") == "failed");
    const json::Value end = person.wait_for("turn_done");
    CHECK(end.integer("input_tokens") == 21);
    CHECK(person.wait_for("notice").text("text").find("delegate: ") != std::string::npos);
    size_t warned = 0;
    for (const json::Value& value : person.seen)
        warned += value.text("text").starts_with("80 % of the budget of this turn is spent: 17 tokens of 20");
    CHECK(warned == 1);
}

TEST_CASE("warden: as many turns as may run can each wait for a delegate") {
    World world;
    std::list<Person> people;
    for (size_t i = 0; i < Warden::kMaxTurns; ++i) {
        Person& person = people.emplace_back(world);
        person.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}, {"fresh", true}}));
        person.message("m" + std::to_string(i), R"(call delegate {"task":"reply"})");
    }
    size_t answered = 0;
    for (Person& person : people) {
        CHECK(person.wait_for("turn_done").text("status") == "done");
        answered += person.wait_for("reply").text("text").starts_with("ok: hello");
    }
    CHECK(answered >= 4);
}

TEST_CASE("warden: stop ends the turn that runs, and the agent stays") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "hang");
    person.wait_for("turn_start");
    person.say(frame({{"type", "stop"}}));
    CHECK(person.wait_for("turn_done").text("status") == "stopped");
    person.message("m2", "reply");
    person.wait_for("reply");
}

TEST_CASE("warden: what was said to a turn and not taken becomes the next turn") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "ignore the rest");
    person.wait_for("turn_start");
    person.message("m2", "said meanwhile");
    CHECK(person.wait_for("ack", 2).text("turn") == person.wait_for("ack").text("turn"));
    CHECK(person.wait_for("turn_start", 2).text("text") == "said meanwhile");
    CHECK(person.wait_for("reply").text("text") == "next turn");
    person.message("m2", "said meanwhile");
    CHECK(person.wait_for("ack", 3).flag("duplicate"));
}

TEST_CASE("warden: what waits for a turn is bounded, in number and in bytes, and taking makes room") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "take slowly");
    person.wait_for("turn_start");
    for (int i = 0; i < 20'000; ++i) person.message("q" + std::to_string(i), "once more");
    CHECK(person.count("ack") == 1 + 99);  // the one it began with is not taken yet either
    CHECK(person.count("refused") == 20'000 - 99);
    CHECK(person.wait_for("refused").text("why").starts_with("too much waits for this turn already"));
    person.say(frame({{"type", "stop"}}));
    person.wait_for("notice");
    person.message("more", "once more");
    CHECK(person.count("ack") == 1 + 99 + 1);
    CHECK(person.dropped.empty());
}

TEST_CASE("warden: long messages that wait are bounded by their bytes") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "hang");
    person.wait_for("turn_start");
    for (int i = 0; i < 50; ++i)
        person.message("q" + std::to_string(i), std::string(200'000, 'x'));
    CHECK(person.count("ack") == 1 + 5);
    CHECK(person.count("refused") == 45);
}

TEST_CASE("warden: a message between agents stands in the audit before it is there, refused ones too") {
    World world;
    world.agents = with_scout();
    world.agents.routes = {{"main", "scout"}};
    world.start();
    Person person(world);
    person.attach();
    person.message("m", "tell scout");
    person.wait_for("turn_done");
    std::vector<json::Value> records;
    size_t before = 0;
    for (const std::string& line :
         split(read_file(world.folder.path + "/audit/audit-000001.jsonl", MiB(1)), '\n')) {
        if (line.empty()) continue;
        CHECK(line.find("said to") == std::string::npos);  // never the text
        const json::Value record = json::parse(line);
        before += record.text("kind") == "before";
        if (record.text("kind") == "route") records.push_back(record);
    }
    CHECK(before == 6);
    REQUIRE(records.size() == 6);
    CHECK(records[0].text("from") == "main");
    CHECK(records[0].text("to") == "scout");
    CHECK(records[0].integer("hop") == 1);
    CHECK(records[0].integer("bytes") == 12);
    CHECK(records[0].text("sha256") == sha256_hex("said to \x1b[2J"));
    CHECK(records[0].text("verdict") == "delivered");
    CHECK(records[2].text("to") == "nobody");
    CHECK(records[2].text("verdict") == "refused: message: agent must be one of: scout");
    CHECK(records[4].text("verdict").starts_with("refused: "));
}

TEST_CASE("warden: a turn that ran when the last one ended is interrupted, once, and not run again") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m", "hang");
        person.wait_for("turn_start");
    }
    world.start();
    {
        Person person(world);
        person.attach();
        CHECK(person.wait_for("turn_done").text("status") == "interrupted");
        CHECK(world.warden->idle());
    }
    world.start();
    Person person(world);
    person.attach();
    person.wait_for("caught_up");
    CHECK(person.count("turn_done") == 1);
}

TEST_CASE("warden: who comes back is shown what was missed, from what was seen on") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m", "reply");
        person.wait_for("turn_done");
        const int64_t first = person.wait_for("turn_start").integer("seq");
        person.say(frame({{"type", "seen"}, {"seq", first}}));
        person.say(frame({{"type", "seen"}, {"seq", -7}}));
    }
    Person person(world);
    person.attach();
    person.wait_for("caught_up");
    CHECK(person.count("turn_start") == 0);
    CHECK(person.count("reply") == 1);
    CHECK(person.count("turn_done") == 1);
}

TEST_CASE("warden: a client that breaks the protocol is dropped, the others stay") {
    World world;
    Person good(world);
    good.attach();
    Person bad(world);
    world.warden->receive(bad.id, "{\"type\":\"power_off\"}\n");
    CHECK(bad.dropped.find("power_off") != std::string::npos);
    Person early(world);
    early.say(frame({{"type", "stop"}}));
    CHECK(early.dropped.find("attach") != std::string::npos);
    Person wrong(world);
    wrong.say(frame({{"type", "attach"}, {"agent", "../other"}, {"channel", "ask"}}));
    CHECK(wrong.count("refused") == 1);
    good.message("m", "reply");
    good.wait_for("reply");
}

TEST_CASE("warden: an empty or too long message is refused with words") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", " \n ");
    CHECK(person.wait_for("refused").text("id") == "m1");
    person.message("m2", std::string(Warden::kMaxMessage, 'x'));
    CHECK(person.wait_for("refused", 2).text("why").find("too long") != std::string::npos);
    CHECK(world.warden->idle());
}

TEST_CASE("warden: only an agent of the list can be spoken to, each has sessions of its own") {
    World world;
    Person nobody(world);
    nobody.attach("scout");
    CHECK(nobody.wait_for("refused").text("why") == "no such agent: scout; there are: main");
    nobody.message("m", "reply");
    CHECK(!nobody.dropped.empty());
    world.warden->set_agents(with_scout());
    Person scout(world);
    scout.attach("scout");
    Person main(world);
    main.attach();
    CHECK(scout.wait_for("attached").text("agent") == "scout");
    CHECK(scout.wait_for("attached").text("session") != main.wait_for("attached").text("session"));
    scout.message("m1", "reply");
    scout.wait_for("turn_done");
    CHECK(main.count("reply") == 0);
    // A session of another agent is none of one's own; a turn leads to the agent it is of.
    Person thief(world);
    thief.say(frame({{"type", "attach"},
                     {"agent", "main"},
                     {"channel", "ask"},
                     {"session", scout.wait_for("attached").text("session")}}));
    CHECK(thief.wait_for("refused").text("why").find("no such session") == 0);
    Person watcher(world);
    watcher.say(frame({{"type", "attach"},
                       {"agent", "main"},
                       {"channel", "ask"},
                       {"watch", scout.wait_for("turn_done").text("turn")}}));
    CHECK(watcher.wait_for("attached").text("agent") == "scout");
}

TEST_CASE("warden: a paused agent stops, takes no message and says what to do; then it goes on") {
    World world;
    world.warden->set_agents(with_scout());
    Person person(world);
    person.attach("scout");
    person.message("m1", "hang");
    person.wait_for("turn_start");
    AgentSettings paused;
    paused.paused = true;
    world.warden->set_agents(with_scout(paused));
    CHECK(person.wait_for("turn_done").text("status") == "stopped");
    CHECK(person.wait_for("turn_done").text("error").find("agent resume scout") != std::string::npos);
    person.message("m2", "reply");
    CHECK(person.wait_for("refused").text("why").find("agent resume scout") != std::string::npos);
    Person main(world);
    main.attach();
    main.message("m3", "reply");
    main.wait_for("reply");
    world.warden->set_agents(with_scout());
    person.message("m2", "reply");
    person.wait_for("reply");
    world.warden->set_agents({});
    person.message("m4", "reply");
    CHECK(person.wait_for("refused", 2).text("why").find("no agent `scout`") != std::string::npos);
    CHECK(std::filesystem::exists(world.folder.path + "/agents/scout"));  // a missing line removes nothing
}

TEST_CASE("warden: a removed agent's work ends, its files go, and the name begins anew") {
    World world;
    world.warden->set_agents(with_scout());
    const std::string folder = world.folder.path + "/agents/scout";
    {
        Person person(world);
        person.attach("scout");
        person.message("m0", "reply");
        person.wait_for("turn_done");
        person.message("m1", "hang");
        person.wait_for("turn_start", 2);
        std::string deep = folder + "/home";
        for (int i = 0; i < 300; ++i) deep += "/d";
        std::filesystem::create_directories(deep);
        REQUIRE(::symlink(world.folder.path.c_str(), (deep + "/link").c_str()) == 0);
        std::filesystem::create_directories(folder + "/home/more/of/it");
        REQUIRE(::mkfifo((folder + "/home/fifo").c_str(), 0600) == 0);
        CHECK(removal(world, "scout").empty());
        CHECK(person.dropped == "the agent was removed");
    }
    CHECK_FALSE(std::filesystem::exists(folder));
    CHECK(std::filesystem::is_empty(world.folder.path + "/removed"));
    CHECK(std::filesystem::exists(world.folder.path + "/warden.db"));  // no link was followed
    CHECK(world.warden->idle());
    Person again(world);
    again.attach("scout");
    again.wait_for("caught_up");
    CHECK(again.count("reply") == 0);
    again.message("m1", "reply");  // the same id: it was another agent's
    again.wait_for("reply");
    CHECK(std::filesystem::exists(folder));
}

TEST_CASE("warden: main cannot be removed, nor what is no name") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "reply");
    person.wait_for("reply");
    for (const char* name : {"main", "..", "", "../../x", "main/sessions"})
        CHECK(removal(world, name) == "this agent cannot be removed");
    CHECK(std::filesystem::exists(world.folder.path + "/agents/main"));
    CHECK(removal(world, "never-was").empty());
}

TEST_CASE("warden: a removal that was cut off is finished at the next start") {
    World world;
    std::filesystem::create_directories(world.folder.path + "/removed/2-left/home/x");
    world.start();
    const Deadline deadline = Deadline::in(Seconds(20));
    while (!std::filesystem::is_empty(world.folder.path + "/removed") && !deadline.passed())
        world.loop.run_once(Milliseconds(50));
    CHECK(std::filesystem::is_empty(world.folder.path + "/removed"));
}

TEST_CASE("warden: /undo takes the turns back from the newest on, durably, and the next turn is told") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "reply");
    person.wait_for("turn_done", 1);
    person.message("m2", "reply");
    person.wait_for("turn_done", 2);
    const auto undo = [&](Person& who) { who.say(frame({{"type", "undo"}})); };
    undo(person);
    CHECK(person.wait_for("undone").text("text") == "reply");
    CHECK(person.wait_for("undone").text("turn") == person.wait_for("turn_start", 2).text("turn"));
    world.start_anew();
    Person again(world);
    again.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}}));
    again.wait_for("caught_up");
    CHECK(again.count("turn_start") == 1);  // what was taken back is not shown as if it stood
    CHECK(again.count("undone") == 1);
    again.message("m4", "what is undone?");
    CHECK(again.wait_for("reply", 2).text("text") == "[\"t2\"]");
    again.wait_for("turn_done", 2);
    for (int n = 0; n < 3; ++n) undo(again);
    CHECK(again.count("undone") == 3);
    CHECK(again.wait_for("refused").text("why") == "there is nothing to undo");
}

TEST_CASE("warden: nothing is taken back or copied under a turn that runs") {
    World world;
    Person person(world);
    person.attach();
    person.message("m", "hang");
    person.wait_for("turn_start");
    for (const char* what : {"undo", "fork"}) person.say(frame({{"type", what}}));
    CHECK(person.count("refused") == 2);
    CHECK(person.wait_for("refused").text("why").starts_with("a turn is running"));
    CHECK(person.count("undone") == 0);
}

TEST_CASE("warden: a fork is a session of its own, from which one can go further back than it is old") {
    World world;
    Person person(world);
    person.attach();
    person.message("m1", "reply");
    person.wait_for("turn_done");
    person.say(frame({{"type", "fork"}}));
    const json::Value forked = person.wait_for("session");
    CHECK(forked.text("session") == "s2");
    CHECK(forked.text("from") == "s1");
    CHECK(json::parse(read_file(world.folder.path + "/agents/main/sessions/s2.db", MiB(1))).text("journal")
              .ends_with("/sessions/s1.db"));
    person.message("m2", "reply");
    person.wait_for("turn_done", 2);
    for (int n = 0; n < 3; ++n) person.say(frame({{"type", "undo"}}));
    CHECK(person.wait_for("undone", 2).text("turn") == "t1");
    CHECK(person.wait_for("refused").text("why") == "there is nothing to undo");
    // In the one it came from, that turn stands.
    Person other(world);
    other.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}, {"session", "s1"}}));
    other.say(frame({{"type", "undo"}}));
    CHECK(other.wait_for("undone").text("turn") == "t1");
    other.say(frame({{"type", "sessions"}, {"agent", "main"}}));
    const json::Value rows = other.wait_for("sessions").at("rows");
    REQUIRE(rows.items().size() == 2);
    CHECK(rows.items()[0].text("from") == "s1");
    CHECK(rows.items()[0].integer("turns") == 0);
    CHECK(rows.items()[1].integer("turns") == 0);
}

TEST_CASE("warden: an export comes in parts as they are asked for; a process that lies ends it and nothing else") {
    World world;
    Person person(world);
    for (int n = 0; n < 5; ++n) {
        Person each(world);
        each.say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "terminal"}, {"fresh", true}}));
    }
    const auto ask = [](Person& who, const char* session) {
        who.say(frame({{"type", "export"}, {"agent", "main"}, {"session", session}, {"form", "md"}}));
    };
    ask(person, "s1");
    CHECK(person.wait_for("part").text("text") == "of s1");
    ask(person, "s1");
    CHECK(person.wait_for("refused").text("why").starts_with("one thing at a time"));
    for (int n = 0; n < 5; ++n) person.say(frame({{"type", "more"}}));
    CHECK(person.wait_for("part", 2).text("text") == "[]");
    person.say(frame({{"type", "more"}}));
    CHECK(person.wait_for("exported").text("why") == "");
    for (const char* bad : {"s2", "s3", "s4", "s5"}) {
        CAPTURE(bad);
        Person other(world);
        ask(other, bad);
        other.wait_for("part");
        if (bad != std::string("s2")) other.say(frame({{"type", "more"}}));
        CHECK(other.wait_for("exported").text("why") != "");
        CHECK(other.count("part") == 1);
        CHECK(other.dropped.empty());
    }
    ask(person, "s99");
    CHECK(person.wait_for("refused", 2).text("why") == "no such session: s99");
    person.say(frame({{"type", "sessions"}, {"agent", "nobody"}}));
    CHECK(person.wait_for("refused", 3).text("why").starts_with("no such agent"));
    person.say(frame({{"type", "more"}}));
    person.attach();
    person.message("m", "reply");
    person.wait_for("reply");
}

TEST_CASE("warden: who leaves takes what was done for them along") {
    World world;
    {
        Person person(world);
        person.attach();
        person.say(frame({{"type", "export"}, {"agent", "main"}, {"session", "s1"}, {"form", "md"}}));
        person.wait_for("part");
    }
    for (int n = 0; n < 3; ++n) world.loop.run_once(Milliseconds(10));
    Person person(world);
    person.say(frame({{"type", "export"}, {"agent", "main"}, {"session", "s1"}, {"form", "html"}}));
    CHECK(person.wait_for("refused").text("why") == "an export is jsonl or md");
}

namespace {

// Who keeps tasks: attached as it says so.
struct Keeper : Person {
    explicit Keeper(World& the_world) : Person(the_world) {
        say(frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}, {"tasks", true}}));
    }
    void task(const char* what, const std::string& name, const std::string& text) {
        say(frame({{"type", "task"}, {"what", what}, {"id", name}, {"ok", true}, {"text", text}}));
    }
};

const char* const kSetsTask = R"(call task {"action":"create","when":"in 5m","text":"x"})";

}  // namespace

TEST_CASE("warden: a task is asked of who keeps them, and of nobody else") {
    World world;
    {
        Person person(world);
        person.attach();
        person.message("m1", kSetsTask);
        CHECK(person.wait_for("reply").text("text").find("`peacrab serve`") != std::string::npos);
        person.say(frame({{"type", "task"}, {"what", "result"}, {"id", "1"}, {"ok", true}, {"text", "made up"}}));
        CHECK(person.dropped.find("keeps tasks") != std::string::npos);
    }
    Keeper keeper(world);
    keeper.message("m2", kSetsTask);
    const json::Value asked = keeper.wait_for("task");
    CHECK(json::parse(asked.text("text")).text("when") == "in 5m");
    for (const char* other : {"", "0", "99", "x", "-1", "99999999999999999999999"}) keeper.task("result", other, "another");
    keeper.task("result", asked.text("id"), "set");
    CHECK(keeper.wait_for("reply", 2).text("text") == "ok: set\n");
    keeper.task("result", asked.text("id"), "again");
    CHECK(keeper.dropped.empty());
    keeper.task("what", "1", "");
    CHECK(!keeper.dropped.empty());
}

TEST_CASE("warden: what a task begins waits for the end of a turn, and for the answer to a question") {
    World world;
    Keeper keeper(world);
    const auto begins = [&keeper](const char* name) {
        keeper.say(frame({{"type", "message"}, {"id", name}, {"text", "reply"}, {"task", true}}));
    };
    keeper.message("m1", "hang");
    keeper.wait_for("turn_start");
    begins("t1");
    CHECK(keeper.wait_for("refused").text("why").starts_with("task: later"));
    keeper.say(frame({{"type", "stop"}}));
    keeper.wait_for("turn_done");
    keeper.message("m2", R"(call ask_user {"question":"which?"})");
    keeper.wait_for("question");
    keeper.wait_for("turn_done", 2);
    begins("t2");
    CHECK(keeper.wait_for("refused", 2).text("why").find("is asked something") != std::string::npos);
    size_t replies = keeper.count("reply");
    keeper.message("m3", "what was asked");
    CHECK(keeper.wait_for("reply", replies + 1).text("text").find("\"late\":false") != std::string::npos);
    keeper.wait_for("turn_done", 3);
    replies = keeper.count("reply");
    begins("t3");
    CHECK(keeper.wait_for("reply", replies + 1).text("text") == "hello \x1b[2J");
}

// What runs, tests/channels/task_test.py sees: here is nothing to run it in.
TEST_CASE("warden: a gate that cannot be run is no gate that says no; what does not run has ended") {
    World world;
    Keeper keeper(world);
    keeper.task("gate", "1", std::string(70'000, 'x'));
    CHECK(keeper.wait_for("task").text("what") == "failed");
    keeper.task("gate", "2", "");
    CHECK(keeper.wait_for("task", 2).text("what") == "failed");
    size_t count = 2;
    for (const char* process : {"b1 of another", "b1", "b99", "", "../b1", "b1 b2 b3"}) {
        keeper.task("listen", "7", process);
        CHECK(keeper.wait_for("task", ++count).text("what") == "ended");
    }
    CHECK(keeper.dropped.empty());
}
