#include "protocols/openai.h"

#include <doctest/doctest.h>

#include <functional>

#include "error.h"

using namespace peacrab;
using namespace peacrab::openai;
using Stop = ModelReply::Stop;

namespace {

json::Value parsed(const std::string& text) {
    return json::parse(text, json::kModelLimits);
}

ModelOptions options_of(ModelDialect dialect, ModelServer::Quirks quirks = {}) {
    ModelOptions options;
    options.model = "m";
    options.dialect = dialect;
    options.quirks = quirks;
    options.max_tokens = 99;
    return options;
}

// A conversation with everything in it; the answer is of `origin`.
ModelRequest conversation(const std::string& origin, const std::string& extra = "") {
    ModelRequest request;
    request.system = parsed(R"([{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}])");
    request.tools = parsed(R"([{"name":"shell","description":"runs","input_schema":{"type":"object"}}])");
    request.messages = parsed(
        R"([{"role":"user","content":[{"type":"text","text":"hi"}]},
        {"role":"assistant","content":[)" + extra + R"({"type":"text","text":"let me"},
            {"type":"tool_use","id":"c1","name":"shell","input":{"command":"ls"}},
            {"type":"tool_use","id":"c2","name":"shell","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"a b"},
            {"type":"tool_result","tool_use_id":"c2","content":"no","is_error":true},
            {"type":"text","text":"and?","cache_control":{"type":"ephemeral"}}]}])");
    request.messages.items()[1].set("origin", origin);
    return request;
}

template <class Reader>
ModelReply read(const std::vector<std::string>& events, std::string* shown = nullptr,
                const std::string& before = "[]") {
    Reader reader([&](std::string_view part) {
        if (shown) *shown += part;
    });
    for (const std::string& event : events) reader.event("", event);
    reader.end_of_stream();
    return reader.finish(parsed(before));
}

ModelReply chat(const std::vector<std::string>& events, std::string* shown = nullptr) {
    return read<ChatReader>(events, shown);
}
ModelReply responses(const std::vector<std::string>& events, std::string* shown = nullptr) {
    return read<ResponsesReader>(events, shown);
}

std::string delta(const std::string& fields, const std::string& finish = "") {
    return R"({"model":"mock","choices":[{"index":0,"delta":{)" + fields + "}" +
           (finish.empty() ? "" : R"(,"finish_reason":")" + finish + "\"") + "}]}";
}
std::string text(const std::string& what) {
    return delta(R"("content":)" + json::dump(what));
}
std::string part(const std::string& fields) {
    return delta(R"("tool_calls":[{)" + fields + "}]");
}

std::string item(const std::string& kind, int index, const std::string& fields) {
    return R"({"type":"response.output_item.)" + kind + R"(","output_index":)" + std::to_string(index) +
           R"(,"item":{)" + fields + "}}";
}
std::string ended(const std::string& status, const std::string& more = "") {
    return R"({"type":"response.)" + status + R"(","response":{"model":"mock","status":")" + status +
           "\"" + more + "}}";
}

}  // namespace

TEST_CASE("openai: a chat request has one tool message per call, directly behind it") {
    const json::Value body =
        parsed(chat_body(options_of(ModelDialect::Chat), conversation("chat/m")));
    const auto& messages = body.at("messages").items();
    REQUIRE(messages.size() == 6);
    CHECK(json::dump(messages[0]) == R"({"role":"system","content":"be brief"})");
    CHECK(json::dump(messages[1]) == R"({"role":"user","content":"hi"})");
    CHECK(json::dump(messages[2]) ==
          R"({"role":"assistant","content":"let me","tool_calls":[{"id":"c1","type":"function",)"
          R"("function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}},{"id":"c2",)"
          R"("type":"function","function":{"name":"shell","arguments":"{}"}}]})");
    CHECK(json::dump(messages[3]) == R"({"role":"tool","tool_call_id":"c1","content":"a b"})");
    CHECK(json::dump(messages[4]) == R"({"role":"tool","tool_call_id":"c2","content":"no"})");
    CHECK(json::dump(messages[5]) == R"({"role":"user","content":"and?"})");
    CHECK(json::dump(body).find("cache_control") == std::string::npos);
    CHECK(body.integer("max_tokens") == 99);
    CHECK_FALSE(body.find("max_completion_tokens"));
    CHECK_FALSE(body.find("parallel_tool_calls"));
    CHECK(json::dump(body.at("tools")) ==
          R"([{"type":"function","function":{"name":"shell","description":"runs",)"
          R"("parameters":{"type":"object"}}}])");
}

