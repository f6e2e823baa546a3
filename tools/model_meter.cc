// The server's words are hostile here as everywhere: what breaks the grammar only ends the reading, not the
// answer, and a count beyond all reason is cut. Must not change a byte of what it reads.
#include "model_meter.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kLargestBody = json::kModelLimits.max_bytes;
constexpr size_t kBytesOfAToken = 4;  // of text; an event wraps each piece in about ten times as much

}  // namespace

ModelMeter::ModelMeter(ModelDialect dialect)
    : reader_(dialect_table(dialect).reader({})),
      stream_([this](std::string_view name, std::string_view data) {
          if (!reader_->ended()) reader_->event(name, data);
      }) {}

void ModelMeter::begin(std::string_view content_type) {
    streamed_ = content_type.starts_with("text/event-stream");
}

void ModelMeter::feed(std::string_view bytes) {
    bytes_ += bytes.size();
    if (lost_) return;
    try {
        read(bytes);
    } catch (const std::exception&) {  // bad_alloc too
        lost_ = true;
        body_ = {};
    }
}

void ModelMeter::read(std::string_view bytes) {
    if (streamed_) return stream_.feed(bytes);
    if (body_.size() + bytes.size() > kLargestBody) throw Error("too large");
    body_ += bytes;
}

ModelCount ModelMeter::count(size_t sent) {
    try {
        if (!lost_ && !streamed_ && !body_.empty()) reader_->whole(body_);
    } catch (const std::exception&) {
        lost_ = true;
    }
    ModelCount count = reader_->count(sent);
    if (!lost_) return count;
    const uint64_t wrapped = streamed_ ? kBytesOfAToken * 10 : kBytesOfAToken;
    count.usage.output_tokens = std::max<uint64_t>(count.usage.output_tokens, bytes_ / wrapped);
    count.estimated = true;
    return count;
}

}  // namespace peacrab
