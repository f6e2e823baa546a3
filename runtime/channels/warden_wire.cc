// The warden may be gone, lost or hostile: a frame that is wrong ends the connection and never the
// program, one that takes nothing is given up after 10 s, and however much it says, a share at a
// time is handled so that Ctrl-C is heard. What it still said before it went is read to the end.
#include "channels/warden_wire.h"

#include <sys/socket.h>
#include <sys/time.h>

#include "error.h"

namespace peacrab {

std::string clean_text(std::string_view text, size_t limit) {
    std::string out = json::valid_utf8(text.substr(0, limit));
    std::erase_if(out, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
    });
    if (out.size() > limit) out = json::valid_utf8(std::string_view(out).substr(0, limit - 2));
    return out;
}

bool is_more(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\n"), last = text.find_last_not_of(" \t\n");
    if (first == std::string_view::npos) return false;
    const std::string word = lower(text.substr(first, last + 1 - first));
    return word == "more" || word == "`more`";
}

void put_quietly(int fd, std::string_view text) {
    try {
        write_all(fd, text);
    } catch (const ErrnoError&) {
    }
}

WardenWire::WardenWire(FrameSocket& socket) : socket_(socket) {
    // An agent that reads nothing any more must not take the terminal with it.
    const timeval limit{10, 0};
    if (::setsockopt(socket_.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
        throw ErrnoError("terminal: send limit");
}

void WardenWire::send(const json::Value& frame) {
    if (ended_) return;
    try {
        socket_.send(frame);
    } catch (const ErrnoError& error) {
        // A peer that has gone: what it still said is read first.
        if (error.code() != EAGAIN) return;
        fault_ = "it has taken nothing for 10 s";
        ended_ = true;
    }
}

std::optional<json::Value> WardenWire::receive(Deadline deadline) {
    if (ended_) return std::nullopt;
    std::optional<json::Value> frame;
    try {
        frame = socket_.receive(deadline);
        ended_ = socket_.closed() && !frame;
    } catch (const ErrnoError& error) {
        // A peer that went with our words unread: as good as the end of file.
        if (error.code() != ECONNRESET) fault_ = error.what();
        ended_ = true;
    } catch (const Error& error) {
        fault_ = error.what();
        ended_ = true;
    }
    return frame;
}

json::Value attach_frame(const TerminalOptions& options, const char* channel) {
    json::Value frame =
        json::Value::object({{"type", "attach"}, {"agent", options.agent}, {"channel", channel}});
    if (!options.session.empty()) frame.set("session", options.session);
    if (options.fresh) frame.set("fresh", true);
    return frame;
}

std::string gone_sentence(const TerminalOptions& options, const WardenWire& wire) {
    std::string words = "the agent has gone";
    if (!wire.fault().empty()) words += " (" + wire.fault() + ")";
    if (!options.next_step.empty()) words += ": " + options.next_step;
    return words;
}

}  // namespace peacrab
