// A connection ends for many reasons, and nearly always the session goes on with another one (RESUME). What ends the
// session is in a table below; so does a RESUME that fails three times, or two sides would try for ever. What Discord
// refuses for good ends the channel: who asks again and again loses the token.
#include "channels/discord_gateway.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = DiscordSignal::Kind;

constexpr json::Limits kPayloadLimits{size_t{16} << 20, 64};
constexpr Milliseconds kLogin{30'000};  // until it has told us its interval
constexpr Milliseconds kBetweenIdentify{5'200};
constexpr Milliseconds kSilence{120'000};  // heartbeats notice before
constexpr int64_t kShortestInterval = 500, kLongestInterval = 300'000;
constexpr int kMostResumes = 3;
constexpr size_t kMaxUrl = 500;
constexpr int kGoesOn = 4000;  // who closes with 1000 or 1001 ends the session

// GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT
constexpr int kIntents = 1 << 0 | 1 << 9 | 1 << 12 | 1 << 15;

enum class Fate : uint8_t { NewSession, Refused };

constexpr struct {
    int code;
    Fate fate;
    const char* why;
} kCloses[] = {
    {4003, Fate::NewSession, "it was not told who we are"},
    {4007, Fate::NewSession, "it does not know what we were told last"},
    {4009, Fate::NewSession, "the session has timed out"},
    {4004, Fate::Refused, "Discord does not take this token: under Bot, \"Reset Token\" shows a new one"},
    {4010, Fate::Refused, "Discord does not take this shard"},
    {4011, Fate::Refused, "the bot is in too many servers for one connection"},
    {4012, Fate::Refused, "Discord does not speak version 10 any more"},
    {4013, Fate::Refused, "Discord does not know what we want to be told (intents)"},
    {4014, Fate::Refused,
     "the bot may not read what is written: switch \"Message Content Intent\" on, under Bot at "
     "https://discord.com/developers/applications"},
};

}  // namespace

Milliseconds DiscordGateway::between(int64_t from, int64_t to) {
    return Milliseconds(std::uniform_int_distribution<int64_t>(from, to)(random_));
}

Milliseconds DiscordGateway::patience() const {
    if (identified_ == Time{}) return Milliseconds(0);
    return std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(identified_ + kBetweenIdentify - Clock::now()));
}

DiscordSignal DiscordGateway::lost(std::string why, Milliseconds wait) {
    close();
    if (resumes_ >= kMostResumes) session_ = {};
    DiscordSignal signal;
    signal.kind = Kind::Lost;
    signal.why = std::move(why);
    signal.wait = wait;
    return signal;
}

void DiscordGateway::close() {
    if (socket_) socket_->close(kGoesOn, {});
    socket_.reset();
}

DiscordSignal DiscordGateway::open(const std::string& url) {
    resuming_ = !session_.id.empty();
    if (!resuming_) resumes_ = 0;
    WebSocketOptions options;
    options.url = resuming_ && !session_.url.empty() ? session_.url : url;
    // What it leads to is told the token.
    if (!options.url.starts_with(tls_ ? "wss://" : "ws://") || options.url.size() > kMaxUrl ||
        options.url.find_first_of("?#@") != std::string::npos) {
        session_ = {};
        return lost("Discord names no place for its gateway", Milliseconds(5'000));
    }
    const bool has_path = options.url.find('/', options.url.find("://") + 3) != std::string::npos;
    options.url += has_path ? "?v=10&encoding=json" : "/?v=10&encoding=json";
    options.environment = true;
    options.silence_limit = kSilence;
    WebSocket::Opened opened = WebSocket::open(options);
    if (!opened.socket) {
        if (++unreached_ % kMostResumes == 0) session_.url.clear();  // that place may be gone
        return lost("discord: " + opened.detail);
    }
    unreached_ = 0;
    socket_ = std::move(opened.socket);
    interval_ = Milliseconds(0);
    opened_ = last_beat_ = Clock::now();
    answered_ = true;
    return {};
}

void DiscordGateway::send(int op, json::Value data) {
    socket_->send(json::dump(json::Value::object({{"op", op}, {"d", std::move(data)}})));
}

void DiscordGateway::beat() {
    send(1, session_.seq > 0 ? json::Value(session_.seq) : json::Value());
    answered_ = false;
    last_beat_ = Clock::now();
    beat_at_ = last_beat_ + interval_;
}

void DiscordGateway::keep_alive(Milliseconds span) {
    if (!socket_ || interval_ == Milliseconds(0) || !answered_) return;
    const Time now = Clock::now();
    if (beat_at_ > now + span || last_beat_ + Seconds(5) > now) return;
    beat();
}

// Once it has said how often it wants to hear from us. The first time is left to chance, so that not everybody who was
// cut off at once comes at once.
void DiscordGateway::on_hello(const json::Value& data) {
    interval_ = Milliseconds(std::clamp(data.integer("heartbeat_interval", 41'250), kShortestInterval, kLongestInterval));
    beat_at_ = Clock::now() + between(0, interval_.count());
    if (resuming_) {
        ++resumes_;
        return send(6, json::Value::object(
                           {{"token", token_.reveal()}, {"session_id", session_.id}, {"seq", session_.seq}}));
    }
    identified_ = Clock::now();
    send(2, json::Value::object({{"token", token_.reveal()},
                                 {"intents", kIntents},
                                 {"properties", json::Value::object({{"os", "linux"},
                                                                     {"browser", "peacrab"},
                                                                     {"device", "peacrab"}})}}));
}

DiscordSignal DiscordGateway::closed(const WebSocketEvent& event) {
    socket_.reset();
    for (const auto& row : kCloses) {
        if (row.code != event.code) continue;
        session_ = {};
        DiscordSignal signal = lost(row.why);
        if (row.fate == Fate::Refused) signal.kind = Kind::Refused;
        return signal;
    }
    return lost("discord: the gateway has closed (" + std::to_string(event.code) +
                (event.data.empty() ? ")" : "): " + event.data));
}

DiscordSignal DiscordGateway::on_dispatch(json::Value& payload) {
    DiscordSignal signal;
    signal.kind = Kind::Told;
    signal.type = payload.text("t");
    if (json::Value* const data = payload.find("d")) signal.data = std::move(*data);
    session_.seq = std::max(session_.seq, payload.integer("s"));
    if (signal.type == "READY") {
        signal.kind = Kind::Ready;
        session_ = {signal.data.text("session_id"), signal.data.text("resume_gateway_url"), payload.integer("s")};
        if (session_.id.size() > 200 || session_.url.size() > kMaxUrl) session_ = {};
    } else if (signal.type == "RESUMED") {
        signal.kind = Kind::Resumed;
    }
    if (signal.kind != Kind::Told) resumes_ = 0;
    return signal;
}

DiscordSignal DiscordGateway::take(json::Value payload) {
    const int64_t op = payload.integer("op", -1);
    const json::Value* const data = payload.find("d");
    if (op == 0) return on_dispatch(payload);
    if (op == 1) beat();
    if (op == 7) return lost("Discord asks us to connect again");
    if (op == 9) {
        const bool goes_on = data && data->is_bool() && data->as_bool();
        if (!goes_on) session_ = {};
        return lost("the session is over", between(1'000, 5'000));
    }
    if (op == 10 && data && interval_ == Milliseconds(0)) on_hello(*data);
    DiscordSignal signal;
    if (op != 11) return signal;
    answered_ = true;
    signal.kind = Kind::Alive;
    return signal;
}

DiscordSignal DiscordGateway::next(Milliseconds most, int wake_fd) {
    for (const Time end = Clock::now() + most;;) {
        const Time now = Clock::now();
        const bool greeted = interval_ > Milliseconds(0);
        Milliseconds wait = std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(end - now));
        if (greeted) wait = std::min(wait, std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(beat_at_ - now)));
        else wait = std::min(wait, Milliseconds(1'000));
        const WebSocketEvent event = socket_->next(wait, wake_fd);
        if (event.kind == WebSocketEvent::Kind::Closed) return closed(event);
        if (event.kind == WebSocketEvent::Kind::Text) {
            try {
                DiscordSignal signal = take(json::parse(event.data, kPayloadLimits));
                if (signal.kind != Kind::Nothing) return signal;
            } catch (const Error& error) {  // asked for again it would be no better
                log(LogLevel::Error, "discord: something that cannot be read was left out: " + std::string(error.what()));
            } catch (const std::bad_alloc&) {
                log(LogLevel::Error, "discord: something too large was left out");
            }
            continue;
        }
        const Time later = Clock::now();
        if (!greeted && later - opened_ > kLogin) return lost("discord: the gateway says nothing");
        if (greeted && later >= beat_at_) {  // only now, when all that was there is read
            if (!answered_) return lost("discord: the gateway does not answer any more");
            beat();
            continue;
        }
        if (later >= end || event.kind == WebSocketEvent::Kind::Nothing) return {};
    }
}

}  // namespace peacrab
