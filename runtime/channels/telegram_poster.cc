// How a text or a file gets into a chat, and what is done when Telegram does not take it as it is.
// Source: https://core.telegram.org/bots/api.
#include "channels/telegram_poster.h"

#include <algorithm>

#include "channels/channel_files.h"
#include "error.h"

namespace peacrab {
namespace {

using Repeat = TelegramApi::Repeat;

constexpr size_t kMostPhoto = 10'000'000;  // bytes

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

json::Value place(const std::string& conversation, const std::string& thread) {
    json::Value parameters = json::Value::object({{"chat_id", telegram_id(conversation).value_or(0)}});
    if (const std::optional<int64_t> id = telegram_id(thread)) parameters.set("message_thread_id", *id);
    return parameters;
}

// Each in a row of its own, or three when they are short.
json::Value keyboard_of(const Poster::Piece& piece) {
    constexpr size_t kShort = 12;  // bytes
    const bool all_short = std::all_of(piece.choices.begin(), piece.choices.end(),
                                       [](const Poster::Choice& choice) { return choice.label.size() <= kShort; });
    const size_t in_row = all_short ? 3 : 1;
    json::Value rows = json::Value::array();
    for (size_t i = 0; i < std::min(piece.choices.size(), TelegramPoster::kButtons); ++i) {
        if (i % in_row == 0) rows.push(json::Value::array());
        const Poster::Choice& choice = piece.choices[i];
        rows.items().back().push(json::Value::object({{"text", choice.label}, {"callback_data", choice.value}}));
    }
    return json::Value::object({{"inline_keyboard", std::move(rows)}});
}

}  // namespace

std::optional<int64_t> telegram_id(const std::string& text) {
    const size_t digits = text.starts_with('-') ? 1 : 0;
    if (text.size() == digits || text.size() > 18 || text.find_first_not_of("0123456789", digits) != std::string::npos)
        return std::nullopt;
    return std::stoll(text);
}

// Thirty a second in all, one a second in a chat, twenty a minute in a group.
OutboxPace TelegramPoster::pace() {
    return {.between = Milliseconds(1'000),
            .between_any = Milliseconds(34),
            .between_shown = Milliseconds(1'000),
            .between_shown_group = Milliseconds(3'000),
            .group_minute = 20,
            .group_minute_shown = 12,
            .typing_lease = Milliseconds(30'000),
            .typing_again = Milliseconds(4'000)};  // it lasts five seconds
}

std::vector<RenderedPart> TelegramPoster::render_parts(std::string_view markdown) const {
    return render(markdown, {Markup::Telegram, kText, RenderStyle::Unit::Utf16});
}

Poster::Done TelegramPoster::done_of(const TelegramAnswer& answer) {
    if (answer.kind == TelegramAnswer::Kind::Auth) auth_ = answer.failure;
    return {.ok = answer.ok(),
            .platform = std::to_string(answer.result.integer("message_id")),
            .failure = answer.failure,
            .for_all = !answer.ok() && std::string_view(answer.failure.kind) == "not_sent"};
}

// Once more as plain text when Telegram cannot read what we have written.
TelegramAnswer TelegramPoster::put(const char* method, json::Value parameters, const Piece& piece, Repeat repeat) {
    parameters.set("link_preview_options", json::Value::object({{"is_disabled", true}}));
    if (!piece.choices.empty()) parameters.set("reply_markup", keyboard_of(piece));  // an edit without takes it away
    parameters.set("text", piece.text);
    parameters.set("parse_mode", "HTML");
    TelegramAnswer answer = api_.call(method, parameters, {.repeat = repeat});
    if (answer.ok() || !answer.says("can't parse entities")) return answer;
    parameters.set("text", piece.plain);
    parameters.erase("parse_mode");
    return api_.call(method, parameters, {.repeat = repeat});
}

Poster::Done TelegramPoster::post(const Where& where, const Piece& piece) {
    json::Value parameters = place(where.conversation, where.thread);
    const bool may_be_lost = piece.key.empty();
    if (may_be_lost) parameters.set("disable_notification", true);
    if (const std::optional<int64_t> reply = telegram_id(piece.reply_to); reply && piece.part == 0)
        parameters.set("reply_parameters",
                       json::Value::object({{"message_id", *reply}, {"allow_sending_without_reply", true}}));
    const TelegramAnswer answer = put("sendMessage", parameters, piece, Repeat::Once);
    if (answer.ok() || may_be_lost || !answer.says("message thread not found")) return done_of(answer);
    parameters.erase("message_thread_id");  // better in the wrong place than nowhere
    return done_of(put("sendMessage", std::move(parameters), piece, Repeat::Once));
}

// What cannot be edited is sent anew, unless it may be lost.
Poster::Done TelegramPoster::edit(const Where& where, const std::string& platform, const Piece& piece) {
    const std::optional<int64_t> message = telegram_id(platform);
    if (!message) return post(where, piece);
    json::Value parameters = place(where.conversation, {});
    parameters.set("message_id", *message);
    const TelegramAnswer answer = put("editMessageText", std::move(parameters), piece, Repeat::Harmless);
    if (answer.ok() || answer.says("message is not modified")) return {.ok = true, .platform = platform};
    for (const char* why : {"message to edit not found", "message can't be edited", "message_id_invalid"})
        if (!piece.key.empty() && answer.says(why)) return post(where, piece);
    return done_of(answer);
}

TelegramAnswer TelegramPoster::put_file(const Where& where, const File& file, const char* method, const char* field) {
    Multipart parts;
    parts.field("chat_id", where.conversation);
    if (telegram_id(where.thread)) parts.field("message_thread_id", where.thread);
    parts.file(field, file.name, file.mime);
    parts.body() += file.bytes;
    std::string type = parts.content_type();
    TelegramAnswer answer = api_.upload(method, std::move(type), parts.finish());
    if (answer.ok() || where.thread.empty() || !answer.says("message thread not found")) return answer;
    return put_file({where.conversation, {}}, file, method, field);  // better in the wrong place than nowhere
}

// A picture that Telegram does not take for one (too narrow, too large) is a document.
Poster::Done TelegramPoster::post_file(const Where& where, const Piece&, const File& file) {
    for (const Upload& upload : kUploads) {
        if (file.kind != upload.kind || !file.mime.starts_with(upload.mime)) continue;
        if (file.kind == "picture" && file.bytes.size() > kMostPhoto) continue;
        const TelegramAnswer answer = put_file(where, file, upload.method, upload.field);
        if (!answer.says("photo_") && !answer.says("image_process_failed") && !answer.says("voice_messages_forbidden"))
            return done_of(answer);
    }
    return done_of(put_file(where, file, "sendDocument", "document"));
}

Poster::Done TelegramPoster::show_typing(const Where& where) {
    json::Value parameters = place(where.conversation, where.thread);
    parameters.set("action", "typing");
    const TelegramAnswer answer = api_.call("sendChatAction", parameters, {.limit = Milliseconds(5'000)});
    return {.ok = answer.ok(), .failure = answer.failure};
}

}  // namespace peacrab
