// A call that may take a while, in a child of ours: what it gives comes back in the loop, and nobody waits for it.
//
// The child is a copy of us without our descriptors, the standard ones apart: it opens what it needs, and it ends with
// us. Nothing that it changes in memory is changed here.
#pragma once

#include <functional>
#include <string>

#include "loop.h"

namespace peacrab {

class Errand {
  public:
    struct Given {
        std::string text = {};  // at most 64 KiB
        UniqueFd fd = {};
    };
    using Done = std::function<void(Given given, const std::string& why)>;  // why: "", or what went wrong, and nothing is given

    // `work` may throw Error. `done` is called once, out of the loop, and may destroy this; not any more when this is
    // gone, which ends the child. Throws Error when there can be no child.
    Errand(Loop& loop, Milliseconds limit, const std::function<Given()>& work, Done done);
    ~Errand();
    Errand(const Errand&) = delete;
    Errand& operator=(const Errand&) = delete;

  private:
    void ended();

    Loop& loop_;
    Done done_;
    Pidfd child_;
    UniqueFd socket_;
    Loop::TimerId timer_ = 0;
};

}  // namespace peacrab
