// Discord's gateway (v10): one connection on which it tells what happens, and the session that outlives the
// connection.
// Source: https://docs.discord.com/developers/events/gateway, .../topics/opcodes-and-status-codes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "json.h"
#include "protocols/websocket.h"

namespace peacrab {

// By which Discord knows what was told already.
struct DiscordSession {
    std::string id;    // "": none
    std::string url;   // where it goes on
    int64_t seq = 0;   // of the last that was told
};

struct [[nodiscard]] DiscordSignal {
    enum class Kind {
        Nothing,  // the time was over, or there is something at `wake_fd`
        Ready,    // a new session: what happened before it is not told. `data` as Discord gives it
        Resumed,  // all that happened meanwhile was told
        Told,     // `type` and `data`: something has happened
        Alive,    // it has answered
        Lost,     // the connection is gone, `why`; open another one after `wait`
        Refused,  // `why`: for good, by us as we are
    } kind = Kind::Nothing;
    std::string type;
    json::Value data;
    std::string why;
    Milliseconds wait{0};
};

class DiscordGateway {
  public:
    DiscordGateway(Secret token, bool tls) : token_(std::move(token)), tls_(tls) {}

    // The session that open() goes on with, and as far as it was told. Set it before the first open().
    DiscordSession& session() { return session_; }
    bool is_open() const { return socket_ != nullptr; }
    // `url`: of GET /gateway/bot; needed when the session has none of its own. Kind::Nothing: the connection is there,
    // and what comes of it is among the signals.
    DiscordSignal open(const std::string& url);
    // How long until a new session may be asked for: once in five seconds.
    Milliseconds patience() const;
    DiscordSignal next(Milliseconds most, int wake_fd);
    // Says that we are here, when that would be due before `span` is over.
    void keep_alive(Milliseconds span);
    // The session stays for who comes next.
    void close();

  private:
    using Time = std::chrono::steady_clock::time_point;

    DiscordSignal lost(std::string why, Milliseconds wait = Milliseconds(0));
    DiscordSignal closed(const WebSocketEvent& event);
    DiscordSignal take(json::Value payload);
    DiscordSignal on_dispatch(json::Value& payload);
    void on_hello(const json::Value& data);
    void beat();
    void send(int op, json::Value data);
    Milliseconds between(int64_t from, int64_t to);

    const Secret token_;
    const bool tls_;
    DiscordSession session_;
    std::unique_ptr<WebSocket> socket_;
    std::minstd_rand random_{std::random_device{}()};
    Milliseconds interval_{0};  // 0: no HELLO yet
    Time opened_{}, beat_at_{}, last_beat_{};
    Time identified_{};
    bool answered_ = true;  // the last heartbeat
    bool resuming_ = false;
    int resumes_ = 0, unreached_ = 0;  // that failed, in a row
};

}  // namespace peacrab
