// Reads off a model's answer, as it passes, what it came to: in each dialect, streamed or whole. What the
// server does not count is estimated by the bytes, and said to be an estimate.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "protocols/reply.h"

namespace peacrab {

class ModelMeter {
  public:
    explicit ModelMeter(ModelDialect dialect);
    void begin(std::string_view content_type);  // "text/event-stream", or a whole body
    void feed(std::string_view bytes);          // throws nothing
    // `sent`: bytes of the request. What is not understood any more counts by what was read.
    ModelCount count(size_t sent);

  private:
    void read(std::string_view bytes);
    std::unique_ptr<ReplyReader> reader_;
    SseParser stream_;
    bool streamed_ = false;
    bool lost_ = false;  // what comes is not understood: bytes are all there is
    std::string body_;
    size_t bytes_ = 0;
};

}  // namespace peacrab
