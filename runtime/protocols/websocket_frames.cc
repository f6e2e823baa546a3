// A length is looked at before anything is kept for it. The first thing that is against the rules ends it all.
#include "protocols/websocket_frames.h"

#include <utility>

#include "os.h"

namespace peacrab {
namespace {

using Kind = WebSocketFrame::Kind;

constexpr uint8_t kContinuation = 0, kBinary = 2;
constexpr int kProtocol = 1002, kNoCode = 1005, kGone = 1006, kNotUtf8 = 1007, kTooLarge = 1009;

bool is_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const size_t length = static_cast<unsigned char>(text[at]) < 0x80 ? 1 : utf8_length(text.substr(at, 4));
        if (length == 0) return false;
        at += length;
    }
    return true;
}

bool is_close_code(int code) {
    return (code >= 1000 && code <= 1014 && code != 1004 && code != kNoCode && code != kGone) ||
           (code >= 3000 && code <= 4999);
}

WebSocketFrame wrong(int code, const char* why) {
    return {Kind::Wrong, why, code};
}

WebSocketFrame control(uint8_t opcode, std::string_view payload) {
    if (opcode != kCloseFrame) return {opcode == kPingFrame ? Kind::Ping : Kind::Pong, std::string(payload)};
    if (payload.empty()) return {Kind::Close, {}, kNoCode};
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(payload[i]); };
    const int code = payload.size() > 1 ? byte(0) << 8 | byte(1) : 0;
    const std::string_view reason = payload.size() > 1 ? payload.substr(2) : "";
    if (!is_close_code(code) || !is_utf8(reason))
        return wrong(kProtocol, "the server closed with a code or reason that there is not");
    return {Kind::Close, std::string(reason), code};
}

}  // namespace

WebSocketFrame WebSocketFrames::next() {
    WebSocketFrame out;
    while (!wrong_ && out.kind == Kind::Nothing && take(out)) continue;
    if (out.kind == Kind::Wrong) wrong_ = true;
    if (out.kind == Kind::Nothing || wrong_) {
        in_.erase(0, wrong_ ? in_.size() : at_);
        at_ = 0;
    }
    return out;
}

bool WebSocketFrames::take(WebSocketFrame& out) {
    const std::string_view all = std::string_view(in_).substr(at_);
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(all[i]); };
    const auto refuse = [&](int code, const char* why) {
        out = wrong(code, why);
        return true;
    };
    if (all.size() < 2) return false;
    const uint8_t opcode = byte(0) & 15;
    const bool last = byte(0) & 0x80, is_control = opcode >= kCloseFrame;
    if (byte(0) & 0x70) return refuse(kProtocol, "the server used an extension that was not agreed on");
    if (byte(1) & 0x80) return refuse(kProtocol, "the server masked a frame");
    if ((opcode > kBinary && !is_control) || opcode > kPongFrame)
        return refuse(kProtocol, "the server sent a frame of no known kind");
    uint64_t size = byte(1) & 0x7f;
    const size_t extra = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (is_control && (!last || extra))
        return refuse(kProtocol, "the server sent a control frame that is too long or in pieces");
    if (all.size() < 2 + extra) return false;
    if (extra) {
        size = 0;
        for (size_t i = 0; i < extra; ++i) size = size << 8 | byte(2 + i);
        if (size < 126 || (extra == 8 && size < 65536))
            return refuse(kProtocol, "the server wrote a length in more bytes than it takes");
    }
    if (!is_control && (opcode == kContinuation) != (opcode_ != 0))
        return refuse(kProtocol, "the server mixed two messages");
    if (!is_control && (size > limit_ || message_.size() + size > limit_))
        return refuse(kTooLarge, "the server sent a message that is larger than is accepted");
    if (all.size() - 2 - extra < size) return false;
    const std::string_view payload = all.substr(2 + extra, size);
    at_ += 2 + extra + size;
    if (is_control) {
        out = control(opcode, payload);
        return true;
    }
    if (opcode != kContinuation) opcode_ = opcode;
    message_ += payload;
    if (!last) return true;
    const bool text = std::exchange(opcode_, uint8_t{0}) == kTextFrame;
    if (text && !is_utf8(message_)) return refuse(kNotUtf8, "the server sent a text that is not UTF-8");
    out = {text ? Kind::Text : Kind::Binary, std::exchange(message_, {})};
    return true;
}

std::string websocket_frame(uint8_t opcode, std::string_view payload, std::string_view mask) {
    std::string out(1, static_cast<char>(0x80 | opcode));
    const size_t size = payload.size();
    const int bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    out += static_cast<char>(0x80 | (bytes == 0 ? size : bytes == 2 ? 126 : 127));
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(uint64_t{size} >> shift);
    out += mask;
    const size_t first = out.size();
    out += payload;
    for (size_t i = 0; i < size; ++i) out[first + i] = static_cast<char>(out[first + i] ^ mask[i % 4]);
    return out;
}

}  // namespace peacrab
