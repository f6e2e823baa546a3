// Its descriptors may close in any step, and their numbers be given to others. So what is watched is known here,
// and is forgotten before the step, not after it.
#include "cells/command_watch.h"

#include <algorithm>
#include <utility>

namespace peacrab {

void CommandWatch::wait(const Command& command, Deadline by) {
    stop();
    const auto again = [this](short) { be_ready(); };
    output_ = command.output_fd();
    exit_ = command.exit_fd();
    for (const int fd : {output_, exit_})
        if (fd >= 0) loop_.watch(fd, POLLIN, again);
    const Deadline step = command.next_step();
    if (step.poll_timeout() < 0 && by.poll_timeout() < 0) return;
    timer_ = loop_.after(std::min(step.left(), by.left()) + Milliseconds(1), [this] { be_ready(); });
}

void CommandWatch::soon() {
    stop();
    timer_ = loop_.after(Milliseconds(0), [this] { be_ready(); });
}

void CommandWatch::stop() {
    if (timer_) loop_.cancel(std::exchange(timer_, 0));
    for (int* const fd : {&output_, &exit_})
        if (*fd >= 0) loop_.forget(std::exchange(*fd, -1));
}

void CommandWatch::be_ready() {
    stop();
    const std::function<void()> ready = ready_;  // we may be gone in it
    ready();
}

}  // namespace peacrab
