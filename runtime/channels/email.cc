// One thread: do what the warden wants, look for new mail, wait for either. A mail is taken by its UID; the flags of a
// mailbox, which people change, are never relied on.
#include "channels/email.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <memory>
#include <utility>

#include "audit.h"
#include "channels/email_account.h"
#include "channels/email_bounce.h"
#include "channels/email_draft.h"
#include "channels/email_file.h"
#include "channels/email_message.h"
#include "channels/email_outbox.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Milliseconds kAliveAgain{5'000};
constexpr Milliseconds kLongestBackoff{60'000};
constexpr size_t kAtOnce = 10;         // mails of a batch
constexpr int kMostRefusals = 3;       // of a login that was good before
constexpr int kMostTries = 5;          // of a mail that breaks the connection
constexpr size_t kMostNamed = 10;      // of the newest mails, looked at for the server's name
constexpr int64_t kDay = 86'400;

struct Cursor {
    uint32_t validity = 0, uid = 0;
    int64_t at = 0;     // when the last mail arrived, by the server's clock
    int64_t since = 0;  // what arrived before was there before us
};

Cursor read_cursor(const std::string& text) {
    const json::Value value = json::parse(text, {1 << 10, 2});
    return {static_cast<uint32_t>(value.integer("validity")), static_cast<uint32_t>(value.integer("uid")), value.integer("at"), value.integer("since")};
}

std::string written(const Cursor& cursor) {
    return joined({"{\"validity\":", std::to_string(cursor.validity), ",\"uid\":", std::to_string(cursor.uid), ",\"at\":", std::to_string(cursor.at),
                   ",\"since\":", std::to_string(cursor.since), "}"});
}

// IMAP's own way: "2-Feb-2026".
std::string imap_day(int64_t when) {
    const time_t time = std::max<int64_t>(when, kDay);
    tm parts{};
    gmtime_r(&time, &parts);
    constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    return joined({std::to_string(parts.tm_mday), "-", {kMonths + 3 * parts.tm_mon, 3}, "-", std::to_string(parts.tm_year + 1900)});
}

// A code for pairing: as it is given out it may stand above a signature; typed in another way it stands alone.
bool looks_like_code(std::string_view line, bool alone) {
    std::string letters;
    for (const char c : line) {
        if (c == ' ' || c == '-') continue;
        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (alone && c >= 'a' && c <= 'z'))) return false;
        letters += c;
    }
    return letters.size() == 8;
}

// What is said: a command or a code without what a program writes below it, an answer without its subject.
std::string said(const EmailMessage& mail) {
    if (mail.text.empty()) return mail.subject;
    const std::string line = mail.text.substr(0, mail.text.find('\n'));
    if (line.starts_with('/') || looks_like_code(line, line.size() == mail.text.size())) return line;
    if (mail.subject.empty() || !mail.parent.empty()) return mail.text;
    return joined({"Subject: ", mail.subject, "\n\n", mail.text});
}

class Email {
  public:
    Email(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port), account_(start.settings, port.take_secret("token")), worked_before_(start.cursor.has_value()) {
        if (start.cursor) cursor_ = read_cursor(*start.cursor);
    }
    int run();

  private:
    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const std::string& text);
    void take_frames(Deadline deadline);
    void trouble(const std::string& text);
    void wait_for_another_try();
    bool refused(const std::string& detail);

    bool connect();
    bool can_send();
    void introduce();
    void open_mailbox();
    void talk();
    void take_new();
    std::vector<uint32_t> new_mails();
    std::optional<json::Value> take_one(uint32_t uid);
    std::optional<json::Value> event_of(uint32_t uid, const Imap::Mail& mail);
    void note_alive();

    ChannelPort& port_;
    const EmailAccount account_;
    EmailOutbox outbox_{port_, account_};
    std::unique_ptr<Imap> imap_;
    std::string sent_mailbox_;
    Cursor cursor_, before_;
    bool rescan_ = false;  // UIDs mean something else now: all of late is looked at again, whatever was seen of it
    bool worked_before_, greeted_ = false, stopping_ = false, troubled_ = false;
    std::optional<int> ended_;
    int refusals_ = 0;
    std::deque<json::Value> fetches_;
    uint32_t trying_ = 0;  // the mail that was asked for
    int tries_ = 0;        // of it
    Milliseconds backoff_{1000};
    Clock::time_point told_{};
};

void Email::stand_down(const std::string& text) {
    port_.trouble("auth", text);
    ended_ = kExitStandDown;
}

void Email::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type");
        if (type == "stop") stopping_ = true;
        else if (type == "fetch" && fetches_.size() < kAtOnce) fetches_.push_back(std::move(*frame));
        else outbox_.take(std::move(*frame));
    }
}

