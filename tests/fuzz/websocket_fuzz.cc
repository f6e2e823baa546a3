// Frames of a WebSocket's server, in pieces of any size.
//
// In whatever pieces it comes the same is said of it; texts are UTF-8 and within the limit, nothing comes after what is
// wrong, and a frame of ours without its mask is a frame.
#include "fuzz.h"
#include "protocols/websocket_frames.h"

using namespace peacrab;
using Kind = WebSocketFrame::Kind;

namespace {

constexpr Bytes kLimit{3000};

std::vector<WebSocketFrame> read_all_frames(std::string_view bytes, size_t piece) {
    WebSocketFrames frames(kLimit);
    std::vector<WebSocketFrame> out;
    for (size_t at = 0; at < bytes.size(); at += piece) {
        frames.arriving() += bytes.substr(at, piece);
        for (;;) {
            WebSocketFrame frame = frames.next();
            if (frame.kind == Kind::Nothing) break;
            require(out.empty() || out.back().kind != Kind::Wrong);
            out.push_back(std::move(frame));
        }
        require(frames.arriving().size() <= kLimit.count + piece + 16);
    }
    return out;
}

bool is_text(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        const size_t length = utf8_length(text.substr(i));
        if (!length) return false;
        i += length;
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::vector<WebSocketFrame> whole = read_all_frames(bytes, bytes.size());
    const std::vector<WebSocketFrame> pieces = read_all_frames(bytes, 1 + data[0] % 64);
    require(whole.size() == pieces.size());
    for (size_t i = 0; i < whole.size(); ++i) {
        const WebSocketFrame& frame = whole[i];
        require(frame.kind == pieces[i].kind && frame.data == pieces[i].data && frame.code == pieces[i].code);
        require(frame.data.size() <= kLimit.count);
        require(is_text(frame.data) || frame.kind == Kind::Binary || frame.kind == Kind::Ping || frame.kind == Kind::Pong);
    }
    const std::string_view text = bytes.substr(0, kLimit.count);
    std::string ours = websocket_frame(2, text, {"\0\0\0\0", 4});
    const size_t head = text.size() < 126 ? 2 : 4;
    ours[1] = static_cast<char>(ours[1] & 0x7f);
    ours.erase(head, 4);
    const std::vector<WebSocketFrame> again = read_all_frames(ours, ours.size());
    require(again.size() == 1 && again[0].kind == Kind::Binary && again[0].data == text);
    return 0;
}
