// The warden against turn processes that have been taken over, and clients that come and go. This
// program is its own turn process: the warden runs /proc/self/exe, and main() plays the part that
// the environment names.
#define DOCTEST_CONFIG_IMPLEMENT
#include "warden.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "agent.h"
#include "budget/spending.h"
#include "cell_fixture.h"
#include "error.h"

using namespace peacrab;

namespace {

using test::Folder;

constexpr const char* kPart = "PEACRAB_TEST_TURN";

json::Value frame_of(const char* type) {
    return json::Value::object({{"type", type}});
}

json::Value done_frame() {
    return json::Value::object({{"type", "done"}, {"status", "done"}});
}

json::Value reply_frame(const std::string& text) {
    return json::Value::object({{"type", "reply"}, {"text", text}});
}

// ---- the turn process

using Part = void (*)(FrameSocket& warden);

void answers(FrameSocket& warden) {
    warden.send(json::Value::object({{"type", "took"}, {"count", 1}}));
    warden.send(reply_frame("yes"));
    warden.send(done_frame());
}

void closes_its_ears(FrameSocket& warden) {
    ::close(kTurnStop);
    warden.send(json::Value::object({{"type", "delta"}, {"text", "come and stop me"}}));
    while (!warden.closed()) (void)warden.receive(Deadline::never());
}

void asks_for_models_and_takes_none(FrameSocket& warden) {
    for (int i = 0; i < 2000; ++i)
        if (::send(kTurnModelRoute, "", 1, MSG_NOSIGNAL) != 1) break;
    answers(warden);
}

// Each byte is one byte here, and six as we write it.
void replies_with_what_grows(FrameSocket&) {
    write_all(kTurnFrames,
              "{\"type\":\"reply\",\"text\":\"" + std::string(200'000, '\x7f') + "\"}\n");
    ::pause();
}

void replies_without_end(FrameSocket& warden) {
    for (int i = 0; i < 40; ++i) warden.send(reply_frame(std::string(200'000, 'x')));
    for (int i = 0; i < 1000; ++i) warden.send(reply_frame("small"));
    warden.send(done_frame());
}

json::Value usage_of(int64_t output, const char* model = "priced") {
    return json::Value::object({{"type", "usage"},
                                {"model", model},
                                {"answered", ""},
                                {"input", 0},
                                {"output", output},
                                {"cache_read", 0},
                                {"cache_write", 0}});
}

// What the warden says to one call: its answer's type, or "gone".
std::string told_of(FrameSocket& warden, const json::Value& usage) {
    warden.send(usage);
    const std::optional<json::Value> answer = warden.receive(Deadline::never());
    return answer ? answer->text("type") : "gone";
}

bool stopped() {
    pollfd stop{kTurnStop, POLLIN, 0};
    return ::poll(&stop, 1, 0) == 1;
}

// 40 cents a call, until it is told to stop; then it does.
void spends(FrameSocket& warden) {
    warden.send(json::Value::object({{"type", "took"}, {"count", 1}}));
    for (int calls = 0; calls < 20; ++calls) {
        if (told_of(warden, usage_of(400)) != "go") return;
        if (stopped()) return warden.send(json::Value::object({{"type", "done"}, {"status", "stopped"}}));
    }
    warden.send(done_frame());
}

// What a turn may have stored is bounded, however small the parts are.
void sends_without_end(FrameSocket& warden) {
    for (int i = 0; i < 10'000; ++i) {
        warden.send(json::Value::object(
            {{"type", "tool"}, {"id", "c"}, {"name", "send"}, {"arguments", R"({"text":"hi"})"}}));
        (void)warden.receive(Deadline::never());
    }
    warden.send(done_frame());
}

void spends_and_answers(FrameSocket& warden) {
    warden.send(json::Value::object({{"type", "took"}, {"count", 1}}));
    (void)told_of(warden, usage_of(5000));
    warden.send(reply_frame("whole"));
    warden.send(done_frame());
}

void ignores_that_it_is_over(FrameSocket& warden) {
    ::close(kTurnStop);
    for (;;)
        if (told_of(warden, usage_of(2000)) != "go") return;
}

void says_2_to_the_63(FrameSocket& warden) {
    write_all(kTurnFrames,
              "{\"type\":\"usage\",\"model\":\"priced\",\"answered\":\"\",\"input\":9223372036854775807,\"output\":"
              "1,\"cache_read\":0,\"cache_write\":0}\n");
    (void)warden.receive(Deadline::never());
}

void says_less_than_nothing(FrameSocket& warden) {
    (void)told_of(warden, usage_of(-1'000'000));
}

void names_a_cheaper_model(FrameSocket& warden) {
    (void)told_of(warden, usage_of(1000, "gpt-5-nano"));
    answers(warden);
}

void ask_the_person(FrameSocket& warden) {
    warden.send(json::Value::object({{"type", "took"}, {"count", 1}}));
    warden.send(json::Value::object(
        {{"type", "tool"}, {"id", "c"}, {"name", "ask_user"}, {"arguments", R"({"question":"may I?"})"}}));
    (void)warden.receive(Deadline::never());
}

void asks_and_goes_on(FrameSocket& warden) {
    ask_the_person(warden);
    warden.send(json::Value::object(
        {{"type", "tool"}, {"id", "d"}, {"name", "plan"}, {"arguments", R"({"steps":"[>] all of it"})"}}));
    (void)warden.receive(Deadline::never());
    answers(warden);
}

void asks_and_answers_itself(FrameSocket& warden) {
    ask_the_person(warden);
    warden.send(reply_frame("The person answers: yes"));
    warden.send(json::Value::object({{"type", "took"}, {"count", 1}}));
    warden.send(done_frame());
}

void asks_and_stays(FrameSocket& warden) {
    ::close(kTurnStop);
    ask_the_person(warden);
    ::pause();
}

int play(const std::string& name) {
    FrameSocket warden(UniqueFd(kTurnFrames), Dialect::WardenToTurn, Dialect::TurnToWarden);
    (void)warden.receive(Deadline::never());  // start
    const std::pair<const char*, Part> parts[] = {
        {"answers", answers},
        {"closes its ears", closes_its_ears},
        {"asks for models and takes none", asks_for_models_and_takes_none},
        {"replies with what grows", replies_with_what_grows},
        {"replies without end", replies_without_end},
        {"spends", spends},
        {"spends and answers", spends_and_answers},
        {"ignores that it is over", ignores_that_it_is_over},
        {"says 2^63", says_2_to_the_63},
        {"says less than nothing", says_less_than_nothing},
        {"names a cheaper model", names_a_cheaper_model},
        {"asks and goes on", asks_and_goes_on},
        {"asks and stays", asks_and_stays},
        {"asks and answers itself", asks_and_answers_itself},
        {"sends without end", sends_without_end}};
    try {
        for (const auto& [known, part] : parts)
            if (name == known) part(warden);
    } catch (const Error&) {  // the warden has had enough
    }
    return 0;
}

// ---- the warden

struct House {
    explicit House(const std::string& part) {
        ::setenv(kPart, part.c_str(), 1);
        WardenOptions options;
        options.state = folder.path;
        options.durability = Durability::ProcessCrash;
        options.open_model = [this](const std::string&, const std::string&) {
            ++models;
            return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
        };
        options.model.name = "priced";
        warden = std::make_unique<Warden>(loop, std::move(options));
        Spending spending;
        spending.prices = {{"priced", 1'000'000, 1'000'000, 0, 0}};  // a tenth of a cent for a token
        warden->set_spending(spending);
    }

    struct Client {
        Warden::ClientId id = 0;
        std::vector<json::Value> frames;
        std::function<void(const json::Value&)> on_frame;
        bool dropped = false;
        size_t bytes = 0;

        size_t count(const std::string& type) const {
            size_t n = 0;
            for (const json::Value& frame : frames) n += frame.text("type") == type;
            return n;
        }
        const json::Value& last(const std::string& type) const {
            for (size_t i = frames.size(); i-- > 0;)
                if (frames[i].text("type") == type) return frames[i];
            throw Error("test: no frame " + type);
        }
    };

    void connect(Client& client) {
        client.id = warden->connect(
            {[&client](std::string_view line) {
                 client.bytes += line.size();
                 line.remove_suffix(1);
                 client.frames.push_back(parse_frame(Dialect::WardenToClient, line));
                 if (client.on_frame) client.on_frame(json::Value(client.frames.back()));
             },
             [&client](const std::string&) { client.dropped = true; }});
    }
    void attach(Client& client, const char* key = nullptr, const char* value = nullptr) {
        connect(client);
        json::Value frame = frame_of("attach");
        frame.set("agent", "main");
        frame.set("channel", "terminal");
        if (key) frame.set(key, value);
        warden->handle(client.id, frame);
    }
    void say(const Client& client, const std::string& id, const char* text = "do it") {
        warden->handle(client.id,
                       json::Value::object({{"type", "message"}, {"id", id}, {"text", text}}));
    }
    // False: it did not become true in time.
    bool until(const std::function<bool()>& done) {
        const Deadline deadline = Deadline::in(Seconds(20));
        while (!done() && !deadline.passed()) loop.run_once(Milliseconds(20));
        return done();
    }

    Folder folder;
    Loop loop;
    size_t models = 0;
    std::unique_ptr<Warden> warden;
};

using Client = House::Client;

}  // namespace

int main(int count, char** values) {
    ::signal(SIGPIPE, SIG_IGN);
    if (count > 1 && std::string(values[1]) == "turn") return play(env(kPart));
    ::alarm(120);  // a warden that hangs must not hang the tests
    return doctest::Context(count, values).run();
}

TEST_CASE("warden: what is said while an ended turn is not yet gone is answered") {
    House house("answers");
    Client client;
    house.attach(client);
    client.on_frame = [&](const json::Value& frame) {
        if (frame.text("type") != "turn_done" || client.count("turn_done") != 1) return;
        house.loop.after(Milliseconds(0), [&] { house.say(client, "second"); });
    };
    house.say(client, "first");
    CHECK(house.until([&] { return client.count("turn_done") == 2; }));
    CHECK(client.count("reply") == 2);
    CHECK(client.count("ack") == 2);
}

TEST_CASE("warden: a turn that has closed its ears is stopped, and who said so stays") {
    House house("closes its ears");
    Client client;
    house.attach(client);
    client.on_frame = [&](const json::Value& frame) {
        if (frame.text("type") == "delta")
            house.loop.after(Milliseconds(0),
                             [&] { house.warden->handle(client.id, frame_of("stop")); });
    };
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1 || client.dropped; }));
    CHECK_FALSE(client.dropped);
    CHECK(client.last("turn_done").text("status") == "stopped");
}

TEST_CASE("warden: a turn that asks for models and takes none does not hold it up") {
    House house("asks for models and takes none");
    Client client;
    house.attach(client);
    house.say(client, "first");
    CHECK(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(house.models < 1000);
}

TEST_CASE("warden: a reply that would not fit a frame fails its turn, and its session lives on") {
    House house("replies with what grows");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_done").text("status") == "failed");
    CHECK(client.count("reply") == 0);
    Client later;
    house.attach(later);
    CHECK_FALSE(later.dropped);
    CHECK(later.count("caught_up") == 1);
}

TEST_CASE("warden: who comes back is shown the end of a turn, and no more than can wait for it") {
    House house("replies without end");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    for (const bool watches : {false, true}) {
        Client later;
        house.attach(later, watches ? "watch" : nullptr, "t1");
        CHECK(later.count("turn_done") == 1);
        CHECK(later.count("notice") == 1);
        CHECK(later.frames.back().text("type") == "caught_up");
        CHECK(later.bytes < MiB(3).count);
    }
}

TEST_CASE("warden: a turn that sends without end is cut off, and its session lives on") {
    House house("sends without end");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_done").text("status") == "failed");
    CHECK(client.last("turn_done").text("error").find("one turn may") != std::string::npos);
    CHECK(client.count("said") > 100);
    CHECK(client.count("said") < 5'000);
    Client later;
    house.attach(later);
    CHECK(later.count("caught_up") == 1);
    CHECK(later.bytes < MiB(3).count);
}

TEST_CASE("warden: who has asked the person does nothing more, and cannot answer for them") {
    for (const char* part : {"asks and goes on", "asks and answers itself", "asks and stays"}) {
        CAPTURE(part);
        House house(part);
        Client client;
        house.attach(client);
        house.say(client, "first");
        REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
        CHECK(client.last("turn_done").text("status") == "waiting");
        CHECK(client.count("question") == 1);
        CHECK(client.count("plan") == 0);
        const auto open = [&] {
            Database database(house.folder.path + "/warden.db", Durability::ProcessCrash);
            Statement query = database.prepare("SELECT count(*) FROM calls WHERE outcome = 'waiting'");
            query.step();
            return query.integer(0);
        };
        CHECK(open() == 1);
        house.say(client, "second");
        CHECK(house.until([&] { return client.count("turn_done") == 2; }));
        CHECK(open() == 1);  // its own, new one
        CHECK(client.count("question") == 2);
    }
}

TEST_CASE("warden: a client may leave from inside what it is told") {
    House house("answers");
    Client leaver, stayer;
    house.attach(leaver);
    house.attach(stayer);
    leaver.on_frame = [&](const json::Value& frame) {
        if (frame.text("type") == "turn_start") house.warden->disconnect(leaver.id);
    };
    house.say(leaver, "first");
    CHECK(house.until([&] { return stayer.count("turn_done") == 1; }));
    CHECK(leaver.count("turn_done") == 0);
    CHECK(leaver.count("reply") == 0);
}

TEST_CASE("warden: seeing what was never shown hides nothing") {
    House house("answers");
    Client client;
    house.attach(client);
    house.warden->handle(client.id,
                         json::Value::object({{"type", "seen"}, {"seq", int64_t{1} << 62}}));
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    Client later;
    house.attach(later);
    CHECK(later.count("turn_done") == 1);
}

TEST_CASE("warden: starts although its store takes nothing, as on a full disk") {
    Folder folder;
    const std::string path = folder.path + "/warden.db";
    {
        WardenStore store(path, Durability::ProcessCrash);
        store.begin_turn(store.new_session("main", "terminal").id);
        Database database(path, Durability::ProcessCrash);
        database.run("CREATE TRIGGER full BEFORE INSERT ON events BEGIN "
                     "SELECT RAISE(FAIL, 'database or disk is full'); END");
    }
    Loop loop;
    WardenOptions options;
    options.state = folder.path;
    options.durability = Durability::ProcessCrash;
    CHECK_NOTHROW(Warden(loop, std::move(options)));
}

TEST_CASE("warden: a turn is stopped at its budget, in its middle, with one sentence; most of it is said once") {
    House house("spends");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    const json::Value end = client.last("turn_done");
    CHECK(end.text("status") == "budget");
    CHECK(end.text("error") ==
          "the budget of this turn is spent: 5.20 USD of 5 USD; answer `more` to allow as much again");
    CHECK(end.integer("cost") == 5'200'000);
    CHECK(end.integer("output_tokens") == 5200);
    CHECK(client.count("notice") == 1);
    CHECK(client.last("notice").text("text") == "80 % of the budget of this turn is spent: 4 USD of 5 USD");
}

TEST_CASE("warden: `more` lets it go on, and is for the warden alone; a day's end is said before a turn begins") {
    House house("spends");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    house.say(client, "second", " More\n");
    REQUIRE(house.until([&] { return client.count("turn_done") == 2; }));
    CHECK(client.last("turn_start").text("text").find("Go on") == 0);
    // The 10 USD of all agents.
    CHECK(client.last("turn_done").text("status") == "budget");
    house.say(client, "third", "and now?");
    REQUIRE(house.until([&] { return client.count("turn_done") == 3; }));
    CHECK(client.last("turn_done").text("error") ==
          "the budget of all agents today (UTC) is spent: 10 USD of 10 USD; answer `more` to allow as much again");
    CHECK(client.last("turn_done").integer("cost", -1) == -1);
    house.say(client, "fourth", "more");
    REQUIRE(house.until([&] { return client.count("turn_done") == 4; }));
    CHECK(client.last("turn_done").integer("cost") == 5'200'000);
    house.warden->handle(client.id, frame_of("usage"));
    const std::vector<json::Value>& rows = client.last("usage").at("rows").items();
    REQUIRE(rows.size() == 4);
    CHECK(rows[3].text("limit") == "20 USD");
    CHECK(rows[3].integer("cost") == 15'200'000);
}

TEST_CASE("warden: `more` is an ordinary word to whoever may go on") {
    House house("answers");
    Client client;
    house.attach(client);
    house.say(client, "first", "more");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_start").text("text") == "more");
}

TEST_CASE("warden: an answer that was paid for is shown, whatever it cost") {
    House house("spends and answers");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_done").text("status") == "done");
    CHECK(client.count("reply") == 1);
}

TEST_CASE("warden: a turn that goes on when nothing is left is ended") {
    House house("ignores that it is over");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_done").text("status") == "budget");
}

TEST_CASE("warden: counts that are none end their turn, and nothing of them is kept") {
    for (const char* part : {"says 2^63", "says less than nothing"}) {
        House house(part);
        Client client;
        house.attach(client);
        house.say(client, "first");
        REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
        CHECK(client.last("turn_done").text("status") == "failed");
        CHECK(client.last("turn_done").integer("output_tokens") == 0);
    }
}

TEST_CASE("warden: who names a model that was not to be asked pays for the one that was") {
    House house("names a cheaper model");
    Client client;
    house.attach(client);
    house.say(client, "first");
    REQUIRE(house.until([&] { return client.count("turn_done") == 1; }));
    CHECK(client.last("turn_done").integer("cost") == 1'000'000);
}
