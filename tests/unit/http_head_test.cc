// Heads and bodies that two parsers could read differently.
#include "http_head.h"

#include <doctest/doctest.h>

using namespace peacrab;
using namespace std::string_view_literals;

namespace {

int status_of(std::string_view head) {
    try {
        (void)parse_request_head(head);
        return 200;
    } catch (const BadRequest& bad) {
        return bad.status();
    }
}

bool framed(std::string_view head) {
    try {
        (void)BodyEnd::of_request(parse_request_head(head));
        return true;
    } catch (const BadRequest&) {
        return false;
    }
}

// How many bytes of `bytes` are the body, fed in pieces of `step`; -1: refused; -2: no end.
int body_size(BodyEnd end, std::string_view bytes, size_t step) {
    size_t used = 0;
    try {
        while (!end.done() && used < bytes.size()) used += end.take(bytes.substr(used, step));
    } catch (const BadRequest&) {
        return -1;
    }
    return end.done() ? static_cast<int>(used) : -2;
}

BodyEnd chunked_request() {
    return BodyEnd::of_request(
        parse_request_head("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
}
BodyEnd response(const char* lines, std::string_view method = "GET") {
    return BodyEnd::of_response(
        parse_response_head(std::string("HTTP/1.1 200 OK\r\n") + lines + "\r\n"), method);
}

}  // namespace

TEST_CASE("http head: a plain request is read") {
    const RequestHead head =
        parse_request_head("GET http://a/b HTTP/1.1\r\nHost: a\r\nX-Y:  z \r\n\r\n");
    CHECK(head.method == "GET");
    CHECK(head.target == "http://a/b");
    CHECK(head.header("x-y") == "z");
    CHECK(head.header("absent") == std::nullopt);
    CHECK(parse_request_head("CONNECT a:1 HTTP/1.0\r\n\r\n").minor == 0);
}

TEST_CASE("http head: what is read differently by some server is refused (D9)") {
    for (const std::string_view head :
         {"GET / HTTP/1.1\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"sv,
          "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"sv, "GET / HTTP/1.1\nHost: a\n\r\n\r\n"sv,
          "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"sv,
          "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"sv,
          "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"sv, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"sv,
          "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"sv, "GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n"sv,
          "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"sv, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"sv,
          "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n"sv, "GET / x HTTP/1.1\r\nHost: a\r\n\r\n"sv,
          "GET / HTTP/2.0\r\nHost: a\r\n\r\n"sv, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"sv,
          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"sv, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"sv,
          "GET /\r\n\r\n"sv, "\r\n\r\n"sv, ""sv, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"sv,
          "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n"sv})
        CHECK_MESSAGE(status_of(head) == 400, std::string(head));
    std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; i < 200; ++i) many += "A: b\r\n";
    CHECK(status_of(many + "\r\n") == 400);
}

TEST_CASE("http head: a request says once how long its body is") {
    const std::string begin = "POST / HTTP/1.1\r\nHost: a\r\n";
    CHECK(framed(begin + "\r\n"));
    CHECK(framed(begin + "Content-Length: 3\r\n\r\n"));
    CHECK(framed(begin + "Transfer-Encoding: Chunked\r\n\r\n"));
    for (const char* lines :
         {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n",
          "Content-Length: 3, 3\r\n", "Content-Length: +3\r\n", "Content-Length: 0x3\r\n",
          "Content-Length: \r\n", "Content-Length: -1\r\n", "Transfer-Encoding: gzip, chunked\r\n",
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: xchunked\r\n",
          "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding:\r\n"})
        CHECK_FALSE_MESSAGE(framed(begin + lines + "\r\n"), lines);
    CHECK_FALSE(framed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

TEST_CASE("http head: the end of a chunked body is found, whatever the pieces") {
    const std::string_view body = "3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n";
    const std::string more = std::string(body) + "GET /next";
    for (size_t step = 1; step <= more.size(); ++step)
        CHECK(body_size(chunked_request(), more, step) == static_cast<int>(body.size()));
}

TEST_CASE("http head: chunks of a request that are not plain are refused") {
    for (const std::string_view body :
         {"3;x=1\r\nabc\r\n0\r\n\r\n"sv, "3\nabc\r\n0\r\n\r\n"sv, "3\r\nabcd\r\n0\r\n\r\n"sv,
          "3\r\nabc\n0\r\n\r\n"sv, "\r\n"sv, "x\r\n"sv, "-1\r\n"sv, " 3\r\nabc\r\n"sv, "3 \r\nabc\r\n"sv,
          "0\r\nX: y\r\n\r\n"sv, "0x3\r\nabc\r\n"sv, "fffffffffffffffff\r\n"sv, "0\r\n\n"sv})
        CHECK_MESSAGE(body_size(chunked_request(), body, 1) == -1, std::string(body));
}

TEST_CASE("http head: a response ends where its method and status say") {
    CHECK(body_size(response("Content-Length: 5\r\n"), "helloX", 2) == 5);
    CHECK(response("Content-Length: 5\r\n", "HEAD").done());
    CHECK(response("").until_close());
    CHECK(body_size(response("Transfer-Encoding: chunked\r\n"), "1;a=b\r\nx\r\n0\r\nT: u\r\n\r\nrest", 3) ==
          21);
    CHECK(BodyEnd::of_response(parse_response_head("HTTP/1.1 304 Not Modified\r\n\r\n"), "GET").done());
    CHECK(BodyEnd::of_response(parse_response_head("HTTP/1.1 204\r\n\r\n"), "GET").done());
    CHECK_THROWS_AS((void)response("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Error);
    CHECK_THROWS_AS((void)response("Content-Length: 5\r\nContent-Length: 6\r\n"), Error);
    for (const char* bad : {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/2 200 OK\r\n\r\n",
                            "ICY 200 OK\r\n\r\n", "\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n",
                            "HTTP/1.1 200 OK\r\n a: b\r\n\r\n"})
        CHECK_THROWS_AS_MESSAGE((void)parse_response_head(bad), Error, bad);
}

TEST_CASE("http head: what is of one connection only is known, and framing stays") {
    CHECK(is_hop_by_hop("connection", ""));
    CHECK(is_hop_by_hop("proxy-authorization", ""));
    CHECK(is_hop_by_hop("x-own", "close, X-Own"));
    CHECK_FALSE(is_hop_by_hop("x-own", "close"));
    CHECK_FALSE(is_hop_by_hop("content-length", "Content-Length"));
    CHECK_FALSE(is_hop_by_hop("host", "host"));
}
