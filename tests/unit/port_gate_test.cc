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
    CHECK(ask("/", "Cookie: peacrab-4711=0123456789abcdef\r\n", "127.0.0.1:4711").kind == Kind::Pass);
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
}

TEST_CASE("port gate: half a head is waited for, and bounded") {
    CHECK(ask_gate(kGate, "").kind == Kind::NeedMore);
    CHECK(ask_gate(kGate, "GET / HTTP/1.1\r\nHost: main").kind == Kind::NeedMore);
    CHECK(ask_gate(kGate, std::string(20'000, 'x')).kind == Kind::Refuse);
    CHECK(ask_gate(kGate, "SSH-2.0-x\r\n\r\n").kind == Kind::Refuse);
}
