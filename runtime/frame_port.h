// Frames on a socket in a Loop: what the warden and the gateway use where others block.
//
// The queue of what the peer has not read yet is bounded; a peer that does not read, breaks the
// protocol or hangs up is closed once, with the reason.
#pragma once

#include <functional>
#include <string>

#include "frame.h"
#include "loop.h"

namespace peacrab {

class FramePort {
  public:
    struct Handlers {
        std::function<void(const json::Value& frame)> frame;
        std::function<void(const std::string& why)>
            closed;  // once; the port may be destroyed in it
    };
    FramePort(Loop& loop, UniqueFd fd, Dialect in, Dialect out, Handlers handlers);
    ~FramePort();
    FramePort(const FramePort&) = delete;
    FramePort& operator=(const FramePort&) = delete;

    void send(const json::Value& frame);
    // What send() queues, for a frame that is already written; must end with a newline.
    void send_line(std::string_view line);

    static constexpr size_t kMaxQueued = size_t{8} << 20;

  private:
    void ready(short revents);
    void read();
    void flush();
    void close(const std::string& why);

    Loop& loop_;
    UniqueFd fd_;
    Dialect in_;
    Dialect out_;
    Handlers handlers_;
    FrameBuffer buffer_;
    std::string queued_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace peacrab
