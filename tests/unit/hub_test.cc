// What takes a while holds up nobody: errands, and the hub while the agent's machine is started for a conversation.
#include "messaging/hub.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "error.h"
#include "folder.h"
#include "messaging/errand.h"

using namespace peacrab;

namespace {

struct Answer {
    bool done = false;
    Errand::Given given;
    std::string why;
    Errand::Done take() {
        return [this](Errand::Given what, const std::string& reason) {
            done = true;
            given = std::move(what);
            why = reason;
        };
    }
};

void turn(Loop& loop, const std::function<bool()>& until, Milliseconds patience = Milliseconds(10'000)) {
    for (const Deadline deadline = Deadline::in(patience); !until() && !deadline.passed();) loop.run_once(Milliseconds(20));
    CHECK(until());
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    return name;
}

UniqueFd stream_socket() {
    return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

UniqueFd connect_to(const std::string& path) {
    UniqueFd fd = stream_socket();
    const sockaddr_un name = address_of(path);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0) throw ErrnoError("connect");
    return fd;
}

// Somebody at the other end of a socket, who speaks lines.
struct Peer {
    UniqueFd fd;
    std::string heard;
    void say(const std::string& line) const { write_all(fd.get(), line + "\n"); }
    bool hears(const std::string& words) {
        std::array<char, 65536> bytes;
        for (ssize_t n = 0; fd && (n = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) heard.append(bytes.data(), static_cast<size_t>(n));
        return heard.find(words) != std::string::npos;
    }
};

std::string event(const std::string& number) {
    return R"({"key":")" + number + R"(","kind":"message","conversation":"dm","scope":"direct","id":"m)" + number + R"(","sender":"u1","text":"hello"})";
}

}  // namespace

TEST_CASE("errand: what it gives comes back, a descriptor too, and the loop goes on meanwhile") {
    test::Folder folder;
    Loop loop;
    Answer outcome;
    const Errand errand(loop, Milliseconds(10'000),
                        [] {
                            ::usleep(200'000);
                            return Errand::Given{"words", in_memory("held")};
                        },
                        outcome.take());
    int rounds = 0;
    turn(loop, [&] { return ++rounds > 3; });
    CHECK(!outcome.done);
    turn(loop, [&] { return outcome.done; });
    CHECK(outcome.why.empty());
    CHECK(outcome.given.text == "words");
    REQUIRE(outcome.given.fd);
    CHECK(read_all(outcome.given.fd.get(), 100) == "held");
}

TEST_CASE("errand: why it gives nothing is told: an error, its end, its time") {
    Loop loop;
    const auto outcome_of = [&](Milliseconds limit, const std::function<Errand::Given()>& work) {
        Answer outcome;
        const Errand errand(loop, limit, work, outcome.take());
        turn(loop, [&] { return outcome.done; });
        CHECK(outcome.given.text.empty());
        CHECK(!outcome.given.fd);
        return outcome.why;
    };
    CHECK(outcome_of(Milliseconds(10'000), []() -> Errand::Given { throw Error("it is broken"); }) == "it is broken");
    CHECK(outcome_of(Milliseconds(10'000), []() -> Errand::Given { ::_exit(3); }) == "it ended with exit code 3");
    CHECK(outcome_of(Milliseconds(100), []() -> Errand::Given {
              ::sleep(60);
              return {};
          }) == "it took too long");
    CHECK(outcome_of(Milliseconds(10'000), [] { return Errand::Given{std::string(70'000, 'x'), {}}; }).find("too much") != std::string::npos);
}

TEST_CASE("errand: it has nothing of ours open, and ends with who has sent it") {
    Loop loop;
    Answer outcome;
    const Pipe ours = Pipe::make();
    Errand errand(loop, Milliseconds(10'000), [fd = std::max(ours.read.get(), ours.write.get())] { return Errand::Given{::fcntl(fd, F_GETFD) < 0 ? "closed" : "open", {}}; },
                  outcome.take());
    turn(loop, [&] { return outcome.done; });
    CHECK(outcome.given.text == "closed");
    Pipe alive = Pipe::make();
    {
        test::Folder folder;
        const std::string path = folder.path + "/s";
        const UniqueFd listener = stream_socket();
        const sockaddr_un name = address_of(path);
        REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
        REQUIRE(::listen(listener.get(), 4) == 0);
        Answer never;
        auto long_one = std::make_unique<Errand>(loop, Milliseconds(60'000), [path] {
            const UniqueFd fd = connect_to(path);
            ::sleep(60);
            return Errand::Given{};
        }, never.take());
        Peer child{UniqueFd(::accept(listener.get(), nullptr, nullptr)), {}};
        long_one.reset();
        char byte = 0;
        CHECK(::recv(child.fd.get(), &byte, 1, 0) == 0);  // it is gone
        CHECK(!never.done);
    }
}

TEST_CASE("hub: while a machine is started for a conversation, channels are heard") {
    test::Folder folder;
    const std::string path = folder.path + "/warden";
    const UniqueFd listener = stream_socket();
    const sockaddr_un name = address_of(path);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    set_nonblocking(listener.get());
    Loop loop;
    HubOptions options;
    options.file = folder.path + "/post";
    options.open_chat = [path] {
        ::usleep(1'500'000);
        return connect_to(path);
    };
    options.opening = HubOptions::Opening::InChild;
    Hub hub(loop, options);
    Door(hub.post().database()).set_role("desk", "u1", "Una", Role::Owner);
    SocketPair pair = SocketPair::stream();
    HubChannel channel;
    channel.name = "desk";
    hub.connect(channel, json::Value::object(), std::move(pair.ours), [](const std::string&, const std::string&) { return false; });
    Peer desk{std::move(pair.theirs), {}}, warden;
    desk.say(R"({"type":"hello","protocol":1,"channel":"x","account":"a","limits":{"dedupe":"key"}})");
    const auto began = std::chrono::steady_clock::now();
    const auto took = [&] { return std::chrono::steady_clock::now() - began; };
    desk.say(R"({"type":"batch","cursor":"1","events":[)" + event("1") + "]}");
    turn(loop, [&] { return desk.hears(R"("cursor":"1")"); });
    desk.say(R"({"type":"batch","cursor":"2","events":[)" + event("2") + "]}");
    turn(loop, [&] { return desk.hears(R"("cursor":"2")"); });
    CHECK(took() < Milliseconds(1'000));
    CHECK(!hub.idle());
    turn(loop, [&] {
        if (!warden.fd) warden.fd = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return warden.hears(R"("type":"attach")");
    });
    CHECK(took() > Milliseconds(1'000));
    warden.say(R"({"type":"attached","agent":"main","session":"1","version":"1","running":false})");
    warden.say(R"({"type":"caught_up"})");
    turn(loop, [&] { return warden.hears("hello"); });  // what came meanwhile is said
}

TEST_CASE("hub: what cannot be reached is tried again, one conversation like the other") {
    test::Folder folder;
    Loop loop;
    HubOptions options;
    options.file = folder.path + "/post";
    options.open_chat = [mark = folder.path + "/tried-"]() -> UniqueFd {
        write_file_atomic(mark + std::to_string(::getpid()), "", 0600);
        throw Error("it is down");
    };
    options.opening = HubOptions::Opening::InChild;
    Hub hub(loop, options);
    Door door(hub.post().database());
    SocketPair pair = SocketPair::stream();
    HubChannel channel;
    channel.name = "desk";
    hub.connect(channel, json::Value::object(), std::move(pair.ours), [](const std::string&, const std::string&) { return false; });
    Peer desk{std::move(pair.theirs), {}};
    desk.say(R"({"type":"hello","protocol":1,"channel":"x","account":"a","limits":{"dedupe":"key"}})");
    std::string events;
    for (int n = 0; n < 10; ++n) {
        const std::string number = std::to_string(n), sender = "u" + number;
        door.set_role("desk", sender, {}, Role::Owner);
        events += (n > 0 ? "," : "") + (R"({"key":")" + number) + R"(","kind":"message","conversation":"dm-)" + sender +
                  R"(","scope":"direct","id":"m","sender":")" + sender + R"(","text":"hello"})";
    }
    desk.say(R"({"type":"batch","cursor":"1","events":[)" + events + "]}");
    const auto tried = [&] {
        const std::vector<std::string> names = list_folder(folder.path);
        return std::count_if(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("tried-"); });
    };
    turn(loop, [&] { return tried() >= 20; });
}
