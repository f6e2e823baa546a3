// The stream of a model comes in pieces that end anywhere: inside a line break, a UTF-8 sequence,
// the byte order mark. So only whole lines are looked at, and bytes are never decoded here: what is
// not UTF-8 is repaired by whoever reads an event's data. `id` and `retry` serve reconnection,
// which a model's stream does not have, and are ignored. Memory is bounded by one event.
#include "protocols/sse.h"

#include <algorithm>

namespace peacrab {

namespace {
constexpr size_t kEventLimit = size_t{16} << 20;
}

SseParser::SseParser(std::function<void(std::string_view, std::string_view)> event)
    : event_(std::move(event)) {}

void SseParser::grow(std::string_view part) {
    if (line_.size() + data_.size() + name_.size() + part.size() > kEventLimit)
        throw ProtocolError("one event is larger than 16 MiB");
    line_.append(part);
}

void SseParser::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (after_cr_ && bytes[0] == '\n') bytes.remove_prefix(1);  // CR and LF came apart
        after_cr_ = false;
        const size_t end = bytes.find_first_of("\r\n");
        grow(bytes.substr(0, end));
        if (end == std::string_view::npos) return;
        after_cr_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        end_line();
    }
}

void SseParser::finish() {
    if (!line_.empty()) end_line();
    dispatch();
}

void SseParser::end_line() {
    std::string_view line = line_;
    if (first_line_ && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    first_line_ = false;
    if (line.empty()) {
        line_.clear();
        dispatch();
        return;
    }
    const size_t colon = line.find(':');
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") name_ = value;
    if (field == "data") {
        if (has_data_) data_ += '\n';
        data_ += value;
        has_data_ = true;
    }
    line_.clear();
}

void SseParser::dispatch() {
    const bool due = has_data_;
    has_data_ = false;
    if (due) event_(name_, data_);  // without data there is no event, only a name to forget
    name_.clear();
    data_.clear();
}

}  // namespace peacrab
