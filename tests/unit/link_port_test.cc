// Two ports, or one port and a hostile Link, on socketpairs in one loop.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "error.h"
#include "link.h"

using namespace peacrab;
using Side = Link::Side;

namespace {

// Writes what `fd` takes without blocking.
size_t put(const UniqueFd& fd, std::string_view bytes) {
    const ssize_t size = ::send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return size < 0 ? 0 : static_cast<size_t>(size);
}

std::string get(const UniqueFd& fd) {
    std::string all(256 << 10, '\0');
    const ssize_t size = ::recv(fd.get(), all.data(), all.size(), MSG_DONTWAIT);
    all.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return all;
}

bool ended(const UniqueFd& fd) {
    char byte;
    const ssize_t size = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return size == 0 || (size < 0 && errno == ECONNRESET);
}

// Rounds of the loop until `done`, at most `most` of them.
template <typename Done>
bool run(Loop& loop, Done done, int most = 20'000) {
    for (int i = 0; i < most; ++i) {
        if (done()) return true;
        loop.run_once(Milliseconds(i < 100 ? 0 : 1));
    }
    return done();
}

// A side and all that it was told.
struct Peer {
    std::unique_ptr<LinkPort> port;
    LinkPort::Handlers handlers;
    std::string log;
    std::string data;
    StreamId last = 0;

    Peer() {
        handlers.attached = [this](const std::string& hello) { log += "attached(" + hello + ") "; };
        handlers.opened = [this](StreamId id, const std::string& kind, const std::string& meta) {
            last = id;
            log += "opened(" + kind + "," + meta + ") ";
        };
        handlers.data = [this](StreamId, std::string_view bytes) { data += bytes; };
        handlers.finished = [this](StreamId) { log += "finished "; };
        handlers.reset = [this](StreamId, const std::string& why) { log += "reset(" + why + ") "; };
        handlers.broken = [this](const std::string&) { log += "broken "; };
    }
    bool told(const char* what) const { return log.find(what) != std::string::npos; }
};

struct Pair {
    Loop loop;
    Peer host, guest;
    Pair() {
        auto wire = SocketPair::stream();
        start(std::move(wire.ours), std::move(wire.theirs));
    }
    void start(UniqueFd ours, UniqueFd theirs) {
        host.port = std::make_unique<LinkPort>(loop, std::move(ours), Side::Host, host.handlers);
        guest.port =
            std::make_unique<LinkPort>(loop, std::move(theirs), Side::Guest, guest.handlers);
        guest.port->set_hello("hi");
        host.port->attach(1);
        REQUIRE(run(loop, [&] { return host.told("attached(hi)"); }));
    }
};

// A port whose peer is played by the test.
struct Alone {
    Loop loop;
    Peer peer;
    UniqueFd wire;
    Link other;
    explicit Alone(Side side) : other(side == Side::Host ? Side::Guest : Side::Host) {
        auto pair = SocketPair::stream();
        wire = std::move(pair.theirs);
        peer.port = std::make_unique<LinkPort>(loop, std::move(pair.ours), side, peer.handlers);
        if (side == Side::Host) {
            peer.port->attach(1);
        } else {
            other.attach(1, "0123456789abcdef");
        }
        REQUIRE(run(loop, [&] { return exchange() && other.attached() && peer.log != ""; }));
    }
    bool exchange() {
        other.receive(get(wire));
        flush();
        return true;
    }
    void flush() {
        for (auto bytes = other.output(); !bytes.empty(); bytes = other.output()) {
            const size_t size = put(wire, bytes);
            other.written(size);
            if (size == 0) return;
        }
    }
};

std::string pattern(size_t size) {
    std::string out(size, '\0');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 31 >> 3);
    return out;
}

}  // namespace

