// An update is hostile twice: strangers wrote its texts and names, and a server that is not Telegram's may have made
// up the rest. Every text is bounded before it is looked at, and places in it, which Telegram counts in units of
// UTF-16, are looked up and never trusted. An update that cannot be read is left out: asked for again it would be no
// better, and what comes after it would wait for ever.
#include "channels/telegram_update.h"

#include <algorithm>
#include <set>

#include "channels/event_parts.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMostUpdates = 100;
constexpr size_t kMaxText = size_t{64} << 10;
constexpr size_t kMaxName = 200;
constexpr size_t kMaxQuote = 500;
constexpr size_t kMaxLink = 2000;
constexpr size_t kMostEntities = 100;
constexpr size_t kMostFiles = 20;
constexpr size_t kMostOptions = 12;
constexpr int64_t kMostFetched = 20'000'000;  // bytes of a file that a bot is given
constexpr size_t kMaxFileId = 512;

// Where in `text` the unit of UTF-16 with that number is; its end when it is beyond.
size_t place_of(std::string_view text, int64_t unit) {
    size_t at = 0;
    for (int64_t seen = 0; at < text.size() && seen < unit;) {
        const size_t length = std::max<size_t>(utf8_length(text.substr(at)), 1);
        seen += length == 4 ? 2 : 1;
        at += length;
    }
    return at;
}

struct Entity {
    std::string kind;
    size_t begin, end;  // in bytes
    const json::Value* value;
};

std::vector<Entity> entities_of(const json::Value& list, const std::string& text) {
    std::vector<Entity> entities;
    if (!list.is_array()) return entities;
    for (const json::Value& item : list.items()) {
        if (entities.size() == kMostEntities) break;
        const int64_t offset = item.integer("offset", -1), length = item.integer("length", -1);
        if (offset < 0 || length < 0 || offset > int64_t{1} << 20 || length > int64_t{1} << 20) continue;
        entities.push_back(
            {item.text("type"), place_of(text, offset), place_of(text, offset + length), &item});
    }
    return entities;
}

// What somebody wrote, and whether our name is in it.
struct Said {
    std::string text;
    bool named = false;
    bool other_named = false;  // a command for another bot
};

// From behind, so that the places before stay right.
void add_links(std::string& text, const std::vector<Entity>& entities) {
    size_t before = text.size();
    for (size_t i = entities.size(); i-- > 0;) {
        const std::string link = entities[i].kind == "text_link" ? entities[i].value->text("url") : std::string();
        if (link.empty() || entities[i].end > before || text.size() > kMaxText) continue;
        before = entities[i].end;
        text.insert(before, " (" + bounded(link, kMaxLink) + ")");
    }
}

Said said_in(const json::Value& message, const TelegramSelf& self) {
    const bool plain = part(message, "text").is_string();
    Said said{bounded(message.text(plain ? "text" : "caption"), kMaxText)};
    const std::vector<Entity> entities =
        entities_of(part(message, plain ? "entities" : "caption_entities"), said.text);
    const std::string us = "@" + lower(self.name);
    size_t cut_from = 0, cut_to = 0;  // our name in front
    for (const Entity& entity : entities) {
        const std::string word = lower(said.text.substr(entity.begin, entity.end - entity.begin));
        const bool mention = (entity.kind == "mention" && word == us) ||
                             (entity.kind == "text_mention" && part(*entity.value, "user").integer("id") == self.id);
        const size_t at = entity.kind == "bot_command" ? word.find('@') : std::string::npos;
        const bool command = at != std::string::npos && word.substr(at) == us;
        said.named |= mention || command;
        said.other_named |= at != std::string::npos && !command;
        if (entity.begin == 0 && (mention || command)) {
            cut_from = mention ? 0 : at;
            cut_to = entity.end;
        }
    }
    add_links(said.text, entities);
    if (cut_from == 0 && cut_to > 0) cut_to = std::min(said.text.find_first_not_of(" ,:\n", cut_to), said.text.size());
    said.text.erase(cut_from, cut_to - cut_from);
    said.text = bounded(said.text, kMaxText);
    return said;
}

