// What chat and ask share: the socket to the warden and how it ended, and text on its way out.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "channels/terminal.h"

namespace peacrab {

constexpr size_t kMaxText = KiB(256).count;     // one line, one pipe
constexpr size_t kMaxMessage = KiB(384).count;  // all of it; as JSON at most twice that: a frame

// Valid UTF-8 without control bytes, at most `limit`.
std::string clean_text(std::string_view text, size_t limit);
// Whether somebody who is asked for it allows as much again: the word `more`, and nothing else.
bool is_more(std::string_view text);
// For words on the way: a descriptor that cannot take them is no failure.
void put_quietly(int fd, std::string_view text);

// The socket to the warden, and how it ended.
class WardenWire {
  public:
    explicit WardenWire(FrameSocket& socket);
    int fd() const { return socket_.fd(); }
    // Nobody sees what is shown: from now on nothing counts as seen.
    void tell_nothing() { tells_ = false; }
    const std::string& fault() const { return fault_; }  // why it ended; empty: it just did

    // Throws nothing: a warden that has gone is noticed by drain(), after its last words.
    void send(const json::Value& frame);
    // Handles what is there (a bounded share of it: the person must get a word in), then tells what
    // was shown. Leave: the connection has ended.
    template <typename Handler>
    LineSource::Then drain(Handler&& handle, Deadline first = {}) {
        size_t left = 256;
        for (; left > 0; --left) {
            const std::optional<json::Value> frame = receive(std::exchange(first, {}));
            if (!frame) break;
            handle(*frame);
            shown_ = std::max(shown_, frame->integer("seq"));
        }
        if (shown_ > told_ && tells_)
            send(json::Value::object({{"type", "seen"}, {"seq", shown_}}));
        told_ = shown_;
        if (ended_) return LineSource::Then::Leave;
        return left == 0 ? LineSource::Then::Again : LineSource::Then::Wait;
    }

  private:
    std::optional<json::Value> receive(Deadline deadline);

    FrameSocket& socket_;
    std::string fault_;
    bool ended_ = false, tells_ = true;
    int64_t shown_ = 0, told_ = 0;
};

// The first frame; `channel` is "terminal" or "ask".
json::Value attach_frame(const TerminalOptions& options, const char* channel);
// The last words when the connection ended under us.
std::string gone_sentence(const TerminalOptions& options, const WardenWire& wire);

}  // namespace peacrab
