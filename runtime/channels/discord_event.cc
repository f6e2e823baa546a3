// Strangers wrote the texts and names, and a server that is not Discord's may have made up the rest: every text is
// bounded before it is looked at. Names that stand in a text as numbers are written out, so that the agent reads what
// people see; a name is never read back.
#include "channels/discord_event.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "channels/discord_api.h"
#include "channels/event_parts.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMaxText = size_t{64} << 10;
constexpr size_t kMaxQuote = 500;
constexpr size_t kMostFiles = 20;
constexpr size_t kMostNames = 100;
constexpr size_t kMostOptions = 12;
constexpr uint64_t kEpochMs = 1'420'070'400'000;

const std::vector<json::Value>& list(const json::Value& of, std::string_view key) {
    static const std::vector<json::Value> none;
    const json::Value& found = part(of, key);
    return found.is_array() ? found.items() : none;
}

std::string first_of(std::initializer_list<std::string> names) {
    for (const std::string& name : names)
        if (!name.empty()) return name_of(name);
    return {};
}

bool names_us(const json::Value& message, const DiscordSelf& self) {
    const std::vector<json::Value>& users = list(message, "mentions");
    return std::any_of(users.begin(), users.end(), [&](const json::Value& user) { return user.text("id") == self.id; });
}

// "<@1>", "<@!1>" of somebody: how long it is, and who; 0: something else stands there.
size_t mark_of(std::string_view text, size_t at, std::string_view& id) {
    if (!text.substr(at).starts_with("<@")) return 0;
    const size_t begin = at + 2 + (text.substr(at + 2).starts_with("!") ? 1 : 0);
    const size_t end = std::min(text.find_first_not_of("0123456789", begin), text.size());
    if (end == begin || end == text.size() || text[end] != '>') return 0;
    id = text.substr(begin, end - begin);
    return end + 1 - at;
}

std::string name_in(const json::Value& message, std::string_view id) {
    size_t seen = 0;
    for (const json::Value& user : list(message, "mentions")) {
        if (++seen > kMostNames) break;
        if (user.text("id") != id) continue;
        return first_of({part(user, "member").text("nick"), user.text("global_name"), user.text("username")});
    }
    return {};
}

// ":name:" of "<:name:1>" or "<a:name:1>", which is a small picture.
size_t picture_of(std::string_view text, size_t at, std::string& shown) {
    const size_t name = text.substr(at).starts_with("<a:") ? at + 2 : at + 1;
    if (name >= text.size() || text[name] != ':') return 0;
    const size_t colon = text.find(':', name + 1), end = text.find('>', at);
    if (colon == std::string_view::npos || end == std::string_view::npos || colon > end || colon == name + 1 || end - at > 100)
        return 0;
    if (text.substr(colon + 1, end - colon - 1).find_first_not_of("0123456789") != std::string_view::npos) return 0;
    shown = text.substr(name, colon + 1 - name);
    return end + 1 - at;
}

// As people see it, without our name in front.
std::string text_in(const json::Value& message, const DiscordSelf& self) {
    const std::string said = bounded(message.text("content"), kMaxText);
    std::string text;
    for (size_t at = 0; at < said.size() && text.size() < kMaxText;) {
        std::string_view id;
        std::string shown;
        const size_t mark = said[at] == '<' ? mark_of(said, at, id) : 0;
        const size_t picture = said[at] == '<' && mark == 0 ? picture_of(said, at, shown) : 0;
        if (mark > 0 && id == self.id && text.empty()) {
            at = std::min(said.find_first_not_of(" ,:\n", at + mark), said.size());
            continue;
        }
        if (mark > 0) {
            const std::string name = name_in(message, id);
            shown = name.empty() ? said.substr(at, mark) : "@" + name;
        }
        if (mark == 0 && picture == 0) shown = said[at];
        text += shown;
        at += std::max<size_t>(mark + picture, 1);
    }
    return bounded(text, kMaxText);
}

// What is found by these three: its address is good for a day only, and asked for when it is wanted.
json::Value file_of(const json::Value& item, const json::Value& message) {
    json::Value file = json::Value::object({{"name", name_of(item.text("filename", "file"))},
                                            {"mime", name_of(item.text("content_type", "application/octet-stream"))}});
    file.set("size", std::clamp<int64_t>(item.integer("size"), 0, int64_t{1} << 40));
    const std::string id = item.text("id");
    if (discord_id(id) && discord_id(message.text("channel_id")) && discord_id(message.text("id")))
        file.set("handle", message.text("channel_id") + "/" + message.text("id") + "/" + id);
    else
        file.set("note", "it has no address");
    if (item.find("duration_secs") && item.find("waveform")) file.set("voice", true);
    return file;
}

json::Value files_of(const json::Value& message, const json::Value& of) {
    json::Value files = json::Value::array();
    for (const json::Value& item : list(of, "attachments"))
        if (files.items().size() < kMostFiles && item.is_object()) files.push(file_of(item, message));
    return files;
}

// What has no text.
std::string other_kind(const json::Value& message) {
    std::string text;
    for (const json::Value& sticker : list(message, "sticker_items"))
        if (text.size() < kMaxQuote) text += "[sticker " + name_of(sticker.text("name")) + "]";
    const json::Value& poll = part(message, "poll");
    if (!poll.is_object()) return text;
    text += "[poll: " + bounded(part(poll, "question").text("text"), kMaxQuote);
    size_t seen = 0;
    for (const json::Value& answer : list(poll, "answers"))
        if (seen++ < kMostOptions) text += "\n- " + name_of(part(answer, "poll_media").text("text"));
    return text + "]";
}

