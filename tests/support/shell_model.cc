// shell_model PORT: an Anthropic Messages endpoint on loopback, static, for machines without Python. What
// is said to it is a command for the tool `shell`; what that gave is its answer, word for word, behind
// "failed: " if the call failed. Brings loopback up if it may. Serves one connection after the other, until
// it is killed.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cells/report.h"
#include "json.h"
#include "loopback_server.h"

using namespace peacrab;

namespace {

std::string event(json::Value data) {
    return "event: " + data.text("type") + "\ndata: " + json::dump(data) + "\n\n";
}

json::Value object(std::initializer_list<json::Member> members) {
    return json::Value::object(members);
}

std::string block(json::Value opened, json::Value delta) {
    return event(object({{"type", "content_block_start"}, {"index", 0}, {"content_block", std::move(opened)}})) +
           event(object({{"type", "content_block_delta"}, {"index", 0}, {"delta", std::move(delta)}})) +
           event(object({{"type", "content_block_stop"}, {"index", 0}}));
}

std::string message(const std::string& content, const char* reason) {
    const json::Value head =
        object({{"id", "msg_1"}, {"type", "message"}, {"role", "assistant"}, {"model", "shell"},
                {"content", json::Value::array()},
                {"usage", object({{"input_tokens", 1}, {"output_tokens", 1}})}});
    return event(object({{"type", "message_start"}, {"message", head}})) + content +
           event(object({{"type", "message_delta"},
                         {"delta", object({{"stop_reason", reason}})},
                         {"usage", object({{"output_tokens", 1}})}})) +
           event(object({{"type", "message_stop"}}));
}

std::string text_of(const json::Value& content) {
    if (content.is_string()) return content.as_string();
    std::string all;
    for (const json::Value& part : content.items()) all += part.text("text");
    return all;
}

std::string answer(const json::Value& request) {
    const json::Value& last = request.at("messages").items().back().at("content");
    std::string said = text_of(last);
    if (!last.is_string())
        for (const json::Value& part : last.items())
            if (part.text("type") == "tool_result")
                return message(block(object({{"type", "text"}, {"text", ""}}),
                                     object({{"type", "text_delta"},
                                             {"text", (part.flag("is_error") ? "failed: " : "") +
                                                          text_of(part.at("content"))}})),
                               "end_turn");
    return message(block(object({{"type", "tool_use"}, {"id", "toolu_1"}, {"name", "shell"},
                                 {"input", json::Value::object()}}),
                         object({{"type", "input_json_delta"},
                                 {"partial_json", json::dump(object({{"command", said}}))}})),
                   "tool_use");
}

}  // namespace

int main(int count, char** words) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(count > 1 ? std::atoi(words[1]) : 0));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    static_cast<void>(raise_loopback());
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
        ::listen(listener, 16) < 0) {
        std::perror("shell_model");
        return 1;
    }
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        test::Connection connection(fd);
        for (std::string request; !(request = connection.request()).empty();) {
            const std::string body = answer(json::parse(request.substr(request.find("\r\n\r\n") + 4)));
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: " +
                            std::to_string(body.size()) + "\r\n\r\n" + body);
        }
        ::close(fd);
    }
}