TEST_CASE("link port: frames of a kept stream go both ways, then both sides forget it") {
    Pair pair;
    const StreamId chat = pair.host.port->open("chat", "m");
    pair.host.port->send(chat, "question");
    pair.host.port->finish(chat);
    REQUIRE(run(pair.loop, [&] { return pair.guest.told("finished"); }));
    CHECK(pair.guest.log == "attached() opened(chat,m) finished ");
    CHECK(pair.guest.data == "question");
    pair.guest.port->send(chat, "answer");
    pair.guest.port->finish(chat);
    REQUIRE(run(pair.loop, [&] { return pair.host.told("finished"); }));
    CHECK(pair.host.data == "answer");
    pair.host.port->send(chat, "nobody");  // ignored
}

TEST_CASE("link port: a kept stream carries more than its window, in order") {
    Pair pair;
    const std::string text = pattern(3 << 20);
    const StreamId id = pair.host.port->open("files");
    pair.host.port->send(id, text);
    pair.host.port->finish(id);
    REQUIRE(run(pair.loop, [&] { return pair.guest.told("finished"); }));
    CHECK((pair.guest.data == text));
    pair.guest.port->finish(id);
}

TEST_CASE("link port: a kept stream whose peer does not read is reset at kMaxQueued") {
    Alone host(Side::Host);
    const StreamId id = host.peer.port->open("files");
    const std::string piece(1 << 20, 'x');
    for (int i = 0; i < 4; ++i) host.peer.port->send(id, piece);
    CHECK_FALSE(host.peer.told("reset"));
    host.peer.port->send(id, piece);
    CHECK_FALSE(host.peer.told("reset"));  // never from inside the call
    host.peer.port->send(id, piece);
    host.loop.run_once(Milliseconds(0));
    CHECK(host.peer.log == "attached() reset(too much is queued for a peer that does not read) ");
}

TEST_CASE("link port: joined sockets carry bytes and half-closes both ways") {
    Pair pair;
    auto near = SocketPair::stream(), far = SocketPair::stream();
    int ends = 0;
    pair.guest.port->join(pair.guest.port->open("egress", "cell"), std::move(near.ours),
                          [&] { ++ends; });
    REQUIRE(run(pair.loop, [&] { return pair.host.told("opened(egress,cell)"); }));
    pair.host.port->join(pair.host.last, std::move(far.ours), [&] { ++ends; });

    const std::string text = pattern(2 << 20);
    std::string up, down;
    size_t up_sent = 0, down_sent = 0;
    const auto pump = [&] {
        up_sent += put(near.theirs, std::string_view(text).substr(up_sent));
        if (up_sent == text.size()) ::shutdown(near.theirs.get(), SHUT_WR);
        up += get(far.theirs);
        // The other way stays open after the half-close.
        if (up.size() == text.size()) {
            down_sent += put(far.theirs, std::string_view(text).substr(down_sent));
        }
        down += get(near.theirs);
        return down.size() == text.size();
    };
    REQUIRE(run(pair.loop, pump));
    CHECK((up == text));
    CHECK((down == text));
    CHECK(ended(far.theirs));
    CHECK(ends == 0);
    far.theirs.reset();
    REQUIRE(run(pair.loop, [&] { return ends == 2; }));
    CHECK(ended(near.theirs));
    CHECK_FALSE(pair.host.told("finished"));  // a joined stream's end is told by `ended` alone
}

TEST_CASE("link port: what was sent before a join comes before the socket's bytes") {
    Pair pair;
    auto near = SocketPair::stream();
    const StreamId id = pair.host.port->open("files");
    const std::string first = pattern(1 << 20);
    pair.host.port->send(id, first);
    put(near.theirs, "after");
    pair.host.port->join(id, std::move(near.ours));
    REQUIRE(run(pair.loop, [&] { return pair.guest.data.size() == first.size() + 5; }));
    CHECK((pair.guest.data == first + "after"));
}

