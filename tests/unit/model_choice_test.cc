#include "model_choice.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;
using Key = ModelChoice::Key;

TEST_CASE("model choice: no key and no url is the demo model, whatever the name") {
    for (const char* name : {"", "demo", "claude-opus-4-1"}) {
        const ModelChoice choice = choose_model({name, ""}, {});
        CHECK(choice.demo);
        CHECK(choice.url.empty());
        CHECK(choice.model == "demo");
    }
    CHECK(ModelChoice().demo);
}

TEST_CASE("model choice: a key chooses the vendor, the store's before the environment's") {
    const ModelChoice stored = choose_model({}, {.stored = true, .environment = true});
    CHECK_FALSE(stored.demo);
    CHECK(stored.url == kDefaultModelUrl);
    CHECK(stored.model == kDefaultModel);
    CHECK(stored.key == Key::Stored);
    CHECK(choose_model({}, {.environment = true}).key == Key::Environment);
    CHECK(choose_model({"other", ""}, {.stored = true}).model == "other");
}

TEST_CASE(
    "model choice: the demo model can be asked for in spite of a key, and then no key is used") {
    const ModelChoice choice = choose_model({"demo", ""}, {.stored = true});
    CHECK(choice.demo);
    CHECK(choice.key == Key::None);
}

TEST_CASE("model choice: a url is used without a key, and a slash at its end is no part of it") {
    const ModelChoice choice = choose_model({"m", "http://127.0.0.1:4010//"}, {});
    CHECK_FALSE(choice.demo);
    CHECK(choice.url == "http://127.0.0.1:4010");
    CHECK(choice.key == Key::None);
    CHECK(choose_model({"m", "http://127.0.0.1:4010/v1/"}, {}).url == "http://127.0.0.1:4010");
    CHECK(choose_model({"m", "https://h/api/v1"}, {}).url == "https://h/api");
}

TEST_CASE("model choice: a key never goes out in clear text") {
    for (const char* url : {"http://models.example", "http://192.168.1.5:8080",
                            "http://127.evil.example", "http://localhost.evil.example",
                            "http://[fe80::1]", "http://127.0.0.1.evil.example:80/x"}) {
        const ModelChoice choice = choose_model({"m", url}, {.stored = true});
        CHECK(choice.key == Key::None);
        CHECK(choice.note.find("not sent") != std::string::npos);
    }
    for (const char* url : {"https://models.example", "http://127.0.0.1:1", "http://localhost",
                            "http://[::1]:99/v"}) {
        const ModelChoice choice = choose_model({"m", url}, {.stored = true});
        CHECK(choice.key == Key::Stored);
        CHECK(choice.note.empty());
    }
}

TEST_CASE("model choice: what is no plain http address is an error") {
    for (const char* url :
         {"models.example", "ftp://x", "file:///etc/passwd", "https://", "http:///x",
          "https://user:pw@host", "http://127.0.0.1@evil.example", "http://a b",
          "https://a\r\nx: y", "https://h/?q=", "https://h#f", "http://a\\@b"})
        CHECK_THROWS_AS((void)choose_model({"m", url}, {}), Error);
}

TEST_CASE("model choice: the host of a url is told without its path") {
    CHECK(url_host("https://api.anthropic.com/x/y") == "api.anthropic.com");
    CHECK(url_host("http://127.0.0.1:4010") == "127.0.0.1:4010");
}
