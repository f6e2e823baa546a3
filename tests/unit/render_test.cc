// Markdown as messengers get it: what is written, and where it is cut.
#include "messaging/render.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "messaging/graphemes.h"
#include "web/characters.h"
#include "web/entities.h"

using namespace peacrab;

namespace {

constexpr char kWrong = 1;
constexpr RenderStyle kTelegram{Markup::Telegram, 4096, RenderStyle::Unit::Utf16};

std::string only(std::string_view markdown, const RenderStyle& style) {
    const auto parts = render(markdown, style);
    REQUIRE(parts.size() == 1);
    return parts[0].text;
}
std::string telegram(std::string_view markdown) {
    return only(markdown, kTelegram);
}

std::string joined(const std::vector<RenderedPart>& parts) {
    std::string out;
    for (const RenderedPart& part : parts) out += part.gap + part.plain.substr(part.again);
    return out;
}

std::string repeated(std::string_view text, size_t times) {
    std::string out;
    while (times--) out += text;
    return out;
}

std::string wrong(const std::string& why) {
    return kWrong + why;
}

// As the Bot API reads it, and stricter: what it shows, or what is wrong.
std::string read_telegram(std::string_view html) {
    std::string shown;
    std::vector<std::string> open;
    for (size_t i = 0; i < html.size();) {
        if (html[i] == '&') {
            const size_t end = html.find(';', i);
            const std::string_view name = html.substr(i, end - i + 1);
            if (name != "&amp;" && name != "&lt;" && name != "&gt;" && name != "&quot;") return wrong("entity");
            shown += decode_entities(name);
            i = end + 1;
        } else if (html[i] == '<') {
            const size_t end = html.find('>', i);
            if (end == std::string_view::npos) return wrong("open tag");
            const std::string tag(html.substr(i + 1, end - i - 1));
            i = end + 1;
            if (tag[0] == '/') {
                if (open.empty() || open.back() != tag.substr(1)) return wrong(std::string("closes ") + tag);
                open.pop_back();
                continue;
            }
            const std::string name = tag.substr(0, tag.find(' '));
            const std::string above = open.empty() ? "" : open.back();
            const bool code = name == "code" && tag.starts_with("code class=\"language-") && above == "pre";
            if (above == "code" || (above == "pre" && !code)) return wrong("within code");
            if (name == "blockquote" && !open.empty()) return wrong("quote within");
            if (name == "a" ? !tag.starts_with("a href=\"") || !tag.ends_with('"') : name != tag && !code)
                return wrong("attribute");
            if (name != "b" && name != "i" && name != "s" && name != "a" && name != "code" && name != "pre" &&
                name != "blockquote")
                return wrong("unknown");
            open.push_back(name);
        } else if (html[i] == '>') {
            return wrong("bare");
        } else {
            shown += html[i++];
        }
    }
    if (!open.empty()) return wrong(std::string("unclosed ") + open.back());
    return shown;
}

bool is_word(std::string_view text, size_t at) {
    if (at >= text.size() || text.substr(at).starts_with("\u200b")) return false;
    if (at >= 2 && text.substr(at - 2).starts_with("\u200b")) return false;  // its last byte
    const auto c = static_cast<unsigned char>(text[at]);
    return c >= 0x80 || std::isalnum(c);
}
bool is_blank(std::string_view text, size_t at) {
    return at >= text.size() || std::isspace(static_cast<unsigned char>(text[at])) ||
           text.substr(at).starts_with("\u200b") || (at >= 2 && text.substr(at - 2).starts_with("\u200b"));
}

// Takes a block of code off the front of `text`, if there is one.
bool take_fence(std::string_view& text, std::string& shown, bool language, bool slack) {
    if (!text.starts_with("```")) return false;
    const size_t line = text.find('\n');
    const size_t end = text.find("```", 3);
    if (line == std::string_view::npos || end == std::string_view::npos || end < line || (!language && line != 3) ||
        text[end - 1] != '\n') {
        shown = wrong("fence");
        text = {};
        return true;
    }
    const std::string code(text.substr(line + 1, end > line + 1 ? end - line - 2 : 0));
    shown += slack ? decode_entities(code) : code;
    text.remove_prefix(end + 3);
    if (!text.empty() && text[0] != '\n') shown = wrong("behind a fence");
    return true;
}

// Slack's and WhatsApp's: a mark begins a style when no letter stands before it and no blank behind it, and ends one
// the other way round. One that begins nothing and ends nothing must not be there.
std::string read_narrow(std::string_view text, bool slack) {
    std::string shown;
    while (!text.empty()) {
        if (take_fence(text, shown, false, slack)) continue;
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end);
        while (line.starts_with("> ")) {
            line.remove_prefix(2);
            if (slack) break;
        }
        if (line == ">") line = {};
        std::string open;
        for (size_t i = 0; i < line.size(); ++i) {
            const char c = line[i];
            if (slack && c == '&') {
                const size_t stop = line.find(';', i);
                const std::string_view name = line.substr(i, stop - i + 1);
                if (name != "&amp;" && name != "&lt;" && name != "&gt;") return wrong("entity");
                shown += decode_entities(name);
                i = stop;
            } else if (slack && c == '<') {
                const size_t bar = line.find('|', i), stop = line.find('>', i);
                if (bar == std::string_view::npos || stop == std::string_view::npos || stop < bar || stop == bar + 1 ||
                    !(line.substr(i + 1).starts_with("http") || line.substr(i + 1).starts_with("mailto:")))
                    return wrong("link");
                shown += decode_entities(line.substr(bar + 1, stop - bar - 1));
                i = stop;
            } else if (slack && c == '>') {
                return wrong("bare");
            } else if ((i == 0 || !is_word(line, i - 1)) &&
                       (line.substr(i).starts_with("http://") || line.substr(i).starts_with("https://"))) {
                const size_t stop = std::min({line.find_first_of(" )>\t", i), line.find("\u200b", i), line.size()});
                shown += slack ? decode_entities(line.substr(i, stop - i)) : line.substr(i, stop - i);
                i = stop - 1;
            } else if (std::string_view("*_~`").find(c) != std::string_view::npos) {
                if (c == '`') {
                    if (is_word(line, i - 1) && i > 0) return wrong("code beside a letter");
                    const size_t stop = line.find('`', i + 1);
                    if (stop == std::string_view::npos || stop == i + 1) return wrong("code");
                    if (is_word(line, stop + 1)) return wrong("letter beside code");
                    const std::string code(line.substr(i + 1, stop - i - 1));
                    shown += slack ? decode_entities(code) : code;
                    i = stop;
                    continue;
                }
                const bool ends =
                    !open.empty() && open.back() == c && i > 0 && !is_blank(line, i - 1) && !is_word(line, i + 1);
                const bool begins = (i == 0 || !is_word(line, i - 1)) && !is_blank(line, i + 1);
                if (ends)
                    open.pop_back();
                else if (begins && open.find(c) == std::string::npos)
                    open += c;
                else if (begins)
                    return wrong(std::string("again ") + c);
                else
                    shown += c;
            } else {
                shown += c;
            }
        }
        if (!open.empty()) return wrong(std::string("open ") + open);
        if (!text.empty()) {
            shown += '\n';
            text.remove_prefix(1);
        }
    }
    return shown;
}

