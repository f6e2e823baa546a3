#include "llm.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "../support/loopback_server.h"
#include "protocols/anthropic.h"
#include "error.h"
#include "protocols/sse.h"

using namespace peacrab;
using namespace peacrab::test;
using anthropic::Reader;
using Stop = ModelReply::Stop;
using Clock = std::chrono::steady_clock;

namespace {

// One event of a stream, named as its type.
std::string event(const std::string& data) {
    const std::string type = json::parse(data).text("type");
    return "event: " + type + "\ndata: " + data + "\n\n";
}

const std::string kStart =
    event(R"({"type":"message_start","message":{"id":"msg_1","model":"mock-1","content":[],)"
          R"("usage":{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":7}}})");
const std::string kEnd = event(R"({"type":"message_stop"})");

std::string finished(const std::string& reason) {
    return event(R"({"type":"message_delta","delta":{"stop_reason":")" + reason +
                 R"("},"usage":{"output_tokens":5,"input_tokens":null}})") +
           kEnd;
}

std::string at(int index) {
    return R"("index":)" + std::to_string(index);
}

std::string block(int index, const std::string& content) {
    return event(R"({"type":"content_block_start",)" + at(index) + R"(,"content_block":)" +
                 content + "}");
}
std::string delta(int index, const std::string& content) {
    return event(R"({"type":"content_block_delta",)" + at(index) + R"(,"delta":)" + content + "}");
}
std::string stop(int index) {
    return event(R"({"type":"content_block_stop",)" + at(index) + "}");
}
std::string text_delta(int index, const std::string& text) {
    return delta(index, R"({"type":"text_delta","text":)" + json::dump(text) + "}");
}
std::string text(int index, const std::string& what) {
    return block(index, R"({"type":"text","text":""})") + text_delta(index, what) + stop(index);
}
std::string tool_start(int index, const std::string& id, const std::string& name) {
    return block(index,
                 R"({"type":"tool_use","id":")" + id + R"(","name":")" + name + R"(","input":{}})");
}
std::string input(int index, const std::string& part) {
    return delta(index, R"({"type":"input_json_delta","partial_json":)" + json::dump(part) + "}");
}
std::string tool(int index, const std::string& id, const std::string& name,
                 const std::string& arguments) {
    return tool_start(index, id, name) + input(index, arguments.substr(0, 3)) +
           input(index, arguments.substr(std::min<size_t>(3, arguments.size()))) + stop(index);
}

json::Value conversation(const std::string& blocks = "") {
    return json::parse(
        R"([{"role":"user","content":[{"type":"text","text":"hi"}]})" +
            (blocks.empty() ? "" : R"(,{"role":"assistant","content":)" + blocks + "}") + "]",
        json::kModelLimits);
}

// Reads a stream without a network. Throws ProtocolError.
ModelReply read(const std::string& stream, const json::Value& messages = conversation(),
                std::string* shown = nullptr) {
    Reader reader([&](std::string_view part) {
        if (shown) *shown += part;
    });
    SseParser parser(
        [&](std::string_view name, std::string_view data) { reader.event(name, data); });
    parser.feed(stream);
    parser.finish();
    return reader.finish(messages);
}

struct Asked {
    ModelReply reply;
    std::string shown;  // with "|" where it was declared void
    std::vector<std::string> notices;
};

ModelOptions options(const std::string& url) {
    ModelOptions out;
    out.model = "mock-1";
    out.base_url = url;
    out.dialect = ModelDialect::Anthropic;
    out.key = Secret("sk-ant-geheim-0123456789");
    out.retry_base = Milliseconds(1);
    out.http.first_byte_limit = Milliseconds(3000);
    out.http.idle_limit = Milliseconds(3000);
    return out;
}

Asked ask(ModelOptions how, int cancel_fd = -1) {
    Model model(std::move(how));
    Asked out;
    ModelEvents events;
    events.delta = [&](std::string_view part) { out.shown += part; };
    events.restart = [&] { out.shown += "|"; };
    events.notice = [&](std::string_view sentence) { out.notices.emplace_back(sentence); };
    ModelRequest request{json::Value::array(), json::Value::array(), conversation()};
    out.reply = model.ask(request, events, cancel_fd);
    CHECK(out.reply.error.find("geheim") == std::string::npos);
    CHECK_FALSE(out.reply.error.ends_with("."));
    return out;
}

Serve stream(const std::string& events) {
    return answer(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "Connection: close\r\n\r\n" +
        events);
}
Serve status(int code, const std::string& type, const std::string& message,
             const std::string& headers = "") {
    return answer(response(code, "application/json",
                           R"({"type":"error","error":{"type":")" + type + R"(","message":)" +
                               json::dump(message) + "}}",
                           headers + "Connection: close\r\n"));
}

