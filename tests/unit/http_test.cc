#include "http.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "../support/loopback_server.h"
#include "error.h"
#include "trust.h"

using namespace peacrab;
using namespace peacrab::test;
using Failure = HttpResult::Failure;
using Clock = std::chrono::steady_clock;

namespace {

HttpOptions short_clocks() {
    HttpOptions options;
    options.connect_limit = Milliseconds(2000);
    options.first_byte_limit = Milliseconds(5000);
    options.idle_limit = Milliseconds(5000);
    return options;
}

HttpRequest post(const std::string& url, std::string body = "{}") {
    HttpRequest request;
    request.url = url;
    request.headers = {"content-type: application/json"};
    request.body = std::move(body);
    return request;
}

// Sends everything to a string; the body of the result stays empty then.
HttpResult fetch(HttpClient& client, const HttpRequest& request, std::string& body,
                 int cancel_fd = -1) {
    return client.send(
        request, [](const HttpResult&) { return true; },
        [&body](std::string_view piece) { body += piece; }, cancel_fd);
}

HttpResult collect(HttpClient& client, const HttpRequest& request, int cancel_fd = -1) {
    return client.send(request, {}, {}, cancel_fd);
}

// Sets a variable for one test.
class Variable {
  public:
    Variable(const char* name, const std::string& value) : name_(name) {
        ::setenv(name, value.c_str(), 1);
    }
    ~Variable() { ::unsetenv(name_); }

  private:
    const char* name_;
};

}  // namespace

TEST_CASE("http: a whole response comes with its status, type and headers") {
    LoopbackServer server(
        {answer(response(200, "Text/Plain; charset=UTF-8", "hello", "X-Thing:  a b \r\n"))});
    HttpClient client(short_clocks());
    std::string body;
    const HttpResult result = fetch(client, post(server.url() + "/x"), body);
    CHECK(result.failure == Failure::None);
    CHECK(result.status == 200);
    CHECK(result.content_type == "text/plain");
    CHECK(result.header("x-thing") == "a b");
    CHECK(result.header("content-length").empty());
    CHECK(body == "hello");
    CHECK(result.body.empty());
    CHECK(result.detail.empty());
}

TEST_CASE("http: a body that the sink does not take is collected") {
    LoopbackServer server({answer(response(529, "application/json", "{\"e\":1}"))});
    HttpClient client(short_clocks());
    std::string sunk;
    const HttpResult result = client.send(
        post(server.url()), [](const HttpResult& head) { return head.status == 200; },
        [&](std::string_view piece) { sunk += piece; });
    CHECK(result.failure == Failure::None);
    CHECK(result.status == 529);
    CHECK(result.body == "{\"e\":1}");
    CHECK(sunk.empty());
}

TEST_CASE("http: the request goes out as written, without 'expect' and without a form's type") {
    std::string seen;
    const std::string large(3 << 20, 'x');
    LoopbackServer server({[&](Connection& c) {
        seen = c.request();
        c.send(response(200, "text/plain", "ok"));
    }});
    {
        HttpClient client(short_clocks());
        CHECK(collect(client, post(server.url() + "/v1/messages", large)).failure == Failure::None);
    }
    CHECK(seen.starts_with("POST /v1/messages HTTP/1.1\r\n"));
    const std::string head = seen.substr(0, seen.find("\r\n\r\n"));
    CHECK(head.find("content-type: application/json") != std::string::npos);
    CHECK(head.find("xpect") == std::string::npos);
    CHECK(head.find("form-urlencoded") == std::string::npos);
    CHECK(seen.size() == head.size() + 4 + large.size());
}

TEST_CASE("http: a response is the same when every byte comes alone") {
    const std::string chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    LoopbackServer server({[&](Connection& c) {
        c.request();
        c.send_bytewise("HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\n");
        c.send_bytewise(chunked);
    }});
    HttpClient client(short_clocks());
    std::string body;
    const HttpResult result = fetch(client, post(server.url()), body);
    CHECK(result.failure == Failure::None);
    CHECK(result.status == 200);
    CHECK(result.header("x-early").empty());
    CHECK(body == "abcd");
}

TEST_CASE("http: a compressed response is given decoded, and no header claims otherwise") {
    const std::string packed(
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00\x80\x88"
        "\xf9\xe5\x11\x00\x00\x00",
        28);
    LoopbackServer server(
        {answer(response(200, "text/plain", packed, "Content-Encoding: gzip\r\n"))});
    HttpClient client(short_clocks());
    std::string body;
    const HttpResult result = fetch(client, post(server.url()), body);
    CHECK(result.failure == Failure::None);
    CHECK(body == "hello hello hello");
    CHECK(result.header("content-encoding").empty());
}

