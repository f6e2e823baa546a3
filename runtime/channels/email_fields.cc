// Small readers, each in one pass. Where two programs could read an address differently it is none: the server that
// has vouched for the sender must have meant the same one.
#include "channels/email_fields.h"

#include <algorithm>
#include <cstdint>

#include "os.h"
#include "web/characters.h"

namespace peacrab {
namespace {

constexpr size_t kMostFields = 1000;
constexpr size_t kMostOfField = size_t{16} << 10;
constexpr size_t kLongestId = 250;
constexpr size_t kMostIds = 100;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (is_blank(text.front()) || text.front() == '\r' || text.front() == '\n')) text.remove_prefix(1);
    while (!text.empty() && (is_blank(text.back()) || text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
    return text;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Comments become a blank, quoted text stays as it is. False: a quote or a comment does not end, or a comment has a
// quote in it, which is how a stranger's address would end a server's comment early.
bool without_comments(std::string_view value, std::string& out) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < value.size(); ++i) {
        const char c = value[i];
        const bool escaped = c == '\\' && i + 1 < value.size();
        if (!depth) out += c;
        if (escaped && (quoted || depth)) {
            ++i;
            if (!depth) out += value[i];
        } else if (quoted) {
            quoted = c != '"';
        } else if (c == '(') {
            if (depth++ == 0) out.back() = ' ';
        } else if (depth) {
            if (c == '"') return false;
            if (c == ')') --depth;
        } else {
            quoted = c == '"';
        }
    }
    return depth == 0 && !quoted;
}

std::string unquoted(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"') continue;
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out += text[i];
    }
    return out;
}

std::string one_line(std::string text, size_t most) {
    text = clean_text(text);
    std::replace(text.begin(), text.end(), '\n', ' ');
    std::replace(text.begin(), text.end(), '\t', ' ');
    return std::string(trimmed(utf8_prefix(text, most)));
}

// Splits at `separator` where it is not within quotes.
std::vector<std::string_view> split_outside(std::string_view value, char separator) {
    std::vector<std::string_view> parts;
    bool quoted = false;
    size_t begin = 0;
    for (size_t i = 0; i < value.size(); ++i) {
        if (quoted && value[i] == '\\') ++i;
        else if (value[i] == '"') quoted = !quoted;
        else if (value[i] == separator && !quoted) {
            parts.push_back(value.substr(begin, i - begin));
            begin = i + 1;
        }
    }
    parts.push_back(value.substr(begin));
    return parts;
}

}  // namespace

std::string joined(std::initializer_list<std::string_view> texts) {
    std::string out;
    for (const std::string_view text : texts) out += text;
    return out;
}

const std::string* EmailFields::first(std::string_view name) const {
    for (const auto& [key, value] : all)
        if (key == name) return &value;
    return nullptr;
}

std::string EmailFields::text(std::string_view name) const {
    const std::string* const found = first(name);
    return found ? *found : std::string();
}

size_t EmailFields::count(std::string_view name) const {
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const auto& field) { return field.first == name; }));
}

EmailFields read_fields(std::string_view raw, size_t& body) {
    EmailFields fields;
    size_t at = 0;
    while (at < raw.size()) {
        const size_t end = std::min(raw.find('\n', at), raw.size());
        std::string_view line = raw.substr(at, end - at);
        at = std::min(end + 1, raw.size());
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) break;
        if (is_blank(line[0])) {
            if (!fields.all.empty() && fields.all.back().second.size() < kMostOfField) {
                fields.all.back().second += ' ';
                fields.all.back().second += trimmed(line);
            }
            continue;
        }
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos || fields.all.size() == kMostFields) continue;
        fields.all.emplace_back(lower(trimmed(line.substr(0, colon))), trimmed(line.substr(colon + 1, kMostOfField)));
    }
    body = at;
    return fields;
}

bool is_address(std::string_view text) {
    const size_t at = text.find('@');
    if (at == 0 || at == std::string_view::npos || text.size() > 254 || at > 64) return false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool common = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (c == '.' && i > 0 && text[i - 1] != '.');
        const bool local = i < at && std::string_view("!#$%&'*+/=?^_`{|}~").find(c) != std::string_view::npos;
        if (!common && !local && i != at) return false;
    }
    const std::string_view domain = text.substr(at + 1);
    return !domain.empty() && text[at - 1] != '.' && domain[0] != '.' && domain[0] != '-' && domain.back() != '.';
}

