#include <doctest/doctest.h>

#include <signal.h>

#include <array>
#include <thread>

#include "channels/channel_files.h"
#include "channels/channel_port.h"
#include "error.h"
#include "trust.h"

using namespace peacrab;

namespace {

// The warden's end of a port.
struct Joined {
    FrameSocket warden;
    ChannelPort port;
    Joined() : Joined(SocketPair::stream()) {}
    explicit Joined(SocketPair pair)
        : warden(std::move(pair.ours), Dialect::ChannelToWarden, Dialect::WardenToChannel),
          port(std::move(pair.theirs), UniqueFd()) {}
    json::Value next() {
        std::optional<json::Value> frame = warden.receive(Deadline::in(Seconds(5)));
        REQUIRE(frame);
        return *frame;
    }
};

json::Value start_frame(const char* secret) {
    return json::Value::object({{"type", "start"},
                                {"cursor", "17"},
                                {"settings", json::Value::object({{"api", "x"}})},
                                {"secrets", json::Value::object({{"token", secret}})}});
}

json::Value stored(const std::string& cursor) {
    return json::Value::object({{"type", "stored"}, {"cursor", cursor}});
}

json::Value deliver(const char* id) {
    return json::Value::object(
        {{"type", "deliver"}, {"id", id}, {"key", "k"}, {"conversation", "1"}, {"text", "t"}});
}

Arrived arrived(int number, size_t bytes) {
    return {json::Value::object({{"key", std::to_string(number)}, {"text", std::string(bytes, 'x')}}),
            std::to_string(number + 1)};
}

}  // namespace

TEST_CASE("channel port: what it was started with is there once, and the secret is in nothing it says") {
    Joined joined;
    joined.warden.send(start_frame("12345:secret"));
    const std::optional<ChannelPort::Start> start = joined.port.start();
    REQUIRE(start);
    CHECK(start->cursor == "17");
    CHECK(start->settings.text("api") == "x");
    CHECK(joined.port.take_secret("token").reveal() == "12345:secret");
    CHECK(joined.port.take_secret("token").empty());
    CHECK(joined.port.take_secret("other").empty());
    joined.port.failed("a", {"permanent", "no /bot12345:secret/x\nand 12345:secret", Milliseconds(5), "7"});
    const json::Value failed = joined.next();
    CHECK(failed.text("error") == "no /bot***/x and ***");
    CHECK(failed.text("class") == "permanent");
    CHECK(failed.integer("retry_ms") == 5);
    CHECK(failed.text("moved") == "7");
    CHECK(joined.port.sentence(std::string(5000, 'x')).size() == 500);
    CHECK(joined.port.sentence("\x1b[1m\xff") == "\\x1b[1m\xef\xbf\xbd");
}

TEST_CASE("channel port: store waits for `stored` and keeps what comes before it") {
    Joined joined;
    std::thread warden([&] {
        CHECK(joined.next().text("type") == "batch");
        joined.warden.send(deliver("a"));
        joined.warden.send(deliver("b"));
        joined.warden.send(stored("9"));
        joined.warden.send(deliver("c"));
    });
    CHECK(joined.port.store({arrived(1, 10)}, "9"));
    warden.join();
    for (const char* id : {"a", "b", "c"}) CHECK(joined.port.receive(Deadline::in(Seconds(5)))->text("id") == id);
    CHECK(!joined.port.receive(Deadline()));
    CHECK(!joined.port.ended());
}

TEST_CASE("channel port: what is too large for one frame is several batches, each with the cursor that follows it") {
    Joined joined;
    std::vector<Arrived> events;
    for (int i = 0; i < 30; ++i) events.push_back(arrived(i, 64 << 10));
    std::vector<std::string> cursors;
    size_t count = 0;
    std::thread warden([&] {
        while (count < 30) {
            const json::Value batch = joined.next();
            count += batch.at("events").items().size();
            cursors.push_back(batch.text("cursor"));
            CHECK(batch.at("events").items().back().text("key") == std::to_string(count - 1));
            if (count < 30) CHECK(cursors.back() == std::to_string(count));
            joined.warden.send(stored(cursors.back()));
        }
    });
    CHECK(joined.port.store(std::move(events), "40"));
    warden.join();
    CHECK(cursors.size() == 3);
    CHECK(cursors.back() == "40");
}