// Once for a time of trouble.
void Email::trouble(const std::string& text) {
    imap_.reset();
    outbox_.give_back(text);
    if (!troubled_) port_.trouble("network", "email: " + text);
    troubled_ = true;
}

void Email::wait_for_another_try() {
    for (const Deadline patience = Deadline::in(backoff_); !patience.passed() && !over() && !stopping_;) {
        take_frames(patience);
        outbox_.give_back("there is no connection to the mailbox");
    }
    backoff_ = std::min(backoff_ * 2, kLongestBackoff);
}

// One that was good before may be good again: servers refuse when something behind them is down.
bool Email::refused(const std::string& detail) {
    if (worked_before_ && ++refusals_ < kMostRefusals) return false;
    stand_down(joined({"email: ", detail, ": check `user` and the password"}));
    return true;
}

bool Email::can_send() {
    if (greeted_) return true;
    ByteStream::Opened opened = account_.open_smtp();
    if (opened.stream) {
        Smtp(std::move(opened.stream)).quit();
        return true;
    }
    if (!opened.refused || !refused(opened.detail)) trouble(opened.detail);
    return false;
}

bool Email::connect() {
    ByteStream::Opened opened = account_.open_imap(port_.wake_fd());
    if (!opened.stream) {
        if (opened.detail.ends_with("cancelled")) backoff_ = Milliseconds(100);
        else if (!opened.refused || !refused(opened.detail)) trouble(opened.detail);
        return false;
    }
    imap_ = std::make_unique<Imap>(std::move(opened.stream));
    if (!can_send()) return false;
    refusals_ = 0;
    worked_before_ = true;
    sent_mailbox_ = imap_->special("\\Sent");
    open_mailbox();
    introduce();
    return true;
}

void Email::open_mailbox() {
    const Imap::Mailbox box = imap_->select("INBOX");
    if (cursor_.validity == box.validity) return;
    rescan_ = cursor_.validity != 0;
    before_ = cursor_;
    cursor_.validity = box.validity;
    cursor_.uid = box.next > 0 ? box.next - 1 : 0;
    if (rescan_) return;
    // The first time: what is there already was not said to us.
    cursor_.at = cursor_.since = ::time(nullptr);
    if (box.next == 0)
        if (const auto last = imap_->search("UID *"); last && !last->empty()) cursor_.uid = last->back();
}

void Email::introduce() {
    if (greeted_) return;
    greeted_ = true;
    port_.hello("email", account_.address, account_.address, json::Value::object({{"edits", 0}, {"typing", 0}, {"dedupe", "lookup"}, {"files", kMaxEmailFile}}));
    if (!rescan_) (void)port_.store({}, written(cursor_));
    if (!account_.authserv.empty()) return;
    std::string named;
    std::vector<uint32_t> mails = imap_->search("ALL").value_or(std::vector<uint32_t>());
    for (size_t i = 0; i < kMostNamed && !mails.empty() && named.empty(); ++i, mails.pop_back()) {
        size_t body = 0;
        named = authserv_of(read_fields(imap_->header(mails.back()), body));
    }
    port_.trouble("network", joined({"email: no mail is taken: anybody can write any sender. Set `authserv` to what your mail server calls itself in "
                                     "Authentication-Results, if it checks senders", named.empty() ? "" : "; in the newest mails that is ", named}));
}

void Email::note_alive() {
    const auto now = Clock::now();
    troubled_ = false;
    backoff_ = Milliseconds(1000);
    if (told_ != Clock::time_point{} && now - told_ < kAliveAgain) return;
    told_ = now;
    port_.alive();
}

std::vector<uint32_t> Email::new_mails() {
    // After a change of UIDs: what the store knows by its key it takes once. What is older than the last that was
    // seen was seen, whenever this mailbox says that it came.
    const std::string late = joined({"SINCE ", imap_day(before_.at - 2 * kDay), " SENTSINCE ", imap_day(before_.at - 14 * kDay)});
    auto found = imap_->search(rescan_ ? late : joined({"UID ", std::to_string(uint64_t{cursor_.uid} + 1), ":*"}));
    if (!found) throw Error("it does not search");
    if (!rescan_) std::erase_if(*found, [this](uint32_t uid) { return uid <= cursor_.uid; });
    return std::move(*found);
}

void Email::take_new() {
    const std::vector<uint32_t> uids = new_mails();
    note_alive();
    // A look at everything is done when it is done.
    const auto there = [this] { return written(rescan_ ? before_ : cursor_); };
    std::vector<Arrived> events;
    for (size_t i = 0; i < uids.size() && !over(); ++i) {
        std::optional<json::Value> event = take_one(uids[i]);
        cursor_.uid = std::max(cursor_.uid, uids[i]);
        if (event) events.push_back({std::move(*event), there()});
        if (i + 1 == uids.size()) break;
        if ((i + 1) % kAtOnce == 0 && !port_.store(std::exchange(events, {}), there())) return;
        take_frames(Deadline());
    }
    if (uids.empty() && !rescan_) return;
    rescan_ = false;
    (void)port_.store(std::move(events), written(cursor_));
}

