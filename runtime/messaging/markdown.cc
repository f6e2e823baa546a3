// The one file that includes md4c. Its callbacks only put down what they are told: no exception may pass through C
// code. Where it goes beyond the bounds the parse is given up and the source stands as one paragraph: a text that is
// not pretty is better than one that never comes.
// Source: md4c.h; its behaviour on hostile texts is tests/fuzz/render_fuzz.cc's matter.
#include "messaging/markdown.h"

#include <md4c.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "messaging/table.h"
#include "os.h"
#include "web/characters.h"
#include "web/entities.h"

namespace peacrab {
namespace {

constexpr size_t kMaxContainers = 1 << 15;
constexpr size_t kMaxLeaves = 1 << 16;
constexpr size_t kMaxCells = 1 << 15;
constexpr size_t kMaxLanguage = 24;
constexpr size_t kMaxLinksOpen = 4;
constexpr size_t kLongestAddress = 2048;

bool is_left_out(char32_t c) {
    if (c == '\n' || c == '\t') return false;
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0xfeff;
}

// UTF-8 with line ends as one character.
std::string cleaned(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (size_t at = 0; at < source.size();) {
        const char32_t c = next_character(source, at);
        if (c == '\r') {
            if (at >= source.size() || source[at] != '\n') out += '\n';
        } else if (c == 0x2028 || c == 0x2029) {
            out += '\n';
        } else if (!is_left_out(c)) {
            append_utf8(out, c);
        }
    }
    return out;
}

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(" \n\t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \n\t") - first + 1);
}

bool is_address(std::string_view text) {
    const std::string start = lower(text.substr(0, 8));
    return start.starts_with("http://") || start.starts_with("https://") || start.starts_with("mailto:");
}

// What stands in a link's address for the text that is shown: "example.org" for "http://example.org/".
bool is_same_address(std::string_view text, std::string_view address) {
    for (const std::string_view scheme : {"", "http://", "https://", "mailto:"}) {
        if (!address.starts_with(scheme)) continue;
        const std::string_view rest = address.substr(scheme.size());
        if (rest == text) return true;
        if (rest.size() == text.size() + 1 && rest.starts_with(text) && rest.ends_with('/')) return true;
    }
    return false;
}

class Builder {
  public:
    int enter(MD_BLOCKTYPE type, const void* detail) {
        switch (type) {
            case MD_BLOCK_QUOTE: end_leaf(); return open({.above = within_}) ? 0 : 1;
            case MD_BLOCK_UL: {
                const auto* list = static_cast<const MD_BLOCK_UL_DETAIL*>(detail);
                end_leaf();
                lists_.push_back({next_list_++, kNone, list->is_tight != 0});
                return 0;
            }
            case MD_BLOCK_OL: {
                const auto* list = static_cast<const MD_BLOCK_OL_DETAIL*>(detail);
                end_leaf();
                lists_.push_back({next_list_++, list->start, list->is_tight != 0});
                return 0;
            }
            case MD_BLOCK_LI: return item(*static_cast<const MD_BLOCK_LI_DETAIL*>(detail));
            case MD_BLOCK_HR: return leaf(MarkdownLeaf::Kind::Rule);
            case MD_BLOCK_H:
                return leaf(MarkdownLeaf::Kind::Heading,
                            static_cast<uint8_t>(static_cast<const MD_BLOCK_H_DETAIL*>(detail)->level));
            case MD_BLOCK_CODE:
                if (leaf(MarkdownLeaf::Kind::Code)) return 1;
                set_language(static_cast<const MD_BLOCK_CODE_DETAIL*>(detail)->lang);
                return 0;
            case MD_BLOCK_P:
            case MD_BLOCK_HTML: return leaf(MarkdownLeaf::Kind::Paragraph);
            case MD_BLOCK_TABLE: return leaf(MarkdownLeaf::Kind::Table);
            case MD_BLOCK_TR: rows_.emplace_back(); return 0;
            case MD_BLOCK_TH:
            case MD_BLOCK_TD:
                if (rows_.empty() || ++cells_ > kMaxCells) return 1;
                rows_.back().emplace_back();
                return 0;
            case MD_BLOCK_DOC:
            case MD_BLOCK_THEAD:
            case MD_BLOCK_TBODY: return 0;
        }
        return 0;
    }
    int leave(MD_BLOCKTYPE type) {
        switch (type) {
            case MD_BLOCK_QUOTE: close(); break;
            case MD_BLOCK_UL:
            case MD_BLOCK_OL:
                end_leaf();
                if (!lists_.empty()) lists_.pop_back();
                break;
            case MD_BLOCK_LI:
                if (fresh_ && !open_ && leaf(MarkdownLeaf::Kind::Paragraph)) return 1;  // an item that says nothing
                close();
                break;
            case MD_BLOCK_TABLE:
                if (open_) add(aligned_table(std::exchange(rows_, {})), 0, kNone);
                end_leaf();
                break;
            case MD_BLOCK_H:
            case MD_BLOCK_CODE:
            case MD_BLOCK_P:
            case MD_BLOCK_HTML:
            case MD_BLOCK_HR: end_leaf(); break;
            default: break;
        }
        return 0;
    }
    int enter(MD_SPANTYPE type, const void* detail) {
        switch (type) {
            case MD_SPAN_STRONG: ++bold_; break;
            case MD_SPAN_EM: ++italic_; break;
            case MD_SPAN_DEL: ++strike_; break;
            case MD_SPAN_CODE: ++code_; break;
            case MD_SPAN_A: begin_link(static_cast<const MD_SPAN_A_DETAIL*>(detail)->href); break;
            case MD_SPAN_IMG: begin_link(static_cast<const MD_SPAN_IMG_DETAIL*>(detail)->src); break;
            default: break;
        }
        return 0;
    }
    int leave(MD_SPANTYPE type) {
        switch (type) {
            case MD_SPAN_STRONG: --bold_; break;
            case MD_SPAN_EM: --italic_; break;
            case MD_SPAN_DEL: --strike_; break;
            case MD_SPAN_CODE: --code_; break;
            case MD_SPAN_A:
            case MD_SPAN_IMG: return end_link(type == MD_SPAN_IMG);
            default: break;
        }
        return 0;
    }
    int text(MD_TEXTTYPE type, std::string_view piece) {
        if (!open_ && leaf(MarkdownLeaf::Kind::Paragraph)) return 1;  // of an item of a tight list
        switch (type) {
            case MD_TEXT_BR:
            case MD_TEXT_SOFTBR: add("\n", style(), link()); break;
            case MD_TEXT_ENTITY: add(cleaned(decode_entities(piece)), style(), link()); break;
            case MD_TEXT_NULLCHAR: break;
            default: add(piece, style(), link());
        }
        return 0;
    }
    Markdown take() { return std::move(out_); }

