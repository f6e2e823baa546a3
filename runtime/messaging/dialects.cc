// A dialect is a row of marks and a way to write what is no mark. Where a messenger knows no escape (Slack,
// WhatsApp), a zero-width space stands between a character that could be a mark and the letter beside it.
// Sources: core.telegram.org/bots/api (HTML style), docs.slack.dev (mrkdwn), support.discord.com (Markdown),
// faq.whatsapp.com (formatting), modern.ircdocs.horse/formatting.
#include "messaging/dialects.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "os.h"
#include "web/address.h"

namespace peacrab {

enum class Escape : uint8_t { None, Html, Slack, Discord, WhatsApp };

struct Marks {
    const char* open;
    const char* close;
    bool narrow = false;  // it is none beside a letter
};

struct DialectRow {
    Marks bold, italic, strike, code;  // open = nullptr: the messenger has none
    const char* fence;                 // what a block of code begins with; nullptr: it has no blocks of code
    const char* fence_end;
    const char* bullet;
    Escape escape;
    bool html;    // styles and quotes are tags
    bool blocks;  // everything is a tag, and white space says nothing
};

namespace {

using Kind = Atom::Kind;

constexpr size_t kMostEntities = 100;
constexpr std::string_view kApart = "\u200b";
constexpr std::string_view kGrave = "\u02cb";  // looks like a backtick; two of those are code wherever they stand

constexpr DialectRow kRows[] = {
    {{}, {}, {}, {}, nullptr, nullptr, "• ", Escape::None, false, false},
    {{"<b>", "</b>"},
     {"<i>", "</i>"},
     {"<s>", "</s>"},
     {"<code>", "</code>"},
     "<pre>",
     "</pre>",
     "• ",
     Escape::Html,
     true,
     false},
    {{"*", "*", true},
     {"_", "_", true},
     {"~", "~", true},
     {"`", "`", true},
     "```\n",
     "\n```",
     "• ",
     Escape::Slack,
     false,
     false},
    {{"**", "**"}, {"_", "_", true}, {"~~", "~~"}, {"`", "`"}, "```", "\n```", "- ", Escape::Discord, false, false},
    {{"*", "*", true},
     {"_", "_", true},
     {"~", "~", true},
     {"`", "`", true},
     "```\n",
     "\n```",
     "• ",
     Escape::WhatsApp,
     false,
     false},
    {{"\x02", "\x02"},
     {"\x1d", "\x1d"},
     {"\x1e", "\x1e"},
     {"\x11", "\x11"},
     nullptr,
     nullptr,
     "• ",
     Escape::None,
     false,
     false},
    {{"<b>", "</b>"},
     {"<i>", "</i>"},
     {"<s>", "</s>"},
     {"<code>", "</code>"},
     "<pre>",
     "</pre>",
     "",
     Escape::Html,
     true,
     true},
};

const Marks& marks_of(const DialectRow& row, uint8_t bit) {
    return bit == kBold ? row.bold : bit == kItalic ? row.italic : bit == kStrike ? row.strike : row.code;
}

bool is_letter(std::string_view text, size_t at) {
    if (at >= text.size()) return false;
    const char c = text[at];
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
// What may be one to a messenger.
bool is_word(std::string_view text, size_t at) {
    return is_letter(text, at) || (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x80);
}
bool is_mark_of_text(char c) {
    return std::string_view("*_~").find(c) != std::string_view::npos;
}
bool is_blank(std::string_view text, size_t at) {
    return at >= text.size() || text[at] == ' ' || text[at] == '\t' || text[at] == '\n';
}

void append_html(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else
            out += c;
    }
}

// Slack knows three of them.
void append_slack(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (c == '"')
            out += c;
        else
            append_html(out, {&c, 1});
    }
}

// What a messenger makes no link of must not be one: its address would be lost.
bool takes(Markup dialect, const std::string& address) {
    if (dialect == Markup::Slack || dialect == Markup::Email) return true;
    if (dialect == Markup::Discord) return address.starts_with("http");
    // With Telegram neither mailto nor a host without a dot, such as localhost.
    const size_t host = address.find("://");
    if (dialect != Markup::Telegram || !address.starts_with("http") || host == std::string::npos) return false;
    const std::string name = address.substr(host + 3, address.find_first_of("/?#", host + 3) - host - 3);
    return name.find('.') != std::string::npos;
}

// As it may stand within <…> or quotes.
std::string encoded_address(std::string_view address) {
    return percent_encoded(address, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte != 0x7f && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
    });
}

}  // namespace