TEST_CASE("link port: a joined socket is not read beyond what a silent peer granted") {
    Alone host(Side::Host);
    auto near = SocketPair::stream();
    const StreamId id = host.peer.port->open("files");
    const std::string text = pattern(4 << 20);
    // An odd beginning: the window never ends where a read does.
    host.peer.port->send(id, std::string_view(text).substr(0, 1001));
    host.peer.port->join(id, std::move(near.ours));
    size_t taken = 1001;
    for (int i = 0; i < 500; ++i) {
        taken += put(near.theirs, std::string_view(text).substr(taken, 64 << 10));
        host.loop.run_once(Milliseconds(0));
        host.other.receive(get(host.wire));  // the pipe is read, the stream is not
    }
    // The window, and what the kernel buffers of one socket.
    CHECK(taken < Link::kWindow + (512 << 10));
    std::string got;
    bool finished = false;
    const auto drain = [&] {
        size_t fresh = 0;
        for (Link::Event event; host.other.next(event);) {
            if (event.kind == Link::Event::Kind::Data) fresh += event.text.size();
            if (event.kind == Link::Event::Kind::Data) got += event.text;
            finished = finished || event.kind == Link::Event::Kind::Finished;
        }
        return fresh;
    };
    const size_t held = drain();
    CHECK(held == Link::kWindow);

    // A local hang-up meanwhile does not make the loop spin; nothing of what was written is lost.
    near.theirs.reset();
    const auto start = std::chrono::steady_clock::now();
    host.loop.run_once(Milliseconds(20));
    host.loop.run_once(Milliseconds(20));
    CHECK(std::chrono::steady_clock::now() - start >= Milliseconds(20));
    host.other.consumed(id, held);
    REQUIRE(run(host.loop, [&] {
        host.exchange();
        host.other.consumed(id, drain());
        return finished;
    }));
    CHECK((got == text.substr(0, taken)));
}

TEST_CASE("link port: a joined socket that is not read gives no credit back") {
    Alone host(Side::Host);
    auto far = SocketPair::stream();
    const StreamId id = host.other.open("egress");
    host.flush();
    REQUIRE(run(host.loop, [&] { return host.peer.told("opened"); }));
    host.peer.port->join(id, std::move(far.ours));
    const std::string text = pattern(4 << 20);
    size_t sent = 0;
    const auto push = [&] {
        sent += host.other.send(id, std::string_view(text).substr(sent));
        host.exchange();
        host.loop.run_once(Milliseconds(0));
    };
    for (int i = 0; i < 500; ++i) push();
    CHECK(sent < Link::kWindow * 2 + (512 << 10));
    std::string got;
    for (int i = 0; i < 5000 && got.size() < text.size(); ++i) {
        push();
        got += get(far.theirs);
    }
    CHECK((got == text));
}

TEST_CASE("link port: a local socket that breaks resets the stream, and the other way round") {
    Pair pair;
    auto near = SocketPair::stream(), far = SocketPair::stream();
    int ends = 0;
    pair.guest.port->join(pair.guest.port->open("egress"), std::move(near.ours), [&] { ++ends; });
    REQUIRE(run(pair.loop, [&] { return pair.host.last != 0; }));
    pair.host.port->join(pair.host.last, std::move(far.ours), [&] { ++ends; });
    near.theirs.reset();
    // The first write finds out, whenever it comes.
    REQUIRE(run(pair.loop, [&] {
        put(far.theirs, "anybody there");
        return ends == 2;
    }));
    CHECK(ended(far.theirs));
}

TEST_CASE("link port: the owner's reset ends a join once, after the call") {
    Pair pair;
    auto near = SocketPair::stream();
    int ends = 0;
    const StreamId id = pair.host.port->open("files");
    pair.host.port->join(id, std::move(near.ours), [&] { ++ends; });
    pair.host.port->reset(id, "enough");
    pair.host.port->reset(id, "twice");
    CHECK(ends == 0);
    REQUIRE(run(pair.loop, [&] { return pair.guest.told("reset(enough)"); }));
    CHECK(ends == 1);
    CHECK(ended(near.theirs));
    auto late = SocketPair::stream();
    pair.host.port->join(id, std::move(late.ours), [&] { ++ends; });
    REQUIRE(run(pair.loop, [&] { return ends == 2; }));
    CHECK(ended(late.theirs));
}