// Discord's: whatever could be a mark is one, or has a backslash.
std::string read_discord(std::string_view text) {
    std::string shown;
    while (!text.empty()) {
        if (take_fence(text, shown, true, false)) continue;
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end);
        for (size_t mark = 0;;) {
            if (line.starts_with(" "))
                line.remove_prefix(1);
            else if (line.starts_with("> ") || line.starts_with("- "))
                line.remove_prefix(2);
            else if ((mark = line.find_first_not_of("0123456789")) - 1 < 9 && line.substr(mark).starts_with(". "))
                line.remove_prefix(mark + 2);
            else
                break;
        }
        if (line == ">") line = {};
        size_t level = std::min(line.find_first_not_of('#'), line.size());
        if (level > 3 || (level && line.substr(level, 1) != " ")) return wrong("heading");
        if (level) line.remove_prefix(level + 1);
        std::vector<std::string> open;
        for (size_t i = 0; i < line.size(); ++i) {
            const char c = line[i];
            if (c == '\\') {
                if (i + 1 >= line.size() || std::isalnum(static_cast<unsigned char>(line[i + 1])))
                    return wrong("backslash");
                shown += line[++i];
            } else if (c == '`') {
                const size_t stop = line.find('`', i + 1);
                if (stop == std::string_view::npos || stop == i + 1) return wrong("code");
                shown += line.substr(i + 1, stop - i - 1);
                i = stop;
            } else if (c == '<') {
                const size_t stop = line.find('>', i);
                const std::string_view url = line.substr(i + 1, stop - i - 1);
                if (stop == std::string_view::npos || !url.starts_with("http") ||
                    url.find(' ') != std::string_view::npos)
                    return wrong("angle");
                shown += url;
                i = stop;
            } else if (c == '[') {
                open.push_back("[");
            } else if (c == ']') {
                const size_t stop = line.find(">)", i);
                if (open.empty() || open.back() != "[" || !line.substr(i).starts_with("](<http") ||
                    stop == std::string_view::npos)
                    return wrong("link");
                open.pop_back();
                i = stop + 1;
            } else if (c == '*' || c == '~' || c == '_') {
                const std::string mark(c == '_' ? 1 : 2, c);
                if (!line.substr(i).starts_with(mark)) return wrong("mark");
                if (!open.empty() && open.back() == mark) {
                    if (c == '_' && is_word(line, i + 1)) return wrong("letter behind");
                    open.pop_back();
                } else {
                    if (c == '_' && i > 0 && is_word(line, i - 1)) return wrong("letter before");
                    open.push_back(mark);
                }
                i += mark.size() - 1;
            } else if (c == '|' || c == '>') {
                return wrong("bare");
            } else if (c == '@' && (line.substr(i).starts_with("@everyone") || line.substr(i).starts_with("@here"))) {
                return wrong("mention");
            } else {
                shown += c;
            }
        }
        if (!open.empty()) return wrong(std::string("open ") + open.back());
        if (!text.empty()) {
            shown += '\n';
            text.remove_prefix(1);
        }
    }
    return shown;
}

