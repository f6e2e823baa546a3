// It takes as many calls as there are conversations, one at a time between everything else. What it finds twice, or
// what an event brings meanwhile, has the same key, and is stored once.
#include "channels/slack_catch_up.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostThreads = 50;
constexpr size_t kMostPlaces = 1'000;
constexpr int kMostUnreadable = 4;  // tries of a page
constexpr int kMostPages = 5;  // of two hundred messages, in one conversation
constexpr int64_t kOverlap = 300;  // seconds: what was on its way to us when the sockets went
constexpr Milliseconds kLongestBackoff{60'000};

// What an event is made of; the same once more in blocks is not.
constexpr const char* kKept[] = {"ts",        "user",           "bot_id", "text",  "subtype",     "hidden",
                                 "thread_ts", "parent_user_id", "files",  "username", "attachments"};

bool is_thread(const std::string& text) {
    const size_t slash = text.find('/');
    return slash != std::string::npos && is_slack_place(text.substr(0, slash)) && is_slack_ts(text.substr(slash + 1));
}

}  // namespace

SlackCursor::SlackCursor(const std::string& text) {
    const json::Value value = json::parse(text, {size_t{64} << 10, 3});
    newest_ = value.text("ts");
    gap_ = value.text("gap");
    if (!is_slack_ts(newest_) || (!gap_.empty() && !is_slack_ts(gap_))) throw Error("slack: the cursor is not one");
    if (const json::Value* const threads = value.find("threads"); threads && threads->is_array())
        for (const json::Value& each : threads->items())
            if (each.is_string() && is_thread(each.as_string()) && threads_.size() < kMostThreads)
                threads_.push_back(each.as_string());
}

std::string SlackCursor::dump() const {
    json::Value threads = json::Value::array();
    for (const std::string& each : threads_) threads.push(each);
    json::Value value = json::Value::object({{"ts", newest_}, {"threads", std::move(threads)}});
    if (!gap_.empty()) value.set("gap", gap_);
    return json::dump(value);
}

void SlackCursor::begin(const std::string& ts) {
    if (newest_.empty()) newest_ = ts;
}

void SlackCursor::note(const json::Value& event) {
    const std::string ts = event.text("id"), thread = event.text("thread");
    if (is_slack_ts(ts) && (newest_.empty() || slack_ts_before(newest_, ts))) newest_ = ts;
    if (!is_slack_ts(thread)) return;
    const std::string name = event.text("conversation") + "/" + thread;
    std::erase(threads_, name);
    threads_.push_back(name);
    if (threads_.size() > kMostThreads) threads_.erase(threads_.begin());
}

void SlackCursor::open_gap() {
    if (gap_.empty()) gap_ = newest_;
}

std::string SlackCursor::from() const {
    const std::string& ts = gap_.empty() ? newest_ : gap_;
    if (ts.empty()) return ts;
    return std::to_string(std::max<int64_t>(std::stoll(ts.substr(0, ts.find('.'))) - kOverlap, 1)) + ".000000";
}

void SlackCatchUp::begin(const SlackCursor& cursor) {
    from_ = cursor.from();
    cursor_.clear();
    places_.clear();
    threads_.clear();
    failures_ = 0;
    due_ = {};
    step_ = from_.empty() ? Step::Idle : Step::List;
    for (const std::string& each : cursor.threads()) {
        const size_t slash = each.find('/');
        places_.push_back({each.substr(0, slash), "", each.substr(slash + 1), "", 0});
        threads_.push_back(each);
    }
}

std::string SlackCatchUp::step() {
    if (step_ == Step::List) return list();
    if (step_ == Step::Read) return read();
    return {};
}

// True: the same once more, later.
bool SlackCatchUp::put_off(const SlackAnswer& answer) {
    const std::string_view kind = answer.failure.kind;
    if (answer.kind != SlackAnswer::Kind::Auth && (kind == "permanent" || kind == "gone")) return false;
    if (kind == "unknown" && failures_ >= kMostUnreadable) return false;  // the rest is not to wait for it
    failures_ = std::min(failures_ + 1, 10);
    due_ = Clock::now() + std::max(answer.failure.retry, std::min(kLongestBackoff, Milliseconds(500 << failures_)));
    return true;
}

