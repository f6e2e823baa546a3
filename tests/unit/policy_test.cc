#include "policy.h"

#include <doctest/doctest.h>

#include "builtins/plan.h"

using namespace peacrab;

namespace {

const ToolSet kLeast;
const ToolSet kCell{true, {}};
const ToolSet kRouted{true, {"scout"}, Partner::Person};

std::string denied(const std::string& name, const std::string& arguments,
                   const ToolSet& has = kLeast) {
    const auto decision = authorise({"call-1", name, arguments}, has);
    const Denied* why = std::get_if<Denied>(&decision);
    return why ? why->why : "";
}

bool allowed(const std::string& name, const std::string& arguments, const ToolSet& has = kLeast) {
    return denied(name, arguments, has).empty();
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
    CHECK(why.find("background, edit, more, plan, read, search, shell, web_fetch, web_search, write") != std::string::npos);
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

TEST_CASE("policy: what a refusal quotes cannot speak to a terminal") {
    for (const char* name : {"\\u001b[2J", "\\u009b31m", "\\u202e", "\\u0007"}) {
        const std::string why = denied("shell", std::string(R"({"command":"x",")") + name + R"(":1})");
        CHECK(why.find("unknown key") != std::string::npos);
        CHECK(why.find('\x1b') == std::string::npos);
        CHECK(why.find('\a') == std::string::npos);
        CHECK(why.find("\xc2\x9b") == std::string::npos);
        CHECK(why.find("\xe2\x80\xae") == std::string::npos);
    }
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
    CHECK(timeout("3600"));
    CHECK_FALSE(timeout("0"));
    CHECK_FALSE(timeout("3601"));
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

TEST_CASE("policy: a flag is true or false, a choice one of its words") {
    CHECK(allowed("shell", R"({"command":"x","background":true})"));
    CHECK(allowed("shell", R"({"command":"x","background":false,"timeout":5})"));
    for (const char* bad : {"1", "\"true\"", "null", "[]"})
        CHECK(denied("shell", std::string(R"({"command":"x","background":)") + bad + "}") ==
              "shell: background must be true or false");
    CHECK(allowed("background", R"({"action":"list"})"));
    CHECK(allowed("background", R"({"action":"stop","id":"b1"})"));
    for (const char* bad : {"\"kill\"", "\"\"", "\"List\"", "7", "null"})
        CHECK_FALSE(allowed("background", std::string(R"({"action":)") + bad + "}"));
    CHECK(denied("background", R"({"action":"kill"})") ==
          "background: action must be one of: list, read, stop");
}

TEST_CASE("policy: keys that do not go together are denied with what to do") {
    CHECK(denied("background", R"({"action":"read"})").find("list") != std::string::npos);
    CHECK(!allowed("shell", R"({"command":"x","background":true,"timeout":5})"));
    CHECK(!allowed("shell", R"({"command":"x","background":true,"throwaway":true})", kCell));
}

TEST_CASE("policy: an edit names what goes and what comes, or is a patch alone") {
    CHECK(allowed("edit", R"({"path":"a","old":"x","new":""})"));
    CHECK(allowed("edit", R"({"path":"a","old":"x","new":"y","all":true})"));
    CHECK(allowed("edit", R"({"patch":"*** Begin Patch"})"));
    CHECK(denied("edit", R"({"path":"a","old":"x"})") == "edit: new is missing (or give a patch)");
    CHECK(denied("edit", "{}") == "edit: path is missing (or give a patch)");
    CHECK(!allowed("edit", R"({"path":"a","old":"","new":"y"})"));
    CHECK(!allowed("edit", R"({"path":"a","old":"x\u0000","new":"y"})"));
    for (const char* more : {R"("path":"a")", R"("old":"a")", R"("all":true)"})
        CHECK(denied("edit", std::string(R"({"patch":"x",)") + more + "}") ==
              "edit: patch goes alone, without path, old and new");
    CHECK(!allowed("edit", "{\"patch\":\"" + std::string((256 << 10) + 1, 'x') + "\"}"));
}

TEST_CASE("policy: a search says for what") {
    CHECK(allowed("search", R"({"pattern":"x"})"));
    CHECK(allowed("search", R"({"glob":"*.c","path":"src","limit":5})"));
    CHECK(denied("search", R"({"path":"src"})") == "search: pattern or glob is missing");
    CHECK(!allowed("search", R"({"pattern":""})"));
    CHECK(!allowed("search", R"({"pattern":"x","limit":1001})"));
    CHECK(!allowed("search", "{\"pattern\":\"" + std::string(4097, 'x') + "\"}"));
}

TEST_CASE("policy: without a cell there is neither its root nor a throw-away one") {
    for (const char* key : {R"("user":"agent")", R"("throwaway":true)"}) {
        const std::string text = std::string(R"({"command":"ls",)") + key + "}";
        CHECK(allowed("shell", text, kCell));
        CHECK(denied("shell", text).find("unknown key") != std::string::npos);
    }
    CHECK(!allowed("shell", R"({"command":"ls","user":"root"})", kCell));
}

TEST_CASE("policy: only an agent with a route has the tool message, and only along it") {
    const std::string text = R"({"agent":"scout","text":"hi"})";
    CHECK(denied("message", text, kCell).find("there is no tool") != std::string::npos);
    CHECK(denied("message", text, kCell).find("scout") == std::string::npos);
    CHECK(allowed("message", text, kRouted));
    CHECK(allowed("message", R"({"agent":"scout","text":"\u0000"})", kRouted));
    CHECK(denied("message", R"({"agent":"writer","text":"hi"})", kRouted) ==
          "message: agent must be one of: scout");
    CHECK(!allowed("message", "{\"agent\":\"scout\",\"text\":\"" + std::string(32769, 'x') + "\"}",
                   kRouted));
}

TEST_CASE("policy: what speaks to somebody is there only where somebody of that kind listens") {
    const std::string message = R"({"agent":"scout","text":"hi"})", send = R"({"text":"hi"})";
    for (const Partner with : {Partner::Delegate, Partner::Agent, Partner::Person}) {
        const ToolSet has{true, {"scout"}, with};
        CHECK(allowed("message", message, has) == (with != Partner::Delegate));
        CHECK(allowed("send", send, has) == (with == Partner::Person));
        CHECK(partner_from(partner_name(with)) == with);
    }
    CHECK(partner_from("Person") == Partner::Delegate);
    CHECK(denied("send", "{}", kRouted) == "send: text or path is missing");
}

TEST_CASE("policy: a plan is steps, each with its mark") {
    for (const char* text : {"[x] a\\n[>] b\\n[ ] c", "- [X] a\\n\\n  2. [ ] b\\n* [>]b\\n"})
        CHECK_MESSAGE(allowed("plan", std::string("{\"steps\":\"") + text + "\"}"), text);
    for (const char* text : {"a", "[y] a", "[x]", "[x] ", "[ ] a\\nb", "\\n", "[]a", "x] a", "1"})
        CHECK_MESSAGE(!allowed("plan", std::string("{\"steps\":\"") + text + "\"}"), text);
    std::string many;
    for (int i = 0; i < 51; ++i) many += "[ ] a\\n";
    CHECK(!allowed("plan", "{\"steps\":\"" + many + "\"}"));
    const json::Value steps = plan_steps("1. [x] one \n[>] two");
    REQUIRE(steps.items().size() == 2);
    CHECK(steps.items()[0].text("text") == "one");
    CHECK(steps.items()[1].text("state") == "now");
}

TEST_CASE("policy: the schema shown to the model, at once or on request, is the one that is checked") {
    for (const ToolSet& has : {ToolSet{}, kCell, kRouted}) {
        const json::Value tools = tools_for_model(has);
        size_t always = 0;
        for (const ToolSchema& row : tool_table(has)) {
            if (!row.rarely) CHECK(tools.items().at(always++).text("name") == row.name);
            const json::Value tool = tool_for_model(has, row.name);
            CHECK(tool.text("name") == row.name);
            const json::Value& schema = tool.at("input_schema");
            const json::Value& properties = schema.at("properties");
            CHECK(properties.members().size() == row.keys.size());
            for (const ToolKey& key : row.keys) {
                REQUIRE(properties.find(key.name));
                if (key.type != ToolKey::Type::Choice) continue;
                const auto& choices = properties.at(key.name).at("enum").items();
                REQUIRE(choices.size() == key.choices.size());
                for (size_t n = 0; n < choices.size(); ++n)
                    CHECK(choices[n].as_string() == key.choices[n]);
            }
        }
        CHECK(tools.items().size() == always);
        CHECK(json::dump(tools).size() <= 3200);  // the first request must stay within 4 KB
    }
}

TEST_CASE("policy: a rarely used tool is named in more, and runs by its own name, too") {
    for (const ToolSet& has : {ToolSet{}, kCell, kRouted}) {
        const json::Value tools = tools_for_model(has);
        std::string names;
        for (const json::Value& tool : tools.items())
            if (tool.text("name") == "more") names = tool.text("description");
        for (const ToolSchema& row : every_tool()) {
            const bool there = !tool_for_model(has, row.name).is_null();
            const bool named = names.find(" " + std::string(row.name) + " (") != std::string::npos;
            CHECK_MESSAGE(named == (there && row.rarely), row.name);
        }
    }
    CHECK(allowed("background", R"({"action":"list"})"));
}

TEST_CASE("policy: a call of more is one of the tool it names, for all that looks at it") {
    const auto inner = [](const std::string& arguments) { return unwrapped({"c", "more", arguments}); };
    for (const char* text : {R"({"tool":"background","arguments":"{\"action\":\"list\"}"})",
                             R"({"arguments":{"action":"list"},"tool":"background"})"}) {
        const ToolCall call = inner(text);
        CHECK(call.id == "c");
        CHECK(call.name == "background");
        CHECK(call.arguments == R"({"action":"list"})");
    }
    CHECK(inner(R"({"tool":"shell","arguments":"{"})").arguments == "{");
    const auto run = [&](const std::string& arguments) {
        const auto decision = authorise(inner(arguments));
        const Denied* why = std::get_if<Denied>(&decision);
        return why ? why->why : "";
    };
    CHECK(run(R"({"tool":"shell","arguments":"{}"})") == "shell: command is missing");
    CHECK(run(R"({"tool":"rm","arguments":"{}"})").find("there is no tool") != std::string::npos);
    CHECK(run(R"({"tool":"message","arguments":"{}"})").find("there is no tool") != std::string::npos);
}

TEST_CASE("policy: more within more, and what cannot be taken apart, is denied as a call of more") {
    for (const char* text : {R"({"tool":"more","arguments":"{\"tool\":\"background\"}"})",
                             R"({"tool":"background","arguments":7})", R"({"tool":7,"arguments":"{}"})",
                             R"({"arguments":"{}"})", R"({"tool":"background","arguments":"{}","x":1})",
                             R"({"tool":"background","arguments":null})", "{", ""}) {
        CAPTURE(text);
        const ToolCall call = unwrapped({"c", "more", text});
        CHECK(call.name == "more");
        CHECK(call.arguments == text);
        CHECK(std::holds_alternative<Denied>(authorise(call)));
    }
    CHECK(allowed("more", R"({"tool":"background"})"));
    CHECK(unwrapped({"c", "shell", R"({"tool":"background","arguments":"{}"})"}).name == "shell");
}

TEST_CASE("policy: the table is sorted, so that the prompt's bytes are stable") {
    const std::vector<ToolSchema> table = tool_table(kRouted);
    for (size_t i = 1; i < table.size(); ++i)
        CHECK(std::string(table[i - 1].name) < std::string(table[i].name));
}
