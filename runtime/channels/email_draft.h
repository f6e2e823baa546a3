// A mail of ours, as it goes over the wire: the text twice, plain and as HTML, all of it in ASCII, lines with CRLF.
// Pure. Source: RFC 5322, RFC 2045, RFC 3834 (Auto-Submitted).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace peacrab {

constexpr int64_t kMaxEmailFile = int64_t{15} << 20;  // what most servers take, written in base64

struct EmailDraft {
    std::string from, from_name;
    std::string to;
    std::string subject;            // any UTF-8
    std::string id;                 // Message-ID
    std::string parent, root;       // what it answers, and the first mail of the thread; "": none
    size_t part = 0, of = 1;
    std::string delivery;           // "id key", by which the hub knows it; "": nobody does
    int64_t now = 0;                // Unix seconds
    std::string_view plain, html;   // UTF-8
    // A file instead of `html`.
    std::string file_name, file_mime;
    std::string_view file;
};
std::string write_email(const EmailDraft& draft);

// "Re: " and the subject, once.
std::string reply_subject(const std::string& subject);

}  // namespace peacrab
