// One pass over the bytes, no tree and no recursion: tags are events for a writer of text. It forgives what
// browsers forgive, and it must not be led to look at a byte more than a few times: whatever is opened and not
// closed reaches to the end, once.
#include "web/html.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "os.h"
#include "web/characters.h"
#include "web/entities.h"

namespace peacrab {
namespace {

constexpr size_t kMaxTitle = 300;
constexpr size_t kMaxLists = 8;       // what nests deeper is not indented further
constexpr size_t kMaxAttributes = 64;  // of one element that are looked at
constexpr size_t kFew = 200;           // so little text that something was left out that should not have been

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A name in a list of names, each with a blank on both sides.
bool in(std::string_view list, std::string_view name) {
    if (name.empty()) return false;
    for (size_t at = list.find(name); at != std::string_view::npos; at = list.find(name, at + 1))
        if (list[at - 1] == ' ' && list[at + name.size()] == ' ') return true;
    return false;
}

constexpr std::string_view kVoid = " area base br col embed hr img input link meta param source track wbr ";
// Their content is not markup.
constexpr std::string_view kRaw = " script style textarea title xmp iframe noembed noframes ";
constexpr std::string_view kSkipped = " template svg object canvas audio video select datalist dialog ";
constexpr std::string_view kAround = " nav footer ";
constexpr std::string_view kBlock =
    " address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form "
    "header hgroup hr html legend li main nav ol p pre section summary table tbody tfoot thead tr ul caption "
    "h1 h2 h3 h4 h5 h6 option menu ";
constexpr std::string_view kParagraph =
    " p pre table ul ol dl blockquote h1 h2 h3 h4 h5 h6 figure article section ";

struct Tag {
    std::string name;
    bool closes = false;
    bool empty = false;  // <br/>
    std::vector<std::pair<std::string, std::string_view>> attributes;  // values as written

    const std::string_view* find(std::string_view key) const {
        for (const auto& attribute : attributes)
            if (attribute.first == key) return &attribute.second;
        return nullptr;
    }
    std::string value(std::string_view key) const {
        const std::string_view* found = find(key);
        return found ? clean_text(decode_entities(found->substr(0, kMaxAddress))) : std::string();
    }
};

// Reads the tag at `at`, which is behind its '<'.
Tag read_tag(std::string_view html, size_t& at) {
    Tag tag;
    tag.closes = html[at] == '/';
    at += tag.closes;
    size_t end = at;
    while (end < html.size() && !is_space(html[end]) && html[end] != '>' && html[end] != '/') ++end;
    tag.name = lower(html.substr(at, std::min<size_t>(end - at, 32)));
    at = end;
    while (at < html.size() && html[at] != '>') {
        if (is_space(html[at]) || html[at] == '/') {
            tag.empty = html[at++] == '/';
            continue;
        }
        tag.empty = false;
        const size_t name = at;
        while (at < html.size() && !is_space(html[at]) && html[at] != '=' && html[at] != '>' && html[at] != '/')
            ++at;
        const std::string key = lower(html.substr(name, std::min<size_t>(at - name, 32)));
        while (at < html.size() && is_space(html[at])) ++at;
        std::string_view value;
        if (at < html.size() && html[at] == '=') {
            ++at;
            while (at < html.size() && is_space(html[at])) ++at;
            const char quote = at < html.size() && (html[at] == '"' || html[at] == '\'') ? html[at++] : '\0';
            const size_t first = at;
            while (at < html.size() && (quote ? html[at] != quote : !is_space(html[at]) && html[at] != '>')) ++at;
            value = html.substr(first, at - first);
            if (quote && at < html.size()) ++at;
        } else if (at == name) {
            ++at;  // a stray '='
        }
        if (tag.attributes.size() < kMaxAttributes) tag.attributes.emplace_back(key, value);
    }
    if (at < html.size()) ++at;
    return tag;
}

// Where "</name" is, from `at` on; the end when it is nowhere.
size_t find_end_tag(std::string_view html, size_t at, std::string_view name) {
    for (size_t i = html.find("</", at); i != std::string_view::npos; i = html.find("</", i + 2))
        if (lower(html.substr(i + 2, name.size())) == name) return i;
    return html.size();
}

// Text as it grows: white space is one blank, blocks stand on lines of their own.
class Writer {
  public:
    Writer(const WebAddress& at, size_t most) : base_(at), most_(most) {}