TEST_CASE("http: a connection that ends inside the response is a cut, never a success") {
    const Serve short_body = [](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    };
    const Serve open_chunk = [](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    };
    const Serve half_head = [](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Le");
    };
    const Serve reset = [](Connection& c) {
        c.request();
        c.reset();
    };
    const Serve nothing = [](Connection& c) { c.request(); };
    const Serve garbage = [](Connection& c) {
        c.request();
        c.send("\x16\x03\x01 this is no HTTP\r\n\r\n");
    };
    for (const Serve& serve : {short_body, open_chunk, half_head, reset, nothing, garbage}) {
        LoopbackServer server({serve});
        HttpClient client(short_clocks());
        std::string body;
        const HttpResult result = fetch(client, post(server.url()), body);
        CHECK(result.failure == Failure::Cut);
        CHECK(result.detail.find("127.0.0.1") != std::string::npos);
    }
}

TEST_CASE("http: silence ends by our clocks, before and after the first byte") {
    HttpOptions options = short_clocks();
    LoopbackServer mute({[](Connection& c) {
        c.request();
        c.hang();
    }});
    LoopbackServer stalls({[](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        c.hang();
    }});
    const auto began = Clock::now();
    options.first_byte_limit = Milliseconds(40);
    HttpClient first(options);
    HttpResult result = collect(first, post(mute.url()));
    CHECK(result.failure == Failure::Silent);
    CHECK(result.detail.find("40 ms") != std::string::npos);
    options = short_clocks();
    options.idle_limit = Milliseconds(40);
    HttpClient second(options);
    std::string body;
    result = fetch(second, post(stalls.url()), body);
    CHECK(result.failure == Failure::Silent);
    CHECK(body == "abc");
    LoopbackServer slow({[](Connection& c) {
        c.request();
        ::usleep(120'000);
        c.send(response(200, "text/plain", "loaded"));
    }});
    HttpRequest patient = post(slow.url());
    patient.first_byte_limit = Seconds(5);
    options.first_byte_limit = Milliseconds(40);
    HttpClient third(options);
    body.clear();
    result = fetch(third, patient, body);
    CHECK(result.failure == Failure::None);
    CHECK(body == "loaded");
    CHECK(Clock::now() - began < Seconds(2));
}

TEST_CASE("http: no flood is taken: body, error body, headers, one header line") {
    HttpOptions options = short_clocks();
    options.response_limit = KiB(512);
    const std::string piece(65536, 'x');
    const auto flood = [&](int status) {
        return Serve([&piece, status](Connection& c) {
            c.request();
            c.send("HTTP/1.1 " + std::to_string(status) + " X\r\n\r\n");
            while (c.send(piece)) {
            }
        });
    };
    std::string body;
    {
        LoopbackServer server({flood(200)});
        HttpClient client(options);
        CHECK(fetch(client, post(server.url()), body).failure == Failure::TooLarge);
        CHECK(body.size() <= KiB(512).count);
    }
    {
        LoopbackServer server({flood(500)});
        HttpClient client(options);
        const HttpResult result = collect(client, post(server.url()));
        CHECK(result.failure == Failure::TooLarge);
        CHECK(result.status == 500);
        CHECK(result.body.size() == MiB(1).count);
    }
    for (const char* line : {"X-A: y\r\n", "x"}) {
        LoopbackServer server({[line](Connection& c) {
            c.request();
            c.send("HTTP/1.1 200 OK\r\nA: b");
            std::string many = line[0] == 'x' ? "" : "\r\n";
            for (int i = 0; i < 8192; ++i) many += line;
            while (c.send(many)) {
            }
        }});
        HttpClient client(options);
        CHECK(collect(client, post(server.url())).failure == Failure::TooLarge);
    }
}

TEST_CASE("http: a redirect is reported with where it leads, and not followed") {
    LoopbackServer other({answer(response(200, "text/plain", "evil"))});
    for (const std::string& location :
         {other.url() + "/steal", std::string("https://user:pw@ev\x1bil.example:8443/x")}) {
        LoopbackServer server(
            {answer(response(307, "text/plain", "", "Location: " + location + "\r\n"))});
        HttpClient client(short_clocks());
        const HttpResult result = collect(client, post(server.url()));
        CHECK(result.failure == Failure::None);
        CHECK(result.status == 307);
        CHECK(result.detail.find("redirects to") != std::string::npos);
        CHECK(result.detail.find('\x1b') == std::string::npos);
        CHECK(result.detail.find("pw") == std::string::npos);
        if (location.starts_with("http://"))
            CHECK(result.detail.find(other.url()) != std::string::npos);
    }
    CHECK(other.connections() == 0);
}

TEST_CASE("http: a stop drops the transfer within 100 ms") {
    Pipe stop = Pipe::make();
    Clock::time_point asked;
    LoopbackServer server({[&](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        asked = Clock::now();
        write_all(stop.write.get(), "x");
        c.hang();
    }});
    HttpClient client(short_clocks());
    std::string body;
    const HttpResult result = fetch(client, post(server.url()), body, stop.read.get());
    CHECK(result.failure == Failure::Cancelled);
    CHECK(Clock::now() - asked < Milliseconds(100));
    char byte = 0;
    CHECK(::read(stop.read.get(), &byte, 1) == 1);  // nothing was read from it
}

TEST_CASE("http: a stop that is there already, or whose writer has gone, sends nothing") {
    LoopbackServer server({answer(response(200, "text/plain", "x"))});
    HttpClient client(short_clocks());
    Pipe stop = Pipe::make();
    stop.write.reset();
    CHECK(collect(client, post(server.url()), stop.read.get()).failure == Failure::Cancelled);
    CHECK(server.connections() == 0);
}

TEST_CASE("http: a stop ends a flood") {
    Pipe stop = Pipe::make();
    LoopbackServer server({[&](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\n\r\n");
        const std::string piece(65536, 'x');
        for (int i = 0; c.send(piece); ++i)
            if (i == 16) write_all(stop.write.get(), "x");
    }});
    HttpOptions options = short_clocks();
    options.response_limit = GiB(64);
    HttpClient client(options);
    const HttpResult result = client.send(
        post(server.url()), [](const HttpResult&) { return true; }, [](std::string_view) {},
        stop.read.get());
    CHECK(result.failure == Failure::Cancelled);
}

TEST_CASE("http: one connection serves several requests, and a stale one is replaced") {
    LoopbackServer server({[](Connection& c) {
        for (int i = 0; i < 3 && !c.request().empty(); ++i)
            c.send(response(200, "text/plain", "n" + std::to_string(i)));
    }});
    HttpClient client(short_clocks());
    for (int i = 0; i < 5; ++i) {
        std::string body;
        const HttpResult result = fetch(client, post(server.url()), body);
        CHECK(result.failure == Failure::None);
        CHECK(body == "n" + std::to_string(i % 3));
    }
    CHECK(server.connections() == 2);
}

TEST_CASE("http: a failed transfer does not spoil the next one") {
    LoopbackServer server({[](Connection& c) {
                               c.request();
                               c.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
                           },
                           answer(response(200, "text/plain", "fine"))});
    HttpClient client(short_clocks());
    std::string body;
    CHECK(fetch(client, post(server.url()), body).failure == Failure::Cut);
    body.clear();
    CHECK(fetch(client, post(server.url()), body).failure == Failure::None);
    CHECK(body == "fine");
}

TEST_CASE("http: a connector's sockets carry the request; no name is looked up") {
    int opened = 0;
    std::vector<std::thread> peers;
    HttpOptions options = short_clocks();
    options.connector = [&] {
        SocketPair pair = SocketPair::stream();
        ++opened;
        peers.emplace_back([theirs = std::move(pair.theirs)] {
            Connection c(theirs.get());
            for (int i = 0; i < 2; ++i) {
                const std::string request = c.request();
                if (request.empty()) return;
                const size_t host = request.find("Host: ");
                c.send(response(200, "text/plain",
                                request.substr(host, request.find('\r', host) - host)));
            }
        });
        return std::move(pair.ours);
    };
    {
        HttpClient client(options);
        for (int i = 0; i < 4; ++i) {
            std::string body;
            const HttpResult result =
                fetch(client, post("http://nowhere.invalid/v1/messages"), body);
            CHECK(result.detail == "");
            CHECK(body == "Host: nowhere.invalid");
        }
        CHECK(opened == 2);  // two requests a connection
        std::string body;
        const HttpResult result = fetch(client, post("https://nowhere.invalid/"), body);
        CHECK(result.failure == Failure::Unknown);  // no TLS on the model route
    }
    for (std::thread& peer : peers) peer.join();
}

TEST_CASE("http: a connector that fails says why") {
    HttpOptions options = short_clocks();
    options.connector = []() -> UniqueFd { throw Error("link: stream: refused"); };
    HttpClient client(options);
    const HttpResult result = collect(client, post("http://model/"));
    CHECK(result.failure == Failure::Unreachable);
    CHECK(result.detail == "cannot reach http://model: link: stream: refused");
}

TEST_CASE("http: nobody listening is unreachable, with host and reason") {
    std::string url;
    {
        LoopbackServer server({answer("")});
        url = server.url();
    }
    HttpClient client(short_clocks());
    const HttpResult result = collect(client, post(url));
    CHECK(result.failure == Failure::Unreachable);
    CHECK(result.detail == "cannot reach " + url + ": Connection refused");
}

TEST_CASE("http: what cannot be an address, or carries a name and password, is not tried") {
    HttpClient client(short_clocks());
    for (const char* url : {"", "http://", "ftp://127.0.0.1/", "file:///etc/passwd",
                            "http://user:geheim@127.0.0.1:1/", "http://a b/"}) {
        CAPTURE(url);
        const HttpResult result = collect(client, post(url));
        CHECK(result.failure == Failure::Unknown);
        CHECK_FALSE(result.detail.empty());
        CHECK(result.detail.find("geheim") == std::string::npos);
    }
}

TEST_CASE("http: a header with a line break is refused, and its value is not told") {
    LoopbackServer server({answer(response(200, "text/plain", "x"))});
    HttpClient client(short_clocks());
    HttpRequest request = post(server.url());
    request.headers.push_back("x-api-key: sk-geheim\r\nX-Evil: 1");
    const HttpResult result = collect(client, request);
    CHECK(result.failure == Failure::Unknown);
    CHECK(result.detail.find("x-api-key") != std::string::npos);
    CHECK(result.detail.find("geheim") == std::string::npos);
    CHECK(server.connections() == 0);
}

TEST_CASE("http: what the sink throws comes out of send, and the client still works") {
    LoopbackServer server({answer(response(200, "text/plain", "x"))});
    HttpClient client(short_clocks());
    const auto throws = [](std::string_view) { throw Error("sink: full"); };
    const auto wants = [](const HttpResult&) { return true; };
    CHECK_THROWS_WITH_AS((void)client.send(post(server.url()), wants, throws), "sink: full", Error);
    std::string body;
    CHECK(fetch(client, post(server.url()), body).failure == Failure::None);
}

TEST_CASE("http: a sink that has enough does not wait for an end that does not come") {
    LoopbackServer server({[](Connection& c) {
        c.request();
        c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        c.hang();
    }});
    HttpClient client(short_clocks());
    HttpRequest request = post(server.url());
    std::string body;
    request.enough = [&] { return body == "abc"; };
    const auto began = Clock::now();
    CHECK(fetch(client, request, body).failure == Failure::None);
    CHECK(Clock::now() - began < Seconds(2));
}

TEST_CASE("http: our sockets are closed on exec") {
    LoopbackServer server({[](Connection& c) {
        while (!c.request().empty()) c.send(response(200, "text/plain", "x"));
    }});
    HttpClient client(short_clocks());
    CHECK(collect(client, post(server.url())).failure == Failure::None);
    int sockets = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::atoi(entry.path().filename().c_str());
        int domain = 0;
        socklen_t length = sizeof domain;
        if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_INET)
            continue;
        ++sockets;
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(sockets >= 3);  // listener, the server's end, ours
}

