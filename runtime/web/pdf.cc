// Runs the operators of each page that show text or move the place where it is shown, and none of the others.
// Letters are what the font's ToUnicode says, else its encoding; blanks and lines are guessed from the places.
// Source: ISO 32000-1, 9. Must not follow a form into itself, nor show more than it was asked for.
#include "web/pdf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>

#include "error.h"
#include "os.h"
#include "web/characters.h"
#include "web/entities.h"
#include "web/pdf_objects.h"

namespace peacrab {
namespace {

using Kind = PdfValue::Kind;

constexpr size_t kMaxMapped = 70'000;    // characters of one font
constexpr size_t kMaxOperands = 64;
constexpr int kMaxForms = 4;             // one within another
constexpr size_t kMaxFormsDrawn = 2000;
constexpr double kBlankGap = 0.17;       // of the font's size: less is within a word
constexpr double kLineGap = 0.25;

struct Font {
    bool wide = false;                           // codes of two bytes
    std::map<uint32_t, std::string> characters;  // by code, where it is told
    std::array<char32_t, 256> simple{};          // else, of one byte; 0: unknown
    std::array<float, 256> widths{};             // of the size; 0: unknown
};

uint32_t code_of(std::string_view bytes) {
    uint32_t code = 0;
    for (const char c : bytes.substr(0, 4)) code = code << 8 | static_cast<uint8_t>(c);
    return code;
}

// A glyph's name: "A", "eacute", "comma", "uni20AC", "f_i".
char32_t glyph(std::string_view name) {
    static constexpr std::pair<std::string_view, char32_t> kNames[] = {
        {"space", ' '}, {"exclam", '!'}, {"quotedbl", '"'}, {"numbersign", '#'}, {"percent", '%'},
        {"ampersand", '&'}, {"quotesingle", '\''}, {"quoteright", 0x2019}, {"quoteleft", 0x2018},
        {"parenleft", '('}, {"parenright", ')'}, {"asterisk", '*'}, {"hyphen", '-'}, {"slash", '/'}, {"zero", '0'},
        {"one", '1'}, {"two", '2'}, {"three", '3'}, {"four", '4'}, {"five", '5'}, {"six", '6'}, {"seven", '7'},
        {"eight", '8'}, {"nine", '9'}, {"semicolon", ';'}, {"less", '<'}, {"equal", '='}, {"greater", '>'},
        {"question", '?'}, {"at", '@'}, {"bracketleft", '['}, {"backslash", '\\'}, {"bracketright", ']'},
        {"underscore", '_'}, {"braceleft", '{'}, {"bar", '|'}, {"braceright", '}'}, {"asciitilde", '~'},
        {"quotedblleft", 0x201c}, {"quotedblright", 0x201d}, {"endash", 0x2013}, {"emdash", 0x2014},
        {"bullet", 0x2022}, {"ellipsis", 0x2026}, {"fi", 0xfb01}, {"fl", 0xfb02}, {"ff", 0xfb00}, {"ffi", 0xfb03},
        {"ffl", 0xfb04}, {"germandbls", 0xdf}, {"dotlessi", 0x131}, {"Euro", 0x20ac}, {"periodcentered", 0xb7},
    };
    if (name.size() == 1) return static_cast<uint8_t>(name[0]);
    for (const auto& [known, c] : kNames)
        if (name == known) return c;
    if (name.size() >= 7 && name.starts_with("uni")) {
        uint32_t code = 0;
        for (const char c : name.substr(3, 4)) {
            const size_t digit = std::string_view("0123456789ABCDEF").find(c);
            if (digit == std::string_view::npos) return 0;
            code = code << 4 | static_cast<uint32_t>(digit);
        }
        return code;
    }
    return named_character(name);
}

std::string ligature_free(char32_t c) {
    static constexpr const char* kLigatures[] = {"ff", "fi", "fl", "ffi", "ffl"};
    if (c >= 0xfb00 && c <= 0xfb04) return kLigatures[c - 0xfb00];
    std::string text;
    append_utf8(text, c);
    return text;
}

// The program of a ToUnicode stream: only its lists matter. ISO 32000-1, 9.10.3.
void read_to_unicode(Font& font, std::string_view program, PdfBudget& budget) {
    PdfLexer lexer(program, budget, PdfLexer::References::None);
    std::vector<PdfValue> list;
    const auto text = [](const PdfValue& value) { return decode_charset(value.text, "utf-16be"); };
    const auto put = [&](uint32_t code, std::string what) {
        if (font.characters.size() < kMaxMapped) font.characters[code] = std::move(what);
    };
    for (PdfValue value = lexer.next(); !value.is(Kind::End); value = lexer.next()) {
        if (!value.is(Kind::Keyword)) {
            if (list.size() < 3 * 1024) list.push_back(std::move(value));
            continue;
        }
        if (value.text == "endcodespacerange" && !list.empty()) {
            font.wide = list.back().text.size() > 1;
        } else if (value.text == "endbfchar") {
            for (size_t i = 0; i + 1 < list.size(); i += 2) put(code_of(list[i].text), text(list[i + 1]));
        } else if (value.text == "endbfrange") {
            for (size_t i = 0; i + 2 < list.size(); i += 3) {
                const uint32_t first = code_of(list[i].text), last = code_of(list[i + 1].text);
                PdfValue& to = list[i + 2];
                for (uint32_t n = 0; last >= first && n <= last - first && font.characters.size() < kMaxMapped; ++n) {
                    if (to.is(Kind::Array)) {
                        if (n >= to.items.size()) break;
                        put(first + n, text(to.items[n]));
                    } else {
                        put(first + n, text(to));
                        if (to.text.empty()) break;
                        for (size_t k = to.text.size(); k-- > 0 && ++to.text[k] == '\0';) {
                        }
                    }
                    budget.spend(budget.values, 1);
                }
            }
        }
        list.clear();
    }
}

std::shared_ptr<const Font> read_font(PdfFile& file, const PdfValue& dict) {
    auto font = std::make_shared<Font>();
    const PdfValue* const subtype = dict.find("Subtype");
    font->wide = subtype && subtype->is_name("Type0");
    for (uint32_t code = 32; code < 256; ++code) {
        const std::string text = decode_charset(std::string(1, static_cast<char>(code)), "windows-1252");
        size_t at = 0;
        font->simple[code] = font->wide ? 0 : next_character(text, at);
    }
    const PdfValue encoding = file.value_of(dict, "Encoding");
    const PdfValue differences = file.value_of(encoding, "Differences");
    uint32_t code = 0;
    for (const PdfValue& item : differences.items) {
        if (item.is(Kind::Number)) code = static_cast<uint32_t>(item.integer());
        if (item.is(Kind::Name) && code < 256) font->simple[code++] = glyph(item.text);
    }
    const PdfValue widths = file.value_of(dict, "Widths");
    const int64_t first = file.value_of(dict, "FirstChar").integer();
    for (size_t i = 0; i < widths.items.size() && i < 256; ++i)
        if (first >= 0 && static_cast<size_t>(first) + i < 256)
            font->widths[static_cast<size_t>(first) + i] = static_cast<float>(file.resolve(widths.items[i]).number / 1000);
    if (const PdfValue* map = dict.find("ToUnicode")) read_to_unicode(*font, file.stream(*map), file.budget());
    return font;
}

class PdfText {
  public:
    PdfText(PdfFile& file, size_t most) : file_(file), most_(most) {}

