// Markdown as messengers get it: what is written, and where it is cut.
#include "messaging/render.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "messaging/graphemes.h"
#include "web/entities.h"

using namespace peacrab;

namespace {

constexpr char kWrong = 1;
constexpr RenderStyle kTelegram{Dialect::Telegram, 4096, RenderStyle::Unit::Utf16};

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

// As the Bot API reads it, and stricter: what it shows; kWrong and a reason for what it would refuse.
std::string read_telegram(std::string_view html) {
    std::string shown;
    std::vector<std::string> open;
    for (size_t i = 0; i < html.size();) {
        if (html[i] == '&') {
            const size_t end = html.find(';', i);
            const std::string_view name = html.substr(i, end - i + 1);
            if (name != "&amp;" && name != "&lt;" && name != "&gt;" && name != "&quot;") return "\001entity";
            shown += decode_entities(name);
            i = end + 1;
        } else if (html[i] == '<') {
            const size_t end = html.find('>', i);
            if (end == std::string_view::npos) return "\001open tag";
            const std::string tag(html.substr(i + 1, end - i - 1));
            i = end + 1;
            if (tag[0] == '/') {
                if (open.empty() || open.back() != tag.substr(1)) return "\001closes " + tag;
                open.pop_back();
                continue;
            }
            const std::string name = tag.substr(0, tag.find(' '));
            const std::string above = open.empty() ? "" : open.back();
            const bool code = name == "code" && tag.starts_with("code class=\"language-") && above == "pre";
            if (above == "code" || (above == "pre" && !code)) return "\001within code";
            if (name == "blockquote" && !open.empty()) return "\001quote within";
            if (name == "a" ? !tag.starts_with("a href=\"") || !tag.ends_with('"') : name != tag && !code) return "\001attribute";
            if (name != "b" && name != "i" && name != "s" && name != "a" && name != "code" && name != "pre" &&
                name != "blockquote")
                return "\001unknown";
            open.push_back(name);
        } else if (html[i] == '>') {
            return "\001bare";
        } else {
            shown += html[i++];
        }
    }
    if (!open.empty()) return "\001unclosed " + open.back();
    return shown;
}

// Markdown by chance: pieces that mean something, put together without sense.
std::string some_markdown(std::mt19937& chance, size_t pieces) {
    static const char* const kPieces[] = {
        "word ",      "another ", "**bold** ", "*it* ",     "~~no~~ ",  "`code` ",   "\n",       "\n\n",  "> ",
        "- ",         "1. ",      "    ",      "```c\n",    "\n```\n",  "# ",        "**",       "*",     "_",
        "`",          "~~",       "[",         "](http://a.example/b_c?d=1&e=2) ",   "![",       "<b>",   "&amp; ",
        "&lt;",       "<",        ">",         "\\*",       "@everyone ", "| a | b |\n|---|---|\n| c | d |\n", "|",
        "https://auto.example/x_y ",           "é",         "漢字",     "👩‍👩‍👧‍👦", "e\u0301\u0302", "🇩🇪🇫🇷", "- [x] ", ". ",
        "Sentence ends here. And the next! ",  "---\n",     "\t",       "(",         ")",        "snake_case_name ", "x*y*z ",
        "javascript:alert(1)", "](javascript:x) ", "\r\n", "\x01\x02", "\xff\xfe",   "> > ",     "  - ",  "verylongwordwithoutanyplacetocutitapart",
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
    CHECK(telegram("**`c` [l](http://x.example)**") ==
          "<code>c</code> <b><a href=\"http://x.example\">l</a></b>");
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
    CHECK(telegram("[m](mailto:a@b.example)") == "<a href=\"mailto:a@b.example\">m</a>");
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
    const RenderStyle style{Dialect::Plain, 256, RenderStyle::Unit::Bytes};
    const std::string p = repeated("word ", 30);
    CHECK(render(p + "\n\n" + p + "\n\n" + p, style)[0].plain == p.substr(0, p.size() - 1));
    CHECK(render(p + "\n" + p, style)[0].plain == p.substr(0, p.size() - 1));
    const std::string s = repeated("word ", 29) + "end. ";
    CHECK(render(s + p + p, style)[0].plain == s.substr(0, s.size() - 1));
    CHECK(render(p + p, style)[0].plain.size() == 254);
    CHECK(render(repeated("x", 300), style)[0].plain.size() == 256);
}

TEST_CASE("render: code that is cut is closed, and opened again with its language") {
    const auto parts = render("```c++\n" + repeated("int x = 1;\n", 60) + "```", {Dialect::Telegram, 256});
    REQUIRE(parts.size() > 2);
    for (const RenderedPart& part : parts) {
        CHECK(part.text.starts_with("<pre><code class=\"language-c++\">int x = 1;\n"));
        CHECK(part.text.ends_with("int x = 1;</code></pre>"));
    }
}

TEST_CASE("render: a quote that is cut is a quote in each part") {
    const auto parts = render("> " + repeated("**word** and ", 60), {Dialect::Telegram, 256});
    REQUIRE(parts.size() > 1);
    for (const RenderedPart& part : parts) {
        CHECK(part.text.starts_with("<blockquote>"));
        CHECK(part.text.ends_with("</blockquote>"));
        CHECK(part.plain.starts_with("> "));
    }
    CHECK(joined(parts) == plain_text("> " + repeated("**word** and ", 60)));
}

TEST_CASE("render: whatever is written, each part fits, parses alone, and together they are the whole") {
    std::mt19937 chance(20260501);
    for (int round = 0; round < 400; ++round) {
        const std::string markdown = some_markdown(chance, 1 + chance() % 300);
        CAPTURE(markdown);
        const std::string whole = plain_text(markdown);
        const size_t limit = kLeastLimit + chance() % 700;
        const auto parts = render(markdown, {Dialect::Telegram, limit});
        REQUIRE(joined(parts) == whole);
        for (const RenderedPart& part : parts) {
            const std::string shown = read_telegram(part.text);
            REQUIRE(!shown.starts_with(kWrong));
            REQUIRE(measured(shown, RenderStyle::Unit::Utf16) <= limit);
            REQUIRE(measured(part.plain, RenderStyle::Unit::Utf16) <= limit);
            REQUIRE(part.gap.find_first_not_of(" \t\n>") == std::string::npos);
        }
    }
}
