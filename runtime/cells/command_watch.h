// A command that a loop waits for: when it has said something, has ended, or wants to be looked at.
#pragma once

#include <functional>

#include "cell.h"
#include "loop.h"

namespace peacrab {

class CommandWatch {
  public:
    // `ready`: it is time for the command's step(). Called from the loop, when nothing is watched any more;
    // this may be destroyed in it.
    CommandWatch(Loop& loop, std::function<void()> ready) : loop_(loop), ready_(std::move(ready)) {}
    CommandWatch(const CommandWatch&) = delete;
    CommandWatch& operator=(const CommandWatch&) = delete;
    ~CommandWatch() { stop(); }

    // Ready once: at the latest at `by`. The command must stay until then, or stop().
    void wait(const Command& command, Deadline by = Deadline::never());
    void soon();  // ready in the next round: what was done to the command may have ended it
    void stop();

  private:
    void be_ready();
    Loop& loop_;
    std::function<void()> ready_;
    int output_ = -1, exit_ = -1;  // watched
    Loop::TimerId timer_ = 0;
};

}  // namespace peacrab
