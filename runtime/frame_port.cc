// A handler may destroy the port it was called from: after every call out, `alive_` is looked at
// through a copy before any member is touched.
#include "frame_port.h"

#include <sys/socket.h>

#include <array>

#include "error.h"

namespace peacrab {

FramePort::FramePort(Loop& loop, UniqueFd fd, Dialect in, Dialect out, Handlers handlers)
    : loop_(loop), fd_(std::move(fd)), in_(in), out_(out), handlers_(std::move(handlers)) {
    set_nonblocking(fd_.get());
    loop_.watch(fd_.get(), POLLIN, [this](short revents) { ready(revents); });
}

FramePort::~FramePort() {
    *alive_ = false;
    if (fd_) loop_.forget(fd_.get());
}

void FramePort::send(const json::Value& frame) {
    send_line(write_frame(out_, frame));
}

void FramePort::send_line(std::string_view line) {
    if (!fd_) return;
    if (queued_.size() + line.size() > kMaxQueued) return close("it does not read what it is sent");
    queued_.append(line);
    flush();
}

void FramePort::flush() {
    while (!queued_.empty()) {
        const ssize_t n = ::send(fd_.get(), queued_.data(), queued_.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return;  // the hang-up is read, and reported, in its turn
        queued_.erase(0, static_cast<size_t>(n));
    }
    loop_.change(fd_.get(), static_cast<short>(queued_.empty() ? POLLIN : POLLIN | POLLOUT));
}

void FramePort::ready(short revents) {
    const std::shared_ptr<bool> alive = alive_;
    if (revents & POLLOUT) flush();
    if (*alive && fd_ && (revents & (POLLIN | POLLHUP | POLLERR))) read();
}

void FramePort::read() {
    const std::shared_ptr<bool> alive = alive_;
    std::array<char, 65536> bytes;
    try {
        const std::optional<size_t> n = read_some(fd_.get(), bytes);
        if (!n) return;
        if (*n == 0) return close("it hung up");
        buffer_.append({bytes.data(), *n});
        while (std::optional<std::string> line = buffer_.next()) {
            handlers_.frame(parse_frame(in_, *line));
            if (!*alive || !fd_) return;
        }
    } catch (const Error& error) {
        if (*alive) close(error.what());
    }
}

void FramePort::close(const std::string& why) {
    if (!fd_) return;
    loop_.forget(fd_.get());
    fd_.reset();
    const auto closed = handlers_.closed;  // outlives the port, should it destroy it
    if (closed) closed(why);
}

}  // namespace peacrab