// Somebody's words that were said elsewhere.
const json::Value& forwarded(const json::Value& message) {
    static const json::Value none;
    const std::vector<json::Value>& snapshots = list(message, "message_snapshots");
    return snapshots.empty() ? none : part(snapshots[0], "message");
}

std::string words_of(const json::Value& message, const DiscordSelf& self) {
    const json::Value& of = forwarded(message);
    std::string text = text_in(of.is_object() ? of : message, self);
    if (text.empty()) text = other_kind(of.is_object() ? of : message);
    return of.is_object() ? bounded("[forwarded]\n" + text, kMaxText) : text;
}

bool said_by_somebody(const json::Value& message) {
    constexpr int64_t kSaid[] = {0, 19, 20, 23};  // said, in answer, by a command of some bot
    const int64_t kind = message.integer("type", -1);
    return std::find(std::begin(kSaid), std::end(kSaid), kind) != std::end(kSaid);
}

[[gnu::noinline]] void put(json::Value& object, const char* key, std::string text) {
    object.set(key, std::move(text));
}

int64_t milliseconds(const std::string& id) {
    return static_cast<int64_t>((discord_id(id).value_or(0) >> 22) + kEpochMs);
}

}  // namespace

std::optional<json::Value> read_discord_message(const json::Value& message, const DiscordPlace& place,
                                                const DiscordSelf& self) {
    const json::Value& author = part(message, "author");
    const std::string id = message.text("id"), channel = message.text("channel_id"), writer = author.text("id");
    if (!discord_id(id) || !discord_id(channel) || !discord_id(writer)) return std::nullopt;
    if (writer == self.id || !said_by_somebody(message)) return std::nullopt;
    const json::Value& of = forwarded(message);
    json::Value files = files_of(message, of.is_object() ? of : message);
    const std::string text = words_of(message, self);
    const json::Value& reply = part(message, "referenced_message");
    const bool own_reply = part(reply, "author").text("id") == self.id;
    const bool named = names_us(message, self);
    if (text.empty() && files.items().empty() && !named) return std::nullopt;
    json::Value event;
    put(event, "key", id);
    put(event, "kind", "message");
    put(event, "conversation", channel);
    put(event, "scope", place.direct ? "direct" : "group");
    put(event, "id", id);
    put(event, "sender", writer);
    const std::string nick = part(message, "member").text("nick");
    put(event, "name", first_of({nick, author.text("global_name"), author.text("username")}));
    event.set("addressed", place.direct || named || own_reply);
    put(event, "text", text);
    event.set("at", milliseconds(id));
    if (author.flag("bot") || author.flag("system") || message.find("webhook_id")) event.set("bot", true);
    if (!place.direct && !place.title.empty()) put(event, "title", place.title);
    if (reply.is_object() && discord_id(reply.text("id"))) {
        json::Value to;
        put(to, "id", reply.text("id"));
        put(to, "text", bounded(words_of(reply, self), kMaxQuote));
        to.set("own", own_reply);
        event.set("reply_to", std::move(to));
    }
    if (!files.items().empty()) event.set("files", std::move(files));
    return event;
}

std::optional<json::Value> read_discord_edit(const json::Value& message, const DiscordPlace& place,
                                             const DiscordSelf& self) {
    const std::string edited = message.text("edited_timestamp");
    if (edited.empty() || edited.size() > 64 || !message.find("content")) return std::nullopt;
    std::optional<json::Value> event = read_discord_message(message, place, self);
    if (!event) return std::nullopt;
    event->set("kind", "edit");
    event->set("key", message.text("id") + " " + name_of(edited));
    return event;
}

// Source: https://docs.discord.com/developers/interactions/receiving-and-responding.
std::optional<json::Value> read_discord_press(const json::Value& interaction, const DiscordPlace& place, const DiscordSelf& self) {
    constexpr int64_t kComponent = 3, kButton = 2;
    const json::Value& message = part(interaction, "message");
    const json::Value& member = part(interaction, "member");
    const json::Value& user = part(member.is_object() ? member : interaction, "user");
    const std::string id = interaction.text("id"), channel = interaction.text("channel_id"), value = part(interaction, "data").text("custom_id");
    if (interaction.integer("type") != kComponent || part(interaction, "data").integer("component_type") != kButton) return std::nullopt;
    if (!discord_id(id) || !discord_id(channel) || !discord_id(message.text("id")) || !discord_id(user.text("id"))) return std::nullopt;
    if (part(message, "author").text("id") != self.id || value.empty() || value.size() > 64) return std::nullopt;
    json::Value event;
    put(event, "key", "press " + id);
    put(event, "kind", "press");
    put(event, "conversation", channel);
    put(event, "scope", place.direct ? "direct" : "group");
    put(event, "id", message.text("id"));
    put(event, "sender", user.text("id"));
    put(event, "name", first_of({member.text("nick"), user.text("global_name"), user.text("username")}));
    put(event, "value", value);
    event.set("at", milliseconds(id));
    if (user.flag("bot") || user.flag("system")) event.set("bot", true);
    if (!place.direct && !place.title.empty()) put(event, "title", place.title);
    return event;
}

std::string discord_press_answer(const json::Value& interaction) {
    const std::string id = interaction.text("id"), token = interaction.text("token");
    const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("-_.=", c); };
    if (!discord_id(id) || token.empty() || token.size() > 1000 || !std::all_of(token.begin(), token.end(), plain)) return {};
    return "/interactions/" + id + "/" + token + "/callback";
}

std::string discord_file_url(const json::Value& message, std::string_view id) {
    const json::Value& of = forwarded(message);
    for (const json::Value& item : list(of.is_object() ? of : message, "attachments"))
        if (item.text("id") == id) return item.text("url");
    return {};
}

}  // namespace peacrab
