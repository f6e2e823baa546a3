// What strangers on the web have written: a page in HTML, a PDF, any type at all.
//
// Whatever comes out is UTF-8 without a character that hides, and no longer than was asked for, and the half of an
// escape, a link or a table that the end cut off.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "error.h"
#include "os.h"
#include "web/characters.h"
#include "web/page.h"

using namespace peacrab;

namespace {

constexpr size_t kMost = 4096;
constexpr size_t kSlack = 3 * kMaxAddress + 64;  // one link's address, encoded

void must(bool condition) {
    if (!condition) std::abort();
}

// A byte below the length of this list stands for a piece that chance would not find.
const char* const kPieces[] = {
    "<a href=\"", "\">", "<script>", "</script>", "<!--", "<pre>", "<td>", "<li>", "&#x", "&eacute;", "<nav>", "<title>",
    "1 0 obj\n", "2 0 obj\n", "3 0 obj\n", "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]>>",
    "<</Type/Page/Contents 1 0 R/Resources<</Font<</F 2 0 R>>/XObject<</X 3 0 R>>>>>>", "\nendobj\n", ">>stream\n",
    "\nendstream\n", "<</Type/ObjStm/N 3/First 9", "/Filter/FlateDecode", "BT /F 9 Tf (a) Tj ET", "[(a)-900(b)]TJ ",
    "<</Subtype/Type0/ToUnicode 1 0 R>>", "1 beginbfrange <00><ff><0041> endbfrange ", "/Subtype/Form", "/X Do ",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1) return 0;
    static const char* const kTypes[] = {"text/html", "application/pdf", "", "text/plain; charset=latin1"};
    static const WebAddress kAt = parse_address("https://site.example/a/b?c");
    const char* const type = kTypes[data[0] % 4];
    std::string bytes = data[0] % 4 == 1 ? "%PDF-1.7\n" : "";
    for (size_t i = 1; i < size; ++i) {
        if (data[i] < std::size(kPieces) && data[i] != '\n')
            bytes += kPieces[data[i]];
        else
            bytes += static_cast<char>(data[i]);
    }
    const PageText page = read_page(bytes, type, kAt, kMost);
    must(page.text.size() <= kMost + kSlack);
    must(page.title.size() <= 1024);
    for (const std::string* text : {&page.text, &page.title})
        for (size_t at = 0; at < text->size();) {
            must(utf8_length(std::string_view(*text).substr(at, 4)) > 0);
            must(!is_hidden_character(next_character(*text, at)));
        }
    return 0;
}