TEST_CASE("openai: what only its own model understands goes back to that one alone, unchanged") {
    const std::string extra =
        R"({"type":"reasoning_details","reasoning_details":[{"type":"x","data":"d"}]},
           {"type":"reasoning_content","reasoning_content":"hm"},)";
    const auto answer = [&](const std::string& origin) {
        return parsed(chat_body(options_of(ModelDialect::Chat), conversation(origin, extra)))
            .at("messages")
            .items()[2];
    };
    CHECK(json::dump(answer("chat/m").at("reasoning_details")) == R"([{"type":"x","data":"d"}])");
    CHECK(answer("chat/m").text("reasoning_content") == "hm");
    CHECK_FALSE(answer("chat/other").find("reasoning_details"));
    CHECK_FALSE(answer("anthropic/m").find("reasoning_content"));
    CHECK(answer("anthropic/m").text("content") == "let me");
}

TEST_CASE("openai: quirks of a server are obeyed") {
    const ModelServer::Quirks quirks{.completion_tokens = true, .short_ids = true, .asks_for_parallel = true};
    const json::Value body =
        parsed(chat_body(options_of(ModelDialect::Chat, quirks), conversation("chat/m")));
    CHECK(body.integer("max_completion_tokens") == 99);
    CHECK(body.flag("parallel_tool_calls"));
    const auto& messages = body.at("messages").items();
    const std::string one = messages[2].at("tool_calls").items()[0].text("id");
    const std::string two = messages[2].at("tool_calls").items()[1].text("id");
    CHECK(one.size() == 9);
    CHECK(one != two);
    CHECK(messages[3].text("tool_call_id") == one);
    CHECK(messages[4].text("tool_call_id") == two);
}

TEST_CASE("openai: a responses request pairs calls and outputs and keeps nothing at the provider") {
    const std::string extra =
        R"({"type":"openai_item","item":{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"E"}},)";
    const json::Value body =
        parsed(responses_body(options_of(ModelDialect::Responses), conversation("responses/m", extra)));
    CHECK_FALSE(body.flag("store"));
    CHECK(body.find("store"));
    CHECK(body.text("instructions") == "be brief");
    const auto& input = body.at("input").items();
    REQUIRE(input.size() == 8);
    CHECK(json::dump(input[1]) ==
          R"({"type":"reasoning","id":"rs","summary":[],"encrypted_content":"E"})");
    CHECK(json::dump(input[3]) ==
          R"({"type":"function_call","call_id":"c1","name":"shell","arguments":"{\"command\":\"ls\"}"})");
    CHECK(json::dump(input[5]) == R"({"type":"function_call_output","call_id":"c1","output":"a b"})");
    CHECK(input[7].text("role") == "user");
    CHECK_FALSE(body.at("tools").items()[0].flag("strict"));
    const json::Value foreign =
        parsed(responses_body(options_of(ModelDialect::Responses), conversation("chat/m", extra)));
    CHECK(foreign.at("input").items().size() == 7);
}

TEST_CASE("openai: an answer that another model left empty is still an answer") {
    ModelRequest request = conversation("anthropic/x");
    request.messages.items()[1].set("content", parsed(R"([{"type":"thinking","thinking":"t"}])"));
    request.messages.items()[2].set("content", parsed(R"([{"type":"text","text":"go on"}])"));
    for (const std::string& body : {chat_body(options_of(ModelDialect::Chat), request),
                                    responses_body(options_of(ModelDialect::Responses), request)})
        CHECK(body.find("(no text)") != std::string::npos);
}

TEST_CASE("openai: chat text, usage and end") {
    std::string shown;
    const ModelReply reply = chat(
        {delta(R"("role":"assistant","content":null)"), text("All "), text("is well."), delta("", "stop"),
         R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":7}}})",
         "[DONE]"},
        &shown);
    CHECK(reply.stop == Stop::EndTurn);
    CHECK(reply.error.empty());
    CHECK(shown == "All is well.");
    CHECK(reply.text == shown);
    CHECK(json::dump(reply.content) == R"([{"type":"text","text":"All is well."}])");
    CHECK(reply.usage.input_tokens == 3);
    CHECK(reply.usage.cache_read_input_tokens == 7);
    CHECK(reply.usage.output_tokens == 4);
    CHECK(reply.model == "mock");
}

