// The frames of RFC 6455 as bytes: what a server sends, taken apart and held to the rules, and what a client sends.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "types.h"

namespace peacrab {

struct WebSocketFrame {
    enum class Kind {
        Nothing,  // no whole frame is there
        Text,     // a whole message, UTF-8
        Binary,
        Ping,
        Pong,
        Close,
        Wrong,  // against the rules: `code` is to be told the server, `data` says what it did. Nothing more comes
    } kind = Kind::Nothing;
    std::string data;  // of Close: its reason
    int code = 0;      // of Close: 1005 when it has none
};

class WebSocketFrames {
  public:
    explicit WebSocketFrames(Bytes message_limit) : limit_(message_limit.count) {}
    // Where what arrives is appended. No more is kept than the limit and what was appended last.
    std::string& arriving() { return in_; }
    WebSocketFrame next();

  private:
    bool take(WebSocketFrame& out);  // false: not a whole frame; else `out` may still be Nothing

    uint64_t limit_;
    std::string in_;
    size_t at_ = 0;        // of it, what has been taken
    std::string message_;  // of which not all frames have come
    uint8_t opcode_ = 0;   // of its first; 0: there is none
    bool wrong_ = false;
};

constexpr uint8_t kTextFrame = 1, kCloseFrame = 8, kPingFrame = 9, kPongFrame = 10;
// A client's frame, whole. `mask`: four random bytes, new for each.
std::string websocket_frame(uint8_t opcode, std::string_view payload, std::string_view mask);

}  // namespace peacrab