TEST_CASE("http: the proxy of the environment is used when asked for, and only then") {
    std::string seen;
    LoopbackServer proxy({[&](Connection& c) {
        seen = c.request();
        c.send(response(200, "text/plain", "by proxy"));
    }});
    LoopbackServer direct({answer(response(200, "text/plain", "direct"))});
    const Variable variable("http_proxy", "http://user:geheim@127.0.0.1:" + proxy.port());
    HttpOptions options = short_clocks();
    std::string body;
    {
        HttpClient client(options);
        CHECK(fetch(client, post(direct.url()), body).failure == Failure::None);
        CHECK(body == "direct");
    }
    options.environment = true;
    {
        HttpClient client(options);
        body.clear();
        CHECK(fetch(client, post("http://model.invalid/v1"), body).failure == Failure::None);
        CHECK(body == "by proxy");
        CHECK(seen.starts_with("POST http://model.invalid/v1 HTTP/1.1\r\n"));
    }
    const Variable exception("NO_PROXY", "localhost,127.0.0.1");
    HttpClient client(options);
    body.clear();
    CHECK(fetch(client, post(direct.url()), body).failure == Failure::None);
    CHECK(body == "direct");
}

TEST_CASE("http: a proxy that refuses or is not there is named, without its password") {
    HttpOptions options = short_clocks();
    options.environment = true;
    LoopbackServer refuses({answer(response(403, "text/plain", "no"))});
    {
        const Variable variable("HTTPS_PROXY", "http://user:geheim@127.0.0.1:" + refuses.port());
        HttpClient client(options);
        const HttpResult result = collect(client, post("https://model.invalid/"));
        CHECK(result.failure == Failure::Unknown);  // asking again would not help
        CHECK(result.detail ==
              "cannot reach https://model.invalid through the proxy "
              "http://127.0.0.1:" +
                  refuses.port() + ": the proxy refused it (403)");
    }
    for (const char* bad : {"gopher://user:geheim@127.0.0.1:1", "http://user:geheim@127.0.0.1:1",
                            "http://user:geheim@nowhere.invalid:1"}) {
        const Variable variable("https_proxy", bad);
        HttpClient client(options);
        const HttpResult result = collect(client, post("https://model.invalid/"));
        CHECK((result.failure == Failure::Unreachable || result.failure == Failure::Unknown));
        CHECK(result.detail.find("geheim") == std::string::npos);
    }
}

