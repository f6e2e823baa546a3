// Signed by WhatsApp, and yet hostile: strangers wrote its texts and names. Every text is bounded before it goes on.
#include "channels/whatsapp_event.h"

#include <algorithm>
#include <cstdio>

#include "channels/whatsapp_api.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr json::Limits kLimits{size_t{3} << 20, 24};
constexpr size_t kMostNews = 1'000;  // of one webhook
constexpr size_t kMaxText = size_t{64} << 10;
constexpr size_t kMaxName = 200;

const json::Value& part(const json::Value& of, std::string_view key) {
    static const json::Value nothing = json::Value::object();
    const json::Value* const found = of.is_object() ? of.find(key) : nullptr;
    return found ? *found : nothing;
}

std::string text_of(const json::Value& of, std::string_view key, size_t most) {
    const json::Value& value = part(of, key);
    return value.is_string() ? std::string(utf8_prefix(value.as_string(), most)) : std::string();
}

const std::vector<json::Value>& list_of(const json::Value& of, std::string_view key) {
    static const std::vector<json::Value> none;
    const json::Value& value = part(of, key);
    return value.is_array() ? value.items() : none;
}

std::string name_of(const json::Value& of, std::string_view key) {
    std::string name = text_of(of, key, kMaxName);
    std::replace_if(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    return name;
}

std::string contact_of(const json::Value& value, const std::string& person) {
    for (const json::Value& contact : list_of(value, "contacts"))
        if (text_of(contact, "wa_id", 40) == person) return name_of(part(contact, "profile"), "name");
    return {};
}

std::string real_text(const json::Value& of, std::string_view key) {
    const json::Value& value = part(of, key);
    if (!value.is_integer() && value.kind() != json::Value::Kind::Real) return {};
    char text[32];
    std::snprintf(text, sizeof text, "%.6f", std::clamp(value.as_real(), -1000.0, 1000.0));
    return text;
}

std::string place_words(const json::Value& location) {
    std::string words = "[a place: " + real_text(location, "latitude") + ", " + real_text(location, "longitude");
    for (const char* key : {"name", "address"})
        if (const std::string text = name_of(location, key); !text.empty()) words += ", " + text;
    return words + "]";
}

std::string contact_words(const json::Value& message) {
    std::string words;
    for (const json::Value& contact : list_of(message, "contacts")) {
        if (words.size() > 2000) break;
        words += (words.empty() ? "[a contact: " : "\n[a contact: ") + name_of(part(contact, "name"), "formatted_name");
        for (const json::Value& phone : list_of(contact, "phones")) {
            if (words.size() > 2000) break;
            words += ", " + name_of(phone, "phone");
        }
        words += "]";
    }
    return words;
}

// Of a message that is a file.
bool take_file(const json::Value& message, const std::string& type, json::Value& event) {
    const bool known = type == "image" || type == "video" || type == "audio" || type == "document" || type == "sticker";
    const json::Value& media = part(message, type);
    if (!known || !media.is_object()) return false;
    const std::string id = text_of(media, "id", 300);
    std::string name = name_of(media, "filename");
    if (name.empty()) name = type;
    json::Value file = json::Value::object({{"name", name}, {"mime", name_of(media, "mime_type")}});
    if (is_whatsapp_id(id)) file.set("handle", id);
    else file.set("note", "WhatsApp does not say where it is");
    if (type == "audio" && media.flag("voice")) file.set("voice", true);
    event.set("files", json::Value::array({std::move(file)}));
    event.set("text", text_of(media, "caption", kMaxText));
    return true;
}

// False: it is nothing that is said.
bool take_content(const json::Value& message, json::Value& event) {
    const std::string type = text_of(message, "type", 40);
    const json::Value& interactive = part(message, "interactive");
    if (type == "text") {
        event.set("text", text_of(part(message, "text"), "body", kMaxText));
    } else if (type == "interactive") {
        const bool button = text_of(interactive, "type", 40) == "button_reply";
        event.set("text", text_of(part(interactive, button ? "button_reply" : "list_reply"), "title", kMaxText));
    } else if (type == "button") {
        event.set("text", text_of(part(message, "button"), "text", kMaxText));
    } else if (type == "location") {
        event.set("text", place_words(part(message, "location")));
    } else if (type == "contacts") {
        event.set("text", contact_words(message));
    } else if (type == "reaction" || type == "system") {
        return false;
    } else if (!take_file(message, type, event)) {
        event.set("text", "[a message of a kind that WhatsApp does not pass on]");
    }
    return true;
}

// A button of ours; one of a template is something that is said.
bool take_press(const json::Value& message, json::Value& event) {
    const json::Value& reply = part(part(message, "interactive"), "button_reply");
    const std::string value = text_of(reply, "id", 100), card = text_of(part(message, "context"), "id", 400);
    if (text_of(message, "type", 40) != "interactive" || !value.starts_with(kWhatsAppButton) || !is_whatsapp_id(card)) return false;
    if (value.size() == kWhatsAppButton.size() || value.size() > kWhatsAppButton.size() + 64) return false;
    event.set("kind", "press");
    event.set("id", card);
    event.set("value", value.substr(kWhatsAppButton.size()));
    return true;
}

// Of a number as it is shown: "+1 555-0100".
std::string digits_of(std::string number) {
    std::erase_if(number, [](char c) { return c < '0' || c > '9'; });
    return number;
}

std::optional<json::Value> event_of(const json::Value& message, const json::Value& value) {
    const std::string from = text_of(message, "from", 40), id = text_of(message, "id", 400);
    // A group's would need more than is known of it here: who is in it, and whether it was said to us.
    if (!is_whatsapp_person(from) || !is_whatsapp_id(id) || !text_of(message, "group_id", 10).empty()) return std::nullopt;
    json::Value event = json::Value::object(
        {{"key", id}, {"kind", "message"}, {"conversation", from}, {"scope", "direct"}, {"id", id}, {"sender", from}});
    if (const std::string name = contact_of(value, from); !name.empty()) event.set("name", name);
    const bool press = take_press(message, event);
    if (!press && !take_content(message, event)) return std::nullopt;
    const std::string at = text_of(message, "timestamp", 13);
    if (!at.empty() && at.find_first_not_of("0123456789") == std::string::npos && at.size() <= 11)
        event.set("at", static_cast<int64_t>(std::stoll(at)) * 1000);
    const json::Value& context = part(message, "context");
    if (const std::string quoted = text_of(context, "id", 400); is_whatsapp_id(quoted) && !press) {
        const bool own = digits_of(text_of(context, "from", 40)) == digits_of(text_of(part(value, "metadata"), "display_phone_number", 40));
        event.set("reply_to", json::Value::object({{"id", quoted}, {"own", own}}));
    }
    return event;
}

std::optional<WhatsAppStatus> status_of(const json::Value& item) {
    const std::string kind = text_of(item, "status", 40);
    if (kind != "sent" && kind != "delivered" && kind != "read" && kind != "failed") return std::nullopt;
    WhatsAppStatus status;
    status.mark = text_of(item, "biz_opaque_callback_data", 512);
    status.id = text_of(item, "id", 400);
    status.to = text_of(item, "recipient_id", 40);
    status.failed = kind == "failed";
    if (!status.failed) return status;
    const std::vector<json::Value>& errors = list_of(item, "errors");
    status.failure = whatsapp_failure(errors.empty() ? json::Value::object() : errors.front());
    return status;
}

}  // namespace

WhatsAppNews read_whatsapp(const std::string& body, const std::string& phone) {
    WhatsAppNews news;
    json::Value root;
    try {
        root = json::parse(body, kLimits);
    } catch (const Error&) {
        return news;
    } catch (const std::bad_alloc&) {
        return news;
    }
    for (const json::Value& entry : list_of(root, "entry"))
        for (const json::Value& change : list_of(entry, "changes")) {
            const json::Value& value = part(change, "value");
            if (text_of(part(value, "metadata"), "phone_number_id", 40) != phone) continue;
            for (const json::Value& message : list_of(value, "messages"))
                if (std::optional<json::Value> event = event_of(message, value); event && news.events.size() < kMostNews)
                    news.events.push_back(std::move(*event));
            for (const json::Value& item : list_of(value, "statuses"))
                if (std::optional<WhatsAppStatus> status = status_of(item); status && news.statuses.size() < kMostNews)
                    news.statuses.push_back(std::move(*status));
        }
    return news;
}

}  // namespace peacrab