TEST_CASE("openai: a chat answer without [DONE] is whole only when its reason to stop was said") {
    CHECK(chat({text("x"), delta("", "stop")}).stop == Stop::EndTurn);
    CHECK_THROWS_AS((void)chat({text("x")}), ProtocolError);
    CHECK_FALSE(chat({text("x"), "[DONE]"}).error.empty());
    CHECK_FALSE(chat({text("x"), delta("", "because"), "[DONE]"}).error.empty());
    CHECK_THROWS_AS((void)chat({text("x"), delta("", "error"), "[DONE]"}), ProtocolError);
    CHECK_THROWS_AS((void)chat({text("x"), delta("", "tool_calls"), "[DONE]"}), ProtocolError);
}

TEST_CASE("openai: calls of a chat come in whatever pieces, with ids and indexes or without") {
    const std::string args = R"("arguments":"{\"command\":\"ls\"}")";
    struct Row {
        const char* what;
        std::vector<std::string> events;
        size_t calls;
    };
    const std::vector<Row> rows = {
        {"pieces by index",
         {part(R"("index":0,"id":"a","type":"function","function":{"name":"shell","arguments":""})"),
          part(R"("index":0,"function":{"arguments":"{\"command\""})"),
          part(R"("index":0,"function":{"arguments":":\"ls\"}"})")},
         1},
        {"gaps", {part(R"("index":2,"id":"a","function":{"name":"shell",)" + args + "}"),
                  part(R"("index":5,"id":"b","function":{"name":"shell",)" + args + "}")}, 2},
        {"one index, new ids", {part(R"("index":0,"id":"a","function":{"name":"shell",)" + args + "}"),
                                part(R"("index":0,"id":"b","function":{"name":"shell",)" + args + "}")}, 2},
        {"no index", {part(R"("id":"a","function":{"name":"shell",)" + args + "}"),
                      part(R"("id":"b","function":{"name":"shell",)" + args + "}")}, 2},
        {"no index, no id", {part(R"("function":{"name":"shell",)" + args + "}"),
                             part(R"("function":{"name":"shell",)" + args + "}")}, 2},
        {"one index, no id", {part(R"("index":0,"function":{"name":"shell",)" + args + "}"),
                              part(R"("index":0,"function":{"name":"shell",)" + args + "}")}, 2},
        {"no index, pieces of one id",
         {part(R"("id":"a","function":{"name":"shell","arguments":"{\"command\":"})"),
          part(R"("id":"a","function":{"arguments":"\"ls\"}"})")},
         1},
        {"the name again in each piece",
         {part(R"("index":0,"id":"a","function":{"name":"shell","arguments":"{\"command\":"})"),
          part(R"("index":0,"id":"a","function":{"name":"shell","arguments":"\"ls\"}"})")},
         1},
        {"one id twice", {part(R"("index":0,"id":"a","function":{"name":"shell",)" + args + "}"),
                          part(R"("index":1,"id":"a","function":{"name":"shell",)" + args + "}")}, 2},
        {"an object", {part(R"("index":0,"id":"a","function":{"name":"shell","arguments":{"command":"ls"}})")}, 1},
    };
    for (Row row : rows) {
        CAPTURE(row.what);
        row.events.push_back(delta("", "tool_calls"));
        const ModelReply reply = chat(row.events);
        CHECK(reply.stop == Stop::ToolUse);
        REQUIRE(reply.calls.size() == row.calls);
        for (const ToolCall& call : reply.calls) {
            CHECK(call.name == "shell");
            CHECK(call.arguments == R"({"command":"ls"})");
        }
        if (row.calls == 2) CHECK(reply.calls[0].id != reply.calls[1].id);
        CHECK(json::dump(reply.content).find("wire") == std::string::npos);
    }
}

TEST_CASE("openai: a call of a chat that was cut never runs, one that ends with `stop` does") {
    const std::string whole =
        part(R"("index":0,"id":"a","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"})");
    CHECK(chat({whole, delta("", "stop")}).calls.at(0).arguments == R"({"command":"ls"})");
    CHECK(chat({whole, delta("", "length")}).calls.at(0).arguments == kDamagedArguments);
    const std::string half =
        part(R"("index":0,"id":"a","function":{"name":"shell","arguments":"{\"comm"})");
    CHECK(chat({half, delta("", "tool_calls")}).calls.at(0).arguments == kDamagedArguments);
    const std::string empty = part(R"("index":0,"id":"a","function":{"name":"plan","arguments":""})");
    CHECK(chat({empty, delta("", "tool_calls")}).calls.at(0).arguments == "{}");
}

