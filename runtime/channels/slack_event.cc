// All of it was made up by strangers and Slack together: everything is bounded, and a member that is missing or of
// another kind is as if it were empty.
#include "channels/slack_event.h"

#include <algorithm>

#include "channels/event_parts.h"
#include "channels/slack_api.h"

namespace peacrab {
namespace {

constexpr size_t kMaxText = size_t{64} << 10;
constexpr size_t kMaxName = 200;
constexpr size_t kMaxLink = 2000;
constexpr size_t kMaxHandle = 4096;
constexpr size_t kMostFiles = 20;
constexpr size_t kMostShared = 5;
constexpr size_t kMostIds = 8;

void put(json::Value& into, const char* key, std::string_view text) { into.set(key, text); }

bool is_id(std::string_view text) {
    return text.size() > 1 && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    });
}

std::string named(const SlackNames& names, const std::string& id) {
    const auto found = names.find(id);
    return found == names.end() ? id : found->second;
}

void append_decoded(std::string& out, std::string_view text) {
    constexpr std::pair<std::string_view, char> kEntities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}};
    while (!text.empty()) {
        const auto entity = std::find_if(std::begin(kEntities), std::end(kEntities),
                                         [&](const auto& each) { return text.starts_with(each.first); });
        const bool is_one = entity != std::end(kEntities);
        out += is_one ? entity->second : text[0];
        text.remove_prefix(is_one ? entity->first.size() : 1);
    }
}

std::string decoded(std::string_view text) {
    std::string out;
    append_decoded(out, text);
    return out;
}

// What stands between < and >.
std::string reference(std::string_view inner, const SlackNames& names) {
    const size_t bar = inner.find('|');
    const std::string_view target = inner.substr(0, bar);
    const std::string label = bar == std::string_view::npos ? "" : decoded(inner.substr(bar + 1));
    if (target.starts_with('@')) {
        const std::string id(target.substr(1));
        const std::string name = named(names, id);
        return "@" + (name == id && !label.empty() ? label : name);
    }
    if (target.starts_with('#')) {
        const std::string id(target.substr(1));
        return !label.empty() ? "#" + label : names.contains(id) ? named(names, id) : "#" + id;
    }
    if (target.starts_with('!')) {  // <!here>, <!subteam^S1|@them>, <!date^…|then>
        if (!label.empty()) return label;
        return "@" + decoded(target.substr(1, target.find('^') == std::string_view::npos ? kMaxName : target.find('^') - 1));
    }
    const std::string address = bounded(decoded(target), kMaxLink);
    const std::string bare = address.starts_with("mailto:") ? address.substr(7) : address;
    if (label.empty() || label == address || label == bare || "http://" + label == address) return bare;
    return label + " (" + bare + ")";
}

// Where a mention of `user` stands in a raw text, and behind it.
struct Mention {
    size_t begin = std::string::npos, end = 0;
    bool found() const { return begin != std::string::npos; }
};

Mention mention_of(const std::string& raw, const std::string& user) {
    for (const char* behind : {">", "|"}) {
        const std::string begin = "<@" + user + behind;
        const size_t at = raw.find(begin);
        if (at == std::string::npos) continue;
        const size_t end = raw.find('>', at);
        if (end != std::string::npos) return {at, end + 1};
    }
    return {};
}

// A message that somebody has passed on stands in a message of their own.
std::string shared(const json::Value& message, const SlackNames& names) {
    const json::Value& list = part(message, "attachments");
    std::string out;
    for (size_t i = 0; list.is_array() && i < std::min(list.items().size(), kMostShared); ++i) {
        const json::Value& one = list.items()[i];
        if (!one.flag("is_share") && !one.flag("is_msg_unfurl")) continue;
        const std::string who = one.text("author_name").empty() ? "somebody" : name_of(one.text("author_name"));
        const std::string text = one.text("text").empty() ? one.text("fallback") : one.text("text");
        out += "\n[forwarded from " + who + "]\n" + slack_plain(bounded(text, kMaxText), names);
    }
    return out;
}

