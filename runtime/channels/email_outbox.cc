// A connection for each delivery: what is open for long is closed by the other side at the wrong moment.
#include "channels/email_outbox.h"

#include <algorithm>
#include <ctime>

#include "channels/email_draft.h"
#include "channels/email_message.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = SmtpOutcome::Kind;

constexpr size_t kPart = 100'000;  // bytes of HTML
constexpr size_t kMostParts = 100;
constexpr size_t kMostPending = 1000;
constexpr size_t kMostLookedAt = 20;  // mails of a thread, the newest first
constexpr int kMostTroubles = 3;      // with what has been sent: then only the mailbox is looked at
constexpr Milliseconds kLookAgain{2'000};
constexpr Milliseconds kPause{2'000};
constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kHour{3'600'000};

const char* class_of(Kind kind) {
    switch (kind) {
        case Kind::Transient: return "transient";
        case Kind::Permanent: return "permanent";
        case Kind::Unknown: return "unknown";
        case Kind::NotSent:
        case Kind::Sent: break;
    }
    return "not_sent";
}

// An id as message_ids() takes it, or "".
std::string as_id(const std::string& text) {
    const std::vector<std::string> ids = message_ids(text);
    return ids.size() == 1 && ids[0] == text ? text : "";
}

}  // namespace

void EmailOutbox::fail(const std::string& id, const char* kind, const std::string& why, Milliseconds retry) {
    port_.failed(id, {kind, "email: " + why, retry, {}});
}

void EmailOutbox::take(json::Value frame) {
    const std::string type = frame.text("type"), id = frame.text("id");
    if (type == "show") port_.shown(frame.text("slot"), {});
    if (type == "resolve") {
        const int64_t part = frame.integer("part");
        if (part < 0 || looks_.size() >= kMostPending) return fail(id, "unknown", "too much is looked for");
        const auto number = static_cast<size_t>(part);
        looks_.push_back({id, own_message_id(frame.text("key"), number, account_.address), number, 0, Clock::now() + account_.settle, {}});
    }
    if (type != "deliver") return;
    if (deliveries_.size() >= kMostPending) return fail(id, "not_sent", "too much waits");
    deliveries_.push_back(std::move(frame));
}

void EmailOutbox::give_back(const std::string& why) {
    for (const json::Value& frame : deliveries_) fail(frame.text("id"), "not_sent", why);
    deliveries_.clear();
}

Milliseconds EmailOutbox::until_due() const {
    if (!deliveries_.empty()) return Milliseconds(0);
    Milliseconds wait = kMinute;
    for (const Look& look : looks_)
        wait = std::min(wait, std::max(Milliseconds(0), std::chrono::ceil<Milliseconds>(std::min(look.next, look.until) - Clock::now())));
    return wait;
}

void EmailOutbox::work(Imap& imap, const std::string& sent_mailbox) {
    while (!deliveries_.empty()) {
        const json::Value frame = deliveries_.front();
        deliver(imap, frame);  // the mailbox may be gone before anything was sent: then it stays the first
        deliveries_.pop_front();
    }
    for (size_t i = 0; i < looks_.size();) {
        Look& look = looks_[i];
        const Time now = Clock::now();
        const bool last = now >= look.until;
        if (!last && now < look.next) {
            ++i;
            continue;
        }
        look.next = now + kLookAgain;
        bool settled = found(imap, "INBOX", look);
        if (!settled && !sent_mailbox.empty() && ++look.troubles <= kMostTroubles) {
            (void)imap.select(sent_mailbox, true);
            settled = found(imap, sent_mailbox, look);
            (void)imap.select("INBOX");
            look.troubles = 0;
        }
        if (!settled && last && look.bounced.empty()) fail(look.id, "not_sent", "it is not in the mailbox");
        if (settled || last) looks_.erase(looks_.begin() + static_cast<std::ptrdiff_t>(i));
        else ++i;
    }
}

bool EmailOutbox::found(Imap& imap, const std::string& mailbox, const Look& look) {
    for (const uint32_t uid : imap.search("HEADER Message-ID " + Imap::quoted(look.message)).value_or(std::vector<uint32_t>())) {
        size_t body = 0;
        const EmailFields fields = read_fields(imap.header(uid), body);
        const std::string parts = fields.text("x-peacrab");  // "0/3"
        if (fields.text("message-id") != look.message || !tell(look, fields, parts)) continue;
        log(LogLevel::Debug, "email: found in " + mailbox);
        return true;
    }
    return false;
}

// False: it is not what was looked for.
bool EmailOutbox::tell(const Look& look, const EmailFields& fields, const std::string& parts) {
    const size_t slash = parts.find('/');
    const std::string part = parts.substr(0, slash), of = slash == std::string::npos ? "" : parts.substr(slash + 1);
    for (const std::string& number : {part, of})
        if (number.empty() || number.size() > 4 || number.find_first_not_of("0123456789") != std::string::npos) return false;
    if (look.bounced.empty()) {
        if (std::stoull(of) <= look.part) return false;
        port_.sent(look.id, look.part, std::stoull(of), look.message);
        return true;
    }
    const std::string delivery = fields.text("x-peacrab-delivery");
    const size_t blank = delivery.find(' ');
    const std::string key = blank == std::string::npos ? "" : delivery.substr(blank + 1);
    if (key.empty() || own_message_id(key, std::stoull(part), account_.address) != look.message) return false;
    port_.failed(delivery.substr(0, blank), {.kind = "permanent", .error = "email: " + look.bounced, .key = key});
    return true;
}

void EmailOutbox::note_bounce(const EmailBounce& bounce) {
    if (looks_.size() < kMostPending) looks_.push_back({"", bounce.message, 0, 0, Clock::now() + account_.settle, {}, bounce.why});
}

// The newest mail of the thread from there: what is answered.
EmailOutbox::Thread EmailOutbox::find_thread(Imap& imap, const std::string& from, const std::string& root) {
    Thread thread;
    thread.root = as_id(root);
    if (thread.root.empty()) return thread;
    const std::string id = Imap::quoted(thread.root);
    auto mails = imap.search(joined({"FROM ", Imap::quoted(from), " OR HEADER Message-ID ", id, " HEADER References ", id}));
    if (!mails) return thread;
    // What somebody else has put there in that name must not get into a mail of ours.
    for (size_t i = 0; i < kMostLookedAt && !mails->empty(); ++i, mails->pop_back()) {
        size_t body = 0;
        const EmailFields fields = read_fields(imap.header(mails->back()), body);
        const EmailAddress sender = read_address(fields.text("from"));
        if (sender.address != from || !sender_proven(fields, account_.authserv, sender)) continue;
        const std::vector<std::string> ids = message_ids(fields.text("message-id"));
        thread.uid = mails->back();
        thread.subject = std::string(utf8_prefix(readable(fields.text("subject")), 300));
        if (ids.size() == 1) thread.parent = ids[0];
        break;
    }
    return thread;
}

// So many an hour, a burst of as many at once. Zero: now.
Milliseconds EmailOutbox::wait_for(const std::string& to) {
    const Time now = Clock::now();
    std::erase_if(paces_, [now](const auto& pace) { return pace.second <= now; });
    Time& all = paces_.try_emplace(to, now).first->second;
    const Milliseconds each = kHour / account_.hourly;
    const Time next = all + each;
    if (next - now > kHour) return std::chrono::ceil<Milliseconds>(next - now - kHour);
    all = next;
    return Milliseconds(0);
}

void EmailOutbox::deliver(Imap& imap, const json::Value& frame) {
    const std::string id = frame.text("id"), to = frame.text("conversation");
    const json::Value* const file = frame.find("file");
    std::vector<RenderedPart> parts;
    if (file) parts.push_back({{}, file->text("name"), {}, 0});
    else parts = render(frame.text("text"), {Markup::Email, kPart, RenderStyle::Unit::Bytes});
    const int64_t from = frame.integer("from");
    if (!is_address(to)) return fail(id, "permanent", "this is no mail address");
    if (from < 0 || static_cast<uint64_t>(from) >= parts.size() || parts.size() > kMostParts)
        return fail(id, "permanent", "there is nothing in it to be sent, or too much");
    if (Clock::now() < pause_) return fail(id, "not_sent", pause_why_);
    Thread thread = find_thread(imap, to, frame.text("thread"));
    if (const Milliseconds wait = wait_for(to); wait > Milliseconds(0))
        return fail(id, "throttled", "so many mails an hour are not sent to one address", wait);
    if (const std::string reply = as_id(frame.text("reply_to")); !reply.empty()) thread.parent = reply;
    send_parts(frame, thread, parts);
    if (thread.uid) try {
            imap.flag(thread.uid, "\\Answered \\Seen");
        } catch (const Error& error) {  // the mail is out: what comes next meets the same
            log(LogLevel::Debug, error.what());
        }
}

void EmailOutbox::send_parts(const json::Value& frame, const Thread& thread, const std::vector<RenderedPart>& parts) {
    const std::string id = frame.text("id");
    const auto pause = [&](const std::string& why) {
        pause_ = Clock::now() + kPause;
        pause_why_ = why;
    };
    EmailDraft draft;
    std::string bytes;
    if (const json::Value* const file = frame.find("file")) {
        if (file->integer("size") > kMaxEmailFile) return fail(id, "permanent", "the file is too large for a mail");
        if (!port_.pull(frame, bytes)) return fail(id, "permanent", "the file cannot be had");
        draft.file_name = file->text("name").empty() ? "file" : file->text("name");
        draft.file_mime = file->text("mime");
        draft.file = bytes;
    }
    ByteStream::Opened opened = account_.open_smtp();
    refused_ = opened.refused;
    if (!opened.stream) {
        pause(opened.detail);
        return fail(id, "not_sent", opened.detail);
    }
    Smtp smtp(std::move(opened.stream));
    draft.from = account_.address;
    draft.from_name = account_.name;
    draft.to = frame.text("conversation");
    draft.subject = thread.uid ? reply_subject(thread.subject) : thread.root.empty() ? "A message from " + account_.name : reply_subject({});
    draft.parent = thread.parent.empty() ? thread.root : thread.parent;
    draft.root = thread.root;
    draft.of = parts.size();
    draft.delivery = joined({id, " ", frame.text("key")});
    if (draft.delivery.size() > 200 || !std::all_of(draft.delivery.begin(), draft.delivery.end(), [](char c) { return c >= ' ' && c <= '~'; }))
        draft.delivery.clear();
    for (draft.part = static_cast<size_t>(frame.integer("from")); draft.part < parts.size(); ++draft.part) {
        const std::string html = joined({"<!DOCTYPE html>\n<html><body>\n", parts[draft.part].text, "\n</body></html>\n"});
        draft.id = own_message_id(frame.text("key"), draft.part, account_.address);
        draft.now = ::time(nullptr);
        draft.plain = parts[draft.part].plain;
        draft.html = html;
        const SmtpOutcome outcome = smtp.send(draft.from, draft.to, account_.copies ? draft.from : "", write_email(draft));
        if (outcome.kind != Kind::Sent) {
            if (outcome.kind == Kind::NotSent || outcome.kind == Kind::Unknown) pause(outcome.why);
            return fail(id, class_of(outcome.kind), outcome.why);
        }
        port_.sent(id, draft.part, parts.size(), draft.id);
    }
    smtp.quit();
}

}  // namespace peacrab
