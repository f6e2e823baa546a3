// model TOOL COUNT: an Anthropic Messages endpoint on loopback that asks for TOOL with a command of the shell COUNT
// times, and then answers "ok". Prints its port; ends when its standard input does. A program of its own, because a
// server in Python takes longer for an answer than any of those that are measured. What it is sent is not checked:
// tests/support/hostile_model.py does that.
// Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

namespace {

std::string tool;
size_t count = 0;
std::atomic<size_t> first_length{0};

std::string event(const std::string& type, const std::string& rest) {
    return "event: " + type + "\ndata: {\"type\":\"" + type + "\"" + rest + "}\n\n";
}

std::string block(const std::string& start, const std::string& delta) {
    return event("content_block_start", ",\"index\":0,\"content_block\":" + start) +
           event("content_block_delta", ",\"index\":0,\"delta\":" + delta) +
           event("content_block_stop", ",\"index\":0");
}

// `made`: how many calls there are results of.
std::string answer(size_t made) {
    const std::string number = std::to_string(made);
    const bool calls = made < count;
    return event("message_start",
                 ",\"message\":{\"id\":\"msg_" + number +
                     "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,"
                     "\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}") +
           (calls ? block("{\"type\":\"tool_use\",\"id\":\"toolu_" + number + "\",\"name\":\"" + tool + "\",\"input\":{}}",
                          "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"command\\\":\\\"true " + number + "\\\"}\"}")
                  : block("{\"type\":\"text\",\"text\":\"\"}", "{\"type\":\"text_delta\",\"text\":\"ok\"}")) +
           event("message_delta", std::string(",\"delta\":{\"stop_reason\":\"") + (calls ? "tool_use" : "end_turn") +
                                      "\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":9}") +
           event("message_stop", "");
}

size_t times(std::string_view text, std::string_view word) {
    size_t found = 0;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + word.size())) ++found;
    return found;
}

void respond(int socket, const char* type, const std::string& body) {
    const std::string whole = std::string("HTTP/1.1 200 OK\r\nContent-Type: ") + type + "\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
    for (std::string_view rest = whole; !rest.empty();) {
        const ssize_t n = send(socket, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (n <= 0) return;
        rest.remove_prefix(static_cast<size_t>(n));
    }
}

size_t content_length(std::string head) {
    std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
    const size_t at = head.find("content-length:");
    return at == head.npos ? 0 : std::strtoul(head.c_str() + at + 15, nullptr, 10);
}

void serve(int socket) {
    std::string text;
    char buffer[65536];
    for (ssize_t n; (n = recv(socket, buffer, sizeof buffer, 0)) > 0;) {
        text.append(buffer, static_cast<size_t>(n));
        for (size_t end; (end = text.find("\r\n\r\n")) != text.npos;) {
            const size_t length = content_length(text.substr(0, end));
            if (text.size() < end + 4 + length) break;
            const std::string body = text.substr(end + 4, length);
            if (text.starts_with("GET")) {
                respond(socket, "text/plain", std::to_string(first_length));
            } else {
                size_t none = 0;
                first_length.compare_exchange_strong(none, length);
                respond(socket, "text/event-stream", answer(times(body, "\"tool_result\"")));
            }
            text.erase(0, end + 4 + length);
        }
    }
    close(socket);
}

}  // namespace

int main(int words, char** word) {
    if (words != 3) return 2;
    tool = word[1];
    count = std::strtoul(word[2], nullptr, 10);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (bind(listener, reinterpret_cast<sockaddr*>(&at), size) < 0 || listen(listener, 64) < 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) < 0)
        return 1;
    std::printf("%d\n", ntohs(at.sin_port));
    std::fflush(stdout);
    for (pollfd both[] = {{listener, POLLIN, 0}, {0, POLLIN, 0}}; poll(both, 2, -1) > 0 && both[1].revents == 0;)
        if (const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); socket >= 0) {
            const int on = 1;
            setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            std::thread(serve, socket).detach();
        }
    _exit(0);
}
