// One thread. The stream is held for as long as nothing is to be done; a frame, a message or a sign of life ends it, and
// it is asked for again. Not from the last id on: a server hands a message to who listens before it keeps it, so one
// that came while we asked is in neither. What came within some seconds is asked for once more. What is ours is marked with a tag, which tells it from what others write
// in the same topic, and by which it is found when nobody knows whether it went out.
#include "channels/ntfy.h"

#include <algorithm>
#include <array>
#include <deque>
#include <random>

#include "channels/channel_files.h"
#include "channels/outbox.h"
#include "channels/web_call.h"
#include "error.h"
#include "protocols/base64.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr const char* kWho = "the ntfy server";
constexpr int64_t kOverlap = 10;             // seconds, by the server's clock
constexpr int64_t kOldest = 1'200'000'000;   // a number below is no time to ntfy
constexpr size_t kMostKept = 200;            // ids in the cursor
constexpr size_t kText = 4000;               // bytes; what has 4096 becomes a file
constexpr size_t kFile = size_t{15} << 20;
constexpr size_t kMostTopics = 8;
constexpr size_t kLongestLine = size_t{256} << 10;
constexpr size_t kMostAtOnce = 500;          // messages; the rest is asked for again
constexpr Milliseconds kAliveAgain{20'000};
constexpr Milliseconds kSettles{2'000};      // what may still be on its way when we ask whether it is there
constexpr Milliseconds kPollAgain{5'000};    // while something waits to be sent;
constexpr Milliseconds kSoon{2'000};         // and not at all for what is sent before that: each asking counts there
constexpr Milliseconds kLongestBackoff{60'000};

bool is_word(std::string_view text, size_t most) {
    return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
    });
}

// "pc-" and 16 digits made of the key; then the part and how many there are.
std::string mark_of(std::string_view key) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "pc-%016llx-", static_cast<unsigned long long>(text_hash(key)));
    return text.data();
}

// Our mark among a message's tags; "": somebody else's.
std::string own_mark(const json::Value& message) {
    const json::Value* const tags = message.find("tags");
    if (!tags || !tags->is_array()) return {};
    for (const json::Value& tag : tags->items())
        if (tag.is_string() && tag.as_string().starts_with("pc-") && tag.as_string().size() > 20) return tag.as_string();
    return {};
}

// What a header may hold: RFC 2047, which ntfy decodes.
std::string in_header(std::string_view text) { return "=?UTF-8?B?" + base64(utf8_prefix(text, 200)) + "?="; }

struct Settings {
    std::string server, topics, priority;
    std::vector<std::string> topic;
    bool markdown = false;
};

Settings read_settings(const json::Value& given) {
    Settings settings;
    settings.server = given.text("server", "https://ntfy.sh");
    while (settings.server.ends_with('/')) settings.server.pop_back();
    const bool web = settings.server.starts_with("https://") || settings.server.starts_with("http://");
    if (!web || origin_of(settings.server).empty() || settings.server.find_first_of("?#@ ") != std::string::npos)
        throw Error("ntfy: server: an address like https://ntfy.sh is needed");
    settings.topics = given.text("topic");
    settings.topic = split(settings.topics, ',');
    for (const std::string& topic : settings.topic)
        if (!is_word(topic, 64)) throw Error("ntfy: topic: letters, digits, _ and - are what one is made of");
    if (settings.topic.empty() || settings.topic.size() > kMostTopics) throw Error("ntfy: `topic` is missing");
    settings.priority = given.text("priority");
    if (!settings.priority.empty() && (settings.priority.size() > 1 || settings.priority < "1" || settings.priority > "5"))
        throw Error("ntfy: priority: 1 to 5 was expected");
    settings.markdown = given.text("markdown") == "true";
    return settings;
}

class Ntfy : public Poster {
  public:
    Ntfy(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port), settings_(read_settings(start.settings)), token_(port.take_secret("token")), random_(std::random_device{}()) {
        if (start.cursor) read_cursor(*start.cursor);
    }
    int run();

    bool knows(const std::string& topic) const override {
        return std::find(settings_.topic.begin(), settings_.topic.end(), topic) != settings_.topic.end();
    }
    bool is_group(const std::string&) const override { return false; }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override {
        return render(markdown, {settings_.markdown ? Markup::Discord : Markup::Plain, kText, RenderStyle::Unit::Bytes});
    }
    Done post(const Where& where, const Piece& piece) override { return publish(where, piece, piece.text, nullptr); }
    Done edit(const Where& where, const std::string&, const Piece& piece) override { return post(where, piece); }
    Done post_file(const Where& where, const Piece& piece, const File& file) override {
        return publish(where, piece, file.bytes, &file);
    }

  private:
    struct Lookup {
        std::string id, mark, topic;
        size_t part;
        Time due;
    };

    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const std::string& text);
    void note_trouble(const std::string& text);
    Milliseconds backoff();
    HttpRequest request(const char* method, const std::string& path) const;
    bool has_file(const std::string& address) const;
    Done publish(const Where& where, const Piece& piece, const std::string& body, const File* file);

    void take_frames(Deadline deadline);
    void look(const Lookup& lookup);
    void work();
    Time next_due() const;

    void read_cursor(const std::string& cursor);
    std::string cursor() const;
    enum class Hold { Stream, Poll };
    void listen(Hold hold);
    void take_line(std::string_view line);
    void take_message(const json::Value& message);
    void listened(const HttpResult& got);
    void note_alive();

    ChannelPort& port_;
    const Settings settings_;
    const Secret token_;
    std::minstd_rand random_;
    Outbox outbox_{port_, *this, {.between = Milliseconds(250)}};
    std::optional<HttpClient> stream_, calls_;
    std::deque<Lookup> lookups_;
    bool first_ = true;  // nothing was asked for yet, and what is there already is not for us
    int64_t newest_ = 0;  // the time of what came last; 0: nothing has
    std::map<std::string, int64_t> seen_;  // ids, and their times, of the last seconds
    std::vector<Arrived> arrived_;
    bool changed_ = false, enough_ = false;
    std::optional<int> ended_;
    bool stopping_ = false, greeted_ = false, troubled_ = false;
    int failures_ = 0;  // in a row
    Time next_listen_{}, listened_{}, last_alive_{};
};

