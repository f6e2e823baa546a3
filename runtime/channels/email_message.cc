// Text comes from the parts that are meant to be read, files are named. What was said before is left out only of an
// answer to a mail of ours: of any other the reader has not seen it.
#include "channels/email_message.h"

#include <algorithm>
#include <utility>

#include "audit.h"
#include "os.h"
#include "web/characters.h"
#include "web/html.h"

namespace peacrab {
namespace {

constexpr int kMostDepth = 8;
constexpr size_t kMostParts = 100;
constexpr size_t kMostFiles = 32;
constexpr size_t kMostText = size_t{60} << 10;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// A name that is only shown, and must not look like a path.
std::string file_name(std::string name) {
    std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == '\\'; }, '_');
    while (name.starts_with('.')) name.erase(0, 1);
    return std::string(utf8_prefix(name, 200));
}

class Reader {
  public:
    Reader(EmailMessage& mail, int64_t missing, bool answers_us, const char* front)
        : mail_(mail), missing_(missing), answers_us_(answers_us), front_(front) {}

    void part(const EmailFields& fields, std::string_view body, int depth, bool last);
    std::string text;

  private:
    void parts(const EmailFields& fields, std::string_view body, int depth, bool last);
    void leaf(const EmailFields& fields, const std::string& mime, std::string_view body, bool last);
    std::string decoded(const EmailFields& fields, std::string_view body) const;
    std::string read_text(const EmailFields& fields, const std::string& mime, std::string_view body) const;

    EmailMessage& mail_;
    int64_t missing_;  // bytes behind what we have
    bool answers_us_;
    size_t count_ = 0;
    const char* const front_;
    std::string boundary_;  // of what is read now
};

std::string Reader::decoded(const EmailFields& fields, std::string_view body) const {
    const std::string encoding = main_value(fields.text("content-transfer-encoding"));
    if (encoding == "base64") return base64_bytes(body);
    if (encoding == "quoted-printable") return quoted_printable_bytes(body);
    return std::string(body);
}

// Where an HTML mail goes on with what was said before; its end when nothing tells.
size_t history_of_html(const std::string& html) {
    const std::string small = lower(html);
    size_t end = html.size();
    for (const char* mark : {"class=\"gmail_quote", "type=\"cite\"", "id=\"divrplyfwdmsg\"", "id=\"appendonsend\"", "class=\"yahoo_quoted"})
        if (const size_t at = small.find(mark); at != std::string::npos) end = std::min(end, small.rfind('<', at));
    return end;
}

std::string Reader::read_text(const EmailFields& fields, const std::string& mime, std::string_view body) const {
    const std::string type = fields.text("content-type"), bytes = decoded(fields, body);
    std::string charset = parameter(type, "charset");
    if (mime != "text/html") return clean_text(decode_charset(bytes, charset));
    if (charset.empty()) charset = html_charset(bytes);
    std::string html = decode_charset(bytes, charset);
    if (answers_us_)
        if (const size_t end = history_of_html(html); end > 0) html.resize(end);
    WebAddress nowhere;
    nowhere.host = "mail.invalid";
    const PageText page = read_html(html, nowhere, kMostText);
    return page.note.empty() ? page.text : joined({page.text, "\n[", page.note, "]"});
}

void Reader::leaf(const EmailFields& fields, const std::string& mime, std::string_view body, bool last) {
    const std::string type = fields.text("content-type"), placed = fields.text("content-disposition");
    std::string name = parameter(placed, "filename");
    if (name.empty()) name = parameter(type, "name");
    const bool attached = main_value(placed) == "attachment" || !name.empty();
    if (!attached && (mime == "text/plain" || mime == "text/html")) {
        const std::string more = read_text(fields, mime, body);
        if (!text.empty() && !more.empty()) text += "\n\n";
        text += utf8_prefix(more, kMostText);
        return;
    }
    if (mime == "application/pgp-signature" || mime == "application/pkcs7-signature" || mime == "application/x-pkcs7-signature") return;
    if (mail_.files.size() == kMostFiles) return;
    const bool coded = main_value(fields.text("content-transfer-encoding")) == "base64";
    int64_t size = static_cast<int64_t>(coded ? base64_bytes(body).size() : body.size());
    if (last && missing_ > 0) size += coded ? missing_ * 73 / 100 : missing_;
    if (name.empty()) name = mime == "message/rfc822" ? "a forwarded mail" : "without a name";
    mail_.files.push_back({file_name(name), std::string(utf8_prefix(mime, 100)), size, static_cast<size_t>(body.data() - front_),
                           main_value(fields.text("content-transfer-encoding")), boundary_});
}

