// Nobody is called by what a model writes: `allowed_mentions` is empty in every message. What could not be answered is
// safe to be sent again as long as Discord remembers nonces, which is a few minutes.
// Source: https://docs.discord.com/developers/resources/message.
#include "channels/discord_poster.h"

#include <algorithm>
#include <cstdio>

#include "channels/channel_files.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr int kWithoutPreviews = 1 << 2;
// An edit that is not possible any more: unknown message; somebody else's; too old to be edited so often.
constexpr int64_t kNoEdit[] = {10008, 50005, 30046};
// An answer to a message that cannot be answered: no history to be read; unknown; of a kind nobody answers.
constexpr int64_t kNoReply[] = {160002, 50035, 10008};

template <size_t N>
bool among(const int64_t (&codes)[N], const DiscordAnswer& answer) {
    return !answer.ok() && std::find(std::begin(codes), std::end(codes), answer.code) != std::end(codes);
}

std::string messages_of(const std::string& conversation) { return "/channels/" + conversation + "/messages"; }

json::Value nobody() { return json::Value::object({{"parse", json::Value::array()}}); }

// Rows of five. Source: https://docs.discord.com/developers/components/reference.
json::Value components_of(const Poster::Piece& piece) {
    constexpr int kRow = 1, kButton = 2, kGrey = 2;
    constexpr size_t kInRow = 5;
    json::Value rows = json::Value::array();
    for (size_t i = 0; i < piece.choices.size() && i < DiscordPoster::kButtons; i += kInRow) {
        json::Value row = json::Value::array();
        for (size_t k = i; k < std::min(i + kInRow, piece.choices.size()); ++k)
            row.push(json::Value::object({{"type", kButton},
                                          {"style", kGrey},
                                          {"label", piece.choices[k].label},
                                          {"custom_id", piece.choices[k].value}}));
        rows.push(json::Value::object({{"type", kRow}, {"components", row}}));
    }
    return rows;
}

json::Value message_of(const Poster::Piece& piece) {
    json::Value body = json::Value::object(
        {{"nonce", piece.key.empty() ? random_hex(12) : discord_nonce(piece.key, piece.part)},
         {"enforce_nonce", true},
         {"allowed_mentions", nobody()},
         {"flags", kWithoutPreviews}});
    if (!piece.text.empty()) body.set("content", piece.text);
    if (!piece.choices.empty()) body.set("components", components_of(piece));
    if (piece.part == 0 && discord_id(piece.reply_to))
        body.set("message_reference",
                 json::Value::object({{"message_id", piece.reply_to}, {"fail_if_not_exists", false}}));
    return body;
}

}  // namespace

std::string discord_nonce(const std::string& key, size_t part) {
    const std::string of = key + "." + std::to_string(part);
    char nonce[32];
    std::snprintf(nonce, sizeof nonce, "%016llx%08x", static_cast<unsigned long long>(text_hash(of)),
                  static_cast<unsigned>(text_hash(of + "+") & 0xffffffff));
    return nonce;
}

// Five messages in five seconds in a channel, and as many edits.
OutboxPace DiscordPoster::pace() {
    return {.between = Milliseconds(1'020),
            .between_any = Milliseconds(25),
            .between_shown = Milliseconds(1'200),
            .between_shown_group = Milliseconds(1'200),
            .typing_lease = kTypingLease,
            .typing_again = Milliseconds(8'000)};  // it lasts ten seconds
}

std::vector<RenderedPart> DiscordPoster::render_parts(std::string_view markdown) const {
    return render(markdown, {Markup::Discord, kText, RenderStyle::Unit::Utf16});
}

Poster::Done DiscordPoster::done_of(const DiscordAnswer& answer, const std::string& otherwise) {
    Done done;
    done.ok = answer.ok();
    done.platform = answer.result.text("id", otherwise);
    done.failure = answer.failure;
    if (done.ok && !discord_id(done.platform)) {
        done.ok = false;
        done.failure = {"unknown", "Discord's server gave an answer that cannot be read", Milliseconds(0), {}};
    }
    if (answer.kind == DiscordAnswer::Kind::Auth) auth_ = answer.failure;
    done.for_all = !done.ok && std::string_view(done.failure.kind) == "not_sent";
    return done;
}

Poster::Done DiscordPoster::post(const Where& where, const Piece& piece) {
    json::Value body = message_of(piece);
    const std::string path = messages_of(where.conversation);
    DiscordAnswer answer = api_.send("POST", path, body);
    if (body.find("message_reference") && among(kNoReply, answer)) {  // better without than not at all
        body.erase("message_reference");
        answer = api_.send("POST", path, body);
    }
    // Of a line that may be lost nobody asks again: it would stand there for ever.
    if (piece.key.empty() && std::string_view(answer.failure.kind) == "unknown" && !answer.ok())
        answer = api_.send("POST", path, body);
    return done_of(answer);
}

Poster::Done DiscordPoster::edit(const Where& where, const std::string& platform, const Piece& piece) {
    if (!discord_id(platform)) return post(where, piece);
    const json::Value body = json::Value::object(
        {{"content", piece.text}, {"allowed_mentions", nobody()}, {"flags", kWithoutPreviews}, {"components", components_of(piece)}});
    const DiscordAnswer answer = api_.send("PATCH", messages_of(where.conversation) + "/" + platform, body);
    return among(kNoEdit, answer) ? post(where, piece) : done_of(answer, platform);
}

Poster::Done DiscordPoster::post_file(const Where& where, const Piece& piece, const File& file) {
    Multipart form;
    json::Value body = message_of(piece);
    body.set("attachments", json::Value::array({json::Value::object({{"id", 0}, {"filename", file.name}})}));
    form.field("payload_json", json::dump(body));
    form.file("files[0]", file.name, file.mime.empty() ? "application/octet-stream" : file.mime);
    form.body() += file.bytes;
    const std::string type = form.content_type();
    return done_of(api_.send_form(messages_of(where.conversation), type, form.finish()));
}

Poster::Done DiscordPoster::show_typing(const Where& where) {
    const DiscordAnswer answer = api_.send("POST", "/channels/" + where.conversation + "/typing", json::Value::object());
    return {.ok = answer.ok(), .failure = answer.failure};
}

}  // namespace peacrab