const std::string kHello = kStart + text(0, "hello") + finished("end_turn");

}  // namespace

TEST_CASE("reply: text, tools and thinking come out as they must be replayed") {
    std::string shown;
    const ModelReply reply = read(
        kStart + event(R"({"type":"ping"})") +
            block(0, R"({"type":"thinking","thinking":"","signature":""})") +
            delta(0, R"({"type":"thinking_delta","thinking":"hm "})") +
            delta(0, R"({"type":"thinking_delta","thinking":"hm"})") +
            delta(0, R"({"type":"signature_delta","signature":"old"})") +
            delta(0, R"({"type":"signature_delta","signature":"SIG=="})") + stop(0) +
            text(1, "gr\xc3\xbc\xc3\x9f") + tool(2, "toolu_1", "shell", R"({"command":"ls"})") +
            tool(3, "toolu_2", "read", R"({"path":"a"})") + finished("tool_use"),
        conversation(), &shown);
    CHECK(reply.error.empty());
    CHECK(reply.stop == Stop::ToolUse);
    CHECK(reply.text == "gr\xc3\xbc\xc3\x9f");
    CHECK(shown == reply.text);
    CHECK(reply.model == "mock-1");
    CHECK(reply.usage.input_tokens == 10);  // null does not replace
    CHECK(reply.usage.output_tokens == 5);
    CHECK(reply.usage.cache_read_input_tokens == 7);
    CHECK(json::dump(reply.content) ==
          R"([{"type":"thinking","thinking":"hm hm","signature":"SIG=="},)"
          R"({"type":"text","text":"grüß"},)"
          R"({"type":"tool_use","id":"toolu_1","name":"shell","input":{"command":"ls"}},)"
          R"({"type":"tool_use","id":"toolu_2","name":"read","input":{"path":"a"}}])");
    REQUIRE(reply.calls.size() == 2);
    CHECK(reply.calls[0].id == "toolu_1");
    CHECK(reply.calls[0].name == "shell");
    CHECK(reply.calls[0].arguments == R"({"command":"ls"})");
    CHECK(reply.calls[1].arguments == R"({"path":"a"})");
}

TEST_CASE("reply: unknown events, deltas and blocks are skipped, but blocks are replayed") {
    const std::string odd = R"({"type":"holo_block","data":{"deep":[1,2]}})";
    const ModelReply reply =
        read(kStart + event(R"({"type":"weather","is":"fine"})") + block(0, odd) +
             delta(0, R"({"type":"holo_delta","x":1})") + stop(0) +
             block(1, R"({"type":"redacted_thinking","data":"XX"})") + stop(1) + text(2, "a") +
             finished("end_turn"));
    CHECK(json::dump(reply.content) ==
          "[" + odd + R"(,{"type":"redacted_thinking","data":"XX"},{"type":"text","text":"a"}])");
}

