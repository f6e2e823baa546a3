// Markdown of a model, for any messenger and any limit.
//
// Whatever it is: no part is empty or over the limit, all of it is UTF-8 without control characters but those of the
// dialect, and the parts together are the plain text. Tags are balanced.
#include "fuzz.h"
#include "messaging/render.h"

using namespace peacrab;

namespace {

// A byte below the length of this list stands for a piece that chance would not find.
const char* const kPieces[] = {
    "\n```c\n", "https://a.example/b_c", "](http://a.example/) ", "](javascript:x)", "\n| a | b |\n|---|---|\n| c | d |\n",
    "\n> ",     "\n- ",                  "\n1. ",                 "\n    ",          "\n\n", "\n", "**", "~~",
    "@everyone", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9", "e\xcc\x81\xcc\x82", "\xe6\xbc\xa2", "&amp;", "<b>",
    "words and words and words. ", "- [x] ", "![",
};

void check_characters(std::string_view text, Markup dialect) {
    for (size_t i = 0; i < text.size();) {
        const size_t length = utf8_length(text.substr(i));
        require(length > 0);
        const char c = text[i];
        const bool code = dialect == Markup::Irc && (c == 2 || c == 0x1d || c == 0x1e || c == 0x11);
        require(static_cast<unsigned char>(c) >= 0x20 || code || c == '\t' || (c == '\n' && dialect != Markup::Irc));
        i += length;
    }
}

// What is opened is closed, the last first; counts what is left when tags are taken away.
size_t check_tags(std::string_view html, RenderStyle::Unit unit) {
    std::vector<std::string> open;
    size_t count = 0;
    for (size_t i = 0; i < html.size();) {
        if (html[i] == '<') {
            const size_t end = html.find('>', i);
            require(end != std::string_view::npos);
            const std::string tag(html.substr(i + 1, end - i - 1));
            i = end + 1;
            if (tag[0] == '/') {
                require(!open.empty() && open.back() == tag.substr(1));
                open.pop_back();
            } else if (tag != "br" && tag != "hr") {
                open.push_back(tag.substr(0, tag.find(' ')));
            }
            continue;
        }
        require(html[i] != '>');
        const size_t end = html[i] == '&' ? html.find(';', i) + 1 : i + utf8_length(html.substr(i));
        count += html[i] == '&' ? 1 : measured(html.substr(i, end - i), unit);
        i = end;
    }
    require(open.empty());
    return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const auto dialect = static_cast<Markup>(data[0] % 7);
    const RenderStyle style{dialect, least_limit(dialect) + data[1] * size_t{3},
                            static_cast<RenderStyle::Unit>(data[0] / 7 % 3)};
    std::string markdown;
    for (size_t i = 2; i < size; ++i) {
        if (data[i] < std::size(kPieces))
            markdown += kPieces[data[i]];
        else
            markdown += static_cast<char>(data[i]);
    }
    std::string all;
    for (const RenderedPart& part : render(markdown, style)) {
        all += part.gap + part.plain.substr(part.again);
        require(!part.text.empty() && part.gap.find_first_not_of(" \t\n>") == std::string::npos);
        check_characters(part.text, style.dialect);
        check_characters(part.plain, Markup::Plain);
        const bool html = style.dialect == Markup::Telegram || style.dialect == Markup::Email;
        const size_t shown = html ? check_tags(part.text, style.unit) : 0;
        require((style.dialect == Markup::Telegram ? shown : measured(part.text, style.unit)) <= style.limit);
        require(measured(part.plain, style.unit) <= style.limit);
    }
    require(all == plain_text(markdown));
    return 0;
}
