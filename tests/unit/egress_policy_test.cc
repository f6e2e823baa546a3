// What a cell may reach: rules, requests, addresses. Hostile spellings stand here as tables.
#include "egress_policy.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <cstring>

#include "http_server.h"

using namespace peacrab;

namespace {

std::vector<EgressRule> rules(std::initializer_list<const char*> lines) {
    std::vector<EgressRule> out;
    for (const char* line : lines) out.push_back(parse_egress_rule(line));
    return out;
}

int status_of_connect(std::string_view target) {
    try {
        (void)read_connect_target(target);
        return 200;
    } catch (const BadRequest& bad) {
        return bad.status();
    }
}

Reach reach(const char* text) {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    if (::inet_pton(AF_INET6, text, &six.sin6_addr) == 1)
        return reach_of(reinterpret_cast<const sockaddr*>(&six));
    sockaddr_in four{};
    four.sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, text, &four.sin_addr) == 1);
    return reach_of(reinterpret_cast<const sockaddr*>(&four));
}

bool allows(const std::vector<EgressRule>& list, const char* target) {
    return decide_egress(list, read_connect_target(target), "main").allowed;
}

}  // namespace

TEST_CASE("egress rule: what is written reads back the same") {
    for (const char* text : {"registry.example.org:443", "http://deb.example.org:80 GET HEAD",
                             "http://mirror.internal:8080 GET private", "10.0.0.7:22 private",
                             "[2001:db8::7]:443", "xn--bcher-kva.example:443"})
        CHECK(format_egress_rule(parse_egress_rule(text)) == text);
    CHECK(format_egress_rule(parse_egress_rule("HTTP.Example.ORG.:443")) == "http.example.org:443");
    CHECK(format_egress_rule(parse_egress_rule("http://a.example GET")) == "http://a.example:80 GET");
}

TEST_CASE("egress rule: what could mean more than one place is an error (D4, D10)") {
    for (const char* text :
         {"", " ", "*.example.org:443", "*:443", ".example.org:443", "org.:0", "example.org",
          "example.org:", "example.org:0443", "example.org:65536", "example.org:443 GET",
          "https://example.org", "http://example.org/pool GET", "http://example.org", "127.1:80",
          "0x7f.0.0.1:80", "2130706433:80", "http://example.org get", "http://example.org CONNECT",
          "http://user@example.org GET", "::1:443", "[::ffff:127.0.0.1]:443", "[fe80::1%1]:443",
          "ex ample.org:443", "private", "a..b:443", "-a.example:443", "b\xc3\xbc" "cher.example:443",
          "example.org:443 private GET"})
        CHECK_THROWS_AS_MESSAGE((void)parse_egress_rule(text), Error, text);
}

TEST_CASE("egress: no rule, no way out") {
    CHECK_FALSE(allows({}, "example.org:443"));
    const EgressDecision decision = decide_egress({}, {"example.org", 443, "CONNECT"}, "scout");
    CHECK(decision.why ==
          "the agent `scout` may not connect to example.org:443: nothing outside is allowed here. "
          "The person at the host can allow it: peacrab allow example.org:443");
    CHECK_FALSE(EgressDecision().allowed);
}

TEST_CASE("egress: a tunnel is one host and one port, exactly (D3, D10)") {
    const auto list = rules({"registry.example.org:443"});
    CHECK(allows(list, "registry.example.org:443"));
    CHECK(allows(list, "Registry.Example.ORG.:443"));  // canonical: the same name
    for (const char* target : {"registry.example.org:22", "registry.example.org:80",
                               "registry.example.org:6379", "example.org:443",
                               "a.registry.example.org:443", "evil-registry.example.org:443",
                               "registry.example.org.evil.example:443", "registryxexample.org:443"})
        CHECK_FALSE_MESSAGE(allows(list, target), target);
}

TEST_CASE("egress: a host for plain HTTP is no tunnel, and a tunnel no plain HTTP") {
    CHECK_FALSE(allows(rules({"http://deb.example.org:80 GET"}), "deb.example.org:80"));
    CHECK_FALSE(decide_egress(rules({"deb.example.org:80"}), {"deb.example.org", 80, "GET"}, "main")
                    .allowed);
}

TEST_CASE("egress: another spelling of a host is refused (D6, D9)") {
    using namespace std::string_view_literals;
    for (const std::string_view target :
         {"0x7f000001:80"sv, "2130706433:80"sv, "0177.0.0.1:80"sv, "127.1:80"sv, "127.0.0.01:80"sv,
          "[::ffff:127.0.0.1]:80"sv, "[::1%lo]:80"sv, "[fe80::1%251]:80"sv, "0:80"sv,
          "1.2.3.4.5:80"sv, "example.org\0.evil.example:443"sv, "example.org%00:443"sv,
          "example.org\t:443"sv, " example.org:443"sv, "user@example.org:443"sv,
          "user:pw@example.org:443"sv, "example.org..:443"sv, ":443"sv, "example.org"sv,
          "example.org:"sv, "example.org:+443"sv, "example.org:443 "sv, "example.org:443/x"sv,
          "ex\xd0\xb0mple.org:443"sv, "http://example.org:443"sv, "[::1:443"sv, "::1:443"sv,
          "0X7F.1:80"sv, "example.org:99999"sv, "*:443"sv})
        CHECK_MESSAGE(status_of_connect(target) == 400, std::string(target));
    CHECK(read_connect_target("EXAMPLE.org.:443").host == "example.org");
    CHECK(read_connect_target("[2001:db8::7]:443").host == "2001:db8::7");
}