TEST_CASE("reply: blocks are found by index: gaps, interleaved, all stops at the end") {
    const ModelReply reply =
        read(kStart + tool_start(3, "a", "shell") + tool_start(7, "b", "read") +
             input(7, R"({"pa)") + input(3, R"({"command":)") + input(7, R"(th":"x"})") +
             input(3, R"("ls"})") + stop(3) + stop(7) + finished("tool_use"));
    REQUIRE(reply.calls.size() == 2);
    CHECK(reply.calls[0].arguments == R"({"command":"ls"})");
    CHECK(reply.calls[1].arguments == R"({"path":"x"})");
}

TEST_CASE("reply: the same index with a new id is a new call; no index is the newest block") {
    ModelReply reply = read(kStart + tool(0, "a", "shell", R"({"command":"1"})") +
                            tool(0, "b", "shell", R"({"command":"2"})") + finished("tool_use"));
    REQUIRE(reply.calls.size() == 2);
    CHECK(reply.calls[0].arguments == R"({"command":"1"})");
    CHECK(reply.calls[1].id == "b");
    CHECK(reply.calls[1].arguments == R"({"command":"2"})");
    reply =
        read(kStart +
             event(R"({"type":"content_block_start","content_block":{"type":"text","text":"a"}})") +
             event(R"({"type":"content_block_delta","delta":{"type":"text_delta","text":"b"}})") +
             event(R"({"type":"content_block_stop"})") + finished("end_turn"));
    CHECK(reply.text == "ab");
}

TEST_CASE("reply: no fragments are no arguments; an object given at once is taken") {
    const ModelReply reply =
        read(kStart + tool_start(0, "a", "list") + stop(0) +
             block(1, R"({"type":"tool_use","id":"b","name":"read","input":{"path":"x"}})") +
             stop(1) + tool_start(2, "c", "list") + input(2, "") + stop(2) + finished("tool_use"));
    REQUIRE(reply.calls.size() == 3);
    CHECK(reply.calls[0].arguments == "{}");
    CHECK(reply.calls[1].arguments == R"({"path":"x"})");
    CHECK(reply.calls[2].arguments == "{}");
}

TEST_CASE("reply: a call that did not arrive whole can never be taken for one that did") {
    const std::string cut = tool_start(0, "a", "shell") + input(0, R"({"command":"rm -rf /tm)");
    for (const std::string& bad :
         {cut + stop(0) + finished("max_tokens"), cut + finished("max_tokens"),
          cut + finished("tool_use"), tool_start(0, "a", "list") + stop(0) + finished("max_tokens"),
          tool_start(0, "a", "list") + finished("tool_use"),
          tool(0, "a", "shell", R"([1,2,3])") + finished("tool_use"),
          tool(0, "a", "shell", R"("text")") + finished("tool_use"),
          tool(0, "a", "shell", R"({"a":1,"a":2})") + finished("tool_use"),
          tool(0, "a", "shell", R"({"a":1} {"b":2})") + finished("tool_use")}) {
        CAPTURE(bad);
        const ModelReply reply = read(kStart + bad);
        CHECK(reply.error.empty());
        CHECK(reply.stop == Stop::ToolUse);
        REQUIRE(reply.calls.size() == 1);
        CHECK(reply.calls[0].arguments == kDamagedArguments);
        CHECK_THROWS_AS((void)json::parse(reply.calls[0].arguments), Error);
        CHECK(json::dump(*reply.content.items()[0].find("input")) == "{}");
    }
}

TEST_CASE("reply: a call runs when a local server ends with end_turn") {
    const ModelReply reply =
        read(kStart + tool(0, "a", "shell", R"({"command":"ls"})") + finished("end_turn"));
    CHECK(reply.stop == Stop::ToolUse);
    REQUIRE(reply.calls.size() == 1);
    CHECK(reply.calls[0].arguments == R"({"command":"ls"})");
}

TEST_CASE("reply: ids and names are made well-formed and unique, also against the conversation") {
    const json::Value messages =
        conversation(R"([{"type":"tool_use","id":"old","name":"shell","input":{}}])");
    const std::string long_id(65, 'x');
    const ModelReply reply =
        read(kStart + tool(0, "old", "shell", "{}") + tool(1, "twice", "shell", "{}") +
                 tool(2, "twice", "shell", "{}") + tool(3, "", "shell", "{}") +
                 tool(4, "sp ace/\\u001b", "../../bin/sh", "{}") + tool(5, long_id, "", "{}") +
                 finished("tool_use"),
             messages);
    REQUIRE(reply.calls.size() == 6);
    std::set<std::string> ids{"old"};
    for (size_t i = 0; i < 6; ++i) {
        const std::string& id = reply.calls[i].id;
        CHECK(ids.insert(id).second);
        CHECK(id.size() <= 64);
        CHECK(id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                   "_-") == std::string::npos);
        CHECK(reply.content.items()[i].text("id") == id);
        CHECK(reply.content.items()[i].text("name") == reply.calls[i].name);
    }
    CHECK(reply.calls[1].id == "twice");
    CHECK(reply.calls[4].name == "unknown_tool");
    CHECK(reply.calls[5].name == "unknown_tool");
}

TEST_CASE("reply: blank text is not replayed, and an empty answer is an empty answer") {
    ModelReply reply =
        read(kStart + text(0, " \n\t") + tool(1, "a", "shell", "{}") + finished("tool_use"));
    CHECK(reply.content.items().size() == 1);
    reply = read(kStart + finished("end_turn"));
    CHECK(reply.error.empty());
    CHECK(reply.stop == Stop::EndTurn);
    CHECK(reply.content.items().empty());
    reply = read(kStart + text(0, "") + finished("stop_sequence"));
    CHECK(reply.stop == Stop::EndTurn);
    CHECK(reply.content.items().empty());
}

TEST_CASE("reply: a block only a person may send is left out, or every later request were refused") {
    const ModelReply reply =
        read(kStart +
             block(0, R"({"type":"tool_result","tool_use_id":"toolu_1","content":"forged"})") +
             stop(0) + block(1, R"({"type":"document","source":{"type":"text","data":"x"}})") +
             stop(1) + text(2, "seen") + finished("end_turn"));
    CHECK(json::dump(reply.content) == R"([{"type":"text","text":"seen"}])");
}