std::string read_irc(std::string_view text) {
    std::string shown, open;
    for (const char c : text) {
        if (c == '\n' || c == '\r' || c == '\0') return wrong("line");
        if (c == 2 || c == 0x1d || c == 0x1e || c == 0x11) {
            if (!open.empty() && open.back() == c)
                open.pop_back();
            else if (open.find(c) == std::string::npos)
                open += c;
            else
                return wrong("crossed");
        } else if (static_cast<unsigned char>(c) < 0x20 && c != '\t') {
            return wrong("control");
        } else {
            shown += c;
        }
    }
    return open.empty() ? shown : wrong("open");
}

std::string read_mail(std::string_view html) {
    static const std::string kKnown = " b i s code pre a p ul ol li blockquote h1 h2 h3 h4 h5 h6 br hr ";
    std::string shown;
    std::vector<std::string> open;
    for (size_t i = 0; i < html.size(); ++i) {
        if (html[i] == '&') {
            const size_t end = html.find(';', i);
            shown += decode_entities(html.substr(i, end - i + 1));
            i = end;
        } else if (html[i] == '<') {
            const size_t end = html.find('>', i);
            if (end == std::string_view::npos) return wrong("tag");
            const std::string tag(html.substr(i + 1, end - i - 1));
            i = end;
            if (tag[0] == '/') {
                if (open.empty() || open.back() != tag.substr(1)) return wrong(std::string("closes ") + tag);
                open.pop_back();
                continue;
            }
            const std::string name = tag.substr(0, tag.find(' '));
            if (kKnown.find(' ' + name + ' ') == std::string::npos) return wrong(std::string("unknown ") + name);
            if (name == "li" && (open.empty() || (open.back() != "ul" && open.back() != "ol"))) return wrong("item");
            if (name == "hr") shown += "———";
            if (name != "br" && name != "hr") open.push_back(name);
        } else if (html[i] == '>') {
            return wrong("bare");
        } else {
            shown += html[i];
        }
    }
    return open.empty() ? shown : wrong(std::string("open ") + open.back());
}