    void text(std::string_view piece) {
        const std::string clean = clean_text(decode_entities(piece));
        const auto within = [&](size_t i) { return (static_cast<unsigned char>(clean[i]) & 0xc0) == 0x80; };
        for (size_t i = 0; i < clean.size() && (!full() || within(i)); ++i) {
            const bool no_break = clean[i] == '\xc2' && i + 1 < clean.size() && clean[i + 1] == '\xa0';
            if (pre_ == 0 && (is_space(clean[i]) || no_break)) {
                i += no_break;
                blank_ = true;
            } else if (pre_ == 0 || clean[i] != '\n' || out_.size() != pre_from_) {
                put(clean[i]);
            }
        }
    }
    void open(const Tag& tag) {
        const std::string& name = tag.name;
        if (in(kBlock, name)) block(in(kParagraph, name) && lists_ == 0 ? 2 : 1);
        if (name == "br") return line();
        if (name == "hr") return raw("---"), block(1);
        if (name == "pre") {
            if (pre_++ > 0) return;
            raw("```\n");
            pre_from_ = out_.size();
            return;
        }
        if (name == "code" && pre_ == 0) return raw_inline("`");
        if (name.size() == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6')
            return raw(std::string(static_cast<size_t>(name[1] - '0'), '#') + " ");
        if (name == "ul" || name == "ol" || name == "menu") {
            if (lists_ < kMaxLists) counters_[lists_] = name == "ol" ? 1 : 0;
            ++lists_;
        } else if (name == "li") {
            item();
        } else if (name == "tr") {
            cell_ = false;
            raw("|");
        } else if (name == "td" || name == "th") {
            end_cell();
            cell_ = true;
            blank_ = true;
            cell_from_ = out_.size();
        } else if (name == "img") {
            if (const std::string what = tag.value("alt"); !what.empty()) text("[image: " + what + "]");
        } else if (name == "base") {
            if (const std::string to = resolve_link(base_, tag.value("href")); !to.empty() && !based_) {
                base_ = parse_address(to);
                based_ = true;
            }
        } else if (name == "a") {
            close_link();
            const std::string_view* to = tag.find("href");
            if (!to || to->starts_with('#')) return;
            link_ = resolve_link(base_, tag.value("href"));
            if (link_.empty()) return;
            raw_inline("[");
            link_from_ = out_.size();
        }
    }
    void close(const std::string& name) {
        if (name == "a") return close_link();
        if (name == "code" && pre_ == 0) return raw_end("`");
        if (name == "td" || name == "th") return end_cell();
        if (name == "tr" || name == "table") end_cell();
        if (name == "pre" && pre_ > 0) {
            if (--pre_ > 0) return;
            if (!out_.empty() && out_.back() != '\n') out_ += '\n';
            out_ += "```";
        }
        if ((name == "ul" || name == "ol" || name == "menu") && lists_ > 0) --lists_;
        if (in(kBlock, name)) block(in(kParagraph, name) && lists_ == 0 ? 2 : 1);
    }
    bool full() const { return out_.size() >= most_; }
    std::string finish() {
        close_link();
        if (pre_ > 0) out_ += "\n```";
        return std::move(out_);
    }
    size_t size() const { return out_.size(); }

  private:
    // What was held back is due: line ends, or a blank.
    void settle() {
        if (pending_ > 0) {
            while (!out_.empty() && out_.back() == ' ') out_.pop_back();
            if (!out_.empty()) out_.append(pending_, '\n');
            pending_ = 0;
        } else if (blank_ && !out_.empty() && !is_space(out_.back())) {
            out_ += ' ';
        }
        blank_ = false;
    }
    void put(char c) {
        settle();
        out_ += c;
    }
    void raw(std::string_view piece) {
        settle();
        out_ += piece;
        blank_ = false;
    }
    void raw_inline(std::string_view piece) {
        settle();
        out_ += piece;
    }
    void raw_end(std::string_view piece) {
        blank_ = false;
        if (pending_ == 0 && !out_.empty()) out_ += piece;
    }
    void block(size_t lines) {
        if (pre_ > 0) return line();
        blank_ = out_.size() == cell_from_;  // a cell's first block is its text
        if (!blank_) pending_ = std::max(pending_, lines);
    }
    void line() {
        if (pre_ > 0)
            put('\n');
        else
            pending_ = std::max<size_t>(pending_, 1);
        blank_ = false;
    }
    void item() {
        const size_t depth = std::clamp<size_t>(lists_, 1, kMaxLists) - 1;
        int& number = counters_[depth];
        settle();
        out_.append(2 * depth, ' ');
        out_ += number > 0 && lists_ > 0 ? std::to_string(number++) + ". " : "- ";
    }
    void end_cell() {
        if (!std::exchange(cell_, false)) return;
        pending_ = 0;
        raw_end(" |");
    }
    void close_link() {
        if (link_.empty()) return;
        const std::string to = std::exchange(link_, {});
        if (link_from_ >= out_.size()) {  // an image without words
            out_.resize(std::min(out_.size(), link_from_ - 1));
            return;
        }
        out_ += "](" + to + ")";
    }

    WebAddress base_;
    bool based_ = false;
    size_t most_;
    std::string out_;
    size_t pending_ = 0;  // line ends before what comes next
    bool blank_ = false;
    bool cell_ = false;  // one is open
    int pre_ = 0;
    size_t pre_from_ = 0, cell_from_ = SIZE_MAX;
    size_t lists_ = 0;
    std::array<int, kMaxLists> counters_{};
    std::string link_;  // "": none is open
    size_t link_from_ = 0;
};

enum class Leave { Around, Nothing };

bool is_hidden(const Tag& tag) {
    if (tag.find("hidden")) return true;
    if (tag.value("aria-hidden") == "true") return true;
    std::string style = lower(tag.value("style"));
    std::erase_if(style, is_space);
    return style.find("display:none") != std::string::npos || style.find("visibility:hidden") != std::string::npos ||
           style.find("font-size:0") != std::string::npos || style.find("opacity:0;") != std::string::npos;
}

class Reader {
  public:
    Reader(std::string_view html, const WebAddress& at, size_t most, Leave leave)
        : html_(html), writer_(at, most), leave_(leave) {}