size_t measured(std::string_view text, RenderStyle::Unit unit) {
    if (unit == RenderStyle::Unit::Bytes) return text.size();
    size_t count = 0;
    for (const char each : text) {
        const auto c = static_cast<unsigned char>(each);
        if ((c & 0xc0) != 0x80) ++count;
        if (c >= 0xf0 && unit == RenderStyle::Unit::Utf16) ++count;
    }
    return count;
}

DialectWriter::DialectWriter(const Flow& flow, const RenderStyle& style)
    : flow_(flow), style_(style), row_(kRows[static_cast<size_t>(style.dialect)]) {
    assert(style.limit >= least_limit(style.dialect));
    for (const MarkdownLink& link : flow.markdown.links) {
        std::string written;
        append_html(written, encoded_address(link.address));
        const bool fits = std::max(written.size(), link.address.size()) <= style.limit / 4;
        linkable_.push_back(fits && link.safe && takes(style.dialect, lower(link.address.substr(0, 300))));
    }
}

bool DialectWriter::fits() const {
    if (style_.dialect != Markup::Telegram) return measured(out_, style_.unit) <= style_.limit;
    // Of more entities than these the rest are left out there, with the addresses of links.
    const auto tags = static_cast<size_t>(std::count(out_.begin(), out_.end(), '<'));
    return counted_ <= style_.limit && tags / 2 <= kMostEntities;
}

bool DialectWriter::line_by_line() const {
    return style_.dialect == Markup::Irc;
}

// An address takes its share of the plain text as well, and one that is too long for that is cut like any text.
bool DialectWriter::can_link(uint32_t link) const {
    return link != kNone && linkable_[link];
}

bool DialectWriter::hidden(size_t atom) const {
    return flow_.atoms[atom].kind == Kind::Tail && can_link(flow_.atoms[atom].link);
}

std::string DialectWriter::again(size_t from) const {
    std::string out;
    const Atom& atom = flow_.atoms[from];
    if (from == 0 || atom.leaf == kNone || flow_.atoms[from - 1].kind == Kind::Line) return out;
    for (uint32_t id = flow_.markdown.leaves[atom.leaf].within; id != kNone; id = flow_.markdown.containers[id].above)
        if (flow_.markdown.containers[id].quote()) out += "> ";
    return out;
}

const std::string& DialectWriter::write(size_t from, size_t to) {
    out_.clear();
    counted_ = 0;
    to_ = to;
    leaf_ = link_ = quote_ = kNone;
    containers_.clear();
    styles_.clear();
    fence_ = digits_ = false;
    last_ = Last::Start;
    line_start_ = true;
    begun_ = false;
    if (from < to && !row_.html && !fenced(from))
        for (size_t marks = again(from).size() / 2; marks > 0; --marks) quote_mark("> ");
    for (size_t i = from; i < to; ++i) step(i);
    end_leaf();
    if (quote_ != kNone) tag("</blockquote>");
    while (!containers_.empty()) close_container();
    return out_;
}

bool DialectWriter::fenced(size_t atom) const {
    return row_.fence && flow_.verbatim(atom);
}

void DialectWriter::step(size_t i) {
    const Atom& atom = flow_.atoms[i];
    if (atom.leaf == kNone) return between(i);
    if (atom.leaf != leaf_) begin_leaf(i);
    fenced(i) ? in_fence(i) : in_line(i);
}

// The outermost quote that a leaf is in.
uint32_t DialectWriter::quote_of(uint32_t leaf) const {
    uint32_t found = kNone;
    if (leaf == kNone) return found;
    for (uint32_t id = flow_.markdown.leaves[leaf].within; id != kNone; id = flow_.markdown.containers[id].above)
        if (flow_.markdown.containers[id].quote()) found = id;
    return found;
}

uint32_t DialectWriter::next_leaf(size_t i) const {
    while (i < to_ && flow_.atoms[i].leaf == kNone) ++i;
    return i < to_ ? flow_.atoms[i].leaf : kNone;
}

void DialectWriter::between(size_t i) {
    end_leaf();
    if (row_.blocks) return;
    if (quote_ != kNone && quote_of(next_leaf(i)) != quote_) {
        tag("</blockquote>");
        quote_ = kNone;
    }
    const Atom& atom = flow_.atoms[i];
    if (atom.kind == Kind::Line)
        end_line();
    else if (!row_.html)
        quote_mark(flow_.text(i));
}

