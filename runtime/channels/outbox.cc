// Nothing here may grow with what a messenger or the people in it do; what the warden asks for is bounded by the warden.
#include "channels/outbox.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kShowPatience{3'000};  // a line that cannot be shown by then is old
constexpr Milliseconds kPostedLasts{30'000};
constexpr size_t kMostChats = 1'000;
constexpr size_t kMostPosted = 200;

bool same(const Poster::Where& a, const Poster::Where& b) {
    return a.conversation == b.conversation && a.thread == b.thread;
}

std::vector<Poster::Choice> choices_of(const json::Value& frame) {
    std::vector<Poster::Choice> all;
    if (const json::Value* const choices = frame.find("choices"))
        for (const json::Value& one : choices->items()) all.push_back({one.text("label"), one.text("value")});
    return all;
}

Poster::Where where_of(const json::Value& frame) { return {frame.text("conversation"), frame.text("thread")}; }

}  // namespace

bool Outbox::take(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "deliver") take_delivery(frame);
    else if (type == "show") take_show(frame);
    else if (type == "typing") take_typing(frame);
    else return false;
    return true;
}

void Outbox::take_delivery(const json::Value& frame) {
    Delivery delivery{frame.text("id"), frame.text("platform"), where_of(frame), {}, {}, {}};
    delivery.piece.key = frame.text("key");
    delivery.piece.id = delivery.id;
    delivery.piece.reply_to = frame.text("reply_to");
    delivery.piece.again = frame.flag("again");
    if (frame.find("file")) delivery.frame = frame;
    else delivery.parts = poster_.render_parts(frame.text("text"));
    const size_t of = delivery.frame.is_object() ? 1 : delivery.parts.size();
    const int64_t from = frame.integer("from");
    if (!poster_.knows(delivery.where.conversation))
        return port_.failed(delivery.id, {"permanent", "there is no such conversation"});
    if (from < 0 || static_cast<uint64_t>(from) >= of || of > 1000)
        return port_.failed(delivery.id, {"permanent", "there is nothing in it to be sent"});
    delivery.choices = choices_of(frame);
    delivery.piece.part = static_cast<size_t>(from);
    delivery.piece.of = of;
    forget_shows(delivery.where);
    deliveries_.push_back(std::move(delivery));
}

// What would be an edit of it, or stand below it, is old now; and what stands there is the warden's to edit.
void Outbox::forget_shows(const Poster::Where& where) {
    for (const Show& show : shows_)
        if (same(show.where, where)) port_.shown(show.slot, show.platform);
    std::erase_if(shows_, [&](const Show& one) { return same(one.where, where); });
    std::erase_if(posted_, [&](const Posted& one) { return same(one.where, where); });
}

void Outbox::take_show(const json::Value& frame) {
    const Time now = Clock::now();
    Show show{frame.text("slot"), frame.text("text"), frame.text("platform"), where_of(frame), now + kShowPatience};
    if (!poster_.knows(show.where.conversation)) return port_.shown(show.slot, "");
    std::erase_if(posted_, [&](const Posted& one) { return one.until < now; });
    for (const Posted& one : posted_)  // the warden may not have heard of it when it said this
        if (one.slot == show.slot && show.platform.empty()) show.platform = one.platform;
    for (Show& other : shows_)
        if (other.slot == show.slot) {
            if (show.platform.empty()) show.platform = other.platform;
            show.until = other.until;
            other = std::move(show);
            return;
        }
    shows_.push_back(std::move(show));
}

void Outbox::take_typing(const json::Value& frame) {
    const Poster::Where where = where_of(frame);
    const auto here = std::find_if(typing_.begin(), typing_.end(),
                                   [&](const Typing& one) { return same(one.where, where); });
    if (!frame.flag("on")) {
        if (here != typing_.end()) typing_.erase(here);
        return;
    }
    if (pace_.typing_lease == Milliseconds(0) || !poster_.knows(where.conversation)) return;
    const Time ends = Clock::now() + pace_.typing_lease + pace_.typing_again;
    if (here != typing_.end()) here->ends = ends;
    else typing_.push_back({where, {}, ends});
}

Outbox::Chat& Outbox::chat(const std::string& conversation) {
    if (chats_.size() >= kMostChats)
        std::erase_if(chats_, [now = Clock::now()](const auto& entry) {
            const Chat& one = entry.second;
            return one.free <= now && one.shown + kMinute <= now && (one.sent.empty() || one.sent.back() + kMinute <= now);
        });
    return chats_[conversation];
}

// `most`: within a minute, in a group.
Time Outbox::free_at(const std::string& conversation, size_t most) {
    Chat& one = chat(conversation);
    std::erase_if(one.sent, [now = Clock::now()](Time at) { return at + kMinute < now; });
    const Time free = std::max(one.free, any_);
    return most == 0 || one.sent.size() < most ? free : std::max(free, one.sent[one.sent.size() - most] + kMinute);
}

void Outbox::spend(const std::string& conversation) {
    const Time now = Clock::now();
    Chat& one = chat(conversation);
    one.free = std::max(one.free, now + pace_.between);
    any_ = now + pace_.between_any;
    if (pace_.group_minute > 0 && poster_.is_group(conversation)) one.sent.push_back(now);
}

