// A model's stream in each dialect, any bytes and any order of events, cut into pieces.
//
// Whatever comes out whole must be fit to be replayed: each call stands once in the content, ids are
// well-formed and unique, inputs are objects, no text is blank, everything is UTF-8; and every dialect can
// write a request with it.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <span>
#include <string>

#include "error.h"
#include "protocols/reply.h"
#include "protocols/sse.h"

using namespace peacrab;

namespace {

// A byte of the input below the length of this list is the event; others are themselves.
const char* const kAnthropic[] = {
    R"({"type":"message_start","message":{"model":"m","usage":{"input_tokens":5}}})",
    R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})",
    R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"shell","input":{}}})",
    R"({"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"a","name":"../x","input":{"a":1}}})",
    R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":7,"input":null}})",
    R"({"type":"content_block_start","index":3,"content_block":{"type":"thinking","thinking":"","signature":""}})",
    R"({"type":"content_block_start","content_block":{"type":"odd","x":[1]}})",
    R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x\u0000 "}})",
    R"({"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{}}})",
    R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}})",
    R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"[1]}"}})",
    R"({"type":"content_block_delta","index":3,"delta":{"type":"thinking_delta","thinking":"t"}})",
    R"({"type":"content_block_delta","index":3,"delta":{"type":"signature_delta","signature":"s"}})",
    R"({"type":"content_block_delta","delta":{"type":"text_delta","text":" "}})",
    R"({"type":"content_block_stop","index":0})",
    R"({"type":"content_block_stop","index":1})",
    R"({"type":"content_block_stop","index":2})",
    R"({"type":"content_block_stop","index":3})",
    R"({"type":"content_block_stop"})",
    R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":-1}})",
    R"({"type":"message_delta","delta":{"stop_reason":"end_turn"}})",
    R"({"type":"message_delta","delta":{"stop_reason":"max_tokens"}})",
    R"({"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":"c"}}})",
    R"({"type":"message_delta","delta":{"stop_reason":null}})",
    R"({"type":"error","error":{"type":"api_error","details":{"error_code":"x"}}})",
    R"({"type":"message_stop"})",
};
const char* const kChat[] = {
    R"({"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]})",
    R"({"choices":[{"index":0,"delta":{"content":"x\u0000 "}}]})",
    R"({"choices":[{"index":0,"delta":{"content":" "}}]})",
    R"({"choices":[{"index":1,"delta":{"content":"another"}}]})",
    R"({"choices":[{"delta":{"content":[{"type":"text","text":"p"}]}}]})",
    R"({"choices":[{"delta":{"refusal":"no"}}]})",
    R"({"choices":[{"delta":{"reasoning_content":"r","reasoning_details":[{"type":"t","index":0,"text":"a"}]}}]})",
    R"({"choices":[{"delta":{"reasoning_details":[{"type":"t","index":0,"text":"b"},7,{"type":"u"}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"shell","arguments":""}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"id":"old","function":{"name":"../x","arguments":{"b":[2]}}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"function":{"name":"y","arguments":"{}"},"extra_content":{"g":1}}]}}]})",
    R"({"choices":[{"delta":{"tool_calls":[{"index":5,"id":7}]}}]})",
    R"({"choices":[{"delta":{},"finish_reason":"tool_calls"}]})",
    R"({"choices":[{"delta":{},"finish_reason":"stop"}]})",
    R"({"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":-1}})",
    R"({"choices":[{"delta":{},"finish_reason":"content_filter"}]})",
    R"({"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":99}}})",
    R"({"error":{"code":"x","message":"m"}})",
    "[DONE]",
};
const char* const kResponses[] = {
    R"({"type":"response.created","response":{}})",
    R"({"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}})",
    R"({"type":"response.output_text.delta","output_index":0,"delta":"x\u0000 "})",
    R"({"type":"response.output_text.delta","delta":" "})",
    R"({"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"x"}]}})",
    R"({"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"a","name":"shell"}})",
    R"({"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":"})",
    R"({"type":"response.function_call_arguments.delta","delta":"1}"})",
    R"({"type":"response.function_call_arguments.done","output_index":1,"arguments":"{}"})",
    R"({"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"a","name":"shell","arguments":"{\"a\":1}"}})",
    R"({"type":"response.output_item.done","item":{"type":"function_call","call_id":"old","name":"../x","arguments":{"b":1}}})",
    R"({"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"b","arguments":7,"status":"incomplete"}})",
    R"({"type":"response.output_item.done","output_index":2,"item":{"type":"reasoning","id":"r","encrypted_content":"e"}})",
    R"({"type":"response.output_item.done","output_index":-9,"item":{"type":"odd"}})",
    R"({"type":"response.refusal.delta","delta":"no"})",
    R"({"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"y"}]}]}})",
    R"({"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}})",
    R"({"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}})",
    R"({"type":"error","code":"x"})",
};