    PageText read() {
        while (at_ < html_.size() && !writer_.full()) {
            const size_t mark = std::min(html_.find('<', at_), html_.size());
            if (skipping_.empty() && mark > at_) writer_.text(html_.substr(at_, mark - at_));
            at_ = mark;
            if (at_ < html_.size()) markup();
        }
        PageText page;
        page.title = std::move(title_);
        if (writer_.full()) page.note = "only its beginning";
        page.text = writer_.finish();
        return page;
    }

  private:
    void markup() {
        const char next = at_ + 1 < html_.size() ? html_[at_ + 1] : '\0';
        if (html_.substr(at_).starts_with("<!--")) {
            const size_t end = html_.find("-->", at_ + 4);
            at_ = end == std::string_view::npos ? html_.size() : end + 3;
        } else if (next == '!' || next == '?') {
            const size_t end = html_.find('>', at_);
            at_ = end == std::string_view::npos ? html_.size() : end + 1;
        } else if (is_letter(next) || (next == '/' && at_ + 2 < html_.size() && is_letter(html_[at_ + 2]))) {
            ++at_;
            const Tag tag = read_tag(html_, at_);
            tag.closes ? close(tag) : open(tag);
        } else {
            if (skipping_.empty()) writer_.text("<");
            ++at_;
        }
    }
    void open(const Tag& tag) {
        if (in(kRaw, tag.name)) return raw(tag.name);
        const bool closes_itself = in(kVoid, tag.name) || (tag.empty && tag.name != "a");
        if (!skipping_.empty()) {
            if (tag.name == skipping_ && !closes_itself) ++depth_;
            return;
        }
        if (tag.name == "body") body_ = true;
        const bool leave = in(kSkipped, tag.name) ||
                           (leave_ == Leave::Around && (in(kAround, tag.name) || tag.value("role") == "navigation" ||
                                                        (tag.name != "body" && is_hidden(tag))));
        if (leave) {
            if (closes_itself) return;
            skipping_ = tag.name;
            depth_ = 1;
            return;
        }
        writer_.open(tag);
    }
    void close(const Tag& tag) {
        if (skipping_.empty()) return writer_.close(tag.name);
        if (tag.name == skipping_ && --depth_ == 0) skipping_.clear();
    }
    void raw(const std::string& name) {
        const size_t end = find_end_tag(html_, at_, name);
        const std::string_view inside = html_.substr(at_, end - at_);
        if (name == "title" && title_.empty() && !body_) {
            for (const char c : clean_text(decode_entities(inside.substr(0, 4 * kMaxTitle))))
                if (!is_space(c))
                    title_ += c;
                else if (!title_.empty() && title_.back() != ' ')
                    title_ += ' ';
            title_ = utf8_prefix(title_, kMaxTitle);
            while (!title_.empty() && title_.back() == ' ') title_.pop_back();
        } else if ((name == "textarea" || name == "xmp") && skipping_.empty()) {
            writer_.text(inside);
        }
        at_ = end;
        if (at_ < html_.size()) {
            ++at_;
            (void)read_tag(html_, at_);
        }
    }

    std::string_view html_;
    size_t at_ = 0;
    Writer writer_;
    Leave leave_;
    std::string title_;
    bool body_ = false;
    std::string skipping_;  // the element that is left out; "": none
    size_t depth_ = 0;
};

}  // namespace

PageText read_html(std::string_view html, const WebAddress& at, size_t most) {
    PageText page = Reader(html, at, most, Leave::Around).read();
    if (page.text.size() >= kFew) return page;
    // What was left out may have been the page, or an element that was never closed.
    PageText all = Reader(html, at, most, Leave::Nothing).read();
    return all.text.size() > 4 * page.text.size() + kFew ? all : page;
}

std::string html_charset(std::string_view bytes) {
    const std::string head = lower(bytes.substr(0, 2048));
    for (size_t at = head.find("<meta"); at != std::string::npos; at = head.find("<meta", at + 5)) {
        const size_t end = std::min(head.find('>', at), head.size());
        size_t found = head.find("charset", at);
        if (found >= end) continue;
        found += 7;
        while (found < end && (is_space(head[found]) || head[found] == '=' || head[found] == '"' || head[found] == '\''))
            ++found;
        const size_t first = found;
        while (found < end && !is_space(head[found]) && std::string_view("\"'/;").find(head[found]) == std::string_view::npos)
            ++found;
        return head.substr(first, found - first);
    }
    return {};
}

}  // namespace peacrab