std::string SlackCatchUp::list() {
    SlackForm form;
    form.add("types", "im,mpim,private_channel,public_channel").add("exclude_archived", "true").add("limit", "200");
    if (!cursor_.empty()) form.add("cursor", cursor_);
    const SlackAnswer answer = api_.call("users.conversations", form);
    if (!answer.ok() && put_off(answer)) return {};
    if (answer.ok()) failures_ = 0;
    if (const json::Value* const channels = answer.body.find("channels"); channels && channels->is_array())
        for (const json::Value& each : channels->items()) {
            const std::string id = each.text("id");
            if (!is_slack_place(id) || places_.size() >= kMostPlaces) continue;
            const char* const type = each.flag("is_im") ? "im" : each.flag("is_mpim") ? "mpim" : "channel";
            places_.push_back({id, type, "", "", 0});
        }
    const json::Value* const more = answer.body.find("response_metadata");
    cursor_ = more ? more->text("next_cursor") : "";
    if (!answer.ok() || cursor_.empty() || places_.size() >= kMostPlaces) step_ = Step::Read;
    if (!answer.ok()) return "what was said meanwhile can only be looked up in threads: " + answer.failure.error;
    return {};
}

std::string SlackCatchUp::read() {
    if (places_.empty()) {
        step_ = Step::Idle;
        return {};
    }
    Place& place = places_.back();
    const bool thread = !place.thread.empty();
    SlackForm form;
    form.add("channel", place.conversation).add("oldest", from_).add("limit", "200");
    if (thread) form.add("ts", place.thread);
    if (!place.cursor.empty()) form.add("cursor", place.cursor);
    const SlackAnswer answer = api_.call(thread ? "conversations.replies" : "conversations.history", form);
    if (!answer.ok()) {
        if (put_off(answer)) return {};
        failures_ = 0;
        const std::string why = std::string_view(answer.failure.kind) != "gone" && answer.error != "thread_not_found"
                                    ? "what was said meanwhile cannot be looked up: " + answer.failure.error
                                    : "";
        places_.pop_back();
        return why;
    }
    failures_ = 0;
    const json::Value* const more = answer.body.find("response_metadata");
    place.cursor = more ? more->text("next_cursor") : "";
    std::vector<Place> threads;
    if (const json::Value* const messages = answer.body.find("messages"); messages && messages->is_array())
        take_page(place, *messages, threads);
    const bool cut = !place.cursor.empty();
    const bool whole = !cut || ++place.pages >= kMostPages;
    if (whole) {
        std::vector<const json::Value*> found;
        for (const json::Value& each : place.messages) found.push_back(&each);
        std::sort(found.begin(), found.end(), [](const json::Value* a, const json::Value* b) {
            return slack_ts_before(a->text("ts"), b->text("ts"));
        });
        if (!found.empty() && !take_(found)) step_ = Step::Idle;
        places_.pop_back();  // `place` is gone
    }
    for (Place& each : threads) places_.insert(places_.begin(), std::move(each));
    return cut && whole ? "more was said meanwhile than is looked up: some of it is left out" : "";
}

void SlackCatchUp::take_page(Place& place, const json::Value& messages, std::vector<Place>& threads) {
    for (const json::Value& each : messages.items()) {
        const std::string ts = each.text("ts"), latest = each.text("latest_reply");
        if (!each.is_object() || !is_slack_ts(ts)) continue;
        if (place.thread.empty() && is_slack_ts(latest) && slack_ts_before(from_, latest)) {
            const std::string name = place.conversation + "/" + ts;
            if (std::find(threads_.begin(), threads_.end(), name) == threads_.end() && threads_.size() < kMostPlaces) {
                threads_.push_back(name);
                threads.push_back({place.conversation, place.type, ts, "", 0});
            }
        }
        // The beginning of a thread comes with its replies, however old it is.
        if (slack_ts_before(ts, from_)) continue;
        json::Value message = json::Value::object();
        for (const char* key : kKept)
            if (const json::Value* const value = each.find(key)) message.set(key, *value);
        message.set("type", "message");
        message.set("channel", place.conversation);
        if (!place.type.empty()) message.set("channel_type", place.type);
        place.messages.push_back(std::move(message));
    }
}

}  // namespace peacrab
