// One poll loop for the only two processes that have one: the warden and the gateway.
//
// A handler may add and remove any fd, also its own, while it runs. Handlers that throw end run().
#pragma once

#include <poll.h>

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "os.h"

namespace peacrab {

class Loop {
  public:
    using Handler = std::function<void(short revents)>;

    // Watches `fd` (not owned) for POLLIN/POLLOUT; POLLHUP and POLLERR always come. One handler
    // per fd: watching it again replaces the events and the handler.
    void watch(int fd, short events, Handler handler);
    void change(int fd, short events);  // keeps the handler; unknown fd is a bug
    void forget(int fd);                // unknown fd is fine

    // Runs `what` once, after `span`. The id cancels it.
    using TimerId = uint64_t;
    TimerId after(Milliseconds span, std::function<void()> what);
    void cancel(TimerId id);

    // Until stop(): poll, timers that are due, handlers. With nothing left to wait for, which
    // nobody could ever end, it throws Error.
    void run();
    void stop() { stopped_ = true; }  // the round under way is finished first
    // One round; waits at most `limit`.
    void run_once(Milliseconds limit);

  private:
    using TimePoint = std::chrono::steady_clock::time_point;
    struct Watched {
        short events;
        std::shared_ptr<Handler> handler;  // shared: a handler may forget itself while it runs
        uint64_t generation;  // a handler added during a round never sees that round's event
    };
    int timeout(Milliseconds limit) const;
    void run_timers();
    void run_handlers(const std::vector<pollfd>& polled, const std::vector<uint64_t>& generations);

    std::map<int, Watched> watched_;
    std::map<std::pair<TimePoint, TimerId>, std::function<void()>> timers_;  // by due time
    std::map<TimerId, TimePoint> due_;                                       // to cancel by id
    TimerId next_timer_ = 1;
    uint64_t generation_ = 0;
    bool stopped_ = false;
};

}  // namespace peacrab
