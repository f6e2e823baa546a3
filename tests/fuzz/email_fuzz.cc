// Mails that strangers wrote: what is read of them, who is said to have written them, and files taken out of them.
//
// What is read is bounded, clean text; nobody is proven to have written a mail of which the own server says nothing. A
// file is the same in whatever pieces it comes. What we write is read as it was meant.
#include "channels/email_draft.h"
#include "channels/email_fields.h"
#include "channels/email_file.h"
#include "channels/email_message.h"
#include "error.h"
#include "fuzz.h"
#include "json.h"

using namespace peacrab;

namespace {

void mail(const std::string& raw) {
    const EmailMessage mail = read_email(raw, {"agent@mail.test", static_cast<int64_t>(raw.size())});
    require(mail.text.size() <= (size_t{62} << 10) && json::valid_utf8(mail.text) == mail.text);
    require(json::valid_utf8(mail.subject) == mail.subject && mail.subject.find('\n') == std::string::npos);
    require(mail.from.address.empty() || is_address(mail.from.address));
    require(mail.from.name.size() <= 200 && mail.from.name.find('\n') == std::string::npos);
    for (const std::string* id : {&mail.id, &mail.parent, &mail.root}) require(id->size() <= 250 && id->find_first_of("\r\n\" \\") == std::string::npos);
    require(mail.files.size() <= 32);
    for (const EmailFile& file : mail.files) {
        require(file.name.find_first_of("/\\\n") == std::string::npos && file.name.size() <= 200 && file.size >= 0 && file.start <= raw.size());
        require(file_handle(1, 2, file).size() < 512);
    }
    const bool proven = sender_proven(mail.fields, "mx.test", mail.from);
    require(!proven || (mail.fields.first("authentication-results") && !mail.from.address.empty() && mail.fields.count("from") == 1));
    require(!sender_proven(mail.fields, "", mail.from));
    require(!is_own_id(mail.id, "agent@other.test") || mail.id.ends_with("@other.test>"));
}

void part(const std::string& encoding, const std::string& boundary, const std::string& bytes, size_t at) {
    PartDecoder whole(encoding, boundary), pieces(encoding, boundary);
    at = bytes.empty() ? 0 : at % bytes.size();
    std::string one = whole.take(bytes, true), two = pieces.take(std::string_view(bytes).substr(0, at), false);
    two += pieces.take(std::string_view(bytes).substr(at), true);
    require(one == two);
}

void draft(const std::string& text, const std::string& subject, const std::string& name) {
    EmailDraft draft;
    draft.from = "agent@mail.test";
    draft.from_name = "Agent";
    draft.to = "ann@x.test";
    draft.subject = json::valid_utf8(subject);
    draft.id = own_message_id(text, 0, draft.from);
    const std::string plain = json::valid_utf8(text);
    draft.plain = plain;
    draft.html = "<p></p>";
    if (!name.empty()) {
        draft.file_name = json::valid_utf8(name);
        draft.file_mime = name;
        draft.file = text;
    }
    const std::string raw = write_email(draft);
    size_t body = 0;
    const EmailFields fields = read_fields(raw, body);
    require(fields.count("from") == 1 && fields.count("to") == 1 && fields.count("bcc") == 0 && fields.count("subject") == 1);
    require(fields.text("message-id") == draft.id);
    require(read_address(fields.text("to")).address == draft.to);
    for (size_t i = 0; i < raw.size(); ++i) {
        require(raw[i] != '\n' || (i > 0 && raw[i - 1] == '\r'));
        require(raw[i] == '\r' || raw[i] == '\n' || raw[i] == '\t' || (raw[i] >= ' ' && raw[i] <= '~'));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string all(reinterpret_cast<const char*>(data) + 1, size - 1);
    const FuzzInput input(data, size, 3);
    switch (data[0] % 4) {
        case 0:
        case 1: mail(all); break;
        case 2: part(data[0] & 8 ? "b" : data[0] & 16 ? "q" : "-", input.texts[0].substr(0, 200), all, size * 7 / 11); break;
        default: draft(input.texts[0], input.texts[1], input.texts[2]); break;
    }
    return 0;
}