EmailAddress read_address(std::string_view value) {
    EmailAddress out;
    std::string text;
    if (!without_comments(value.substr(0, 2000), text)) return out;
    const std::vector<std::string_view> opened = split_outside(text, '<');
    if (opened.size() > 2 || split_outside(text, ',').size() > 1 || split_outside(text, ';').size() > 1) return out;
    std::string_view address = opened.back();
    if (opened.size() == 2) {
        const size_t close = address.find('>');
        if (close == std::string_view::npos || !trimmed(address.substr(close + 1)).empty()) return out;
        address = address.substr(0, close);
        out.name = one_line(readable(unquoted(trimmed(opened[0]))), 200);
    }
    const std::string plain = lower(trimmed(address));
    if (is_address(plain)) out.address = plain;
    return out;
}

std::string main_value(std::string_view value) {
    return lower(trimmed(value.substr(0, value.find(';'))));
}

std::string parameter(std::string_view value, std::string_view name) {
    std::string pieces;
    bool percent = false;
    for (std::string_view part : split_outside(value.substr(0, kMostOfField), ';')) {
        const size_t equals = part.find('=');
        if (equals == std::string_view::npos) continue;
        std::string key = lower(trimmed(part.substr(0, equals)));
        std::string_view given = trimmed(part.substr(equals + 1));
        if (!key.starts_with(name)) continue;
        const std::string_view rest = std::string_view(key).substr(name.size());
        if (rest.empty()) return one_line(readable(unquoted(given)), 255);
        if (rest[0] != '*' || pieces.size() > 2000) continue;
        percent = percent || rest.ends_with('*');
        pieces += unquoted(given);
    }
    if (!percent) return one_line(pieces, 255);
    const size_t one = pieces.find('\''), two = one == std::string::npos ? one : pieces.find('\'', one + 1);
    if (two == std::string::npos) return {};
    std::string bytes;
    for (size_t i = two + 1; i < pieces.size(); ++i) {
        if (pieces[i] == '%' && i + 2 < pieces.size() && hex_digit(pieces[i + 1]) >= 0 && hex_digit(pieces[i + 2]) >= 0) {
            bytes += static_cast<char>(hex_digit(pieces[i + 1]) * 16 + hex_digit(pieces[i + 2]));
            i += 2;
        } else {
            bytes += pieces[i];
        }
    }
    return one_line(decode_charset(bytes, pieces.substr(0, one)), 255);
}

std::string readable(std::string_view value) {
    std::string out, bytes, charset;
    const auto flush = [&] {
        if (!bytes.empty()) out += decode_charset(bytes, charset);
        bytes.clear();
    };
    value = value.substr(0, kMostOfField);
    for (size_t at = 0; at < value.size();) {
        const size_t begin = value.find("=?", at);
        const size_t one = begin == std::string_view::npos ? begin : value.find('?', begin + 2);
        const size_t two = one == std::string_view::npos ? one : value.find('?', one + 1);
        const size_t end = two == std::string_view::npos ? two : value.find("?=", two + 1);
        if (end == std::string_view::npos || two != one + 2 || one - begin > 60) {
            // Nothing more can be one when there is no end; else it goes on behind this.
            const size_t stop = end == std::string_view::npos ? value.size() : begin + 2;
            flush();
            out += decode_charset(value.substr(at, stop - at), "utf-8");
            at = stop;
            continue;
        }
        const std::string_view between = value.substr(at, begin - at);
        const std::string now(value.substr(begin + 2, std::min(one, value.find('*', begin)) - begin - 2));
        if (!trimmed(between).empty() || (at == 0 && !between.empty()) || lower(now) != lower(charset)) flush();
        if (!trimmed(between).empty()) out += decode_charset(between, "utf-8");
        charset = now;
        std::string text(value.substr(two + 1, end - two - 1));
        if ((value[one + 1] | 0x20) == 'b') {
            bytes += base64_bytes(text);
        } else {
            std::replace(text.begin(), text.end(), '_', ' ');
            bytes += quoted_printable_bytes(text);
        }
        at = end + 2;
    }
    flush();
    return one_line(std::move(out), 4096);
}