    void page(const PdfPage& page) {
        const size_t before = out_.size();
        std::string content;
        const PdfValue* const what = page.dict.find("Contents");
        if (what) {
            const PdfValue list = file_.resolve(*what);
            if (list.is(Kind::Array))
                for (const PdfValue& part : list.items) content += file_.stream(part) + "\n";
            else
                content = file_.stream(*what);
        }
        place_ = {};
        moved_ = false;
        if (page.resources) run(content, *page.resources, 0);
        if (out_.size() > before) out_ += "\n\n";
    }
    bool full() const { return out_.size() >= most_; }
    std::string finish() { return std::move(out_); }
    size_t shown() const { return shown_; }
    size_t unknown() const { return unknown_; }

  private:
    struct Where {
        double x = 0, y = 0;            // where the next letter stands
        double line_x = 0, line_y = 0;  // where its line began
        double scale_x = 1, scale_y = 1;
        double leading = 0, size = 1;
        double spacing = 0;
    };
    void run(std::string_view content, const PdfValue& resources, int depth);
    void act(const std::string& word, std::vector<PdfValue>& operands, const PdfValue& resources, int depth);
    void form(const std::string& name, const PdfValue& resources, int depth);
    void choose(const std::string& name, const PdfValue& resources);
    void show(const std::string& codes);
    void next_line(double x, double y);
    void letter(const std::string& text, double width);

