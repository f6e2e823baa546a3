// Anybody can write such a notice about anything: it counts for what it proves, and not a word of it is handed on.
#include "channels/email_bounce.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMostRecipients = 50;

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words(1);
    int depth = 0;
    for (const char c : text) {
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        const bool blank = depth > 0 || c == ')' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (!blank) words.back() += c;
        else if (!words.back().empty()) words.emplace_back();
    }
    return words;
}

// "from X by Y with ESMTP …" came to us over the network; "by Y (Postfix)" and "… with LMTP" did not.
bool came_from_elsewhere(const std::string& received) {
    const std::vector<std::string> words = words_of(lower(received));
    if (words[0] == "by") return false;
    const auto by = std::find(words.begin(), words.end(), "by");
    const auto with = std::find(by, words.end(), "with");
    if (with == words.end() || with + 1 == words.end()) return true;
    return !((with + 1)->starts_with("lmtp") || *(with + 1) == "local");
}

// What came in from outside carries the server's word on its sender; what the server wrote itself has been nowhere.
bool of_our_server(const EmailFields& fields) {
    if (fields.count("received") == 0 || fields.first("authentication-results")) return false;
    return std::none_of(fields.all.begin(), fields.all.end(),
                        [](const auto& field) { return field.first == "received" && came_from_elsewhere(field.second); });
}

std::string body_of(std::string_view raw, const EmailFile& file) {
    std::string_view body = raw.substr(std::min(file.start, raw.size()));
    if (!file.boundary.empty()) body = body.substr(0, body.find(joined({"\n--", file.boundary})));
    if (file.encoding == "base64") return base64_bytes(body);
    return file.encoding == "quoted-printable" ? quoted_printable_bytes(body) : std::string(body);
}

// "5.1.1": a digit, and two numbers of up to three. Source: RFC 3463.
std::string status_of(const std::string& text) {
    const std::string status = main_value(words_of(text)[0]);
    const bool plain = std::all_of(status.begin(), status.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)) || c == '.'; });
    return plain && status.size() >= 5 && status.size() <= 9 && status[0] == '5' && status[1] == '.' ? status : "";
}

std::string sentence(const std::string& status) {
    const std::string_view kind = std::string_view(status).substr(0, 3);
    const char* why = "a mail server could not deliver it";
    if (status == "5.1.1" || status == "5.1.2" || status == "5.1.10") why = "there is no such address";
    else if (kind == "5.2") why = "the mailbox there takes no mail";
    else if (kind == "5.3") why = "the mail server there cannot take it";
    else if (kind == "5.7") why = "the mail server there refuses it";
    return status.empty() ? why : joined({why, " (", status, ")"});
}

// Why, of the first that failed and is not ourselves; nothing: none did.
std::optional<std::string> failure_in(std::string_view report, const std::string& address) {
    for (size_t group = 0; group < kMostRecipients && !report.empty(); ++group) {
        size_t end = 0;
        const EmailFields fields = read_fields(report, end);
        report.remove_prefix(std::min(report.size(), std::max<size_t>(end, 1)));
        const std::string recipient = fields.text("final-recipient");
        if (main_value(fields.text("action")) != "failed") continue;
        if (const size_t type = recipient.find(';'); type == std::string::npos || read_address(recipient.substr(type + 1)).address == address) continue;
        return sentence(status_of(fields.text("status")));
    }
    return std::nullopt;
}

}  // namespace

std::optional<EmailBounce> read_bounce(std::string_view raw, const EmailMessage& mail, const std::string& address, std::string_view authserv) {
    const std::string type = mail.fields.text("content-type");
    if (main_value(type) != "multipart/report" || lower(parameter(type, "report-type")) != "delivery-status" || authserv.empty()) return std::nullopt;
    if (!sender_proven(mail.fields, authserv, mail.from) && !of_our_server(mail.fields)) return std::nullopt;
    std::optional<std::string> why;
    std::string message;
    for (const EmailFile& file : mail.files) {
        if (file.mime == "message/delivery-status" && !why) why = failure_in(body_of(raw, file), address);
        if (file.mime != "message/rfc822" && file.mime != "text/rfc822-headers") continue;
        size_t body = 0;
        const std::vector<std::string> ids = message_ids(read_fields(body_of(raw, file), body).text("message-id"));
        if (ids.size() == 1 && message.empty()) message = ids[0];
    }
    if (!why || !is_own_id(message, address)) return std::nullopt;
    return EmailBounce{message, *why};
}

}  // namespace peacrab