std::string encoded_words(std::string_view utf8) {
    const bool plain = std::all_of(utf8.begin(), utf8.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (plain && utf8.size() < 400 && utf8.find("=?") == std::string_view::npos) return std::string(utf8);
    constexpr char kHex[] = "0123456789ABCDEF";
    std::string out, word;
    for (size_t at = 0; at < utf8.size();) {
        const std::string_view character = utf8.substr(at, std::max<size_t>(1, utf8_length(utf8.substr(at))));
        std::string coded;
        for (const char c : character) {
            const auto byte = static_cast<unsigned char>(c);
            const bool bare = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
            if (bare || c == ' ') coded += bare ? c : '_';
            else coded.append({'=', kHex[byte >> 4], kHex[byte & 15]});
        }
        if (word.size() + coded.size() > 60) {
            out += joined({"=?utf-8?q?", word, "?=\r\n "});
            word.clear();
        }
        word += coded;
        at += character.size();
    }
    return joined({out, "=?utf-8?q?", word, "?="});
}

std::vector<std::string> message_ids(std::string_view value) {
    std::vector<std::string> ids;
    for (size_t at = value.find('<'); at != std::string_view::npos && ids.size() < kMostIds; at = value.find('<', at + 1)) {
        const size_t end = value.find('>', at);
        if (end == std::string_view::npos) break;
        const std::string_view id = value.substr(at, end - at + 1);
        const bool plain = std::all_of(id.begin() + 1, id.end() - 1,
                                       [](char c) { return c > ' ' && c <= '~' && c != '<' && c != '"' && c != '\\' && c != '(' && c != ')'; });
        if (plain && id.size() >= 5 && id.size() <= kLongestId) ids.emplace_back(id);
    }
    return ids;
}

std::string Base64Reader::take(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '=') count_ = 0;  // what is behind it, if anything, is a text of its own
        const int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
        if (digit < 0) continue;
        bits_ = bits_ << 6 | static_cast<uint32_t>(digit);
        count_ += 6;
        if (count_ < 8) continue;
        count_ -= 8;
        out += static_cast<char>(bits_ >> count_ & 0xff);
    }
    return out;
}

std::string quoted_printable_bytes(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '=') {
            out += text[i];
            continue;
        }
        size_t end = i + 1;
        while (end < text.size() && (is_blank(text[end]) || text[end] == '\r')) ++end;
        if (end == text.size() || text[end] == '\n') {
            i = end;
        } else if (i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            out += '=';
        }
    }
    return out;
}

namespace {

// `domain` is the one that is vouched for, or beneath it.
bool covers(std::string_view vouched, const std::string& domain) {
    while (vouched.starts_with('.') || vouched.starts_with('@')) vouched.remove_prefix(1);
    if (const size_t at = vouched.rfind('@'); at != std::string_view::npos) vouched.remove_prefix(at + 1);
    if (vouched.empty() || vouched.find('.') == std::string_view::npos) return vouched == domain && !domain.empty();
    return domain == vouched || domain.ends_with(joined({".", vouched}));
}

// method=result and its properties, "header.from=example.org".
bool proves(std::string_view statement, const EmailAddress& from) {
    std::vector<std::string> words;
    for (const std::string_view word : split_outside(statement, ' '))
        if (!word.empty()) words.push_back(lower(unquoted(word)));
    const auto property = [&](std::string_view key) {
        for (const std::string& word : words)
            if (word.starts_with(key) && word.size() > key.size() && word[key.size()] == '=') return word.substr(key.size() + 1);
        return std::string();
    };
    const std::string method = words.empty() ? "" : words[0];
    if (method == "dmarc=pass") return covers(property("header.from"), from.domain());
    if (method == "dkim=pass") return covers(property("header.d"), from.domain()) || covers(property("header.i"), from.domain());
    if (method == "spf=pass") return covers(property("smtp.mailfrom"), from.domain());
    return method == "auth=pass" && property("smtp.auth") == from.address;
}

// The statements of the topmost word of `authserv`, or of anybody's.
std::vector<std::string> statements(const EmailFields& fields, std::string_view authserv) {
    for (const auto& [name, value] : fields.all) {
        std::string text;
        if (name != "authentication-results" || !without_comments(value, text)) continue;
        std::replace(text.begin(), text.end(), '\t', ' ');
        std::vector<std::string> parts;
        for (const std::string_view part : split_outside(text, ';')) parts.emplace_back(trimmed(part));
        // Behind its name there may be a version.
        parts[0] = lower(unquoted(parts[0].substr(0, parts[0].find(' '))));
        const std::string wanted = lower(authserv);
        if (wanted.empty() || parts[0] == wanted || (wanted[0] == '.' && parts[0].ends_with(wanted))) return parts;
    }
    return {};
}

}  // namespace

bool sender_proven(const EmailFields& fields, std::string_view authserv, const EmailAddress& from) {
    if (authserv.empty() || from.address.empty() || fields.count("from") != 1) return false;
    const std::vector<std::string> said = statements(fields, authserv);
    // What the domain itself wants to hold for its mails goes before all else; a second word on it is somebody else's.
    std::vector<std::string> policy;
    for (const std::string& one : said)
        if (lower(one).starts_with("dmarc=")) policy.push_back(lower(one.substr(0, one.find(' '))));
    if (policy.size() > 1 || (policy.size() == 1 && policy[0] != "dmarc=pass" && policy[0] != "dmarc=none" && policy[0] != "dmarc=bestguesspass"))
        return false;
    return std::any_of(said.begin() + (said.empty() ? 0 : 1), said.end(), [&](const std::string& one) { return proves(one, from); });
}

std::string authserv_of(const EmailFields& fields) {
    const std::vector<std::string> said = statements(fields, {});
    return said.empty() ? std::string() : said[0];
}

}  // namespace peacrab