json::Value file_of(const json::Value& item) {
    json::Value file = json::Value::object();
    put(file, "name", name_of(item.text("name", "file")));
    put(file, "mime", name_of(item.text("mimetype", "application/octet-stream")));
    file.set("size", std::clamp<int64_t>(item.integer("size"), 0, int64_t{1} << 40));
    const std::string mode = item.text("mode"), subtype = item.text("subtype");
    const std::string address = item.text("url_private_download", item.text("url_private"));
    if (subtype == "slack_audio") file.set("voice", true);
    const bool elsewhere = mode == "external" || item.flag("is_external");
    const std::string note = mode == "tombstone"         ? "it was deleted"
                             : mode == "hidden_by_limit" ? "Slack shows it no more: the workspace has too many files"
                             : elsewhere                 ? "it lies elsewhere: " + bounded(address, 200)
                             : address.empty() || address.size() > kMaxHandle ? "Slack does not say where it is"
                                                                              : "";
    put(file, note.empty() ? "handle" : "note", note.empty() ? address : note);
    return file;
}

json::Value files_of(const json::Value& message) {
    json::Value files = json::Value::array();
    const json::Value& list = part(message, "files");
    for (size_t i = 0; list.is_array() && i < std::min(list.items().size(), kMostFiles); ++i)
        if (list.items()[i].is_object()) files.push(file_of(list.items()[i]));
    return files;
}

bool is_for_people(const std::string& subtype) {
    constexpr const char* kKinds[] = {"", "file_share", "thread_broadcast", "me_message", "bot_message"};
    return std::any_of(std::begin(kKinds), std::end(kKinds), [&](const char* each) { return subtype == each; });
}

bool is_direct(const json::Value& event, const std::string& conversation) {
    const std::string type = event.text("channel_type");
    return type.empty() ? conversation.starts_with('D') : type == "im";
}

int64_t unix_ms_of(const std::string& ts) { return std::stoll(ts.substr(0, ts.find('.'))) * 1000; }

std::string_view without_blanks(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\r\n");
    return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

json::Value event_in(const std::string& channel, bool direct, const SlackNames& names) {
    json::Value out = json::Value::object();
    put(out, "conversation", channel);
    put(out, "scope", direct ? "direct" : "group");
    if (!direct) put(out, "title", name_of(named(names, channel)));
    return out;
}

struct Said {
    std::string text;
    bool named = false;
};

Said said_in(const json::Value& message, const SlackSelf& self, const SlackNames& names) {
    std::string raw = bounded(message.text("text"), kMaxText);
    const Mention mention = mention_of(raw, self.user);
    if (mention.found() && without_blanks(raw).starts_with("<@" + self.user)) {
        const size_t rest = raw.find_first_not_of(" ,:\n", mention.end);
        raw.erase(0, rest == std::string::npos ? raw.size() : rest);
    }
    std::string text = slack_plain(raw, names);
    if (message.text("subtype") == "me_message") text = "* " + text;
    text += shared(message, names);
    return {bounded(std::string(without_blanks(text)), kMaxText), mention.found()};
}

}  // namespace

std::string slack_plain(std::string_view text, const SlackNames& names) {
    std::string out;
    while (!text.empty()) {
        const size_t open = text.find('<');
        append_decoded(out, text.substr(0, open));
        if (open == std::string_view::npos) break;
        text.remove_prefix(open + 1);
        const size_t close = text.find('>');
        if (close == std::string_view::npos) {
            out += '<';
            continue;
        }
        out += reference(text.substr(0, close), names);
        text.remove_prefix(close + 1);
    }
    return bounded(out, kMaxText);
}