json::Value file_of(const json::Value& item, const std::string& name, const std::string& mime) {
    json::Value file = json::Value::object({{"name", name_of(item.text("file_name", name))},
                                            {"mime", name_of(item.text("mime_type", mime))}});
    const int64_t size = std::max<int64_t>(item.integer("file_size"), 0);
    file.set("size", size);
    const std::string id = item.text("file_id");
    if (size > kMostFetched) file.set("note", "Telegram gives bots no file of more than 20 MB");
    else if (id.empty() || id.size() > kMaxFileId) file.set("note", "Telegram did not say how to get it");
    else file.set("handle", id);
    return file;
}

json::Value files_of(const json::Value& message) {
    struct Row {
        const char* key;
        const char* name;
        const char* mime;
    };
    constexpr Row kRows[] = {{"animation", "animation.mp4", "video/mp4"}, {"audio", "audio.mp3", "audio/mpeg"},
                             {"document", "file", "application/octet-stream"},
                             {"video", "video.mp4", "video/mp4"}, {"video_note", "video.mp4", "video/mp4"},
                             {"voice", "voice.ogg", "audio/ogg"}};
    json::Value files = json::Value::array();
    if (const json::Value& sizes = part(message, "photo"); sizes.is_array() && !sizes.items().empty())
        files.push(file_of(sizes.items().back(), "photo.jpg", "image/jpeg"));  // the largest stands last
    for (const Row& row : kRows) {
        if (!part(message, row.key).is_object()) continue;
        files.push(file_of(part(message, row.key), row.name, row.mime));
        if (row.key == std::string_view("voice")) files.items().back().set("voice", true);
        if (row.key == kRows[0].key) break;  // an animation stands there as a document too
    }
    return files;
}

std::string number(const json::Value& value) {
    return value.kind() == json::Value::Kind::Real || value.is_integer() ? json::dump(value) : "?";
}

// What has neither text nor a file.
std::string other_kind(const json::Value& message) {
    if (const json::Value& sticker = part(message, "sticker"); sticker.is_object())
        return "[sticker " + bounded(sticker.text("emoji"), 40) + "]";
    if (const json::Value& at = part(message, "location"); at.is_object())
        return "[location: " + number(part(at, "latitude")) + ", " + number(part(at, "longitude")) +
               (part(message, "venue").is_object() ? ", " + name_of(part(message, "venue").text("title")) : "") + "]";
    if (const json::Value& contact = part(message, "contact"); contact.is_object())
        return "[contact: " + name_of(contact.text("first_name") + " " + contact.text("last_name")) + ", " +
               name_of(contact.text("phone_number")) + "]";
    if (const json::Value& dice = part(message, "dice"); dice.is_object())
        return "[dice " + bounded(dice.text("emoji"), 40) + ": " + number(part(dice, "value")) + "]";
    if (const json::Value& poll = part(message, "poll"); poll.is_object()) {
        std::string text = "[poll: " + bounded(poll.text("question"), kMaxQuote);
        const json::Value& options = part(poll, "options");
        for (size_t i = 0; options.is_array() && i < std::min(options.items().size(), kMostOptions); ++i)
            text += "\n- " + name_of(options.items()[i].text("text"));
        return text + "]";
    }
    return {};
}

// What Telegram tells of a chat, and nobody said.
bool is_service(const json::Value& message) {
    constexpr const char* kService[] = {"new_chat_members", "left_chat_member", "pinned_message", "chat_background_set",
                                        "message_auto_delete_timer_changed", "write_access_allowed",
                                        "connected_website", "forum_topic_created", "forum_topic_edited"};
    return std::any_of(std::begin(kService), std::end(kService), [&](const char* key) { return message.find(key); });
}

json::Value reply_of(const json::Value& message, const TelegramSelf& self) {
    const json::Value& to = part(message, "reply_to_message");
    // In a topic every message answers the one that made the topic.
    if (!to.is_object() || to.find("forum_topic_created")) return {};
    std::string text = part(message, "quote").text("text");
    if (text.empty()) text = said_in(to, self).text;
    if (text.empty()) text = other_kind(to);
    return json::Value::object({{"id", std::to_string(to.integer("message_id"))},
                                {"text", bounded(text, kMaxQuote)},
                                {"own", part(to, "from").integer("id") == self.id}});
}

