// Nothing of a text may become a field or an end of a part: the body is quoted-printable, the boundary is made of the
// Message-ID, and what goes into a field has been an address or an id, or is encoded.
#include "channels/email_draft.h"

#include <algorithm>
#include <ctime>

#include "audit.h"
#include "channels/email_fields.h"
#include "os.h"
#include "protocols/base64.h"
#include "web/address.h"

namespace peacrab {
namespace {

constexpr size_t kLine = 74;
constexpr size_t kOfLine = 57;  // bytes, in base64

bool stays(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

bool is_mime(const std::string& text) {
    const size_t slash = text.find('/');
    const auto plain = [](char c) { return stays(c) || c == '+' || c == '/'; };
    return slash != std::string::npos && text.find('/', slash + 1) == std::string::npos && text.size() < 100 &&
           std::all_of(text.begin(), text.end(), plain);
}

std::string quoted_printable(std::string_view text) {
    constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    size_t column = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte == '\n') {
            out += "\r\n";
            column = 0;
            continue;
        }
        const bool ends = i + 1 == text.size() || text[i + 1] == '\n';
        const bool bare = byte >= 33 && byte <= 126 && byte != '=';
        const bool blank = (byte == ' ' || byte == '\t') && !ends;
        const size_t width = bare || blank ? 1 : 3;
        if (column + width > kLine) {
            out += "=\r\n";
            column = 0;
        }
        column += width;
        if (width == 1) out += text[i];
        else out.append({'=', kHex[byte >> 4], kHex[byte & 15]});
    }
    return out + "\r\n";
}

std::string date(int64_t now) {
    const time_t time = now;
    tm parts{};
    gmtime_r(&time, &parts);
    constexpr char kDays[] = "SunMonTueWedThuFriSat", kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[64];
    snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d +0000", kDays + 3 * parts.tm_wday, parts.tm_mday, kMonths + 3 * parts.tm_mon,
             parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
    return text;
}

std::string body_part(std::string_view boundary, const char* type, std::string_view text) {
    return joined({"--", boundary, "\r\nContent-Type: ", type, "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", quoted_printable(text)});
}

}  // namespace

std::string write_email(const EmailDraft& draft) {
    const std::string boundary = "=_" + sha256_hex(draft.id).substr(0, 32);  // which no quoted-printable text can contain
    const std::string part = std::to_string(draft.part), of = std::to_string(draft.of);
    std::string subject = draft.subject;
    if (draft.of > 1) subject += joined({" (", std::to_string(draft.part + 1), "/", of, ")"});
    std::string out;
    const auto field = [&out](const char* name, std::initializer_list<std::string_view> value) { out += joined({name, ": ", joined(value), "\r\n"}); };
    field("From", {encoded_words(draft.from_name), " <", draft.from, ">"});
    field("To", {"<", draft.to, ">"});
    field("Subject", {encoded_words(subject)});
    field("Date", {date(draft.now)});
    field("Message-ID", {draft.id});
    if (!draft.parent.empty()) field("In-Reply-To", {draft.parent});
    const bool longer = !draft.parent.empty() && draft.parent != draft.root;
    if (!draft.root.empty()) field("References", {draft.root, longer ? "\r\n " : "", longer ? draft.parent : std::string()});
    field("Auto-Submitted", {draft.parent.empty() ? "auto-generated" : "auto-replied"});
    field("X-Loop", {draft.from});
    // Which part of how many it is: who looks for it must know whether there is more.
    field("X-Peacrab", {part, "/", of});
    if (!draft.delivery.empty()) field("X-Peacrab-Delivery", {draft.delivery});
    field("MIME-Version", {"1.0"});
    field("Content-Type", {draft.file_name.empty() ? "multipart/alternative" : "multipart/mixed", "; boundary=\"", boundary, "\"\r\n"});
    out += body_part(boundary, "text/plain", draft.plain);
    if (draft.file_name.empty()) {
        out += body_part(boundary, "text/html", draft.html);
        return joined({out, "--", boundary, "--\r\n"});
    }
    out += joined({"--", boundary, "\r\n"});
    field("Content-Type", {is_mime(draft.file_mime) ? draft.file_mime : "application/octet-stream"});
    field("Content-Transfer-Encoding", {"base64"});
    field("Content-Disposition", {"attachment; filename*=utf-8''", percent_encoded(draft.file_name, stays), "\r\n"});
    out.reserve(out.size() + draft.file.size() / 57 * 78 + 200);
    for (size_t at = 0; at < draft.file.size(); at += kOfLine) out += base64(draft.file.substr(at, kOfLine)) + "\r\n";
    return joined({out, "--", boundary, "--\r\n"});
}

std::string reply_subject(const std::string& subject) {
    const std::string small = lower(subject.substr(0, 4));
    if (subject.empty()) return "Re: your message";
    return small.starts_with("re:") || small.starts_with("aw:") ? subject : "Re: " + subject;
}

}  // namespace peacrab