  private:
    struct List {
        uint32_t id;
        uint32_t next;  // number of the next item; none: they have bullets
        bool tight;
    };
    struct OpenLink {
        uint32_t link;
        std::string text;
    };

    bool open(const MarkdownContainer& container) {
        if (out_.containers.size() >= kMaxContainers) return false;
        above_.push_back(within_);
        if (above_.size() > kMaxMarkdownDepth) return true;
        within_ = static_cast<uint32_t>(out_.containers.size());
        out_.containers.push_back(container);
        return true;
    }
    void close() {
        end_leaf();
        if (above_.empty()) return;
        within_ = above_.back();
        above_.pop_back();
    }
    int item(const MD_BLOCK_LI_DETAIL& detail) {
        end_leaf();
        if (lists_.empty()) return 1;
        List& list = lists_.back();
        fresh_ = true;
        const char task = !detail.is_task ? '\0' : detail.task_mark == ' ' ? ' ' : 'x';
        const uint32_t number = list.next == kNone ? kNone : list.next++;
        return open({within_, list.id, number, task, list.tight}) ? 0 : 1;
    }
    int leaf(MarkdownLeaf::Kind kind, uint8_t level = 0) {
        end_leaf();
        if (out_.leaves.size() >= kMaxLeaves) return 1;
        out_.leaves.emplace_back();
        out_.leaves.back().kind = kind;
        out_.leaves.back().level = level;
        out_.leaves.back().within = within_;
        open_ = true;
        fresh_ = false;
        return 0;
    }
    void end_leaf() {
        if (std::exchange(open_, false) && out_.leaves.back().kind == MarkdownLeaf::Kind::Code)
            for (MarkdownRun& run : out_.leaves.back().runs)  // there is but one
                if (run.text.ends_with('\n')) run.text.pop_back();
    }
    void set_language(const MD_ATTRIBUTE& name) {
        for (const char c : std::string_view(name.text, name.size).substr(0, kMaxLanguage)) {
            const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
                               c == '-' || c == '#' || c == '_' || c == '.';
            if (!plain) break;
            out_.leaves.back().language += c;
        }
    }
    uint8_t style() const {
        return static_cast<uint8_t>((bold_ > 0 ? kBold : 0) | (italic_ > 0 ? kItalic : 0) |
                                    (strike_ > 0 ? kStrike : 0) | (code_ > 0 ? kCode : 0));
    }
    uint32_t link() const { return links_.empty() ? kNone : links_.front().link; }

