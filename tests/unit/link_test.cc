// The protocol without I/O: what one side writes, what a hostile side may write, and what must come
// of it. The port has link_port_test.cc.
#include "link.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "error.h"

using namespace peacrab;
using Kind = Link::Event::Kind;
using Side = Link::Side;

namespace {

const std::string kNonce = "0123456789abcdef";
enum Type : uint8_t { kAttach = 1, kAttached, kOpen, kData, kCredit, kFinish, kReset };

std::string u32(uint32_t value) {
    std::string out;
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xff);
    return out;
}

// A frame as a hostile peer may write it.
std::string raw(uint8_t type, StreamId stream, uint32_t epoch, std::string_view payload = {}) {
    std::string out = "PCLK";
    out += static_cast<char>(type);
    out += '\0';
    out += static_cast<char>(payload.size() & 0xff);
    out += static_cast<char>(payload.size() >> 8);
    return out + u32(stream) + u32(epoch) + std::string(payload);
}

struct Frame {
    uint8_t type;
    StreamId stream;
    uint32_t epoch;
    std::string payload;
};

std::vector<Frame> frames_of(std::string_view bytes) {
    std::vector<Frame> out;
    const auto number = [](std::string_view text) {
        uint32_t value = 0;
        for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(text[i]);
        return value;
    };
    while (!bytes.empty()) {
        REQUIRE(bytes.size() >= 16);
        REQUIRE(bytes.substr(0, 4) == "PCLK");
        const size_t length = number(bytes.substr(4)) >> 16;
        REQUIRE(bytes.size() >= 16 + length);
        out.push_back({static_cast<uint8_t>(bytes[4]), number(bytes.substr(8)),
                       number(bytes.substr(12)), std::string(bytes.substr(16, length))});
        bytes.remove_prefix(16 + length);
    }
    return out;
}

std::string take_output(Link& link) {
    std::string all;
    for (auto bytes = link.output(); !bytes.empty(); bytes = link.output()) {
        all += bytes;
        link.written(bytes.size());
    }
    return all;
}

std::vector<Link::Event> take_events(Link& link) {
    std::vector<Link::Event> all;
    for (Link::Event event; link.next(event);) all.push_back(event);
    return all;
}

// Moves all output both ways until both are quiet.
void settle(Link& a, Link& b) {
    for (int round = 0; round < 1000; ++round) {
        const std::string to_b = take_output(a), to_a = take_output(b);
        if (to_a.empty() && to_b.empty()) return;
        b.receive(to_b);
        a.receive(to_a);
    }
    FAIL("the links never came to rest");
}

struct Both {
    Link host{Side::Host}, guest{Side::Guest};
    explicit Both(uint32_t epoch = 1) {
        guest.set_hello("hello");
        host.attach(epoch, kNonce);
        settle(host, guest);
        REQUIRE(take_events(guest).size() == 1);
        const auto events = take_events(host);
        REQUIRE(events.size() == 1);
        REQUIRE(events[0].kind == Kind::Attached);
        REQUIRE(events[0].text == "hello");
    }
};

void refuses(Link& link, const std::string& bytes, const char* because) {
    std::string why;
    try {
        link.receive(bytes);
    } catch (const Error& error) {
        why = error.what();
    }
    INFO(why);
    CHECK(why.find(because) != std::string::npos);
}

}  // namespace

TEST_CASE("link: data goes both ways and ends by half-closes") {
    Both both;
    const StreamId chat = both.host.open("chat", "{\"a\":1}");
    CHECK(chat == 1);
    CHECK(both.host.send(chat, "ping") == 4);
    settle(both.host, both.guest);
    auto events = take_events(both.guest);
    REQUIRE(events.size() == 2);
    CHECK(events[0].kind == Kind::Opened);
    CHECK(events[0].text == "chat");
    CHECK(events[0].meta == "{\"a\":1}");
    CHECK(events[1].kind == Kind::Data);
    CHECK(events[1].text == "ping");

    both.guest.send(chat, "pong");
    both.guest.finish(chat);
    both.host.finish(chat);
    CHECK(both.host.send(chat, "late") == 0);
    settle(both.host, both.guest);
    events = take_events(both.host);
    REQUIRE(events.size() == 2);
    CHECK(events[0].text == "pong");
    CHECK(events[1].kind == Kind::Finished);
    CHECK_FALSE(both.host.alive(chat));
    CHECK_FALSE(both.guest.alive(chat));
}

