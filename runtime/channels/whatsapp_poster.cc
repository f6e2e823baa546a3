// A message goes out at most once by us. What is not known of one is not guessed: its mark is looked for in what the relay
// keeps, and only when that could be asked and had nothing for a while was it not taken.
#include "channels/whatsapp_poster.h"

#include <algorithm>

#include "channels/channel_files.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kText = 4096;
constexpr size_t kBody = 1024, kTitle = 20;  // of what has buttons; bytes here, so never more than is taken
constexpr Milliseconds kLookAgain{3'000};
constexpr size_t kMostHeard = 5'000;

std::string mark_of(const Poster::Piece& piece) {
    return piece.key + "." + std::to_string(piece.part) + "." + std::to_string(piece.of) + "." + piece.id;
}

struct Mark {
    std::string key, id;
    size_t part = 0, of = 0;
};

std::optional<Mark> read_mark(const std::string& text) {
    const std::vector<std::string> words = split(text, '.');
    if (words.size() != 4) return std::nullopt;
    for (size_t i = 1; i < 4; ++i)
        if (words[i].empty() || words[i].size() > 15 || words[i].find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    const Mark mark{words[0], words[3], std::stoull(words[1]), std::stoull(words[2])};
    return mark.part < mark.of && mark.of <= 1000 ? std::optional(mark) : std::nullopt;
}

// Titles are short and must differ: what is too long, or there twice, is only numbered, as the text has it.
std::vector<std::string> titles_of(const Poster::Piece& piece) {
    std::vector<std::string> titles;
    bool plain = true;
    for (const Poster::Choice& choice : piece.choices) {
        plain = plain && choice.label.size() <= kTitle && std::find(titles.begin(), titles.end(), choice.label) == titles.end();
        titles.push_back(choice.label);
    }
    for (size_t i = 0; i < titles.size() && !plain; ++i)
        titles[i] = std::to_string(i + 1) + ". " + std::string(utf8_prefix(titles[i], kTitle - 3));
    return titles;
}

// Source: https://developers.facebook.com/docs/whatsapp/cloud-api/messages/interactive-reply-buttons-messages.
json::Value buttons_of(const Poster::Piece& piece) {
    const std::vector<std::string> titles = titles_of(piece);
    json::Value buttons = json::Value::array();
    for (size_t i = 0; i < titles.size(); ++i)
        buttons.push(json::Value::object(
            {{"type", "reply"},
             {"reply", json::Value::object({{"id", std::string(kWhatsAppButton) + piece.choices[i].value}, {"title", titles[i]}})}}));
    return json::Value::object({{"type", "button"},
                                {"body", json::Value::object({{"text", piece.text}})},
                                {"action", json::Value::object({{"buttons", std::move(buttons)}})}});
}

// As WhatsApp takes each kind; all else goes as a document.
std::string media_kind(const Poster::File& file) {
    const std::string& mime = file.mime;
    const size_t size = file.bytes.size();
    if ((mime == "image/jpeg" || mime == "image/png") && size <= size_t{5} << 20) return "image";
    if ((mime == "video/mp4" || mime == "video/3gpp") && size <= size_t{16} << 20) return "video";
    const bool audio = mime == "audio/ogg" || mime == "audio/mpeg" || mime == "audio/mp4" || mime == "audio/aac" || mime == "audio/amr";
    return audio && size <= size_t{16} << 20 ? "audio" : "document";
}

}  // namespace

OutboxPace WhatsAppPoster::pace(Milliseconds between) {
    return {.between = between, .between_any = Milliseconds(15), .typing_lease = kTypingAgain, .typing_again = kTypingAgain};
}

std::vector<RenderedPart> WhatsAppPoster::render_parts(std::string_view markdown) const {
    return render(markdown, {Markup::WhatsApp, kText, RenderStyle::Unit::Utf16});
}

json::Value WhatsAppPoster::message_to(const Where& where, const Piece& piece) const {
    json::Value message = json::Value::object(
        {{"messaging_product", "whatsapp"}, {"recipient_type", "individual"}, {"to", where.conversation}});
    if (piece.part == 0 && is_whatsapp_id(piece.reply_to))
        message.set("context", json::Value::object({{"message_id", piece.reply_to}}));
    if (!piece.key.empty()) message.set("biz_opaque_callback_data", mark_of(piece));
    return message;
}

Poster::Done WhatsAppPoster::done_of(const WhatsAppAnswer& answer) {
    Done done;
    done.ok = answer.ok();
    done.failure = answer.failure;
    if (answer.kind == WhatsAppAnswer::Kind::Auth) auth_ = answer.failure;
    done.for_all = !done.ok && std::string_view(answer.failure.kind) == "not_sent";
    return done;
}

Poster::Done WhatsAppPoster::send(const json::Value& message) {
    const WhatsAppAnswer answer = api_.post("messages", message);
    Done done = done_of(answer);
    if (!done.ok) return done;
    const json::Value* const list = answer.body.find("messages");
    if (list && list->is_array() && !list->items().empty() && list->items()[0].is_object())
        done.platform = list->items()[0].text("id").substr(0, 400);
    if (!is_whatsapp_id(done.platform)) {
        done.ok = false;
        done.failure = {"unknown", "WhatsApp's server gave an answer that cannot be read", {}, {}};
    }
    return done;
}

Poster::Done WhatsAppPoster::post(const Where& where, const Piece& piece) {
    json::Value message = message_to(where, piece);
    const bool buttons = !piece.choices.empty() && piece.choices.size() <= kButtons && piece.text.size() <= kBody;
    message.set("type", buttons ? "interactive" : "text");
    if (buttons) message.set("interactive", buttons_of(piece));
    else message.set("text", json::Value::object({{"preview_url", false}, {"body", piece.text}}));
    return send(message);
}

// Two steps; nobody sees anything before the second.
Poster::Done WhatsAppPoster::post_file(const Where& where, const Piece& piece, const File& file) {
    const std::string kind = media_kind(file);
    Multipart form;
    form.field("messaging_product", "whatsapp");
    form.field("type", file.mime);
    form.file("file", file.name, file.mime);
    form.body() += file.bytes;
    const std::string type = form.content_type();
    const WhatsAppAnswer put = api_.upload(type, form.finish());
    const std::string id = put.ok() ? put.body.text("id") : std::string();
    if (!is_whatsapp_id(id)) {
        Done done = done_of(put);
        done.ok = false;
        const bool unclear = put.ok() || std::string_view(done.failure.kind) == "unknown";
        if (unclear) done.failure = {"transient", "WhatsApp did not say whether it took the file", {}, {}};
        return done;
    }
    json::Value message = message_to(where, piece);
    json::Value media = json::Value::object({{"id", id}});
    if (kind == "document") media.set("filename", file.name);
    message.set("type", kind);
    message.set(kind, std::move(media));
    return send(message);
}

// With it what was said is marked as read.
Poster::Done WhatsAppPoster::show_typing(const Where& where) {
    const auto newest = newest_.find(where.conversation);
    if (newest == newest_.end()) return {};
    const WhatsAppAnswer answer = api_.post_again("messages",
                                                  json::Value::object({{"messaging_product", "whatsapp"},
                                                                       {"status", "read"},
                                                                       {"message_id", newest->second},
                                                                       {"typing_indicator", json::Value::object({{"type", "text"}})}}),
                                                  Milliseconds(5'000));
    return done_of(answer);
}

void WhatsAppPoster::heard(const json::Value& event) {
    if (newest_.size() >= kMostHeard) newest_.clear();
    newest_[event.text("conversation")] = event.text("key");  // of a press `id` is ours
}

// The rest of its parts may be out, too.
void WhatsAppPoster::take(const WhatsAppStatus& status) {
    const std::optional<Mark> mark = status.failed ? read_mark(status.mark) : std::nullopt;
    if (!mark) return;
    const bool sought = std::any_of(lookups_.begin(), lookups_.end(), [&](const Lookup& one) { return one.id == mark->id; });
    ChannelFailure failure = status.failure;
    failure.kind = "permanent";
    failure.key = mark->key;
    if (!sought) port_.failed(mark->id, failure);
}

void WhatsAppPoster::take_resolve(const json::Value& frame) {
    const Outbox::Time now = Clock::now();
    lookups_.push_back({frame.text("id"), frame.text("key"), frame.integer("part"), now, now + settle_});
}

Outbox::Time WhatsAppPoster::next_due() const {
    Outbox::Time due = Outbox::Time::max();
    for (const Lookup& lookup : lookups_) due = std::min(due, lookup.due);
    return due;
}

void WhatsAppPoster::work() {
    for (size_t i = 0; i < lookups_.size(); ++i) {
        if (lookups_[i].due > Clock::now()) continue;
        if (look(lookups_[i])) lookups_.erase(lookups_.begin() + static_cast<std::ptrdiff_t>(i));
        else lookups_[i].due = Clock::now() + kLookAgain;
        return;
    }
}

// True: it was answered.
bool WhatsAppPoster::look(const Lookup& lookup) {
    const bool last = lookup.until <= Clock::now();
    const std::string begin = lookup.key + "." + std::to_string(lookup.part) + ".";
    const RelayAnswer found = relay_.having(begin);
    if (found.kind != RelayAnswer::Kind::Ok) {
        if (last) port_.failed(lookup.id, {"unknown", found.error, {}, {}});
        return last;
    }
    for (const RelayEntry& entry : found.entries)
        for (const WhatsAppStatus& status : read_whatsapp(entry.body, api_.phone()).statuses) {
            const std::optional<Mark> mark = status.mark.starts_with(begin) ? read_mark(status.mark) : std::nullopt;
            if (!mark) continue;
            if (status.failed) port_.failed(lookup.id, {"permanent", status.failure.error, {}, {}});
            else port_.sent(lookup.id, mark->part, mark->of, status.id);
            return true;
        }
    if (last) port_.failed(lookup.id, {"not_sent", "WhatsApp has told nothing of it", {}, {}});
    return last;
}

}  // namespace peacrab