TEST_CASE("reply: every stop reason has its meaning, and an unknown one is a failure") {
    const std::string said = kStart + text(0, "part");
    CHECK(read(said + finished("max_tokens")).stop == Stop::MaxTokens);
    CHECK(read(said + finished("pause_turn")).stop == Stop::PauseTurn);
    ModelReply reply = read(said + tool(1, "a", "shell", "{}") +
                            event(R"({"type":"message_delta","delta":{"stop_reason":"refusal",)"
                                  R"("stop_details":{"category":"cyber\u001b[2J"}}})") +
                            kEnd);
    CHECK(reply.stop == Stop::Refusal);
    CHECK(reply.error.find("cyber") != std::string::npos);
    CHECK(reply.error.find('\x1b') == std::string::npos);
    CHECK(reply.calls.empty());
    CHECK(reply.content.items().empty());
    reply = read(said + finished("model_context_window_exceeded"));
    CHECK(reply.stop == Stop::ContextFull);
    CHECK_FALSE(reply.error.empty());
    for (const std::string& end : {finished("because"), kEnd, finished("")}) {
        reply = read(said + tool(1, "a", "shell", "{}") + end);
        CHECK(reply.stop == Stop::Unknown);
        CHECK_FALSE(reply.error.empty());
        CHECK(reply.calls.empty());
        CHECK(reply.content.items().empty());
    }
}

TEST_CASE("reply: what breaks the protocol is refused") {
    for (const std::string& bad :
         {kStart + text(0, "x"),  // no end
          kStart + event(R"({"type":"message_delta","delta":{"stop_reason":"end_turn"}})"),
          kStart + text_delta(0, "x") + finished("end_turn"),                 // never began
          kStart + text(0, "x") + text_delta(0, "y") + finished("end_turn"),  // had ended
          kStart + "data: {\"type\":\n\n" + finished("end_turn"),             // bad JSON
          kStart + "data: []\n\n" + finished("end_turn"),
          kStart + "data: {\"type\":\"a\",\"type\":\"b\"}\n\n" + finished("end_turn"),
          kStart + block(0, "{}") + finished("end_turn"),
          kStart + event(R"({"type":"content_block_start","index":0})") + finished("end_turn"),
          kStart + finished("tool_use"),
          kStart + "data: " + std::string(100, '[') + std::string(100, ']') + "\n\n" +
              finished("end_turn")}) {
        CAPTURE(bad);
        CHECK_THROWS_AS((void)read(bad), ProtocolError);
    }
    std::string many = kStart;
    for (int i = 0; i < 5000; ++i) many += block(i, R"({"type":"text","text":""})");
    CHECK_THROWS_AS((void)read(many + finished("end_turn")), ProtocolError);
}

TEST_CASE("reply: after an error no call of the reply is handed out, whatever shape it has") {
    for (const char* error :
         {R"({"type":"error","error":{"type":"overloaded_error","message":"busy"}})",
          R"({"error":{"code":500,"message":"x","type":"server_error"}})",
          R"({"code":500,"message":"x","type":"server_error"})", R"({"error":"out of memory"})"}) {
        Reader reader;
        SseParser parser([&](std::string_view n, std::string_view d) { reader.event(n, d); });
        parser.feed(kStart + tool(0, "a", "shell", R"({"command":"ls"})"));
        CHECK_THROWS_AS(parser.feed("event: error\ndata: " + std::string(error) + "\n\n"),
                        ProtocolError);
        CHECK_FALSE(reader.ended());
        REQUIRE(reader.api_error());
        CHECK(reader.api_error()->status >= 500);
        CHECK_THROWS_AS((void)reader.finish(conversation()), ProtocolError);
    }
}

TEST_CASE("reply: invalid UTF-8 becomes U+FFFD and the stream goes on") {
    const ModelReply reply = read(kStart + block(0, R"({"type":"text","text":""})") +
                                  "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
                                  "{\"type\":\"text_delta\",\"text\":\"a\xff\xc3"
                                  "b\"}}\n\n" +
                                  stop(0) + finished("end_turn"));
    CHECK(reply.text ==
          "a\xef\xbf\xbd\xef\xbf\xbd"
          "b");
}

TEST_CASE("reply: what follows the end changes nothing") {
    CHECK(read(kHello + kEnd + event(R"({"type":"error","error":{"type":"api_error"}})") +
               "data: [DONE]\n\ngarbage")
              .text == "hello");
}

TEST_CASE("model: the request is the dialect's, with one credential and nothing extra") {
    std::string seen;
    LoopbackServer server({[&](Connection& c) {
        seen = c.request();
        c.send(response(200, "text/event-stream", kHello));
    }});
    {
        ModelOptions how = options(server.url() + "/v1/");
        how.model = "m\"1";
        Model model(std::move(how));
        ModelRequest request{json::parse(R"([{"type":"text","text":"be"}])"),
                             json::parse(R"([{"name":"shell"}])"), conversation()};
        const ModelReply reply = model.ask(request, {});
        CHECK(reply.error.empty());
        CHECK(reply.text == "hello");
    }
    const std::string head = seen.substr(0, seen.find("\r\n\r\n") + 4);
    CHECK(head.starts_with("POST /v1/messages HTTP/1.1\r\n"));
    CHECK(head.find("x-api-key: sk-ant-geheim-0123456789\r\n") != std::string::npos);
    CHECK(head.find("anthropic-version: 2023-06-01\r\n") != std::string::npos);
    CHECK(head.find("content-type: application/json\r\n") != std::string::npos);
    CHECK(head.find("user-agent: peacrab/") != std::string::npos);
    CHECK(head.find("uthorization") == std::string::npos);
    CHECK(
        seen.substr(head.size()) ==
        R"({"model":"m\"1","max_tokens":8192,"stream":true,"system":[{"type":"text","text":"be"}],)"
        R"("tools":[{"name":"shell"}],)"
        R"("messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]})");
}