std::string read_written(Markup dialect, std::string_view text) {
    switch (dialect) {
        case Markup::Plain: return std::string(text);
        case Markup::Telegram: return read_telegram(text);
        case Markup::Slack: return read_narrow(text, true);
        case Markup::Discord: return read_discord(text);
        case Markup::WhatsApp: return read_narrow(text, false);
        case Markup::Irc: return read_irc(text);
        case Markup::Email: return read_mail(text);
    }
    return {};
}

// What must be the same however it is written: no white space, no marks of lines, no address that a link says by
// itself.
std::string essence(std::string text) {
    const auto without = [&](std::string_view piece) {
        for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at))
            text.erase(at, piece.size());
    };
    for (const std::string_view piece :
         {" ", "\n", "\t", ">", "•", "☐", "☑", "-", "\u200b", "(http://a.example/b_c?d=1&e=2)"})
        without(piece);
    for (size_t at = text.find("\u02cb"); at != std::string::npos; at = text.find("\u02cb", at))
        text.replace(at, 2, "`");
    // Numbers of items are tags in a mail.
    for (const char digit : std::string("0123456789.")) without({&digit, 1});
    return text;
}

// Markdown by chance: pieces that mean something, put together without sense.
std::string some_markdown(std::mt19937& chance, size_t pieces) {
    static const char* const kPieces[] = {
        "word ",
        "another ",
        "**bold** ",
        "*it* ",
        "~~no~~ ",
        "`code` ",
        "\n",
        "\n\n",
        "> ",
        "- ",
        "1. ",
        "    ",
        "```c\n",
        "\n```\n",
        "# ",
        "**",
        "*",
        "_",
        "`",
        "~~",
        "[",
        "](http://a.example/b_c?d=1&e=2) ",
        "![",
        "<b>",
        "&amp; ",
        "&lt;",
        "<",
        ">",
        "\\*",
        "@everyone ",
        "| a | b |\n|---|---|\n| c | d |\n",
        "|",
        "https://auto.example/x_y ",
        "é",
        "漢字",
        "👩‍👩‍👧‍👦",
        "e\u0301\u0302",
        "🇩🇪🇫🇷",
        "- [x] ",
        ". ",
        "Sentence ends here. And the next! ",
        "---\n",
        "\t",
        "(",
        ")",
        "snake_case_name ",
        "x*y*z ",
        "javascript:alert(1)",
        "](javascript:x) ",
        "\r\n",
        "\x01\x02",
        "\xff\xfe",
        "> > ",
        "  - ",
        "verylongwordwithoutanyplacetocutitapart",
    };
    std::string out;
    while (pieces--) out += kPieces[chance() % std::size(kPieces)];
    return out;
}

}  // namespace

TEST_CASE("render: Telegram's tags for what Markdown has") {
    CHECK(telegram("**b** *i* ~~s~~ `c`") == "<b>b</b> <i>i</i> <s>s</s> <code>c</code>");
    CHECK(telegram("# T\n\ntext") == "<b>T</b>\n\ntext");
    CHECK(telegram("```py\na < b\n```") == "<pre><code class=\"language-py\">a &lt; b</code></pre>");
    CHECK(telegram("```\nx\n\ny\n```") == "<pre>x\n\ny</pre>");
    CHECK(telegram("- a\n- b\n  1. c\n  2. d") == "• a\n• b\n  1. c\n  2. d");
    CHECK(telegram("- [ ] a\n- [x] b") == "☐ a\n☑ b");
    CHECK(telegram("> a\n> b\n\nc") == "<blockquote>a\nb</blockquote>\n\nc");
    CHECK(telegram("> a\n>\n> > b") == "<blockquote>a\n\nb</blockquote>");
    CHECK(telegram("[t](https://a.example/?x=1&y=\"2\")") == "<a href=\"https://a.example/?x=1&amp;y=%222%22\">t</a>");
    CHECK(telegram("| a | bb |\n|---|---|\n| ccc | d |") == "<pre>a    bb\n---  --\nccc  d</pre>");
    CHECK(telegram("one\ntwo  \nthree") == "one\ntwo\nthree");
    CHECK(telegram("**a\nb**") == "<b>a</b>\n<b>b</b>");
    CHECK(telegram("**`c` [l](http://x.example)**") == "<code>c</code> <b><a href=\"http://x.example\">l</a></b>");
}