TEST_CASE("channel port: a warden that goes before `stored` is a no, and its end is noticed") {
    ::signal(SIGPIPE, SIG_IGN);
    Joined joined;
    std::thread warden([&] {
        CHECK(joined.next().text("type") == "batch");
        joined.warden.close();
    });
    CHECK(!joined.port.store({arrived(1, 10)}, "2"));
    warden.join();
    CHECK(joined.port.ended());
    joined.port.alive();  // to nobody
    CHECK(!joined.port.receive(Deadline::never()));

    Joined other;
    other.port.alive();
    other.warden.close();  // without having read it
    CHECK(!other.port.receive(Deadline::never()));
    CHECK(other.port.ended());
}

TEST_CASE("channel port: it speaks over pipes too, and refuses what is no frame") {
    Pipe in = Pipe::make(), out = Pipe::make();
    ChannelPort port(std::move(in.read), std::move(out.write));
    write_all(in.write.get(), "{\"type\":\"start\",\"settings\":{},\"secrets\":{}}\n{\"type\":\"typ");
    CHECK(port.start());
    CHECK(!port.receive(Deadline()));
    write_all(in.write.get(), "ing\",\"conversation\":\"1\",\"on\":true}\n{\"type\":\"batch\"}\n");
    CHECK(port.receive(Deadline())->flag("on"));
    CHECK_THROWS_AS((void)port.receive(Deadline()), Error);
    port.alive();
    std::array<char, 100> bytes;
    CHECK(std::string(bytes.data(), read_some(out.read.get(), bytes).value()) == "{\"type\":\"alive\"}\n");
}

TEST_CASE("channel port: a file that is to be sent comes in pieces, and what is said meanwhile is kept") {
    Joined joined;
    json::Value frame = deliver("7");
    frame.set("file", json::Value::object({{"name", "a.txt"}, {"mime", "text/plain"}, {"size", 6}, {"kind", "file"}}));
    const auto data = [](int64_t at, const char* bytes) {
        return json::Value::object({{"type", "data"}, {"id", "7"}, {"at", at}, {"data", bytes}});
    };
    SUBCASE("whole") {
        joined.warden.send(data(0, "YWJj"));
        joined.warden.send(deliver("8"));
        joined.warden.send(data(3, "ZGVm"));
        std::string into = "before ";
        CHECK(joined.port.pull(frame, into));
        CHECK(into == "before abcdef");
        CHECK(joined.port.receive(Deadline())->text("id") == "8");
        CHECK(joined.next().integer("at") == 0);
        CHECK(joined.next().integer("at") == 3);
    }
    SUBCASE("not to be had, in the wrong place, or more than was said: none") {
        joined.warden.send(data(0, "YWJj"));
        SUBCASE("none") { joined.warden.send(data(3, "")); }
        SUBCASE("place") { joined.warden.send(data(2, "ZGVm")); }
        SUBCASE("more") { joined.warden.send(data(3, "ZGVmZGVm")); }
        SUBCASE("end") { joined.warden.close(); }
        std::string into;
        CHECK(!joined.port.pull(frame, into));
    }
}

TEST_CASE("channel port: what was fetched goes out in pieces that a frame holds") {
    Joined joined;
    std::thread sends([&] {
        joined.port.data("f", std::string(1'200'000, 'x'));
        joined.port.fetched("f", 1'200'000);
        joined.port.not_fetched("g", "no");
    });
    size_t size = 0;
    json::Value frame = joined.next();
    for (; frame.text("type") == "data"; frame = joined.next()) size += decode_base64(frame.text("data")).size();
    CHECK(size == 1'200'000);
    CHECK(frame.integer("size") == 1'200'000);
    CHECK(joined.next().text("error") == "no");
    sends.join();
}

TEST_CASE("multipart: each part stands between boundaries, and no name breaks out of its quotes") {
    Multipart parts;
    parts.field("chat_id", "5");
    parts.file("document", "a\"\r\nX: y", "text/plain");
    parts.body() += "bytes";
    const std::string line = parts.content_type(), boundary = line.substr(line.find('=') + 1);
    CHECK(parts.finish() == "--" + boundary + "\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n5\r\n--" +
                                boundary + "\r\nContent-Disposition: form-data; name=\"document\"; filename=\"a%22  X: y\"" +
                                "\r\nContent-Type: text/plain\r\n\r\nbytes\r\n--" + boundary + "--\r\n");
}