TEST_CASE("link: bytes split anywhere give the same events") {
    Link host(Side::Host), guest(Side::Guest);
    host.attach(7, kNonce);
    guest.receive(take_output(host));
    host.receive(take_output(guest));
    take_events(host);
    const StreamId id = host.open("files", "x");
    host.send(id, std::string(300, 'q'));
    host.finish(id);
    const std::string bytes = raw(kAttach, 0, 7, kNonce) + "noise" + take_output(host);
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
        Link fresh(Side::Guest);
        fresh.receive(std::string_view(bytes).substr(0, cut));
        fresh.receive(std::string_view(bytes).substr(cut));
        const auto events = take_events(fresh);
        REQUIRE(events.size() == 4);
        CHECK(events[2].text == std::string(300, 'q'));
        CHECK(fresh.garbage() == 5);
    }
    Link slow(Side::Guest);
    for (const char byte : bytes) slow.receive({&byte, 1});
    CHECK(take_events(slow).size() == 4);
}

TEST_CASE("link: short writes lose nothing") {
    Both both;
    const StreamId id = both.host.open("files");
    std::string sent(50'000, '\0'), got;
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 7);
    REQUIRE(both.host.send(id, sent) == sent.size());
    size_t step = 1;
    for (auto bytes = both.host.output(); !bytes.empty(); bytes = both.host.output()) {
        const size_t size = std::min(bytes.size(), step++ % 97 + 1);
        both.guest.receive(bytes.substr(0, size));
        both.host.written(size);
    }
    for (const auto& event : take_events(both.guest)) {
        if (event.kind == Kind::Data) got += event.text;
    }
    CHECK(got == sent);
}

TEST_CASE("link: garbage before, between and in front of a cut magic is skipped and counted") {
    Link guest(Side::Guest);
    guest.receive("[    0.1] booting PCL PCPCLKx");
    guest.receive(std::string(100, '\0') + "PC");
    guest.receive(raw(kAttach, 0, 1, kNonce).substr(0, 20));
    guest.receive(raw(kAttach, 0, 1, kNonce).substr(20));
    CHECK(guest.attached());
    guest.receive("junk" + raw(kOpen, 1, 1, "chat\n") + "PCLK\xff\xff\xff\xff");
    guest.receive(raw(kOpen, 3, 1, "chat\n"));
    CHECK(take_events(guest).size() == 3);
    CHECK(guest.garbage() == 29 + 102 + 4 + 8);
}

TEST_CASE("link: garbage without end is an error") {
    Link guest(Side::Guest);
    CHECK_THROWS_AS(for (int i = 0; i < 20; ++i) guest.receive(std::string(64 << 10, 'z')), Error);
    CHECK(guest.footprint() < 100);
    CHECK_THROWS_AS(guest.receive("x"), Error);
}