// Slack knows it only as the first thing of a line.
void DialectWriter::quote_mark(std::string_view text) {
    if (row_.escape == Escape::Slack && !out_.empty() && out_.back() != '\n')
        append_slack(out_, text);
    else
        out_ += text;
}

void DialectWriter::begin_leaf(size_t i) {
    leaf_ = flow_.atoms[i].leaf;
    const MarkdownLeaf& leaf = flow_.markdown.leaves[leaf_];
    if (row_.blocks) {
        enter_containers(i);
        if (leaf.kind == MarkdownLeaf::Kind::Heading)
            tag(std::string("<h") + static_cast<char>('0' + std::clamp<int>(leaf.level, 1, 6)) + ">");
        else if (leaf.kind == MarkdownLeaf::Kind::Paragraph)
            tag("<p>");
    } else if (const uint32_t quote = quote_of(leaf_); row_.html && quote != quote_) {
        if (quote_ != kNone) tag("</blockquote>");
        if (quote != kNone) tag("<blockquote>");
        quote_ = quote;
    }
}

void DialectWriter::end_leaf() {
    set(0, kNone);
    if (fence_) {
        if (row_.html && !flow_.markdown.leaves[leaf_].language.empty()) tag("</code>");
        tag(row_.fence_end);
        fence_ = false;
        last_ = Last::Other;
    }
    if (row_.blocks && leaf_ != kNone) {
        const MarkdownLeaf& leaf = flow_.markdown.leaves[leaf_];
        if (leaf.kind == MarkdownLeaf::Kind::Heading)
            tag(std::string("</h") + static_cast<char>('0' + std::clamp<int>(leaf.level, 1, 6)) + ">\n");
        else if (leaf.kind == MarkdownLeaf::Kind::Paragraph)
            tag("</p>\n");
    }
    leaf_ = kNone;
}

void DialectWriter::end_line() {
    shown("\n");
    last_ = Last::Start;
    line_start_ = true;
    begun_ = digits_ = false;
}

void DialectWriter::in_fence(size_t i) {
    const Atom& atom = flow_.atoms[i];
    const MarkdownLeaf& leaf = flow_.markdown.leaves[atom.leaf];
    const std::string_view text = flow_.text(i);
    if (atom.kind == Kind::Quote || atom.kind == Kind::Marker) {
        // The mark of the item that begins with the code stands on a line of its own.
        if (fence_ || row_.blocks || atom.kind == Kind::Quote || text == "  ") return;
        shown(text);
        end_line();
        return;
    }
    if (!fence_) {
        tag(row_.fence);
        if (row_.html && !leaf.language.empty()) tag("<code class=\"language-" + leaf.language + "\">");
        if (style_.dialect == Markup::Discord) tag(leaf.language + "\n");
        fence_ = true;
        ticks_ = 0;
    }
    if (row_.html) {
        counted_ += measured(text, style_.unit);
        return append_html(out_, text);
    }
    ticks_ = text == "`" ? ticks_ + 1 : 0;
    if (ticks_ == 3) {
        out_ += kApart;
        ticks_ = 1;
    }
    if (row_.escape == Escape::Slack)
        append_slack(out_, text);
    else
        out_ += text;
}

// Discord's are three, and begin the line.
bool DialectWriter::has_heading(const MarkdownLeaf& leaf) const {
    return style_.dialect == Markup::Discord && leaf.level > 0 && leaf.level <= 3 && leaf.within == kNone;
}

uint8_t DialectWriter::style_of(const Atom& atom) const {
    const MarkdownLeaf& leaf = flow_.markdown.leaves[atom.leaf];
    uint8_t style = atom.style & (kBold | kItalic | kStrike | kCode);
    if ((atom.style & kTicked) && !row_.html) return 0;
    if (can_link(atom.link)) style &= static_cast<uint8_t>(~kCode);
    if (leaf.verbatim() && style_.dialect == Markup::Irc) return kCode;
    if ((atom.style & kHeading) && !row_.blocks && !has_heading(leaf)) style |= kBold;
    return style & kCode ? static_cast<uint8_t>(kCode) : style;
}