TEST_CASE("http: a CA of the environment that cannot be used stops the request with the reason") {
    LoopbackServer server({answer("")});
    HttpOptions options = short_clocks();
    options.environment = true;
    const std::string url = "https://127.0.0.1:" + server.port();
    {
        const Variable variable("PROXY_CA_CERT_B64", "not*base64");
        HttpClient client(options);
        const HttpResult result = collect(client, post(url));
        CHECK(result.failure == Failure::Unknown);
        CHECK(result.detail ==
              "PROXY_CA_CERT_B64 is not base64: it must be the base64 of a PEM "
              "certificate");
    }
    {
        const Variable variable("PROXY_CA_CERT_B64", "aGVsbG8=");
        HttpClient client(options);
        CHECK(collect(client, post(url)).detail == "PROXY_CA_CERT_B64 holds no PEM certificate");
    }
    {
        const Variable variable("SSL_CERT_FILE", "/nonexistent/ca.pem");
        HttpClient client(options);
        CHECK(collect(client, post(url)).detail ==
              "SSL_CERT_FILE names /nonexistent/ca.pem, which cannot be read: No such file or "
              "directory");
        // Plain http has no use for it, and must not pay for it.
        CHECK(collect(client, post(server.url())).failure == Failure::Cut);
    }
    CHECK(server.connections() == 1);
}

