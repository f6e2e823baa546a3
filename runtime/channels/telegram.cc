// One thread: do what the warden wants and what is due, then ask for updates for as long as nothing is due. A frame
// cuts that wait short. The next updates are asked for only when the last ones are stored: asking is what makes
// Telegram forget them.
#include "channels/telegram.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "channels/telegram_api.h"
#include "channels/telegram_poster.h"
#include "channels/telegram_update.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = TelegramAnswer::Kind;

constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kAliveAgain{5'000};
constexpr int64_t kPollSeconds = 50;
constexpr Milliseconds kAlbumWait{1'000};
constexpr Milliseconds kDeaf{2'000};  // of polls that were cut short; then one is not
constexpr Milliseconds kLongestBackoff{60'000};
constexpr int kSettledAfter = 3;     // polls
constexpr size_t kMostFetches = 32;  // what is beyond, the warden asks for again
constexpr size_t kMostConflicts = 5;  // in a minute
constexpr int kMostUnreadable = 5;
constexpr int64_t kMostUpdates = 100;

constexpr struct {
    const char* name;
    const char* text;
} kCommands[] = {
    {"help", "What can be said with a slash"},
    {"new", "A new conversation"},
    {"stop", "Stop what I am doing"},
    {"undo", "Take the last turn back"},
    {"status", "How it stands"},
    {"usage", "What was spent"},
    {"model", "Which model answers"},
    {"tasks", "What I will do by myself"},
    {"whoami", "What you are known as here"},
    {"why", "What became of a message"},
};

class Telegram {
  public:
    Telegram(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port),
          api_(start.settings.text("api", "https://api.telegram.org"), port.take_secret("token")),
          random_(std::random_device{}()) {
        if (!start.cursor) return;
        cursor_ = telegram_id(*start.cursor);
        if (!cursor_ || *cursor_ < 0) throw Error("telegram: the cursor is not one");
    }
    int run();

  private:
    // Its end.
    void end(int code) { ended_ = code; }
    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const char* kind, const std::string& text);

    bool introduce();
    void say_hello();
    void wait(Milliseconds span);
    Milliseconds backoff();
    void note_trouble(const std::string& text);

    void take_frames(Deadline deadline);
    void take(const json::Value& frame);
    void work();
    Time next_due();

    void poll();
    json::Value poll_parameters(int64_t seconds) const;
    void take_updates(const std::vector<json::Value>& updates);
    void poll_failed(const TelegramAnswer& answer);
    void take_conflict(const TelegramAnswer& answer);
    void take_unreadable(const json::Value& first);
    void note_alive();

    ChannelPort& port_;
    TelegramApi api_;
    TelegramPoster poster_{api_};
    Outbox outbox_{port_, poster_, TelegramPoster::pace()};
    std::vector<json::Value> fetches_;
    std::minstd_rand random_;
    TelegramSelf self_;
    std::optional<int> ended_;
    bool stopping_ = false;

    std::optional<int64_t> cursor_;
    Time next_poll_{};
    Time last_alive_{};
    Time cut_since_{};  // polls were cut short since; zero: the last one was not
    bool held_ = false;  // the updates that are there were not taken yet: the rest of an album is waited for
    int failures_ = 0;   // in a row
    bool troubled_ = false;
    int polls_ = 0;
    std::vector<Time> conflicts_;
    int64_t most_ = kMostUpdates;
    int unreadable_ = 0;
};

void Telegram::stand_down(const char* kind, const std::string& text) {
    port_.trouble(kind, text);
    end(kExitStandDown);
}

Milliseconds Telegram::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{1000} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

// Once for a time of trouble.
void Telegram::note_trouble(const std::string& text) {
    if (!std::exchange(troubled_, true)) port_.trouble("network", text);
}

// Frames are taken meanwhile.
void Telegram::wait(Milliseconds span) {
    for (const Deadline deadline = Deadline::in(span); !deadline.passed() && !over() && !stopping_;)
        take_frames(deadline);
}

bool Telegram::introduce() {
    while (!over() && !stopping_) {
        const TelegramAnswer answer = api_.call("getMe", json::Value::object());
        self_ = {answer.result.integer("id"), answer.result.text("username")};
        if (answer.ok() && self_.id > 0) break;
        if (answer.kind == Kind::Auth) {
            stand_down("auth", "Telegram does not take this token: get it from BotFather again");
            break;
        }
        note_trouble(answer.failure.error);
        wait(std::max(backoff(), answer.failure.retry));
    }
    failures_ = 0;
    troubled_ = false;
    return !over() && !stopping_;
}

void Telegram::say_hello() {
    const OutboxPace pace = TelegramPoster::pace();
    port_.hello("telegram", std::to_string(self_.id), "@" + self_.name,
                json::Value::object({{"edits", static_cast<int64_t>(pace.between.count())},
                                     {"edits_group", static_cast<int64_t>(pace.between_shown_group.count())},
                                     {"typing", static_cast<int64_t>(pace.typing_lease.count())},
                                     {"dedupe", "none"},
                                     {"files", TelegramPoster::kFile},
                                     {"text", TelegramPoster::kText},
                                     {"buttons", TelegramPoster::kButtons}}));
    json::Value commands = json::Value::array();
    for (const auto& command : kCommands)
        commands.push(json::Value::object({{"command", command.name}, {"description", command.text}}));
    // Neither is needed to go on.
    (void)api_.call("deleteWebhook", json::Value::object({{"drop_pending_updates", false}}));
    (void)api_.call("setMyCommands", json::Value::object({{"commands", std::move(commands)}}));
}

// ---- what the warden wants

void Telegram::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline()))
        take(*frame);
}

