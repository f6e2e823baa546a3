// One thread: do what the warden wants and what is due, then ask for updates for as long as nothing is due. A frame
// cuts that wait short. The next updates are asked for only when the last ones are stored: asking is what makes
// Telegram forget them.
//
// A message goes out at most once by us: after an unclear end the warden is told "unknown", and decides. Nothing here
// may grow with what Telegram or the people in it do; what the warden asks for is bounded by the warden.
#include "channels/telegram.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <random>

#include "channels/telegram_api.h"
#include "channels/telegram_text.h"
#include "channels/telegram_update.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = TelegramAnswer::Kind;
using Repeat = TelegramApi::Repeat;

constexpr Milliseconds kBetween{1'000};           // two messages, or edits, in one chat
constexpr Milliseconds kBetweenShownGroup{3'000};  // two edits of a line that may be lost, in a group
constexpr Milliseconds kBetweenAny{34};           // thirty a second in all
constexpr Milliseconds kMinute{60'000};
constexpr size_t kGroupMinute = 20;       // messages in a group
constexpr size_t kGroupMinuteShown = 12;  // of these: what a line that may be lost leaves for the rest
constexpr Milliseconds kTypingAgain{4'000};  // it lasts five seconds
constexpr Milliseconds kTypingLongest{3'600'000};
constexpr Milliseconds kAliveAgain{5'000};
constexpr int64_t kPollSeconds = 50;
constexpr Milliseconds kAlbumWait{1'000};
constexpr Milliseconds kDeaf{2'000};  // of polls that were cut short; then one is not
constexpr Milliseconds kLongestBackoff{60'000};
constexpr size_t kMostChats = 1'000;
constexpr size_t kMostPosted = 200;
constexpr int kSettledAfter = 3;     // polls
constexpr size_t kMostConflicts = 5;  // in a minute
constexpr int kMostUnreadable = 5;
constexpr int64_t kMostUpdates = 100;

constexpr struct {
    const char* name;
    const char* text;
} kCommands[] = {
    {"help", "What I can do"},
    {"new", "A new conversation"},
    {"stop", "Stop what I am doing"},
    {"status", "What I am doing"},
    {"usage", "What was spent"},
    {"model", "Which model answers"},
    {"compact", "Shorten what I remember of this conversation"},
    {"undo", "Take the last turn back"},
    {"tasks", "What is scheduled"},
    {"skills", "What I have learned"},
    {"allow", "Let somebody or something in"},
    {"deny", "Refuse it"},
    {"whoami", "Your id here"},
    {"why", "What became of a message"},
    {"export", "This conversation as a file"},
};

struct Chat {
    std::deque<Time> sent;  // within the last minute
    Time free{};            // not before: pace, and what Telegram said
    Time shown{};
};

struct Delivery {
    std::string id, conversation, thread, reply_to, edits;
    std::vector<TelegramText> parts;
    size_t next = 0;
};

struct Show {
    std::string slot, conversation, thread, text, platform;
};

struct Typing {
    std::string conversation, thread;
    Time again{}, ends{};
};

bool is_group(const std::string& conversation) { return conversation.starts_with('-'); }

// An id of Telegram's as the warden gave it back. Nothing: it is none.
std::optional<int64_t> id_of(const std::string& text) {
    const size_t digits = text.starts_with('-') ? 1 : 0;
    if (text.size() == digits || text.size() > 18 || text.find_first_not_of("0123456789", digits) != std::string::npos)
        return std::nullopt;
    return std::stoll(text);
}

class Telegram {
  public:
    Telegram(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port),
          api_(start.settings.text("api", "https://api.telegram.org"), port.take_secret("token")),
          random_(std::random_device{}()) {
        if (!start.cursor) return;
        cursor_ = id_of(*start.cursor);
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
    void note_trouble(const TelegramAnswer& answer);

    void take_frames(Deadline deadline);
    void take(const json::Value& frame);
    void take_delivery(const json::Value& frame);
    void take_show(const json::Value& frame);
    void take_typing(const json::Value& frame);

    Chat& chat(const std::string& conversation);
    Time free_at(const std::string& conversation, size_t most_in_group);
    void spend(const std::string& conversation);
    Time due_of(const Show& show);
    Time due_of(const Delivery& delivery);
    Time next_due();
    void work();
    bool deliver_part(Delivery& delivery);
    TelegramAnswer post(const Delivery& delivery, const TelegramText& part, bool edit);
    TelegramAnswer put(const char* method, json::Value parameters, const TelegramText& part, Repeat repeat);
    bool settle(Delivery& delivery, const TelegramAnswer& answer);
    void show(Show& show);
    void show_typing(Typing& typing);
    json::Value place(const std::string& conversation, const std::string& thread) const;

    void poll();
    json::Value poll_parameters(int64_t seconds) const;
    void take_updates(const std::vector<json::Value>& updates);
    void poll_failed(const TelegramAnswer& answer);
    void take_conflict(const TelegramAnswer& answer);
    void take_unreadable(const json::Value& first);
    void note_alive();

    ChannelPort& port_;
    TelegramApi api_;
    std::minstd_rand random_;
    TelegramSelf self_;
    std::optional<int> ended_;
    bool stopping_ = false;

    std::deque<Delivery> deliveries_;
    std::deque<Show> shows_;
    std::deque<std::pair<std::string, std::string>> posted_;  // slot, message: the newest
    std::vector<Typing> typing_;
    std::map<std::string, Chat> chats_;
    Time any_{};  // the next message of any chat, not before

    std::optional<int64_t> cursor_;
    Time next_poll_{};
    Time last_alive_{};
    Time cut_since_{};  // polls were cut short since; zero: the last one was not
    std::string album_;  // that was waited for
    int failures_ = 0;   // in a row
    bool troubled_ = false;
    int polls_ = 0;
    std::deque<Time> conflicts_;
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
void Telegram::note_trouble(const TelegramAnswer& answer) {
    if (troubled_) return;
    troubled_ = true;
    port_.trouble("network", answer.failure.error);
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
        note_trouble(answer);
        wait(std::max(backoff(), answer.failure.retry));
    }
    failures_ = 0;
    troubled_ = false;
    return !over() && !stopping_;
}

void Telegram::say_hello() {
    port_.hello("telegram", std::to_string(self_.id), "@" + self_.name,
                json::Value::object({{"edits", static_cast<int64_t>(kBetween.count())},
                                     {"edits_group", static_cast<int64_t>(kBetweenShownGroup.count())},
                                     {"typing", static_cast<int64_t>(kTypingAgain.count())},
                                     {"dedupe", "none"},
                                     {"files", 0}}));
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
    if (type == "deliver") return take_delivery(frame);
    if (type == "show") return take_show(frame);
    if (type == "typing") return take_typing(frame);
    if (type == "stop") stopping_ = true;
    if (type == "resolve") port_.failed(frame.text("id"), {"unknown", "Telegram cannot be asked what it has"});
}

void Telegram::take_delivery(const json::Value& frame) {
    Delivery delivery{frame.text("id"), frame.text("conversation"), frame.text("thread"), frame.text("reply_to"),
                      frame.text("platform"), write_telegram(frame.text("text"))};
    const int64_t from = frame.integer("from");
    if (!id_of(delivery.conversation))
        return port_.failed(delivery.id, {"permanent", "this is no conversation of Telegram's"});
    if (from < 0 || static_cast<uint64_t>(from) >= delivery.parts.size())
        return port_.failed(delivery.id, {"permanent", "there is nothing in it to be sent"});
    delivery.next = static_cast<size_t>(from);
    // What would be an edit of it, or stand below it, is old now.
    for (auto each = shows_.begin(); each != shows_.end();) {
        const bool old = each->conversation == delivery.conversation && each->thread == delivery.thread;
        if (old) port_.shown(each->slot, each->platform);
        each = old ? shows_.erase(each) : each + 1;
    }
    deliveries_.push_back(std::move(delivery));
}

void Telegram::take_show(const json::Value& frame) {
    Show show{frame.text("slot"), frame.text("conversation"), frame.text("thread"), frame.text("text"),
              frame.text("platform")};
    if (!id_of(show.conversation)) return port_.shown(show.slot, "");
    for (const auto& [slot, message] : posted_)  // the warden may not have heard of it when it said this
        if (slot == show.slot && show.platform.empty()) show.platform = message;
    for (Show& other : shows_)
        if (other.slot == show.slot) {
            if (show.platform.empty()) show.platform = other.platform;
            other = std::move(show);
            return;
        }
    shows_.push_back(std::move(show));
}

void Telegram::take_typing(const json::Value& frame) {
    Typing typing{frame.text("conversation"), frame.text("thread")};
    const auto same = std::find_if(typing_.begin(), typing_.end(), [&](const Typing& other) {
        return other.conversation == typing.conversation && other.thread == typing.thread;
    });
    if (!frame.flag("on")) {
        if (same != typing_.end()) typing_.erase(same);
        return;
    }
    if (!id_of(typing.conversation)) return;
    typing.ends = Clock::now() + kTypingLongest;
    if (same != typing_.end())
        same->ends = typing.ends;
    else
        typing_.push_back(std::move(typing));
}

// ---- when something may be sent

Chat& Telegram::chat(const std::string& conversation) {
    if (chats_.size() >= kMostChats)
        std::erase_if(chats_, [now = Clock::now()](const auto& entry) {
            const Chat& chat = entry.second;
            return chat.free <= now && (chat.sent.empty() || chat.sent.back() + kMinute < now);
        });
    return chats_[conversation];
}

Time Telegram::free_at(const std::string& conversation, size_t most_in_group) {
    Chat& one = chat(conversation);
    while (!one.sent.empty() && one.sent.front() + kMinute < Clock::now()) one.sent.pop_front();
    const Time free = std::max(one.free, any_);
    if (!is_group(conversation) || one.sent.size() < most_in_group) return free;
    return std::max(free, one.sent[one.sent.size() - most_in_group] + kMinute);
}

void Telegram::spend(const std::string& conversation) {
    Chat& one = chat(conversation);
    const Time now = Clock::now();
    one.free = std::max(one.free, now + kBetween);
    any_ = now + kBetweenAny;
    one.sent.push_back(now);
    if (one.sent.size() > kGroupMinute) one.sent.pop_front();
}

Time Telegram::due_of(const Delivery& delivery) { return free_at(delivery.conversation, kGroupMinute); }

Time Telegram::due_of(const Show& show) {
    const Time free = free_at(show.conversation, kGroupMinuteShown);
    return is_group(show.conversation) ? std::max(free, chat(show.conversation).shown + kBetweenShownGroup) : free;
}

Time Telegram::next_due() {
    Time due = Time::max();
    for (const Delivery& delivery : deliveries_) due = std::min(due, due_of(delivery));
    for (const Show& show : shows_) due = std::min(due, due_of(show));
    for (const Typing& typing : typing_) due = std::min(due, typing.again);
    return due;
}

// ---- sending

// One part for each conversation that may be sent to, so that none waits for another.
void Telegram::work() {
    std::vector<std::string> passed;  // what comes first in a conversation goes first
    for (size_t i = 0; i < deliveries_.size() && !over();) {
        Delivery& delivery = deliveries_[i];
        const bool first = std::find(passed.begin(), passed.end(), delivery.conversation) == passed.end();
        passed.push_back(delivery.conversation);
        const bool finished = first && due_of(delivery) <= Clock::now() && deliver_part(delivery);
        if (finished)
            deliveries_.erase(deliveries_.begin() + static_cast<std::ptrdiff_t>(i));
        else
            ++i;
    }
    for (size_t i = 0; i < shows_.size() && !over();) {
        if (due_of(shows_[i]) > Clock::now()) {
            ++i;
            continue;
        }
        show(shows_[i]);
        shows_.erase(shows_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (Typing& typing : typing_)
        if (typing.again <= Clock::now() && !over()) show_typing(typing);
    std::erase_if(typing_, [](const Typing& typing) { return typing.ends <= Clock::now(); });
}

json::Value Telegram::place(const std::string& conversation, const std::string& thread) const {
    json::Value parameters = json::Value::object({{"chat_id", *id_of(conversation)}});
    if (const std::optional<int64_t> id = id_of(thread)) parameters.set("message_thread_id", *id);
    return parameters;
}

// Once more as plain text when Telegram cannot read what we have written.
TelegramAnswer Telegram::put(const char* method, json::Value parameters, const TelegramText& part, Repeat repeat) {
    parameters.set("link_preview_options", json::Value::object({{"is_disabled", true}}));
    parameters.set("text", part.html);
    parameters.set("parse_mode", "HTML");
    TelegramAnswer answer = api_.call(method, parameters, {.repeat = repeat});
    if (answer.ok() || !answer.says("can't parse entities")) return answer;
    parameters.set("text", part.plain);
    parameters.erase("parse_mode");
    return api_.call(method, parameters, {.repeat = repeat});
}

TelegramAnswer Telegram::post(const Delivery& delivery, const TelegramText& part, bool edit) {
    json::Value parameters = place(delivery.conversation, delivery.thread);
    if (edit) {
        parameters.erase("message_thread_id");
        parameters.set("message_id", id_of(delivery.edits).value_or(0));
        return put("editMessageText", std::move(parameters), part, Repeat::Harmless);
    }
    const std::optional<int64_t> reply = id_of(delivery.reply_to);
    if (reply && delivery.next == 0)
        parameters.set("reply_parameters",
                       json::Value::object({{"message_id", *reply}, {"allow_sending_without_reply", true}}));
    TelegramAnswer answer = put("sendMessage", parameters, part, Repeat::Once);
    if (answer.ok() || !answer.says("message thread not found")) return answer;
    parameters.erase("message_thread_id");  // better in the wrong place than nowhere
    return put("sendMessage", std::move(parameters), part, Repeat::Once);
}

// True: nothing more is to be done about it.
bool Telegram::deliver_part(Delivery& delivery) {
    const TelegramText& part = delivery.parts[delivery.next];
    const bool edit = delivery.next == 0 && !delivery.edits.empty();
    spend(delivery.conversation);
    TelegramAnswer answer = post(delivery, part, edit);
    if (edit && !answer.ok()) {
        if (answer.says("message is not modified")) {
            answer.kind = Kind::Ok;
            answer.result = json::Value::object({{"message_id", id_of(delivery.edits).value_or(0)}});
        } else if (answer.says("message to edit not found") || answer.says("message can't be edited") ||
                   answer.says("message_id_invalid")) {
            answer = post(delivery, part, false);
        }
    }
    return settle(delivery, answer);
}

bool Telegram::settle(Delivery& delivery, const TelegramAnswer& answer) {
    if (answer.ok()) {
        troubled_ = false;
        const size_t of = delivery.parts.size();
        port_.sent(delivery.id, delivery.next, of, std::to_string(answer.result.integer("message_id")));
        return ++delivery.next == of;
    }
    ChannelFailure failure = answer.failure;
    const std::string_view kind = failure.kind;
    if (kind == "throttled") chat(delivery.conversation).free = Clock::now() + failure.retry;
    if (kind == "not_sent" && answer.kind != Kind::Auth) {
        note_trouble(answer);
        failure.retry = backoff();
    }
    port_.failed(delivery.id, failure);
    if (answer.kind == Kind::Auth) stand_down("auth", answer.failure.error);
    return true;
}

// Whatever becomes of it, the next one says more.
void Telegram::show(Show& show) {
    const std::vector<TelegramText> parts = write_telegram(show.text);
    if (parts.empty()) return port_.shown(show.slot, show.platform);
    spend(show.conversation);
    chat(show.conversation).shown = Clock::now();
    json::Value parameters = place(show.conversation, show.thread);
    const std::optional<int64_t> message = id_of(show.platform);
    if (message) {
        parameters.erase("message_thread_id");
        parameters.set("message_id", *message);
    } else {
        parameters.set("disable_notification", true);
    }
    const TelegramAnswer answer = message ? put("editMessageText", std::move(parameters), parts[0], Repeat::Harmless)
                                          : put("sendMessage", std::move(parameters), parts[0], Repeat::Once);
    if (answer.failure.kind == std::string_view("throttled"))
        chat(show.conversation).free = Clock::now() + answer.failure.retry;
    if (!message && answer.ok()) {
        show.platform = std::to_string(answer.result.integer("message_id"));
        posted_.emplace_back(show.slot, show.platform);
        if (posted_.size() > kMostPosted) posted_.pop_front();
    }
    port_.shown(show.slot, show.platform);
}

void Telegram::show_typing(Typing& typing) {
    json::Value parameters = place(typing.conversation, typing.thread);
    parameters.set("action", "typing");
    const TelegramAnswer answer = api_.call("sendChatAction", parameters, {.limit = Milliseconds(5'000)});
    const Time now = Clock::now();
    typing.again = now + std::max(kTypingAgain, answer.failure.retry);
    if (!answer.ok() && (answer.failure.kind == std::string_view("gone") ||
                         answer.failure.kind == std::string_view("permanent")))
        typing.ends = now;
}

// ---- receiving

json::Value Telegram::poll_parameters(int64_t seconds) const {
    json::Value wanted = json::Value::array({"message", "edited_message"});
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
    const int64_t seconds = deaf || !album_.empty() || polls_ == 0 ? 0 : left.count();
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
    if (updates.empty()) {
        album_.clear();
        return;
    }
    // The rest of an album comes as updates of its own, a moment later: they are asked for once more, all of them.
    const std::string album = open_telegram_album(updates);
    if (!album.empty() && album != album_ && std::cmp_less(updates.size(), most_)) {
        album_ = album;
        next_poll_ = Clock::now() + kAlbumWait;
        return;
    }
    album_.clear();
    next_poll_ = {};
    const std::optional<int64_t> next = telegram_cursor(updates);
    if (!next) {
        next_poll_ = Clock::now() + backoff();
        return;
    }
    if (port_.store(read_telegram_updates(updates, self_), std::to_string(*next))) cursor_ = next;
}

// Somebody else asks too. Who has just begun gives way; who was there first sees whether the other one does.
void Telegram::take_conflict(const TelegramAnswer& answer) {
    const Time now = Clock::now();
    conflicts_.push_back(now);
    while (conflicts_.front() + kMinute < now) conflicts_.pop_front();
    const bool webhook = answer.says("webhook");
    if (webhook) (void)api_.call("deleteWebhook", json::Value::object({{"drop_pending_updates", false}}));
    if (conflicts_.size() >= kMostConflicts || (polls_ < kSettledAfter && !webhook))
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
    note_trouble(answer);
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
        if (over() || (stopping_ && deliveries_.empty())) break;
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
    std::optional<Telegram> telegram;
    try {
        telegram.emplace(port, start);
    } catch (const Error& error) {  // nothing it can be started again with
        port.trouble("auth", error.what());
        return kExitStandDown;
    }
    return telegram->run();
}

}  // namespace peacrab
