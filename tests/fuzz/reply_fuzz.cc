// A model's stream, any bytes and any order of events, cut into pieces.
//
// sources: runtime/protocols/anthropic.cc runtime/protocols/sse.cc runtime/json.cc runtime/os.cc
// packages: simdjson
//
// Whatever comes out whole must be fit to be replayed: each call stands once in the content, ids are
// well-formed and unique, inputs are objects, no text is blank, everything is UTF-8.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "protocols/anthropic.h"
#include "error.h"
#include "protocols/sse.h"

using namespace peacrab;

namespace {

// A byte of the input below the length of this list is the event; others are themselves.
const char* const kEvents[] = {
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
constexpr size_t kCount = sizeof kEvents / sizeof *kEvents;

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const size_t step = 1 + data[0];
    std::string stream;
    for (size_t i = 1; i < size; ++i) {
        if (data[i] < kCount && data[i] != '\n' && data[i] != '\r')
            stream += "\n\ndata: " + std::string(kEvents[data[i]]) + "\n\n";
        else
            stream += static_cast<char>(data[i]);
    }
    static const json::Value messages = json::parse(
        R"([{"role":"assistant","content":[{"type":"tool_use","id":"old"}]}])");
    anthropic::Reader reader;
    SseParser parser([&](std::string_view name, std::string_view text) { reader.event(name, text); });
    try {
        for (size_t at = 0; at < stream.size(); at += step)
            parser.feed(std::string_view(stream).substr(at, step));
        parser.finish();
        check(reader.finish(messages));
    } catch (const ProtocolError&) {
        // Refused, which is an answer too.
    }
    return 0;
}