void Reader::part(const EmailFields& fields, std::string_view body, int depth, bool last) {
    if (++count_ > kMostParts) return;
    std::string mime = main_value(fields.text("content-type"));
    if (mime.empty() || !contains(mime, "/")) mime = "text/plain";
    if (mime == "multipart/encrypted" || mime == "application/pkcs7-mime") {
        text += "[an encrypted mail: it cannot be read]";
    } else if (mime.starts_with("multipart/") && depth < kMostDepth) {
        parts(fields, body, depth, last);
    } else {
        leaf(fields, mime.starts_with("multipart/") ? "application/octet-stream" : mime, body, last);
    }
}

// Each part on its own; of alternatives the plain text, and when it is empty the last that has any.
void Reader::parts(const EmailFields& fields, std::string_view body, int depth, bool last) {
    const std::string type = fields.text("content-type");
    const std::string boundary = "--" + parameter(type, "boundary");
    const bool alternative = main_value(type) == "multipart/alternative";
    std::string before = std::move(text), best;
    const std::string outer = std::exchange(boundary_, boundary.substr(2));
    bool best_plain = false;
    text.clear();
    size_t begin = std::string_view::npos;
    for (size_t at = 0; boundary.size() > 2 && at <= body.size() && count_ <= kMostParts;) {
        const size_t end = std::min(body.find('\n', at), body.size());
        const bool here = body.substr(at, end - at).starts_with(boundary);
        const bool over = end == body.size();
        if ((here || over) && begin != std::string_view::npos) {
            const std::string_view whole = body.substr(begin, (here ? at : end) - begin);
            size_t head = 0;
            const EmailFields inner = read_fields(whole, head);
            part(inner, whole.substr(head), depth + 1, last && over && !here);
            if (alternative) {
                const std::string inner_type = main_value(inner.text("content-type"));
                const bool plain = inner_type == "text/plain" || inner_type.empty();
                if (text.find_first_not_of(" \r\n\t") != std::string::npos && !best_plain) {
                    best = text;
                    best_plain = plain;
                }
                text.clear();
            }
        }
        if (here) begin = body.substr(at + boundary.size()).starts_with("--") ? std::string_view::npos : std::min(end + 1, body.size());
        if (over || (here && begin == std::string_view::npos)) break;
        at = end + 1;
    }
    boundary_ = outer;
    if (alternative) text = std::move(best);
    if (!before.empty()) text = joined({before, text.empty() ? "" : "\n\n", text});
}

// No person wrote it, or it was not written to us: what answers it may answer a program.
std::string why_automatic(const EmailFields& fields, const std::string& from, const std::string& address) {
    const std::string submitted = main_value(fields.text("auto-submitted")), precedence = main_value(fields.text("precedence"));
    if (!submitted.empty() && submitted != "no") return "sent by a program";
    if (precedence == "bulk" || precedence == "list" || precedence == "junk" || precedence == "auto_reply") return "sent to many";
    for (const char* list : {"list-id", "list-post", "list-unsubscribe"})
        if (fields.first(list)) return "of a mailing list";
    for (const char* program : {"x-autoreply", "x-autorespond", "x-peacrab", "feedback-id"})
        if (fields.first(program)) return "sent by a program";
    if (fields.text("return-path") == "<>" || main_value(fields.text("content-type")) == "multipart/report") return "a notice of a mail server";
    const std::string local = from.substr(0, from.find('@'));
    for (const char* name : {"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply"})
        if (local == name) return "sent by a program";
    return lower(fields.text("x-loop")) == address ? "it was here already" : "";
}

}  // namespace

