// Each message carries the key of what it is made of in its metadata, which nobody sees: by that it is known again when
// the answer to its sending was lost. Source: https://docs.slack.dev/messaging/message-metadata.
#include "channels/slack_poster.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Repeat = SlackApi::Repeat;

constexpr const char* kEvent = "peacrab_delivery";
constexpr Milliseconds kSettles{2'000};  // what may still be on its way when we ask whether it is there
constexpr int kMostPages = 10;
constexpr Milliseconds kLongestBackoff{30'000};

std::string metadata_of(const Poster::Piece& piece) {
    return json::dump(json::Value::object(
        {{"event_type", kEvent},
         {"event_payload", json::Value::object({{"key", piece.key}, {"part", piece.part}, {"of", piece.of}})}}));
}

SlackForm text_form(const std::string& channel, const Poster::Piece& piece) {
    SlackForm form;
    form.add("channel", channel).add("text", piece.text);
    if (!piece.key.empty()) form.add("metadata", metadata_of(piece));
    return form;
}

// The text again, since beside blocks it is only read out, and the buttons below it. None: an empty list, which takes
// away what there was. Source: https://docs.slack.dev/reference/block-kit/blocks.
std::string blocks_of(const Poster::Piece& piece) {
    constexpr size_t kSection = 2900;  // of 3000 characters
    json::Value blocks = json::Value::array(), buttons = json::Value::array();
    if (piece.choices.empty()) return json::dump(blocks);
    for (std::string_view rest = piece.text; !rest.empty();) {
        const std::string_view front = utf8_prefix(rest, kSection);
        blocks.push(json::Value::object({{"type", "section"}, {"text", json::Value::object({{"type", "mrkdwn"}, {"text", front}})}}));
        rest.remove_prefix(front.size());
    }
    for (size_t i = 0; i < std::min(piece.choices.size(), SlackPoster::kButtons); ++i)
        buttons.push(json::Value::object(
            {{"type", "button"},
             {"text", json::Value::object({{"type", "plain_text"}, {"text", piece.choices[i].label}, {"emoji", false}})},
             {"action_id", "choice" + std::to_string(i)},
             {"value", piece.choices[i].value}}));
    blocks.push(json::Value::object({{"type", "actions"}, {"elements", buttons}}));
    return json::dump(blocks);
}

// A word of a list with blanks around each.
bool is_one_of(const std::string& word, const char* words) {
    return !word.empty() && std::string_view(words).find(" " + word + " ") != std::string_view::npos;
}

// The thread is gone, or none can be there: better in the wrong place than nowhere.
constexpr const char* kNoThread =
    " thread_not_found invalid_thread_ts cannot_reply_to_message message_not_found "
    "restricted_action_non_threadable_channel ";
constexpr const char* kNoEdit =
    " message_not_found cant_update_message edit_window_closed is_inactive invalid_ts cannot_update_message ";

}  // namespace

// chat.postMessage: about one a second in a channel. chat.update: fifty a minute in all, of which answers need some.
OutboxPace SlackPoster::pace() {
    return {.between = Milliseconds(1'050),
            .between_any = Milliseconds(20),
            .between_shown = Milliseconds(1'500),
            .between_shown_group = Milliseconds(3'000),
            .shown_a_minute = 30};
}

std::vector<RenderedPart> SlackPoster::render_parts(std::string_view markdown) const {
    return render(markdown, {Markup::Slack, kText, RenderStyle::Unit::Utf16});
}

Poster::Done SlackPoster::done_of(const SlackAnswer& answer, const std::string& otherwise) {
    Done done;
    done.ok = answer.ok();
    done.platform = answer.body.text("ts", otherwise);
    done.failure = answer.failure;
    if (answer.kind == SlackAnswer::Kind::Auth) auth_ = answer.failure;
    done.for_all = !done.ok && (std::string_view(answer.failure.kind) == "not_sent");
    return done;
}

Poster::Done SlackPoster::post(const Where& where, const Piece& piece) {
    SlackForm form = text_form(where.conversation, piece);
    if (!piece.choices.empty()) form.add("blocks", blocks_of(piece));
    form.add("unfurl_links", "false").add("unfurl_media", "false");
    if (is_slack_ts(where.thread)) {
        SlackForm there = form;
        there.add("thread_ts", where.thread);
        const SlackAnswer answer = api_.call("chat.postMessage", there, {.repeat = Repeat::Once});
        if (!is_one_of(answer.error, kNoThread)) return done_of(answer);
    }
    return done_of(api_.call("chat.postMessage", form, {.repeat = Repeat::Once}));
}

Poster::Done SlackPoster::edit(const Where& where, const std::string& platform, const Piece& piece) {
    if (!is_slack_ts(platform)) return post(where, piece);
    const SlackAnswer answer = api_.call("chat.update", text_form(where.conversation, piece).add("ts", platform).add("blocks", blocks_of(piece)));
    if (is_one_of(answer.error, kNoEdit)) return post(where, piece);
    return done_of(answer, platform);
}

// Three steps; nobody sees anything before the third.
Poster::Done SlackPoster::post_file(const Where& where, const Piece&, const File& file) {
    const SlackForm wanted = SlackForm().add("filename", file.name).add("length", std::to_string(file.bytes.size()));
    SlackAnswer step = api_.call("files.getUploadURLExternal", wanted);
    const std::string id = step.body.text("file_id");
    if (step.ok()) step = api_.put(step.body.text("upload_url"), file.bytes);
    if (!step.ok()) {
        Done done = done_of(step);
        if (std::string_view(done.failure.kind) == "unknown") done.failure.kind = "transient";
        return done;
    }
    const json::Value files =
        json::Value::array({json::Value::object({{"id", id}, {"title", file.name}})});
    SlackForm form;
    form.add("files", json::dump(files)).add("channel_id", where.conversation);
    SlackForm there = form;
    if (is_slack_ts(where.thread)) there.add("thread_ts", where.thread);
    SlackAnswer answer = api_.call("files.completeUploadExternal", there, {.repeat = Repeat::Once});
    if (is_one_of(answer.error, kNoThread)) answer = api_.call("files.completeUploadExternal", form, {.repeat = Repeat::Once});
    Done done = done_of(answer, id);
    if (!done.ok && std::string_view(done.failure.kind) == "unknown" && shared_there(id, where)) done.ok = true;
    if (done.ok) done.platform = id;
    return done;
}

bool SlackPoster::shared_there(const std::string& file, const Where& where) {
    const SlackAnswer answer = api_.call("files.info", SlackForm().add("file", file));
    const json::Value* const card = answer.body.find("file");
    if (!card) return false;
    for (const char* kind : {"channels", "groups", "ims"}) {
        const json::Value* const places = card->find(kind);
        if (!places || !places->is_array()) continue;
        for (const json::Value& each : places->items())
            if (each.is_string() && each.as_string() == where.conversation) return true;
    }
    return false;
}

void SlackPoster::take_resolve(const json::Value& frame) {
    lookups_.push_back({frame.text("id"), frame.text("key"), {frame.text("conversation"), frame.text("thread")},
                        frame.integer("part"), Clock::now() + kSettles});
}

Outbox::Time SlackPoster::next_due() const {
    Outbox::Time due = Outbox::Time::max();
    for (const Lookup& lookup : lookups_) due = std::min(due, lookup.due);
    return due;
}

void SlackPoster::work() {
    for (size_t i = 0; i < lookups_.size(); ++i) {
        if (lookups_[i].due > Clock::now()) continue;
        if (look(lookups_[i])) lookups_.erase(lookups_.begin() + static_cast<std::ptrdiff_t>(i));
        return;
    }
}

// True: it was answered.
bool SlackPoster::look(Lookup& lookup) {
    ChannelFailure why;
    Found found = Found::No;
    if (is_slack_ts(lookup.where.thread)) found = look_in(lookup, "conversations.replies", why);
    if (found == Found::No) found = look_in(lookup, "conversations.history", why);
    if (found == Found::No) port_.failed(lookup.id, {"not_sent", "it is not there"});
    if (found == Found::Gone) port_.failed(lookup.id, why);
    if (found != Found::NotNow) return true;
    lookup.tries = std::min(lookup.tries + 1, 10);
    lookup.due = Clock::now() + std::max(why.retry, std::min(kLongestBackoff, Milliseconds(500 << lookup.tries)));
    return false;
}

SlackPoster::Found SlackPoster::look_in(const Lookup& lookup, const char* method, ChannelFailure& why) {
    std::string cursor;
    for (int page = 0; page < kMostPages; ++page) {
        SlackForm form;
        form.add("channel", lookup.where.conversation).add("limit", "200").add("include_all_metadata", "true");
        if (method == std::string_view("conversations.replies")) form.add("ts", lookup.where.thread);
        if (!cursor.empty()) form.add("cursor", cursor);
        const SlackAnswer answer = api_.call(method, form);
        if (answer.error == "thread_not_found") return Found::No;
        if (!answer.ok()) {
            why = answer.failure;
            if (answer.kind == SlackAnswer::Kind::Auth) auth_ = answer.failure;
            const std::string_view kind = why.kind;
            return kind == "gone" || kind == "permanent" ? Found::Gone : Found::NotNow;
        }
        const json::Value* const messages = answer.body.find("messages");
        if (!messages || !messages->is_array()) return Found::NotNow;
        for (const json::Value& message : messages->items()) {
            const json::Value* const data = message.find("metadata");
            const json::Value* const payload = data ? data->find("event_payload") : nullptr;
            if (!payload || message.text("user") != self_ || data->text("event_type") != kEvent || payload->text("key") != lookup.key ||
                payload->integer("part", -1) != lookup.part)
                continue;
            const int64_t of = std::clamp<int64_t>(payload->integer("of", 1), lookup.part + 1, 1000);
            port_.sent(lookup.id, static_cast<size_t>(lookup.part), static_cast<size_t>(of), message.text("ts"));
            return Found::Yes;
        }
        const json::Value* const more = answer.body.find("response_metadata");
        cursor = more ? more->text("next_cursor") : "";
        if (cursor.empty()) break;
    }
    return Found::No;
}

}  // namespace peacrab