void Ntfy::stand_down(const std::string& text) {
    port_.trouble("auth", text);
    ended_ = kExitStandDown;
}

// Once for a time of trouble.
void Ntfy::note_trouble(const std::string& text) {
    if (!std::exchange(troubled_, true)) port_.trouble("network", text);
}

Milliseconds Ntfy::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{1000} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

HttpRequest Ntfy::request(const char* method, const std::string& path) const {
    HttpRequest request;
    request.method = method;
    request.url = settings_.server + "/" + path;
    if (!token_.empty()) request.headers.push_back("Authorization: Bearer " + token_.reveal());
    return request;
}

// ---- sending

Poster::Done Ntfy::publish(const Where& where, const Piece& piece, const std::string& body, const File* file) {
    HttpRequest out = request("POST", where.conversation);
    out.body = body;
    out.first_byte_limit = Milliseconds(file ? 60'000 : 15'000);
    out.headers.push_back("X-Tags: " + mark_of(piece.key) + std::to_string(piece.part) + "-" + std::to_string(piece.of));
    out.headers.push_back("Content-Type: application/octet-stream");
    if (!settings_.priority.empty()) out.headers.push_back("X-Priority: " + settings_.priority);
    if (settings_.markdown && !file) out.headers.push_back("X-Markdown: 1");
    if (file) out.headers.push_back("X-Filename: " + in_header(file->name));
    std::optional<HttpClient> own;
    const WebAnswer answer = web_call(own, out, kWho);
    if (answer.what != WebAnswer::What::Answered)
        return {.failure = answer.failure, .for_all = std::string_view(answer.failure.kind) == "not_sent"};
    const std::string said = std::string(kWho) + " answered with status " + std::to_string(answer.status);
    if (answer.status == 200) {
        try {
            const std::string id = json::parse(answer.body).text("id");
            if (!id.empty()) return {.ok = true, .platform = std::string(utf8_prefix(id, 64))};
        } catch (const Error&) {
        }
        return {.failure = {"unknown", std::string(kWho) + " gave an answer that cannot be read"}};
    }
    if (answer.status == 429) return {.failure = {"throttled", said, wait_of(answer.retry_after)}};
    if (answer.status == 401) stand_down("ntfy does not take the token");
    if (answer.status == 403) return {.failure = {"gone", "this token may not write to the topic"}};
    if (answer.status == 504) return {.failure = {"unknown", said}};
    return {.failure = {answer.status >= 500 ? "transient" : "permanent", said}};
}

// Whoever writes to a topic says where its file lies: an address that leads out of /file/ again would be read with our
// token.
bool Ntfy::has_file(const std::string& address) const {
    const std::string begin = settings_.server + "/file/";
    if (!address.starts_with(begin)) return false;
    const size_t point = std::min(address.find('.', begin.size()), address.size());
    const std::string id = address.substr(begin.size(), point - begin.size());
    const std::string extension = address.substr(std::min(point + 1, address.size()));
    return is_word(id, 64) && (point == address.size() || is_word(extension, 32));
}