EmailMessage read_email(std::string_view raw, const EmailReader& reader) {
    EmailMessage mail;
    raw = raw.substr(0, kMaxEmail);
    size_t body = 0;
    mail.fields = read_fields(raw, body);
    const EmailFields& fields = mail.fields;
    mail.subject = std::string(utf8_prefix(readable(fields.text("subject")), 300));
    if (fields.count("from") == 1) mail.from = read_address(fields.text("from"));
    const std::vector<std::string> id = message_ids(fields.text("message-id")), parents = message_ids(fields.text("in-reply-to")),
                                   references = message_ids(fields.text("references"));
    if (id.size() == 1) mail.id = id[0];
    mail.parent = !parents.empty() ? parents[0] : references.empty() ? "" : references.back();
    mail.root = !references.empty() ? references[0] : !parents.empty() ? parents[0] : mail.id;
    mail.automatic = why_automatic(fields, mail.from.address, reader.address);

    const auto ours = [&](const std::string& one) { return is_own_id(one, reader.address); };
    const bool answers_us = ours(mail.parent) || std::any_of(references.begin(), references.end(), ours);
    const int64_t missing = std::max<int64_t>(0, reader.size - static_cast<int64_t>(raw.size()));
    Reader parts(mail, missing, answers_us, raw.data());
    parts.part(fields, raw.substr(body), 0, true);
    mail.text = answers_us ? without_history(parts.text) : std::move(parts.text);
    while (!mail.text.empty() && std::string_view(" \n\t").find(mail.text.back()) != std::string_view::npos) mail.text.pop_back();
    mail.text.erase(0, std::min(mail.text.find_first_not_of("\n"), mail.text.size()));
    if (mail.text.size() > kMostText) mail.text = joined({utf8_prefix(mail.text, kMostText), "\n[the rest of the mail was left out]"});
    else if (missing > 0) mail.text += joined({"\n[the mail is longer: ", std::to_string(missing >> 10), " KB of it were not looked at]"});
    return mail;
}

std::string own_message_id(const std::string& key, size_t part, const std::string& address) {
    const std::string sum = sha256_hex(joined({address, "\n", key})).substr(0, 40);
    return joined({"<peacrab.", sum, ".", std::to_string(part), address.substr(address.find('@')), ">"});
}

bool is_own_id(std::string_view id, const std::string& address) {
    return id.starts_with("<peacrab.") && id.ends_with(address.substr(address.find('@')) + ">");
}

std::string without_history(const std::string& text) {
    std::vector<std::string> lines = split(text, '\n');
    const auto blank = [](const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; };
    size_t end = lines.size();
    for (size_t i = 0; i < end; ++i)
        if (lines[i].starts_with("-----Original Message") || lines[i].starts_with("________________________________")) end = i;
    while (end > 0 && blank(lines[end - 1])) --end;
    const size_t quoted = end;
    while (end > 0 && (blank(lines[end - 1]) || lines[end - 1].starts_with('>'))) --end;
    // "On Monday, Ann <ann@example.org> wrote:", in any language, on up to three lines.
    if (end < quoted && end > 0 && lines[end - 1].ends_with(':'))
        for (size_t i = 1; i <= 3 && i <= end && !blank(lines[end - i]); ++i)
            if (lines[end - i].find('@') != std::string::npos || lines[end - i].find_first_of("0123456789") != std::string::npos) {
                end -= i;
                break;
            }
    for (size_t i = 0; i < end; ++i)
        if (lines[i] == "-- " && i > 0) end = i;
    std::string kept;
    for (size_t i = 0; i < end; ++i) kept += lines[i] + "\n";
    return kept.find_first_not_of(" \n\t") == std::string::npos ? text : kept;
}

}  // namespace peacrab