TEST_CASE("model: without a key the sentinel is sent, and empty parts are left out") {
    std::string seen;
    LoopbackServer server({[&](Connection& c) {
        seen = c.request();
        c.send(response(200, "text/event-stream", kHello));
    }});
    ModelOptions how = options(server.url());
    how.key = Secret();
    CHECK(ask(std::move(how)).reply.text == "hello");
    CHECK(seen.find("x-api-key: proxy-managed\r\n") != std::string::npos);
    CHECK(seen.find("\"tools\"") == std::string::npos);
    CHECK(seen.find("\"system\"") == std::string::npos);
}

TEST_CASE("model: a whole JSON message in place of a stream is accepted") {
    LoopbackServer server({answer(
        response(200, "application/json",
                 R"({"type":"message","model":"m","stop_reason":"tool_use","content":[)"
                 R"({"type":"text","text":"so"},{"type":"tool_use","id":"a","name":"shell",)"
                 R"("input":{"command":"ls"}}],"usage":{"input_tokens":3,"output_tokens":4}})"))});
    const Asked asked = ask(options(server.url()));
    CHECK(asked.reply.error.empty());
    CHECK(asked.shown == "so");
    REQUIRE(asked.reply.calls.size() == 1);
    CHECK(asked.reply.calls[0].arguments == R"({"command":"ls"})");
    CHECK(asked.reply.usage.output_tokens == 4);
}

TEST_CASE("model: the last event may lack its blank line, and the end of the response may fail") {
    for (const Serve& serve :
         {stream(kHello.substr(0, kHello.size() - 1)), stream(kHello.substr(0, kHello.size() - 2)),
          Serve([](Connection& c) {
              c.request();
              c.send(
                  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Content-Length: 99999\r\n\r\n" +
                  kHello);
              c.reset();
          }),
          Serve([](Connection& c) {
              c.request();
              c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + kHello);
              c.hang();
          })}) {
        LoopbackServer server({serve});
        const Asked asked = ask(options(server.url()));
        CHECK(asked.reply.error.empty());
        CHECK(asked.reply.text == "hello");
        CHECK(server.connections() == 1);
    }
}

TEST_CASE("model: a stream cut anywhere is tried again, and what was shown is declared void") {
    // Every event's end and a few places inside events.
    std::vector<size_t> cuts;
    for (size_t cut = 0; (cut = kHello.find("\n\n", cut)) != std::string::npos; ++cut) {
        cuts.push_back(cut + 2);
        cuts.push_back(cut - 5);
    }
    cuts.pop_back();
    for (size_t cut : cuts) {
        if (cut >= kHello.size()) continue;
        CAPTURE(cut);
        LoopbackServer server({stream(kHello.substr(0, cut)), stream(kHello)});
        const Asked asked = ask(options(server.url()));
        CHECK(asked.reply.error.empty());
        CHECK(asked.reply.text == "hello");
        CHECK((asked.shown == "hello" || asked.shown == "hello|hello"));
        CHECK(asked.notices.size() == 1);
        CHECK(server.connections() == 2);
    }
}

