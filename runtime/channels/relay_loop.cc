#include "channels/relay_loop.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kLongestBackoff{30'000};
constexpr Milliseconds kAliveAgain{5'000};
constexpr int64_t kPollSeconds = 25;

}  // namespace

RelayLoop::RelayLoop(ChannelPort& port, const ChannelPort::Start& start, const std::string& name)
    : port_(port), relay_(start.settings, name, port.take_secret("relay")), random_(std::random_device{}()), cursor_(start.cursor.value_or("")),
      deaf_(start.settings.text("deaf") == "true") {}

void RelayLoop::stand_down(const char* kind, const std::string& text) {
    port_.trouble(kind, text);
    ended_ = kExitStandDown;
}

void RelayLoop::note_trouble(const std::string& text) {
    if (std::exchange(troubled_, true)) return;
    port_.trouble("network", text);
}

Milliseconds RelayLoop::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{500} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

void RelayLoop::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        if (frame->text("type") == "stop") stopping_ = true;
        else take(*frame);
    }
}

void RelayLoop::wait(Milliseconds span) {
    for (const Deadline deadline = Deadline::in(span); !deadline.passed() && !over() && !stopping_;) take_frames(deadline);
}

void RelayLoop::note_alive() {
    const Time now = Clock::now();
    failures_ = 0;
    troubled_ = false;
    if (last_alive_ != Time{} && now - last_alive_ < kAliveAgain) return;
    last_alive_ = now;
    port_.alive();
}

// For as long as nothing is due.
void RelayLoop::poll() {
    const Time now = Clock::now();
    const auto left = std::chrono::duration_cast<Seconds>(std::min<Clock::duration>(std::max(next_due(), now) - now, Seconds(kPollSeconds)));
    const RelayAnswer answer = relay_.after(cursor_, left.count(), left.count() > 0 ? port_.wake_fd() : -1);
    if (answer.kind == RelayAnswer::Kind::Cancelled) return;
    if (answer.kind != RelayAnswer::Kind::Ok) {
        note_trouble(answer.error);
        next_poll_ = Clock::now() + backoff();
        return;
    }
    note_alive();
    // What is due soon is not awaited by asking again and again.
    if (!take_entries(answer.entries) && left.count() == 0) next_poll_ = now + Milliseconds(500);
}

// False: there was nothing.
bool RelayLoop::take_entries(const std::vector<RelayEntry>& entries) {
    if (entries.empty()) return false;
    std::vector<Arrived> arrived;
    std::vector<json::Value> events;
    std::string before = cursor_;
    for (const RelayEntry& entry : entries) {
        try {
            for (json::Value& event : read(entry)) {
                events.push_back(event);
                arrived.push_back({std::move(event), before});
            }
            // Until its last event is stored, a part of it is asked for again.
            if (!arrived.empty()) arrived.back().cursor = entry.cursor;
            before = entry.cursor;
        } catch (const Error& error) {  // asked for again it would be no better
            log(LogLevel::Error, "a webhook was left out: " + std::string(error.what()));
        }
    }
    if (!port_.store(std::move(arrived), entries.back().cursor)) return true;
    cursor_ = entries.back().cursor;
    stored(events);
    return true;
}

int RelayLoop::run() {
    if (!introduce()) return ended_.value_or(0);
    failures_ = 0;
    troubled_ = false;
    while (!over()) {
        take_frames(Deadline());
        if (over()) break;
        work();
        const Time now = Clock::now();
        if (over() || (stopping_ && idle())) break;
        if (!stopping_ && !deaf_ && now >= next_poll_) {
            poll();
            continue;
        }
        const Time until = stopping_ || deaf_ ? next_due() : std::min(next_poll_, next_due());
        take_frames(Deadline::in(std::chrono::ceil<Milliseconds>(
            std::clamp<Clock::duration>(until - now, Milliseconds(0), kMinute))));
    }
    return ended_.value_or(0);
}

int run_on_relay(ChannelPort& port, const std::function<std::unique_ptr<RelayLoop>()>& make) {
    std::unique_ptr<RelayLoop> loop;
    try {
        loop = make();
    } catch (const Error& error) {  // nothing it can be started again with
        port.trouble("auth", error.what());
        return kExitStandDown;
    }
    return loop->run();
}

}  // namespace peacrab
