// The event loop of the warden and the gateway: poll(2), timers, handlers, in one thread.
//
// What makes it harder than it looks is that handlers add and remove descriptors while events of
// the same poll are still being dealt out: a closed number may already belong to another file. Each
// watch therefore has a generation, and an event is given only to the watch that was polled. It
// owns no descriptor and must not swallow an exception of a handler.
#include "loop.h"

#include <algorithm>
#include <cassert>
#include <climits>

#include "error.h"

namespace peacrab {

namespace {
constexpr short kAlways = POLLHUP | POLLERR | POLLNVAL;
}

void Loop::watch(int fd, short events, Handler handler) {
    watched_[fd] = {events, std::make_shared<Handler>(std::move(handler)), ++generation_};
}

void Loop::change(int fd, short events) {
    auto it = watched_.find(fd);
    assert(it != watched_.end());
    if (it != watched_.end()) it->second.events = events;
}

void Loop::forget(int fd) {
    watched_.erase(fd);
}

Loop::TimerId Loop::after(Milliseconds span, std::function<void()> what) {
    const TimerId id = next_timer_++;
    const TimePoint at = std::chrono::steady_clock::now() + span;
    timers_.emplace(std::pair(at, id), std::move(what));
    due_.emplace(id, at);
    return id;
}

void Loop::cancel(TimerId id) {
    auto it = due_.find(id);
    if (it == due_.end()) return;
    timers_.erase({it->second, id});
    due_.erase(it);
}

void Loop::run() {
    while (!stopped_) {
        if (watched_.empty() && timers_.empty()) throw Error("loop: nothing left to wait for");
        run_once(Milliseconds(INT_MAX));
    }
    stopped_ = false;
}

void Loop::run_once(Milliseconds limit) {
    std::vector<pollfd> polled;
    std::vector<uint64_t> generations;
    polled.reserve(watched_.size());
    generations.reserve(watched_.size());
    for (const auto& [fd, watched] : watched_) {
        polled.push_back({fd, watched.events, 0});
        generations.push_back(watched.generation);
    }
    const int ready = ::poll(polled.data(), polled.size(), timeout(limit));
    if (ready < 0 && errno != EINTR) throw ErrnoError("loop: poll");
    run_timers();
    if (ready > 0) run_handlers(polled, generations);
}

// Rounded up: a timer that is polled for a moment too early would spin until its time has come.
int Loop::timeout(Milliseconds limit) const {
    if (!timers_.empty()) {
        const auto left = timers_.begin()->first.first - std::chrono::steady_clock::now();
        limit = std::min(limit, std::chrono::ceil<Milliseconds>(left));
    }
    return static_cast<int>(std::clamp<int64_t>(limit.count(), 0, INT_MAX));
}

// Only timers set before this round: one that sets itself again with no delay must not starve the
// descriptors.
void Loop::run_timers() {
    const TimePoint now = std::chrono::steady_clock::now();
    const TimerId newer = next_timer_;
    auto it = timers_.begin();
    while (it != timers_.end() && it->first.first <= now) {
        if (it->first.second >= newer) {
            ++it;
            continue;
        }
        const auto what = std::move(it->second);
        due_.erase(it->first.second);
        timers_.erase(it);
        what();
        it = timers_.begin();  // it may have set or cancelled any other
    }
}

void Loop::run_handlers(const std::vector<pollfd>& polled,
                        const std::vector<uint64_t>& generations) {
    for (size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        const auto it = watched_.find(polled[i].fd);
        if (it == watched_.end() || it->second.generation != generations[i]) continue;
        // An earlier handler of this round may have taken interest back.
        const int wanted = polled[i].revents & (it->second.events | kAlways);
        if (wanted == 0) continue;
        const auto handler = it->second.handler;
        (*handler)(static_cast<short>(wanted));
    }
}

}  // namespace peacrab
