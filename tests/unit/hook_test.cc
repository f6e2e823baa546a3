#include "hooks/hook.h"

#include <doctest/doctest.h>

#include "config.h"
#include "error.h"

using namespace peacrab;

namespace {

std::string refusal(const std::string& rows) {
    try {
        (void)parse_config("hooks:\n" + rows, "config.yaml");
        return {};
    } catch (const Error& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("hook: rows are read, with what is left out at its default") {
    const Config config = parse_config(
        "hooks:\n  - event: before-tool\n    tools: [shell, write]\n    run: check.sh\n    timeout: 7\n"
        "  - event: after-tool\n    run: log\n",
        "config.yaml");
    REQUIRE(config.hooks.size() == 2);
    CHECK(config.hooks[0] == Hook{Hook::Event::BeforeTool, "check.sh", {"shell", "write"}, Seconds(7)});
    CHECK(config.hooks[1] == Hook{Hook::Event::AfterTool, "log", {}, Seconds(5)});
    CHECK(wants(config.hooks[0], Hook::Event::BeforeTool, "shell"));
    CHECK_FALSE(wants(config.hooks[0], Hook::Event::BeforeTool, "read"));
    CHECK_FALSE(wants(config.hooks[0], Hook::Event::AfterTool, "shell"));
    CHECK(wants(config.hooks[1], Hook::Event::AfterTool, "read"));
    CHECK(parse_config("hooks:\n", "config.yaml").hooks.empty());
}

TEST_CASE("hook: a row that is not understood is an error, never one hook less") {
    const struct {
        const char* rows;
        const char* why;
    } wrong[] = {
        {"  - event: before-tool\n", "event and run are needed"},
        {"  - run: a\n", "event and run are needed"},
        {"  - event: before\n    run: a\n", "before-tool or after-tool"},
        {"  - event: before-tool\n    run: ../a\n", "without a path"},
        {"  - event: before-tool\n    run: /bin/sh\n", "without a path"},
        {"  - event: before-tool\n    run: \"a'b\"\n", "without a path"},
        {"  - event: before-tool\n    run: -a\n", "without a path"},
        {"  - event: before-tool\n    run: \"\"\n", "without a path"},
        {"  - event: before-tool\n    run: a\n    timeout: 0\n", "1 to 60"},
        {"  - event: before-tool\n    run: a\n    timeout: 61\n", "1 to 60"},
        {"  - event: before-tool\n    run: a\n    timeout: 99999999999999999999\n", "1 to 60"},
        {"  - event: before-tool\n    run: a\n    timeout: 5s\n", "1 to 60"},
        {"  - event: before-tool\n    run: a\n    tools: [nothing]\n", "no tool `nothing`"},
        {"  - event: before-tool\n    run: a\n    tools: []\n", "a list was expected"},
        {"  - event: before-tool\n    run: a\n    tools: shell\n", "a list was expected"},
        {"  - event: before-tool\n    run: a\n    tool: [shell]\n", "unknown key tool"},
        {"  - check.sh\n", "were expected"},
        {"  a: b\n", "were expected below it"},
    };
    for (const auto& [rows, why] : wrong) {
        CAPTURE(rows);
        CHECK(refusal(rows).find(why) != std::string::npos);
    }
    std::string many;
    for (size_t i = 0; i <= kMaxHooks; ++i) many += "  - event: before-tool\n    run: a\n";
    CHECK(refusal(many).find("at most 16") != std::string::npos);
}

TEST_CASE("hook: rows travel and are looked at again") {
    const std::vector<Hook> hooks = {{Hook::Event::BeforeTool, "a", {"shell"}, Seconds(60)},
                                     {Hook::Event::AfterTool, "b", {}, Seconds(1)}};
    CHECK(hooks_from(json::parse(json::dump(hooks_to_json(hooks)))) == hooks);
    for (const char* text : {"{}", "[1]", "[{}]", "[{\"event\":\"before-tool\",\"run\":\"../x\",\"tools\":[],\"seconds\":5}]",
                             "[{\"event\":\"before-tool\",\"run\":\"x\",\"tools\":[],\"seconds\":0}]",
                             "[{\"event\":\"before-tool\",\"run\":\"x\",\"seconds\":5}]",
                             "[{\"event\":\"before-tool\",\"run\":\"x\",\"tools\":[1],\"seconds\":5}]",
                             "[{\"event\":\"other\",\"run\":\"x\",\"tools\":[],\"seconds\":5}]"})
        CHECK_THROWS_AS((void)hooks_from(json::parse(text)), Error);
}
