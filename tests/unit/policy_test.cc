#include "policy.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

std::string denied(const std::string& name, const std::string& arguments) {
    const auto decision = authorise({"call-1", name, arguments});
    const Denied* why = std::get_if<Denied>(&decision);
    return why ? why->why : "";
}

bool allowed(const std::string& name, const std::string& arguments) {
    return denied(name, arguments).empty();
}

std::string command_of(size_t length) {
    return "{\"command\":\"" + std::string(length, 'x') + "\"}";
}

}  // namespace

TEST_CASE("policy: a permit carries the call and its checked arguments") {
    auto decision = authorise({"call-7", "shell", R"({"command":"ls","timeout":5})"});
    REQUIRE(std::holds_alternative<Permit>(decision));
    const Permit permit = std::move(std::get<Permit>(decision));
    CHECK(permit.call_id() == "call-7");
    CHECK(permit.tool() == "shell");
    CHECK(permit.arguments().text("command") == "ls");
    CHECK(permit.arguments().integer("timeout") == 5);
}

TEST_CASE("policy: a tool nobody knows is denied, and the known ones are named") {
    const std::string why = denied("rm", "{}");
    CHECK(why.find("\"rm\"") != std::string::npos);
    CHECK(why.find("read, shell, write") != std::string::npos);
    for (const char* name : {"", "Shell", "shell ", "shell\n", "she"}) CHECK(!allowed(name, "{}"));
    CHECK(denied(std::string(100000, 'a'), "{}").size() < 300);
    CHECK(denied("\xff\x1b", "{}").find("\xff") == std::string::npos);
}

TEST_CASE("policy: arguments that are not one JSON object are denied") {
    for (const char* text : {"", "null", "[]", "\"ls\"", "7", "{", "{\"command\":\"ls\"} x",
                             "{\"command\":\"ls\",\"command\":\"rm\"}", "{\"command\":\"\xff\"}",
                             "{\"command\":{\"a\":{\"b\":{\"c\":{\"d\":1}}}}}"})
        CHECK_MESSAGE(!allowed("shell", text), text);
}

TEST_CASE("policy: an unknown key is denied, whatever it asks for") {
    for (const char* key : {"cwd", "root", "profile", "agent", "gateway_url", "Command", "env"}) {
        const std::string text = std::string(R"({"command":"ls",")") + key + "\":\"x\"}";
        CHECK_MESSAGE(denied("shell", text).find("command, timeout") != std::string::npos, key);
    }
}

TEST_CASE("policy: a missing, empty or wrong-typed key is denied") {
    CHECK(denied("shell", "{}") == "shell: command is missing");
    CHECK(!allowed("shell", R"({"command":""})"));
    CHECK(!allowed("shell", R"({"command":null})"));
    CHECK(!allowed("shell", R"({"command":["ls"]})"));
    CHECK(!allowed("write", R"({"path":"a"})"));
    CHECK(allowed("write", R"({"path":"a","content":""})"));
    CHECK(!allowed("read", R"({"path":"a","offset":"1"})"));
    CHECK(!allowed("read", R"({"path":"a","offset":1.5})"));
    CHECK(!allowed("read", R"({"path":"a","offset":true})"));
}

TEST_CASE("policy: numbers have bounds") {
    const auto timeout = [](const char* n) {
        return allowed("shell", std::string(R"({"command":"ls","timeout":)") + n + "}");
    };
    CHECK(timeout("1"));
    CHECK(timeout("600"));
    CHECK_FALSE(timeout("0"));
    CHECK_FALSE(timeout("601"));
    CHECK_FALSE(timeout("-1"));
    CHECK_FALSE(timeout("99999999999999999999"));
    CHECK(!allowed("read", R"({"path":"a","offset":0})"));
    CHECK(!allowed("read", R"({"path":"a","limit":2001})"));
}

TEST_CASE("policy: texts have bounds, and no path or command goes on behind a NUL") {
    CHECK(allowed("shell", command_of(65536)));
    CHECK_FALSE(allowed("shell", command_of(65537)));
    CHECK_FALSE(allowed("read", "{\"path\":\"" + std::string(4096, 'x') + "\"}"));
    CHECK_FALSE(allowed("shell", R"({"command":"ls\u0000rm"})"));
    CHECK_FALSE(allowed("write", R"({"path":"a\u0000b","content":""})"));
    CHECK(allowed("write", R"({"path":"a","content":"\u0000"})"));
    CHECK_FALSE(
        allowed("write", "{\"path\":\"a\",\"content\":\"" + std::string(1 << 20, 'x') + "\"}"));
}

TEST_CASE("policy: the schema shown to the model is the one that is checked") {
    const json::Value tools = tools_for_model();
    REQUIRE(tools.items().size() == tool_table().size());
    for (size_t i = 0; i < tool_table().size(); ++i) {
        const ToolSchema& row = tool_table()[i];
        const json::Value& tool = tools.items()[i];
        CHECK(tool.text("name") == row.name);
        const json::Value& schema = tool.at("input_schema");
        CHECK_FALSE(schema.at("additionalProperties").as_bool());
        CHECK(schema.at("properties").members().size() == row.keys.size());
        for (const ToolKey& key : row.keys) CHECK(schema.at("properties").find(key.name));
    }
    CHECK(json::dump(tools).size() <= 1500);  // the first request must stay within 4 KB
}

TEST_CASE("policy: the table is sorted, so that the prompt's bytes are stable") {
    const std::vector<ToolSchema>& table = tool_table();
    for (size_t i = 1; i < table.size(); ++i)
        CHECK(std::string(table[i - 1].name) < std::string(table[i].name));
}
