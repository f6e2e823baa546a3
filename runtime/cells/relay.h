// The cell's end of the way out: accepts on the cell's own proxy socket and gives each connection on.
// Dumb on purpose: not a byte is read here but those of a connection that is one too many.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "cells/allowance.h"
#include "loop.h"
#include "os.h"

namespace peacrab {

class Relay {
  public:
    // Takes a connection; `ended` is to be called once when it has. Throws Error when it cannot: the
    // client is told then.
    using Take = std::function<void(UniqueFd connection, std::function<void()> ended)>;
    // `listener` is not owned, and made not to block. `turned_away` is called for each that is told so.
    Relay(Loop& loop, int listener, Take take, std::function<void()> turned_away = {});
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    static constexpr size_t kMost = 64;  // at once; one more is answered 503
    static constexpr int kASecond = 20;  // in the long run; beyond a burst of kMost others wait
    size_t open() const { return *open_; }

  private:
    void watch();
    void accept();
    void refuse(UniqueFd connection);
    Loop& loop_;
    int listener_;
    Take take_;
    std::function<void()> turned_away_;
    std::shared_ptr<size_t> open_ = std::make_shared<size_t>(0);  // outlives us in `ended`
    Allowance allowance_{static_cast<double>(kMost), kASecond};
    Loop::TimerId pause_ = 0;
    std::map<int, std::pair<UniqueFd, Loop::TimerId>> leaving_;  // answered 503, not yet closed
};

}  // namespace peacrab
