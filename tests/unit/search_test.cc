#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <thread>

#include "config.h"
#include "error.h"
#include "loopback_server.h"
#include "protocols/search_api.h"

using namespace peacrab;

namespace {

SearchOptions with_key(const char* key) {
    SearchOptions options;
    options.key = Secret(key);
    return options;
}

bool has(const std::vector<std::string>& lines, const std::string& line) {
    return std::find(lines.begin(), lines.end(), line) != lines.end();
}

// What serve_search answers to one line.
json::Value ask(const SearchOptions& options, const std::string& line) {
    SocketPair pair = SocketPair::stream();
    std::thread server([&] {
        serve_search(pair.theirs.get(), options);
        pair.theirs.reset();
    });
    write_all(pair.ours.get(), line);
    std::string answer;
    std::array<char, 4096> bytes;
    while (const size_t n = read_some(pair.ours.get(), bytes).value_or(0)) answer.append(bytes.data(), n);
    server.join();
    return json::parse(answer, {kMaxSearchLine, 6});
}

}  // namespace

TEST_CASE("search: each service is asked as it documents, and its key goes to its own address alone") {
    SearchOptions options = with_key("canary");
    options.url = "https://elsewhere.example/";
    const HttpRequest brave = search_request(*search_api("brave"), options, "a b&c", 5);
    CHECK(brave.url == "https://api.search.brave.com/res/v1/web/search?q=a%20b%26c&count=5");
    CHECK(brave.method == "GET");
    CHECK(has(brave.headers, "X-Subscription-Token: canary"));
    const HttpRequest tavily = search_request(*search_api("tavily"), options, "a \"b\"", 5);
    CHECK(tavily.url == "https://api.tavily.com/search");
    CHECK(tavily.method == "POST");
    CHECK(has(tavily.headers, "Authorization: Bearer canary"));
    CHECK(tavily.body == R"({"query":"a \"b\"","max_results":5})");
    const HttpRequest searxng = search_request(*search_api("searxng"), options, "a", 5);
    CHECK(searxng.url == "https://elsewhere.example/search?q=a&format=json");
    for (const std::string& header : searxng.headers) CHECK(header.find("canary") == std::string::npos);
    CHECK(search_api("google") == nullptr);
}

TEST_CASE("search: results are read where each service has them, as plain bounded text") {
    const std::string brave = R"x({"type":"search","web":{"type":"search","results":[
        {"title":"One <strong>bold</strong> &amp; more","url":"https://one.example/","description":"a\u202eb","extra":[1]},
        {"title":"bad","url":"javascript:alert(1)","description":""},
        {"title":"Two","url":"https://two.example/","description":"x < y"}]}})x";
    const json::Value found = search_results(*search_api("brave"), brave, 5);
    REQUIRE(found.items().size() == 2);
    CHECK(found.items()[0].text("title") == "One bold & more");
    CHECK(found.items()[0].text("snippet") == "ab");
    CHECK(found.items()[1].text("url") == "https://two.example/");
    CHECK(found.items()[1].text("snippet") == "x < y");
    CHECK(search_results(*search_api("brave"), brave, 1).items().size() == 1);
    CHECK(search_results(*search_api("brave"), R"({"type":"search"})", 5).items().empty());
    const std::string other = R"({"query":"q","results":[{"title":"T","url":"http://t.example/","content":")" +
                              std::string(5000, 'x') + R"(","score":0.5}]})";
    for (const char* name : {"tavily", "searxng"}) {
        const json::Value list = search_results(*search_api(name), other, 5);
        REQUIRE(list.items().size() == 1);
        CHECK(list.items()[0].text("snippet").size() == 1200);
    }
    CHECK_THROWS_AS(search_results(*search_api("tavily"), R"({"results":"none"})", 5), Error);
    CHECK_THROWS_AS(search_results(*search_api("tavily"), "<html>", 5), Error);
}

TEST_CASE("search: what is not set says what the person has to do") {
    CHECK(ask({}, "{\"query\":\"x\"}\n").text("error").find("peacrab setup --search brave") != std::string::npos);
    SearchOptions options;
    options.api = "tavily";
    CHECK(ask(options, "{\"query\":\"x\"}\n").text("error").find("peacrab setup --search tavily") != std::string::npos);
    options.api = "searxng";
    CHECK(ask(options, "{\"query\":\"x\"}\n").text("error").find("search-url") != std::string::npos);
    for (const char* bad : {"{}\n", "{\"query\":\"\"}\n", "no\n"}) CHECK_FALSE(ask(options, bad).flag("ok"));
    CHECK_FALSE(ask(options, "{\"query\":\"" + std::string(2001, 'x') + "\"}\n").flag("ok"));
    CHECK_THROWS_WITH_AS(parse_config("search: google\n", "c"),
                         "c: line 1: search: one of brave, tavily, searxng was expected", Error);
    CHECK(parse_config("search: searxng\nsearch-url: https://s.example\n", "c").search_url == "https://s.example");
}

TEST_CASE("search: a server is asked once and its answer comes back as one line") {
    test::LoopbackServer server({[](test::Connection& connection) {
        const std::string request = connection.request();
        const std::string body = request.starts_with("GET /search?q=crab&format=json HTTP/1.1\r\n")
                                     ? R"({"results":[{"title":"Crab","url":"https://c.example/","content":"pea"}]})"
                                     : "{}";
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    }, [](test::Connection& connection) {
        (void)connection.request();
        connection.send("HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n\r\n");
    }, [](test::Connection& connection) {
        (void)connection.request();
        connection.send("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
    }});
    SearchOptions options;
    options.api = "searxng";
    options.url = server.url() + "/";
    const json::Value answer = ask(options, "{\"query\":\"crab\",\"count\":3}\n");
    CHECK(json::dump(answer) ==
          R"({"ok":true,"results":[{"title":"Crab","url":"https://c.example/","snippet":"pea"}]})");
    CHECK(ask(options, "{\"query\":\"crab\"}\n").text("error").find("too many searches") != std::string::npos);
    CHECK(ask(options, "{\"query\":\"crab\"}\n").text("error").find("302") != std::string::npos);
}
