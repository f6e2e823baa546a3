// Tool calls through the warden: what is written down before and after, background processes over
// turns, a pause. The turn process is this program: it makes the calls that the message lists.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>

#include "agent.h"
#include "audit.h"
#include "place_fixture.h"
#include "tools.h"
#include "warden.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

json::Value frame(std::initializer_list<json::Member> members) {
    return json::Value::object(members);
}

// The message: a JSON array of {name, arguments}; whatever follows it is repeated in the reply.
int play() {
    FrameSocket warden(UniqueFd(kTurnFrames), Dialect::WardenToTurn, Dialect::TurnToWarden);
    const auto start = warden.receive(Deadline::never());
    const std::string text = start->at("messages").items().at(0).as_string();
    const size_t end = text.find(']') + 1;
    warden.send(frame({{"type", "took"}, {"count", 1}}));
    std::string said;
    int number = 0;
    const json::Value calls = json::parse(text.substr(0, end));
    for (const json::Value& call : calls.items()) {
        const std::string id = "c" + std::to_string(++number);
        warden.send(frame({{"type", "tool"},
                           {"id", id},
                           {"name", call.text("name")},
                           {"arguments", json::dump(call.at("arguments"))}}));
        const auto result = warden.receive(Deadline::never());
        said += result->text("outcome") + ": " + result->text("text") + "\n";
    }
    warden.send(frame({{"type", "reply"}, {"text", said + text.substr(end)}}));
    warden.send(frame(
        {{"type", "done"}, {"status", "done"}}));
    return 0;
}

json::Value call(const std::string& name, std::initializer_list<json::Member> arguments) {
    return frame({{"name", name}, {"arguments", json::Value::object(arguments)}});
}

struct House {
    TestPlace test;
    Folder state;
    Loop loop;
    std::optional<Warden> warden;
    std::vector<json::Value> seen;
    Warden::ClientId client = 0;
    int messages = 0;

    explicit House(const std::function<void(const std::string&)>& before = {}) {
        if (before) before(state.path);
        WardenOptions options;
        options.state = state.path;
        options.durability = Durability::ProcessCrash;
        options.cell = test.options;
        options.base_url = "http://127.0.0.1:1";
        warden.emplace(loop, std::move(options));
        client = warden->connect({[this](std::string_view line) {
                                      line.remove_suffix(1);
                                      seen.push_back(parse_frame(Dialect::WardenToClient, line));
                                  },
                                  [](const std::string& why) { FAIL(why); }});
        warden->handle(client, frame({{"type", "attach"}, {"agent", "main"}, {"channel", "ask"}}));
    }
    // What the turn replied: a line for each call.
    std::string turn(std::vector<json::Value> calls) {
        seen.clear();
        const std::string text = json::dump(json::Value::array(std::move(calls)));
        warden->handle(client, frame({{"type", "message"},
                                      {"id", std::to_string(++messages)},
                                      {"text", text}}));
        const Deadline deadline = Deadline::in(Seconds(60));
        for (std::string reply;; loop.run_once(Milliseconds(50))) {
            REQUIRE(!deadline.passed());
            for (const json::Value& each : seen) {
                if (each.text("type") == "reply") reply = each.text("text");
                if (each.text("type") == "turn_done") return reply;
            }
        }
    }
    std::string summary() const {  // of the last call that was done
        std::string text;
        for (const json::Value& each : seen)
            if (each.text("type") == "tool_done") text = each.text("summary");
        return text;
    }
    std::vector<json::Value> audit() const {
        CHECK(check_audit(state.path + "/audit").complaints.empty());
        std::vector<json::Value> records;
        for (const std::string& line :
             split(read_file(state.path + "/audit/audit-000001.jsonl", MiB(4)), '\n'))
            if (!line.empty()) records.push_back(json::parse(line));
        return records;
    }
};

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "tool-file") == 0) return tool_file_main();
    if (argc > 1 && std::strcmp(argv[1], "turn") == 0) return play();
    stay_ordinary();
    ::alarm(300);
    return doctest::Context(argc, argv).run();
}

