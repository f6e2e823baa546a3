#include "config/model_choice.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;
using Key = ModelChoice::Key;

namespace {

// As if every server had its key there, or, with a name, that one alone.
auto all(KeysPresent keys, const std::string& name = {}) {
    return [keys, name](const ModelServer& server, const std::string&) {
        return name.empty() || server.name == name ? keys : KeysPresent{};
    };
}

}  // namespace

TEST_CASE("model choice: no key and no url is the demo model, whatever the name") {
    for (const char* name : {"", "demo", "claude-opus-4-1"}) {
        const ModelChoice choice = choose_model({name, ""}, all({}));
        CHECK(choice.demo);
        CHECK(choice.url.empty());
        CHECK(choice.model == "demo");
    }
    CHECK(ModelChoice().demo);
}

TEST_CASE("model choice: what is not given is as the other says, each by itself") {
    const ModelConfig both = ModelConfig{"flag", "", "chat"}.or_else({"config", "http://127.0.0.1:1", "anthropic"});
    CHECK(both.model == "flag");
    CHECK(both.model_url == "http://127.0.0.1:1");
    CHECK(both.dialect == "chat");
}

TEST_CASE("model choice: a key chooses the vendor, the store's before the environment's") {
    const ModelChoice stored = choose_model({}, all({.stored = true, .environment = true}));
    CHECK_FALSE(stored.demo);
    CHECK(stored.url == model_servers().front().base);
    CHECK(stored.model == model_servers().front().default_model);
    CHECK(stored.key == Key::Stored);
    CHECK(choose_model({}, all({.environment = true})).key == Key::Environment);
    CHECK(choose_model({"other", ""}, all({.stored = true})).model == "other");
}

TEST_CASE(
    "model choice: the demo model can be asked for in spite of a key, and then no key is used") {
    const ModelChoice choice = choose_model({"demo", ""}, all({.stored = true}));
    CHECK(choice.demo);
    CHECK(choice.key == Key::None);
}

TEST_CASE("model choice: a url is used without a key, and a slash at its end is no part of it") {
    const ModelChoice choice = choose_model({"m", "http://127.0.0.1:4010//"}, all({}));
    CHECK_FALSE(choice.demo);
    CHECK(choice.url == "http://127.0.0.1:4010");
    CHECK(choice.key == Key::None);
    CHECK(choose_model({"m", "https://h/api/v1"}, all({})).url == "https://h/api/v1");
}

TEST_CASE("model choice: a key never goes out in clear text") {
    for (const char* url : {"http://models.example", "http://192.168.1.5:8080",
                            "http://127.evil.example", "http://localhost.evil.example",
                            "http://[fe80::1]", "http://127.0.0.1.evil.example:80/x"}) {
        const ModelChoice choice = choose_model({"m", url}, all({.stored = true}));
        CHECK(choice.key == Key::None);
        CHECK(choice.note.find("not sent") != std::string::npos);
    }
    for (const char* url : {"https://models.example", "http://127.0.0.1:1", "http://localhost",
                            "http://[::1]:99/v"}) {
        const ModelChoice choice = choose_model({"m", url}, all({.stored = true}));
        CHECK(choice.key == Key::Stored);
        CHECK(choice.note.empty());
    }
}

TEST_CASE("model choice: what is no plain http address is an error") {
    for (const char* url :
         {"models.example", "ftp://x", "file:///etc/passwd", "https://", "http:///x",
          "https://user:pw@host", "http://127.0.0.1@evil.example", "http://a b",
          "https://a\r\nx: y", "https://h/?q=", "https://h#f", "http://a\\@b"})
        CHECK_THROWS_AS((void)choose_model({"m", url}, all({})), Error);
}

TEST_CASE("model choice: the host of a url is told without its path") {
    CHECK(url_host("https://api.anthropic.com/x/y") == "api.anthropic.com");
    CHECK(url_host("http://127.0.0.1:4010") == "127.0.0.1:4010");
}

TEST_CASE("model choice: without an address the first server of the table whose key is there answers") {
    const ModelChoice openai = choose_model({}, all({.environment = true}, "openai"));
    CHECK(openai.url == "https://api.openai.com/v1");
    CHECK(openai.server.dialect == ModelDialect::Responses);
    CHECK(openai.model == openai.server.default_model);
    const ModelChoice stored = choose_model({}, [](const ModelServer& server, const std::string&) {
        return KeysPresent{server.name == std::string("mistral"), server.name == std::string("anthropic")};
    });
    CHECK(stored.server.name == std::string("mistral"));
}

TEST_CASE("model choice: a key goes to the server it is for, and to no other") {
    const auto anthropic_alone = all({.stored = true}, "anthropic");
    CHECK(choose_model({"m", "https://api.openai.com/v1"}, anthropic_alone).key == Key::None);
    CHECK(choose_model({"m", "https://openrouter.ai/api/v1"}, anthropic_alone).key == Key::None);
    CHECK(choose_model({"m", "https://api.anthropic.com"}, anthropic_alone).key == Key::Stored);
    const auto name = [](const std::string& url) { return key_name(server_at(url), url); };
    CHECK(name("https://api.openai.com/v1") == "openai");
    CHECK(name("https://API.OpenAI.com./v1") == "openai");
    CHECK(name("https://some.example/v1").starts_with("at-some-example-"));
    CHECK(name("https://some.example/v1") == name("https://SOME.example/other"));
    CHECK(name("https://some.example") != name("https://some-example"));
    CHECK(name("https://some.example") != name("https://some.example:8443"));
    CHECK(name("https://" + std::string(300, 'a') + ".example").size() < 60);
    CHECK(key_variable(server_at("https://some.example/v1")) == "OPENAI_API_KEY");
    CHECK(key_variable(server_at("https://some.example")) == "ANTHROPIC_API_KEY");
    CHECK(key_variable(server_at("http://127.0.0.1:11434")) == "");
}

TEST_CASE("model choice: the dialect follows the address unless it is given") {
    const auto dialect = [](const std::string& url, const std::string& given = {}) {
        return choose_model({"m", url, given}, all({})).server.dialect;
    };
    CHECK(dialect("http://127.0.0.1:4010") == ModelDialect::Anthropic);
    CHECK(dialect("http://127.0.0.1:4010/v1") == ModelDialect::Chat);
    CHECK(dialect("http://localhost:11434") == ModelDialect::Chat);
    CHECK(dialect("http://example.org:11434") == ModelDialect::Anthropic);
    CHECK(dialect("http://localhost:12434/anthropic") == ModelDialect::Anthropic);
    CHECK(dialect("http://gateway/openai/deployments") == ModelDialect::Chat);
    CHECK(dialect("http://127.0.0.1:4010/v1", "responses") == ModelDialect::Responses);
    CHECK(dialect("https://api.openai.com/v1", "chat") == ModelDialect::Chat);
    CHECK_THROWS_AS((void)dialect("http://127.0.0.1:4010", "latin"), Error);
}

TEST_CASE("model choice: a request goes behind the address, however people write it") {
    using D = ModelDialect;
    CHECK(request_url("https://h/v1/", D::Anthropic) == "https://h/v1/messages");
    CHECK(request_url("https://h/api", D::Anthropic) == "https://h/api/v1/messages");
    CHECK(request_url("http://127.0.0.1:8080", D::Chat) == "http://127.0.0.1:8080/v1/chat/completions");
    CHECK(request_url("https://h/v1beta/openai/", D::Chat) == "https://h/v1beta/openai/chat/completions");
    CHECK(request_url("https://h/v1", D::Responses) == "https://h/v1/responses");
}
