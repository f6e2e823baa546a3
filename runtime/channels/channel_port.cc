// Frames on a descriptor, one at a time. The order that counts is in store(): nothing is told to a messenger before
// `stored` has come. A warden that is gone is the end, wherever it is noticed: what was being sent then is found by
// the next one in its own book.
#include "channels/channel_port.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "error.h"
#include "protocols/base64.h"
#include "trust.h"

namespace peacrab {
namespace {

constexpr size_t kMostEvents = 100;
constexpr size_t kMostBytes = size_t{900} << 10;  // of a batch's events; with what is around them one frame
constexpr size_t kMostKept = 10'000;
constexpr size_t kMaxSentence = 500;
constexpr size_t kPiece = size_t{512} << 10;  // of a file
constexpr size_t kShortestHidden = 6;  // what is shorter would hide words

bool is_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

std::string without(std::string text, const std::string& secret) {
    if (secret.size() < kShortestHidden) return text;
    for (size_t at = 0; (at = text.find(secret, at)) != std::string::npos;) text.replace(at, secret.size(), "***");
    return text;
}

// Nothing of what was still on its way is of use to anybody: that is an end too.
std::optional<size_t> read_or_end(int fd, std::span<char> into) {
    try {
        return read_some(fd, into);
    } catch (const ErrnoError& error) {
        if (error.code() != ECONNRESET) throw;
        return 0;
    }
}

// Of this process, and gone with it.
void set_lock(const UniqueFd& file, short type) {
    struct flock whole {};
    whole.l_type = type;
    whole.l_whence = SEEK_SET;
    while (file && ::fcntl(file.get(), F_SETLKW, &whole) < 0)
        if (errno != EINTR) throw ErrnoError("channel: whose turn it is");
}

json::Value frame_of(const char* type) { return json::Value::object({{"type", type}}); }

}  // namespace

ChannelPort::ChannelPort() : ChannelPort(UniqueFd(STDIN_FILENO), UniqueFd(is_socket(STDIN_FILENO) ? -1 : 1)) {}

ChannelPort::ChannelPort(UniqueFd in, UniqueFd out) : in_(std::move(in)), out_(std::move(out)) {}

std::optional<json::Value> ChannelPort::read(Deadline deadline) {
    for (;;) {
        if (std::optional<std::string> line = buffer_.next()) {
            json::Value frame = parse_frame(Dialect::WardenToChannel, *line);
            const Secret wiped(std::move(*line));
            return frame;
        }
        if (ended_) return std::nullopt;
        pollfd one{in_.get(), POLLIN, 0};
        const int ready = ::poll(&one, 1, deadline.poll_timeout());
        if (ready < 0 && errno != EINTR) throw ErrnoError("channel: poll");
        if (ready <= 0) return std::nullopt;
        std::array<char, 65536> bytes;
        const std::optional<size_t> n = read_or_end(in_.get(), bytes);
        if (!n) continue;
        if (*n == 0) ended_ = true;
        buffer_.append({bytes.data(), *n});
    }
}

std::optional<json::Value> ChannelPort::receive(Deadline deadline) {
    if (kept_.empty()) return read(deadline);
    json::Value frame = std::move(kept_.front());
    kept_.pop_front();
    return frame;
}

std::optional<ChannelPort::Start> ChannelPort::start() {
    std::optional<json::Value> frame;
    while (!frame && !ended_) frame = read(Deadline::never());
    if (!frame || frame->text("type") == "stop") return std::nullopt;
    if (frame->text("type") != "start") throw Error("channel: no start frame");
    json::Value* const secrets = frame->find("secrets");
    for (json::Member& member : secrets->members()) {
        if (!member.second.is_string()) throw Error("channel: start: a secret is no text");
        secrets_.emplace_back(member.first, Secret(member.second.as_string()));
        hidden_.push_back(secrets_.back().second.clone());
    }
    Start start;
    if (const json::Value* cursor = frame->find("cursor")) start.cursor = cursor->as_string();
    start.settings = std::move(*frame->find("settings"));
    return start;
}

Secret ChannelPort::take_secret(std::string_view name) {
    for (auto& [key, secret] : secrets_)
        if (key == name) return std::move(secret);
    return {};
}

void ChannelPort::share(UniqueFd turn, UniqueFd fetcher) {
    turn_ = std::move(turn);
    fetcher_ = std::move(fetcher);
}

void ChannelPort::send(const json::Value& frame) {
    const std::string line = write_frame(Dialect::ChannelToWarden, frame);
    set_lock(turn_, F_WRLCK);
    try {
        write_all(out_ ? out_.get() : in_.get(), line);
    } catch (const ErrnoError& error) {
        if (error.code() != EPIPE && error.code() != ECONNRESET) throw;
        ended_ = true;  // nobody is left to tell
    }
    set_lock(turn_, F_UNLCK);
}

bool ChannelPort::store_batch(json::Value events, const std::string& cursor) {
    json::Value batch = frame_of("batch");
    batch.set("events", std::move(events));
    batch.set("cursor", cursor);
    send(batch);
    return read_answer("stored", {}).has_value();
}

// The next of that type, of what `id` names. What is not meant is kept.
std::optional<json::Value> ChannelPort::read_answer(const char* type, std::string_view id) {
    while (!ended_) {
        std::optional<json::Value> frame = read(Deadline::never());
        if (!frame) continue;
        if (frame->text("type") == type && frame->text("id", "") == id) return frame;
        if (kept_.size() == kMostKept) throw Error("channel: more is to be done than can be kept");
        kept_.push_back(std::move(*frame));
    }
    return std::nullopt;
}

bool ChannelPort::pull(const json::Value& deliver, std::string& into) {
    const std::string id = deliver.text("id");
    const int64_t size = deliver.at("file").integer("size");
    into.reserve(into.size() + static_cast<size_t>(std::max<int64_t>(size, 0)) + 128);  // and what ends it
    for (int64_t at = 0; at < size;) {
        send(json::Value::object({{"type", "want"}, {"id", id}, {"at", at}}));
        const std::optional<json::Value> frame = read_answer("data", id);
        if (!frame) return false;
        const std::string bytes = decode_base64(frame->text("data"));
        if (bytes.empty() || frame->integer("at") != at || std::cmp_greater(bytes.size(), size - at)) return false;
        into += bytes;
        at += static_cast<int64_t>(bytes.size());
    }
    return true;
}

void ChannelPort::data(std::string_view id, std::string_view bytes) {
    for (; !bytes.empty() && !ended_; bytes.remove_prefix(std::min(kPiece, bytes.size())))
        send(json::Value::object({{"type", "data"}, {"id", id}, {"data", base64(bytes.substr(0, kPiece))}}));
}

void ChannelPort::fetched(std::string_view id, uint64_t size) {
    send(json::Value::object({{"type", "fetched"}, {"id", id}, {"size", size}}));
}

void ChannelPort::not_fetched(std::string_view id, std::string_view why) {
    send(json::Value::object({{"type", "fetched"}, {"id", id}, {"error", sentence(why)}}));
}

bool ChannelPort::store(std::vector<Arrived> events, const std::string& cursor) {
    json::Value batch = json::Value::array();
    size_t bytes = 0;
    for (size_t i = 0; i < events.size(); ++i) {
        const size_t size = json::dump(events[i].event).size() + 1;
        const bool full = batch.items().size() == kMostEvents || bytes + size > kMostBytes;
        if (full && !batch.items().empty()) {
            if (!store_batch(std::exchange(batch, json::Value::array()), events[i - 1].cursor)) return false;
            bytes = 0;
        }
        bytes += size;
        batch.push(std::move(events[i].event));
    }
    return store_batch(std::move(batch), cursor);
}

void ChannelPort::hello(std::string_view channel, std::string_view account, std::string_view name,
                        json::Value limits) {
    send(json::Value::object({{"type", "hello"},
                              {"protocol", 1},
                              {"channel", channel},
                              {"account", account},
                              {"name", name},
                              {"limits", std::move(limits)}}));
}

void ChannelPort::sent(std::string_view id, size_t part, size_t of, std::string_view platform) {
    send(json::Value::object(
        {{"type", "sent"}, {"id", id}, {"part", part}, {"of", of}, {"platform", platform}}));
}

void ChannelPort::failed(std::string_view id, const ChannelFailure& failure) {
    json::Value frame = json::Value::object(
        {{"type", "failed"}, {"id", id}, {"class", failure.kind}, {"error", sentence(failure.error)}});
    if (failure.retry > Milliseconds(0)) frame.set("retry_ms", static_cast<int64_t>(failure.retry.count()));
    if (!failure.moved.empty()) frame.set("moved", failure.moved);
    if (!failure.key.empty()) frame.set("key", failure.key);
    send(frame);
}

void ChannelPort::shown(std::string_view slot, std::string_view platform) {
    json::Value frame = json::Value::object({{"type", "shown"}, {"slot", slot}});
    if (!platform.empty()) frame.set("platform", platform);
    send(frame);
}

void ChannelPort::alive() { send(frame_of("alive")); }

void ChannelPort::trouble(const char* kind, std::string_view text) {
    const std::string line = sentence(text);
    send(json::Value::object({{"type", "trouble"}, {"class", kind}, {"text", line}}));
    log(LogLevel::Info, line);
}

std::string ChannelPort::sentence(std::string_view text) const {
    std::string line(text);
    for (const Secret& secret : hidden_) line = without(std::move(line), secret.reveal());
    line = printable(json::valid_utf8(line));
    std::replace(line.begin(), line.end(), '\n', ' ');
    return std::string(utf8_prefix(line, kMaxSentence));
}

}  // namespace peacrab
