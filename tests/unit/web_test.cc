#include <doctest/doctest.h>
#include <zlib.h>

#include <vector>

#include "error.h"
#include "web/address.h"
#include "web/characters.h"
#include "web/entities.h"
#include "web/html.h"
#include "web/page.h"
#include "web/pdf.h"

using namespace peacrab;

namespace {

const WebAddress kAt = parse_address("https://site.example/a/b.html?q=1");

std::string html(std::string_view text) {
    return read_html(text, kAt, size_t{1} << 20).text;
}

std::string refusal(std::string_view address) {
    try {
        (void)parse_address(address);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

// A file of these objects, from number 1 on, without a table: none is needed.
std::string pdf(const std::vector<std::string>& objects, const std::string& trailer = "") {
    std::string file = "%PDF-1.4\n";
    for (size_t i = 0; i < objects.size(); ++i)
        file += std::to_string(i + 1) + " 0 obj\n" + objects[i] + "\nendobj\n";
    return file + trailer + "%%EOF\n";
}

std::string stream(const std::string& bytes, const std::string& keys = "") {
    return "<</Length " + std::to_string(bytes.size()) + keys + ">>\nstream\n" + bytes + "\nendstream";
}

std::string deflated(const std::string& bytes) {
    std::string out(compressBound(bytes.size()), '\0');
    uLongf size = out.size();
    REQUIRE(compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                     bytes.size()) == Z_OK);
    out.resize(size);
    return out;
}

// One page whose content this is, with a font F in WinAnsi.
std::string one_page(const std::string& content_object, const std::string& font = "") {
    return pdf({"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
                "<</Type/Page/Parent 2 0 R/Resources<</Font<</F 4 0 R>>>>/Contents 5 0 R>>",
                font.empty() ? "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>" : font,
                content_object});
}

std::string pdf_text(const std::string& file) {
    std::string text = read_pdf(file, size_t{1} << 20).text;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

}  // namespace

TEST_CASE("address: what is asked for is http or https, with a host and without a name or password") {
    CHECK(parse_address("HTTPS://Site.Example:443/a b?c=\"#d").text() == "https://site.example/a%20b?c=%22");
    CHECK(parse_address("http://[::1]:8080").text() == "http://[::1]:8080/");
    CHECK(parse_address("https://h/a/./b/../../../c/..").target == "/");
    CHECK(parse_address("https://h?x").target == "/?x");
    CHECK(refusal("ftp://h/") == "only http:// and https:// addresses are fetched");
    CHECK(refusal("file:///etc/passwd") == "only http:// and https:// addresses are fetched");
    CHECK(refusal("site.example/x") == "only http:// and https:// addresses are fetched");
    CHECK(refusal("https://u:p@h/").find("password") != std::string::npos);
    for (const char* bad : {"https://", "https:///x", "https://h:0/", "https://h:99999/", "https://h:x/",
                            "https://a b/", "https://h\r\nX: y/", "https://m\xc3\xbcller.example/", "https://[::1/"})
        CHECK_MESSAGE(refusal(bad) != "", bad);
    CHECK(refusal("https://h/" + std::string(5000, 'a')) != "");
    CHECK(parse_address("https://h/\r\nHost: x").target == "/%0D%0AHost:%20x");
}

TEST_CASE("address: a link leads where a browser would go, or nowhere") {
    CHECK(resolve_link(kAt, "c") == "https://site.example/a/c");
    CHECK(resolve_link(kAt, "../c#f") == "https://site.example/c#f");
    CHECK(resolve_link(kAt, "/c?d") == "https://site.example/c?d");
    CHECK(resolve_link(kAt, "?d") == "https://site.example/a/b.html?d");
    CHECK(resolve_link(kAt, "//other.example/x") == "https://other.example/x");
    CHECK(resolve_link(kAt, "http://other.example") == "http://other.example/");
    CHECK(resolve_link(kAt, "#f") == "https://site.example/a/b.html?q=1#f");
    for (const char* none : {"javascript:alert(1)", "data:text/html,x", "mailto:a@b", "https://u@h/", ""})
        CHECK(resolve_link(kAt, none).empty());
}

TEST_CASE("address: a byte that may not stand in one is encoded, whichever that is") {
    const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
    CHECK(percent_encoded(std::string_view("a/\xc3\xbc\0z", 6), letter) == "a%2F%C3%BC%00z");
    CHECK(parse_address("https://h.example/a b?\"<\xff%20").target == "/a%20b?%22%3C%FF%20");
}

TEST_CASE("characters: what hides text or carries it unseen is gone, what is read stays") {
    CHECK(clean_text("a\xe2\x80\x8b" "b\xe2\x80\xae" "c\xf3\xa0\x81\xa1" "d\x1b[31m\a\x00" "e") == "abcd[31m");
    CHECK(clean_text("a\r\nb\rc\xe2\x80\xa8" "d") == "a\nb\nc\nd");
    CHECK(clean_text("\xef\xb8\x8f\xf3\xa0\x84\x80x") == "x");  // variation selectors
    CHECK(clean_text("f\xc3\xbcnf \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\xa6\x80\t.") == "f\xc3\xbcnf \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\xa6\x80\t.");
    CHECK(clean_text("a\xff" "b\xc3") == "a\xef\xbf\xbd" "b\xef\xbf\xbd");
}

TEST_CASE("characters: charsets that the web still has become UTF-8, others keep their ASCII") {
    CHECK(decode_charset("caf\xe9 \x80", "ISO-8859-1") == "caf\xc3\xa9 \xe2\x82\xac");
    CHECK(decode_charset("caf\xe9", "") == "caf\xc3\xa9");
    CHECK(decode_charset("caf\xc3\xa9", "iso-8859-1") == "caf\xc3\xa9");
    CHECK(decode_charset(std::string_view("\xff\xfe" "a\0\x3d\xd8\x80\xdd", 8), "") == "a\xf0\x9f\x96\x80");
    CHECK(decode_charset("ab\x83\x65", "shift_jis") == "ab\xef\xbf\xbd" "e");
    CHECK(html_charset("<html><META http-equiv=x content='text/html; charset=ISO-8859-1'>") == "iso-8859-1");
    CHECK(html_charset("<meta name=a><meta charset=\"utf-8\">") == "utf-8");
    CHECK(html_charset("<p>charset=x") == "");
}

TEST_CASE("entities: names and numbers, and what is neither stays") {
    CHECK(decode_entities("&lt;&amp;&eacute;&yuml;&nbsp;&hellip;&#8212;&#x2014;&#150;&euro;") ==
          "<&\xc3\xa9\xc3\xbf\xc2\xa0\xe2\x80\xa6\xe2\x80\x94\xe2\x80\x94\xe2\x80\x93\xe2\x82\xac");
    CHECK(decode_entities("a & b &; &bogus; &#; &#x; &26; &amp") == "a & b &; &bogus; &#; &#x; &26; &amp");
    CHECK(decode_entities("&#0;&#xd800;&#99999999999;") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("html: a page is read as its author meant it to be") {
    const PageText page = read_html(
        "<!doctype html><html><head><title> A &amp;\n B</title><style>p{}</style></head><body>"
        "<nav><a href=/menu>Menu</a></nav><h1>Big <b>head</b></h1><p>Some   text with <a href='../x?y=1#z'>a link</a>,"
        "<br>next<p>Two<ul><li>one<li>two<ul><li>in</ul></ul><ol><li>a<li>b</ol>"
        "<table><tr><th>k<th>v</tr><tr><td><p>1</p></td><td>2</td></tr></table>"
        "<pre>\n a  b\n  &lt;c&gt;</pre>Use <code>f()</code>. <img alt='a crab'><script>if (a < b) '</p>'</script>"
        "<footer>imprint</footer></body></html>", kAt, 1 << 20);
    CHECK(page.title == "A & B");
    CHECK(page.note == "");
    CHECK(page.text ==
          "# Big head\n\nSome text with [a link](https://site.example/x?y=1#z),\nnext\n\nTwo\n\n- one\n- two\n  - in\n\n"
          "1. a\n2. b\n\n| k | v |\n| 1 | 2 |\n\n```\n a  b\n  <c>\n```\n\nUse `f()`. [image: a crab]");
}

TEST_CASE("html: what a style hides is not read to a model") {
    const std::string page = html("<p>seen " + std::string(300, 'x') +
                                  "<span style='display: none'>one</span><div hidden>two<div>in</div></div>"
                                  "<i aria-hidden=true>three</i><b style=\"font-size:0\">four</b><!-- five --> end");
    CHECK(page.find("end") != std::string::npos);
    for (const char* hidden : {"one", "two", "in<", "three", "four", "five"})
        CHECK_MESSAGE(page.find(hidden) == std::string::npos, hidden);
}

TEST_CASE("html: an element that is left out and never closed does not take the page with it") {
    CHECK(html("<nav>" + std::string(500, 'a')).find("aaa") != std::string::npos);
}

TEST_CASE("html: addresses of links are absolute and only such as can be fetched") {
    CHECK(html("<base href='https://b.example/d/'><a href=x>t</a>") == "[t](https://b.example/d/x)");
    CHECK(html("<a href='java&#115;cript:alert(1)'>t</a> <a href=#top>u</a>") == "t u");
    CHECK(html("<a href=1>one<a href=2>two") == "[one](https://site.example/a/1)[two](https://site.example/a/2)");
}

TEST_CASE("html: broken and hostile pages cost no more than their size") {
    for (const std::string piece : {"<a href=\"x\">", "<", "<!-", "<!--", "&a;", "<script></s", "<div><ul>", "<a b=\"",
                                    "<title>", "</", "<nav>", "<td>", "<pre>", "<a =", "<a/", "\xf0\x9f"}) {
        std::string page;
        while (page.size() < 200'000) page += piece;
        const PageText text = read_html(page, kAt, 50'000);
        CHECK_MESSAGE(text.text.size() < 60'000, piece);
    }
    const PageText cut = read_html("<p>" + std::string(5000, 'x'), kAt, 1000);
    CHECK(cut.text.size() == 1000);
    CHECK(read_html("x" + std::string("\xe2\x82\xac\xe2\x82\xac"), kAt, 5).text == "x\xe2\x82\xac\xe2\x82\xac");
    CHECK(cut.note == "only its beginning");
}

TEST_CASE("page: the reader is chosen by type and by the bytes") {
    CHECK(read_page("<b>x</b>", "text/html", kAt, 100).text == "x");
    CHECK(read_page("{\"a\": \"<b>\"}", "application/json", kAt, 100).text == "{\"a\": \"<b>\"}");
    CHECK(read_page("<!DOCTYPE html><b>x</b>", "", kAt, 100).text == "x");
    CHECK(read_page("caf\xe9", "text/plain; charset=\"latin1\"", kAt, 100).text == "caf\xc3\xa9");
    CHECK(read_page("a\xe2\x80\x8b" "b", "text/plain", kAt, 100).text == "ab");
    const PageText picture = read_page(std::string("\x89PNG\0\0", 6), "image/png", kAt, 100);
    CHECK(picture.text == "");
    CHECK(picture.note == "6 bytes that are no text; to have them as a file: curl in the shell");
    CHECK(read_page(std::string("a\0b", 3), "text/plain", kAt, 100).text == "");
}

TEST_CASE("pdf: text by its operators, with blanks and lines where they are seen") {
    const std::string content =
        "BT 14 TL /F 12 Tf 72 720 Td (Hello) Tj 40 0 Td (World) Tj 0 -14 Td [(Ker)20(ned)-400(words)] TJ T* "
        "(\\(paren\\)\\040\\351) ' ET";
    CHECK(pdf_text(one_page(stream(content))) == "Hello World\nKerned words\n(paren) \xc3\xa9");
    CHECK(pdf_text(one_page(stream(deflated(content), "/Filter/FlateDecode"))) ==
          "Hello World\nKerned words\n(paren) \xc3\xa9");
    CHECK(pdf_text(one_page(stream("42542f46203132205466202848692920546a204554>", "/Filter/ASCIIHexDecode"))) == "Hi");
}

TEST_CASE("pdf: a font's own word on its letters is believed") {
    const std::string map =
        "begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfchar <0001> <4e16> endbfchar "
        "2 beginbfrange <0010> <0012> <0041> <0020> <0021> [<00480069> <d83edd80>] endbfrange endcmap";
    const std::string file =
        pdf({"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]>>",
             "<</Type/Page/Contents 5 0 R/Resources<</Font<</F 4 0 R>>>>>>",
             "<</Type/Font/Subtype/Type0/Encoding/Identity-H/ToUnicode 6 0 R>>",
             stream("BT /F 10 Tf <000100100011001200200021> Tj ET"), stream(map)});
    CHECK(pdf_text(file) == "\xe4\xb8\x96" "ABCHi\xf0\x9f\xa6\x80");
    CHECK(pdf_text(one_page(stream("BT /F 10 Tf (ab\\001) Tj ET"),
                            "<</Subtype/Type1/Encoding<</Differences[97/eacute/uni20AC 1/fi]>>>>")) ==
          "\xc3\xa9\xe2\x82\xac" "fi");
}

TEST_CASE("pdf: objects within a stream, forms, and the title are found") {
    const std::string inside = "<</Type/Catalog/Pages 11 0 R>> <</Type/Pages/Kids[3 0 R]>> <</Title(A title)>>";
    const std::string head = "10 0 11 31 12 59 ";
    const std::string file = pdf(
        {stream(deflated(head + inside), "/Type/ObjStm/N 3/First " + std::to_string(head.size()) + "/Filter/FlateDecode"),
         "null", "<</Type/Page/Contents[5 0 R]/Resources<</Font<</F 4 0 R>>/XObject<</X 6 0 R>>>>>>",
         "<</Subtype/Type1>>", stream("BT /F 9 Tf (page) Tj ET /X Do"),
         stream("BT /F 9 Tf (form) Tj ET /X Do", "/Subtype/Form")},
        "trailer<</Info 12 0 R/Root 10 0 R>>");
    const PageText page = read_pdf(file, 1 << 20);
    CHECK(page.title == "A title");
    CHECK(page.text.find("page\nform") == 0);
}

TEST_CASE("pdf: what has no text that can be read says so") {
    CHECK(read_pdf(one_page(stream("q 1 0 0 1 0 0 cm /I Do Q")), 1000).note.find("without text") != std::string::npos);
    CHECK(read_pdf("%PDF-1.7\ntrailer<</Encrypt 5 0 R>>", 1000).note.find("encrypted") != std::string::npos);
    CHECK(read_pdf("%PDF-1.7", 1000).note.find("without text") != std::string::npos);
    CHECK(read_pdf(pdf({"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]>>",
                        "<</Type/Page/Contents 5 0 R/Resources<</Font<</F 4 0 R>>>>>>",
                        "<</Subtype/Type0>>", stream("BT /F 9 Tf <00010002> Tj ET")}), 1000)
              .note.find("cannot be told") != std::string::npos);
}

TEST_CASE("pdf: bombs, loops and lies end within their bounds") {
    const std::string zeros(32 << 20, ' ');
    CHECK(read_pdf(one_page(stream(deflated(zeros), "/Filter/FlateDecode")), 1000).text.size() <= 1000);
    // Each of these streams would be 16 MiB.
    std::string many = "BT /F 9 Tf (x) Tj ET";
    std::vector<std::string> objects = {"<</Type/Catalog/Pages 2 0 R>>", "", "<</Subtype/Type1>>",
                                        stream(deflated(zeros), "/Filter/FlateDecode")};
    std::string kids;
    for (int i = 0; i < 50; ++i) {
        kids += std::to_string(objects.size() + 1) + " 0 R ";
        objects.push_back("<</Type/Page/Contents 4 0 R/Resources<<>>>>");
    }
    objects[1] = "<</Type/Pages/Kids[" + kids + "]>>";
    CHECK(read_pdf(pdf(objects), 1000).note.find("too complicated") != std::string::npos);
    CHECK(read_pdf(pdf({"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[2 0 R 2 0 R]>>"}), 1000).text.empty());
    CHECK(read_pdf("%PDF-1 1 0 obj " + std::string(100'000, '['), 1000).text.empty());
    std::string unclosed = "%PDF-1 ";
    while (unclosed.size() < 2'000'000) unclosed += "1 0 obj (";
    CHECK_FALSE(read_pdf(unclosed, 1000).note.empty());
    CHECK(read_pdf(one_page(stream("BT /F 9 Tf (" + std::string(5000, 'x') + ") Tj ET")), 1000).note ==
          "only its beginning");
}
