#include "protocols/model_list.h"

#include <doctest/doctest.h>

#include "../support/loopback_server.h"

using namespace peacrab;
using namespace peacrab::test;
using D = ModelDialect;

namespace {

Serve says(const std::string& status, const std::string& body, std::string* asked = nullptr) {
    return [=](Connection& connection) {
        const std::string request = connection.request();
        if (asked) *asked = request;
        connection.send("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n" + body);
    };
}

}  // namespace

TEST_CASE("model list: the names that a server lists, asked beside its dialect's path and without a key") {
    std::string asked;
    const std::string body = R"({"object":"list","data":[{"id":"qwen"},{"id":""},{"name":"x"},{"id":"llama"}]})";
    LoopbackServer server({says("200 OK", body, &asked)});
    CHECK(models_at(server.url() + "/engines/v1", D::Chat) == std::vector<std::string>{"qwen", "llama"});
    CHECK(asked.starts_with("GET /engines/v1/models HTTP/1.1\r\n"));
    CHECK(asked.find("uthorization") == std::string::npos);
    CHECK(asked.find("api-key") == std::string::npos);
    CHECK(first_model(server.url(), D::Anthropic) == "qwen");
    CHECK(asked.starts_with("GET /v1/models HTTP/1.1\r\n"));
    CHECK(models_at(server.url(), D::Responses).size() == 2);
    CHECK(asked.starts_with("GET /v1/models HTTP/1.1\r\n"));
}

TEST_CASE("model list: what is no server of models has none, however it answers") {
    const std::string names = R"({"data":[{"id":")" + std::string(300, 'x') + R"("}]})";
    for (const auto& [status, body] : std::vector<std::pair<std::string, std::string>>{
             {"404 Not Found", R"({"data":[{"id":"a"}]})"},
             {"200 OK", "<html>"},
             {"200 OK", "[]"},
             {"200 OK", R"({"data":{"id":"a"}})"},
             {"200 OK", R"({"data":["a"]})"},
             {"302 Found", R"({"data":[{"id":"a"}]})"},
             {"200 OK", names}}) {
        LoopbackServer server({says(status, body)});
        CHECK(models_at(server.url(), D::Chat).empty());
    }
    LoopbackServer silent({[](Connection& connection) { connection.hang(); }});
    CHECK(models_at(silent.url(), D::Chat).empty());
    LoopbackServer slow({[](Connection& connection) {
        (void)connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n");
        while (connection.send(" ")) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }});
    const auto began = std::chrono::steady_clock::now();
    CHECK(models_at(slow.url(), D::Chat).empty());
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(10));
    CHECK(first_model("http://127.0.0.1:1", D::Chat) == "default");
}
