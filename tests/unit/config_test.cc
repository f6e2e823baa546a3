#include "config.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

TEST_CASE("config: every key reads, an empty file is the defaults") {
    const Config config = parse_config(
        "# mine\nmodel: m1\nmodel-url: 'http://127.0.0.1:1'\ncpus: 2\nmemory: 1G\ndisk: 512M\n"
        "accelerator: tcg\n",
        "c");
    CHECK(config.model == "m1");
    CHECK(config.model_url == "http://127.0.0.1:1");
    CHECK(config.cpus == 2);
    CHECK(config.memory == GiB(1));
    CHECK(config.disk == MiB(512));
    CHECK(config.accelerator == "tcg");
    for (const char* empty : {"", "# only a comment\n", "---\n"})
        CHECK(parse_config(empty, "c").model.empty());
}

TEST_CASE("config: a misspelt key is an error that names the line and the right ones") {
    try {
        (void)parse_config("model: a\nmodle: b\n", "file.yaml");
        FAIL("accepted");
    } catch (const Error& error) {
        const std::string text = error.what();
        CHECK(text.find("file.yaml: line 2") != std::string::npos);
        CHECK(text.find("modle") != std::string::npos);
        CHECK(text.find("model-url") != std::string::npos);
    }
}

TEST_CASE("config: what is not one flat mapping is refused") {
    for (const char* bad : {"- a\n", "model: [a]\n", "model: {a: b}\n", "a: &x 1\nmodel: *x\n",
                            "model: a\nmodel: b\n", "model: a\n---\nmodel: b\n", "model: \"a\n",
                            "cpus: 0\n", "cpus: many\n", "memory: -1\n", "memory: 1X\n",
                            "memory: 99999999999G\n", "accelerator: fast\n", "just text\n", "\x01"})
        CHECK_THROWS_AS((void)parse_config(bad, "c"), Error);
}