TEST_CASE("model: a call of a reply that failed later is never handed out") {
    const std::string call = kStart + tool(0, "a", "shell", R"({"command":"ls"})");
    for (const std::string& bad :
         {call,
          call +
              "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
              "\"overloaded_error\",\"message\":\"x\"}}\n\n" +
              finished("tool_use"),
          call + "data: {\n\n" + finished("tool_use")}) {
        LoopbackServer server({stream(bad)});
        const Asked asked = ask(options(server.url()));
        CHECK_FALSE(asked.reply.error.empty());
        CHECK(asked.reply.calls.empty());
        CHECK(asked.reply.content.is_null());
        CHECK(asked.reply.stop == Stop::Unknown);
        CHECK(server.connections() == 4);
    }
}

TEST_CASE("model: a busy server is asked again, and each wait is announced") {
    LoopbackServer server({status(529, "overloaded_error", "Overloaded"),
                           status(500, "api_error", "x", "retry-after-ms: 3\r\n"),
                           status(408, "timeout_error", "x", "retry-after: 0\r\n"),
                           stream(kHello)});
    const Asked asked = ask(options(server.url()));
    CHECK(asked.reply.error.empty());
    CHECK(asked.reply.text == "hello");
    REQUIRE(asked.notices.size() == 3);
    CHECK(asked.notices[0] == "the model is overloaded (529); trying again in 1 s");
}

TEST_CASE("model: after the last try the sentence says what happened and what to do") {
    LoopbackServer server({status(529, "overloaded_error", "Overloaded")});
    const Asked asked = ask(options(server.url()));
    CHECK(asked.reply.error ==
          "the model is overloaded (529) (4 tries): try again in a few minutes");
    CHECK(server.connections() == 4);
}

TEST_CASE("model: what trying again cannot mend is said at once, in one sentence") {
    struct Row {
        Serve serve;
        std::string sentence;
    };
    const std::string secret = "sk-ant-geheim-0123456789";
    const std::vector<Row> rows = {
        {status(401, "authentication_error", "invalid x-api-key " + secret),
         "the model refused the key (401): set another with `peacrab setup`"},
        {status(403, "permission_error", "Key " + secret.substr(0, 14) + "... may not.\n"),
         "the model refused the key (403), saying: Key [key]... may not: set another with "
         "`peacrab setup`"},
        {status(402, "billing_error", "pay"),
         "the account of this key has nothing left to spend (402), saying: pay: add credit with "
         "the provider, or set another key with `peacrab setup`"},
        {status(404, "not_found_error", "model: mock-1"),
         "there is no model 'mock-1' at SERVER (404): choose another with --model, or correct "
         "--model-url"},
        {status(413, "request_too_large", "x"),
         "the conversation is too large for the model (413): start a new conversation with /new"},
        {status(400, "invalid_request_error", "bad \x1b[2J thing"),
         "the model refused the request (400), saying: bad \\x1b[2J thing: if it happens again, "
         "start a new conversation with /new"},
        {status(429, "rate_limit_error", "x", "retry-after: 18000\r\n"),
         "the model's rate limit is reached (429): it asks to wait 5 h: try again then"},
        {status(529, "overloaded_error", "x", "x-should-retry: false\r\n"),
         "the model is overloaded (529): try again in a few minutes"},
        {answer(response(429, "application/json",
                         R"({"type":"error","error":{"type":"rate_limit_error","message":"cap",)"
                         R"("details":{"error_code":"enforced_spend_limit_reached"}}})")),
         "the account of this key has nothing left to spend (429), saying: cap: add credit with "
         "the provider, or set another key with `peacrab setup`"},
        {answer(response(200, "application/json",
                         R"({"type":"error","error":{"type":"authentication_error"}})")),
         "the model refused the key (401): set another with `peacrab setup`"},
        {answer(response(200, "text/html", "<html>welcome to the hotel</html>")),
         "SERVER answers, but not as a model does (text/html): correct --model-url"},
        {answer(response(307, "text/plain", "", "Location: https://evil.example/x\r\n")),
         "SERVER redirects to https://evil.example (307), and redirects are not followed: if that "
         "is right, set it with --model-url"},
        {stream(kStart + "event: error\ndata: {\"error\":{\"code\":400,\"message\":\"too long\","
                         "\"type\":\"exceed_context_size_error\"}}\n\n"),
         "the conversation no longer fits into the model's window: start a new conversation with /new"},
    };
    for (const Row& row : rows) {
        LoopbackServer server({row.serve});
        const Asked asked = ask(options(server.url()));
        std::string expected = row.sentence;
        if (const size_t place = expected.find("SERVER"); place != std::string::npos)
            expected.replace(place, 6, server.url());
        CHECK(asked.reply.error == expected);
        CHECK(server.connections() == 1);
    }
}

