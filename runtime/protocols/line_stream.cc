// What was read and not asked for yet stays here; it is bounded by what one read adds to a line.
#include "protocols/line_stream.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kRead = size_t{64} << 10;
constexpr const char* kSlow = "no answer came in time";
constexpr const char* kGone = "the connection broke";

}  // namespace

bool LineStream::more() {
    const ByteStream::Got got = stream_->read(in_, kRead);
    if (got == ByteStream::Got::Ended || got == ByteStream::Got::Broken) throw Error(kGone);
    return got == ByteStream::Got::Some;
}

std::string LineStream::line(Deadline deadline) {
    for (;;) {
        const size_t end = in_.find('\n', seen_);
        if (std::min(end, in_.size()) > longest_) throw Error("a line is too long");
        if (end != std::string::npos) {
            std::string out = in_.substr(0, end);
            in_.erase(0, end + 1);
            seen_ = 0;
            if (out.ends_with('\r')) out.pop_back();
            return out;
        }
        seen_ = in_.size();
        if (more()) continue;
        if (deadline.passed()) throw Error(kSlow);
        (void)stream_->wait(deadline.left());
    }
}

std::string LineStream::bytes(size_t count, Deadline deadline) {
    while (in_.size() < count) {
        if (more()) continue;
        if (deadline.passed()) throw Error(kSlow);
        (void)stream_->wait(deadline.left());
    }
    std::string out = in_.substr(0, count);
    in_.erase(0, count);
    seen_ = 0;
    return out;
}

bool LineStream::readable(Deadline deadline, int wake_fd) {
    for (;;) {
        if (!in_.empty() || more()) return true;
        if (deadline.passed() || stream_->wait(deadline.left(), wake_fd)) return false;
    }
}

void LineStream::write(std::string_view bytes, Deadline deadline) {
    for (;;) {
        size_t taken = 0;
        if (!stream_->write(bytes, taken)) throw Error(kGone);
        bytes.remove_prefix(taken);
        if (bytes.empty() && stream_->flushed()) return;
        if (deadline.passed()) throw Error(kSlow);
        // Who only talks and never listens is not waited for: what it says would keep poll(2) awake.
        if (!more()) (void)stream_->wait(std::min(deadline.left(), Milliseconds(1000)));
        if (in_.size() > longest_ + 4 * kRead) throw Error("it talks and does not listen");
    }
}

}  // namespace peacrab
