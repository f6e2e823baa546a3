// A WebSocket client (RFC 6455), for messengers that hand out what happens on one: text both ways, no extensions.
// One thread; it blocks in next() and nowhere else for long.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os.h"

namespace peacrab {

struct WebSocketOptions {
    std::string url;                     // ws:// or wss://, without a fragment
    std::vector<std::string> headers;    // "Name: value", of the first request
    bool environment = false;            // proxy and CA as HttpOptions::environment
    Milliseconds connect_limit{15'000};  // for the connection, and once more for the first answer
    // After so long without a byte from the server it is asked for one; after as long again it counts as gone.
    Milliseconds silence_limit{20'000};
    Bytes message_limit = MiB(16);  // of a message, all of its frames together
};

struct [[nodiscard]] WebSocketEvent {
    enum class Kind {
        Nothing,  // the time was over, or `wake_fd` is readable
        Text,     // a whole message, UTF-8
        Binary,
        Closed,  // the last event. Nothing more can be said or heard
    } kind = Kind::Nothing;
    std::string data;  // of Closed: the server's reason, or a sentence about what happened; no control characters
    // Of Closed: the server's code; 1005 when it gave none. 1006: the connection broke, or was silent. 1002, 1007 and
    // 1009: the server did not keep to the protocol, to UTF-8 or to the limit, and was told so.
    int code = 0;
};

class WebSocket {
  public:
    struct [[nodiscard]] Opened {
        std::unique_ptr<WebSocket> socket;  // empty: see below
        int status = 0;                     // what the server answered in place of 101; 0: there is no such answer
        bool hopeless = false;              // trying again would not help: the address, a CA, 4xx of a proxy
        std::string detail;                 // a sentence for a person, never a credential
    };
    static Opened open(const WebSocketOptions& options, int cancel_fd = -1);
    ~WebSocket();

    // Queues a message; as much of it goes out as can at once, the rest while next() waits. Throws Error when 64 MiB
    // are waiting already. After Closed it has no effect.
    void send(std::string_view text);
    // The next event. Returns early when `wake_fd` becomes readable (nothing is read from it).
    WebSocketEvent next(Milliseconds most, int wake_fd = -1);
    // Tells the server, and waits for it to agree, two seconds at most.
    void close(int code, std::string_view reason);

  private:
    explicit WebSocket(const WebSocketOptions& options);
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace peacrab
