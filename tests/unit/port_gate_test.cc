// Who passes the gate of an opened port.
#include "port_gate.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

using Kind = GateAnswer::Kind;
const PortGate kGate{"main-8000.localhost", 4711, "0123456789abcdef"};

GateAnswer ask(const std::string& target, const std::string& more = "",
               const std::string& host = "main-8000.localhost:4711") {
    return ask_gate(kGate, "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n");
}

}  // namespace

TEST_CASE("port gate: the token becomes a cookie, and leaves the address") {
    CHECK(kGate.url() == "http://main-8000.localhost:4711/?token=0123456789abcdef");
    const GateAnswer answer = ask("/a?x=1&token=0123456789abcdef&y=2");
    CHECK(answer.kind == Kind::Redirect);
    CHECK(answer.response.find("303 ") != std::string::npos);
    CHECK(answer.response.find("Location: /a?x=1&y=2\r\n") != std::string::npos);
    CHECK(answer.response.find(
              "Set-Cookie: peacrab-4711=0123456789abcdef; HttpOnly; SameSite=Strict; Path=/\r\n") !=
          std::string::npos);
    CHECK(ask("//evil.example/?token=0123456789abcdef").response.find("Location: /evil.example/\r\n") !=
          std::string::npos);
}

TEST_CASE("port gate: the cookie passes, also to upgrade to a web socket") {
    CHECK(ask("/", "Cookie: a=b; peacrab-4711=0123456789abcdef\r\n").kind == Kind::Pass);
    CHECK(ask("/ws",
              "Upgrade: websocket\r\nConnection: Upgrade\r\nCookie: peacrab-4711=0123456789abcdef\r\n")
              .kind == Kind::Pass);
}

TEST_CASE("port gate: without, or with another one, nothing passes") {
    CHECK(GateAnswer().kind == Kind::Refuse);
    CHECK(ask("/").kind == Kind::Refuse);
    CHECK(ask("/?token=").kind == Kind::Refuse);
    CHECK(ask("/?token=0123456789abcdee").kind == Kind::Refuse);
    CHECK(ask("/?token=0123456789abcdef0").kind == Kind::Refuse);
    CHECK(ask("/?xtoken=0123456789abcdef").kind == Kind::Refuse);
    CHECK(ask("/", "Cookie: peacrab-4711=\r\n").kind == Kind::Refuse);
    CHECK(ask("/", "Cookie: peacrab-4712=0123456789abcdef\r\n").kind == Kind::Refuse);
    CHECK(ask("/", "X-Cookie: peacrab-4711=0123456789abcdef\r\n").kind == Kind::Refuse);
    const PortGate none{"main-8000.localhost", 4711, ""};
    CHECK(ask_gate(none, "GET /?token= HTTP/1.1\r\nHost: main-8000.localhost:4711\r\n\r\n").kind ==
          Kind::Refuse);
}

TEST_CASE("port gate: a name that somebody made resolve to this machine is not ours") {
    const std::string cookie = "Cookie: peacrab-4711=0123456789abcdef\r\n";
    for (const char* host : {"evil.example:4711", "evil.example", "main-8000.localhost",
                             "main-8000.localhost:80", "scout-8000.localhost:4711", "127.0.0.2:4711", ""})
        CHECK_MESSAGE(ask("/", cookie, host).kind == Kind::Refuse, host);
    // Names that every port of this machine has: their cookies go to all of them.
    for (const char* host : {"localhost:4711", "127.0.0.1:4711", "[::1]:4711"})
        CHECK_MESSAGE(ask("/", cookie, host).kind == Kind::Refuse, host);
}

TEST_CASE("port gate: a page of another origin gets nothing, though the browser sends the cookie along") {
    const std::string cookie = "Cookie: peacrab-4711=0123456789abcdef\r\n";
    CHECK(ask("/", cookie + "Origin: http://main-8000.localhost:4711\r\n").kind == Kind::Pass);
    for (const char* origin : {"http://main-8000.localhost:80", "http://evil.example", "null", ""})
        CHECK_MESSAGE(ask("/", cookie + "Origin: " + origin + "\r\n").kind == Kind::Refuse, origin);
}

TEST_CASE("port gate: half a head is waited for, and bounded") {
    CHECK(ask_gate(kGate, "").kind == Kind::NeedMore);
    CHECK(ask_gate(kGate, "GET / HTTP/1.1\r\nHost: main").kind == Kind::NeedMore);
    CHECK(ask_gate(kGate, std::string(20'000, 'x')).kind == Kind::Refuse);
    CHECK(ask_gate(kGate, "SSH-2.0-x\r\n\r\n").kind == Kind::Refuse);
}

namespace {

const std::string kHost = "Host: main-8000.localhost:4711\r\n";
const std::string kCookie = "Cookie: peacrab-4711=0123456789abcdef\r\n";

// All that went on, of bytes that come in pieces of that size; "over" stands at the end when it was.
std::string passed(const std::string& bytes, size_t piece) {
    GatedRequests requests(kGate);
    std::string all;
    for (size_t at = 0; at < bytes.size(); at += piece) {
        const GatedRequests::Step step = requests.take(std::string_view(bytes).substr(at, piece));
        all += step.pass;
        if (step.over) return all + "over";
    }
    return all;
}

}  // namespace

TEST_CASE("port gate: each request of a connection is judged, wherever its bytes are cut") {
    const std::string good = "GET /a HTTP/1.1\r\n" + kHost + kCookie + "\r\n";
    const std::string posted = "POST /b HTTP/1.1\r\n" + kHost + kCookie +
                               "Content-Length: 5\r\n\r\nGET /";
    const std::string chunked = "PUT /c HTTP/1.1\r\n" + kHost + kCookie +
                                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{100'000}}) {
        CHECK(passed(good + posted + chunked + good, piece) == good + posted + chunked + good);
        for (const std::string& bad :
             {"GET /x HTTP/1.1\r\n" + kHost + "\r\n", "GET /x HTTP/1.1\r\nHost: evil.example\r\n" + kCookie + "\r\n",
              "GET /x HTTP/1.1\r\nHost: localhost:4711\r\n" + kCookie + "\r\n",
              "GET /?token=0123456789abcdef HTTP/1.1\r\n" + kHost + "\r\n", std::string("what is this\r\n\r\n"),
              "POST /x HTTP/1.1\r\n" + kHost + kCookie + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
              std::string(20'000, 'x')})
            for (const std::string& first : {good, posted, chunked}) {
                const std::string went = passed(first + bad, piece);
                CHECK(went.ends_with("over"));
                CHECK(went.size() <= first.size() + 4);
            }
    }
}

TEST_CASE("port gate: after a request for a web socket everything goes on, after another upgrade nothing new") {
    const std::string frames = "\x81\x05hello\r\n\r\n";
    const auto upgrade = [&](const std::string& to) {
        return "GET /ws HTTP/1.1\r\n" + kHost + kCookie + "Connection: keep-alive, Upgrade\r\nUpgrade: " + to +
               "\r\n\r\n";
    };
    CHECK(passed(upgrade("websocket") + frames, 9) == upgrade("websocket") + frames);
    CHECK(passed(upgrade("WebSocket") + frames, 9) == upgrade("WebSocket") + frames);
    CHECK(passed(upgrade("h2c") + frames, 9) == upgrade("h2c") + "over");
    CHECK(passed("GET /ws HTTP/1.1\r\n" + kHost + kCookie + "Upgrade: websocket\r\n\r\n" + frames, 9).ends_with("over"));
}