TEST_CASE("model: a request that is too long is known by each server's words, with what would fit") {
    struct Row {
        int status;
        const char* error;
        uint64_t window;  // 0: it does not say
        bool too_long = true;
    };
    const Row rows[] = {
        {400, R"({"code":400,"message":"m","type":"exceed_context_size_error","n_ctx":8192})", 8192},
        {400, R"({"type":"invalid_request_error","message":"prompt is too long: 214315 tokens > 200000 maximum"})",
         200000},
        {400, R"({"code":"context_length_exceeded","message":"m"})", 0},
        {400, R"({"message":"This model's maximum context length is 4096 tokens. However, you asked for 9"})", 4096},
        {400, R"({"message":"input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000"})", 200000},
        {400, R"({"message":"The input token count (9) exceeds the maximum number of tokens allowed (1048576)."})",
         1048576},
        {400, R"({"message":"prompt is too long: 9 tokens > 3 maximum"})", 0},  // no window is so small
        {413, R"({"type":"request_too_large","message":"m"})", 0},
        {400, R"({"type":"invalid_request_error","message":"messages: bad role"})", 0, false},
        {429, R"({"type":"rate_limit_error","message":"prompt is too long"})", 0, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.error);
        const std::string body = std::string("{\"error\":") + row.error + "}";
        LoopbackServer server({answer(response(row.status, "application/json", body,
                                               "x-should-retry: false\r\n"))});
        const Asked asked = ask(options(server.url()));
        CHECK((asked.reply.stop == ModelReply::Stop::ContextFull) == row.too_long);
        CHECK(asked.reply.window == row.window);
        CHECK_FALSE(asked.reply.error.empty());
        CHECK(server.connections() == 1);
    }
}

TEST_CASE("model: a date says how long to wait, too") {
    LoopbackServer server(
        {status(429, "rate_limit_error", "x", "retry-after: Fri, 01 Jan 2100 00:00:00 GMT\r\n")});
    const Asked asked = ask(options(server.url()));
    CHECK(asked.reply.error.find("it asks to wait") != std::string::npos);
    CHECK(server.connections() == 1);
}

TEST_CASE("model: x-should-retry true is obeyed") {
    LoopbackServer server(
        {status(400, "invalid_request_error", "x", "x-should-retry: true\r\n"), stream(kHello)});
    CHECK(ask(options(server.url())).reply.text == "hello");
}

TEST_CASE("model: a flood of an error body does not hide the status") {
    LoopbackServer server({[](Connection& c) {
        c.request();
        c.send("HTTP/1.1 401 X\r\nContent-Type: application/json\r\n\r\n");
        const std::string piece(65536, 'x');
        while (c.send(piece)) {
        }
    }});
    CHECK(ask(options(server.url())).reply.error ==
          "the model refused the key (401): set another with `peacrab setup`");
}

TEST_CASE("model: an unreachable, a silent and a mute server are three different sentences") {
    std::string gone;
    {
        LoopbackServer server({stream("")});
        gone = server.url();
    }
    CHECK(ask(options(gone)).reply.error == "cannot reach " + gone +
                                                ": Connection refused (4 tries): check the network "
                                                "and --model-url");
    const Serve mute = [](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + kStart);
        c.hang();
    };
    LoopbackServer silent({mute});
    ModelOptions how = options(silent.url());
    how.http.idle_limit = Milliseconds(20);
    how.max_tries = 2;
    CHECK(ask(std::move(how)).reply.error ==
          silent.url() +
              " sent nothing for 20 ms (2 tries): try again; a local model may still be "
              "loading");
    LoopbackServer cut({[](Connection& c) { c.request(); }});
    CHECK(ask(options(cut.url())).reply.error ==
          cut.url() + " closed the connection without an answer (4 tries): try again");
}

