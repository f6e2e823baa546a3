// Markdown as a small tree: containers (quotes, items of lists) and, in the order of the text, leaves with their runs
// of characters. Whoever wrote it (a model) may want it to be deep, wide or odd: what is out of bounds is text as
// it stands, and so is HTML. Nothing of it is lost.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

enum TextStyle : uint8_t { kBold = 1, kItalic = 2, kStrike = 4, kCode = 8 };

constexpr size_t kMaxMarkdown = 256 << 10;   // bytes; a longer text is not looked at for marks
constexpr size_t kMaxMarkdownDepth = 8;      // of containers; what is deeper is in the eighth
constexpr uint32_t kNone = UINT32_MAX;

struct MarkdownRun {
    std::string text;  // UTF-8; line ends where the source has them
    uint8_t style = 0;
    uint32_t link = kNone;
};

struct MarkdownLink {
    std::string address;
    // Of http, https or mailto, and its text does not pretend to be another address.
    bool safe = false;
    bool shown = false;  // its text is the address
};

struct MarkdownContainer {
    uint32_t above = kNone;
    uint32_t list = kNone;    // items of one list have one number; none: it is a quote
    uint32_t number = kNone;  // of an item in a numbered list
    char task = 0;            // ' ' or 'x': of a list of tasks
    bool tight = false;       // no empty lines between the items
    bool quote() const { return list == kNone; }
};

struct MarkdownLeaf {
    enum class Kind : uint8_t { Paragraph, Heading, Code, Table, Rule } kind = Kind::Paragraph;
    uint8_t level = 0;     // of a heading
    uint32_t within = kNone;
    std::string language;  // of code
    std::vector<MarkdownRun> runs;  // of a table: its rows as lines, the columns aligned
    bool verbatim() const { return kind == Kind::Code || kind == Kind::Table; }
};

struct Markdown {
    std::vector<MarkdownContainer> containers;
    std::vector<MarkdownLink> links;
    std::vector<MarkdownLeaf> leaves;
    std::vector<uint32_t> path(uint32_t container) const;  // from the outermost to it
};

// Takes time in proportion to the text. Bytes that are no UTF-8 become U+FFFD; control characters and those that
// turn the direction of writing are left out.
Markdown read_markdown(std::string_view source);

}  // namespace peacrab