void DialectWriter::in_line(size_t i) {
    const Atom& atom = flow_.atoms[i];
    const MarkdownLeaf& leaf = flow_.markdown.leaves[atom.leaf];
    const std::string_view text = flow_.text(i);
    switch (atom.kind) {
        case Kind::Quote:
            if (!row_.html) quote_mark(text);
            return;
        case Kind::Marker:
            if (row_.blocks) return;
            if (text == "• ")
                shown(row_.bullet);
            else
                shown(text);
            return;
        case Kind::Line:
            set(0, kNone);
            if (row_.blocks) tag("<br>");
            return end_line();
        case Kind::Tail:
            if (hidden(i)) return;
            set(0, kNone);
            break;
        case Kind::Blank:
        case Kind::Text: break;
    }
    if (row_.blocks && leaf.kind == MarkdownLeaf::Kind::Rule) return tag("<hr>\n");
    if (!std::exchange(begun_, true) && has_heading(leaf)) tag(std::string(leaf.level, '#') + " ");
    if (atom.kind != Kind::Tail) {
        // No style begins beside white space or at a mark that is none, no link with white space.
        uint8_t style = style_of(atom);
        uint32_t link = can_link(atom.link) ? atom.link : kNone;
        const bool begins = atom.kind == Kind::Text && !is_mark_of_text(text[0]);
        if (!begins && style != kCode) style = kept(style);
        if (atom.kind == Kind::Blank && link != kNone && (link != link_ || flow_.markdown.links[link].shown))
            link = kNone;
        set(style, link);
    }
    literal(i);
    digits_ =
        atom.kind == Kind::Text && text.size() == 1 && text[0] >= '0' && text[0] <= '9' && (line_start_ || digits_);
    if (atom.kind != Kind::Blank) line_start_ = false;
    last_ = atom.kind == Kind::Blank ? Last::Blank : Last::Other;
}

void DialectWriter::set(uint8_t style, uint32_t link) {
    uint8_t open = 0;
    for (const uint8_t bit : styles_) open |= bit;
    if (open == style && link_ == link) return;
    close_link();
    while (open & ~style) {
        open &= static_cast<uint8_t>(~styles_.back());
        close_style();
    }
    for (const uint8_t bit : {kBold, kItalic, kStrike, kCode})
        if ((style & bit) && !(open & bit)) open_style(bit);
    if (link != kNone) open_link(link);
}

// Of `style`, what is open and need not be closed for something else.
uint8_t DialectWriter::kept(uint8_t style) const {
    uint8_t out = 0;
    for (const uint8_t bit : styles_) {
        if (!(style & bit)) break;
        out |= bit;
    }
    return out;
}

void DialectWriter::open_style(uint8_t bit) {
    styles_.push_back(bit);
    const Marks& marks = marks_of(row_, bit);
    if (!marks.open) return;
    const bool glued =
        last_ == Last::Closed || (marks.narrow && last_ == Last::Other && (raw_ || is_word(out_, out_.size() - 1)));
    if (glued && !row_.html && row_.escape != Escape::None) out_ += kApart;
    tag(marks.open);
    last_ = Last::Opened;
}

void DialectWriter::close_style() {
    const Marks& marks = marks_of(row_, styles_.back());
    styles_.pop_back();
    if (!marks.open) return;
    tag(marks.close);
    last_ = Last::Closed;
    narrow_ = marks.narrow;
}

void DialectWriter::open_link(uint32_t link) {
    const MarkdownLink& to = flow_.markdown.links[link];
    if (row_.html) {
        tag("<a href=\"");
        append_html(out_, encoded_address(to.address));
        tag("\">");
    } else if (row_.escape == Escape::Slack) {
        if (last_ == Last::Closed) out_ += kApart;
        tag("<");
        append_slack(out_, encoded_address(to.address));
        tag("|");
        last_ = Last::Other;
    } else {
        if (last_ == Last::Closed) out_ += kApart;
        tag(to.shown ? "<" : "[");
        last_ = Last::Other;
    }
    link_ = link;
}

void DialectWriter::close_link() {
    if (link_ == kNone) return;
    const MarkdownLink& to = flow_.markdown.links[link_];
    link_ = kNone;
    if (row_.html) return tag("</a>");
    if (row_.escape == Escape::Slack || to.shown) return tag(">");
    tag("](<" + encoded_address(to.address) + ">)");
}

void DialectWriter::shown(std::string_view text) {
    out_ += text;
    counted_ += measured(text, style_.unit);
}

// A character of the text itself.
void DialectWriter::literal(size_t i) {
    const std::string_view text = flow_.text(i);
    counted_ += measured(text, style_.unit);
    if (row_.escape == Escape::Html) return append_html(out_, text);
    if (narrow_ && last_ == Last::Closed && (is_word(text, 0) || text[0] == '`' || is_mark_of_text(text[0])))
        out_ += kApart;
    const bool code = !styles_.empty() && styles_.back() == kCode;
    raw_ = raw_address(i);
    if (row_.escape == Escape::Slack && (code || raw_))
        append_slack(out_, text);
    else if (row_.escape == Escape::None || text.size() > 1 || code || raw_)
        out_ += text;
    else
        mark_of_text(i, text[0]);
}