struct Wire {
    ModelDialect dialect;
    std::span<const char* const> events;
};
const Wire kWires[] = {{ModelDialect::Anthropic, kAnthropic},
                       {ModelDialect::Chat, kChat},
                       {ModelDialect::Responses, kResponses}};

void must(bool condition) {
    if (!condition) std::abort();
}

void check(const ModelReply& reply) {
    using Stop = ModelReply::Stop;
    std::set<std::string> ids{"old"};
    size_t calls = 0;
    for (const json::Value& block : reply.content.items()) {
        if (block.text("type") == "text")
            must(block.text("text").find_first_not_of(" \t\r\n\f\v") != std::string::npos);
        if (block.text("type") != "tool_use") continue;
        must(calls < reply.calls.size());
        const ToolCall& call = reply.calls[calls++];
        must(ids.insert(call.id).second && !call.id.empty() && call.id.size() <= 64);
        must(block.text("id") == call.id && block.text("name") == call.name);
        must(block.at("input").is_object());
        must(call.arguments == kDamagedArguments || call.arguments == json::dump(block.at("input")));
    }
    must(calls == reply.calls.size());
    must((reply.stop == Stop::ToolUse) == (calls > 0));
    must(!reply.error.empty() || reply.stop != Stop::Unknown);
    const std::string text = json::dump(reply.content);
    must(json::valid_utf8(text) == text);
}

// As the next request has it: own blocks and those another model would be told.
void check_bodies(const Wire& wire, const ModelReply& reply) {
    if (!reply.error.empty() || reply.content.items().empty()) return;
    for (const Wire& to : kWires) {
        ModelOptions options;
        options.model = "m";
        options.dialect = to.dialect;
        ModelRequest request{json::Value::array(), json::Value::array(), json::Value::array()};
        request.messages.push(json::Value::object(
            {{"role", "assistant"},
             {"content", reply.content},
             {"origin", std::string(dialect_name(wire.dialect)) + "/m"}}));
        const std::string body = dialect_table(to.dialect).body(options, request);
        must(json::parse(body, json::kModelLimits).is_object());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3) return 0;
    const Wire& wire = kWires[data[0] % 3];
    const size_t step = 1 + data[1];
    std::string stream;
    for (size_t i = 2; i < size; ++i) {
        if (data[i] < wire.events.size() && data[i] != '\n' && data[i] != '\r')
            stream += "\n\ndata: " + std::string(wire.events[data[i]]) + "\n\n";
        else
            stream += static_cast<char>(data[i]);
    }
    static const json::Value messages = json::parse(
        R"([{"role":"assistant","content":[{"type":"tool_use","id":"old"}]}])");
    const auto reader = dialect_table(wire.dialect).reader({});
    SseParser parser(
        [&](std::string_view name, std::string_view text) { reader->event(name, text); });
    try {
        for (size_t at = 0; at < stream.size(); at += step)
            parser.feed(std::string_view(stream).substr(at, step));
        parser.finish();
        reader->end_of_stream();
        const ModelReply reply = reader->finish(messages);
        check(reply);
        check_bodies(wire, reply);
    } catch (const ProtocolError&) {
        // Refused, which is an answer too.
    }
    return 0;
}