struct Writer {
    std::string id;
    std::string name;
    bool bot = false;
};

// A chat that writes under its own name (a channel, admins who hide) is its own sender: who is behind it is unknown.
Writer writer_of(const json::Value& message) {
    const json::Value& from = part(message, "from");
    const json::Value& chat = part(message, "sender_chat");
    if (chat.is_object())
        return {std::to_string(chat.integer("id")), name_of(chat.text("title")),
                message.flag("is_automatic_forward")};
    const std::string last = from.text("last_name");
    return {std::to_string(from.integer("id")), name_of(from.text("first_name") + (last.empty() ? "" : " ") + last),
            from.flag("is_bot") || part(message, "via_bot").is_object()};
}

// Whose words they are, when they are not the sender's.
std::string forwarded_from(const json::Value& message) {
    const json::Value& origin = part(message, "forward_origin");
    if (!origin.is_object()) return {};
    std::string name = part(origin, "sender_user").text("first_name");
    if (name.empty()) name = origin.text("sender_user_name");
    if (name.empty()) name = part(origin, "sender_chat").text("title");
    if (name.empty()) name = part(origin, "chat").text("title");
    return "[forwarded from " + (name.empty() ? "somebody" : name_of(name)) + "]\n";
}

std::string text_of(const json::Value& message, const Said& said, bool has_files, bool direct) {
    std::string text = said.text.empty() ? other_kind(message) : said.text;
    if (text.empty() && !has_files && direct && !is_service(message) && !part(message, "text").is_string())
        text = "[a message of a kind that cannot be shown here]";
    if (text.empty() && !has_files) return text;
    return bounded(forwarded_from(message) + text, kMaxText);
}

// A button below a message of ours, which Telegram may not know itself any more but for its number.
std::optional<json::Value> press_of(const json::Value& update, const TelegramSelf& self) {
    const json::Value& query = part(update, "callback_query");
    const json::Value& message = part(query, "message");
    const json::Value& chat = part(message, "chat");
    const Writer writer = writer_of(query);
    const std::string value = query.text("data");
    const bool direct = chat.text("type") == "private", ours = part(message, "from").integer("id") == self.id || message.integer("date", -1) == 0;
    if (!chat.integer("id") || !ours || message.integer("message_id") <= 0 || writer.id == "0" || value.empty() || value.size() > 64)
        return std::nullopt;
    json::Value event = json::Value::object({
        {"key", std::to_string(update.integer("update_id"))},
        {"kind", "press"},
        {"conversation", std::to_string(chat.integer("id"))},
        {"scope", direct ? "direct" : "group"},
        {"id", std::to_string(message.integer("message_id"))},
        {"sender", writer.id},
        {"name", writer.name},
        {"value", value},
    });
    if (message.flag("is_topic_message")) event.set("thread", std::to_string(message.integer("message_thread_id")));
    if (writer.bot) event.set("bot", true);
    if (!direct) event.set("title", name_of(chat.text("title")));
    return event;
}