std::vector<std::string> slack_ids(const json::Value& event) {
    std::vector<std::string> ids;
    const auto add = [&](const std::string& id) {
        if (is_id(id) && ids.size() < kMostIds && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    };
    const json::Value& message = part(event, "message").is_object() ? part(event, "message") : event;
    add(message.text("user"));
    const std::string channel = event.text("channel");
    if (!is_direct(event, channel)) add(channel);
    const std::string text = bounded(message.text("text"), kMaxText);
    for (size_t at = 0; (at = text.find("<@", at)) != std::string::npos && ids.size() < kMostIds; at += 2)
        add(text.substr(at + 2, std::min(text.find_first_of("|>", at), at + 50) - at - 2));
    return ids;
}

std::optional<json::Value> read_slack_event(const json::Value& event, const SlackSelf& self, const SlackNames& names) {
    const std::string type = event.text("type"), outer = event.text("subtype");
    if (type != "message" && type != "app_mention") return std::nullopt;
    const bool edit = outer == "message_changed";
    const json::Value& message = edit ? part(event, "message") : event;
    const std::string channel = event.text("channel"), ts = message.text("ts");
    if (!is_for_people(message.text("subtype")) || !is_slack_place(channel) || !is_slack_ts(ts)) return std::nullopt;
    const std::string user = message.text("user"), bot = message.text("bot_id");
    if (user == self.user || (!bot.empty() && bot == self.bot) || (!edit && event.flag("hidden"))) return std::nullopt;
    const std::string edited = part(message, "edited").text("ts");
    // Slack looks links up by itself, and calls that a change.
    if (edit && (!is_slack_ts(edited) || message.text("text") == part(event, "previous_message").text("text")))
        return std::nullopt;
    const std::string sender = user.empty() ? bot : user;
    if (!is_id(sender)) return std::nullopt;

    const bool direct = is_direct(event, channel);
    const Said said = said_in(message, self, names);
    json::Value files = files_of(message);
    const bool has_files = !files.items().empty();
    if (said.text.empty() && !has_files && !said.named) return std::nullopt;
    std::string thread = message.text("thread_ts");
    if (!is_slack_ts(thread) || thread == ts) thread.clear();
    const bool addressed = direct || said.named || (!thread.empty() && message.text("parent_user_id") == self.user);
    if (thread.empty() && self.threads && !direct && addressed) thread = ts;

    json::Value out = event_in(channel, direct, names);
    put(out, "key", channel + ":" + ts + (edit ? ":" + edited : ""));
    put(out, "kind", edit ? "edit" : "message");
    put(out, "id", ts);
    put(out, "sender", sender);
    put(out, "name", name_of(user.empty() ? message.text("username", sender) : named(names, user)));
    put(out, "text", said.text);
    out.set("addressed", addressed);
    out.set("at", unix_ms_of(edit ? edited : ts));
    if (!thread.empty()) put(out, "thread", thread);
    if (!bot.empty() || message.text("subtype") == "bot_message" || user == "USLACKBOT") out.set("bot", true);
    if (has_files) out.set("files", std::move(files));
    return out;
}

std::optional<json::Value> read_slack_command(const json::Value& payload, const SlackNames& names) {
    const std::string channel = payload.text("channel_id"), user = payload.text("user_id");
    const std::string trigger = payload.text("trigger_id");
    if (!is_slack_place(channel) || !is_id(user) || trigger.empty() || trigger.size() > 200) return std::nullopt;
    const std::string words(without_blanks(payload.text("text")));
    const std::string text = words.empty() ? "/help" : words.starts_with('/') ? words : "/" + words;
    json::Value out = event_in(channel, channel.starts_with('D'), names);
    put(out, "key", "command:" + trigger);
    put(out, "kind", "message");
    put(out, "id", "command:" + trigger);
    put(out, "sender", user);
    put(out, "name", name_of(named(names, user)));
    put(out, "text", bounded(text, kMaxText));
    out.set("addressed", true);
    return out;
}

// Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
std::optional<json::Value> read_slack_press(const json::Value& payload, const SlackSelf& self, const SlackNames& names) {
    const json::Value& container = part(payload, "container");
    const json::Value& message = part(payload, "message");
    const std::string channel = container.text("channel_id"), ts = container.text("message_ts"), user = part(payload, "user").text("id");
    const std::string trigger = payload.text("trigger_id"), thread = message.text("thread_ts");
    const json::Value* const actions = payload.find("actions");
    if (payload.text("type") != "block_actions" || !actions || !actions->is_array() || actions->items().empty()) return std::nullopt;
    const json::Value& action = actions->items()[0];
    const std::string value = action.text("value");
    if (!is_slack_place(channel) || !is_slack_ts(ts) || !is_id(user) || trigger.empty() || trigger.size() > 200) return std::nullopt;
    if (message.text("user") != self.user || action.text("type") != "button" || value.empty() || value.size() > 64) return std::nullopt;
    json::Value out = event_in(channel, channel.starts_with('D'), names);
    put(out, "key", "press:" + trigger);
    put(out, "kind", "press");
    put(out, "id", ts);
    put(out, "sender", user);
    put(out, "name", name_of(named(names, user)));
    put(out, "value", value);
    if (is_slack_ts(thread) && thread != ts) put(out, "thread", thread);
    return out;
}

}  // namespace peacrab
