#include "agents.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

namespace {

Agents three() {
    Agents agents;
    agents.list.push_back({"a", "model-a", "be brief", {MiB(300), 9, 50, GiB(1), 10, {}}, false});
    agents.list.push_back({"b", {}, {}, {}, true});
    agents.routes = {{"main", "a"}, {"main", "b"}};
    return agents;
}

std::string refusal(const Agents& agents, const RouteAsked& asked) {
    const auto decision = route(agents, asked);
    const Denied* denied = std::get_if<Denied>(&decision);
    return denied ? denied->why : "";
}

}  // namespace

TEST_CASE("agents: a frame carries them whole") {
    json::Value frame = json::Value::object({{"type", "settings"}});
    put_agents(frame, three());
    const Agents back = agents_from(json::parse(json::dump(frame)));
    REQUIRE(back.list.size() == 3);
    CHECK(back.list[1].model == "model-a");
    CHECK(back.list[1].rules == "be brief");
    CHECK(back.list[1].limits == three().list[1].limits);
    CHECK(back.list[0].limits == CellLimits());
    CHECK(back.list[2].paused);
    CHECK_FALSE(back.list[1].paused);
    CHECK_FALSE(back.list[1].skills);
    CHECK(back.routes == three().routes);
    CHECK(agents_from(json::Value::object()).names() == "main");
}

TEST_CASE("agents: a frame with a wrong agent is refused") {
    json::Value good = json::Value::object();
    put_agents(good, three());
    const auto broken = [&](auto breaks) {
        json::Value frame = good;
        breaks(frame);
        CHECK_THROWS_AS((void)agents_from(frame), Error);
    };
    CHECK_NOTHROW((void)agents_from(good));
    const auto row = [](json::Value& frame, size_t i) -> json::Value& {
        return frame.find("agents")->items()[i];
    };
    for (const char* name : {"", "..", "a/b", "A", "-a", "1a", "a b", "a\n", "main"})
        broken([&](json::Value& frame) { row(frame, 1).set("name", name); });
    broken([&](json::Value& frame) { row(frame, 1).set("name", std::string(33, 'a')); });
    broken([&](json::Value& frame) { row(frame, 0).set("name", "other"); });
    broken([&](json::Value& frame) { row(frame, 1).set("memory", -1); });
    broken([&](json::Value& frame) { row(frame, 1).set("processes", 0); });
    broken([&](json::Value& frame) { row(frame, 1).set("disk", "1G"); });
    broken([&](json::Value& frame) { row(frame, 1).set("rules", std::string(5000, 'x')); });
    broken([&](json::Value& frame) { frame.set("agents", json::Value::array()); });
    broken([&](json::Value& frame) { frame.set("agents", json::Value::array({1})); });
    for (const char* text : {"main", "main -> nobody", "a -> a", "main->a", "x -> main"})
        broken([&](json::Value& frame) { frame.set("routes", json::Value::array({text})); });
}

TEST_CASE("agents: names are one path component and one control group") {
    for (const char* good : {"main", "a", "a-1", "off-mount"}) CHECK(is_agent_name(good));
    for (const char* bad : {"", ".", "a.b", "a_b", "\xc3\xa9", "0", "-"})
        CHECK_FALSE(is_agent_name(bad));
    CHECK_FALSE(is_agent_name(std::string_view("a\0b", 3)));
}

TEST_CASE("route: without the operator's line there is no way, and nobody is named") {
    CHECK(refusal(Agents(), {"main", "a"}) == refusal(three(), {"a", "main"}));
    CHECK(refusal(three(), {"a", "main"}).find("main") == std::string::npos);
    CHECK(refusal(three(), {"a", "b"}) == refusal(three(), {"a", "nobody"}));
    CHECK(refusal(three(), {"main", "nobody"}).find("only to: a, b") != std::string::npos);
    CHECK(!refusal(three(), {"main", "main"}).empty());
    CHECK(!refusal(three(), {"", ""}).empty());
}

TEST_CASE("route: one way, three hops, twenty an hour, and not to who is paused") {
    const Agents agents = three();
    const auto decision = route(agents, {"main", "a", 2, 19});
    REQUIRE(std::holds_alternative<Delivery>(decision));
    CHECK(std::get<Delivery>(decision).from() == "main");
    CHECK(std::get<Delivery>(decision).to() == "a");
    CHECK(std::get<Delivery>(decision).hops() == 3);
    CHECK(refusal(agents, {"main", "a", 0, 0}).empty());
    CHECK(refusal(agents, {"main", "a", 3, 0}).find("3 messages") != std::string::npos);
    CHECK(!refusal(agents, {"main", "a", -1, 0}).empty());
    CHECK(refusal(agents, {"main", "a", 0, 20}).find("20 messages") != std::string::npos);
    CHECK(refusal(agents, {"main", "b", 0, 0}).find("paused") != std::string::npos);
}
