// What arrives is taken apart in the order in which it came (websocket_frames), never waiting for more than is there.
// Reading goes on while something waits to go out, or two who both write would wait for each other.
// Source: RFC 6455; the test is tests/channels/websocket_test.py.
#include "protocols/websocket.h"

#include <algorithm>
#include <array>
#include <utility>

#include "error.h"
#include "protocols/base64.h"
#include "protocols/byte_stream.h"
#include "protocols/websocket_frames.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = WebSocketEvent::Kind;

constexpr size_t kHeadLimit = 16 << 10;
constexpr size_t kReadPiece = 64 << 10;
constexpr size_t kOutgoingLimit = 64 << 20;
constexpr int kNoCode = 1005, kGone = 1006;

std::string random_bytes(size_t count) {
    const std::string hex = random_hex(count);
    std::string out;
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
    return out;
}

// RFC 3174. Proves here only that the server read the request; nothing rests on its strength.
std::string sha1(std::string text) {
    const uint64_t bits = text.size() * 8;
    text += '\x80';
    while (text.size() % 64 != 56) text += '\0';
    for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
    const auto turned = [](uint32_t value, int by) { return value << by | value >> (32 - by); };
    std::array<uint32_t, 5> sum{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    for (size_t block = 0; block < text.size(); block += 64) {
        std::array<uint32_t, 80> w{};
        for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(text[block + i]);
        for (size_t i = 16; i < 80; ++i) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        auto [a, b, c, d, e] = sum;
        for (size_t i = 0; i < 80; ++i) {
            const uint32_t f = i < 20              ? (b & c) | (~b & d)
                               : i < 40 || i >= 60 ? b ^ c ^ d
                                                   : (b & c) | (b & d) | (c & d);
            static constexpr uint32_t kAdded[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
            const uint32_t next = turned(a, 5) + f + e + kAdded[i / 20] + w[i];
            e = d, d = c, c = turned(b, 30), b = a, a = next;
        }
        sum[0] += a, sum[1] += b, sum[2] += c, sum[3] += d, sum[4] += e;
    }
    std::string out;
    for (const uint32_t word : sum)
        for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(word >> shift);
    return out;
}

struct Address {
    ByteStreamOptions place;
    std::string host, target;  // as the request says them
};

// Throws Error: not such an address.
Address read_address(const std::string& url) {
    Address out;
    const bool tls = url.starts_with("wss://");
    if (!tls && !url.starts_with("ws://")) throw Error("this is not the address of a WebSocket");
    const std::string rest = url.substr(tls ? 6 : 5);
    const size_t end = std::min(rest.find_first_of("/?"), rest.size());
    out.host = rest.substr(0, end);
    out.target = rest.substr(end);
    if (!out.target.starts_with('/')) out.target.insert(0, "/");
    for (const char c : rest)
        if (static_cast<unsigned char>(c) <= 0x20 || c == '#' || c == 0x7f)
            throw Error("an address has a character in it that none has");
    const size_t colon = out.host.find(':', out.host.starts_with('[') ? out.host.find(']') : 0);
    out.place.host = out.host.substr(0, colon);
    out.place.tls = tls;
    out.place.http = true;
    unsigned port = tls ? 443 : 80;
    if (colon != std::string::npos) {
        port = 0;
        for (const char c : out.host.substr(colon + 1))
            port = c >= '0' && c <= '9' && port < 65536 ? port * 10 + static_cast<unsigned>(c - '0') : 65536;
    }
    if (port == 0 || port > 65535) throw Error("an address has a port that there is not");
    out.place.port = static_cast<uint16_t>(port);
    return out;
}

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\r");
    return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The value of a header, those of one name joined by commas. `head` is whole.
std::string header(const std::string& head, std::string_view name) {
    std::string out;
    for (const std::string& line : split(head, '\n')) {
        const size_t colon = line.find(':');
        if (colon == std::string::npos || lower(line.substr(0, colon)) != name) continue;
        out += (out.empty() ? "" : ",") + std::string(trimmed(std::string_view(line).substr(colon + 1)));
    }
    return out;
}

bool has_token(const std::string& list, std::string_view token) {
    for (const std::string& each : split(lower(list), ','))
        if (trimmed(each) == token) return true;
    return false;
}

}  // namespace

struct WebSocket::State {
    const WebSocketOptions options;
    std::unique_ptr<ByteStream> stream;
    WebSocketFrames frames;
    std::string out;  // not yet handed to the stream
    size_t out_at = 0;
    bool over = false;
    bool close_sent = false;
    Clock::time_point heard = Clock::now();
    bool asked = false;  // since then, with a ping

    explicit State(const WebSocketOptions& given) : options(given), frames(given.message_limit) {}

    void queue(uint8_t opcode, std::string_view payload) {
        out += websocket_frame(opcode, payload, random_bytes(4));
    }

    bool write() {
        for (;;) {
            size_t taken = 0;
            if (!stream->write(std::string_view(out).substr(out_at), taken)) return false;
            out_at += taken;
            if (out_at == out.size() || out_at > kOutgoingLimit / 8) {
                out.erase(0, out_at);
                out_at = 0;
            }
            if (taken == 0 || out.empty()) return true;
        }
    }

    WebSocketEvent closed(int code, std::string why) {
        over = true;
        return {Kind::Closed, printable(utf8_prefix(why, 200)), code};
    }
    void say_goodbye(int code, std::string_view reason) {
        if (close_sent) return;
        close_sent = true;
        std::string payload;
        if (code != kNoCode) payload = {static_cast<char>(code >> 8), static_cast<char>(code)};
        queue(kCloseFrame, payload += utf8_prefix(reason, 120));
        const Clock::time_point end = Clock::now() + Seconds(1);
        while (write() && (!out.empty() || !stream->flushed()) && Clock::now() < end) stream->wait(Milliseconds(100));
    }

    // What has arrived as far as an event; false: nothing whole.
    bool take(WebSocketEvent& event) {
        using Frame = WebSocketFrame::Kind;
        for (;;) {
            WebSocketFrame frame = frames.next();
            switch (frame.kind) {
                case Frame::Nothing: return false;
                case Frame::Text:
                case Frame::Binary:
                    event = {frame.kind == Frame::Text ? Kind::Text : Kind::Binary, std::move(frame.data), 0};
                    return true;
                case Frame::Ping:
                    // Who asks and does not read gets no more answers than these.
                    if (!close_sent && out.size() - out_at < kReadPiece) queue(kPongFrame, frame.data);
                    break;
                case Frame::Pong: break;
                case Frame::Close:
                case Frame::Wrong:
                    say_goodbye(frame.code, "");
                    event = closed(frame.code, frame.data);
                    return true;
            }
        }
    }
};

WebSocket::WebSocket(const WebSocketOptions& options) : state_(std::make_unique<State>(options)) {}
WebSocket::~WebSocket() = default;

namespace {

std::string request_of(const Address& address, const WebSocketOptions& options, const std::string& key) {
    std::string out =
        "GET " + address.target + " HTTP/1.1\r\nHost: " + address.host +
        "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
        "\r\n";
    for (const std::string& line : options.headers) {
        if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
            throw Error("the header " + printable(line.substr(0, line.find(':'))) +
                        " (a key, perhaps) has a line break in it");
        out += line + "\r\n";
    }
    return out + "\r\n";
}

// Sends the request and reads the head of the answer; what follows it stays in `rest`. "": `why` says what happened.
std::string ask(ByteStream& stream, std::string request, Milliseconds limit, std::string& rest, int cancel_fd,
                const char*& why) {
    const Clock::time_point end = Clock::now() + limit;
    std::string head;
    for (size_t sent = 0;;) {
        size_t taken = 0;
        why = "closed the connection before it answered";
        if (!stream.write(std::string_view(request).substr(sent), taken)) return {};
        sent += taken;
        const ByteStream::Got got = stream.read(head, kReadPiece);
        if (got == ByteStream::Got::Ended || got == ByteStream::Got::Broken) return {};
        if (const size_t stop = head.find("\r\n\r\n"); stop != std::string::npos && stop < kHeadLimit) {
            rest = head.substr(stop + 4);
            head.resize(stop);
            std::erase(head, '\r');
            return head;
        }
        why = "sent more headers than are accepted";
        if (head.size() > kHeadLimit) return {};
        why = "did not answer in time";
        if (Clock::now() >= end) return {};
        if (got == ByteStream::Got::Some) continue;
        why = "was not waited for";
        if (stream.wait(std::chrono::ceil<Milliseconds>(end - Clock::now()), cancel_fd)) return {};
    }
}

}  // namespace

WebSocket::Opened WebSocket::open(const WebSocketOptions& options, int cancel_fd) {
    Opened out;
    std::unique_ptr<WebSocket> made(new WebSocket(options));
    State& state = *made->state_;
    const std::string key = base64(random_bytes(16));
    Address address;
    std::string request;
    try {
        address = read_address(options.url);
        request = request_of(address, options, key);
    } catch (const Error& error) {
        out.hopeless = true;
        out.detail = error.what();
        return out;
    }
    address.place.environment = options.environment;
    address.place.connect_limit = options.connect_limit;
    ByteStream::Opened opened = ByteStream::open(address.place, cancel_fd);
    if (!opened.stream) {
        out.hopeless = opened.hopeless;
        out.detail = opened.detail;
        return out;
    }
    const char* why = "";
    const std::string head = ask(*opened.stream, request, options.connect_limit, state.frames.arriving(), cancel_fd, why);
    out.detail = printable(address.host) + ' ';
    if (head.empty()) {
        out.detail += why;
        return out;
    }
    const std::string line = head.substr(0, head.find('\n'));
    const bool http =
        line.starts_with("HTTP/1.1 ") && line.size() >= 12 && line.find_first_not_of("0123456789", 9) >= 12;
    const int status = http ? std::atoi(line.c_str() + 9) : 0;
    if (status != 101) {
        out.status = status;
        out.detail +=
            status ? "answered " + std::to_string(status) + " in place of a WebSocket" : "does not speak HTTP/1.1";
        return out;
    }
    const bool agreed =
        has_token(header(head, "upgrade"), "websocket") && has_token(header(head, "connection"), "upgrade") &&
        header(head, "sec-websocket-accept") == base64(sha1(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) &&
        header(head, "sec-websocket-extensions").empty() && header(head, "sec-websocket-protocol").empty();
    if (!agreed) {
        out.detail += "did not agree to what was asked of it as a WebSocket";
        return out;
    }
    state.stream = std::move(opened.stream);
    state.heard = Clock::now();
    out.detail.clear();
    out.socket = std::move(made);
    return out;
}

void WebSocket::send(std::string_view text) {
    State& state = *state_;
    if (state.over || state.close_sent) return;
    if (state.out.size() - state.out_at + text.size() > kOutgoingLimit)
        throw Error("a WebSocket: too much waits to be sent");
    state.queue(kTextFrame, text);
    (void)state.write();  // when it is gone, next() finds out
}

WebSocketEvent WebSocket::next(Milliseconds most, int wake_fd) {
    State& state = *state_;
    WebSocketEvent event;
    if (state.over) return {Kind::Closed, "it is closed", kGone};
    for (const Clock::time_point end = Clock::now() + most;;) {
        if (state.take(event)) return event;
        const bool writes = state.write();
        const ByteStream::Got got = state.stream->read(state.frames.arriving(), kReadPiece);
        const Clock::time_point now = Clock::now();
        if (got == ByteStream::Got::Some) {
            state.heard = now;
            state.asked = false;
            // Who sends without end keeps nobody from being woken.
            const bool woken = wake_fd >= 0 && state.stream->wait(Milliseconds(0), wake_fd);
            if ((woken || now >= end) && !state.take(event)) return event;
            if (event.kind != Kind::Nothing) return event;
            continue;
        }
        if (got != ByteStream::Got::Nothing || !writes) return state.closed(kGone, "the connection broke");
        const auto silent = now - state.heard;
        if (silent >= 2 * state.options.silence_limit) return state.closed(kGone, "the server fell silent");
        if (silent >= state.options.silence_limit && !state.asked) {
            state.asked = true;
            state.queue(kPingFrame, "");
            continue;
        }
        if (now >= end) return event;
        const Clock::time_point due = state.heard + (state.asked ? 2 : 1) * state.options.silence_limit;
        if (state.stream->wait(std::chrono::ceil<Milliseconds>(std::min(end, due) - now), wake_fd)) {
            (void)state.write();
            return event;
        }
    }
}

void WebSocket::close(int code, std::string_view reason) {
    State& state = *state_;
    if (state.over) return;
    state.say_goodbye(code, reason);
    for (const Clock::time_point end = Clock::now() + Seconds(2); !state.over && Clock::now() < end;)
        (void)next(Milliseconds(200));
    state.over = true;
}

}  // namespace peacrab