// Nothing: it is not for us.
std::optional<json::Value> event_of(const json::Value& update, const TelegramSelf& self) {
    if (part(update, "callback_query").is_object()) return press_of(update, self);
    const bool edit = part(update, "edited_message").is_object();
    const json::Value& message = part(update, edit ? "edited_message" : "message");
    const json::Value& chat = part(message, "chat");
    const Writer writer = writer_of(message);
    const int64_t place = chat.integer("id");
    if (!place || writer.id == "0" || writer.id == std::to_string(self.id)) return std::nullopt;
    const bool direct = chat.text("type") == "private";
    const Said said = said_in(message, self);
    json::Value files = files_of(message);
    const bool has_files = !files.items().empty();
    const std::string text = text_of(message, said, has_files, direct);
    if (text.empty() && !has_files && !(said.named && !is_service(message))) return std::nullopt;
    const json::Value reply = reply_of(message, self);
    json::Value event = json::Value::object({
        {"key", std::to_string(update.integer("update_id"))},
        {"kind", edit ? "edit" : "message"},
        {"conversation", std::to_string(place)},
        {"scope", direct ? "direct" : "group"},
        {"id", std::to_string(message.integer("message_id"))},
        {"sender", writer.id},
        {"name", writer.name},
        {"addressed", direct || said.named || (reply.flag("own") && !said.other_named)},
        {"text", text},
        {"at", std::clamp<int64_t>(message.integer(edit ? "edit_date" : "date"), 0, int64_t{1} << 40) * 1000},
    });
    // Elsewhere the number is that of the message a thread of replies began with, and nothing can be sent to it.
    if (message.flag("is_topic_message"))
        event.set("thread", std::to_string(message.integer("message_thread_id")));
    if (writer.bot) event.set("bot", true);
    if (!direct) event.set("title", name_of(chat.text("title")));
    if (reply.is_object()) event.set("reply_to", reply);
    if (has_files) event.set("files", std::move(files));
    return event;
}

std::string album_of(const json::Value& update) {
    const json::Value& message = part(update, "message");
    const std::string group = bounded(message.text("media_group_id"), kMaxName);
    return group.empty() ? group : std::to_string(part(message, "chat").integer("id")) + "/" + group;
}

void join(json::Value& album, json::Value& more) {
    if (album.text("text").empty()) album.set("text", more.text("text"));
    if (more.flag("addressed")) album.set("addressed", true);
    json::Value* const files = album.find("files");
    json::Value* const added = more.find("files");
    if (!files || !added) return;
    for (json::Value& file : added->items())
        if (files->items().size() < kMostFiles) files->push(std::move(file));
}

// An update without one that can be counted on is none.
std::optional<int64_t> id_of(const json::Value& update) {
    const json::Value* const id = update.find("update_id");
    if (!id || !id->is_integer() || id->as_integer() < 0 || id->as_integer() == INT64_MAX) return std::nullopt;
    return id->as_integer();
}

}  // namespace

std::vector<Arrived> read_telegram_updates(const std::vector<json::Value>& updates, const TelegramSelf& self) {
    std::vector<Arrived> arrived;
    std::vector<std::pair<std::string, size_t>> albums;
    std::set<int64_t> seen;
    for (const json::Value& update : updates) {
        if (seen.size() == kMostUpdates) break;
        const std::optional<int64_t> id = id_of(update);
        if (!id || !seen.insert(*id).second) continue;
        try {
            std::optional<json::Value> event = event_of(update, self);
            if (!event) continue;
            const std::string album = album_of(update);
            const auto same = std::find_if(albums.begin(), albums.end(),
                                           [&](const auto& one) { return one.first == album; });
            if (same != albums.end()) {
                join(arrived[same->second].event, *event);
                continue;
            }
            if (!album.empty()) albums.emplace_back(album, arrived.size());
            arrived.push_back({std::move(*event), std::to_string(*seen.rbegin() + 1)});
        } catch (const Error& error) {
            log(LogLevel::Error, "telegram: an update was left out: " + std::string(error.what()));
        }
    }
    return arrived;
}

std::vector<std::string> telegram_presses(const std::vector<json::Value>& updates) {
    std::vector<std::string> ids;
    for (const json::Value& update : updates) {
        const std::string id = part(update, "callback_query").text("id");
        if (!id.empty() && id.size() <= 64 && ids.size() < kMostUpdates) ids.push_back(id);
    }
    return ids;
}

std::optional<int64_t> telegram_cursor(const std::vector<json::Value>& updates) {
    std::optional<int64_t> next;
    size_t count = 0;
    for (const json::Value& update : updates) {
        if (count++ == kMostUpdates) break;
        if (const std::optional<int64_t> id = id_of(update)) next = std::max(next.value_or(0), *id + 1);
    }
    return next;
}

std::string open_telegram_album(const std::vector<json::Value>& updates) {
    return updates.empty() ? std::string() : album_of(updates.back());
}

}  // namespace peacrab
