// Names in ClientHellos, made by hand: real clients are in tests/e2e.
#include "tls_hello.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

using Kind = TlsHello::Kind;

std::string number(size_t value, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
    return out;
}
std::string vector(const std::string& bytes, int length_bytes) {
    return number(bytes.size(), length_bytes) + bytes;
}
std::string extension(size_t kind, const std::string& bytes) {
    return number(kind, 2) + vector(bytes, 2);
}
std::string sni(const std::string& name, char type = 0) {
    return extension(0, vector(std::string(1, type) + vector(name, 2), 2));
}
std::string handshake(const std::string& extensions, char type = 1) {
    const std::string body = std::string("\3\3") + std::string(32, 'r') + vector(std::string(32, 's'), 1) +
                             vector("\x13\x01\x13\x02", 2) + vector(std::string(1, '\0'), 1) +
                             vector(extensions, 2);
    return std::string(1, type) + vector(body, 3);
}
std::string record(const std::string& bytes, char type = 22) {
    return std::string(1, type) + "\3\1" + vector(bytes, 2);
}
std::string hello(const std::string& extensions) { return record(handshake(extensions)); }

}  // namespace

TEST_CASE("tls hello: the name is read, in one record or in many, as soon as it is whole") {
    const std::string whole = handshake(extension(43, "\2\3\4") + sni("a.example") + extension(16, "xx"));
    const std::string one = record(whole);
    CHECK(read_tls_hello(one).kind == Kind::Named);
    CHECK(read_tls_hello(one).name == "a.example");
    for (size_t size = 0; size < one.size(); ++size)
        CHECK(read_tls_hello(one.substr(0, size)).kind == Kind::NeedMore);
    std::string many;
    for (size_t i = 0; i < whole.size(); i += 7) many += record(whole.substr(i, 7));
    CHECK(read_tls_hello(many).name == "a.example");
    CHECK(read_tls_hello(one + "early data").name == "a.example");
}

TEST_CASE("tls hello: what is not TLS is not taken for it") {
    CHECK(read_tls_hello("SSH-2.0-OpenSSH\r\n").kind == Kind::NotTls);
    CHECK(read_tls_hello("GET / HTTP/1.1\r\n").kind == Kind::NotTls);
    CHECK(TlsHello().kind == Kind::Bad);
}

TEST_CASE("tls hello: no name, two names, a hidden name: not passed on (D7)") {
    CHECK(read_tls_hello(hello(extension(43, "\2\3\4"))).kind == Kind::Bad);
    CHECK(read_tls_hello(hello("")).kind == Kind::Bad);
    CHECK(read_tls_hello(hello(sni(""))).kind == Kind::Bad);
    CHECK(read_tls_hello(hello(sni("a.example") + sni("b.example"))).kind == Kind::Bad);
    CHECK(read_tls_hello(hello(sni("a.example", 1))).kind == Kind::Bad);
    const std::string two = std::string(1, '\0') + vector("a.example", 2) + std::string(1, '\0') +
                            vector("b.example", 2);
    CHECK(read_tls_hello(hello(extension(0, vector(two, 2)))).kind == Kind::Bad);
    const TlsHello hidden = read_tls_hello(hello(sni("a.example") + extension(0xfe0d, "x")));
    CHECK(hidden.kind == Kind::Bad);
    CHECK(hidden.why.find("encrypted") != std::string::npos);
}

TEST_CASE("tls hello: a first record that is no hello is not passed on") {
    CHECK(read_tls_hello(record(handshake(sni("a.example"), 2))).kind == Kind::Bad);
    CHECK(read_tls_hello(record("")).kind == Kind::Bad);
    CHECK(read_tls_hello(std::string("\x16\x02\x00\x00\x05hello", 10)).kind == Kind::Bad);
    const std::string whole = handshake(sni("a.example"));
    CHECK(read_tls_hello(record(whole.substr(0, 9)) + record("\1\0", 21)).kind == Kind::Bad);
}

TEST_CASE("tls hello: a hello without end is bounded") {
    std::string bytes;
    const std::string endless = "\1" + number(0xffffff, 3) + std::string(1000, 'x');
    CHECK(read_tls_hello(record(endless)).kind == Kind::Bad);
    const std::string slow = "\1" + number(kMaxHello, 3);
    for (const char c : slow) bytes += record(std::string(1, c));
    while (bytes.size() < kMaxHello) bytes += record("x");
    CHECK(read_tls_hello(bytes).kind == Kind::Bad);
}

TEST_CASE("tls hello: every damaged byte gives an answer") {
    const std::string whole = hello(sni("a.example") + extension(43, "\2\3\4"));
    for (size_t at = 0; at < whole.size(); ++at) {
        for (const char value : {'\x00', '\x01', '\x7f', '\xff'}) {
            std::string damaged = whole;
            damaged[at] = value;
            const TlsHello got = read_tls_hello(damaged);
            CHECK((got.kind != Kind::Named || got.name.size() <= damaged.size()));
        }
    }
}
