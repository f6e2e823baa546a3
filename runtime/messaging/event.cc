// The keys of an event and of `limits` stand here and in channels/README.md. Must not know what becomes of them.
#include "messaging/event.h"

#include <algorithm>
#include <array>

#include "channels/turn_view.h"
#include "error.h"

namespace peacrab {
namespace {

void known(const json::Value& value, std::initializer_list<std::string_view> keys) {
    if (!value.is_object()) throw Error("channel: an object was expected");
    for (const json::Member& member : value.members())
        if (std::find(keys.begin(), keys.end(), member.first) == keys.end())
            throw Error("channel: unknown key " + member.first.substr(0, 40));
}

std::string text_of(const json::Value& value, const char* key, size_t most) {
    const json::Value* const found = value.find(key);
    if (!found) return {};
    if (!found->is_string()) throw Error(std::string("channel: ") + key + ": a text was expected");
    if (found->as_string().size() > most) throw Error(std::string("channel: ") + key + ": too long");
    return found->as_string();
}

std::string needed(const json::Value& value, const char* key) {
    const std::string text = text_of(value, key, kMaxEventId);
    if (text.empty()) throw Error(std::string("channel: ") + key + ": missing");
    return text;
}

bool flag_of(const json::Value& value, const char* key, bool otherwise) {
    const json::Value* const found = value.find(key);
    if (!found) return otherwise;
    if (!found->is_bool()) throw Error(std::string("channel: ") + key + ": true or false was expected");
    return found->as_bool();
}

int64_t number_of(const json::Value& value, const char* key, int64_t most) {
    const json::Value* const found = value.find(key);
    if (!found) return 0;
    if (!found->is_integer()) throw Error(std::string("channel: ") + key + ": a number was expected");
    const int64_t number = found->as_integer();
    if (number < 0 || number > most) throw Error(std::string("channel: ") + key + ": out of range");
    return number;
}

EventFile read_file(const json::Value& value) {
    known(value, {"name", "mime", "size", "note", "handle", "voice"});
    EventFile file;
    file.name = text_of(value, "name", kMaxEventName);
    file.mime = text_of(value, "mime", kMaxEventName);
    file.note = text_of(value, "note", kMaxEventName);
    file.handle = text_of(value, "handle", kMaxEventHandle);
    file.size = number_of(value, "size", int64_t{1} << 40);
    file.voice = flag_of(value, "voice", false);
    return file;
}

void read_reply(const json::Value& reply, Event& event) {
    known(reply, {"id", "text", "own"});
    event.reply_id = text_of(reply, "id", kMaxEventId);
    event.reply_text = text_of(reply, "text", 4096);
    event.reply_own = flag_of(reply, "own", false);
}

// Bytes of what ends a line at the front, for whoever reads it: Unicode 5.8, and what Python splits at.
size_t line_end(std::string_view text) {
    for (const std::string_view end : {"\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
        if (text.starts_with(end)) return end.size();
    return 0;
}

}  // namespace

std::string indented(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const size_t end = line_end(text);
        if (end > 0) out += "\n    ";
        else out += text[0];
        text.remove_prefix(std::max<size_t>(end, 1));
    }
    return out;
}

std::string in_words(const EventFile& file) {
    std::string words = one_line(file.name, 200) + ", " + one_line(file.mime, 100) + ", " + std::to_string(file.size) + " bytes";
    if (!file.note.empty()) words += ": " + one_line(file.note, 300);
    return words;
}

Event read_event(const json::Value& value) {
    known(value, {"key", "kind", "conversation", "scope", "thread", "id", "sender", "name", "own", "bot", "unproven", "addressed",
                  "text", "title", "at", "reply_to", "files", "value"});
    Event event;
    event.key = needed(value, "key");
    const std::string kind = needed(value, "kind"), scope = needed(value, "scope");
    if (kind != "message" && kind != "edit" && kind != "press") throw Error("channel: unknown kind " + kind.substr(0, 40));
    if (scope != "direct" && scope != "group") throw Error("channel: unknown scope " + scope.substr(0, 40));
    event.kind = kind == "edit" ? Event::Kind::Edit : kind == "press" ? Event::Kind::Press : Event::Kind::Message;
    const bool press = event.kind == Event::Kind::Press;
    event.group = scope == "group";
    event.conversation = needed(value, "conversation");
    event.thread = text_of(value, "thread", kMaxEventId);
    event.id = needed(value, "id");
    event.sender = needed(value, "sender");
    event.name = text_of(value, "name", kMaxEventName);
    event.title = text_of(value, "title", kMaxEventName);
    event.own = flag_of(value, "own", false);
    event.bot = flag_of(value, "bot", false);
    event.unproven = flag_of(value, "unproven", false);
    event.addressed = flag_of(value, "addressed", false) || !event.group || press;
    event.text = json::valid_utf8(text_of(value, "text", kMaxEventText));
    event.value = text_of(value, "value", kMaxEventValue);
    if (press == event.value.empty() || (press && (!event.text.empty() || value.find("files"))))
        throw Error("channel: value: of a press and nothing else");
    event.at = number_of(value, "at", int64_t{1} << 53);
    if (const json::Value* const reply = value.find("reply_to")) read_reply(*reply, event);
    if (const json::Value* const files = value.find("files")) {
        if (!files->is_array() || files->items().size() > kMaxEventFiles)
            throw Error("channel: files: at most 32 were expected");
        for (const json::Value& file : files->items()) event.files.push_back(read_file(file));
    }
    return event;
}

ChannelLimits read_limits(const json::Value& value) {
    known(value, {"edits", "edits_group", "typing", "dedupe", "files", "text", "buttons"});
    constexpr int64_t kHour = 3'600'000;
    ChannelLimits limits;
    limits.edits = number_of(value, "edits", kHour);
    limits.edits_group = std::max(limits.edits, number_of(value, "edits_group", kHour));
    limits.typing = number_of(value, "typing", kHour);
    limits.files = number_of(value, "files", int64_t{1} << 40);
    limits.text = number_of(value, "text", int64_t{1} << 30);
    limits.buttons = number_of(value, "buttons", 100);
    const std::string dedupe = text_of(value, "dedupe", 16);
    if (dedupe == "key") limits.dedupe = ChannelLimits::Dedupe::Key;
    else if (dedupe == "lookup") limits.dedupe = ChannelLimits::Dedupe::Lookup;
    else if (dedupe != "none") throw Error("channel: dedupe: key, lookup or none was expected");
    return limits;
}

}  // namespace peacrab
