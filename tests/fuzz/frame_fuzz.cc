// Any bytes as frames of each dialect, whole and cut into pieces.
//
// What is accepted must be written back by the same table and read to the same text again. What a channel says has
// arrived is read as the hub does.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "error.h"
#include "frame.h"
#include "messaging/event.h"

using namespace peacrab;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void events(const json::Value& frame) {
    if (const json::Value* const all = frame.find("events"))
        for (const json::Value& each : all->items()) try {
                const Event event = read_event(each);
                require(!event.key.empty() && !event.sender.empty() && event.key.size() <= kMaxEventId);
                require(event.text.size() <= 3 * kMaxEventText && json::valid_utf8(event.text) == event.text);
                for (const EventFile& file : event.files) require(in_words(file).find('\n') == std::string::npos);
            } catch (const Error&) {
            }
    if (const json::Value* const limits = frame.find("limits")) try {
            const ChannelLimits read = read_limits(*limits);
            require(read.edits >= 0 && read.edits_group >= read.edits);
        } catch (const Error&) {
        }
}

void parse(Dialect dialect, const std::string& line) {
    json::Value frame;
    try {
        frame = parse_frame(dialect, line);
    } catch (const Error&) {
        return;
    }
    if (dialect == Dialect::ChannelToWarden) events(frame);
    const std::string once = write_frame(dialect, frame);
    require(!once.empty() && once.find('\n') == once.size() - 1);
    const std::string_view text(once.data(), once.size() - 1);
    require(write_frame(dialect, parse_frame(dialect, text)) == once);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const auto dialect = static_cast<Dialect>(data[0] % 10);
    const size_t piece = size_t{data[1]} + 1;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    FrameBuffer buffer;
    std::string cut, whole;
    for (size_t at = 0; at < bytes.size(); at += piece) {
        buffer.append(bytes.substr(at, piece));
        while (auto line = buffer.next()) {
            parse(dialect, *line);
            cut += *line + '\n';
        }
    }
    FrameBuffer other;
    other.append(bytes);
    while (auto line = other.next()) whole += *line + '\n';
    require(cut == whole);
    require(buffer.empty() == other.empty());
    return 0;
}
