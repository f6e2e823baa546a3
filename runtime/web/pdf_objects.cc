// Tolerant in what it finds, strict in what it spends: every value that is read and every byte that is inflated
// is counted for the whole file. Must not recurse deeper than kMaxDepth. The only file that includes zlib.
#include "web/pdf_objects.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <set>

#include "error.h"

namespace peacrab {
namespace {

using Kind = PdfValue::Kind;

constexpr int kMaxDepth = 24;
constexpr size_t kMaxObjects = 200'000;
constexpr size_t kMaxPages = 2000;
constexpr size_t kMaxStream = size_t{16} << 20;
constexpr size_t kMaxFilters = 4;

bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\0';
}
bool is_delimiter(char c) {
    return std::string_view("()<>[]{}/%").find(c) != std::string_view::npos;
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

PdfValue of(Kind kind, std::string text = {}) {
    PdfValue value;
    value.kind = kind;
    value.text = std::move(text);
    return value;
}

// Whatever could be inflated, also of a stream that is cut.
std::string inflated(std::string_view bytes, size_t most) {
    z_stream zip{};
    if (inflateInit(&zip) != Z_OK) throw std::bad_alloc();
    std::string out;
    std::array<char, 65536> piece;
    zip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    zip.avail_in = static_cast<uInt>(bytes.size());
    for (int code = Z_OK; code == Z_OK && out.size() < most;) {
        zip.next_out = reinterpret_cast<Bytef*>(piece.data());
        zip.avail_out = static_cast<uInt>(piece.size());
        code = ::inflate(&zip, Z_NO_FLUSH);
        out.append(piece.data(), piece.size() - zip.avail_out);
    }
    inflateEnd(&zip);
    out.resize(std::min(out.size(), most));
    return out;
}

std::string from_hex(std::string_view bytes) {
    std::string out;
    int high = -1;
    for (const char c : bytes) {
        if (c == '>') break;
        const int digit = hex_digit(c);
        if (digit < 0) continue;
        if (high < 0) {
            high = digit;
        } else {
            out += static_cast<char>(high << 4 | digit);
            high = -1;
        }
    }
    if (high >= 0) out += static_cast<char>(high << 4);
    return out;
}

std::string from_base85(std::string_view bytes) {
    std::string out;
    uint32_t word = 0;
    int count = 0;
    const auto put = [&](int most) {
        for (int i = 0; i < most; ++i) out += static_cast<char>(word >> (24 - 8 * i) & 0xff);
    };
    for (const char c : bytes) {
        if (c == '~') break;
        if (c == 'z' && count == 0) out.append(4, '\0');
        if (c < '!' || c > 'u') continue;
        word = word * 85 + static_cast<uint32_t>(c - '!');
        if (++count < 5) continue;
        put(4);
        word = 0;
        count = 0;
    }
    if (count > 1) {
        for (int i = count; i < 5; ++i) word = word * 85 + 84;
        put(count - 1);
    }
    return out;
}

}  // namespace

void PdfBudget::spend(size_t& from, size_t amount) const {
    if (amount > from) throw Error("the PDF is too complicated to be read here");
    from -= amount;
}

const PdfValue* PdfValue::find(std::string_view key) const {
    if (kind != Kind::Dict) return nullptr;
    for (size_t i = 0; i + 1 < items.size(); i += 2)
        if (items[i].text == key) return &items[i + 1];
    return nullptr;
}

int64_t PdfValue::integer() const {
    const bool fits = (kind == Kind::Number || kind == Kind::Reference) && number > -1e9 && number < 1e9;
    return fits ? static_cast<int64_t>(number) : 0;
}

// ---- values

void PdfLexer::skip_blank() {
    const size_t first = at_;
    while (at_ < bytes_.size()) {
        if (bytes_[at_] == '%')
            at_ = std::min(bytes_.find_first_of("\r\n", at_), bytes_.size());
        else if (is_blank(bytes_[at_]))
            ++at_;
        else
            break;
    }
    passed(at_ - first);
}

PdfValue PdfLexer::value(int depth) {
    if (depth > kMaxDepth) throw Error("the PDF nests too deep");
    budget_->spend(budget_->values, 1);
    skip_blank();
    if (at_ >= bytes_.size()) return of(Kind::End);
    const char c = bytes_[at_];
    if (is_digit(c) || c == '+' || c == '-' || c == '.') return number();
    if (c == '/') return name();
    if (c == '(') return literal();
    if (c == '<' && bytes_.substr(at_, 2) != "<<") return hex();
    if (c == '[' || c == '<') {
        at_ += c == '[' ? 1 : 2;
        PdfValue whole = of(c == '[' ? Kind::Array : Kind::Dict);
        const std::string_view end = c == '[' ? "]" : ">>";
        for (;;) {
            PdfValue item = value(depth + 1);
            if (item.is(Kind::End) || (item.is(Kind::Keyword) && item.text == end)) return whole;
            // A dictionary's end within an array and the like: what is open is taken to be closed.
            if (item.is(Kind::Keyword) && (item.text == "endobj" || item.text == "stream")) {
                at_ -= item.text.size();
                return whole;
            }
            whole.items.push_back(std::move(item));
        }
    }
    if (is_delimiter(c)) {
        const size_t length = bytes_.substr(at_, 2) == ">>" ? 2 : 1;
        at_ += length;
        return of(Kind::Keyword, std::string(bytes_.substr(at_ - length, length)));
    }
    const size_t first = at_;
    while (at_ < bytes_.size() && !is_blank(bytes_[at_]) && !is_delimiter(bytes_[at_])) ++at_;
    return of(Kind::Keyword, std::string(bytes_.substr(first, std::min<size_t>(at_ - first, 32))));
}

// " 0 R" behind a number.
bool PdfLexer::follows_reference(size_t& end) const {
    size_t i = at_;
    const auto blanks = [&] {
        const size_t first = i;
        while (i < bytes_.size() && i < first + 8 && is_blank(bytes_[i])) ++i;
        return i > first;
    };
    if (!blanks()) return false;
    const size_t first = i;
    while (i < bytes_.size() && i < first + 5 && is_digit(bytes_[i])) ++i;
    if (i == first || !blanks() || i >= bytes_.size() || bytes_[i] != 'R') return false;
    end = i + 1;
    return end >= bytes_.size() || is_blank(bytes_[end]) || is_delimiter(bytes_[end]);
}

PdfValue PdfLexer::number() {
    const size_t first = at_;
    bool whole = true;
    while (at_ < bytes_.size() && (is_digit(bytes_[at_]) || bytes_[at_] == '.' || bytes_[at_] == '-' || bytes_[at_] == '+'))
        whole = is_digit(bytes_[at_++]) && whole;
    PdfValue value = of(Kind::Number);
    const char* from = bytes_.data() + first;
    if (*from == '+') ++from;
    double sign = 1;
    while (from < bytes_.data() + at_ && *from == '-') {
        sign = -1;
        ++from;
    }
    // Digits by hand: what a standard library makes of "1.2.3" or of a huge number differs.
    double scale = 0;
    for (; from < bytes_.data() + at_ && value.number < 1e15; ++from) {
        if (is_digit(*from)) {
            value.number = value.number * 10 + (*from - '0');
            scale *= 10;
        } else if (*from == '.' && scale == 0) {
            scale = 1;
        } else {
            break;
        }
    }
    value.number *= sign / std::max(scale, 1.0);
    size_t end = 0;
    if (whole && references_ == References::Read && follows_reference(end)) {
        value.kind = Kind::Reference;
        at_ = end;
    }
    return value;
}

PdfValue PdfLexer::name() {
    PdfValue value = of(Kind::Name);
    for (++at_; at_ < bytes_.size() && !is_blank(bytes_[at_]) && !is_delimiter(bytes_[at_]); ++at_) {
        char c = bytes_[at_];
        if (c == '#' && at_ + 2 < bytes_.size() && hex_digit(bytes_[at_ + 1]) >= 0 && hex_digit(bytes_[at_ + 2]) >= 0) {
            c = static_cast<char>(hex_digit(bytes_[at_ + 1]) << 4 | hex_digit(bytes_[at_ + 2]));
            at_ += 2;
        }
        if (value.text.size() < 128) value.text += c;
    }
    return value;
}

PdfValue PdfLexer::literal() {
    PdfValue value = of(Kind::String);
    int open = 1;
    for (++at_; at_ < bytes_.size(); ++at_) {
        char c = bytes_[at_];
        if (c == '(') ++open;
        if (c == ')' && --open == 0) {
            ++at_;
            break;
        }
        if (c == '\\' && at_ + 1 < bytes_.size()) {
            c = bytes_[++at_];
            if (c >= '0' && c <= '7') {
                int code = 0;
                for (int i = 0; i < 3 && at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '7'; ++i)
                    code = code * 8 + (bytes_[at_++] - '0');
                --at_;
                c = static_cast<char>(code);
            } else if (c == '\n' || c == '\r') {
                if (c == '\r' && at_ + 1 < bytes_.size() && bytes_[at_ + 1] == '\n') ++at_;
                continue;
            } else {
                const size_t which = std::string_view("nrtbf").find(c);
                if (which != std::string_view::npos) c = "\n\r\t\b\f"[which];
            }
        }
        value.text += c;
    }
    passed(value.text.size());
    return value;
}

PdfValue PdfLexer::hex() {
    const size_t end = std::min(bytes_.find('>', at_), bytes_.size());
    PdfValue value = of(Kind::String, from_hex(bytes_.substr(at_ + 1, end - at_ - 1)));
    passed(end - at_);
    at_ = std::min(end + 1, bytes_.size());
    return value;
}

// ---- the file

PdfFile::PdfFile(std::string_view bytes) : bytes_(bytes) {
    for (size_t at = bytes.find("/Encrypt"); at != std::string_view::npos; at = bytes.find("/Encrypt", at + 1))
        if (at + 8 >= bytes.size() || is_blank(bytes[at + 8]) || is_delimiter(bytes[at + 8])) encrypted_ = true;
    if (!encrypted_) index();
}

// Every "7 0 obj", in the file's order, so that a later one takes an earlier one's place, as an update means it.
void PdfFile::index() {
    for (size_t at = bytes_.find("obj"); at != std::string_view::npos; at = bytes_.find("obj", at + 3)) {
        size_t i = at;
        const auto digits = [&](size_t most) {
            const size_t end = i;
            while (i > 0 && is_blank(bytes_[i - 1]) && end - i < 8) --i;
            const size_t last = i;
            while (i > 0 && is_digit(bytes_[i - 1]) && last - i < most) --i;
            return last - i;
        };
        if (digits(5) == 0 || digits(9) == 0) continue;
        int64_t id = 0;
        std::from_chars(bytes_.data() + i, bytes_.data() + at, id);
        if (objects_.size() >= kMaxObjects) throw Error("the PDF has too many objects");
        objects_[id] = {at + 3, -1};
        PdfLexer lexer(bytes_.substr(at + 3), budget_);
        PdfValue value;
        try {
            value = lexer.next();
        } catch (const Error&) {
            if (budget_.values < 1000) throw;
            continue;  // nests too deep
        }
        const PdfValue* type = value.find("Type");
        if (!type) continue;
        if (type->is_name("ObjStm")) index_stream(id, value);
        if (type->is_name("Catalog")) catalog_ = id;
        if (type->is_name("Page")) loose_pages_.push_back(id);
    }
}

void PdfFile::index_stream(int64_t id, const PdfValue& dict) {
    std::string& text = streams_[id] = decoded(dict, objects_[id].at);
    const PdfValue* count = dict.find("N");
    const PdfValue* first = dict.find("First");
    if (!count || !first) return;
    PdfLexer lexer(text, budget_);
    for (int64_t i = 0; i < count->integer(); ++i) {
        const PdfValue number = lexer.next(), offset = lexer.next();
        if (!number.is(Kind::Number) || !offset.is(Kind::Number)) return;
        const int64_t at = first->integer() + offset.integer();
        if (at < 0 || static_cast<size_t>(at) >= text.size()) continue;
        if (objects_.size() >= kMaxObjects) throw Error("the PDF has too many objects");
        objects_[number.integer()] = {static_cast<size_t>(at), id};
        PdfLexer inside(std::string_view(text).substr(static_cast<size_t>(at)), budget_);
        PdfValue value;
        try {
            value = inside.next();
        } catch (const Error&) {
            if (budget_.values < 1000) throw;
            continue;
        }
        const PdfValue* type = value.find("Type");
        if (type && type->is_name("Catalog")) catalog_ = number.integer();
        if (type && type->is_name("Page")) loose_pages_.push_back(number.integer());
    }
}

PdfValue PdfFile::object(int64_t id) {
    const auto found = objects_.find(id);
    if (found == objects_.end()) return {};
    const Place& place = found->second;
    const std::string_view whole = place.within < 0 ? bytes_ : std::string_view(streams_[place.within]);
    if (place.at >= whole.size()) return {};
    PdfLexer lexer(whole.substr(place.at), budget_);
    return lexer.next();
}

PdfValue PdfFile::resolve(const PdfValue& value) {
    PdfValue now = value;
    for (int i = 0; i < 8 && now.is(Kind::Reference); ++i) now = object(now.integer());
    return now.is(Kind::Reference) ? PdfValue() : now;
}

PdfValue PdfFile::value_of(const PdfValue& dict, std::string_view key) {
    const PdfValue* found = dict.find(key);
    return found ? resolve(*found) : PdfValue();
}

// The bytes between "stream" and "endstream" of the object at `at`.
std::string_view PdfFile::raw(const PdfValue& dict, size_t at) {
    PdfLexer lexer(bytes_.substr(at), budget_);
    (void)lexer.next();
    if (const PdfValue word = lexer.next(); word.text != "stream") return {};
    at += lexer.at();
    if (bytes_.substr(at, 2) == "\r\n")
        at += 2;
    else if (at < bytes_.size() && (bytes_[at] == '\n' || bytes_[at] == '\r'))
        ++at;
    const PdfValue* length = dict.find("Length");
    const PdfValue known = length && !length->is(Kind::Reference) ? *length : PdfValue();
    const auto size = static_cast<size_t>(std::max<int64_t>(known.integer(), 0));
    if (size > 0 && size < bytes_.size() - std::min(at, bytes_.size())) {
        const std::string_view after = bytes_.substr(at + size, 16);
        if (after.find("endstream") <= 4) return bytes_.substr(at, size);
    }
    const size_t end = std::min(bytes_.find("endstream", at), bytes_.size());
    budget_.spend(budget_.values, (end - std::min(at, end)) / 32);
    return at < end ? bytes_.substr(at, end - at) : std::string_view();
}

std::string PdfFile::decoded(const PdfValue& dict, size_t at) {
    std::string_view bytes = raw(dict, at);
    PdfValue filters = value_of(dict, "Filter");
    if (filters.is(Kind::Name)) {
        PdfValue list = of(Kind::Array);
        list.items.push_back(filters);
        filters = std::move(list);
    }
    if (filters.items.size() > kMaxFilters) return {};
    std::string out(bytes.substr(0, filters.items.empty() ? kMaxStream : bytes.size()));
    for (const PdfValue& filter : filters.items) {
        if (filter.is_name("FlateDecode") || filter.is_name("Fl"))
            out = inflated(out, std::min(kMaxStream, budget_.inflated + 1));
        else if (filter.is_name("ASCII85Decode") || filter.is_name("A85"))
            out = from_base85(out);
        else if (filter.is_name("ASCIIHexDecode") || filter.is_name("AHx"))
            out = from_hex(out);
        else
            return {};  // pictures, mostly
        budget_.spend(budget_.inflated, out.size());
    }
    return out;
}

std::string PdfFile::stream(const PdfValue& reference) {
    if (!reference.is(Kind::Reference)) return {};
    const auto found = objects_.find(reference.integer());
    if (found == objects_.end() || found->second.within >= 0) return {};
    const PdfValue dict = object(reference.integer());
    return dict.is(Kind::Dict) ? decoded(dict, found->second.at) : std::string();
}

std::vector<PdfPage> PdfFile::pages() {
    struct Open {
        PdfValue node;
        std::shared_ptr<const PdfValue> resources;
    };
    std::vector<PdfPage> pages;
    std::set<int64_t> seen;
    std::vector<Open> open;
    const auto own = [&](const PdfValue& node, std::shared_ptr<const PdfValue> inherited) {
        PdfValue resources = value_of(node, "Resources");
        return resources.is(Kind::Dict) ? std::make_shared<const PdfValue>(std::move(resources)) : inherited;
    };
    const PdfValue catalog = object(catalog_);
    if (const PdfValue* root = catalog.find("Pages")) open.push_back({*root, nullptr});
    while (!open.empty() && pages.size() < kMaxPages) {
        const Open next = std::move(open.back());
        open.pop_back();
        if (!next.node.is(Kind::Reference) || !seen.insert(next.node.integer()).second) continue;
        PdfValue node = object(next.node.integer());
        const std::shared_ptr<const PdfValue> resources = own(node, next.resources);
        const PdfValue kids = value_of(node, "Kids");
        if (kids.is(Kind::Array)) {
            if (open.size() + kids.items.size() > kMaxObjects) throw Error("the PDF has too many pages");
            for (size_t i = kids.items.size(); i-- > 0;) open.push_back({kids.items[i], resources});
        } else if (node.is(Kind::Dict)) {
            pages.push_back({std::move(node), resources});
        }
    }
    if (!pages.empty()) return pages;
    for (const int64_t id : loose_pages_) {
        if (!seen.insert(id).second || pages.size() == kMaxPages) continue;
        PdfValue node = object(id);
        const std::shared_ptr<const PdfValue> resources = own(node, nullptr);
        pages.push_back({std::move(node), resources});
    }
    return pages;
}

}  // namespace peacrab
