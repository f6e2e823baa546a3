#include "frame.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

TEST_CASE("frame: an unknown type, an unknown, missing or wrong key is refused") {
    const Dialect d = Dialect::ClientToWarden;
    CHECK(parse_frame(d, R"({"type":"message","id":"1","text":"hi"})").text("text") == "hi");
    CHECK_THROWS_AS((void)parse_frame(d, R"({"type":"reboot"})"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, R"({"type":"message","id":"1"})"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, R"({"type":"message","id":1,"text":"hi"})"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, R"({"type":"stop","force":true})"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, R"({"id":"1","type":"message","text":"hi"})"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, "[]"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, "{}"), Error);
    CHECK_THROWS_AS((void)parse_frame(d, R"({"type":null})"), Error);
}

TEST_CASE("frame: a frame of one dialect is not a frame of another") {
    const std::string line = R"({"type":"power_off"})";
    CHECK_NOTHROW((void)parse_frame(Dialect::HostToGuest, line));
    CHECK_THROWS_AS((void)parse_frame(Dialect::GuestToHost, line), Error);
    CHECK_THROWS_AS((void)parse_frame(Dialect::ClientToWarden, line), Error);
}

TEST_CASE("frame: lines come out whole however they were cut, and none grows beyond 1 MiB") {
    const std::string two = "{\"a\":1}\n{\"b\":2}\n";
    for (size_t cut = 0; cut <= two.size(); ++cut) {
        FrameBuffer buffer;
        buffer.append(two.substr(0, cut));
        std::vector<std::string> lines;
        while (auto line = buffer.next()) lines.push_back(*line);
        buffer.append(two.substr(cut));
        while (auto line = buffer.next()) lines.push_back(*line);
        CHECK(lines == std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"});
        CHECK(buffer.empty());
    }
    FrameBuffer buffer;
    CHECK_THROWS_AS(
        [&] {
            for (int i = 0; i < 20; ++i) buffer.append(std::string(size_t{1} << 16, 'x'));
        }(),
        Error);
}

TEST_CASE("frame: a frame too long to send is never written") {
    const json::Value frame = json::Value::object(
        {{"type", "message"}, {"id", "1"}, {"text", std::string(kMaxFrame, 'x')}});
    CHECK_THROWS_AS((void)write_frame(Dialect::ClientToWarden, frame), Error);
}

TEST_CASE("frame: a socket gives frames, then end of file; a passed deadline gives nothing") {
    SocketPair pair = SocketPair::stream();
    FrameSocket client(std::move(pair.ours), Dialect::WardenToClient, Dialect::ClientToWarden);
    FrameSocket warden(std::move(pair.theirs), Dialect::ClientToWarden, Dialect::WardenToClient);
    CHECK_FALSE(warden.receive(Deadline()).has_value());
    CHECK_FALSE(warden.closed());
    client.send(json::Value::object({{"type", "stop"}}));
    client.send(json::Value::object({{"type", "seen"}, {"seq", 4}}));
    CHECK(warden.receive(Deadline::never())->text("type") == "stop");
    CHECK(warden.receive(Deadline())->integer("seq") == 4);
    client.close();
    CHECK_FALSE(warden.receive(Deadline::never()).has_value());
    CHECK(warden.closed());
}