// Of an address nothing may be changed, and the messenger that finds it does not look for marks in it.
bool DialectWriter::raw_address(size_t i) const {
    const Atom& atom = flow_.atoms[i];
    if (atom.link == kNone) return false;
    const MarkdownLink& link = flow_.markdown.links[atom.link];
    if (link_ != kNone) return row_.escape == Escape::Slack || link.shown;
    return row_.escape != Escape::Discord && link.safe && link.address.starts_with("http") &&
           (atom.kind == Atom::Kind::Tail || link.shown);
}

void DialectWriter::mark_of_text(size_t i, char c) {
    const std::string_view all = flow_.plain;
    const size_t at = flow_.atoms[i].at;
    if (row_.escape == Escape::Discord) {
        if (c == '@' && (all.substr(at + 1).starts_with("everyone") || all.substr(at + 1).starts_with("here") ||
                         (at > 0 && all[at - 1] == '<'))) {
            out_ += c;
            out_ += kApart;
            return;
        }
        const bool always = std::string_view("\\*_~`|[]<>#").find(c) != std::string_view::npos;
        const bool first = line_start_ && (c == '-' || c == '+');
        if (always || first || (digits_ && (c == '.' || c == ')'))) out_ += '\\';
        out_ += c;
        return;
    }
    if (c == '`') {
        out_ += kGrave;
        return;
    }
    const bool mark = is_mark_of_text(c);
    const Atom& atom = flow_.atoms[i];
    const Atom& next = flow_.atoms[i + 1];
    const bool more = i + 1 < to_ && next.style == atom.style && next.link == atom.link;
    const bool within = last_ == Last::Other && more && at > 0 && is_letter(all, at - 1) && is_letter(all, at + 1);
    const bool blank_before = line_start_ || last_ == Last::Blank;
    const bool blank_behind = i + 1 >= to_ || (is_blank(all, at + 1) && !(next.style & kCode));
    if ((mark && !within && !blank_before) || (c == '>' && line_start_ && last_ != Last::Opened)) out_ += kApart;
    if (row_.escape == Escape::Slack)
        append_slack(out_, {&c, 1});
    else
        out_ += c;
    if (mark && !within && !blank_behind) out_ += kApart;
}

// Tags of a mail. What was open and is not around the next leaf is closed; an item follows the one before it.
void DialectWriter::enter_containers(size_t i) {
    const Markdown& tree = flow_.markdown;
    const std::vector<uint32_t> path = tree.path(tree.leaves[flow_.atoms[i].leaf].within);
    size_t common = 0;
    while (common < path.size() && common < containers_.size() && path[common] == containers_[common]) ++common;
    const bool sibling = common < path.size() && common < containers_.size() &&
                         !tree.containers[path[common]].quote() &&
                         tree.containers[path[common]].list == tree.containers[containers_[common]].list;
    while (containers_.size() > common + (sibling ? 1 : 0)) close_container();
    for (size_t k = common; k < path.size(); ++k) {
        const MarkdownContainer& container = tree.containers[path[k]];
        if (sibling && k == common) {
            tag("</li>\n");
            containers_.pop_back();
        } else if (container.quote()) {
            tag("<blockquote>\n");
        } else {
            tag(container.number == kNone ? "<ul>\n" : "<ol>\n");
        }
        containers_.push_back(path[k]);
        if (container.quote()) continue;
        const bool begins = i + k < to_ && flow_.atoms[i + k].kind == Kind::Marker && flow_.text(i + k) != "  ";
        if (!begins)
            tag("<li style=\"list-style:none\">");
        else if (container.number != kNone)
            tag("<li value=\"" + std::to_string(container.number) + "\">");
        else
            tag("<li>");
        if (begins && container.task) tag(container.task == ' ' ? "☐ " : "☑ ");
    }
}

void DialectWriter::close_container() {
    const MarkdownContainer& container = flow_.markdown.containers[containers_.back()];
    containers_.pop_back();
    tag(container.quote() ? "</blockquote>\n" : container.number == kNone ? "</li>\n</ul>\n" : "</li>\n</ol>\n");
}

}  // namespace peacrab