TEST_CASE("calls: each is in the audit before and after, and the posture before the first") {
    House house;
    CHECK(house.turn({call("shell", {{"command", "echo hi; exit 3"}}), call("rm", {})})
              .starts_with("failed: hi\n[exit code 3]\ndenied: there is no tool \"rm\"; there are: ask_user, "));
    const std::vector<json::Value> records = house.audit();
    std::vector<std::string> kinds;
    for (const json::Value& record : records) kinds.push_back(record.text("kind"));
    REQUIRE(kinds == std::vector<std::string>{"new chain", "before", "posture", "after", "before",
                                              "after"});
    const json::Value &before = records[1], &posture = records[2], &after = records[3];
    CHECK(before.text("agent") == "main");
    CHECK(before.text("session") == "s1");
    CHECK(before.text("turn") == "t1");
    CHECK(before.text("call") == "c1");
    CHECK(before.text("tool") == "shell");
    CHECK(before.text("decision") == "allowed");
    CHECK(before.text("arguments") == sha256_hex(R"({"command":"echo hi; exit 3"})"));
    CHECK(posture.text("sha256") == sha256_hex(posture.text("posture")));
    CHECK(after.text("call") == "c1");
    CHECK(after.text("outcome") == "failed");
    CHECK(after.text("exit") == "exit code 3");
    CHECK(after.integer("bytes") == 3);
    CHECK(records[4].text("decision").starts_with("denied: there is no tool"));
    CHECK(records[5].text("outcome") == "denied");
}

TEST_CASE("calls: what cannot be put into the audit is not done, and posture says so") {
    House house([](const std::string& state) {
        write_file_atomic(state + "/audit", "in the way", 0600);
    });
    CHECK(holds(house.turn({call("shell", {{"command", "touch done"}})}),
                "not run: it could not be written down first"));
    CHECK(::access((house.test.workspace + "/done").c_str(), F_OK) != 0);
    CHECK(holds(house.warden->posture(), "audit"));
    // The positive twin: out of the way, it is done.
    ::unlink((house.state.path + "/audit").c_str());
    CHECK(holds(house.turn({call("shell", {{"command", "touch done"}})}), "ok"));
    CHECK(::access((house.test.workspace + "/done").c_str(), F_OK) == 0);
}

TEST_CASE("calls: a broken chain is said in the posture, and work goes on in a new one") {
    House first;
    first.turn({call("shell", {{"command", "true"}})});
    const std::string path = first.state.path + "/audit/audit-000001.jsonl";
    std::string text = read_file(path, MiB(1));
    text[text.find("main")] = 'x';
    House house([&](const std::string& state) {
        make_directories(state + "/audit");
        write_file_atomic(state + "/audit/audit-000001.jsonl", text, 0600);
    });
    CHECK(holds(house.warden->posture(), "a record was changed"));
    CHECK(holds(house.turn({call("shell", {{"command", "echo on"}})}), "ok: on"));
}

TEST_CASE("calls: a background process lives on over turns, and its end is told to the next") {
    House house;
    CHECK(holds(house.turn({call("shell", {{"command", "echo up; while ! test -e go; do sleep 0.1; "
                                                       "done; echo bye; exit 5"},
                                           {"background", true}})}),
                "ok: up\n[b1 has run for"));
    const std::string next = house.turn({call("background", {{"action", "list"}}),
                                         call("shell", {{"command", "touch go"}})});
    CHECK(holds(next, "ok: b1 has run for"));
    const Deadline deadline = Deadline::in(Seconds(20));
    const auto ended = [&] {  // maybe before the record of the call that let it end
        const auto records = house.audit();
        return std::any_of(records.begin(), records.end(), [](const json::Value& record) {
            return record.text("kind") == "background ended";
        });
    };
    while (!ended() && !deadline.passed()) house.loop.run_once(Milliseconds(20));
    REQUIRE(ended());
    // Or to the very call that let it end.
    CHECK(holds(next + house.turn({}), "[background: b1 ended (exit code 5)"));
    CHECK_FALSE(holds(house.turn({}), "background"));
    CHECK(holds(house.turn({call("background", {{"action", "read"}, {"id", "b1"}})}), "ok: bye"));
    house.turn({call("background", {{"action", "stop"}, {"id", "b7"}})});
    CHECK(holds(house.summary(), "there is no background process"));
}

TEST_CASE("calls: a paused agent's processes stand still, and nothing new runs") {
    House house;
    house.turn({call("shell", {{"command", "exec sleep 1000"}, {"background", true}})});
    Agents agents;
    agents.list.front().paused = true;
    house.warden->set_agents(agents);
    house.seen.clear();
    house.warden->handle(house.client,
                         frame({{"type", "message"}, {"id", "p"}, {"text", "[]"}}));
    REQUIRE(house.seen.size() == 1);
    CHECK(house.seen[0].text("type") == "refused");
    house.warden->set_agents({});
    CHECK(holds(house.turn({call("background", {{"action", "list"}})}), "b1 has run for"));
}

TEST_CASE("calls: many with much output, one after the other, lose nothing") {
    House house;
    std::vector<json::Value> calls;
    for (int i = 0; i < 10; ++i)
        calls.push_back(call("shell", {{"command", "seq 1 20000; echo end " + std::to_string(i)}}));
    const std::string said = house.turn(calls);
    for (int i = 0; i < 10; ++i) CHECK(holds(said, "end " + std::to_string(i) + "\n"));
}
