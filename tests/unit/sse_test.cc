#include "protocols/sse.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

using namespace peacrab;

namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

Events parse(const std::vector<std::string_view>& pieces) {
    Events events;
    SseParser parser([&](std::string_view name, std::string_view data) {
        events.emplace_back(std::string(name), std::string(data));
    });
    for (std::string_view piece : pieces) parser.feed(piece);
    parser.finish();
    return events;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

const std::string kStream =
    "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
    ": a comment\n:\nevent: ping\ndata:{\"type\": \"ping\"}\n\n"
    "data: first\ndata:  second\ndata\ndata: gr\xc3\xbc\xc3\x9f\xe2\x82\xac\n\n"
    "id: 7\nretry: 10\nnonsense\nevent: named without data\n\n"
    "event: message_stop\ndata: {}\n\n";
const Events kExpected = {{"message_start", "{\"type\":\"message_start\"}"},
                          {"ping", "{\"type\": \"ping\"}"},
                          {"", "first\n second\n\ngr\xc3\xbc\xc3\x9f\xe2\x82\xac"},
                          {"message_stop", "{}"}};

}  // namespace

TEST_CASE("sse: a stream means the same however it is split, with LF, CRLF and CR, with a BOM") {
    for (const char* line_break : {"\n", "\r\n", "\r"}) {
        for (const char* mark : {"", "\xef\xbb\xbf"}) {
            const std::string stream = mark + replaced(kStream, "\n", line_break);
            const std::string_view whole = stream;
            REQUIRE(parse({whole}) == kExpected);
            std::vector<std::string_view> bytes;
            for (size_t at = 0; at < whole.size(); ++at) {
                bytes.push_back(whole.substr(at, 1));
                REQUIRE(parse({whole.substr(0, at), whole.substr(at)}) == kExpected);
            }
            CHECK(parse(bytes) == kExpected);
        }
    }
}

TEST_CASE("sse: a last event without its blank line, or its line break, still counts") {
    CHECK(parse({"data: a\n"}) == Events{{"", "a"}});
    CHECK(parse({"event: x\ndata: a"}) == Events{{"x", "a"}});
    CHECK(parse({"event: x\n"}).empty());
    CHECK(parse({""}).empty());
}

TEST_CASE("sse: an event's name does not stay for the next") {
    CHECK(parse({"event: x\n\ndata: a\n\n"}) == Events{{"", "a"}});
}

TEST_CASE("sse: a BOM counts only at the start") {
    CHECK(parse({"data: a\n\n\xef\xbb\xbf"
                 "data: b\n\n"}) == Events{{"", "a"}});
}

TEST_CASE("sse: one event beyond 16 MiB is refused, in one line or in many") {
    const std::string piece(1 << 20, 'x');
    for (const char* end : {"", "\ndata:"}) {
        SseParser parser([](std::string_view, std::string_view) {});
        parser.feed("data:");
        const auto flood = [&] {
            for (int i = 0; i < 17; ++i) {
                parser.feed(piece);
                parser.feed(end);
            }
        };
        CHECK_THROWS_AS(flood(), ProtocolError);
    }
}

TEST_CASE("sse: an 8 MiB event in small pieces takes linear time") {
    size_t got = 0;
    SseParser parser([&](std::string_view, std::string_view data) { got = data.size(); });
    const std::string piece(64, 'x');
    const auto began = std::chrono::steady_clock::now();
    parser.feed("data:");
    for (int i = 0; i < (8 << 20) / 64; ++i) parser.feed(piece);
    parser.feed("\n\n");
    CHECK(got == size_t{8} << 20);
    // Quadratic would be minutes.
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));
}
