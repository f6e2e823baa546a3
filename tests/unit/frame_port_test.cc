#include "frame_port.h"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace peacrab;

namespace {

json::Value delta(const std::string& text) {
    return json::Value::object({{"type", "delta"}, {"text", text}});
}

}  // namespace

TEST_CASE("frame port: frames arrive; a broken one closes the port once, with the reason") {
    Loop loop;
    SocketPair pair = SocketPair::stream();
    std::vector<std::string> seen;
    std::vector<std::string> closed;
    FramePort port(loop, std::move(pair.ours), Dialect::TurnToWarden, Dialect::WardenToTurn,
                   {[&](const json::Value& frame) { seen.push_back(frame.text("text")); },
                    [&](const std::string& why) { closed.push_back(why); }});
    write_all(pair.theirs.get(), write_frame(Dialect::TurnToWarden, delta("one")));
    write_all(pair.theirs.get(), "{\"type\":\"format_disk\"}\n");
    write_all(pair.theirs.get(), write_frame(Dialect::TurnToWarden, delta("never")));
    for (int i = 0; i < 5; ++i) loop.run_once(Milliseconds(0));
    CHECK(seen == std::vector<std::string>{"one"});
    REQUIRE(closed.size() == 1);
    CHECK(closed[0].find("format_disk") != std::string::npos);
    port.send(json::Value::object({{"type", "steer"}, {"text", "late"}}));  // harmless
}

TEST_CASE("frame port: a peer that never reads is closed before memory grows beyond the bound") {
    Loop loop;
    SocketPair pair = SocketPair::stream();
    int closed = 0;
    FramePort port(loop, std::move(pair.ours), Dialect::TurnToWarden, Dialect::WardenToTurn,
                   {[](const json::Value&) {}, [&](const std::string&) { ++closed; }});
    const json::Value frame =
        json::Value::object({{"type", "steer"}, {"text", std::string(size_t{512} << 10, 'x')}});
    int sent = 0;
    while (!closed && sent < 100) {
        port.send(frame);
        ++sent;
    }
    CHECK(closed == 1);
    CHECK(sent <= 18);
}

TEST_CASE("frame port: what does not fit at once is sent when the peer reads") {
    Loop loop;
    SocketPair pair = SocketPair::stream();
    FramePort port(loop, std::move(pair.ours), Dialect::TurnToWarden, Dialect::WardenToTurn,
                   {[](const json::Value&) {}, [](const std::string&) {}});
    FrameSocket peer(std::move(pair.theirs), Dialect::WardenToTurn, Dialect::TurnToWarden);
    for (int i = 0; i < 8; ++i)
        port.send(json::Value::object(
            {{"type", "steer"}, {"text", std::to_string(i) + std::string(200'000, 'x')}}));
    int received = 0;
    for (int round = 0; round < 200 && received < 8; ++round) {
        loop.run_once(Milliseconds(0));
        if (const auto frame = peer.receive(Deadline())) {
            CHECK(frame->text("text")[0] == '0' + received);
            ++received;
        }
    }
    CHECK(received == 8);
}

TEST_CASE("frame port: the handler may destroy the port") {
    Loop loop;
    SocketPair pair = SocketPair::stream();
    std::unique_ptr<FramePort> port;
    int frames = 0;
    port = std::make_unique<FramePort>(loop, std::move(pair.ours), Dialect::TurnToWarden,
                                       Dialect::WardenToTurn,
                                       FramePort::Handlers{[&](const json::Value&) {
                                                               ++frames;
                                                               port.reset();
                                                           },
                                                           [](const std::string&) {}});
    write_all(pair.theirs.get(), write_frame(Dialect::TurnToWarden, delta("one")) +
                                     write_frame(Dialect::TurnToWarden, delta("two")));
    loop.run_once(Milliseconds(0));
    CHECK(frames == 1);
}