TEST_CASE("link: a host finds the answer in the tail of an old epoch, whatever is in it") {
    Link host(Side::Host);
    host.attach(2, kNonce);
    take_output(host);
    // Old frames whose payload imitates frames of the new epoch.
    std::string old = raw(kData, 2, 1, raw(kAttached, 0, 2, std::string(16, 'x') + "forged"));
    old += raw(kData, 2, 1, raw(kData, 2, 2, "forged").substr(0, 14));
    old = old.substr(5);
    for (int i = 0; i < 200; ++i) old += raw(kData, 2, 1, std::string(30'000, 'd'));
    host.receive(old);
    CHECK_FALSE(host.attached());
    host.receive(raw(kAttached, 0, 2, kNonce + "true"));
    const auto events = take_events(host);
    REQUIRE(events.size() == 1);
    CHECK(events[0].text == "true");
    CHECK(host.garbage() < 1000);  // frames of an old epoch are no garbage
}

TEST_CASE("link: a guest restored in the middle of a frame hears the new epoch") {
    Both both;
    const std::string old = raw(kData, 1, 1, std::string(32 << 10, 'o'));
    both.guest.receive(raw(kOpen, 1, 1, "chat\n"));
    both.guest.receive(std::string_view(old).substr(0, 100));
    Link host(Side::Host);
    host.attach(2, kNonce);
    host.receive(take_output(both.guest));
    settle(host, both.guest);
    CHECK(host.attached());
    CHECK_FALSE(both.guest.alive(1));
    for (const auto& event : take_events(both.guest)) CHECK(event.kind == Kind::Attached);
}

TEST_CASE("link: a new epoch in the middle of a transfer ends every stream and nothing else") {
    Both both;
    const StreamId id = both.host.open("files");
    both.host.send(id, std::string(60'000, 'a'));
    auto bytes = both.host.output();
    both.guest.receive(bytes.substr(0, bytes.size() / 2));
    both.host.written(bytes.size() / 2);
    const StreamId back = both.guest.open("model");
    both.guest.send(back, std::string(60'000, 'b'));
    bytes = both.guest.output();
    both.host.receive(bytes.substr(0, 5000));
    both.guest.written(5000);

    both.host.attach(2, "fedcba9876543210");
    CHECK_FALSE(both.host.alive(id));
    CHECK_FALSE(both.host.attached());
    CHECK_THROWS_AS(both.host.open("chat"), Error);
    settle(both.host, both.guest);
    CHECK(both.host.attached());
    CHECK_FALSE(both.guest.alive(id));
    CHECK_FALSE(both.guest.alive(back));
    CHECK(take_events(both.guest).back().kind == Kind::Attached);
    for (const auto& event : take_events(both.host)) CHECK(event.kind == Kind::Attached);
    CHECK(both.guest.garbage() <= Link::kMaxPayload + Link::kHeader);

    CHECK(both.host.open("chat") == 1);
    settle(both.host, both.guest);
    CHECK(both.guest.alive(1));
}

TEST_CASE("link: a frame that has gone out in part is ended before a new attach") {
    Both both;
    both.host.send(both.host.open("files"), std::string(60'000, 'a'));
    const auto bytes = both.host.output();
    both.guest.receive(bytes.substr(0, bytes.size() / 2));
    both.host.written(bytes.size() / 2);
    // The same epoch number: no filler comes to the rescue.
    both.host.attach(1, "fedcba9876543210");
    const std::string rest = take_output(both.host);
    REQUIRE(rest.size() > 32);
    for (const char byte : rest.substr(0, rest.size() - 32)) {
        both.guest.receive({&byte, 1});
        for (const auto& event : take_events(both.guest)) {
            if (event.kind != Kind::Data) continue;
            CHECK(event.text.find_first_not_of('a') == std::string::npos);
        }
    }
    both.guest.receive(rest.substr(rest.size() - 32));
    const auto events = take_events(both.guest);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == Kind::Attached);
    CHECK(both.guest.garbage() == 0);
}

TEST_CASE("link: a repeated attach is answered and kills nothing") {
    Both both;
    const StreamId id = both.host.open("chat");
    settle(both.host, both.guest);
    take_events(both.guest);
    both.guest.receive(raw(kAttach, 0, 1, kNonce));
    both.guest.receive(raw(kAttach, 0, 1, kNonce));
    CHECK(take_events(both.guest).empty());
    CHECK(both.guest.alive(id));
    const std::string answer = take_output(both.guest);
    CHECK(frames_of(answer).size() == 1);  // one answer is enough for those not yet answered
    both.host.receive(answer);
    CHECK(take_events(both.host).empty());
    CHECK(both.host.alive(id));

    both.host.repeat_attach();  // after the answer there is nothing to repeat
    CHECK(take_output(both.host).empty());
}

TEST_CASE("link: the same epoch with another nonce is a new epoch") {
    Both both;
    both.host.open("chat");
    settle(both.host, both.guest);
    take_events(both.guest);
    both.guest.receive(raw(kAttach, 0, 1, "another nonce..."));
    CHECK(take_events(both.guest).size() == 1);
    CHECK_FALSE(both.guest.alive(1));
}

TEST_CASE("link: an answer with a wrong nonce does not attach") {
    Link host(Side::Host);
    host.receive(raw(kAttached, 0, 0, std::string(16, '\0')));  // before any attach
    CHECK_FALSE(host.attached());
    host.attach(1, kNonce);
    host.receive(raw(kAttached, 0, 1, "0123456789abcdeX"));
    CHECK_FALSE(host.attached());
    host.receive(raw(kAttached, 0, 1, kNonce));
    CHECK(host.attached());
    refuses(host, raw(kAttached, 0, 1, "0123456789abcdeX"), "another nonce");
}

TEST_CASE("link: a hello longer than kMaxHello is refused on both sides") {
    Link guest(Side::Guest);
    CHECK_THROWS_AS(guest.set_hello(std::string(Link::kMaxHello + 1, 'h')), Error);
    guest.set_hello(std::string(Link::kMaxHello, 'h'));
    Link host(Side::Host);
    host.attach(1, kNonce);
    settle(host, guest);
    CHECK(take_events(host).at(0).text.size() == Link::kMaxHello);

    Link other(Side::Host);
    other.attach(1, kNonce);
    refuses(other, raw(kAttached, 0, 1, kNonce + std::string(Link::kMaxHello + 1, 'h')), "hello");
}

TEST_CASE("link: a sender stops at the credit and goes on when it is given back") {
    Both both;
    const StreamId id = both.host.open("files");
    const std::string bulk(Link::kWindow * 4, 'x');
    size_t sent = 0;
    const auto push = [&] {
        for (int i = 0; i < 100; ++i) {
            sent += both.host.send(id, std::string_view(bulk).substr(sent));
            both.guest.receive(take_output(both.host));
        }
    };
    push();
    CHECK(sent == Link::kWindow);
    CHECK(both.host.window(id) == 0);
    take_events(both.host);
    take_events(both.guest);
    both.guest.consumed(id, Link::kWindow / 4 - 1);
    CHECK(take_output(both.guest).empty());  // returned in steps
    both.guest.consumed(id, 1);
    both.host.receive(take_output(both.guest));
    const auto events = take_events(both.host);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == Kind::Writable);
    push();
    CHECK(sent == Link::kWindow + Link::kWindow / 4);
}

TEST_CASE("link: a peer that exceeds its credit is cut off") {
    Both both;
    both.host.receive(raw(kOpen, 2, 1, "log\n"));
    const std::string full(Link::kMaxPayload, 'x');
    for (size_t i = 0; i < Link::kWindow / Link::kMaxPayload; ++i) {
        both.host.receive(raw(kData, 2, 1, full));
    }
    refuses(both.host, raw(kData, 2, 1, "x"), "more data than credit");
    CHECK_THROWS_AS(both.host.receive({}), Error);
}

TEST_CASE("link: credit for bytes that were never sent is refused") {
    for (const std::string& credit : {u32(1), u32(0), u32(UINT32_MAX), std::string("abc")}) {
        Both both;
        both.host.open("chat");
        take_output(both.host);
        CHECK_THROWS_AS(both.host.receive(raw(kCredit, 1, 1, credit)), Error);
    }
    Both both;
    both.host.open("chat");
    both.host.send(1, "queued, not sent");
    CHECK_THROWS_AS(both.host.receive(raw(kCredit, 1, 1, u32(5))), Error);
}

TEST_CASE("link: a side opens only its own kinds") {
    for (const char* kind : {"control", "chat", "files", "", "shell", "model ", "Model"}) {
        Both both;
        CHECK_THROWS_AS(both.guest.open(kind), Error);
        both.host.receive(raw(kOpen, 2, 1, std::string(kind) + "\nmeta"));
        CHECK(take_events(both.host).empty());
        CHECK_FALSE(both.host.alive(2));
        const auto frames = frames_of(take_output(both.host));
        REQUIRE(frames.size() == 1);
        CHECK(frames[0].type == kReset);
        CHECK(frames[0].stream == 2);
        both.host.receive(raw(kData, 2, 1, "was on its way"));  // no breach
    }
    Both both;
    for (const char* kind : {"model", "egress", "search", "audit", "log", "notify"}) {
        CHECK_THROWS_AS(both.host.open(kind), Error);
        both.guest.open(kind);
    }
    settle(both.host, both.guest);
    CHECK(take_events(both.host).size() == 6);
}

TEST_CASE("link: stream ids that are ours, used, zero or never opened are breaches") {
    const auto breach = [](const std::string& bytes) {
        Both both;
        both.host.open("chat");
        settle(both.host, both.guest);
        both.host.receive(raw(kOpen, 6, 1, "log\n"));
        take_events(both.host);
        CHECK_THROWS_AS(both.host.receive(bytes), Error);
    };
    breach(raw(kOpen, 1, 1, "log\n"));
    breach(raw(kOpen, 3, 1, "log\n"));
    breach(raw(kOpen, 0, 1, "log\n"));
    breach(raw(kOpen, 6, 1, "log\n"));
    breach(raw(kOpen, 4, 1, "log\n"));
    breach(raw(kReset, 6, 1) + raw(kOpen, 6, 1, "log\n"));
    breach(raw(kData, 8, 1, "x"));
    breach(raw(kData, 3, 1, "x"));
    breach(raw(kData, 0, 1, "x"));
    breach(raw(kFinish, 8, 1));
    breach(raw(kReset, 8, 1));
    breach(raw(kCredit, 8, 1, u32(1)));
}

TEST_CASE("link: frames that contradict what was said are breaches") {
    const auto breach = [](const std::string& bytes, const char* because) {
        Both both;
        both.host.receive(raw(kOpen, 2, 1, "log\n"));
        refuses(both.host, bytes, because);
    };
    breach(raw(kData, 2, 1), "empty data");
    breach(raw(kFinish, 2, 1) + raw(kData, 2, 1, "x"), "after the end");
    breach(raw(kFinish, 2, 1) + raw(kFinish, 2, 1), "finish");
    breach(raw(kFinish, 2, 1, "x"), "finish");
    breach(raw(kReset, 2, 1, std::string(Link::kMaxReason + 1, 'r')), "reason");
    breach(raw(kOpen, 4, 1, "log\n" + std::string(Link::kMaxOpen, 'm')), "too long");
    breach(raw(kAttach, 0, 1, kNonce), "attach");
    Both both;
    refuses(both.guest, raw(kAttached, 0, 1, kNonce), "attach");
}

TEST_CASE("link: the 257th stream is reset, and can be opened when one has gone") {
    Both both;
    for (size_t i = 0; i < Link::kMaxStreams; ++i) both.guest.open("egress");
    CHECK_THROWS_AS(both.guest.open("egress"), Error);
    settle(both.host, both.guest);
    CHECK(take_events(both.host).size() == Link::kMaxStreams);
    CHECK_THROWS_AS(both.host.open("chat"), Error);
    both.host.receive(raw(kOpen, 514, 1, "egress\n"));
    CHECK(take_events(both.host).empty());
    const auto frames = frames_of(take_output(both.host));
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].type == kReset);
    CHECK(frames[0].stream == 514);
    both.host.reset(2, "enough");
    both.host.receive(raw(kOpen, 516, 1, "egress\n"));
    CHECK(both.host.alive(516));
}

TEST_CASE("link: a peer that opens for ever and reads nothing is cut off, in bounded memory") {
    Both both;
    uint32_t id = 0;
    size_t most = 0;
    CHECK_THROWS_AS(
        for (int i = 0; i < 200'000; ++i) {
            both.host.receive(raw(kOpen, id += 2, 1, "shell\n"));
            most = std::max(most, both.host.footprint());
        },
        Error);
    CHECK(most < Link::kMaxControl + Link::kMaxWrite);
}

TEST_CASE("link: a reset drops what is queued and tells the peer at once") {
    Both both;
    const StreamId id = both.host.open("files");
    settle(both.host, both.guest);
    take_events(both.guest);
    both.host.send(id, std::string(60'000, 'x'));
    both.host.reset(id, std::string(1000, 'r'));
    CHECK_FALSE(both.host.alive(id));
    CHECK(both.host.window(id) == 0);
    CHECK(both.host.send(id, "x") == 0);
    const auto frames = frames_of(take_output(both.host));
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].type == kReset);
    CHECK(frames[0].payload.size() == Link::kMaxReason);
    both.guest.receive(raw(kReset, id, 1, "why"));
    const auto events = take_events(both.guest);
    REQUIRE(events.size() == 1);
    CHECK(events[0].text == "why");
    both.host.receive(raw(kData, id, 1, "was on its way"));
    CHECK(take_events(both.host).empty());
}

TEST_CASE("link: a chat passes a bulk transfer, and control passes both") {
    Both both;
    const StreamId bulk = both.host.open("files"), chat = both.host.open("chat");
    take_output(both.host);
    both.host.send(bulk, std::string(Link::kMaxQueue, 'b'));
    both.host.send(chat, "a word");
    const StreamId third = both.host.open("control");
    const std::string batch(both.host.output());
    CHECK(batch.size() <= Link::kMaxWrite);
    const auto frames = frames_of(batch);
    REQUIRE(frames.size() >= 4);
    CHECK(frames[0].stream == third);
    CHECK(frames[1].stream == bulk);
    CHECK(frames[1].payload.size() <= 8 << 10);
    CHECK(frames[2].stream == chat);
    CHECK(frames[3].stream == bulk);
}

TEST_CASE("link: many small frames share one write") {
    Both both;
    for (int i = 0; i < 100; ++i) both.host.send(both.host.open("chat"), "hi");
    CHECK(frames_of(both.host.output()).size() == 200);
}

// Everything a mutated conversation can do to one side: an Error or events, in bounded memory.
TEST_CASE("link: 20,000 mutated byte strings give only events or errors") {
    std::mt19937 random(20240607);
    const auto pick = [&random](size_t below) { return static_cast<size_t>(random() % below); };
    int attached = 0, errors = 0, events = 0;
    for (int run = 0; run < 20'000; ++run) {
        const bool host = run % 2 == 0;
        Link link(host ? Side::Host : Side::Guest);
        if (host) link.attach(1, kNonce);
        std::string bytes = raw(host ? kAttached : kAttach, 0, 1, kNonce);
        const StreamId first = host ? 2 : 1;
        const std::string open = host ? "model\nx" : "chat\nx";
        StreamId opened = 0;
        for (size_t n = pick(12); n > 0; --n) {
            if (opened == 0 || pick(4) == 0) {
                bytes += raw(kOpen, first + 2 * opened++, 1, pick(9) == 0 ? "what\n" : open);
                continue;
            }
            const auto id = static_cast<StreamId>(first + 2 * pick(opened));
            const uint32_t epoch = pick(9) == 0 ? 2 : 1;
            if (pick(9) == 0)
                bytes += raw(kCredit, id, epoch, u32(static_cast<uint32_t>(pick(5))));
            else if (pick(6) == 0)
                bytes += raw(pick(2) == 0 ? kReset : kFinish, id, epoch);
            else
                bytes += raw(kData, id, epoch, std::string(pick(pick(2) == 0 ? 9 : 32'768), 'p'));
        }
        for (size_t n = pick(4); n > 0; --n) {
            const size_t at = pick(bytes.size());
            if (pick(3) == 0)
                bytes.erase(at, pick(20));
            else if (pick(2) == 0)
                bytes.insert(at, std::string(pick(20), static_cast<char>(pick(256))));
            else
                bytes[at] = static_cast<char>(pick(256));
            if (bytes.empty()) bytes = "x";
        }
        try {
            for (size_t at = 0; at < bytes.size();) {
                const size_t size = pick(4) == 0 ? pick(50) + 1 : pick(70'000) + 1;
                link.receive(std::string_view(bytes).substr(at, size));
                at += size;
                REQUIRE(link.footprint() <= bytes.size() + Link::kMaxControl + Link::kMaxWrite);
                for (Link::Event event; link.next(event); ++events) {
                    if (event.kind == Kind::Data) link.consumed(event.stream, event.text.size());
                    if (event.kind == Kind::Opened && pick(3) == 0) link.reset(event.stream, "no");
                    if (event.kind == Kind::Opened) link.send(event.stream, "yes");
                    if (event.kind == Kind::Finished) link.finish(event.stream);
                }
                if (pick(2) == 0) take_output(link);
            }
        } catch (const Error&) {
            ++errors;
        }
        attached += link.attached() ? 1 : 0;
    }
    // The mutations are neither all harmless nor all deadly.
    CHECK(attached > 10'000);
    CHECK(errors > 2'000);
    CHECK(errors < 18'000);
    CHECK(events > 20'000);
}
