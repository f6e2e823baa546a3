// The children that answer the guest's `model` streams: one `peacrab model-route` each, with the
// stream as its descriptor 3. The gateway itself never sees a key. At most kMost at once.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "loop.h"
#include "os.h"

namespace peacrab {

class ModelStreams {
  public:
    ModelStreams(Loop& loop, std::vector<std::string> command)
        : loop_(loop), command_(std::move(command)) {}
    ~ModelStreams() { clear(); }
    ModelStreams(const ModelStreams&) = delete;
    ModelStreams& operator=(const ModelStreams&) = delete;

    static constexpr size_t kMost = 8;
    bool full() const { return children_.size() >= kMost; }

    struct Started {
        UniqueFd stream;  // our end
        int id = 0;
    };
    Started start();  // throws Error
    // The stream has ended: the child gets a moment to end as well.
    void ended(int id);
    void clear();  // kills all

  private:
    void reap(int id);
    Loop& loop_;
    std::vector<std::string> command_;
    std::map<int, Pidfd> children_;
    int next_id_ = 1;
};

}  // namespace peacrab