TEST_CASE("trust: the environment's CA stands beside the bundle, not in its place") {
    const std::string pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const Variable extra(
        "PROXY_CA_CERT_B64",
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0K\nLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=");
    char name[] = "/tmp/peacrab-test-XXXXXX";
    const UniqueFd file(::mkstemp(name));
    REQUIRE(file);
    write_all(file.get(), "the bundle");
    {
        const Variable bundle("SSL_CERT_FILE", name);
        CHECK(find_trust(TrustFrom::Environment).pem == pem + "\nthe bundle");
    }
    CHECK(find_trust(TrustFrom::System).pem.empty());
    ::unlink(name);
}

TEST_CASE("trust: base64 is strict about what it takes") {
    CHECK(decode_base64("aGVsbG8=") == "hello");
    CHECK(decode_base64("aGVs\r\n bG8") == "hello");
    CHECK(decode_base64("").empty());
    CHECK(decode_base64("//79") == "\xff\xfe\xfd");
    for (const char* bad : {"a", "aGVsbG8===", "aG=VsbG8", "aGVs-", "aGVsb", "aGVs\x80"})
        CHECK_THROWS_AS((void)decode_base64(bad), Error);
}

TEST_CASE("http: dates and origins") {
    CHECK(http_date("Wed, 21 Oct 2026 07:28:00 GMT") == 1792567680);
    CHECK_FALSE(http_date("soon").has_value());
    CHECK(origin_of("https://user:pw@api.example/v1?x=1") == "https://api.example");
    CHECK(origin_of("http://127.0.0.1:80/s/x") == "http://127.0.0.1:80");
    CHECK(origin_of("") == "");
}
