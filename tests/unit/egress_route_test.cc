// The way out against servers on loopback: what arrives there, and what comes back.
#include "egress_route.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "loopback_server.h"
#include "relay_pair.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

// A route in a thread, and the cell's end of its stream.
class Cell {
  public:
    explicit Cell(std::vector<std::string> rules, ProxySettings proxies = {}) {
        SocketPair pair = SocketPair::stream();
        ours_ = std::move(pair.ours);
        theirs_ = std::move(pair.theirs);
        options_.fd = theirs_.get();
        options_.agent = "scout";
        options_.proxies = std::move(proxies);
        options_.head_limit = Milliseconds(500);
        options_.connect_limit = Milliseconds(2000);
        options_.idle_limit = Milliseconds(5000);
        for (const std::string& rule : rules) options_.rules.push_back(parse_egress_rule(rule));
        thread_ = std::thread([this] {
            (void)serve_egress_route(options_);
            theirs_.reset();
        });
    }
    ~Cell() {
        ours_.reset();
        thread_.join();
    }
    void send(std::string_view bytes) {
        REQUIRE(::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    void finish() { ::shutdown(ours_.get(), SHUT_WR); }
    // What comes until `mark` or the end.
    std::string receive(const std::string& mark) {
        while (text_.find(mark) == std::string::npos && more()) {
        }
        const size_t end = std::min(text_.find(mark), text_.size());
        std::string out = text_.substr(0, std::min(end + mark.size(), text_.size()));
        text_.erase(0, out.size());
        return out;
    }
    std::string rest() {
        while (more()) {
        }
        return std::exchange(text_, {});
    }

  private:
    bool more() {
        pollfd one{ours_.get(), POLLIN, 0};
        REQUIRE(::poll(&one, 1, 10'000) == 1);
        char piece[4096];
        const ssize_t n = ::recv(ours_.get(), piece, sizeof piece, 0);
        if (n > 0) text_.append(piece, static_cast<size_t>(n));
        return n > 0;
    }
    UniqueFd ours_, theirs_;
    EgressRouteOptions options_;
    std::thread thread_;
    std::string text_;
};

std::string place(const LoopbackServer& server) { return "127.0.0.1:" + server.port(); }
std::string get(const std::string& where, const std::string& more = "") {
    return "GET http://" + where + "/a?b HTTP/1.1\r\nHost: " + where + "\r\n" + more + "\r\n";
}

// Answers every request with what it got.
Serve mirror() {
    return [](Connection& c) {
        for (std::string got; !(got = c.request()).empty();) c.send(response(200, "text/plain", got));
    };
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// A ClientHello that names a server; made by hand in tls_hello_test.cc as well.
std::string hello(const std::string& name) {
    const auto number = [](size_t value, int bytes) {
        std::string out;
        for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
        return out;
    };
    const auto vector = [&](const std::string& bytes, int length) {
        return number(bytes.size(), length) + bytes;
    };
    const std::string names = std::string(1, '\0') + vector(name, 2);
    const std::string extension = number(0, 2) + vector(vector(names, 2), 2);
    const std::string body = "\3\3" + std::string(32, 'r') + vector("", 1) + vector("\x13\x01", 2) +
                             vector(std::string(1, '\0'), 1) + vector(extension, 2);
    return "\x16\3\1" + vector("\1" + vector(body, 3), 2);
}

}  // namespace

TEST_CASE("egress route: a listed request arrives, without credentials and hop-by-hop headers") {
    LoopbackServer server({mirror()});
    Cell cell({"http://" + place(server) + " GET private"});
    cell.send(get(place(server),
                  "Authorization: Bearer x\r\nCookie: a=b\r\nProxy-Authorization: Basic eDp5\r\n"
                  "Connection: X-Own\r\nX-Own: 1\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"
                  "Upgrade: websocket\r\nAccept: text/plain\r\n"));
    const std::string answer = cell.receive("text/plain\r\n\r\n");
    CHECK(has(answer, "HTTP/1.1 200"));
    CHECK(has(answer, "GET /a?b HTTP/1.1\r\nHost: " + place(server) + "\r\naccept: text/plain\r\n\r\n"));
}

TEST_CASE("egress route: without rules nothing is reached, and the refusal names the command") {
    LoopbackServer server({mirror()});
    Cell cell({});
    cell.send(get(place(server)));
    const std::string answer = cell.rest();
    CHECK(has(answer, "HTTP/1.1 403 Forbidden; to allow: peacrab allow http://" + place(server) +
                          " GET HEAD\r\n"));
    CHECK(has(answer, "the agent `scout` may not GET at"));
    CHECK(server.connections() == 0);
}

TEST_CASE("egress route: an address that is not public needs a rule that says so (D8)") {
    LoopbackServer server({mirror()});
    Cell cell({"http://" + place(server) + " GET"});
    cell.send(get(place(server)));
    CHECK(has(cell.rest(), "peacrab allow http://" + place(server) + " GET HEAD private\n"));
    Cell local({"http://localhost:" + server.port() + " GET"});
    local.send(get("localhost:" + server.port()));
    CHECK(has(local.rest(), "403"));
    Cell metadata({"http://169.254.169.254:80 GET private"});
    metadata.send(get("169.254.169.254"));
    CHECK(has(metadata.rest(), "403"));
    CHECK(server.connections() == 0);
}

TEST_CASE("egress route: a method that is not listed goes nowhere (D12)") {
    LoopbackServer server({mirror()});
    const std::string where = place(server);
    Cell cell({"http://" + where + " GET private"});
    cell.send("POST http://" + where + "/ HTTP/1.1\r\nHost: " + where + "\r\nContent-Length: 3\r\n\r\nabc");
    CHECK(has(cell.rest(), "peacrab allow http://" + where + " POST"));
    Cell trace({"http://" + where + " GET private"});
    trace.send("TRACE http://" + where + "/ HTTP/1.1\r\nHost: " + where + "\r\n\r\n");
    CHECK(has(trace.rest(), "405"));
    CHECK(server.connections() == 0);
}

TEST_CASE("egress route: Host and target must agree, and the form must be a proxy's") {
    LoopbackServer server({mirror()});
    const std::string rule = "http://" + place(server) + " GET private";
    const auto status = [&](const std::string& request) {
        Cell cell({rule});
        cell.send(request);
        return cell.rest().substr(9, 3);
    };
    CHECK(status("GET http://" + place(server) + "/ HTTP/1.1\r\nHost: other.example\r\n\r\n") == "400");
    CHECK(status("GET / HTTP/1.1\r\nHost: " + place(server) + "\r\n\r\n") == "400");
    CHECK(status("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n") == "501");
    CHECK(status("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n") == "400");
    CHECK(status("\x16\x03\x01garbage\r\n\r\n") == "400");
    CHECK(status("GET http://" + place(server) + "/ HTTP/1.1\r\nHost: " + place(server) +
                 "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n") == "400");
    CHECK(status("GET http://" + place(server) + "/ HTTP/1.1\r\n" + std::string(20'000, 'x')) == "431");
    CHECK(server.connections() == 0);
}

TEST_CASE("egress route: a head that does not come in time is not waited for") {
    Cell cell({});
    cell.send("GET http://a.example/ HTTP/1.1\r\n");
    CHECK(has(cell.rest(), "408"));
}

TEST_CASE("egress route: every request of a connection is decided anew, also when they are pipelined") {
    LoopbackServer server({mirror()});
    LoopbackServer other({mirror()});
    Cell cell({"http://" + place(server) + " GET private"});
    cell.send(get(place(server)) + get(place(server)) + get(place(other)));
    CHECK(has(cell.receive("\r\n\r\nGET /a?b"), "200"));
    CHECK(has(cell.receive("\r\n\r\nGET /a?b"), "200"));
    CHECK(has(cell.rest(), "403"));
    CHECK(server.connections() == 1);  // kept
    CHECK(other.connections() == 0);
}

TEST_CASE("egress route: a kept connection that the server closed is opened anew") {
    LoopbackServer server({answer(response(200, "text/plain", "first"))});
    Cell cell({"http://" + place(server) + " GET private"});
    cell.send(get(place(server)));
    CHECK(has(cell.receive("first"), "200"));
    cell.send(get(place(server)));
    CHECK(has(cell.receive("first"), "200"));
    CHECK(server.connections() == 2);
}

TEST_CASE("egress route: bodies pass in both directions, chunked or counted") {
    LoopbackServer server({[](Connection& c) {
        std::string got = c.request();
        c.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
               "hello\r\n");
        c.send("0\r\n\r\n");
        got = c.request();
        c.send(response(201, "text/plain", got));
    }});
    const std::string where = place(server);
    Cell cell({"http://" + where + " POST private"});
    const std::string head = "POST http://" + where + "/ HTTP/1.1\r\nHost: " + where + "\r\n";
    cell.send(head + "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody");
    const std::string first = cell.receive("0\r\n\r\n");
    CHECK(has(first, "100 Continue"));
    CHECK(has(first, "hello"));
    cell.send(head + "Transfer-Encoding: chunked\r\n\r\n");
    cell.send("3\r\nabc\r\n0\r\n\r\n");
    CHECK(has(cell.receive("chunked\r\n\r\n"), "201"));
}

TEST_CASE("egress route: a redirect is passed back as it came (D13)") {
    LoopbackServer server(
        {answer("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")});
    Cell cell({"http://" + place(server) + " GET private"});
    cell.send(get(place(server), "Connection: close\r\n"));
    const std::string answer = cell.rest();
    CHECK(has(answer, "302"));
    CHECK(has(answer, "location: http://169.254.169.254/\r\n"));
}

TEST_CASE("egress route: a server that does not speak HTTP properly gives 502") {
    for (const char* bytes : {"garbage\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
        LoopbackServer server({answer(bytes)});
        Cell cell({"http://" + place(server) + " GET private"});
        cell.send(get(place(server)));
        CHECK(has(cell.rest(), "502"));
    }
}

TEST_CASE("egress route: a tunnel relays both ways and half-closes") {
    LoopbackServer server({[](Connection& c) {
        c.send("server speaks first\n");
        std::string got = c.request();
        c.send("got " + got);
    }});
    Cell cell({place(server) + " private"});
    cell.send("CONNECT " + place(server) + " HTTP/1.1\r\nHost: " + place(server) + "\r\n\r\n");
    CHECK(has(cell.receive("first\n"), "HTTP/1.1 200 Connection established\r\n\r\n"));
    cell.send("no tls\r\n\r\n");
    cell.finish();
    CHECK(cell.rest() == "got no tls\r\n\r\n");
}

TEST_CASE("egress route: a tunnel whose TLS asks for another server is dropped (D7)") {
    std::string arrived;
    LoopbackServer server({[&arrived](Connection& c) { arrived = c.request(); }});
    const auto end = [&](const std::string& bytes) {
        Cell cell({"localhost:" + server.port() + " private"});
        cell.send("CONNECT localhost:" + server.port() + " HTTP/1.1\r\nHost: x\r\n\r\n");
        (void)cell.receive("\r\n\r\n");
        cell.send(bytes + "\r\n\r\n");
        cell.finish();
        (void)cell.rest();
    };
    end(hello("other.example"));
    CHECK(arrived.empty());
    end(hello(""));
    CHECK(arrived.empty());
    end(hello("localhost").substr(0, 20));
    CHECK(arrived.empty());
    end(hello("LOCALHOST"));
    CHECK(arrived == hello("LOCALHOST") + "\r\n\r\n");
}

TEST_CASE("egress route: where this host has a proxy, that is the way") {
    std::string asked;
    LoopbackServer proxy({[&asked](Connection& c) {
        asked = c.request();
        if (asked.starts_with("CONNECT")) c.send("HTTP/1.1 200 OK\r\n\r\ntunnelled");
        else c.send(response(200, "text/plain", "by proxy"));
    }});
    const ProxySettings settings{"http://me:p%40ss@127.0.0.1:" + proxy.port(),
                                 "http://127.0.0.1:" + proxy.port(), "direct.example"};
    {
        Cell cell({"http://mirror.invalid:80 GET"}, settings);
        cell.send(get("mirror.invalid"));
        CHECK(has(cell.receive("by proxy"), "200"));
        CHECK(has(asked, "GET http://mirror.invalid/a?b HTTP/1.1\r\n"));
        CHECK(has(asked, "Proxy-Authorization: Basic bWU6cEBzcw==\r\n"));
    }
    {
        Cell cell({"mirror.invalid:443"}, settings);
        cell.send("CONNECT mirror.invalid:443 HTTP/1.1\r\nHost: mirror.invalid\r\n\r\n");
        CHECK(has(cell.receive("tunnelled"), "200 Connection established"));
        CHECK(has(asked, "CONNECT mirror.invalid:443 HTTP/1.1\r\n"));
    }
    CHECK_FALSE(proxy_for(settings, {"a.direct.example", 80, "GET"}));
    CHECK_THROWS_AS((void)proxy_for({"socks5://a:1", "", ""}, {"a.example", 80, "GET"}), Error);
    // It would resolve an address of this machine for us: what needs no resolver is still checked.
    Cell metadata({"http://169.254.169.254:80 GET"}, settings);
    metadata.send(get("169.254.169.254"));
    CHECK(has(metadata.rest(), "403"));
}

TEST_CASE("egress route: the job of a child reads back the same") {
    EgressRouteOptions options;
    options.agent = "scout";
    options.connection = 17;
    options.rules = {parse_egress_rule("a.example:443"), parse_egress_rule("http://b.example:80 GET private")};
    options.proxies = {"http://p:1", "http://q:2", "x"};
    const EgressRouteOptions again = read_egress_job(egress_job(options));
    CHECK(again.agent == "scout");
    CHECK(again.connection == 17);
    CHECK(again.rules == options.rules);
    CHECK(again.proxies == options.proxies);
    CHECK_THROWS_AS((void)read_egress_job("{}"), Error);
    CHECK_THROWS_AS((void)read_egress_job(""), Error);
}