void Telegram::take(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "stop") stopping_ = true;
    else if (type == "fetch" && fetches_.size() < kMostFetches) fetches_.push_back(frame);
    else if (type == "resolve") port_.failed(frame.text("id"), {"unknown", "Telegram cannot be asked what it has"});
    else (void)outbox_.take(frame);
}

void Telegram::work() {
    outbox_.work();
    if (const std::optional<ChannelFailure> refused = poster_.take_auth()) return stand_down("auth", refused->error);
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) return note_trouble(trouble->error);
    if (fetches_.empty()) return;
    api_.fetch(port_, fetches_.front());  // one, so that what is said meanwhile is heard between two
    fetches_.erase(fetches_.begin());
}

Time Telegram::next_due() { return fetches_.empty() ? outbox_.next_due() : Time{}; }

// ---- receiving

json::Value Telegram::poll_parameters(int64_t seconds) const {
    json::Value wanted = json::Value::array({"message", "edited_message", "callback_query"});
    json::Value parameters = json::Value::object(
        {{"limit", most_}, {"timeout", seconds}, {"allowed_updates", std::move(wanted)}});
    if (cursor_) parameters.set("offset", *cursor_);
    return parameters;
}

void Telegram::note_alive() {
    const Time now = Clock::now();
    ++polls_;
    failures_ = 0;
    troubled_ = false;
    cut_since_ = {};
    if (last_alive_ != Time{} && now - last_alive_ < kAliveAgain) return;
    last_alive_ = now;
    port_.alive();
}