TEST_CASE("openai: signatures and reasoning of a chat are kept for its replay") {
    const ModelReply reply = chat(
        {delta(R"("reasoning_content":"I ","reasoning_details":[{"type":"reasoning.text","index":0,"text":"I "}])"),
         delta(R"("reasoning_content":"see","reasoning_details":[{"type":"reasoning.text","index":0,"text":"see","signature":"s"}])"),
         part(R"("index":0,"id":"a","extra_content":{"google":{"thought_signature":"T"}},"function":{"name":"shell","arguments":"{}"})"),
         delta("", "tool_calls")});
    CHECK(json::dump(reply.content) ==
          R"([{"type":"reasoning_content","reasoning_content":"I see"},{"type":"reasoning_details",)"
          R"("reasoning_details":[{"type":"reasoning.text","index":0,"text":"I see","signature":"s"}]},)"
          R"({"type":"tool_use","id":"a","name":"shell",)"
          R"("extra_content":{"google":{"thought_signature":"T"}},"input":{}}])");
    CHECK(reply.text.empty());
}

TEST_CASE("openai: a refusal of a chat is one, in whichever way it is said") {
    const ModelReply said = chat({delta(R"("refusal":"I will not.")"), delta("", "stop")});
    CHECK(said.stop == Stop::Refusal);
    CHECK(said.error.find("I will not.") != std::string::npos);
    CHECK(chat({text("x"), delta("", "content_filter")}).stop == Stop::Refusal);
}

TEST_CASE("openai: an error inside of a chat stream is kept with its status") {
    const auto status = [](const std::string& event, const std::string& name = "") {
        ChatReader reader;
        CHECK_THROWS_AS(reader.event(name, event), ProtocolError);
        REQUIRE(reader.api_error());
        return reader.api_error()->status;
    };
    CHECK(status(R"({"error":{"message":"m","code":502}})") == 502);
    CHECK(status(R"({"error":{"message":"m","type":"server_error"},"choices":[{"delta":{},"finish_reason":"error"}]})") == 500);
    CHECK(status(R"({"error":{"message":"m","code":"rate_limit_exceeded"}})") == 429);
    CHECK(status(R"({"code":400,"message":"m","type":"exceed_context_size_error"})", "error") == 400);
    CHECK(read_error(429, "application/json", R"({"error":{"code":"insufficient_quota"}})").code == "insufficient_quota");
    CHECK(read_error(400, "application/json", R"([{"error":{"message":"m","status":"INVALID"}}])").message == "m");
}

TEST_CASE("openai: a whole chat completion is taken in place of a stream") {
    ChatReader reader;
    reader.whole(R"({"model":"mock","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant",
        "content":"so","tool_calls":[{"id":"a","type":"function","function":{"name":"shell","arguments":"{}"}}]}}],
        "usage":{"prompt_tokens":2,"completion_tokens":1}})");
    const ModelReply reply = reader.finish(parsed("[]"));
    CHECK(reply.text == "so");
    CHECK(reply.calls.size() == 1);
    CHECK_THROWS_AS(ChatReader().whole(R"({"object":"list"})"), ProtocolError);
    CHECK_THROWS_AS(ChatReader().whole(R"({"error":{"message":"m"}})"), ProtocolError);
}

