// One thread, and one stream of events that is never cut by us while all is well: what is on it when it ends is gone. So
// it is a byte stream that is waited for beside the frames, and what has come is stored before anything else is done.
// Nobody can be asked whether something went out.
#include "channels/signal.h"

#include <algorithm>
#include <random>

#include "channels/event_parts.h"
#include "channels/outbox.h"
#include "channels/web_call.h"
#include "error.h"
#include "protocols/byte_stream.h"
#include "protocols/sse.h"
#include "web/address.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr const char* kWho = "signal-cli";
constexpr size_t kText = 2000;                // UTF-16; what is longer the apps fold away
constexpr size_t kMostHead = size_t{32} << 10;
constexpr size_t kMostChunk = size_t{4} << 20;
constexpr Milliseconds kHead{15'000};         // for the head of the stream
constexpr Milliseconds kQuiet{30'000};        // then it is asked whether it is there
constexpr Milliseconds kTyping{15'000};
constexpr Milliseconds kLongestBackoff{60'000};
constexpr std::string_view kMark = "\xef\xbf\xbc";  // stands where a mention is shown
constexpr std::string_view kGroup = "group.";

// The body of an answer as it comes: the head, then what is in its chunks (RFC 9112, 7.1), or all of it.
class Body {
  public:
    // What is whole of `in`, taken from it. Throws Error when it is no stream of events.
    std::string take(std::string& in) {
        std::string out;
        if (!begun_ && !take_head(in)) return out;
        while (!in.empty()) {
            if (!chunked_) return std::exchange(in, {});
            if (left_ > 0) {
                const size_t n = std::min(left_, in.size());
                out.append(in, 0, n);
                in.erase(0, n);
                left_ -= n;
                continue;
            }
            const size_t end = in.find("\r\n");
            if (end == std::string::npos) break;
            if (end > 0) left_ = std::strtoul(in.substr(0, std::min<size_t>(end, 8)).c_str(), nullptr, 16);
            if (left_ > kMostChunk) throw Error("a piece of the stream is too long");
            in.erase(0, end + 2);  // the empty line is that behind a chunk
        }
        return out;
    }
    bool begun() const { return begun_; }

  private:
    bool take_head(std::string& in) {
        const size_t end = in.find("\r\n\r\n");
        if (end == std::string::npos && in.size() < kMostHead) return false;
        const std::string head = lower(in.substr(0, end));
        if (end == std::string::npos || !head.starts_with("http/1.1 200") || head.find("text/event-stream") == std::string::npos)
            throw Error("what answers there is no signal-cli: " + printable(head.substr(0, head.find('\r')).substr(0, 60)));
        chunked_ = head.find("\r\ntransfer-encoding: chunked") != std::string::npos;
        in.erase(0, end + 4);
        return begun_ = true;
    }
    bool begun_ = false, chunked_ = false;
    size_t left_ = 0;
};

class Signal : public Poster {
  public:
    Signal(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port),
          server_(start.settings.text("server", "http://127.0.0.1:8080")),
          account_(start.settings.text("account")),
          name_(start.settings.text("name")),
          random_(std::random_device{}()) {
        while (server_.ends_with('/')) server_.pop_back();
        const std::string rest = server_.starts_with("http://") ? server_.substr(7) : server_.starts_with("https://") ? server_.substr(8) : "";
        const size_t colon = rest.rfind(':');
        if (rest.empty() || rest.find_first_of("/?#@ \r\n") != std::string::npos || colon == std::string::npos || colon == 0 || rest.size() - colon > 6 ||
            rest.find_first_not_of("0123456789", colon + 1) != std::string::npos)
            throw Error("signal: server: an address with a port, like http://127.0.0.1:8080, is needed");
        stream_options_.host = rest.substr(0, colon);
        stream_options_.port = static_cast<uint16_t>(std::strtoul(rest.c_str() + colon + 1, nullptr, 10));
        stream_options_.tls = server_.starts_with("https://");
        stream_options_.http = stream_options_.environment = true;
    }
    int run();

    bool knows(const std::string& place) const override { return !place.empty() && place != kGroup && place.size() <= 200; }
    bool is_group(const std::string& place) const override { return place.starts_with(kGroup); }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override {
        return render(markdown, {Markup::Plain, kText, RenderStyle::Unit::Utf16});
    }
    Done post(const Where& where, const Piece& piece) override { return send(where, piece, 0); }
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override {
        return send(where, piece, std::strtoll(platform.c_str(), nullptr, 10));
    }
    Done post_file(const Where&, const Piece&, const File&) override { return {.failure = {"permanent", "signal: files are not sent"}}; }
    Done show_typing(const Where& where) override;

  private:
    Milliseconds backoff();
    void note_trouble(const std::string& text);
    json::Value place(const std::string& conversation) const;
    WebAnswer call(const char* method, json::Value parameters, Milliseconds limit);
    Done send(const Where& where, const Piece& piece, int64_t edits);
    void take_frames(Deadline deadline);
    void connect();
    void listen();
    void lost(const std::string& why);
    void take_event(std::string_view data);
    void check();

    ChannelPort& port_;
    std::string server_;
    const std::string account_, name_;
    ByteStreamOptions stream_options_;
    std::minstd_rand random_;
    Outbox outbox_{port_, *this,
                   {.between = Milliseconds(1'000), .between_shown = Milliseconds(3'000), .typing_lease = kTyping, .typing_again = Milliseconds(10'000)}};
    std::unique_ptr<ByteStream> stream_;
    std::optional<Body> body_;
    std::optional<SseParser> events_;
    std::string in_;
    std::vector<Arrived> arrived_;
    bool stopping_ = false, troubled_ = false, greeted_ = false;
    int failures_ = 0;  // in a row
    Time next_connect_{}, began_{}, next_check_{};
};

// Once for a time of trouble.
void Signal::note_trouble(const std::string& text) {
    if (!std::exchange(troubled_, true)) port_.trouble("network", text);
}

Milliseconds Signal::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{1000} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

// ---- sending

json::Value Signal::place(const std::string& conversation) const {
    json::Value parameters = json::Value::object();
    if (!account_.empty()) parameters.set("account", account_);
    if (is_group(conversation)) parameters.set("groupId", conversation.substr(kGroup.size()));
    else parameters.set("recipient", json::Value::array({conversation}));
    return parameters;
}

WebAnswer Signal::call(const char* method, json::Value parameters, Milliseconds limit) {
    HttpRequest request;
    request.url = server_ + "/api/v1/rpc";
    request.headers = {"Content-Type: application/json"};
    request.body = json::dump(json::Value::object({{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", std::move(parameters)}}));
    request.first_byte_limit = limit;
    std::optional<HttpClient> own;  // nothing may be repeated by a library
    return web_call(own, request, kWho);
}

Poster::Done Signal::send(const Where& where, const Piece& piece, int64_t edits) {
    json::Value parameters = place(where.conversation);
    parameters.set("message", piece.plain);
    if (edits > 0) parameters.set("editTimestamp", edits);
    const WebAnswer answer = call("send", std::move(parameters), Milliseconds(30'000));
    if (answer.what != WebAnswer::What::Answered)
        return {.failure = answer.failure, .for_all = std::string_view(answer.failure.kind) == "not_sent"};
    try {
        const json::Value said = json::parse(answer.body, {size_t{1} << 20, 16});
        const int64_t timestamp = part(said, "result").integer("timestamp");
        if (timestamp > 0) return {.ok = true, .platform = std::to_string(edits > 0 ? edits : timestamp)};
        const json::Value& error = part(said, "error");
        if (error.is_object()) {
            const std::string words = error.text("message", "no reason given");
            // -5: too many; -1: what was asked for is wrong; -32602: so are its parameters. The rest may pass.
            const int64_t code = error.integer("code");
            if (code == -5) return {.failure = {"throttled", "Signal: " + words, Milliseconds(60'000)}};
            return {.failure = {code == -1 || code == -32602 || code == -4 ? "permanent" : "transient", "Signal: " + words}};
        }
    } catch (const Error&) {
    }
    if (answer.status >= 500) return {.failure = {"transient", "signal-cli answered with status " + std::to_string(answer.status)}};
    return {.failure = {"unknown", "signal-cli gave an answer that cannot be read"}};
}

Poster::Done Signal::show_typing(const Where& where) {
    (void)call("sendTyping", place(where.conversation), Milliseconds(5'000));
    return {.ok = true};
}

void Signal::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type");
        if (type == "stop") stopping_ = true;
        else if (type == "resolve") port_.failed(frame->text("id"), {"unknown", "Signal cannot be asked what it has"});
        else if (type == "fetch") port_.not_fetched(frame->text("id"), "files of Signal lie with the daemon");
        else (void)outbox_.take(*frame);
    }
}

// ---- receiving

void Signal::lost(const std::string& why) {
    stream_.reset();
    in_.clear();
    note_trouble(why);
    next_connect_ = Clock::now() + backoff();
}

void Signal::connect() {
    ByteStream::Opened opened = ByteStream::open(stream_options_, port_.wake_fd());
    if (!opened.stream) {
        if (!opened.detail.empty()) lost(opened.detail);
        return;
    }
    stream_ = std::move(opened.stream);
    body_.emplace();
    events_.emplace([this](std::string_view, std::string_view data) { take_event(data); });
    began_ = Clock::now();
    const std::string account = account_.empty() ? "" : "?account=" + percent_encoded(account_, [](char c) { return c >= '0' && c <= '9'; });
    const std::string head = "GET /api/v1/events" + account + " HTTP/1.1\r\nHost: " + stream_options_.host + ":" + std::to_string(stream_options_.port) +
                             "\r\nAccept: text/event-stream\r\n\r\n";
    size_t taken = 0;
    if (!stream_->write(head, taken) || taken != head.size()) lost("the connection to signal-cli broke");
}

// A daemon that is silent and one that hangs are told apart by a call.
void Signal::check() {
    next_check_ = Clock::now() + kQuiet;
    HttpRequest request;
    request.method = "GET";
    request.url = server_ + "/api/v1/check";
    request.first_byte_limit = Milliseconds(10'000);
    std::optional<HttpClient> own;
    const WebAnswer answer = web_call(own, request, kWho);
    if (answer.what != WebAnswer::What::Answered || answer.status != 200) return lost("signal-cli does not answer");
    failures_ = 0;
    troubled_ = false;
    if (!std::exchange(greeted_, true))
        port_.hello("signal", account_.empty() ? server_ : account_, name_.empty() ? account_ : name_,
                    json::Value::object({{"edits", 3'000}, {"typing", static_cast<int64_t>(kTyping.count())}, {"dedupe", "none"}}));
    port_.alive();
}

void Signal::listen() {
    for (;;) {
        const ByteStream::Got got = stream_->read(in_, size_t{64} << 10);
        try {
            events_->feed(body_->take(in_));
        } catch (const Error& error) {
            return lost(error.what());
        }
        if (!arrived_.empty() && !port_.store(std::exchange(arrived_, {}), "")) return;
        if (got == ByteStream::Got::Nothing) break;
        if (got != ByteStream::Got::Some) return lost("signal-cli has closed the connection");
    }
    if (body_->begun() && Clock::now() >= next_check_) return check();
    if (!body_->begun() && Clock::now() - began_ > kHead) lost("signal-cli does not answer");
}

// Whether it is called by a mention; the marks that stand for mentions go.
bool mentioned(const json::Value& message, const std::string& account, std::string& text) {
    bool named = false;
    const json::Value& mentions = part(message, "mentions");
    if (mentions.is_array())
        for (const json::Value& one : mentions.items()) named |= !account.empty() && (one.text("number") == account || one.text("uuid") == account);
    for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos;) text.erase(at, kMark.size());
    text.erase(0, std::min(text.find_first_not_of(" :,"), text.size()));
    return named;
}

void Signal::take_event(std::string_view data) try {
    const json::Value given = json::parse(data, {size_t{4} << 20, 32});
    const json::Value& wrapped = part(part(given, "params"), "envelope");
    const json::Value& envelope = wrapped.is_object() ? wrapped : part(given, "envelope");
    const json::Value& edited = part(envelope, "editMessage");
    const json::Value& message = part(edited.is_object() ? edited : envelope, "dataMessage");
    const std::string sender = envelope.text("sourceUuid", envelope.text("sourceNumber"));
    const int64_t timestamp = message.integer("timestamp", envelope.integer("timestamp"));
    std::string text = bounded(message.text("message"), size_t{64} << 10);
    const json::Value& files = part(message, "attachments");
    const bool has_files = files.is_array() && !files.items().empty();
    // Receipts, signs of life, what our other devices do.
    if (!message.is_object() || sender.empty() || sender.size() > 100 || timestamp <= 0 || (text.empty() && !has_files)) return;
    const std::string group = part(message, "groupInfo").text("groupId");
    if (group.size() > 150) return;
    bool named = mentioned(message, account_, text);
    if (!name_.empty() && lower(text.substr(0, name_.size())) == lower(name_)) {
        const size_t rest = text.find_first_not_of(":, ", name_.size());
        named |= rest == std::string::npos || rest > name_.size();
        if (named) text = rest == std::string::npos ? "" : text.substr(rest);
    }
    const bool own = !account_.empty() && (envelope.text("sourceNumber") == account_ || sender == account_);
    Members members;
    members.text("key", sender + "-" + std::to_string(timestamp))
        .text("kind", edited.is_object() ? "edit" : "message")
        .text("conversation", group.empty() ? sender : std::string(kGroup) + group)
        .text("scope", group.empty() ? "direct" : "group")
        .text("id", std::to_string(edited.is_object() ? edited.integer("targetSentTimestamp") : timestamp))
        .text("sender", sender)
        .text("name", bounded(envelope.text("sourceName"), 200))
        .flag("own", own)
        .flag("addressed", group.empty() || named)
        .text("text", text)
        .number("at", std::min<int64_t>(timestamp, int64_t{1} << 52));
    json::Value event = std::move(members.object());
    if (const std::string title = part(message, "groupInfo").text("groupName"); !title.empty()) event.set("title", bounded(title, 200));
    if (const json::Value& quote = part(message, "quote"); quote.is_object()) {
        const bool ours = !account_.empty() && (quote.text("authorNumber") == account_ || quote.text("author") == account_);
        event.set("reply_to", json::Value::object({{"id", std::to_string(quote.integer("id"))}, {"text", bounded(quote.text("text"), 500)}, {"own", ours}}));
        if (ours) event.set("addressed", true);
    }
    if (has_files) {
        json::Value cards = json::Value::array();
        for (const json::Value& file : files.items())
            if (cards.items().size() < 20)
                cards.push(json::Value::object({{"name", bounded(file.text("filename", "file"), 200)},
                                                {"mime", bounded(file.text("contentType"), 100)},
                                                {"size", std::clamp<int64_t>(file.integer("size"), 0, int64_t{1} << 40)},
                                                {"note", "not fetched: files of Signal lie with the daemon"}}));
        event.set("files", std::move(cards));
    }
    arrived_.push_back({std::move(event), ""});
} catch (const Error& error) {
    log(LogLevel::Error, "signal: an event was left out: " + std::string(error.what()));
}

int Signal::run() {
    while (!port_.ended()) {
        take_frames(Deadline());
        if (port_.ended() || (stopping_ && outbox_.idle())) break;
        if (stream_) listen();
        take_frames(Deadline());  // storing has read on, and what it kept wakes nobody
        outbox_.work();
        if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
        const Time now = Clock::now();
        if (!stream_ && now >= next_connect_ && !stopping_) {
            connect();
            continue;
        }
        const Time until = std::min({outbox_.next_due(), stream_ ? (body_->begun() ? next_check_ : began_ + kHead) : next_connect_, now + kQuiet});
        const auto span = std::chrono::ceil<Milliseconds>(std::clamp<Clock::duration>(until - now, Milliseconds(0), kQuiet));
        if (stream_) (void)stream_->wait(span, port_.wake_fd());
        else take_frames(Deadline::in(span));
    }
    return 0;
}

}  // namespace

int run_signal(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Signal>(port, start);
}

}  // namespace peacrab