// For as long as nothing is due; when that is soon, only for what is there.
void Telegram::poll() {
    const Time now = Clock::now();
    const auto left = std::chrono::duration_cast<Seconds>(std::min<Clock::duration>(
        std::max(next_due(), now) - now, Seconds(kPollSeconds)));
    const bool deaf = cut_since_ != Time{} && now - cut_since_ > kDeaf;
    // The first one too, which shows that all is well.
    const int64_t seconds = deaf || held_ || polls_ == 0 ? 0 : left.count();
    const TelegramAnswer answer =
        api_.poll(poll_parameters(seconds), {.limit = Milliseconds(seconds * 1000 + 10'000),
                                             .cancel_fd = seconds ? port_.wake_fd() : -1});
    if (answer.kind == Kind::Cancelled) {
        if (cut_since_ == Time{}) cut_since_ = now;
        return;
    }
    if (!answer.ok() || !answer.result.is_array()) return poll_failed(answer);
    note_alive();
    unreadable_ = 0;
    most_ = std::min(most_ * 10, kMostUpdates);
    take_updates(answer.result.items());
    const bool first = polls_ == 1;
    if (seconds == 0 && !first && next_poll_ <= Clock::now()) next_poll_ = now + Milliseconds(500);
}

void Telegram::take_updates(const std::vector<json::Value>& updates) {
    // The rest of an album comes as updates of its own, a moment later: all are asked for once more, but not twice.
    const bool open = !held_ && std::cmp_less(updates.size(), most_) && !open_telegram_album(updates).empty();
    held_ = open;
    if (open) next_poll_ = Clock::now() + kAlbumWait;
    if (open || updates.empty()) return;
    next_poll_ = {};
    const std::optional<int64_t> next = telegram_cursor(updates);
    if (!next) {
        next_poll_ = Clock::now() + backoff();
        return;
    }
    if (!port_.store(read_telegram_updates(updates, self_), std::to_string(*next))) return;
    cursor_ = next;
    // Which ends a sign of waiting, and no more: what comes of it is an edit.
    for (const std::string& id : telegram_presses(updates))
        (void)api_.call("answerCallbackQuery", json::Value::object({{"callback_query_id", id}}), {.limit = Milliseconds(5'000)});
}

// Somebody else asks too. Who has just begun gives way; who was there first sees whether the other one does. Once it
// may have been a poll of our own, cut short, that came behind the next one.
void Telegram::take_conflict(const TelegramAnswer& answer) {
    const Time now = Clock::now();
    conflicts_.push_back(now);
    std::erase_if(conflicts_, [now](Time at) { return at + kMinute < now; });
    const bool webhook = answer.says("webhook");
    if (webhook) (void)api_.call("deleteWebhook", json::Value::object({{"drop_pending_updates", false}}));
    if (conflicts_.size() >= kMostConflicts || (polls_ < kSettledAfter && conflicts_.size() > 1 && !webhook))
        return stand_down("conflict", webhook ? "something sets a webhook for this bot again and again"
                                              : "somebody else asks for this bot's messages with the same token: "
                                                "end that program, or make this one a bot of its own");
    next_poll_ = now + Milliseconds(std::uniform_int_distribution<int64_t>(1'000, 2'000)(random_));
}

// First fewer at once; an update that cannot be read again and again is given up, so that the next ones come. Only
// one whose number was seen: what is no answer of Telegram's says nothing about updates.
void Telegram::take_unreadable(const json::Value& first) {
    const bool alone = most_ == 1;
    most_ = std::max<int64_t>(most_ / 10, 1);
    if (!first.is_integer()) return;
    next_poll_ = Clock::now() + Seconds(1);
    if (!alone || ++unreadable_ < kMostUnreadable) return;
    unreadable_ = 0;
    const int64_t next = first.as_integer() + 1;
    port_.trouble("network", "Telegram sent a message that cannot be read, and it was left out");
    if (port_.store({}, std::to_string(next))) cursor_ = next;
}

void Telegram::poll_failed(const TelegramAnswer& answer) {
    if (answer.kind == Kind::Auth) return stand_down("auth", answer.failure.error);
    if (answer.kind == Kind::Conflict) return take_conflict(answer);
    note_trouble(answer.failure.error);
    next_poll_ = Clock::now() + std::max(backoff(), answer.failure.retry);
    if (answer.kind == Kind::Unreadable) take_unreadable(answer.result);
}

int Telegram::run() {
    if (introduce()) say_hello();
    while (!over()) {
        take_frames(Deadline());
        if (over()) break;
        work();
        const Time now = Clock::now();
        if (over() || (stopping_ && outbox_.idle())) break;
        if (!stopping_ && now >= next_poll_) {
            poll();
            continue;
        }
        const Time until = stopping_ ? next_due() : std::min(next_poll_, next_due());
        take_frames(Deadline::in(std::chrono::ceil<Milliseconds>(
            std::clamp<Clock::duration>(until - now, Milliseconds(0), kMinute))));
    }
    return ended_.value_or(0);
}

}  // namespace

int run_telegram(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Telegram>(port, start);
}

}  // namespace peacrab