TEST_CASE("openai: responses text, calls, reasoning and usage, numbered or not") {
    std::string shown;
    const std::string reasoning = R"("type":"reasoning","id":"rs","summary":[])";
    const ModelReply reply = responses(
        {item("added", 0, reasoning + R"(,"encrypted_content":"part")"),
         item("done", 0, reasoning + R"(,"encrypted_content":"WHOLE")"),
         item("added", 1, R"("type":"message","id":"ms","content":[])"),
         R"({"type":"response.output_text.delta","output_index":1,"delta":"so "})",
         R"({"type":"response.output_text.delta","output_index":1,"delta":"far"})",
         item("done", 1, R"("type":"message","id":"ms","content":[{"type":"output_text","text":"so far"}])"),
         item("added", 2, R"("type":"function_call","id":"fc","call_id":"c","name":"shell","arguments":"")"),
         R"({"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"comm"})",
         R"({"type":"response.holo","x":1})",
         item("done", 2, R"("type":"function_call","id":"fc","call_id":"c","name":"shell","arguments":"{\"command\":\"ls\"}")"),
         ended("completed", R"(,"usage":{"input_tokens":9,"output_tokens":3,"input_tokens_details":{"cached_tokens":4}})")},
        &shown);
    CHECK(shown == "so far");
    CHECK(json::dump(reply.content) ==
          R"([{"type":"openai_item","item":{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"WHOLE"}},)"
          R"({"type":"text","text":"so far"},{"type":"tool_use","id":"c","name":"shell","input":{"command":"ls"}}])");
    CHECK(reply.calls.at(0).arguments == R"({"command":"ls"})");
    CHECK(reply.usage.input_tokens == 5);
    CHECK(reply.usage.cache_read_input_tokens == 4);
    const ModelReply bare = responses(
        {R"({"type":"response.output_text.delta","delta":"hi"})",
         R"({"type":"response.output_item.added","item":{"type":"function_call","call_id":"a","name":"x"}})",
         R"({"type":"response.function_call_arguments.delta","delta":"{}"})",
         R"({"type":"response.output_item.done","item":{"type":"function_call","call_id":"a","name":"x","arguments":"{}"}})",
         R"({"type":"response.output_item.done","item":{"type":"function_call","call_id":"b","name":"y","arguments":"{}"}})",
         ended("completed")});
    CHECK(bare.text == "hi");
    REQUIRE(bare.calls.size() == 2);
    CHECK(bare.calls[0].id == "a");
    CHECK(bare.calls[1].name == "y");
}

TEST_CASE("openai: a response says by its last event alone how it ended") {
    const std::string hello = R"({"type":"response.output_text.delta","delta":"x"})";
    CHECK(responses({hello, ended("completed"), ended("completed")}).stop == Stop::EndTurn);
    CHECK_THROWS_AS((void)responses({hello}), ProtocolError);
    CHECK_THROWS_AS((void)responses({hello, ended("failed", R"(,"error":{"code":"server_error","message":"m"})")}),
                    ProtocolError);
    CHECK_THROWS_AS((void)responses({hello, R"({"type":"error","code":"rate_limit_exceeded","message":"m"})"}),
                    ProtocolError);
    CHECK(responses({hello, ended("incomplete", R"(,"incomplete_details":{"reason":"max_output_tokens"})")}).stop ==
          Stop::MaxTokens);
    CHECK(responses({hello, ended("incomplete", R"(,"incomplete_details":{"reason":"content_filter"})")}).stop ==
          Stop::Refusal);
    CHECK_FALSE(responses({hello, ended("incomplete", R"(,"incomplete_details":{"reason":"tired"})")}).error.empty());
    CHECK(responses({R"({"type":"response.refusal.delta","delta":"No."})", ended("completed")}).stop == Stop::Refusal);
}

TEST_CASE("openai: a call of a response that was cut never runs") {
    const std::string half =
        R"({"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"a","name":"shell"}})";
    const std::string piece =
        R"({"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"command\":\"ls\"}"})";
    const std::string cut = ended("incomplete", R"(,"incomplete_details":{"reason":"max_output_tokens"})");
    CHECK(responses({half, piece, cut}).calls.at(0).arguments == kDamagedArguments);
    CHECK(responses({half, piece, ended("completed")}).calls.at(0).arguments == R"({"command":"ls"})");
    CHECK(responses({item("done", 0, R"("type":"function_call","call_id":"a","name":"x","arguments":"{","status":"incomplete")"),
                     cut})
              .calls.at(0)
              .arguments == kDamagedArguments);
}

TEST_CASE("openai: a whole response is taken in place of a stream") {
    ResponsesReader reader;
    reader.whole(R"({"status":"completed","model":"mock","error":null,"output":[
        {"type":"message","content":[{"type":"output_text","text":"well"}]},
        {"type":"function_call","call_id":"c","name":"shell","arguments":"{}"}]})");
    const ModelReply reply = reader.finish(parsed("[]"));
    CHECK(reply.text == "well");
    CHECK(reply.calls.size() == 1);
    CHECK_THROWS_AS(ResponsesReader().whole(R"({"id":"x"})"), ProtocolError);
}