void Ntfy::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type"), id = frame->text("id");
        if (type == "stop") {
            stopping_ = true;
        } else if (type == "resolve") {
            lookups_.push_back({id, mark_of(frame->text("key")) + std::to_string(frame->integer("part")) + "-", frame->text("conversation"),
                                static_cast<size_t>(std::max<int64_t>(frame->integer("part"), 0)), Clock::now() + kSettles});
        } else if (type == "fetch") {
            const std::string address = frame->text("handle");
            if (!has_file(address)) {
                port_.not_fetched(id, "it does not lie with the ntfy server");
                continue;
            }
            answer_fetch(port_, *frame, address, request("GET", "").headers, kWho);
        } else {
            (void)outbox_.take(*frame);
        }
    }
}

// Among all that the server still has, which is that of half a day.
void Ntfy::look(const Lookup& lookup) {
    if (!knows(lookup.topic)) return port_.failed(lookup.id, {"permanent", "there is no such topic"});
    const WebAnswer answer = web_call(calls_, request("GET", lookup.topic + "/json?poll=1&since=all"), kWho);
    const bool read = answer.what == WebAnswer::What::Answered && answer.status == 200;
    if (!read) return port_.failed(lookup.id, {"unknown", std::string(kWho) + " does not say whether it is there"});
    for (const std::string& line : split(answer.body, '\n')) {
        if (line.find(lookup.mark) == std::string::npos) continue;
        try {
            const json::Value message = json::parse(line);
            const std::string mark = own_mark(message);
            if (!mark.starts_with(lookup.mark)) continue;
            const size_t of = std::clamp<size_t>(std::strtoul(mark.c_str() + lookup.mark.size(), nullptr, 10), lookup.part + 1, 1000);
            return port_.sent(lookup.id, lookup.part, of, utf8_prefix(message.text("id"), 64));
        } catch (const Error&) {
        }
    }
    port_.failed(lookup.id, {"not_sent", "it is not there"});
}

void Ntfy::work() {
    outbox_.work();
    while (!lookups_.empty() && lookups_.front().due <= Clock::now() && !over()) {
        look(lookups_.front());
        lookups_.pop_front();
    }
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
}

// ---- receiving

void Ntfy::note_alive() {
    const Time now = Clock::now();
    failures_ = 0;
    troubled_ = false;
    if (last_alive_ != Time{} && now - last_alive_ < kAliveAgain) return;
    last_alive_ = now;
    if (!std::exchange(greeted_, true))
        port_.hello("ntfy", origin_of(settings_.server) + "/" + settings_.topics, settings_.topics,
                    json::Value::object({{"dedupe", "lookup"}, {"files", kFile}, {"text", kText}}));
    port_.alive();
}

// "1764000000 id id": the time, and what is known of the seconds before.
std::string Ntfy::cursor() const {
    std::string text = std::to_string(newest_);
    size_t kept = 0;
    for (const auto& [id, time] : seen_)
        if (kept++ < kMostKept) text += " " + id;
    return text;
}

void Ntfy::read_cursor(const std::string& cursor) {
    const std::vector<std::string> words = split(cursor, ' ');
    for (const std::string& word : words)
        if (!is_word(word, 64)) throw Error("ntfy: the cursor is not one");
    if (words[0].size() > 13 || words[0].find_first_not_of("0123456789") != std::string::npos) throw Error("ntfy: the cursor is not one");
    newest_ = std::stoll(words[0]);
    for (size_t i = 1; i < words.size(); ++i) seen_[words[i]] = newest_;
    first_ = false;
}

void Ntfy::take_message(const json::Value& message) {
    const std::string topic = message.text("topic"), id = message.text("id");
    if (message.text("event") != "message" || !is_word(id, 64) || !knows(topic)) return;
    const int64_t time = std::clamp<int64_t>(message.integer("time"), 0, int64_t{1} << 40);
    if (!seen_.emplace(id, time).second) return;
    changed_ = true;
    if (time > newest_) {
        newest_ = time;
        std::erase_if(seen_, [time](const auto& one) { return one.second + kOverlap < time; });
    }
    if (first_ || !own_mark(message).empty()) return;
    const std::string title = message.text("title"), said = message.text("message");
    Members members;
    members.text("key", id)
        .text("kind", "message")
        .text("conversation", topic)
        .text("scope", "direct")
        .text("id", id)
        .text("sender", "topic " + topic)
        .text("name", topic)
        .text("text", utf8_prefix(title.empty() ? said : title + "\n" + said, size_t{64} << 10))
        .number("at", time * 1000);
    json::Value event = std::move(members.object());
    if (const json::Value* const file = message.find("attachment"); file && file->is_object()) {
        const std::string address = file->text("url");
        json::Value card = json::Value::object({{"name", utf8_prefix(file->text("name"), 200)},
                                                {"mime", utf8_prefix(file->text("type"), 100)},
                                                {"size", std::clamp<int64_t>(file->integer("size"), 0, int64_t{1} << 40)}});
        const bool here = has_file(address);
        card.set(here ? "handle" : "note", here ? address : "it lies elsewhere: " + std::string(utf8_prefix(origin_of(address), 100)));
        event.set("files", json::Value::array({std::move(card)}));
    }
    arrived_.push_back({std::move(event), cursor()});
}

