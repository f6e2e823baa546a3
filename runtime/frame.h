// The wire between our processes: one JSON object per line, UTF-8, at most 1 MiB, depth ≤ 8,
// `type` first. Every frame is checked against the table of its dialect as if the sender were
// hostile: an unknown type, an unknown or missing key, a wrong kind is an Error and the peer is
// cut off. The tables stand in frame.cc and are the reference for what may be said.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json.h"
#include "os.h"

namespace peacrab {

constexpr size_t kMaxFrame = size_t{1} << 20;

// Who speaks to whom: each value is one table of allowed types and keys in frame.cc.
enum class Dialect {
    ClientToWarden,
    WardenToClient,
    TurnToWarden,
    WardenToTurn,
    HostToGuest,
    GuestToHost,
    ClientToGateway,
    GatewayToClient,
    ChannelToWarden,
    WardenToChannel,
};

// Checks `line` (without its newline) and gives the object. Throws Error.
json::Value parse_frame(Dialect dialect, std::string_view line);
// Checks and writes a frame with its newline. A frame we made that does not fit is a bug: throws.
std::string write_frame(Dialect dialect, const json::Value& frame);

// Cuts a byte stream into lines. Memory stays below kMaxFrame + one read.
class FrameBuffer {
  public:
    void append(std::string_view bytes);  // throws Error when a line grows beyond kMaxFrame
    std::optional<std::string> next();    // a whole line without its newline
    bool empty() const { return bytes_.empty(); }

  private:
    std::string bytes_;
    size_t scanned_ = 0;
};

// Blocking use, for processes without a loop: one socket, frames in and out.
class FrameSocket {
  public:
    FrameSocket() = default;
    FrameSocket(UniqueFd fd, Dialect in, Dialect out) : fd_(std::move(fd)), in_(in), out_(out) {}
    int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }
    void send(const json::Value& frame);  // throws ErrnoError; EPIPE when the peer has gone
    // The next frame. Nothing: end of file (closed() is true), a signal, or the deadline passed.
    // A frame that was already read comes without a look at the fd: who polls fd() itself calls
    // receive() with a passed deadline until it gives nothing.
    std::optional<json::Value> receive(Deadline deadline);
    bool closed() const { return closed_; }
    void close() {
        fd_.reset();
        closed_ = true;
    }

  private:
    UniqueFd fd_;
    Dialect in_ = Dialect::ClientToWarden;
    Dialect out_ = Dialect::WardenToClient;
    FrameBuffer buffer_;
    bool closed_ = false;
};

}  // namespace peacrab
