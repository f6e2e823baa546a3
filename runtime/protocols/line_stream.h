// Lines over a connection, for protocols where each side waits for the other: IMAP, SMTP. Every wait has its end.
// A connection that is gone, too slow or too talkative is an Error, a sentence without a place.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "protocols/byte_stream.h"

namespace peacrab {

class LineStream {
  public:
    LineStream(std::unique_ptr<ByteStream> stream, size_t longest_line) : stream_(std::move(stream)), longest_(longest_line) {}

    // Without its end.
    std::string line(Deadline deadline);
    std::string bytes(size_t count, Deadline deadline);
    // Until there is the beginning of something to read (true), or at `wake_fd`, or the deadline has passed.
    bool readable(Deadline deadline, int wake_fd);
    // All of it has gone out.
    void write(std::string_view bytes, Deadline deadline);

  private:
    bool more();  // false: nothing for now
    std::unique_ptr<ByteStream> stream_;
    size_t longest_;
    std::string in_;
    size_t seen_ = 0;  // of in_: there is no line end in it
};

}  // namespace peacrab