    PdfFile& file_;
    size_t most_;
    std::string out_;
    std::map<int64_t, std::shared_ptr<const Font>> fonts_;
    std::shared_ptr<const Font> font_;
    Where place_;
    double last_y_ = 0, last_x_ = 0;  // where the last letter ended
    bool moved_ = false;              // the page's own coordinates have changed since
    size_t forms_ = 0, shown_ = 0, unknown_ = 0;
};

void PdfText::run(std::string_view content, const PdfValue& resources, int depth) {
    PdfLexer lexer(content, file_.budget(), PdfLexer::References::None);
    std::vector<PdfValue> operands;
    for (PdfValue value = lexer.next(); !value.is(Kind::End) && !full(); value = lexer.next()) {
        if (!value.is(Kind::Keyword)) {
            if (operands.size() < kMaxOperands) operands.push_back(std::move(value));
            continue;
        }
        if (value.text == "ID") {  // a picture's bytes
            const size_t end = content.find("EI", lexer.at());
            if (end == std::string_view::npos) return;
            lexer.skip_to(end);
        } else {
            act(value.text, operands, resources, depth);
        }
        operands.clear();
    }
}

void PdfText::act(const std::string& word, std::vector<PdfValue>& operands, const PdfValue& resources, int depth) {
    const auto number = [&](size_t i) { return i < operands.size() ? operands[i].number : 0.0; };
    const auto last = [&]() -> const PdfValue& {
        static const PdfValue kNone;
        return operands.empty() ? kNone : operands.back();
    };
    if (word == "BT") {
        const Where fresh;
        place_.x = place_.y = place_.line_x = place_.line_y = 0;
        place_.scale_x = place_.scale_y = fresh.scale_x;
    } else if (word == "cm" || word == "Q") {
        moved_ = true;
    } else if (word == "Tf") {
        place_.size = operands.size() > 1 ? std::abs(operands[1].number) : 1;
        if (!operands.empty()) choose(operands[0].text, resources);
    } else if (word == "TL") {
        place_.leading = number(0);
    } else if (word == "Tc") {
        place_.spacing = number(0);
    } else if (word == "Td" || word == "TD") {
        if (word == "TD") place_.leading = -number(1);
        next_line(number(0), number(1));
    } else if (word == "T*") {
        next_line(0, -place_.leading);
    } else if (word == "Tm" && operands.size() >= 6) {
        place_.scale_x = std::hypot(number(0), number(1));
        place_.scale_y = std::hypot(number(2), number(3));
        place_.x = place_.line_x = number(4);
        place_.y = place_.line_y = number(5);
    } else if (word == "Tj") {
        show(last().text);
    } else if (word == "'" || word == "\"") {
        next_line(0, -place_.leading);
        show(last().text);
    } else if (word == "TJ") {
        for (const PdfValue& item : last().items)
            if (item.is(Kind::Number))
                place_.x -= item.number / 1000 * place_.size * place_.scale_x;
            else
                show(item.text);
    } else if (word == "Do") {
        form(last().text, resources, depth);
    }
}

void PdfText::next_line(double x, double y) {
    place_.line_x += x * place_.scale_x;
    place_.line_y += y * place_.scale_y;
    place_.x = place_.line_x;
    place_.y = place_.line_y;
}

void PdfText::form(const std::string& name, const PdfValue& resources, int depth) {
    if (depth >= kMaxForms || ++forms_ > kMaxFormsDrawn) return;
    const PdfValue forms = file_.value_of(resources, "XObject");
    const PdfValue* const reference = forms.find(name);
    if (!reference) return;
    const PdfValue dict = file_.resolve(*reference);
    const PdfValue* const subtype = dict.find("Subtype");
    if (!subtype || !subtype->is_name("Form")) return;
    const PdfValue own = file_.value_of(dict, "Resources");
    const Where before = place_;
    moved_ = true;
    run(file_.stream(*reference), own.is(Kind::Dict) ? own : resources, depth + 1);
    place_ = before;
    moved_ = true;
}

void PdfText::choose(const std::string& name, const PdfValue& resources) {
    font_.reset();
    const PdfValue fonts = file_.value_of(resources, "Font");
    const PdfValue* const reference = fonts.find(name);
    if (!reference) return;
    if (!reference->is(Kind::Reference)) {
        font_ = read_font(file_, *reference);
        return;
    }
    std::shared_ptr<const Font>& known = fonts_[reference->integer()];
    if (!known) known = read_font(file_, file_.resolve(*reference));
    font_ = known;
}

void PdfText::show(const std::string& codes) {
    static const Font kPlain;
    const Font& font = font_ ? *font_ : kPlain;
    const size_t step = font.wide ? 2 : 1;
    for (size_t i = 0; i + step <= codes.size() && !full(); i += step) {
        const uint32_t code = code_of(std::string_view(codes).substr(i, step));
        const auto told = font.characters.find(code);
        std::string text;
        if (told != font.characters.end())
            text = told->second;
        else if (!font.wide && font.simple[code] != 0)
            text = ligature_free(font.simple[code]);
        const float width = font.wide ? 0 : font.widths[code];
        const double size = place_.size * place_.scale_x;
        ++shown_;
        if (text.empty()) {
            ++unknown_;
            text = "\xef\xbf\xbd";
        }
        letter(text, (width > 0 ? static_cast<double>(width) : 0.5) * size + place_.spacing * place_.scale_x);
    }
}

void PdfText::letter(const std::string& text, double width) {
    const double size = std::max(place_.size * place_.scale_y, 1e-6);
    const bool other_line = moved_ || std::abs(place_.y - last_y_) > kLineGap * size;
    if (!out_.empty() && out_.back() != '\n') {
        if (other_line)
            out_ += '\n';
        else if (std::abs(place_.x - last_x_) > kBlankGap * size && out_.back() != ' ' && text != " ")
            out_ += ' ';
    }
    if (text != " " || (!out_.empty() && out_.back() != ' ')) out_ += text;
    place_.x += width;
    last_x_ = place_.x;
    last_y_ = place_.y;
    moved_ = false;
}

std::string title_of(PdfFile& file, std::string_view bytes) {
    const size_t at = bytes.rfind("/Info");
    if (at == std::string_view::npos) return {};
    PdfLexer lexer(bytes.substr(at + 5), file.budget());
    const PdfValue title = file.value_of(file.resolve(lexer.next()), "Title");
    return clean_text(utf8_prefix(decode_charset(title.text.substr(0, 600), ""), 300));
}

}  // namespace

PageText read_pdf(std::string_view bytes, size_t most) {
    PageText page;
    const std::string instead = "; to have the file: curl in the shell";
    try {
        PdfFile file(bytes);
        if (file.encrypted()) {
            page.note = "the PDF is encrypted" + instead;
            return page;
        }
        page.title = title_of(file, bytes);
        PdfText text(file, most);
        const std::vector<PdfPage> pages = file.pages();
        size_t read = 0;
        try {
            for (; read < pages.size() && !text.full(); ++read) text.page(pages[read]);
            if (text.full()) page.note = "only its beginning";
        } catch (const Error& error) {
            page.note = "only the first " + std::to_string(read) + " pages: " + error.what();
        }
        const size_t shown = text.shown(), unknown = text.unknown();
        page.text = clean_text(text.finish());
        if (shown == 0 && page.note.empty())
            page.note = "a PDF of " + std::to_string(pages.size()) +
                        " pages without text in it: scanned, perhaps" + instead;
        else if (unknown * 5 > shown && page.note.empty())
            page.note = "many letters of this PDF cannot be told from its fonts" + instead;
    } catch (const Error& error) {
        page.note = error.what() + instead;
    }
    return page;
}

}  // namespace peacrab
