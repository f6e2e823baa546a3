// When something may go out, in which order, and what Telegram's answer makes of it. A message goes out at most once by
// us: after an unclear end the warden is told "unknown", and decides. Nothing here may grow with what Telegram or the
// people in it do; what the warden asks for is bounded by the warden.
#include "channels/telegram_outbox.h"

#include <algorithm>

#include "channels/channel_files.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = TelegramAnswer::Kind;
using Repeat = TelegramApi::Repeat;

constexpr Milliseconds kBetweenAny{34};  // thirty a second in all
constexpr Milliseconds kMinute{60'000};
constexpr size_t kGroupMinute = 20;       // messages in a group
constexpr size_t kGroupMinuteShown = 12;  // of these: what a line that may be lost leaves for the rest
constexpr Milliseconds kTypingAgain{4'000};  // it lasts five seconds
constexpr Milliseconds kShowPatience{3'000};  // a line that cannot be shown by then is old
constexpr Milliseconds kPostedLasts{30'000};
constexpr size_t kMostChats = 1'000;
constexpr size_t kMostPosted = 200;
constexpr size_t kMostFetches = 32;
constexpr int64_t kMostPhoto = 10'000'000;

// How it goes out, by what is in it; all else is a document.
struct Upload {
    const char* kind;
    const char* mime;  // its beginning
    const char* method;
    const char* field;
};
constexpr Upload kUploads[] = {
    {"picture", "image/jpeg", "sendPhoto", "photo"}, {"picture", "image/png", "sendPhoto", "photo"},
    {"voice", "audio/ogg", "sendVoice", "voice"},    {"audio", "audio/mpeg", "sendAudio", "audio"},
    {"audio", "audio/mp4", "sendAudio", "audio"},    {"video", "video/mp4", "sendVideo", "video"},
};

bool is_group(const std::string& conversation) { return conversation.starts_with('-'); }

}  // namespace

std::optional<int64_t> telegram_id(const std::string& text) {
    const size_t digits = text.starts_with('-') ? 1 : 0;
    if (text.size() == digits || text.size() > 18 || text.find_first_not_of("0123456789", digits) != std::string::npos)
        return std::nullopt;
    return std::stoll(text);
}

void TelegramOutbox::take(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "deliver") return take_delivery(frame);
    if (type == "fetch" && fetches_.size() < kMostFetches) return fetches_.push_back(frame);
    if (type == "show") return take_show(frame);
    if (type == "typing") return take_typing(frame);
    if (type == "resolve") port_.failed(frame.text("id"), {"unknown", "Telegram cannot be asked what it has"});
}

void TelegramOutbox::take_delivery(const json::Value& frame) {
    Delivery delivery{frame.text("id"), frame.text("conversation"), frame.text("thread"), frame.text("reply_to"),
                      frame.text("platform"), write_telegram(frame.text("text"))};
    if (frame.find("file")) {
        delivery.file = frame;
        delivery.edits.clear();
        delivery.parts = {{}};
    }
    const int64_t from = frame.integer("from");
    if (!telegram_id(delivery.conversation))
        return port_.failed(delivery.id, {"permanent", "this is no conversation of Telegram's"});
    if (from < 0 || static_cast<uint64_t>(from) >= delivery.parts.size())
        return port_.failed(delivery.id, {"permanent", "there is nothing in it to be sent"});
    delivery.next = static_cast<size_t>(from);
    forget_shows(delivery);
    deliveries_.push_back(std::move(delivery));
}

// What would be an edit of it, or stand below it, is old now; and what stands there is the warden's to edit.
void TelegramOutbox::forget_shows(const Delivery& delivery) {
    const auto same = [&](const auto& one) {
        return one.conversation == delivery.conversation && one.thread == delivery.thread;
    };
    for (const Show& show : shows_)
        if (same(show)) port_.shown(show.slot, show.platform);
    std::erase_if(shows_, same);
    std::erase_if(posted_, same);
}

void TelegramOutbox::take_show(const json::Value& frame) {
    Show show{frame.text("slot"), frame.text("conversation"), frame.text("thread"), frame.text("text"),
              frame.text("platform"), Clock::now() + kShowPatience};
    if (!telegram_id(show.conversation)) return port_.shown(show.slot, "");
    const Time now = Clock::now();
    std::erase_if(posted_, [&](const Posted& one) { return one.until < now; });
    for (const Posted& one : posted_)  // the warden may not have heard of it when it said this
        if (one.slot == show.slot && show.platform.empty()) show.platform = one.message;
    for (Show& other : shows_)
        if (other.slot == show.slot) {
            if (show.platform.empty()) show.platform = other.platform;
            show.until = other.until;
            other = std::move(show);
            return;
        }
    shows_.push_back(std::move(show));
}

void TelegramOutbox::take_typing(const json::Value& frame) {
    Typing typing{frame.text("conversation"), frame.text("thread")};
    const auto same = std::find_if(typing_.begin(), typing_.end(), [&](const Typing& other) {
        return other.conversation == typing.conversation && other.thread == typing.thread;
    });
    if (!frame.flag("on")) {
        if (same != typing_.end()) typing_.erase(same);
        return;
    }
    if (!telegram_id(typing.conversation)) return;
    typing.ends = Clock::now() + kTypingLease + kTypingAgain;
    if (same != typing_.end())
        same->ends = typing.ends;
    else
        typing_.push_back(std::move(typing));
}

TelegramOutbox::Chat& TelegramOutbox::chat(const std::string& conversation) {
    if (chats_.size() >= kMostChats)
        std::erase_if(chats_, [now = Clock::now()](const auto& entry) {
            const Chat& chat = entry.second;
            return chat.free <= now && (chat.sent.empty() || chat.sent.back() + kMinute < now);
        });
    return chats_[conversation];
}

Time TelegramOutbox::free_at(const std::string& conversation, size_t most_in_group) {
    Chat& one = chat(conversation);
    while (!one.sent.empty() && one.sent.front() + kMinute < Clock::now()) one.sent.erase(one.sent.begin());
    const Time free = std::max(one.free, any_);
    if (!is_group(conversation) || one.sent.size() < most_in_group) return free;
    return std::max(free, one.sent[one.sent.size() - most_in_group] + kMinute);
}

void TelegramOutbox::spend(const std::string& conversation) {
    Chat& one = chat(conversation);
    const Time now = Clock::now();
    one.free = std::max(one.free, now + kBetween);
    any_ = now + kBetweenAny;
    one.sent.push_back(now);
    if (one.sent.size() > kGroupMinute) one.sent.erase(one.sent.begin());
}

Time TelegramOutbox::due_of(const Delivery& delivery) { return free_at(delivery.conversation, kGroupMinute); }

Time TelegramOutbox::due_of(const Show& show) {
    const Time free = free_at(show.conversation, kGroupMinuteShown);
    return is_group(show.conversation) ? std::max(free, chat(show.conversation).shown + kBetweenShownGroup) : free;
}

Time TelegramOutbox::next_due() {
    if (!fetches_.empty()) return Time{};
    Time due = Time::max();
    for (const Delivery& delivery : deliveries_) due = std::min(due, due_of(delivery));
    for (const Show& show : shows_) due = std::min({due, due_of(show), show.until});
    for (const Typing& typing : typing_) due = std::min(due, typing.again);
    return due;
}

void TelegramOutbox::work() {
    std::vector<std::string> passed;  // what comes first in a conversation goes first
    for (size_t i = 0; i < deliveries_.size() && !trouble_;) {
        Delivery& delivery = deliveries_[i];
        const bool first = std::find(passed.begin(), passed.end(), delivery.conversation) == passed.end();
        passed.push_back(delivery.conversation);
        const bool finished = first && due_of(delivery) <= Clock::now() && deliver_part(delivery);
        if (finished)
            deliveries_.erase(deliveries_.begin() + static_cast<std::ptrdiff_t>(i));
        else
            ++i;
    }
    for (size_t i = 0; i < shows_.size() && !trouble_;) {
        const Time now = Clock::now();
        if (due_of(shows_[i]) <= now) {
            show(shows_[i]);
        } else if (shows_[i].until <= now) {
            port_.shown(shows_[i].slot, shows_[i].platform);
        } else {
            ++i;
            continue;
        }
        shows_.erase(shows_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (!fetches_.empty() && !trouble_) {  // one, so that what is said meanwhile is heard between two
        api_.fetch(port_, fetches_.front());
        fetches_.erase(fetches_.begin());
    }
    for (Typing& typing : typing_)
        if (typing.again <= Clock::now() && !trouble_) show_typing(typing);
    std::erase_if(typing_, [](const Typing& typing) { return typing.ends <= Clock::now(); });
}

json::Value TelegramOutbox::place(const std::string& conversation, const std::string& thread) const {
    json::Value parameters = json::Value::object({{"chat_id", *telegram_id(conversation)}});
    if (const std::optional<int64_t> id = telegram_id(thread)) parameters.set("message_thread_id", *id);
    return parameters;
}

// Once more as plain text when Telegram cannot read what we have written.
TelegramAnswer TelegramOutbox::put(const char* method, json::Value parameters, const TelegramText& part, Repeat repeat) {
    parameters.set("link_preview_options", json::Value::object({{"is_disabled", true}}));
    parameters.set("text", part.html);
    parameters.set("parse_mode", "HTML");
    TelegramAnswer answer = api_.call(method, parameters, {.repeat = repeat});
    if (answer.ok() || !answer.says("can't parse entities")) return answer;
    parameters.set("text", part.plain);
    parameters.erase("parse_mode");
    return api_.call(method, parameters, {.repeat = repeat});
}

TelegramAnswer TelegramOutbox::post(const Delivery& delivery, const TelegramText& part) {
    json::Value parameters = place(delivery.conversation, delivery.thread);
    const std::optional<int64_t> reply = telegram_id(delivery.reply_to);
    if (reply && delivery.next == 0)
        parameters.set("reply_parameters",
                       json::Value::object({{"message_id", *reply}, {"allow_sending_without_reply", true}}));
    TelegramAnswer answer = put("sendMessage", parameters, part, Repeat::Once);
    if (answer.ok() || !answer.says("message thread not found")) return answer;
    parameters.erase("message_thread_id");  // better in the wrong place than nowhere
    return put("sendMessage", std::move(parameters), part, Repeat::Once);
}

// Of what stands there already; what cannot be edited is sent anew.
TelegramAnswer TelegramOutbox::edit(const Delivery& delivery, const TelegramText& part) {
    const int64_t message = telegram_id(delivery.edits).value_or(0);
    json::Value parameters = place(delivery.conversation, {});
    parameters.set("message_id", message);
    TelegramAnswer answer = put("editMessageText", std::move(parameters), part, Repeat::Harmless);
    if (answer.says("message is not modified")) {
        answer.kind = Kind::Ok;
        answer.result = json::Value::object({{"message_id", message}});
    }
    for (const char* why : {"message to edit not found", "message can't be edited", "message_id_invalid"})
        if (!answer.ok() && answer.says(why)) return post(delivery, part);
    return answer;
}

// True: nothing more is to be done about it.
bool TelegramOutbox::deliver_part(Delivery& delivery) {
    const TelegramText& part = delivery.parts[delivery.next];
    spend(delivery.conversation);
    const bool edits = delivery.next == 0 && !delivery.edits.empty();
    return settle(delivery, !delivery.file.is_null() ? post_file(delivery) : edits ? edit(delivery, part) : post(delivery, part));
}

TelegramAnswer TelegramOutbox::put_file(const Delivery& delivery, const char* method, const char* field) {
    const json::Value& file = delivery.file.at("file");
    Multipart parts;
    parts.field("chat_id", delivery.conversation);
    if (telegram_id(delivery.thread)) parts.field("message_thread_id", delivery.thread);
    parts.file(field, file.text("name"), file.text("mime"));
    if (!port_.pull(delivery.file, parts.body())) {
        TelegramAnswer gone;
        gone.failure = {"transient", "the file is not there"};
        return gone;
    }
    std::string type = parts.content_type();
    TelegramAnswer answer = api_.upload(method, std::move(type), parts.finish());
    if (answer.ok() || delivery.thread.empty() || !answer.says("message thread not found")) return answer;
    Delivery elsewhere = delivery;  // better in the wrong place than nowhere
    elsewhere.thread.clear();
    return put_file(elsewhere, method, field);
}

// A picture that Telegram does not take for one (too narrow, too large) is a document.
TelegramAnswer TelegramOutbox::post_file(const Delivery& delivery) {
    const json::Value& file = delivery.file.at("file");
    const bool small = file.integer("size") <= kMostPhoto;
    for (const Upload& upload : kUploads) {
        if (file.text("kind") != upload.kind || !file.text("mime").starts_with(upload.mime)) continue;
        if (upload.kind == std::string_view("picture") && !small) continue;
        TelegramAnswer answer = put_file(delivery, upload.method, upload.field);
        if (!answer.says("photo_") && !answer.says("image_process_failed") && !answer.says("voice_messages_forbidden")) return answer;
    }
    return put_file(delivery, "sendDocument", "document");
}

bool TelegramOutbox::settle(Delivery& delivery, const TelegramAnswer& answer) {
    if (answer.ok()) {
        const size_t of = delivery.parts.size();
        port_.sent(delivery.id, delivery.next, of, std::to_string(answer.result.integer("message_id")));
        return ++delivery.next == of;
    }
    const std::string_view kind = answer.failure.kind;
    if (kind == "throttled") chat(delivery.conversation).free = Clock::now() + answer.failure.retry;
    if (kind == "not_sent") trouble_ = answer;
    port_.failed(delivery.id, answer.failure);
    return true;
}

// Whatever becomes of it, the next one says more.
void TelegramOutbox::show(Show& show) {
    const std::vector<TelegramText> parts = write_telegram(show.text);
    if (parts.empty()) return port_.shown(show.slot, show.platform);
    spend(show.conversation);
    chat(show.conversation).shown = Clock::now();
    const std::optional<int64_t> message = telegram_id(show.platform);
    json::Value parameters = place(show.conversation, message ? std::string() : show.thread);
    parameters.set(message ? "message_id" : "disable_notification", message ? json::Value(*message) : json::Value(true));
    const TelegramAnswer answer = message ? put("editMessageText", std::move(parameters), parts[0], Repeat::Harmless)
                                          : put("sendMessage", std::move(parameters), parts[0], Repeat::Once);
    if (answer.failure.kind == std::string_view("throttled"))
        chat(show.conversation).free = Clock::now() + answer.failure.retry;
    if (!message && answer.ok()) {
        show.platform = std::to_string(answer.result.integer("message_id"));
        posted_.push_back(
            {show.slot, show.conversation, show.thread, show.platform, Clock::now() + kPostedLasts});
        if (posted_.size() > kMostPosted) posted_.erase(posted_.begin());
    }
    port_.shown(show.slot, show.platform);
}

void TelegramOutbox::show_typing(Typing& typing) {
    json::Value parameters = place(typing.conversation, typing.thread);
    parameters.set("action", "typing");
    const TelegramAnswer answer = api_.call("sendChatAction", parameters, {.limit = Milliseconds(5'000)});
    const Time now = Clock::now();
    typing.again = now + std::max(kTypingAgain, answer.failure.retry);
    if (!answer.ok() && (answer.failure.kind == std::string_view("gone") ||
                         answer.failure.kind == std::string_view("permanent")))
        typing.ends = now;
}


}  // namespace peacrab