TEST_CASE("model: pings are life") {
    LoopbackServer server({[](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for (int i = 0; i < 12; ++i) {
            ::usleep(40'000);  // time itself is tested: together beyond the limit, each below
            c.send(": still here\n\n");
        }
        c.send(kHello);
    }});
    ModelOptions how = options(server.url());
    how.http.first_byte_limit = how.http.idle_limit = Milliseconds(400);
    CHECK(ask(std::move(how)).reply.text == "hello");
}

TEST_CASE("model: a stop ends the stream and the wait between tries, and keeps what was shown") {
    Pipe stop_pipe = Pipe::make();
    Clock::time_point asked_at;
    LoopbackServer server({[&](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + kStart +
               block(0, R"({"type":"text","text":"par"})"));
        asked_at = Clock::now();
        write_all(stop_pipe.write.get(), "x");
        c.hang();
    }});
    // What was sent before the stop may or may not have been read.
    const Asked asked = ask(options(server.url()), stop_pipe.read.get());
    CHECK(Clock::now() - asked_at < Milliseconds(100));
    CHECK(asked.reply.cancelled);
    CHECK(asked.reply.text == asked.shown);
    CHECK(asked.reply.error.empty());
    CHECK(asked.reply.content.is_null());
    CHECK(asked.reply.stop == Stop::Unknown);

    Pipe second = Pipe::make();
    LoopbackServer busy({status(529, "overloaded_error", "x", "retry-after: 50\r\n")});
    Model model(options(busy.url()));
    ModelEvents events;
    events.notice = [&](std::string_view) {
        asked_at = Clock::now();
        write_all(second.write.get(), "x");
    };
    const ModelReply reply =
        model.ask(ModelRequest{json::Value::array(), json::Value::array(), conversation()}, events,
                  second.read.get());
    CHECK(reply.cancelled);
    CHECK(Clock::now() - asked_at < Milliseconds(100));
}

TEST_CASE("model: what an event's callback throws passes through, and is not tried again") {
    LoopbackServer server({stream(kHello)});
    Model model(options(server.url()));
    ModelEvents events;
    events.delta = [](std::string_view) { throw Error("warden: gone"); };
    const ModelRequest request{json::Value::array(), json::Value::array(), conversation()};
    CHECK_THROWS_WITH_AS((void)model.ask(request, events), "warden: gone", Error);
    CHECK(server.connections() == 1);
}

TEST_CASE("model: 50,000 tiny events and an 8 MiB one are taken, a 17 MiB one is not") {
    std::string tiny = kStart + block(0, R"({"type":"text","text":""})");
    const std::string one = text_delta(0, "x");
    for (int i = 0; i < 50'000; ++i) tiny += one;
    {
        LoopbackServer server({stream(tiny + stop(0) + finished("end_turn"))});
        CHECK(ask(options(server.url())).reply.text.size() == 50'000);
    }
    for (size_t size : {size_t{8} << 20, size_t{17} << 20}) {
        LoopbackServer server({stream(
            kStart + block(0, R"({"type":"text","text":""})") +
            R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":")" +
            std::string(size, 'x') + "\"}}\n\n" + stop(0) + finished("end_turn"))});
        ModelOptions how = options(server.url());
        how.max_tries = 1;
        const Asked asked = ask(std::move(how));
        CHECK(asked.reply.error.empty() == (size == size_t{8} << 20));
    }
}

TEST_CASE("model: a server that takes no pictures is asked again without, and from then on") {
    const json::Value messages = json::parse(
        R"([{"role":"user","content":[{"type":"text","text":"look"}]},)"
        R"({"role":"assistant","content":[{"type":"tool_use","id":"a","name":"read","input":{"path":"x.png"}}]},)"
        R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[)"
        R"({"type":"text","text":"image/png"},)"
        R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"TWFu"}}]}]}])",
        json::kModelLimits);
    const ModelRequest request{json::Value::array(), json::Value::array(), messages};
    const std::string hello = response(200, "text/event-stream", kHello, "Connection: close\r\n");
    for (const auto& [code, message] :
         {std::pair{400, "Could not process it"}, {403, "the model route does not pass on blocks"},
          {404, "No endpoints found that support image input"},
          {500, "image input is not supported - hint: mmproj"}}) {
        const std::string refusal =
            response(code, "application/json",
                     R"({"type":"error","error":{"type":"x","message":")" + std::string(message) + "\"}}",
                     "Connection: close\r\n");
        std::vector<std::string> asked;
        const auto recorded = [&asked](const std::string& bytes) {
            return [&asked, bytes](Connection& c) {
                asked.push_back(c.request());
                c.send(bytes);
            };
        };
        {
            LoopbackServer server({recorded(refusal), recorded(hello), recorded(hello)});
            Model model(options(server.url()));
            CHECK(model.ask(request, {}).text == "hello");
            CHECK(model.ask(request, {}).text == "hello");
        }
        REQUIRE(asked.size() == 3);
        CHECK(asked[0].find("TWFu") != std::string::npos);
        for (size_t i = 1; i < 3; ++i) {
            CHECK(asked[i].find("TWFu") == std::string::npos);
            CHECK(asked[i].find("[this model cannot be shown the picture]") != std::string::npos);
        }
    }
}
