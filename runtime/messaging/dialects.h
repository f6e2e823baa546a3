// A stretch of a text as a messenger wants it written: whatever is open at its beginning is opened again, all of it is
// closed at its end, and what would be a mark and is none is written so that it is not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "messaging/flow.h"

namespace peacrab {

enum class Markup : uint8_t {
    Plain,     // no marks at all
    Telegram,  // HTML, the tags of the Bot API
    Slack,     // mrkdwn
    Discord,   // Markdown, without tables and pictures; mentions do not reach anybody
    WhatsApp,  // its own marks
    Irc,       // mIRC's codes; a part is a line
    Email,     // HTML for a mail's body
};

struct RenderStyle {
    Markup dialect = Markup::Plain;
    size_t limit = 4096;  // of a part; at least least_limit()
    enum class Unit : uint8_t { Bytes, Utf16, CodePoints } unit = Unit::Utf16;
};
// Less would not hold what is opened and closed around a single character.
constexpr size_t least_limit(Markup dialect) {
    return dialect == Markup::Email ? 2048 : 256;
}

size_t measured(std::string_view text, RenderStyle::Unit unit);

struct DialectRow;  // dialects.cc

class DialectWriter {
  public:
    DialectWriter(const Flow& flow, const RenderStyle& style);
    // Atoms `from` up to `to`. The text is good until the next call.
    const std::string& write(size_t from, size_t to);
    // What was written last, as the messenger measures it: Telegram the text without tags, the others all of it.
    bool fits() const;
    // An address that is said by the link itself.
    bool hidden(size_t atom) const;
    bool line_by_line() const;
    // "> " for each quote that a stretch beginning in the middle of a line is in.
    std::string again(size_t from) const;

  private:
    enum class Last : uint8_t { Start, Blank, Opened, Closed, Other };

    bool can_link(uint32_t link) const;
    bool fenced(size_t atom) const;
    void step(size_t i);
    void between(size_t i);
    void quote_mark(std::string_view text);
    void begin_leaf(size_t i);
    void end_leaf();
    void in_line(size_t i);
    void in_fence(size_t i);
    void end_line();
    void set(uint8_t style, uint32_t link);
    uint8_t kept(uint8_t style) const;
    void open_style(uint8_t bit);
    void close_style();
    void open_link(uint32_t link);
    void close_link();
    void literal(size_t i);
    void mark_of_text(size_t i, char c);
    bool raw_address(size_t i) const;
    void shown(std::string_view text);
    void tag(std::string_view text) { out_ += text; }
    bool has_heading(const MarkdownLeaf& leaf) const;
    uint8_t style_of(const Atom& atom) const;
    uint32_t quote_of(uint32_t leaf) const;
    uint32_t next_leaf(size_t i) const;
    void enter_containers(size_t i);
    void close_container();

    const Flow& flow_;
    const RenderStyle style_;
    const DialectRow& row_;
    std::vector<bool> linkable_;
    std::string out_;
    size_t counted_ = 0;
    size_t to_ = 0;
    uint32_t leaf_ = kNone;
    bool fence_ = false;
    size_t ticks_ = 0;  // backticks in a row within the fence
    uint32_t quote_ = kNone;  // the container whose tag is open
    std::vector<uint32_t> containers_;
    std::vector<uint8_t> styles_;
    uint32_t link_ = kNone;
    Last last_ = Last::Start;
    bool narrow_ = false;  // the mark that was closed last
    bool raw_ = false;     // the last character was of an address
    bool line_start_ = true;
    bool begun_ = false;   // of the line anything but marks is written
    bool digits_ = false;  // of the line there is a number so far
};

}  // namespace peacrab