void Outbox::heed(const std::string& conversation, const Poster::Done& done) {
    if (done.ok || std::string_view(done.failure.kind) != "throttled") return;
    chat(conversation).free = Clock::now() + done.failure.retry;
}

Time Outbox::due_of(const Delivery& delivery) { return free_at(delivery.where.conversation, pace_.group_minute); }

Time Outbox::due_of(const Show& show) {
    const std::string& conversation = show.where.conversation;
    const Time free = free_at(conversation, pace_.group_minute_shown);
    const Milliseconds floor = poster_.is_group(conversation) ? pace_.between_shown_group : pace_.between_shown;
    const Time due = std::max(free, chat(conversation).shown + floor);
    const Time now = Clock::now();
    std::erase_if(shown_, [now](Time at) { return at + kMinute < now; });
    if (pace_.shown_a_minute == 0 || shown_.size() < pace_.shown_a_minute) return due;
    return std::max(due, shown_.front() + kMinute);
}

Time Outbox::next_due() {
    Time due = Time::max();
    for (const Delivery& delivery : deliveries_) due = std::min(due, due_of(delivery));
    for (const Show& show : shows_) due = std::min({due, due_of(show), show.until});
    for (const Typing& typing : typing_) due = std::min(due, typing.again);
    return due;
}

void Outbox::work() {
    std::vector<std::string> passed;  // what comes first in a conversation goes first
    for (size_t i = 0; i < deliveries_.size() && !trouble_;) {
        Delivery& delivery = deliveries_[i];
        const std::string& conversation = delivery.where.conversation;
        const bool first = std::find(passed.begin(), passed.end(), conversation) == passed.end();
        passed.push_back(conversation);
        if (first && due_of(delivery) <= Clock::now() && deliver_part(delivery))
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
    for (Typing& typing : typing_) {
        if (typing.again > Clock::now() || trouble_) continue;
        const Poster::Done done = poster_.show_typing(typing.where);
        typing.again = Clock::now() + std::max(pace_.typing_again, done.failure.retry);
        const std::string_view kind = done.failure.kind;
        if (!done.ok && (kind == "gone" || kind == "permanent")) typing.ends = {};
    }
    std::erase_if(typing_, [](const Typing& typing) { return typing.ends <= Clock::now(); });
}

Poster::Done Outbox::send_file(Delivery& delivery) {
    Poster::File file;
    const json::Value* const what = delivery.frame.find("file");
    file.name = what->text("name");
    file.mime = what->text("mime");
    file.kind = what->text("kind");
    if (!port_.pull(delivery.frame, file.bytes))
        return {.failure = {"permanent", "the file cannot be read any more"}};
    return poster_.post_file(delivery.where, delivery.piece, file);
}

Poster::Done Outbox::send_part(Delivery& delivery) {
    if (delivery.frame.is_object()) return send_file(delivery);
    Poster::Piece& piece = delivery.piece;
    piece.text = delivery.parts[piece.part].text;
    piece.plain = delivery.parts[piece.part].plain;
    if (piece.part + 1 == piece.of) piece.choices = delivery.choices;
    const bool edits = piece.part == 0 && !delivery.platform.empty();
    return edits ? poster_.edit(delivery.where, delivery.platform, piece) : poster_.post(delivery.where, piece);
}

// True: nothing more is to be done about it.
bool Outbox::deliver_part(Delivery& delivery) {
    spend(delivery.where.conversation);
    Poster::Piece& piece = delivery.piece;
    const Poster::Done done = send_part(delivery);
    if (done.ok) {
        port_.sent(delivery.id, piece.part, piece.of, done.platform);
        piece.reply_to.clear();
        piece.again = false;
        return ++piece.part == piece.of;
    }
    heed(delivery.where.conversation, done);
    if (done.for_all) trouble_ = done.failure;
    port_.failed(delivery.id, done.failure);
    return true;
}

// Whatever becomes of it, the next one says more.
void Outbox::show(Show& show) {
    const std::vector<RenderedPart> parts = poster_.render_parts(show.text);
    if (parts.empty()) return port_.shown(show.slot, show.platform);
    const Time now = Clock::now();
    spend(show.where.conversation);
    chat(show.where.conversation).shown = now;
    shown_.push_back(now);
    Poster::Piece piece;
    piece.text = parts[0].text;
    piece.plain = parts[0].plain;
    const bool edits = !show.platform.empty();
    const Poster::Done done =
        edits ? poster_.edit(show.where, show.platform, piece) : poster_.post(show.where, piece);
    heed(show.where.conversation, done);
    if (done.for_all) trouble_ = done.failure;
    if (done.ok && done.platform != show.platform) {
        show.platform = done.platform;
        posted_.push_back({show.slot, show.platform, show.where, now + kPostedLasts});
        if (posted_.size() > kMostPosted) posted_.erase(posted_.begin());
    }
    port_.shown(show.slot, show.platform);
}

}  // namespace peacrab