TEST_CASE("render: HTML in the Markdown is shown, never passed on") {
    CHECK(telegram("<b>x</b> <script>y</script>") == "&lt;b&gt;x&lt;/b&gt; &lt;script&gt;y&lt;/script&gt;");
    CHECK(telegram("<div>\n*a*\n</div>") == "&lt;div&gt;\n<i>a</i>\n&lt;/div&gt;");
    CHECK(telegram("a &amp; b &lt;i&gt; &nosuch;") == "a &amp; b &lt;i&gt; &amp;nosuch;");
}

TEST_CASE("render: only http, https and mailto become links, and none that pretends to lead elsewhere") {
    CHECK(telegram("[x](javascript:alert(1))") == "x (javascript:alert(1))");
    CHECK(telegram("[x](tg://user?id=1)") == "x (tg://user?id=1)");
    CHECK(telegram("[https://bank.example](https://thief.example)") == "https://bank.example (https://thief.example)");
    CHECK(telegram("[www.bank.example](https://thief.example)") == "www.bank.example (https://thief.example)");
    // Telegram makes no links of these.
    CHECK(telegram("[m](mailto:a@b.example)") == "m (mailto:a@b.example)");
    CHECK(telegram("[m](http://localhost:3000/x.html)") == "m (http://localhost:3000/x.html)");
    CHECK(only("[m](mailto:a@b.example)", {Markup::Slack, 4000}) == "<mailto:a@b.example|m>");
    CHECK(telegram("![](http://x.example/p.png)") == "<a href=\"http://x.example/p.png\">http://x.example/p.png</a>");
}

TEST_CASE("render: the plain text has no marks, and addresses stand behind their words") {
    CHECK(plain_text("**b** `c` \\* [t](http://x.example/) <http://y.example>\n> q") ==
          "b c * t (http://x.example/) http://y.example\n\n> q");
    CHECK(plain_text("_*[]()~>#+-=|{}.!<&") == "_*[]()~>#+-=|{}.!<&");
    CHECK(plain_text("a\001\033[31mb\xff\u202e") == "a[31mb\ufffd");
    CHECK(plain_text("  \n\n \t\n").empty());
    CHECK(render(" \n\n```\n\n```\n", kTelegram).empty());
}

TEST_CASE("render: what is too deep, too wide or too long is text as it stands") {
    const std::string deep = repeated("> ", 300) + "words";
    CHECK(plain_text(deep) == repeated("> ", kMaxMarkdownDepth) + "words");
    const std::string wide = repeated("|a", 120) + "|\n" + repeated("|-", 120) + "|\n" + repeated("|\n", 100000);
    CHECK(plain_text(wide).starts_with("|a|a|"));
    const std::string big = repeated("**x** ", kMaxMarkdown / 6 + 1);
    CHECK(plain_text(big).starts_with("**x** **x**"));
    CHECK(joined(render(big, kTelegram)) == plain_text(big));
    CHECK(plain_text(repeated("![", 50000) + repeated("](a)", 50000)).size() < 2 * kMaxMarkdown);
}

