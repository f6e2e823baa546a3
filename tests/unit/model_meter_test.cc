#include "model_meter.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

struct Wire {
    ModelDialect dialect;
    const char* streamed;
    const char* whole;
};

// 100 in, 20 from the cache, 7 out, in the words of each dialect.
const Wire kWires[] = {
    {ModelDialect::Anthropic,
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"content\":[],\"usage\":"
     "{\"input_tokens\":100,\"cache_read_input_tokens\":20,\"output_tokens\":1}}}\n\n"
     "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
     "\"text\",\"text\":\"\"}}\n\n"
     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
     "\"text_delta\",\"text\":\"hi\"}}\n\n"
     "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
     "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":"
     "{\"output_tokens\":7}}\n\n"
     "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
     R"({"type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],)"
     R"("stop_reason":"end_turn","usage":{"input_tokens":100,"cache_read_input_tokens":20,"output_tokens":7}})"},
    {ModelDialect::Chat,
     "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
     "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
     "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":7,"
     "\"prompt_tokens_details\":{\"cached_tokens\":20}}}\n\ndata: [DONE]\n\n",
     R"({"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],)"
     R"("usage":{"prompt_tokens":120,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":20}}})"},
    {ModelDialect::Responses,
     "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m\",\"status\":"
     "\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],"
     "\"usage\":{\"input_tokens\":120,\"output_tokens\":7,\"input_tokens_details\":{\"cached_tokens\":20}}}}\n\n",
     R"({"object":"response","model":"m","status":"completed","output":[{"type":"message","content":)"
     R"([{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":120,"output_tokens":7,)"
     R"("input_tokens_details":{"cached_tokens":20}}})"},
};

ModelCount measured(ModelDialect dialect, const char* type, const std::string& bytes, size_t piece = 1) {
    ModelMeter meter(dialect);
    meter.begin(type);
    for (size_t at = 0; at < bytes.size(); at += piece) meter.feed(std::string_view(bytes).substr(at, piece));
    return meter.count(400);
}

constexpr const char* kEvents = "text/event-stream; charset=utf-8";
constexpr const char* kJson = "application/json";

std::string with(std::string text, const std::string& what, const std::string& instead) {
    const size_t at = text.rfind(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), instead);
}

}  // namespace

TEST_CASE("meter: counts what each dialect says, streamed in any pieces or whole") {
    for (const Wire& wire : kWires)
        for (const bool streamed : {true, false})
            for (const size_t piece : {size_t{1}, size_t{7}, size_t{100'000}}) {
                CAPTURE(dialect_name(wire.dialect));
                CAPTURE(streamed);
                const ModelCount count = measured(wire.dialect, streamed ? kEvents : kJson,
                                                  streamed ? wire.streamed : wire.whole, piece);
                CHECK(count.usage.input_tokens == 100);
                CHECK(count.usage.cache_read_input_tokens == 20);
                CHECK(count.usage.output_tokens == 7);
                CHECK(count.model == "m");
                CHECK_FALSE(count.estimated);
            }
}

TEST_CASE("meter: what a server does not count is estimated, and says so") {
    for (const Wire& wire : kWires) {
        CAPTURE(dialect_name(wire.dialect));
        const ModelCount none = measured(wire.dialect, kJson, with(wire.whole, "usage", "other"));
        CHECK(none.estimated);
        CHECK(none.usage.input_tokens == 100);  // four bytes a token
        const ModelCount nothing = measured(wire.dialect, kEvents, "");
        CHECK(nothing.estimated);
        CHECK(nothing.usage.input_tokens == 100);
    }
}

TEST_CASE("meter: an answer that is cut counts by what was said of it so far") {
    std::string half = kWires[0].streamed;
    half = with(half.substr(0, half.find("event: message_delta")), "hi", std::string(4000, 'x'));
    const ModelCount count = measured(ModelDialect::Anthropic, kEvents, half, 1000);
    CHECK(count.usage.input_tokens == 100);
    CHECK(count.usage.output_tokens == 1000);
    CHECK(count.estimated);
}

TEST_CASE("meter: a server that lies beyond all reason is cut, one that talks nonsense counts by its bytes") {
    for (const Wire& wire : kWires) {
        CAPTURE(dialect_name(wire.dialect));
        const std::string huge = with(wire.whole, "_tokens\":7", "_tokens\":9223372036854775807");
        CHECK(measured(wire.dialect, kJson, huge).usage.output_tokens == 1'000'000'000);
        const std::string minus = with(wire.whole, "_tokens\":7", "_tokens\":-5");
        CHECK(measured(wire.dialect, kJson, minus).usage.output_tokens < 100);
        std::string nonsense = "data: {\"broken\n\n";
        while (nonsense.size() < 8000) nonsense += "data: nonsense\n\n";
        const ModelCount lost = measured(wire.dialect, kEvents, nonsense, 1000);
        CHECK(lost.estimated);
        CHECK(lost.usage.output_tokens >= 100);
        CHECK(measured(wire.dialect, kJson, std::string(4000, '[')).usage.output_tokens == 1000);
    }
}

TEST_CASE("meter: what comes behind the end of an answer changes nothing") {
    for (const Wire& wire : kWires) {
        const ModelCount count = measured(wire.dialect, kEvents, std::string(wire.streamed) + wire.streamed, 64);
        CHECK(count.usage.input_tokens == 100);
        CHECK(count.usage.output_tokens == 7);
    }
}