void Ntfy::take_line(std::string_view line) {
    if (line.empty()) return;
    try {
        const json::Value message = json::parse(line);
        const std::string event = message.text("event");
        if (event == "open" || event == "keepalive" || event == "message") note_alive();
        if (event == "keepalive") enough_ = true;
        take_message(message);
    } catch (const Error& error) {
        log(LogLevel::Error, "ntfy: a line was left out: " + std::string(error.what()));
    }
}

void Ntfy::listen(Hold hold) {
    if (!stream_) {
        HttpOptions options;
        options.environment = true;
        options.first_byte_limit = Seconds(30);
        stream_.emplace(std::move(options));  // a keepalive comes every 45 s, unless the server is set up otherwise
    }
    const bool poll = hold == Hold::Poll || first_;
    const std::string since = first_ || newest_ < kOldest ? "all" : std::to_string(newest_ - kOverlap);
    HttpRequest asked = request("GET", settings_.topics + (poll ? "/json?poll=1&since=" : "/json?since=") + since);
    enough_ = changed_ = false;
    asked.enough = [this, poll] { return !poll && (enough_ || !arrived_.empty()); };
    std::string buffer;
    HttpResult got;
    try {
        got = stream_->send(
            asked, [](const HttpResult& head) { return head.status == 200; },
            [&](std::string_view piece) {
                buffer += piece;
                for (size_t end; (end = buffer.find('\n')) != std::string::npos; buffer.erase(0, end + 1))
                    if (arrived_.size() < kMostAtOnce) take_line(std::string_view(buffer).substr(0, end));
                if (buffer.size() > kLongestLine) throw Error("a line of its is too long");
            },
            first_ ? -1 : port_.wake_fd());
    } catch (const Error& error) {
        got.failure = HttpResult::Failure::Silent;
        got.detail = error.what();
    }
    listened(got);
}

void Ntfy::listened(const HttpResult& got) {
    using Failure = HttpResult::Failure;
    if (got.failure != Failure::None) stream_.reset();
    if (got.status == 401 || got.status == 403)
        return stand_down(got.status == 401 ? "ntfy does not take the token" : "ntfy does not let this token read the topic");
    const bool good = (got.failure == Failure::None && got.status == 200) || got.failure == Failure::Cancelled;
    if (good || !arrived_.empty()) {
        if (first_ && got.failure != Failure::None) return;
        if (got.failure == Failure::None) note_alive();
        if (!changed_ && !first_) {
            // Who streams does not end it by himself.
            if (got.failure == Failure::None && !enough_) next_listen_ = Clock::now() + kSoon;
            return;
        }
        if (port_.store(std::exchange(arrived_, {}), cursor())) first_ = false;
        return;
    }
    note_trouble(got.failure != Failure::None ? got.detail : std::string(kWho) + " answered with status " + std::to_string(got.status));
    next_listen_ = Clock::now() + std::max(backoff(), got.status == 429 ? wait_of(got.header("retry-after")) : Milliseconds(0));
}

Time Ntfy::next_due() const {
    Time due = const_cast<Outbox&>(outbox_).next_due();
    for (const Lookup& lookup : lookups_) due = std::min(due, lookup.due);
    return due;
}

int Ntfy::run() {
    while (!over()) {
        take_frames(Deadline());
        if (over()) break;
        work();
        if (over() || (stopping_ && outbox_.idle() && lookups_.empty())) break;
        const Time now = Clock::now(), due = next_due();
        const bool soon = due < now + kSoon && now < listened_ + kPollAgain;
        if (!stopping_ && now >= next_listen_ && !soon) {
            listen(due == Time::max() ? Hold::Stream : Hold::Poll);
            listened_ = Clock::now();
            if (due != Time::max()) next_listen_ = std::max(next_listen_, listened_ + kPollAgain);
            take_frames(Deadline());  // storing has read on, and what it kept wakes nobody
            continue;
        }
        const Time until = stopping_ || soon ? due : std::min(due, next_listen_);
        take_frames(Deadline::in(std::chrono::ceil<Milliseconds>(std::clamp<Clock::duration>(until - now, Milliseconds(0), Seconds(60)))));
    }
    return ended_.value_or(0);
}

}  // namespace

int run_ntfy(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Ntfy>(port, start);
}

}  // namespace peacrab