TEST_CASE("render: 4096 of Telegram's units are one part, one more are two") {
    for (const std::string unit : {"x", "😀", "👩‍👩‍👧‍👦", "e\u0301\u0302"}) {
        const size_t each = measured(unit, RenderStyle::Unit::Utf16);
        const std::string full = repeated(unit, 4096 / each) + repeated("x", 4096 % each);
        CHECK(render(full, kTelegram).size() == 1);
        const auto parts = render(full + "y", kTelegram);
        REQUIRE(parts.size() == 2);
        CHECK(joined(parts) == full + "y");
        CHECK(measured(read_telegram(parts[0].text), RenderStyle::Unit::Utf16) <= 4096);
        // Never within one of them.
        CHECK((parts[0].text.size() % unit.size() == 0 || parts[0].text.ends_with("x")));
    }
}

TEST_CASE("render: a cut is between paragraphs, else lines, sentences, words") {
    const RenderStyle style{Markup::Plain, 256, RenderStyle::Unit::Bytes};
    const std::string p = repeated("word ", 30);
    CHECK(render(p + "\n\n" + p + "\n\n" + p, style)[0].plain == p.substr(0, p.size() - 1));
    CHECK(render(p + "\n" + p, style)[0].plain == p.substr(0, p.size() - 1));
    const std::string s = repeated("word ", 29) + "end. ";
    CHECK(render(s + p + p, style)[0].plain == s.substr(0, s.size() - 1));
    CHECK(render(p + p, style)[0].plain.size() == 254);
    CHECK(render(repeated("x", 300), style)[0].plain.size() == 256);
}

TEST_CASE("render: Telegram gets at most a hundred entities a message") {
    const std::string markdown = repeated("**b** and [l](http://x.example) ", 100);
    const auto parts = render(markdown, kTelegram);
    CHECK(parts.size() > 1);
    for (const RenderedPart& part : parts) CHECK(std::count(part.text.begin(), part.text.end(), '<') <= 200);
    CHECK(joined(parts) == plain_text(markdown));
}

TEST_CASE("render: code that is cut is closed, and opened again with its language") {
    const auto parts = render("```c++\n" + repeated("int x = 1;\n", 60) + "```", {Markup::Telegram, 256});
    REQUIRE(parts.size() > 2);
    for (const RenderedPart& part : parts) {
        CHECK(part.text.starts_with("<pre><code class=\"language-c++\">int x = 1;\n"));
        CHECK(part.text.ends_with("int x = 1;</code></pre>"));
    }
}

TEST_CASE("render: a quote that is cut is a quote in each part") {
    const auto parts = render("> " + repeated("**word** and ", 60), {Markup::Telegram, 256});
    REQUIRE(parts.size() > 1);
    for (const RenderedPart& part : parts) {
        CHECK(part.text.starts_with("<blockquote>"));
        CHECK(part.text.ends_with("</blockquote>"));
        CHECK(part.plain.starts_with("> "));
    }
    CHECK(joined(parts) == plain_text("> " + repeated("**word** and ", 60)));
}

TEST_CASE("render: Slack's marks; what is none does not become one") {
    const auto slack = [](std::string_view markdown) { return only(markdown, {Markup::Slack, 4000}); };
    CHECK(slack("# T\n\n**b** *i* ~~s~~ `c` & <x>") == "*T*\n\n*b* _i_ ~s~ `c` &amp; &lt;x&gt;");
    CHECK(slack("[t](https://a.example/?x=1&y=2)") == "<https://a.example/?x=1&amp;y=2|t>");
    CHECK(slack("> q\n>\n> r") == "> q\n>\n> r");
    CHECK(slack("<!channel> <@U1>") == "&lt;!channel&gt; &lt;@U1&gt;");
    CHECK(slack("snake_case 5 * 3") == "snake_case 5 * 3");
    CHECK(slack("\\*not bold\\*") == "*\u200bnot bold\u200b*");
    CHECK(slack("*a\\** *b*") == "_a_\u200b\u200b* _b_");
    CHECK(slack("un**believ**able") == "un\u200b*believ*\u200bable");
    CHECK(slack("```py\na & b\n```") == "```\na &amp; b\n```");
    CHECK(slack("`` a`b ``") == "a\u02cbb");
}