TEST_CASE("config: a line ends as every editor shows it, or is refused") {
    CHECK(parse_config("memory: 2G\r\ndisk: 4G\r\n", "c").disk == GiB(4));
    for (const std::string end : {"\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
        CHECK_THROWS_WITH_AS((void)parse_config("# a\n# b" + end + "memory: >\n  2G\n", "c"),
                             doctest::Contains("line 2: holds a line end that editors do not show"), Error);
}

TEST_CASE("config: sizes read back as they were written") {
    for (const char* text : {"512M", "8G", "1K", "1000", "1025", "3T"})
        CHECK(format_size(parse_size(text)) == text);
    CHECK(format_size(KiB(1024)) == "1M");
}


TEST_CASE("config: agents have the common limits and what they say themselves") {
    const Config config = parse_config(
        "limits:\n  memory: 600M\n  processes: 100\n  cpus: 0.5\n"
        "agents:\n"
        "  scout:\n    model: m2\n    rules: |\n      be brief\n      and kind\n    memory: 300M\n"
        "    disk: 1G\n    files: 5000\n    io: 1M\n    cpus: 2\n    paused: true\n"
        "  empty:\n"
        "  main:\n    processes: 64\n"
        "may-message:\n  - main -> scout\n",
        "c");
    REQUIRE(config.agents.list.size() == 3);
    CHECK(config.agents.list[0].name == "main");
    CHECK(config.agents.list[0].limits.memory == MiB(600));
    CHECK(config.agents.list[0].limits.processes == 64);
    CHECK(config.agents.list[0].limits.cpu_percent == 50);
    const AgentSettings& scout = *config.agents.find("scout");
    CHECK(scout.model == "m2");
    CHECK(scout.rules == "be brief\nand kind\n");
    CHECK(scout.limits == CellLimits{MiB(300), 100, 200, GiB(1), 5000, MiB(1)});
    CHECK(scout.paused);
    CHECK(config.agents.find("empty")->limits.memory == MiB(600));
    CHECK(config.agents.reachable_from("main") == std::vector<std::string>{"scout"});
    CHECK(config.agents.reachable_from("scout").empty());
    CHECK(parse_config("", "c").agents.list.size() == 1);
    CHECK(parse_config("", "c").agents.list[0].limits == CellLimits());
}

TEST_CASE("config: what is wrong with an agent is said with its line") {
    const std::pair<const char*, const char*> wrong[] = {
        {"agents:\n  Scout:\n", "line 2: agents: `Scout` is no name"},
        {"agents:\n  ../x:\n", "line 2"},
        {"agents:\n  a:\n    memroy: 1G\n", "line 3: a: memroy: unknown key; known: model"},
        {"agents:\n  a:\n    memory: 1K\n", "line 3: a: memory: at least 16M"},
        {"agents:\n  a:\n    cpus: 0\n", "line 3: a: cpus: a number of CPUs"},
        {"agents:\n  a:\n    cpus: 1e9\n", "line 3"},
        {"agents:\n  a:\n    cpus: nan\n", "line 3"},
        {"agents:\n  a:\n    paused: yes\n", "true or false"},
        {"agents:\n  a:\n    skills: one\n", "a list was expected"},
        {"agents:\n  a:\n    skills:\n", "a list was expected"},
        {"agents:\n  a:\n    skills: [../x]\n", "the name of a skill"},
        {"agents:\n  a:\n    rules: \"x\\e[2J\"\n", "control byte"},
        {"agents:\n  a:\n    model: [m]\n", "a plain value"},
        {"agents:\n  a: fast\n", "line 2: a:"},
        {"agents: [a]\n", "line 1: agents:"},
        {"agents:\n  a:\n  a:\n", "line 3: `a` stands twice"},
        {"agents:\n  a:\n    model: x\n    model: y\n", "line 4: `model` stands twice"},
        {"limits:\n  memroy: 1G\n", "line 2: limits: memroy: unknown key; known: memory"},
        {"limits:\n  files: 1\n", "line 2: limits: files: a number from 1000"},
        {"limits: 1G\n", "line 1: limits"},
        {"may-message: main -> a\n", "line 1: may-message"},
        {"may-message:\n  - main -> nobody\n", "line 2: may-message: there is no agent `nobody`"},
        {"may-message:\n  - main\n", "one -> other"},
        {"agents:\n  a:\nmay-message:\n  - a -> a\n", "itself"},
        {"agents:\n  a:\nmay-message:\n  - a -> main\n  - a -> main\n", "line 5"},
        {"agents: &x\n  a:\n", "not known here"},
        {"agents:\n  a: !!map {}\n", "not known here"},
        {"a: {b: {c: {d: {e: {f: {g: 1}}}}}}\n", "nested too deep"},
    };
    for (const auto& [text, why] : wrong) {
        CAPTURE(std::string(text));
        CHECK_THROWS_WITH_AS((void)parse_config(text, "c"), doctest::Contains(why), Error);
    }
    std::string many = "agents:\n";
    for (int i = 0; i < 64; ++i) many += "  a" + std::to_string(i) + ":\n";
    CHECK_THROWS_WITH_AS((void)parse_config(many, "c"), doctest::Contains("at most 64"), Error);
    std::string huge = "egress: [";
    for (int i = 0; i < 20'000; ++i) huge += "a,";
    CHECK_THROWS_WITH_AS((void)parse_config(huge + "]\n", "c"), doctest::Contains("too much"), Error);
}

TEST_CASE("config: no egress list and an empty one are told apart") {
    CHECK_FALSE(parse_config("cpus: 1\n", "c").egress_given);
    for (const char* empty : {"egress:\n", "egress: []\n"}) {
        CHECK(parse_config(empty, "c").egress_given);
        CHECK(parse_config(empty, "c").egress.empty());
    }
    const Config config = parse_config(
        "egress:\n  - http://deb.example.org:80 GET HEAD\n  - registry.example.org:443\n", "c");
    REQUIRE(config.egress.size() == 2);
    CHECK(config.egress[0].host == "deb.example.org");
    CHECK(config.egress[0].methods == std::vector<std::string>{"GET", "HEAD"});
    CHECK(config.egress[1].port == 443);
    CHECK_THROWS_WITH_AS((void)parse_config("egress:\n  - a.example.org:1\n  - '*.example.org:443'\n", "c"),
                         doctest::Contains("line 3: egress:"), Error);
    CHECK_THROWS_AS((void)parse_config("egress: a.example.org:1\n", "c"), Error);
    CHECK_THROWS_AS((void)parse_config("egress:\n  - {a: b}\n", "c"), Error);
    CHECK_THROWS_AS((void)parse_config("egres:\n  - a.example.org:1\n", "c"), Error);
}

TEST_CASE("config: how much a model can be told") {
    CHECK(parse_config("window: 32768\n", "c").window == 32768);
    CHECK(parse_config("model: m\n", "c").window == 0);
    for (const char* bad : {"window: 100", "window: 32k", "window: -1", "window:", "window: 999999999999"})
        CHECK_THROWS_AS((void)parse_config(bad, "c"), Error);
}

TEST_CASE("config: which dialect, and which models take over") {
    const Config config = parse_config("dialect: chat\nfallback:\n  - a\n  - b/c:free\n", "c");
    CHECK(config.dialect == "chat");
    CHECK(config.fallback == std::vector<std::string>{"a", "b/c:free"});
    CHECK(parse_config("fallback:\n", "c").fallback.empty());
    for (const char* bad : {"dialect: latin", "dialect:", "dialect:\n  - chat", "fallback: a",
                            "fallback:\n  a: b", "fallback:\n  - [a]", "fallback:\n  - ''",
                            "fallback: [a, a, a, a, a, a, a, a, a]"})
        CHECK_THROWS_AS((void)parse_config(bad, "c"), Error);
}

TEST_CASE("config: an agent has all skills, some, or none") {
    const Config config =
        parse_config("agents:\n  some:\n    skills: [one, two-b]\n  none:\n    skills: []\n", "config.yaml");
    CHECK_FALSE(config.agents.list[0].skills);
    CHECK(config.agents.find("some")->skills == "one two-b");
    CHECK(config.agents.find("none")->skills == "");
    json::Value frame = json::Value::object({});
    put_agents(frame, config.agents);
    const Agents back = agents_from(json::parse(json::dump(frame)));
    CHECK_FALSE(back.list[0].skills);
    CHECK(back.find("some")->skills == "one two-b");
    CHECK(back.find("none")->skills == "");
}
