// Which reader a page gets. A server's word on the type is believed where it fits the bytes.
#include "web/page.h"

#include <algorithm>

#include "os.h"
#include "web/characters.h"
#include "web/pdf.h"

namespace peacrab {
namespace {

constexpr size_t kSniff = 1024;

bool has(std::string_view text, std::string_view what) {
    return text.find(what) != std::string_view::npos;
}

std::string charset_of(std::string_view type) {
    const std::string text = lower(type);
    size_t at = text.find("charset=");
    if (at == std::string::npos) return {};
    at += 8;
    at += at < text.size() && text[at] == '"';
    return text.substr(at, text.find_first_of("\"; ", at) - at);
}

enum class Kind { Html, Text, Pdf, Other };

Kind kind_of(std::string_view bytes, const std::string& type) {
    const std::string start = lower(bytes.substr(0, kSniff));
    if (has(start, "%pdf-")) return Kind::Pdf;
    if (has(type, "html")) return Kind::Html;
    const bool wide = bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff");
    if (!wide && bytes.substr(0, 8 * kSniff).find('\0') != std::string_view::npos) return Kind::Other;
    if (type.empty() || type == "application/octet-stream")
        return has(start, "<!doctype html") || has(start, "<html") ? Kind::Html : Kind::Text;
    const bool text = type.starts_with("text/") || has(type, "json") || has(type, "xml") || has(type, "yaml") ||
                      has(type, "javascript") || has(type, "x-sh") || has(type, "toml") || has(type, "x-www-form");
    return text ? Kind::Text : Kind::Other;
}

PageText plain(std::string_view bytes, std::string_view charset, size_t most) {
    PageText page;
    page.text = clean_text(decode_charset(bytes, charset));
    if (page.text.size() > most) {
        page.text.resize(utf8_prefix(page.text, most).size());
        page.note = "only its beginning";
    }
    return page;
}

}  // namespace

PageText read_page(std::string_view bytes, std::string_view type, const WebAddress& at, size_t most) {
    std::string name = lower(type.substr(0, type.find(';')));
    std::erase(name, ' ');
    std::string charset = charset_of(type);
    switch (kind_of(bytes, name)) {
        case Kind::Html:
            if (charset.empty()) charset = html_charset(bytes);
            return read_html(decode_charset(bytes, charset), at, most);
        case Kind::Text:
            return plain(bytes, charset, most);
        case Kind::Pdf:
            return read_pdf(bytes, most);
        case Kind::Other:
            break;
    }
    PageText page;
    page.note = std::to_string(bytes.size()) + " bytes that are no text; to have them as a file: curl in the shell";
    return page;
}

}  // namespace peacrab