TEST_CASE("link port: handlers may reset, join and drop anything from inside") {
    Loop loop;
    auto wire = SocketPair::stream();
    Peer host, guest;
    std::vector<UniqueFd> sockets;
    guest.handlers.opened = [&](StreamId id, const std::string&, const std::string& meta) {
        if (meta == "reset") return guest.port->reset(id, "no");
        if (meta == "finish") return guest.port->finish(id);
        if (meta == "drop") return guest.port.reset();
        auto pair = SocketPair::stream();
        guest.port->join(id, std::move(pair.ours), [&, id] { guest.port->reset(id, "again"); });
        sockets.push_back(std::move(pair.theirs));
    };
    host.handlers.reset = [&](StreamId id, const std::string&) {
        host.port->reset(id, "gone anyway");
        if (host.port->attached()) host.port->open("chat", "finish");
    };
    host.port = std::make_unique<LinkPort>(loop, std::move(wire.ours), Side::Host, host.handlers);
    guest.port =
        std::make_unique<LinkPort>(loop, std::move(wire.theirs), Side::Guest, guest.handlers);
    host.port->attach(1);
    REQUIRE(run(loop, [&] { return host.port->attached(); }));
    for (const char* meta : {"reset", "finish", "join", "reset", "join"}) {
        host.port->send(host.port->open("chat", meta), "bytes behind it");
    }
    std::string got;
    REQUIRE(run(loop, [&] {
        for (const auto& socket : sockets) got += get(socket);
        return got == "bytes behind itbytes behind it";
    }));
    for (const char* meta : {"join", "drop", "join"}) host.port->open("chat", meta);
    REQUIRE(run(loop, [&] { return host.told("broken") && !guest.port; }));
    CHECK(sockets.size() == 3);
    for (const auto& socket : sockets) CHECK(ended(socket));
    CHECK_THROWS_AS(host.port->open("chat"), Error);
}

