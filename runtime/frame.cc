// Frames: the tables of what may be said, and the cutting of a byte stream into lines.
//
// A key is written `name:kind`, with `?` when it may be absent. Kinds: s text, i integer, b bool,
// a array, o object. What a key means stands in runtime/README.md, section "Frames". This file
// must not know what any frame is for.
#include "frame.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <span>

#include "error.h"

namespace peacrab {
namespace {

struct Row {
    const char* type;
    const char* keys;
};

using Table = std::span<const Row>;

constexpr Row kClientToWarden[] = {
    {"attach", "agent:s session:s? channel:s fresh:b? watch:s? tasks:b?"},
    {"message", "id:s text:s task:b?"},
    {"task", "what:s id:s ok:b? text:s"},
    {"stop", ""},
    {"new", ""},
    {"undo", "what:s?"},
    {"fork", ""},
    {"sessions", "agent:s"},
    {"export", "agent:s session:s? form:s"},
    {"more", ""},
    {"status", ""},
    {"seen", "seq:i"},
    {"usage", ""},
};
constexpr Row kWardenToClient[] = {
    {"attached", "agent:s session:s posture:s? version:s running:b"},
    {"caught_up", "turn:s? partial:s?"},
    {"ack", "id:s turn:s duplicate:b?"},
    {"refused", "id:s? why:s"},
    {"session", "session:s from:s?"},
    {"undone", "seq:i turn:s text:s"},
    {"sessions", "rows:a"},
    {"part", "text:s"},
    {"exported", "why:s?"},
    {"turn_start", "seq:i turn:s text:s"},
    {"delta", "turn:s text:s"},
    {"restart", "turn:s"},
    {"tool", "seq:i turn:s call:s name:s summary:s"},
    {"tool_done", "seq:i turn:s call:s outcome:s summary:s ms:i"},
    {"notice", "turn:s? text:s"},
    {"plan", "seq:i turn:s steps:a"},
    {"said", "seq:i turn:s text:s"},
    {"question", "seq:i turn:s call:s text:s choices:a? default:s? until:i"},
    {"file", "seq:i turn:s path:s size:i sha256:s"},
    {"reply", "seq:i turn:s text:s"},
    {"turn_done", "seq:i turn:s status:s error:s? model_down:b? model:s? input_tokens:i output_tokens:i cost:i? ms:i"},
    {"usage", "rows:a"},
    {"task", "what:s id:s turn:s? text:s"},
    {"status", "agent:s session:s posture:s running:b background:a? turns:i model:s boot:s kernel:s skills:s?"},
};
constexpr Row kTurnToWarden[] = {
    {"delta", "text:s"},
    {"restart", ""},
    {"tool", "id:s name:s arguments:s"},
    {"notice", "text:s"},
    {"took", "count:i"},
    {"part", "text:s"},
    {"reply", "text:s"},
    {"usage", "model:s answered:s input:i output:i cache_read:i cache_write:i estimated:b?"},
    {"done", "status:s error:s? model_down:b? model:s?"},
};
constexpr Row kWardenToTurn[] = {
    {"start",
     "turn:s agent:s session:s journal:s workspace:s model:s base_url:s dialect:s server:s? fallback:a? window:i? key:s? rules:s? "
     "messages:a earlier:a? undone:a? cell:b? may_message:a? skills:s? with:s? asked:o?"},
    {"work", "what:s agent:s session:s journal:s to:s? form:s? undone:a?"},
    {"more", ""},
    {"steer", "text:s"},
    {"tool_result", "id:s outcome:s text:s picture:s?"},
    {"go", ""},
};
constexpr Row kHostToGuest[] = {
    {"settings", "model:s dialect:s? server:s? fallback:a? window:i? clock:i time_factor:i agents:a? routes:a? budget:o?"},
    {"power_off", ""},
    {"remove_agent", "id:s name:s"},
    {"inspect", "id:s what:s?"},
};
constexpr Row kGuestToHost[] = {
    {"ready", "ms:i posture:s"},
    {"inspected", "id:s report:o"},
    {"removed", "id:s ok:b why:s?"},
    {"log", "text:s"},
    {"stopped", ""},
    {"cell_gone", "agent:s"},
};
constexpr Row kClientToGateway[] = {
    {"open", "what:s agent:s? op:s? path:s?"}, {"ready", ""}, {"ps", ""}, {"more", ""}, {"stop", ""}, {"inspect", "what:s?"}, {"remove_agent", "agent:s"},
    {"port", "agent:s port:i raw:b? detach:b? close:b?"},
};
constexpr Row kGatewayToClient[] = {
    {"opened", "accelerator:s model:s demo:b"},
    {"progress", "text:s"},
    {"machine", "report:o"},
    {"inspected", "report:o"},
    {"failed", "why:s"},
    {"done", ""},
    {"port_open", "url:s"},
};
// channels/README.md. What is in `events`, messaging/event reads.
constexpr Row kChannelToWarden[] = {
    {"hello", "protocol:i channel:s account:s name:s? limits:o"},
    {"batch", "events:a cursor:s?"},
    {"sent", "id:s part:i of:i platform:s?"},
    {"failed", "id:s class:s error:s retry_ms:i? moved:s? key:s?"},
    {"data", "id:s data:s"}, {"fetched", "id:s size:i? error:s?"}, {"want", "id:s at:i"},
    {"shown", "slot:s platform:s?"},
    {"alive", ""},
    {"trouble", "class:s text:s"},
};
constexpr Row kWardenToChannel[] = {
    {"start", "cursor:s? settings:o secrets:o"},
    {"stored", "cursor:s?"},
    {"deliver", "id:s key:s conversation:s thread:s? reply_to:s? text:s platform:s? from:i? again:b? file:o? choices:a?"},
    {"fetch", "id:s handle:s most:i"}, {"data", "id:s at:i data:s"},
    {"show", "slot:s conversation:s thread:s? text:s platform:s?"},
    {"typing", "conversation:s thread:s? on:b"},
    {"resolve", "id:s key:s conversation:s thread:s? part:i"},
    {"stop", ""},
};

// In the order of Dialect.
constexpr Table kTables[] = {kClientToWarden, kWardenToClient, kTurnToWarden,   kWardenToTurn,   kHostToGuest,
                             kGuestToHost,    kClientToGateway, kGatewayToClient, kChannelToWarden, kWardenToChannel};

bool is_kind(const json::Value& value, char kind) {
    switch (kind) {
        case 's':
            return value.is_string();
        case 'i':
            return value.is_integer();
        case 'b':
            return value.is_bool();
        case 'a':
            return value.is_array();
        case 'o':
            return value.is_object();
        default:
            return false;
    }
}

// Checks the members against one row's keys; every member must be named there.
void check_members(const json::Value& frame, const Row& row) {
    size_t known = 1;  // `type`
    for (const std::string& key : split(row.keys, ' ')) {
        if (key.empty()) continue;
        const size_t colon = key.find(':');
        const std::string name = key.substr(0, colon);
        const json::Value* value = frame.find(name);
        if (!value) {
            if (key.back() != '?') throw Error("frame: " + std::string(row.type) + ": no " + name);
            continue;
        }
        if (!is_kind(*value, key[colon + 1]))
            throw Error("frame: " + std::string(row.type) + ": " + name + ": wrong kind");
        ++known;
    }
    if (known != frame.members().size())
        throw Error("frame: " + std::string(row.type) + ": unknown key");
}

void check(Dialect dialect, const json::Value& frame) {
    if (!frame.is_object() || frame.members().empty() || frame.members()[0].first != "type" ||
        !frame.members()[0].second.is_string())
        throw Error("frame: no type in front");
    const std::string& type = frame.members()[0].second.as_string();
    for (const Row& row : kTables[static_cast<size_t>(dialect)])
        if (type == row.type) return check_members(frame, row);
    throw Error("frame: unknown type: " + printable(type.substr(0, 40)));
}

}  // namespace

json::Value parse_frame(Dialect dialect, std::string_view line) {
    json::Value frame = json::parse(line, {kMaxFrame, 8});
    check(dialect, frame);
    return frame;
}

std::string write_frame(Dialect dialect, const json::Value& frame) {
    check(dialect, frame);
    std::string line = json::dump(frame);
    if (line.size() >= kMaxFrame) throw Error("frame: longer than 1 MiB");
    line += '\n';
    return line;
}

void FrameBuffer::append(std::string_view bytes) {
    bytes_.append(bytes);
    if (bytes_.size() > kMaxFrame && bytes_.find('\n', scanned_) == std::string::npos)
        throw Error("frame: longer than 1 MiB");
}

std::optional<std::string> FrameBuffer::next() {
    const size_t end = bytes_.find('\n', scanned_);
    if (end == std::string::npos) {
        scanned_ = bytes_.size();
        return std::nullopt;
    }
    if (end > kMaxFrame) throw Error("frame: longer than 1 MiB");
    std::string line = bytes_.substr(0, end);
    bytes_.erase(0, end + 1);
    scanned_ = 0;
    return line;
}

void FrameSocket::send(const json::Value& frame) {
    const std::string line = write_frame(out_, frame);
    size_t done = 0;
    while (done < line.size()) {
        const ssize_t n = ::send(fd_.get(), line.data() + done, line.size() - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw ErrnoError("frame: send");
        done += static_cast<size_t>(n);
    }
}

std::optional<json::Value> FrameSocket::receive(Deadline deadline) {
    for (;;) {
        if (std::optional<std::string> line = buffer_.next()) return parse_frame(in_, *line);
        if (closed_) return std::nullopt;
        pollfd one{fd_.get(), POLLIN, 0};
        const int ready = ::poll(&one, 1, deadline.poll_timeout());
        if (ready < 0 && errno == EINTR) return std::nullopt;
        if (ready < 0) throw ErrnoError("frame: poll");
        if (ready == 0) return std::nullopt;
        std::array<char, 65536> bytes;
        const std::optional<size_t> n = read_some(fd_.get(), bytes);
        if (!n) continue;
        if (*n == 0) {
            closed_ = true;
            continue;
        }
        buffer_.append({bytes.data(), *n});
    }
}

}  // namespace peacrab