TEST_CASE("render: Discord's Markdown; nobody is mentioned") {
    const auto discord = [](std::string_view markdown) { return only(markdown, {Markup::Discord, 2000}); };
    CHECK(discord("# T\n\n##### u\n\n**b** *i* ~~s~~ `c`") == "# T\n\n**u**\n\n**b** _i_ ~~s~~ `c`");
    CHECK(discord("\\# a\n\\- b\n1\\. c\n\\> d") == "\\# a\n\\- b\n1\\. c\n\\> d");
    CHECK(discord("- a\n- b") == "- a\n- b");
    CHECK(discord("@everyone @here <@1> <@&2> <#3>") ==
          "@\u200beveryone @\u200bhere \\<@\u200b1\\> \\<@\u200b&2\\> \\<\\#3\\>");
    CHECK(discord("[t](https://a.example/x_(y))") == "[t](<https://a.example/x_(y)>)");
    CHECK(discord("[t](javascript:x)") == "t (javascript:x)");
    CHECK(discord("see https://a.example/x_y_z") == "see <https://a.example/x_y_z>");
    CHECK(discord("````\n```\n````") == "```\n``\u200b`\n```");
    CHECK(discord("| a |\n|---|\n| b |") == "```\na\n-\nb\n```");
}

TEST_CASE("render: WhatsApp's marks, and addresses behind their words") {
    const auto whatsapp = [](std::string_view markdown) { return only(markdown, {Markup::WhatsApp, 4096}); };
    CHECK(whatsapp("**b** *i* ~~s~~ `c` & <x>") == "*b* _i_ ~s~ `c` & <x>");
    CHECK(whatsapp("[t](https://a.example/x_y)") == "t (https://a.example/x_y)");
    CHECK(whatsapp("```c\nx\n```") == "```\nx\n```");
}

TEST_CASE("render: IRC gets a line a part, with its codes") {
    const auto parts =
        render("**b** *i*\n\n> q\n\n```c\nint x;\n\n  y\n```", {Markup::Irc, 400, RenderStyle::Unit::Bytes});
    REQUIRE(parts.size() == 4);
    CHECK(parts[0].text ==
          "\x02"
          "b\x02 \x1di\x1d");
    CHECK(parts[1].text == "> q");
    CHECK(parts[2].text == "\x11int x;\x11");
    CHECK(parts[3].text == "\x11  y\x11");
}

TEST_CASE("render: a mail is HTML with its lists and quotes nested") {
    const auto mail = [](std::string_view markdown) { return only(markdown, {Markup::Email, 100000}); };
    CHECK(mail("## T\n\na\nb") == "<h2>T</h2>\n<p>a<br>\nb</p>\n");
    CHECK(mail("- a\n  - b\n- c") ==
          "<ul>\n<li><p>a</p>\n<ul>\n<li><p>b</p>\n</li>\n</ul>\n</li>\n<li><p>c</p>\n</li>\n</ul>\n");
    CHECK(mail("3. a\n4. b") == "<ol>\n<li value=\"3\"><p>a</p>\n</li>\n<li value=\"4\"><p>b</p>\n</li>\n</ol>\n");
    CHECK(mail("> `c` <i>") == "<blockquote>\n<p><code>c</code> &lt;i&gt;</p>\n</blockquote>\n");
}

TEST_CASE("render: 2000 of Discord's units are one part, and IRC's 400 bytes hold whole characters") {
    CHECK(render(repeated("x", 2000), {Markup::Discord, 2000}).size() == 1);
    CHECK(render(repeated("x", 2001), {Markup::Discord, 2000}).size() == 2);
    const std::string text = repeated("😀", 250);
    const auto parts = render(text, {Markup::Irc, 400, RenderStyle::Unit::Bytes});
    REQUIRE(parts.size() == 3);
    for (const RenderedPart& part : parts) CHECK(part.text == repeated("😀", part.text.size() / 4));
    CHECK(joined(parts) == text);
}

