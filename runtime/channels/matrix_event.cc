// Strangers write these, and other servers make them: every text is bounded, and what is not as it should be is left out.
#include "channels/matrix_event.h"

#include <algorithm>

#include "channels/event_parts.h"
#include "channels/web_call.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMaxText = size_t{64} << 10;
constexpr size_t kMaxName = 200;

// "> <@ann:server> what was said" and an empty line, which older programs put in front of an answer.
std::string without_quote(const std::string& body) {
    if (!body.starts_with("> ")) return body;
    size_t at = 0;
    while (body.compare(at, 1, ">") == 0) {
        const size_t end = body.find('\n', at);
        if (end == std::string::npos) return body;
        at = end + 1;
    }
    return body.substr(at + (body.compare(at, 1, "\n") == 0 ? 1 : 0));
}

// Whether it begins with one of our names; without it then.
bool begins_with_name(std::string& text, const MatrixSelf& self) {
    const std::string local = self.user.substr(1, self.user.find(':') - 1);
    for (const std::string& name : {self.user, "@" + local, self.name, local}) {
        if (name.empty() || lower(text.substr(0, name.size())) != lower(name)) continue;
        const size_t at = text.find_first_not_of(":, \t\n", name.size());
        if (text.size() > name.size() && at == name.size()) continue;  // it goes on: another's
        const bool called = text.size() == name.size() || text[name.size()] == ':' || text[name.size()] == ',';
        if (name[0] != '@' && !called) continue;  // a word like others
        text = at == std::string::npos ? "" : text.substr(at);
        return true;
    }
    return false;
}

bool mentions(const json::Value& content, const MatrixSelf& self) {
    const json::Value& users = part(part(content, "m.mentions"), "user_ids");
    if (!users.is_array()) return false;
    return std::any_of(users.items().begin(), users.items().end(),
                       [&](const json::Value& user) { return user.is_string() && user.as_string() == self.user; });
}

bool is_file(const std::string& type) { return type == "m.image" || type == "m.file" || type == "m.audio" || type == "m.video"; }

json::Value file_of(const json::Value& content) {
    const json::Value& info = part(content, "info");
    const std::string address = content.text("url");
    json::Value file = json::Value::object(
        {{"name", bounded(content.text("filename", content.text("body", "file")), kMaxName)},
         {"mime", bounded(info.text("mimetype", "application/octet-stream"), kMaxName)},
         {"size", std::clamp<int64_t>(info.integer("size"), 0, int64_t{1} << 40)}});
    if (is_matrix_media(address)) file.set("handle", address);
    else if (!address.empty()) file.set("note", "it does not lie with a Matrix server");
    else file.set("note", "it is encrypted, and cannot be read");
    if (content.find("org.matrix.msc3245.voice")) file.set("voice", true);
    return file;
}

}  // namespace

bool is_matrix_id(std::string_view text, char sigil) {
    return text.size() > 1 && text.size() <= 255 && text[0] == sigil &&
           std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' '; });
}

bool is_matrix_media(std::string_view text) {
    const auto word = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'; };
    if (!text.starts_with("mxc://") || text.size() > 500) return false;
    text.remove_prefix(6);
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) return false;
    const std::string_view server = text.substr(0, slash), id = text.substr(slash + 1);
    return server[0] != '.' && std::all_of(server.begin(), server.end(), [&](char c) { return word(c) || c == '.' || c == ':' || c == '[' || c == ']'; }) &&
           std::all_of(id.begin(), id.end(), [&](char c) { return word(c) || c == '_'; });
}

std::string matrix_answered(const json::Value& event) {
    const json::Value& relation = part(part(event, "content"), "m.relates_to");
    if (relation.text("rel_type") == "m.thread" && relation.flag("is_falling_back")) return {};
    const std::string id = part(relation, "m.in_reply_to").text("event_id");
    return is_matrix_id(id, '$') ? id : std::string();
}

std::optional<json::Value> read_matrix_event(const json::Value& event, const MatrixRoom& room, const MatrixSelf& self) {
    const std::string id = event.text("event_id"), sender = event.text("sender");
    if (event.text("type") != "m.room.message" || !is_matrix_id(id, '$') || !is_matrix_id(sender, '@') || sender == self.user)
        return std::nullopt;
    const json::Value& relation = part(part(event, "content"), "m.relates_to");
    const std::string kind = relation.text("rel_type"), related = relation.text("event_id");
    const bool edit = kind == "m.replace";
    if (edit && !is_matrix_id(related, '$')) return std::nullopt;
    const json::Value& content = edit ? part(part(event, "content"), "m.new_content") : part(event, "content");
    const std::string type = content.text("msgtype");
    const bool file = is_file(type);
    std::string text = bounded(content.text("body"), kMaxText);
    if (!matrix_answered(event).empty()) text = without_quote(text);
    if (type == "m.emote") text = "* " + text;
    // A file's text is its name, unless it has a name besides.
    if (file && content.text("filename", text) == text) text.clear();
    const bool named = begins_with_name(text, self) || mentions(content, self);
    if (text.empty() && !file && !named) return std::nullopt;
    Members members;
    members.text("key", id)
        .text("kind", edit ? "edit" : "message")
        .text("conversation", room.id)
        .text("scope", room.direct ? "direct" : "group")
        .text("id", edit ? related : id)
        .text("sender", sender)
        .flag("addressed", room.direct || named)
        .text("text", bounded(text, kMaxText))
        .number("at", std::clamp<int64_t>(event.integer("origin_server_ts"), 0, int64_t{1} << 52));
    json::Value said = std::move(members.object());
    if (kind == "m.thread" && is_matrix_id(related, '$')) said.set("thread", related);
    if (type == "m.notice") said.set("bot", true);  // what programs say
    if (!room.direct) said.set("title", bounded(room.title, kMaxName));
    if (file) said.set("files", json::Value::array({file_of(content)}));
    return said;
}

size_t entry_of(const std::vector<json::Value>& events, const std::string& self) {
    size_t entry = 0;
    for (size_t i = 0; i < events.size(); ++i) {
        if (events[i].text("type") != "m.room.member" || events[i].text("state_key") != self) continue;
        const std::string now = part(events[i], "content").text("membership");
        const std::string before = part(part(events[i], "unsigned"), "prev_content").text("membership");
        if (now == "invite" || (now == "join" && before != "join" && before != "invite")) entry = i;
    }
    return entry;
}

json::Value matrix_content(const std::string& plain, const std::string& html, const std::string& thread, const std::string& answers) {
    json::Value content = json::Value::object({{"msgtype", "m.text"}, {"body", plain}, {"m.mentions", json::Value::object()}});
    if (html != plain) {
        content.set("format", "org.matrix.custom.html");
        content.set("formatted_body", html);
    }
    const bool threaded = is_matrix_id(thread, '$'), reply = is_matrix_id(answers, '$');
    json::Value relation = json::Value::object();
    if (threaded) {
        relation.set("rel_type", "m.thread");
        relation.set("event_id", thread);
        relation.set("is_falling_back", !reply);
    }
    if (threaded || reply) relation.set("m.in_reply_to", json::Value::object({{"event_id", reply ? answers : thread}}));
    if (threaded || reply) content.set("m.relates_to", std::move(relation));
    return content;
}

}  // namespace peacrab