std::optional<json::Value> Email::take_one(uint32_t uid) {
    tries_ = trying_ == uid ? tries_ + 1 : 1;
    trying_ = uid;
    std::optional<Imap::Mail> mail;
    if (tries_ <= kMostTries) mail = imap_->fetch(uid, kMaxEmail);
    else if (tries_ <= 2 * kMostTries) mail = Imap::Mail{0, ::time(nullptr), imap_->header(uid) + "[the mail server did not hand this mail over]\r\n"};
    else port_.trouble("network", "email: a mail cannot be fetched, and was left out");
    trying_ = 0;
    if (!mail || (rescan_ && mail->arrived < cursor_.since)) return std::nullopt;
    cursor_.at = std::max(cursor_.at, std::min<int64_t>(mail->arrived, ::time(nullptr)));
    return event_of(uid, *mail);
}

// Nothing: our own copy of what we have sent, which goes to where such mails are kept.
std::optional<json::Value> Email::event_of(uint32_t uid, const Imap::Mail& raw) {
    const EmailMessage mail = read_email(raw.text, {account_.address, raw.size});
    const bool own = mail.from.address == account_.address;
    if (own && is_own_id(mail.id, account_.address)) {
        imap_->flag(uid, "\\Seen");
        imap_->move(uid, sent_mailbox_);
        return std::nullopt;
    }
    if (const auto bounce = read_bounce(raw.text, mail, account_.address, account_.authserv)) outbox_.note_bounce(*bounce);
    const std::string sender = mail.from.address.empty() ? "nobody" : mail.from.address;
    const std::string id = mail.id.empty() ? joined({"uid-", std::to_string(cursor_.validity), "-", std::to_string(uid)}) : mail.id;
    json::Value event;
    const auto put = [&event](const char* key, std::string_view value) { event.set(key, value); };
    put("key", joined({mail.id.empty() ? "sum-" + sha256_hex(raw.text).substr(0, 40) : mail.id, " ", sender}));
    put("kind", "message");
    put("conversation", sender);
    put("scope", "direct");
    put("thread", mail.root.empty() ? id : mail.root);
    put("id", id);
    put("sender", sender);
    put("name", mail.from.name.empty() ? sender : mail.from.name);
    put("text", said(mail));
    event.set("at", raw.arrived * 1000);
    if (own) event.set("own", true);
    if (!mail.automatic.empty()) event.set("bot", true);
    if (!sender_proven(mail.fields, account_.authserv, mail.from)) event.set("unproven", true);
    if (!mail.parent.empty())
        event.set("reply_to", json::Value::object({{"id", mail.parent}, {"own", is_own_id(mail.parent, account_.address)}}));
    json::Value files = json::Value::array();
    for (const EmailFile& file : mail.files) {
        json::Value one = json::Value::object({{"name", file.name}, {"mime", file.mime}, {"size", file.size}});
        const std::string handle = file_handle(cursor_.validity, uid, file);
        one.set(handle.empty() ? "note" : "handle", handle.empty() ? "it cannot be taken out of its mail" : handle);
        files.push(std::move(one));
    }
    if (!files.items().empty()) event.set("files", std::move(files));
    return event;
}

void Email::talk() {
    Deadline look;
    while (!over()) {
        take_frames(Deadline());
        if (over()) return;
        while (!fetches_.empty()) {
            const json::Value fetch = std::move(fetches_.front());
            fetches_.pop_front();
            send_file(port_, *imap_, cursor_.validity, fetch);
        }
        outbox_.work(*imap_, sent_mailbox_);
        if (outbox_.take_refused() && refused("the server for sending refuses the login")) return;
        if (stopping_ && outbox_.idle()) return;
        if (look.passed()) {
            take_new();
            look = Deadline::in(account_.poll);
        } else if (imap_->idle(Deadline::in(std::min(look.left(), outbox_.until_due())), port_.wake_fd())) {
            look = Deadline();
        }
    }
}

int Email::run() {
    while (!over() && !(stopping_ && outbox_.idle())) {
        take_frames(Deadline());
        if (stopping_ && outbox_.idle()) break;
        try {
            if (connect()) talk();
        } catch (const Error& error) {
            trouble(joined({account_.imap_host(), ": ", error.what()}));
        }
        if (stopping_) outbox_.give_back("the channel ends");
        if (stopping_) break;
        if (!over()) wait_for_another_try();
    }
    if (imap_) imap_->logout();
    return ended_.value_or(0);
}

}  // namespace

int run_email(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Email>(port, start);
}

}  // namespace peacrab