TEST_CASE("render: nested fences, a table, a link and a list across the cuts: every part parses alone") {
    std::string markdown = "# Report\n\n";
    for (int i = 0; i < 12; ++i)
        markdown += "1. An item with [a link](https://a.example/" + std::to_string(i) +
                    ") and **bold *and italic* words**\n\n"
                    "   ````md\n   ```py\n   print(1)\n   ```\n   ````\n\n"
                    "> a quote with `code`\n\n| a | b |\n|---|---|\n| c | d |\n\n";
    for (const Markup dialect : {Markup::Telegram, Markup::Slack, Markup::Discord, Markup::WhatsApp, Markup::Irc,
                                  Markup::Email, Markup::Plain}) {
        for (size_t more = 0; more < 450; more += 13) {
            const size_t limit = least_limit(dialect) + more;
            const RenderStyle style{dialect, limit, RenderStyle::Unit::Utf16};
            const auto parts = render(markdown, style);
            CHECK(joined(parts) == plain_text(markdown));
            for (const RenderedPart& part : parts) {
                const std::string shown = read_written(dialect, part.text);
                CHECK_MESSAGE(!shown.starts_with(kWrong), shown);
                CHECK(measured(dialect == Markup::Telegram ? shown : part.text, style.unit) <= limit);
            }
        }
    }
}

TEST_CASE("render: marks that mark nothing and HTML that is never closed arrive readable") {
    const std::string odd = "_*[]()~>#+-=|{}.!<& <b><i>x</b> <a href='y'> **a _b** c_ ~~d";
    for (const Markup dialect : {Markup::Telegram, Markup::Slack, Markup::Discord, Markup::WhatsApp, Markup::Irc,
                                  Markup::Email, Markup::Plain}) {
        CAPTURE(static_cast<int>(dialect));
        const std::string shown = read_written(dialect, only(odd, {dialect, 4096}));
        CHECK(essence(shown) == essence(plain_text(odd)));
        const std::string bare = "_*[]()~>#+-=|{}.!<& <b><i>x</b>";
        CHECK(essence(read_written(dialect, only(bare, {dialect, 4096}))) == essence(bare));
    }
}

TEST_CASE("render: whatever is written, each part fits, parses alone, and together they are the whole") {
    static const Markup kAll[] = {Markup::Telegram, Markup::Slack, Markup::Discord, Markup::WhatsApp,
                                   Markup::Irc,      Markup::Email, Markup::Plain};
    std::mt19937 chance(20260501);
    for (int round = 0; round < 700; ++round) {
        const std::string markdown = some_markdown(chance, 1 + chance() % 300);
        CAPTURE(markdown);
        const std::string whole = plain_text(markdown);
        const Markup dialect = kAll[round % 7];
        const RenderStyle style{dialect, least_limit(dialect) + chance() % 700,
                                static_cast<RenderStyle::Unit>(chance() % 3)};
        CAPTURE(static_cast<int>(style.dialect));
        CAPTURE(style.limit);
        const auto parts = render(markdown, style);
        const auto once_more = render(markdown, style);
        REQUIRE(parts.size() == once_more.size());
        REQUIRE(joined(parts) == whole);
        std::string all;
        for (size_t i = 0; i < parts.size(); ++i) {
            const RenderedPart& part = parts[i];
            CAPTURE(part.text);
            const std::string shown = read_written(style.dialect, part.text);
            REQUIRE_MESSAGE(!shown.starts_with(kWrong), shown);
            all += shown;
            REQUIRE(measured(style.dialect == Markup::Telegram ? shown : part.text, style.unit) <= style.limit);
            REQUIRE(measured(part.plain, style.unit) <= style.limit);
            REQUIRE(part.gap.find_first_not_of(" \t\n>") == std::string::npos);
            REQUIRE(part.text == once_more[i].text);
            size_t first = part.again;
            REQUIRE(!is_mark(next_character(part.plain, first)));  // no character was taken apart
        }
        REQUIRE(essence(all) == essence(whole));
    }
}