    void add(std::string_view piece, uint8_t style, uint32_t link) {
        for (OpenLink& each : links_) each.text += piece.substr(0, kLongestAddress);
        MarkdownLeaf& leaf = out_.leaves.back();
        if (leaf.kind == MarkdownLeaf::Kind::Table && !rows_.empty() && !rows_.back().empty()) {
            rows_.back().back() += piece == "\n" ? " " : piece;
            return;
        }
        if (leaf.runs.empty() || leaf.runs.back().style != style || leaf.runs.back().link != link)
            leaf.runs.push_back({{}, style, link});
        leaf.runs.back().text += piece;
    }
    void begin_link(const MD_ATTRIBUTE& to) {
        std::string address;
        for (const char c : cleaned(decode_entities(std::string_view(to.text ? to.text : "", to.size))))
            if (c != '\n' && c != '\t') address += c;
        if (links_.size() >= kMaxLinksOpen) {  // pictures within the words of pictures
            ++links_ignored_;
            if (open_) add(" (" + address + ") ", style(), link());
            return;
        }
        links_.push_back({static_cast<uint32_t>(out_.links.size()), {}});
        out_.links.push_back({std::string(trimmed(address))});
    }
    // An address that cannot be said by a mark is said in words, here or by who writes the text.
    int end_link(bool picture) {
        if (links_ignored_ > 0) return --links_ignored_, 0;
        if (links_.empty()) return 0;
        const OpenLink open = std::move(links_.back());
        MarkdownLink& made = out_.links[open.link];
        const std::string_view said = trimmed(open.text);
        if (!open_ && leaf(MarkdownLeaf::Kind::Paragraph)) return 1;
        const bool in_table = out_.leaves.back().kind == MarkdownLeaf::Kind::Table;
        if (said.empty()) {
            const std::string_view nothing = picture ? "![]()" : "[]()";
            add(made.address.empty() ? nothing : std::string_view(made.address), style(), link());
            made.shown = true;
        }
        made.shown = made.shown || is_same_address(said, made.address);
        made.safe = is_address(made.address) && made.address.size() <= kLongestAddress &&
                    (made.shown || !(is_address(said) || said.starts_with("www.") || said.find("://") != said.npos));
        links_.pop_back();
        if ((in_table || !links_.empty()) && !made.shown && !made.address.empty())
            add(" (" + made.address + ")", style(), link());
        return 0;
    }

    Markdown out_;
    bool open_ = false;   // the last leaf
    bool fresh_ = false;  // an item has begun, and has no leaf yet
    uint32_t within_ = kNone;
    std::vector<uint32_t> above_;  // what `within_` was, for each container that is open
    std::vector<List> lists_;
    uint32_t next_list_ = 0;
    int bold_ = 0, italic_ = 0, strike_ = 0, code_ = 0;
    std::vector<OpenLink> links_;
    size_t links_ignored_ = 0;
    std::vector<std::vector<std::string>> rows_;  // of the table that is open
    size_t cells_ = 0;
};

// A callback's answer; what is thrown becomes "stop".
template <typename Step>
int guarded(void* builder, Step step) noexcept {
    try {
        return step(*static_cast<Builder*>(builder));
    } catch (const std::exception&) {
        return 1;
    }
}

Markdown as_it_stands(std::string text) {
    Markdown out;
    out.leaves.emplace_back();
    out.leaves.back().runs.push_back({std::move(text)});
    return out;
}

}  // namespace

std::vector<uint32_t> Markdown::path(uint32_t container) const {
    std::vector<uint32_t> out;
    for (; container != kNone; container = containers[container].above) out.push_back(container);
    std::reverse(out.begin(), out.end());
    return out;
}

Markdown read_markdown(std::string_view source) {
    std::string text = cleaned(source);
    if (text.size() > kMaxMarkdown) return as_it_stands(std::move(text));
    Builder builder;
    MD_PARSER parser{};
    parser.flags =
        MD_FLAG_PERMISSIVEAUTOLINKS | MD_FLAG_NOHTML | MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS;
    parser.enter_block = [](MD_BLOCKTYPE type, void* detail, void* to) {
        return guarded(to, [&](Builder& into) { return into.enter(type, detail); });
    };
    parser.leave_block = [](MD_BLOCKTYPE type, void*, void* to) {
        return guarded(to, [&](Builder& into) { return into.leave(type); });
    };
    parser.enter_span = [](MD_SPANTYPE type, void* detail, void* to) {
        return guarded(to, [&](Builder& into) { return into.enter(type, detail); });
    };
    parser.leave_span = [](MD_SPANTYPE type, void*, void* to) {
        return guarded(to, [&](Builder& into) { return into.leave(type); });
    };
    parser.text = [](MD_TEXTTYPE type, const MD_CHAR* piece, MD_SIZE size, void* to) {
        return guarded(to, [&](Builder& into) { return into.text(type, {piece, size}); });
    };
    if (md_parse(text.data(), static_cast<MD_SIZE>(text.size()), &parser, &builder) != 0)
        return as_it_stands(std::move(text));
    return builder.take();
}

}  // namespace peacrab
