// websocket_client URL SILENCE_MS LIMIT [HEADER...]: connects, then does what its standard input says, a line each, and
// prints a line for each event:
//   say TEXT · fill N (a text of N bytes) · next MS · wake MS (next, which more input ends) · close CODE REASON
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "error.h"
#include "protocols/websocket.h"

using namespace peacrab;

namespace {

bool read_line(std::string& line) {
    line.clear();
    for (char c = 0; ::read(0, &c, 1) == 1;) {
        if (c == '\n') return true;
        line += c;
    }
    return false;
}

std::string filling(size_t size) {
    std::string out;
    while (out.size() < size) out += static_cast<char>('a' + out.size() % 23);
    return out;
}

void tell(const WebSocketEvent& event) {
    static const char* const kKinds[] = {"nothing", "text", "binary", "closed"};
    const bool filled = event.data.size() > 100 && event.data == filling(event.data.size());
    std::printf("%s %d %zu %s\n", kKinds[static_cast<int>(event.kind)], event.code, event.data.size(),
                filled ? "filling" : event.data.substr(0, 200).c_str());
    std::fflush(stdout);
}

int run(int count, char** arguments) {
    WebSocketOptions options;
    options.url = arguments[1];
    options.environment = true;
    options.connect_limit = Milliseconds(3000);
    options.silence_limit = Milliseconds(std::atol(arguments[2]));
    options.message_limit = Bytes{static_cast<uint64_t>(std::atoll(arguments[3]))};
    for (int i = 4; i < count; ++i) options.headers.emplace_back(arguments[i]);
    const WebSocket::Opened opened = WebSocket::open(options);
    if (!opened.socket) {
        std::printf("refused %d %s %s\n", opened.status, opened.hopeless ? "hopeless" : "again", opened.detail.c_str());
        return 0;
    }
    std::printf("open\n");
    std::fflush(stdout);
    WebSocket& socket = *opened.socket;
    for (std::string line; read_line(line);) {
        const size_t space = line.find(' ');
        const std::string verb = line.substr(0, space), rest = space < line.size() ? line.substr(space + 1) : "";
        const long number = std::atol(rest.c_str());
        if (verb == "say") socket.send(rest);
        if (verb == "fill") socket.send(filling(static_cast<size_t>(number)));
        if (verb == "next") tell(socket.next(Milliseconds(number)));
        if (verb == "wake") tell(socket.next(Milliseconds(number), 0));
        if (verb == "close")
            socket.close(static_cast<int>(number), rest.substr(std::min(rest.find(' ') + 1, rest.size())));
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) return 2;
    try {
        return run(count, arguments);
    } catch (const Error& error) {
        std::printf("error %s\n", error.what());
        return 1;
    }
}
