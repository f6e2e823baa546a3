#include "model_route.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <thread>

#include "cell_fixture.h"
#include "demo_model.h"
#include "config/secrets.h"
#include "usage_book.h"

using namespace peacrab;

namespace {

constexpr const char* kKey = "sk-ant-real-key-0123456789";
constexpr const char* kAsk =
    R"({"model":"whatever","max_tokens":9,"messages":[{"role":"user","content":"hi"}]})";

// What comes until `enough` says so or the end; fails the test after ten seconds of silence.
std::string receive(int fd, const std::function<bool(const std::string&)>& enough) {
    std::string text;
    char piece[65536];
    while (!enough(text)) {
        struct pollfd entry {
            fd, POLLIN, 0
        };
        REQUIRE(poll(&entry, 1, 10'000) == 1);
        const ssize_t n = read(fd, piece, sizeof piece);
        if (n <= 0) break;
        text.append(piece, static_cast<size_t>(n));
    }
    return text;
}

std::string receive_until(int fd, const std::string& mark) {
    return receive(fd,
                   [&](const std::string& text) { return text.find(mark) != std::string::npos; });
}

std::string receive_all(int fd) {
    return receive(fd, [](const std::string&) { return false; });
}

bool ended(int fd) {
    char byte;
    struct pollfd entry {
        fd, POLLIN, 0
    };
    REQUIRE(poll(&entry, 1, 10'000) == 1);
    return read(fd, &byte, 1) <= 0;
}

std::string request_to(const std::string& path, const std::string& body,
                       const std::string& headers = "") {
    return "POST " + path + " HTTP/1.1\r\nhost: model\r\ncontent-type: application/json\r\n" +
           headers + "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string request(const std::string& body, const std::string& headers = "") {
    return request_to("/v1/messages", body, headers);
}

// A server on loopback that answers each connection by the test's own function.
class Upstream {
  public:
    using Serve = std::function<void(int fd, const std::string& request)>;
    explicit Upstream(Serve serve, int connections = 1) {
        listener_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        struct sockaddr_in address {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* plain = reinterpret_cast<struct sockaddr*>(&address);
        REQUIRE(bind(listener_.get(), plain, size) == 0);
        REQUIRE(listen(listener_.get(), 4) == 0);
        REQUIRE(getsockname(listener_.get(), plain, &size) == 0);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this, serve, connections] {
            for (int i = 0; i < connections; ++i) {
                const UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
                if (!fd) return;
                serve(fd.get(), take(fd.get()));
            }
        });
    }
    ~Upstream() {
        shutdown(listener_.get(), SHUT_RDWR);  // ends an accept that still waits
        thread_.join();
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    std::string seen() const { return seen_; }  // read it after an answer came back

  private:
    std::string take(int fd) {
        std::string text;
        char piece[65536];
        for (;;) {
            const size_t end = text.find("\r\n\r\n");
            if (end != std::string::npos) {
                const size_t at = text.find("Content-Length: ");
                const size_t length =
                    at < end ? std::strtoul(text.c_str() + at + 16, nullptr, 10) : 0;
                if (text.size() >= end + 4 + length) break;
            }
            const ssize_t n = read(fd, piece, sizeof piece);
            if (n <= 0) break;
            text.append(piece, static_cast<size_t>(n));
        }
        seen_ += text;
        return text;
    }
    UniqueFd listener_;
    uint16_t port_ = 0;
    std::string seen_;
    std::thread thread_;
};

Upstream::Serve says(const std::string& bytes) {
    return [bytes](int fd, const std::string&) {
        [[maybe_unused]] const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    };
}

std::string reply(const std::string& status, const std::string& headers, const std::string& body) {
    return "HTTP/1.1 " + status + "\r\n" + headers +
           "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// The route in a thread, the guest's end of its stream, and a key store with or without a key.
struct Guest {
    explicit Guest(const std::string& url, const std::string& key = kKey,
                   HttpServerLimits limits = {},
                   const std::function<void(ModelRouteOptions&)>& more = {}) {
        set_log_level(LogLevel::Error);
        char name[] = "/tmp/peacrab-route-XXXXXX";
        folder = mkdtemp(name);
        if (!key.empty()) SecretStore(folder).write(slot = key_name(server_at(url), url), Secret(key));
        auto pair = SocketPair::stream();
        fd = std::move(pair.ours);
        options.config = {"the-model", url};
        options.secrets = folder;
        options.key_variable = "PEACRAB_TEST_NO_SUCH_KEY";
        options.upstream.environment = false;
        options.limits = limits;
        if (more) more(options);
        thread = std::thread([this, theirs = std::move(pair.theirs)]() mutable {
            ModelRouteOptions mine = options;
            mine.fd = theirs.get();
            exit_code = serve_model_route(mine);
            theirs.reset();
        });
    }
    ~Guest() {
        fd.reset();
        thread.join();
        if (!slot.empty()) SecretStore(folder).remove(slot);
        rmdir(folder.c_str());
    }
    void send(std::string_view bytes) { write_all(fd.get(), bytes); }
    // One whole answer that has a length.
    std::string answer() {
        return receive(fd.get(), [](const std::string& text) {
            const size_t end = text.find("\r\n\r\n");
            const size_t at = text.find("content-length: ");
            return end != std::string::npos && at < end &&
                   text.size() >= end + 4 + std::strtoul(text.c_str() + at + 16, nullptr, 10);
        });
    }
    std::string streamed() { return receive_until(fd.get(), "\r\n0\r\n\r\n"); }

    std::string folder;
    std::string slot;  // of the key, in the store
    ModelRouteOptions options;
    UniqueFd fd;
    int exit_code = -1;
    std::thread thread;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// A chunked body put together again.
std::string dechunked(const std::string& answer) {
    std::string out;
    size_t at = answer.find("\r\n\r\n") + 4;
    while (at < answer.size()) {
        const size_t size = std::strtoul(answer.c_str() + at, nullptr, 16);
        at = answer.find("\r\n", at) + 2;
        if (size == 0) break;
        out += answer.substr(at, size);
        at += size + 2;
    }
    return out;
}

}  // namespace

TEST_CASE("model route: the client's credentials are dropped and the real key goes in") {
    Upstream upstream(says(reply("200 OK", "content-type: application/json\r\n", "{}")));
    Guest guest(upstream.url());
    guest.send(
        request(kAsk,
                "x-api-key: attackers-own\r\nauthorization: Bearer evil\r\ncookie: c=1\r\n"
                "x-forwarded-for: 1.2.3.4\r\nanthropic-version: 2023-06-01\r\n"
                "anthropic-beta: some-beta-2025-01-01\r\nproxy-authorization: Basic xx\r\n"));
    CHECK(has(guest.streamed(), "HTTP/1.1 200 OK\r\n"));
    const std::string seen = upstream.seen();
    CHECK(seen.starts_with("POST /v1/messages HTTP/1.1\r\n"));
    CHECK(has(seen, std::string("x-api-key: ") + kKey + "\r\n"));
    CHECK(has(seen, "anthropic-beta: some-beta-2025-01-01\r\n"));
    for (const char* gone : {"attackers", "evil", "ookie", "forwarded", "uthorization", "whatever"})
        CHECK_FALSE(has(seen, gone));
    CHECK(has(seen, R"("model":"the-model")"));
}

TEST_CASE("model route: the dialect of the server decides the path, the header of the key and the body") {
    struct Row {
        const char *end, *path, *body;
    };
    for (const Row& row : {Row{"/v1", "/v1/chat/completions", R"({"model":"x","messages":[]})"},
                           Row{"/of/openai", "/of/openai/chat/completions", R"({"messages":[]})"}}) {
        Upstream upstream(says(reply("200 OK", "content-type: application/json\r\n", "{}")));
        Guest guest(upstream.url() + row.end);
        guest.send(request_to("/v1/chat/completions", row.body, "authorization: Bearer evil\r\n"));
        CHECK(has(guest.streamed(), "HTTP/1.1 200 OK\r\n"));
        const std::string seen = upstream.seen();
        CHECK(seen.starts_with(std::string("POST ") + row.path + " HTTP/1.1\r\n"));
        CHECK(has(seen, std::string("authorization: Bearer ") + kKey + "\r\n"));
        CHECK(has(seen, R"("model":"the-model")"));
        for (const char* gone : {"evil", "x-api-key", "anthropic-version"}) CHECK_FALSE(has(seen, gone));
        // Neither another dialect's path nor its body passes.
        guest.send(request_to("/v1/messages", row.body));
        CHECK(has(guest.answer(), "POST /v1/chat/completions and nothing else"));
        guest.send(request_to("/v1/chat/completions", R"({"max_tokens":1,"system":[],"messages":[]})"));
        CHECK(has(guest.answer(), "does not pass on 'system'"));
        guest.send(request_to("/v1/chat/completions/../responses", row.body));
        CHECK(has(guest.answer(), "and nothing else"));
    }
}

TEST_CASE("model route: header values of an unknown form are replaced, not passed on") {
    Upstream upstream(says(reply("200 OK", "", "{}")));
    Guest guest(upstream.url());
    guest.send(request(kAsk, "anthropic-version: <script>\r\nanthropic-beta: a;b=\"c\"\r\n"));
    (void)guest.streamed();
    CHECK(has(upstream.seen(), "anthropic-version: 2023-06-01\r\n"));
    CHECK_FALSE(has(upstream.seen(), "anthropic-beta"));
}

TEST_CASE("model route: without a key the sentinel is sent") {
    Upstream upstream(says(reply("200 OK", "", "{}")));
    Guest guest(upstream.url(), "");
    guest.send(request(kAsk));
    (void)guest.streamed();
    CHECK(has(upstream.seen(), "x-api-key: proxy-managed\r\n"));
}

TEST_CASE("model route: only listed headers come back, and the key in none of them") {
    Upstream upstream(says(reply("429 Too Many",
                                 "content-type: application/json\r\nset-cookie: s=1\r\n"
                                 "retry-after: 7\r\nx-should-retry: true\r\n"
                                 "request-id: req_" +
                                     std::string(kKey) +
                                     "\r\nserver: x\r\n"
                                     "anthropic-ratelimit-tokens-remaining: 3\r\nvia: internal\r\n",
                                 "{}")));
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    const std::string answer = guest.streamed();
    CHECK(answer.starts_with("HTTP/1.1 429 "));
    for (const char* kept :
         {"content-type: application/json", "retry-after: 7", "x-should-retry: true",
          "request-id: req_[key removed]", "anthropic-ratelimit-tokens-remaining: 3"})
        CHECK(has(answer, kept));
    for (const char* gone : {"set-cookie", "server:", "via:", kKey}) CHECK_FALSE(has(answer, gone));
}

TEST_CASE("model route: the key is scrubbed from a body that is split inside it") {
    const std::string body = "you sent " + std::string(kKey) + " and " + kKey + ".";
    Upstream upstream([&](int fd, const std::string&) {
        says("HTTP/1.1 401 No\r\ncontent-type: text/plain\r\ncontent-length: " +
             std::to_string(body.size()) + "\r\n\r\n")(fd, "");
        for (const char c : body) says(std::string(1, c))(fd, "");
    });
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    CHECK(dechunked(guest.streamed()) == "you sent [key removed] and [key removed].");
}

TEST_CASE("model route: a stream is passed on as it arrives") {
    Pipe go = Pipe::make();
    Upstream upstream([&](int fd, const std::string&) {
        says(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            "transfer-encoding: chunked\r\n\r\n7\r\nfirst\n\n\r\n")(fd, "");
        char byte;
        (void)read_some(go.read.get(), std::span(&byte, 1));  // until the guest has the first event
        says("8\r\nsecond\n\n\r\n0\r\n\r\n")(fd, "");
    });
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    const std::string first = receive_until(guest.fd.get(), "first\n\n");
    CHECK(has(first, "first\n\n"));
    CHECK(has(first, "transfer-encoding: chunked"));
    write_all(go.write.get(), "x");
    CHECK(has(guest.streamed(), "second\n\n"));
}

TEST_CASE("model route: one connection serves many requests, upstream's is used again") {
    Upstream upstream([&](int fd, const std::string&) {
        says(reply("200 OK", "", "one"))(fd, "");
        char piece[4096];
        CHECK(read(fd, piece, sizeof piece) > 0);
        says(reply("200 OK", "", "two"))(fd, "");
        CHECK(read(fd, piece, sizeof piece) >= 0);
    });
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    CHECK(dechunked(guest.streamed()) == "one");
    guest.send(request(kAsk));
    CHECK(dechunked(guest.streamed()) == "two");
}

TEST_CASE("model route: a redirect is never followed, and the sentence says what to do") {
    for (const char* status : {"301 Moved", "302 Found", "307 Temporary", "308 Permanent"}) {
        Upstream elsewhere(says(reply("200 OK", "", "stolen")));
        Upstream upstream(
            says(reply(status, "location: " + elsewhere.url() + "/v1/messages\r\n", "")));
        Guest guest(upstream.url());
        guest.send(request(kAsk));
        const std::string answer = guest.answer();
        CHECK(answer.starts_with("HTTP/1.1 502 "));
        CHECK(has(answer, R"({"type":"error","error":{"type":"api_error")"));
        CHECK(has(answer, "redirect"));
        CHECK(has(answer, "x-should-retry: false"));
        CHECK(elsewhere.seen().empty());
    }
}

TEST_CASE("model route: an unreachable server is a 502 that names it") {
    std::string url;
    { url = Upstream(says("")).url(); }  // a port where nobody listens any more
    Guest guest(url);
    guest.send(request(kAsk));
    const std::string answer = guest.answer();
    CHECK(answer.starts_with("HTTP/1.1 502 "));
    CHECK(has(answer, "127.0.0.1"));
    CHECK(has(answer, "check model-url"));
    guest.send(request(kAsk));  // and the connection goes on
    CHECK(guest.answer().starts_with("HTTP/1.1 502 "));
}

TEST_CASE("model route: an answer that is cut reaches the guest as cut, not as whole") {
    for (const char* framing :
         {"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "content-length: 500\r\n\r\nhello"}) {
        Upstream upstream(
            says(std::string("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n") + framing));
        Guest guest(upstream.url());
        guest.send(request(kAsk));
        const std::string answer = receive_all(guest.fd.get());
        CHECK(has(answer, "hello"));
        CHECK_FALSE(has(answer, "0\r\n\r\n"));
    }
}

TEST_CASE("model route: a server that closes without an answer is a 502") {
    Upstream upstream(says(""), 4);
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    CHECK(guest.answer().starts_with("HTTP/1.1 502 "));
}

TEST_CASE("model route: when the guest hangs up the upstream transfer is dropped") {
    Pipe told = Pipe::make();
    Upstream upstream([&](int fd, const std::string&) {
        says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")(fd, "");
        char byte;
        (void)read(fd, &byte, 1);  // ends when the route drops the connection
        write_all(told.write.get(), "x");
    });
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    (void)receive_until(guest.fd.get(), "hello");
    guest.fd.reset();
    CHECK_FALSE(ended(told.read.get()));
}

TEST_CASE("model route: bytes during an answer end the connection") {
    Upstream upstream([&](int fd, const std::string&) {
        says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")(fd, "");
        char byte;
        (void)read(fd, &byte, 1);
    });
    Guest guest(upstream.url());
    guest.send(request(kAsk));
    (void)receive_until(guest.fd.get(), "hello");
    guest.send("GET / HTTP/1.1\r\n\r\n");
    CHECK_FALSE(has(receive_all(guest.fd.get()), "0\r\n\r\n"));
}

TEST_CASE("model route: everything but POST /v1/messages is a 403 with a sentence") {
    Guest guest("http://127.0.0.1:1");
    for (const char* line :
         {"GET /v1/messages", "GET /v1/models", "POST /v1/messages/../files", "POST //v1/messages",
          "POST /v1/messages?beta=true", "POST /v1/messages/", "POST /v1/Messages",
          "POST /v1/files", "POST /v1/messages/count_tokens", "POST /v1/%6dessages",
          "POST /v1/messages%00", "POST http://evil.example/v1/messages",
          "CONNECT evil.example:443", "OPTIONS *", "POST /v1/messages#x", "PUT /v1/messages",
          "post /v1/messages", "POST /./v1/messages"}) {
        CAPTURE(line);
        guest.send(std::string(line) +
                   " HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                   "content-length: 2\r\n\r\n{}");
        const std::string answer = guest.answer();
        CHECK(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        CHECK(has(answer, R"({"type":"error","error":{"type":"permission_error","message":")"));
    }
}

TEST_CASE("model route: another content type, no JSON and forbidden features are refused") {
    Guest guest("http://127.0.0.1:1");
    for (const char* type : {"text/plain", "application/jsonp", "", "multipart/form-data"}) {
        guest.send(std::string("POST /v1/messages HTTP/1.1\r\ncontent-type: ") + type +
                   "\r\ncontent-length: 2\r\n\r\n{}");
        CHECK(guest.answer().starts_with("HTTP/1.1 403 "));
    }
    guest.send(request("{\"model\":"));
    CHECK(guest.answer().starts_with("HTTP/1.1 400 "));
    guest.send(request(R"({"messages":[],"messages":[]})"));
    CHECK(guest.answer().starts_with("HTTP/1.1 400 "));
    guest.send(request(R"({"messages":[],"mcp_servers":[{"url":"https://evil"}]})"));
    const std::string answer = guest.answer();
    CHECK(answer.starts_with("HTTP/1.1 403 "));
    CHECK(has(answer, "mcp_servers"));
}

TEST_CASE("model route: what could smuggle a request is a 400 and the end of the connection") {
    const std::string post = "POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\n";
    const std::string size = "content-length: 2\r\n";
    for (const std::string& bytes :
         {post + size + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked\r\n" + size + "\r\n0\r\n\r\n",
          post + size + size + "\r\n{}",
          post + size + "content-length: 3\r\n\r\n{}",
          post + "content-length: 2, 2\r\n\r\n{}",
          post + "content-length: +2\r\n\r\n{}",
          post + "content-length: -2\r\n\r\n{}",
          post + "content-length: 0x2\r\n\r\n{}",
          post + "content-length: 2 \x0b\r\n\r\n{}",
          post + "content-length:\r\n\r\n",
          post + "content-length: 99999999999999999999\r\n\r\n",
          post + "content-length : 2\r\n\r\n{}",
          post + "x: y\r\n " + size + "\r\n{}",
          post + "x: y\r\n\t" + size + "\r\n{}",
          post + "x: y\n" + size + "\r\n{}",
          post + "x: y\r" + size + "\r\n{}",
          post + "x\x01: y\r\n" + size + "\r\n{}",
          post + std::string("x: a\0b\r\n", 8) + size + "\r\n{}",
          post + ": nameless\r\n" + size + "\r\n{}",
          post + "no colon\r\n" + size + "\r\n{}",
          post + "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
          post + "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
          post + "transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
          post + "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
          post + size + "\r\n{}POST /v1/messages HTTP/1.1\r\n\r\n",
          "\r\n" + post + size + "\r\n{}",
          std::string("POST  /v1/messages HTTP/1.1\r\n\r\n"),
          std::string("POST /v1/messages\r\n\r\n"),
          std::string("POST /v1/messages HTTP/1.1 x\r\n\r\n"),
          std::string("POST /v1/mess ages HTTP/1.1\r\n\r\n"),
          std::string("\x16\x03\x01\r\n\r\n")}) {
        CAPTURE(bytes);
        Guest guest("http://127.0.0.1:1");
        guest.send(bytes);
        const std::string answer = guest.answer();
        CHECK(answer.starts_with("HTTP/1.1 4"));
        CHECK_FALSE(answer.starts_with("HTTP/1.1 403"));
        CHECK(has(answer, "connection: close\r\n"));
        CHECK(ended(guest.fd.get()));
    }
}

TEST_CASE("model route: other versions of HTTP are refused") {
    for (const char* version : {"HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"}) {
        Guest guest("http://127.0.0.1:1");
        guest.send(std::string("POST /v1/messages ") + version + "\r\ncontent-length: 2\r\n\r\n{}");
        const std::string answer = guest.answer();
        CHECK((answer.starts_with("HTTP/1.1 505 ") || answer.starts_with("HTTP/1.1 400 ")));
    }
}

TEST_CASE("model route: a chunked request is read, its extensions and trailers are dropped") {
    Upstream upstream(says(reply("200 OK", "", "{}")));
    Guest guest(upstream.url());
    const std::string body = kAsk;
    char size[16];
    snprintf(size, sizeof size, "%zx", body.size());
    guest.send(
        "POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\n"
        "Transfer-Encoding: Chunked\r\n\r\n" +
        std::string(size) + ";ext=1\r\n" + body +
        "\r\n0\r\nanthropic-beta: trailer\r\nx-api-key: evil\r\n\r\n");
    CHECK(guest.streamed().starts_with("HTTP/1.1 200 "));
    CHECK_FALSE(has(upstream.seen(), "trailer"));
    CHECK_FALSE(has(upstream.seen(), "evil"));
}

TEST_CASE("model route: a header or a body beyond the limit is refused in words") {
    HttpServerLimits limits;
    limits.body = KiB(64);
    const auto first_line = [&](const std::string& bytes) {
        Guest guest("http://127.0.0.1:1", kKey, limits);
        std::thread writer([&] {  // may be cut off in the middle
            for (size_t at = 0; at < bytes.size(); at += 4096)
                if (send(guest.fd.get(), bytes.data() + at,
                         std::min<size_t>(4096, bytes.size() - at), MSG_NOSIGNAL) < 0)
                    break;
        });
        const std::string answer = guest.answer();
        writer.join();
        return answer.substr(0, answer.find("\r\n"));
    };
    CHECK(first_line(request(kAsk, "x: " + std::string(40 << 10, 'a') + "\r\n")) ==
          "HTTP/1.1 431 Request Header Fields Too Large");
    CHECK(first_line(std::string(200 << 10, 'a')) ==
          "HTTP/1.1 431 Request Header Fields Too Large");
    CHECK(first_line(request(std::string(65 << 10, ' '))) == "HTTP/1.1 413 Payload Too Large");
    CHECK(first_line("POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n11000\r\n" +
                     std::string(0x11000, ' ')) == "HTTP/1.1 413 Payload Too Large");
    std::string many = "POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for (int i = 0; i < 3; ++i) many += "8000\r\n" + std::string(0x8000, ' ') + "\r\n";
    CHECK(first_line(many) == "HTTP/1.1 413 Payload Too Large");
    CHECK(first_line("POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2;" +
                     std::string(100 << 10, 'e')) == "HTTP/1.1 400 Bad Request");
}

#ifndef __SANITIZE_ADDRESS__  // there is no bound of memory then
TEST_CASE("model route: a body of millions of values is refused within a bound of memory") {
    SocketPair pair = SocketPair::stream();
    const pid_t pid = fork();
    if (pid == 0) {
        pair.ours.reset();
        set_log_level(LogLevel::Error);
        ModelRouteOptions options;
        options.fd = pair.theirs.get();
        options.secrets = "/nonexistent/peacrab";
        options.key_variable = "PEACRAB_TEST_NO_SUCH_KEY";
        _exit(model_route_main(options));
    }
    Pidfd child = Pidfd::of_child(pid);
    pair.theirs.reset();
    std::string body = R"({"messages":[0)";
    while (body.size() < (size_t{32} << 20) - 16) body += ",0";
    write_all(pair.ours.get(), request(body + "]}"));
    const std::string answer = receive_until(pair.ours.get(), "too many values");
    CHECK(answer.starts_with("HTTP/1.1 413 "));
    write_all(pair.ours.get(), request(kAsk));  // and it goes on
    CHECK(has(receive_until(pair.ours.get(), kDemoFooter), kDemoFooter));
    pair.ours.reset();
    CHECK(child.wait().ok());
}
#endif

TEST_CASE("model route: a request that trickles is ended by the clock") {
    HttpServerLimits limits;
    limits.request = Milliseconds(50);
    for (const std::string& start :
         {std::string("POST /v1"),
          std::string("POST /v1/messages HTTP/1.1\r\ncontent-length: 9\r\n\r\n{")}) {
        Guest guest("http://127.0.0.1:1", kKey, limits);
        guest.send(start);
        CHECK(guest.answer().starts_with("HTTP/1.1 408 "));
    }
}

TEST_CASE("model route: a guest that takes nothing is ended by the clock") {
    HttpServerLimits limits;
    limits.write = Milliseconds(50);
    Upstream upstream(says(reply("200 OK", "", std::string(4 << 20, 'x'))));
    Guest guest(upstream.url(), kKey, limits);
    guest.send(request(kAsk));
    guest.thread.join();
    CHECK(guest.exit_code == 1);
    guest.thread = std::thread([] {});
}

TEST_CASE("model route: half a request and the end is no request") {
    Upstream upstream(says(reply("200 OK", "", "{}")));
    Guest guest(upstream.url());
    guest.send(request(kAsk).substr(0, 150));
    shutdown(guest.fd.get(), SHUT_WR);
    CHECK(guest.answer().starts_with("HTTP/1.1 400 "));
    CHECK(upstream.seen().empty());
}

TEST_CASE("model route: without a key the demo model answers over the same wire") {
    Guest guest("", "");
    guest.send(request(
        R"({"model":"x","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]})"));
    const std::string stream = dechunked(guest.streamed());
    CHECK(stream.starts_with("event: message_start\ndata: "));
    CHECK(stream.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    guest.send(request(kAsk));
    const std::string whole = guest.answer();
    CHECK(has(whole, "content-type: application/json\r\n"));
    CHECK(has(whole, kDemoFooter));
    CHECK(has(whole, R"("model":"demo")"));
    guest.send(request("{}"));
    CHECK(guest.answer().starts_with("HTTP/1.1 400 "));
}

TEST_CASE("model route: the key is looked up anew at each request") {
    Guest guest("", "");
    guest.send(request(kAsk));
    CHECK(has(guest.answer(), kDemoFooter));
    // A file others can read is refused in words that show no path of the host.
    guest.slot = "anthropic";  // whose key it is when no address is given
    SecretStore(guest.folder).write(guest.slot, Secret("short"));
    REQUIRE(chmod((guest.folder + "/" + guest.slot).c_str(), 0644) == 0);
    set_log_level(LogLevel::Error);
    guest.send(request(kAsk));
    const std::string answer = guest.answer();
    CHECK(answer.starts_with("HTTP/1.1 502 "));
    CHECK_FALSE(has(answer, guest.folder));
    CHECK(has(answer, "peacrab doctor"));
}

TEST_CASE("model route: the key of the environment is used when the store has none") {
    REQUIRE(setenv("PEACRAB_TEST_KEY", "sk-ant-from-environment", 1) == 0);
    ModelRouteOptions options;
    options.secrets = "/nonexistent/peacrab";
    options.key_variable = "PEACRAB_TEST_KEY";
    CHECK(choose_model_here(options).key == ModelChoice::Key::Environment);
    options.key_variable = "PEACRAB_TEST_NO_SUCH_KEY";
    CHECK(choose_model_here(options).demo);
}

namespace {

// A book of the host, and what stands in it for today.
struct Booked {
    test::Folder folder;
    Spending spending;
    Booked() { spending.prices = {{"the-model", 1'000'000, 1'000'000, 0, 0}}; }
    std::string path() const { return folder.path + "/usage.db"; }
    void into(ModelRouteOptions& options) const {
        options.book = path();
        options.agent = "main";
        options.spending = spending;
    }
    Spent spent() const {
        return UsageBook(path(), spending).ledger().spent(Ledger::Scope::Agent, {"main"});
    }
};

constexpr const char* kMessage =
    R"({"type":"message","role":"assistant","model":"the-model","content":[{"type":"text","text":"hi"}],)"
    R"("stop_reason":"end_turn","usage":{"input_tokens":120,"output_tokens":30}})";

}  // namespace

TEST_CASE("model route: what an answer cost is in the book, call after call, and then no more goes out") {
    Booked booked;
    booked.spending.day = {kUsd / 2, kNoLimit};  // 500 tokens of that price
    int asked = 0;
    Upstream upstream(
        [&asked](int fd, const std::string&) {
            ++asked;
            const std::string bytes =
                reply("200 OK", "content-type: application/json\r\nconnection: close\r\n", kMessage);
            (void)!send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        },
        5);
    {
        Guest guest(upstream.url(), kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
        for (int i = 0; i < 4; ++i) {
            guest.send(request(kAsk));
            CHECK(has(guest.streamed(), "200 OK"));
        }
        guest.send(request(kAsk));
        const std::string refused = guest.answer();
        CHECK(has(refused, "HTTP/1.1 402 "));
        CHECK(has(refused, "x-should-retry: false"));
        CHECK(has(refused, "peacrab_budget_error"));
        CHECK(has(refused, "the budget of all agents today (UTC) is spent: 0.60 USD of 0.50 USD; answer `more`"));
        // The person allows it.
        CHECK(UsageBook(booked.path(), booked.spending).give_more({"main"}));
        guest.send(request(kAsk));
        CHECK(has(guest.streamed(), "200 OK"));
    }
    CHECK(asked == 5);
    CHECK(booked.spent().calls == 5);
    CHECK(booked.spent().input == 600);
    CHECK(booked.spent().output == 150);
    CHECK(booked.spent().money == 750 * int64_t{1'000'000});
    CHECK(booked.spent().estimated == 0);
}

TEST_CASE("model route: an answer the guest hangs up on is paid for; one that nobody gave is not") {
    Booked booked;
    Upstream upstream([](int fd, const std::string&) {
        const std::string head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                                 "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":"
                                 "\"the-model\",\"content\":[],\"usage\":{\"input_tokens\":77,\"output_tokens\":1}}}\n\n";
        (void)!send(fd, head.data(), head.size(), MSG_NOSIGNAL);
        char byte;
        (void)!recv(fd, &byte, 1, 0);  // until the route has gone
    });
    {
        Guest guest(upstream.url(), kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
        guest.send(request(kAsk));
        (void)receive_until(guest.fd.get(), "message_start");
    }
    CHECK(booked.spent().calls == 1);
    CHECK(booked.spent().input == 77);
    const Spent before = booked.spent();
    {
        Upstream refuses(says(reply("529 Overloaded", "content-type: application/json\r\n", "{}")));
        Guest guest(refuses.url(), kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
        guest.send(request(kAsk));
        (void)guest.streamed();
    }
    {
        Guest guest("http://127.0.0.1:9", kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
        guest.send(request(kAsk));
        (void)guest.answer();
    }
    CHECK(booked.spent() == before);
}

TEST_CASE("model route: from before it goes out a request is in the book, with the most it may cost") {
    Booked booked;
    Spent meanwhile;
    Upstream upstream([&](int fd, const std::string&) {
        meanwhile = booked.spent();  // what stays if the route is killed now
        const std::string bytes = reply("200 OK", "content-type: application/json\r\n", kMessage);
        (void)!send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    });
    {
        Guest guest(upstream.url(), kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
        guest.send(request(kAsk));
        (void)guest.streamed();
    }
    CHECK(meanwhile.calls == 1);
    CHECK(meanwhile.estimated == 1);
    CHECK(meanwhile.output == 9);
    CHECK(meanwhile.input > 0);
    CHECK(booked.spent().output == 30);
}

TEST_CASE("model route: without a book that can be written nothing goes out") {
    Booked booked;
    {
        Database database(booked.path(), Durability::ProcessCrash);
        Ledger ledger(database);
        database.run("CREATE TRIGGER full BEFORE INSERT ON spent BEGIN SELECT RAISE(FAIL, 'full'); END");
    }
    Guest guest("http://127.0.0.1:9", kKey, {}, [&](ModelRouteOptions& options) { booked.into(options); });
    guest.send(request(kAsk));
    CHECK(has(guest.answer(), "cannot write down what is spent"));
}

TEST_CASE("model route: a server of Chat is made to count") {
    Upstream upstream(says(reply("200 OK", "content-type: application/json\r\n", "{}")));
    Guest guest(upstream.url() + "/v1");
    guest.send(request_to("/v1/chat/completions",
                          R"({"model":"x","stream":true,"stream_options":{"include_usage":false},"messages":[]})"));
    (void)guest.streamed();
    CHECK(has(upstream.seen(), R"("stream_options":{"include_usage":true})"));
}

TEST_CASE("model route: whose request it is comes in its job, and nothing else is one") {
    ModelRouteOptions options;
    read_model_job(model_job("scout", "/b"), options);
    CHECK(options.agent == "scout");
    CHECK(options.book == "/b");
    for (const char* bad : {"", "{}", R"({"agent":"../x","book":"/b"})", R"({"agent":"main","book":""})"})
        CHECK_THROWS_AS(read_model_job(bad, options), Error);
}
