// Server-sent events in any bytes, cut anywhere.
//
// The parser sees pieces and keeps state; beside it stands a reader of the same rules that sees the whole text
// and keeps none. Both must name the same events, whatever the cut: whole, byte by byte, and in pieces whose
// lengths come from the input.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "protocols/sse.h"

using namespace peacrab;

namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

void require(bool holds) {
    if (!holds) std::abort();
}

// https://html.spec.whatwg.org/multipage/server-sent-events.html, over the whole; a last line without its end
// counts, and so does an event that lacks only its blank line: what SseParser::finish() promises.
std::vector<std::string> lines_of(std::string_view text) {
    if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
    std::vector<std::string> lines;
    while (!text.empty()) {
        size_t end = 0;
        while (end < text.size() && text[end] != '\r' && text[end] != '\n') ++end;
        lines.emplace_back(text.substr(0, end));
        if (end < text.size() && text.substr(end, 2) == "\r\n") ++end;
        text.remove_prefix(std::min(text.size(), end + 1));
    }
    return lines;
}

Events expected(std::string_view text) {
    Events events;
    std::string name, data;
    bool has_data = false;
    std::vector<std::string> lines = lines_of(text);
    lines.emplace_back();
    for (const std::string& line : lines) {
        if (line.empty()) {
            if (has_data) events.emplace_back(name, data.substr(1));
            name.clear();
            data.clear();
            has_data = false;
            continue;
        }
        const size_t colon = std::min(line.find(':'), line.size());
        std::string value = line.substr(std::min(colon + 1, line.size()));
        if (!value.empty() && value[0] == ' ') value.erase(0, 1);
        if (line.compare(0, colon, "event") == 0) name = value;
        if (line.compare(0, colon, "data") == 0) {
            data += '\n' + value;
            has_data = true;
        }
    }
    return events;
}

// Pieces as long as the bytes of `lengths` say, over and over.
Events parsed(std::string_view text, std::string_view lengths) {
    Events events;
    SseParser parser([&](std::string_view name, std::string_view data) { events.emplace_back(name, data); });
    for (size_t at = 0, turn = 0; at < text.size(); ++turn) {
        const size_t length = static_cast<unsigned char>(lengths[turn % lengths.size()]) + size_t{1};
        parser.feed(text.substr(at, length));
        at += length;
    }
    parser.finish();
    return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 4) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const std::string_view text = bytes.substr(3);
    const Events events = expected(text);
    require(parsed(text, std::string_view("\0", 1)) == events);
    require(parsed(text, bytes.substr(0, 3)) == events);
    Events whole;
    SseParser parser([&](std::string_view name, std::string_view said) { whole.emplace_back(name, said); });
    parser.feed(text);
    parser.finish();
    require(whole == events);
    return 0;
}