TEST_CASE("link port: a new epoch tells every owner, then attaches") {
    Pair pair;
    int ends = 0;
    auto near = SocketPair::stream(), far = SocketPair::stream();
    pair.host.port->open("chat");
    pair.guest.port->join(pair.guest.port->open("model"), std::move(near.ours), [&] { ++ends; });
    REQUIRE(run(pair.loop, [&] { return pair.host.last != 0 && pair.guest.last != 0; }));
    pair.host.port->join(pair.host.last, std::move(far.ours), [&] { ++ends; });
    put(near.theirs, std::string(100'000, 'x'));
    pair.loop.run_once(Milliseconds(0));
    pair.host.log.clear();
    pair.guest.log.clear();
    pair.host.port->attach(2);
    CHECK(pair.host.log.empty());
    REQUIRE(run(pair.loop, [&] { return pair.host.told("attached"); }));
    CHECK(pair.host.log == "reset(the link begins a new epoch) attached(hi) ");
    CHECK(pair.guest.log == "reset(the host began a new epoch) attached() ");
    CHECK(ends == 2);
    CHECK(ended(near.theirs));
    pair.host.port->send(pair.host.port->open("chat"), "new");
    REQUIRE(run(pair.loop, [&] { return pair.guest.data == "new"; }));
}

TEST_CASE("link port: the host says attach again until a guest hears it") {
    Loop loop;
    auto wire = SocketPair::stream();
    Peer host;
    host.port = std::make_unique<LinkPort>(loop, std::move(wire.ours), Side::Host, host.handlers);
    host.port->attach(1);
    Link guest(Side::Guest);
    bool lost = false;
    REQUIRE(run(loop, [&] {
        const std::string bytes = get(wire.theirs);
        if (!lost) {
            lost = !bytes.empty();  // the first one went to nobody
            return false;
        }
        guest.receive(bytes);
        return guest.attached();
    }));
    put(wire.theirs, guest.output());
    REQUIRE(run(loop, [&] { return host.told("attached"); }));
}

TEST_CASE("link port: for a host, end of file means broken; what came before is still told") {
    Alone host(Side::Host);
    host.other.send(host.other.open("log"), "last words");
    host.flush();
    const StreamId kept = host.peer.port->open("chat");
    int ends = 0;
    auto near = SocketPair::stream();
    host.peer.port->join(host.peer.port->open("files"), std::move(near.ours), [&] { ++ends; });
    host.wire.reset();
    REQUIRE(run(host.loop, [&] { return host.peer.told("broken"); }));
    CHECK(host.peer.data == "last words");
    CHECK(host.peer.told("reset(the link is broken"));
    CHECK(ends == 1);
    host.peer.port->send(kept, "x");
    host.peer.port->reset(kept, "x");
    host.peer.port->attach(2);
    CHECK_THROWS_AS(host.peer.port->open("chat"), Error);
}

TEST_CASE(
    "link port: a peer that breaks the protocol breaks the link, and its end can be dropped") {
    Loop loop;
    auto pair = SocketPair::stream();
    Peer host;
    host.handlers.broken = [&](const std::string& why) {
        host.log = why;
        host.port.reset();
    };
    host.port = std::make_unique<LinkPort>(loop, std::move(pair.ours), Side::Host, host.handlers);
    host.port->attach(1);
    put(pair.theirs, std::string(60'000, 'z'));
    for (int i = 0; i < 100 && host.port; ++i) {
        loop.run_once(Milliseconds(0));
        put(pair.theirs, std::string(60'000, 'z'));
    }
    CHECK_FALSE(host.port);
    CHECK(host.log == "link: too many bytes that are no frames");
    get(pair.theirs);
    CHECK(ended(pair.theirs));
}

TEST_CASE("link port: a guest outlives the absence of a host without spinning") {
    Loop loop;
    auto pair = SocketPair::stream();
    Peer guest;
    guest.port =
        std::make_unique<LinkPort>(loop, std::move(pair.ours), Side::Guest, guest.handlers);
    pair.theirs.reset();  // reads 0 with POLLHUP, as a port without a host
    const auto start = std::chrono::steady_clock::now();
    int rounds = 0;
    while (std::chrono::steady_clock::now() - start < Milliseconds(150)) {
        loop.run_once(Milliseconds(10));
        ++rounds;
    }
    CHECK(rounds < 40);
    CHECK_FALSE(guest.told("broken"));
}

TEST_CASE("link port: a guest that was without a host hears the next one") {
    // A fifo opened for reading and writing by nobody else stands for a port that reads 0 first.
    Loop loop;
    const std::string path = "/tmp/peacrab-link-" + random_hex(8);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    UniqueFd port(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    Peer guest;
    guest.port = std::make_unique<LinkPort>(loop, std::move(port), Side::Guest, guest.handlers);
    // No writer: end of file. Then a host that comes and goes, twice.
    for (int i = 0; i < 5; ++i) loop.run_once(Milliseconds(3));
    for (uint32_t epoch = 1; epoch <= 2; ++epoch) {
        UniqueFd host(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        REQUIRE(host);
        Link link(Side::Host);
        link.attach(epoch, "0123456789abcdef");
        for (auto bytes = link.output(); !bytes.empty(); bytes = link.output()) {
            write_all(host.get(), bytes);
            link.written(bytes.size());
        }
        guest.log.clear();
        CHECK(run(loop, [&] { return guest.told("attached"); }));
        host.reset();
        for (int i = 0; i < 5; ++i) loop.run_once(Milliseconds(3));
    }
    CHECK_FALSE(guest.told("broken"));
    ::unlink(path.c_str());
}

TEST_CASE("link port: a bulk stream delays a chat by little") {
    Pair pair;
    auto near = SocketPair::stream();
    const StreamId bulk = pair.host.port->open("files"), chat = pair.host.port->open("chat");
    size_t before = 0;
    bool answered = false;
    pair.host.port->join(bulk, std::move(near.ours));
    const std::string piece(64 << 10, 'b');
    for (int i = 0; i < 50; ++i) {
        put(near.theirs, piece);
        pair.loop.run_once(Milliseconds(0));
    }
    pair.guest.data.clear();
    pair.host.port->send(chat, "@");
    REQUIRE(run(pair.loop, [&] {
        put(near.theirs, piece);
        before = pair.guest.data.find('@');
        answered = before != std::string::npos;
        return answered;
    }));
    // What the kernel's socket buffer already held, and a few frames.
    CHECK(before < (512 << 10));
}
