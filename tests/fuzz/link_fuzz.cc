// Any bytes into either side of the link, with an owner who does all an owner may do.
//
// The first byte chooses the side, and whether the rest comes as it is or as a list of frames (a
// generator that must find the magic by itself spends its time on that). What may come out is
// events or an Error; what may be held is bounded; what goes out is well-formed for an honest peer.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "error.h"
#include "link.h"

using namespace peacrab;

namespace {

constexpr const char* kNonce = "0123456789abcdef";

void require(bool holds) {
    if (!holds) std::abort();
}

// Bytes of the input, zeros after its end.
struct Input {
    const uint8_t* data;
    size_t size;
    uint8_t byte() {
        if (size == 0) return 0;
        --size;
        return *data++;
    }
    std::string take(size_t most) {
        const size_t count = std::min(size, most);
        std::string out(reinterpret_cast<const char*>(data), count);
        data += count;
        size -= count;
        return out;
    }
};

// type, stream, length, then a short payload that is padded to the length.
std::string frame(Input& input, uint32_t epoch) {
    const uint8_t type = input.byte(), stream = input.byte();
    size_t length = input.byte();
    if (length > 200) length = (length - 200) * 595;
    std::string payload = input.take(std::min<size_t>(length, 40));
    if (type == 1 || type == 2) payload.insert(0, kNonce);
    if (type == 5) length = 4;
    payload.resize(type == 1 ? 16 : std::max(length, payload.size()));
    std::string out = "PCLK";
    out += static_cast<char>(type);
    out += '\0';
    out += static_cast<char>(payload.size() & 0xff);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(stream);
    out.append(3, '\0');
    out += static_cast<char>(epoch);
    out.append(3, '\0');
    return out + payload;
}

// What the owner does about an event, chosen by the input.
void answer(Link& link, const Link::Event& event, uint8_t choice) {
    using Kind = Link::Event::Kind;
    if (event.kind == Kind::Data && choice % 3 != 0) {
        link.consumed(event.stream, event.text.size());
    }
    if (choice % 7 == 1) link.reset(event.stream, event.text);
    if (choice % 5 == 1) link.finish(event.stream);
    if (choice % 2 == 1) link.send(event.stream, std::string(choice * 300u, 's'));
}

void act(Link& link, Link::Side side, uint8_t choice) {
    if (side == Link::Side::Host && choice % 11 == 0) link.repeat_attach();
    try {
        if (choice % 4 == 0) link.open(side == Link::Side::Host ? "chat" : "model", "meta");
    } catch (const Error&) {
    }
    if (choice % 3 != 0) return;
    for (int i = 0; i < 3; ++i) {
        const size_t size = link.output().size();
        require(size <= Link::kMaxWrite + Link::kHeader);
        link.written(choice % 2 == 0 ? size : size / 2);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input{data, size};
    const uint8_t mode = input.byte();
    const auto side = (mode & 1) != 0 ? Link::Side::Host : Link::Side::Guest;
    const bool framed = (mode & 2) != 0;
    const uint32_t epoch = (mode & 4) != 0 ? 2 : 1;
    Link link(side);
    if (side == Link::Side::Host) {
        link.attach(epoch, kNonce);
    } else {
        link.set_hello("hello");
    }
    size_t fed = 0;
    try {
        while (input.size > 0) {
            const uint8_t choice = input.byte();
            // A credit step of one stream is a long way for a generator: frames may repeat.
            const int times = framed && choice % 8 == 7 ? 5 : 1;
            const std::string bytes = framed ? frame(input, choice % 16 == 15 ? 3 - epoch : epoch)
                                             : input.take(size_t{choice} + 1);
            for (int i = 0; i < times; ++i) {
                fed += bytes.size();
                link.receive(bytes);
                for (Link::Event event; link.next(event);) answer(link, event, choice);
            }
            act(link, side, choice);
            // In: at most one frame is incomplete. Out: what `answer` sent, bounded by stream.
            require(link.footprint() <= std::min(fed, Link::kMaxPayload + Link::kHeader) +
                                            Link::kMaxControl + 2 * Link::kMaxWrite +
                                            Link::kMaxStreams * Link::kMaxQueue * 3 / 2);
        }
    } catch (const Error&) {
    }
    return 0;
}