TEST_CASE("egress: plain HTTP is decided by method, and says the one command (D12)") {
    const auto list = rules({"http://deb.example.org:80 GET HEAD"});
    CHECK(decide_egress(list, {"deb.example.org", 80, "GET"}, "main").allowed);
    CHECK(decide_egress(list, {"deb.example.org", 80, "HEAD"}, "main").allowed);
    for (const char* method : {"POST", "PUT", "DELETE", "get", "TRACE", "OPTIONS", ""})
        CHECK_FALSE(decide_egress(list, {"deb.example.org", 80, method}, "main").allowed);
    CHECK(decide_egress(list, {"deb.example.org", 80, "POST"}, "main").why ==
          "the agent `main` may not POST at http://deb.example.org:80: only GET, HEAD is allowed "
          "there. The person at the host can allow it: peacrab allow http://deb.example.org:80 POST");
}

TEST_CASE("egress: the target of a plain request is whole and means one place") {
    const AbsoluteTarget target = read_absolute_target("GET", "http://Deb.Example.org./a/b?c=%2e");
    CHECK(target.ask.host == "deb.example.org");
    CHECK(target.ask.port == 80);
    CHECK(target.path == "/a/b?c=%2e");
    CHECK(target.authority == "deb.example.org");
    CHECK(read_absolute_target("GET", "http://a.example:8080?x").path == "/?x");
    CHECK(read_absolute_target("GET", "http://a.example:8080").authority == "a.example:8080");
    const auto status = [](std::string_view text) {
        try {
            (void)read_absolute_target("GET", text);
            return 200;
        } catch (const BadRequest& bad) {
            return bad.status();
        }
    };
    CHECK(status("/etc/passwd") == 400);
    CHECK(status("*") == 400);
    CHECK(status("http://a.example/#x") == 400);
    CHECK(status("http://user@a.example/") == 400);
    CHECK(status("http:///x") == 400);
    CHECK(status("http://a.example\\@b.example/") == 400);
    CHECK(status("https://a.example/") == 501);
    CHECK(status("HTTP://a.example/") == 501);
    CHECK(status("ftp://a.example/") == 501);
    CHECK(status("file:///etc/passwd") == 501);
}

TEST_CASE("egress: the Host header must be the target's (D7)") {
    const EgressAsk ask{"a.example", 80, "GET"};
    CHECK(names_same_host("a.example", ask, 80));
    CHECK(names_same_host("A.example:80", ask, 80));
    for (const char* header : {"b.example", "a.example:81", "", "a.example, b.example", "a.example@b"})
        CHECK_FALSE(names_same_host(header, ask, 80));
}

TEST_CASE("egress: addresses that are not public are told apart (D8)") {
    for (const char* text : {"0.0.0.0", "169.254.169.254", "169.254.0.1", "168.63.129.16",
                             "100.100.100.200", "192.0.0.192", "224.0.0.1", "239.255.255.250",
                             "240.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1",
                             "fd00:ec2::254", "2002:7f00:1::", "2001::1", "fec0::1", "::7f00:1",
                             "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "4000::1"})
        CHECK_MESSAGE(reach(text) == Reach::Never, text);
    for (const char* text : {"127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1",
                             "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255",
                             "198.18.0.1", "203.0.113.80", "::1", "fc00::1", "fdff::1",
                             "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::a00:1", "2001:db8::1"})
        CHECK_MESSAGE(reach(text) == Reach::Private, text);
    for (const char* text : {"1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255",
                             "100.128.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255",
                             "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"})
        CHECK_MESSAGE(reach(text) == Reach::Public, text);
}

TEST_CASE("egress: only a rule that says `private` reaches such an address") {
    const EgressAsk ask{"mirror.internal", 80, "GET"};
    CHECK_FALSE(decide_egress(rules({"http://mirror.internal:80 GET"}), ask, "main").private_address);
    CHECK(decide_egress(rules({"http://mirror.internal:80 GET private"}), ask, "main")
              .private_address);
    // Of another method, port or kind, it says nothing about this request.
    const EgressDecision refused =
        decide_egress(rules({"http://mirror.internal:80 POST private"}), ask, "main");
    CHECK_FALSE(refused.allowed);
    CHECK_FALSE(refused.private_address);
    CHECK_FALSE(decide_egress(rules({"http://mirror.internal:80 GET", "mirror.internal:80 private"}),
                              ask, "main")
                    .private_address);
    CHECK(private_refusal(ask, "main").ends_with(
        "peacrab allow http://mirror.internal:80 GET HEAD private"));
}
