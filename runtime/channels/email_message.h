// A mail, read as hostile: bounded in size, parts and depth. Pure. Source: RFC 2045, RFC 2046, RFC 3834.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "channels/email_fields.h"

namespace peacrab {

constexpr size_t kMaxEmail = size_t{1} << 20;  // of a mail that are looked at

struct EmailFile {
    std::string name;  // as the mail says; cleaned, no separators
    std::string mime;
    int64_t size = 0;  // about, when it was cut
    size_t start = 0;  // where it begins in the mail
    std::string encoding, boundary;  // what it is written in, and what ends it; "": the end of the mail
};

struct EmailMessage {
    EmailFields fields;
    std::string id;       // "": it has none that can be used
    EmailAddress from;
    std::string subject;
    std::string root;     // the first mail of the thread; "": none that can be used
    std::string parent;   // which it answers
    std::string automatic;  // why no person wrote it; "": one may have
    std::string text;     // UTF-8, clean
    std::vector<EmailFile> files;
};

struct EmailReader {
    std::string address;  // our own
    int64_t size = 0;     // of the whole mail, of which we have the front
};

EmailMessage read_email(std::string_view raw, const EmailReader& reader);

// What we give our mails as Message-ID: <peacrab.….part@domain>, the same for ever for a key and a part.
std::string own_message_id(const std::string& key, size_t part, const std::string& address);
bool is_own_id(std::string_view id, const std::string& address);

// Without what was said before: quoted lines at the end and the line that announces them, and a signature.
std::string without_history(const std::string& text);

}  // namespace peacrab
