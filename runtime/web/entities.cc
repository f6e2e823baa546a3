// The 96 names of Latin-1 stand in the order of their characters, the others with their number. The full list
// of the standard has two thousand names, of which a page that people read uses these.
#include "web/entities.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "web/characters.h"

namespace peacrab {
namespace {

constexpr char32_t kFirstLatin = 0xa0;
constexpr std::string_view kLatin =
    " nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 "
    "sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc "
    "Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve "
    "Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc "
    "atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve "
    "oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml ";
constexpr std::string_view kOthers =
    " amp 26 lt 3c gt 3e quot 22 apos 27 AMP 26 LT 3c GT 3e QUOT 22 OElig 152 oelig 153 Scaron 160 scaron 161 "
    "Yuml 178 fnof 192 circ 2c6 tilde 2dc Alpha 391 Beta 392 Gamma 393 Delta 394 Theta 398 Lambda 39b Pi 3a0 "
    "Sigma 3a3 Phi 3a6 Psi 3a8 Omega 3a9 alpha 3b1 beta 3b2 gamma 3b3 delta 3b4 epsilon 3b5 zeta 3b6 eta 3b7 "
    "theta 3b8 iota 3b9 kappa 3ba lambda 3bb mu 3bc nu 3bd xi 3be pi 3c0 rho 3c1 sigma 3c3 tau 3c4 phi 3c6 "
    "chi 3c7 psi 3c8 omega 3c9 ensp 2002 emsp 2003 thinsp 2009 zwnj 200c zwj 200d lrm 200e rlm 200f ndash 2013 "
    "mdash 2014 horbar 2015 lsquo 2018 rsquo 2019 sbquo 201a ldquo 201c rdquo 201d bdquo 201e dagger 2020 "
    "Dagger 2021 bull 2022 hellip 2026 permil 2030 prime 2032 Prime 2033 lsaquo 2039 rsaquo 203a frasl 2044 "
    "euro 20ac trade 2122 larr 2190 uarr 2191 rarr 2192 darr 2193 harr 2194 rArr 21d2 hArr 21d4 forall 2200 "
    "part 2202 exist 2203 empty 2205 nabla 2207 isin 2208 notin 2209 prod 220f sum 2211 minus 2212 radic 221a "
    "infin 221e and 2227 or 2228 cap 2229 cup 222a int 222b there4 2234 sim 223c asymp 2248 ne 2260 equiv 2261 "
    "le 2264 ge 2265 sub 2282 sup 2283 sdot 22c5 lang 27e8 rang 27e9 loz 25ca check 2713 star 2606 hearts 2665 "
    "lbrace 7b rbrace 7d lbrack 5b rbrack 5d lpar 28 rpar 29 num 23 excl 21 percnt 25 ast 2a plus 2b comma 2c "
    "period 2e sol 2f colon 3a semi 3b equals 3d quest 3f commat 40 bsol 5c lowbar 5f grave 60 vert 7c dollar 24 "
    "NewLine a Tab 9 lcub 7b rcub 7d hyphen 2010 nldr 2025 ";

// What a browser does with numbers that are no characters: those of windows-1252 are meant.
char32_t of_number(uint32_t number) {
    if (number >= 0x80 && number < 0xa0) {
        const std::string text = decode_charset(std::string(1, static_cast<char>(number)), "windows-1252");
        size_t at = 0;
        return next_character(text, at);
    }
    return number == 0 ? 0xfffd : number;
}

// The reference at the front of `text`, which begins with '&'. Its length; 0: it is none.
size_t read_reference(std::string_view text, std::string& out) {
    constexpr size_t kLongest = 16;
    const std::string_view near = text.substr(0, kLongest);
    const size_t end = near.find(';');
    if (near.size() > 2 && near[1] == '#') {
        const bool hex = near[2] == 'x' || near[2] == 'X';
        const char* const first = near.data() + (hex ? 3 : 2);
        uint32_t number = 0;
        const auto [at, error] = std::from_chars(first, near.data() + near.size(), number, hex ? 16 : 10);
        if (at == first) return 0;
        append_utf8(out, error == std::errc() ? of_number(number) : 0xfffd);
        const auto length = static_cast<size_t>(at - near.data());
        return length + (length < near.size() && near[length] == ';');
    }
    if (end == std::string_view::npos) return 0;
    const char32_t c = named_character(near.substr(1, end - 1));
    if (c == 0) return 0;
    append_utf8(out, c);
    return end + 1;
}

}  // namespace

char32_t named_character(std::string_view name) {
    if (name.empty() || name.size() > 10 || name.find(' ') != std::string_view::npos) return 0;
    const std::string word = ' ' + std::string(name) + ' ';
    if (const size_t at = kLatin.find(word); at != std::string_view::npos)
        return kFirstLatin + static_cast<char32_t>(std::count(kLatin.begin(), kLatin.begin() + static_cast<ptrdiff_t>(at), ' '));
    const size_t at = kOthers.find(word);
    if (at == std::string_view::npos) return 0;
    uint32_t number = 0;  // of another's number, when the name is one: "26" is no name in HTML
    const std::string_view digits = kOthers.substr(at + word.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    return error == std::errc() && *end == ' ' ? number : 0;
}

std::string decode_entities(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
        const size_t next = std::min(text.find('&', i), text.size());
        out.append(text.substr(i, next - i));
        i = next;
        if (i == text.size()) break;
        const size_t length = read_reference(text.substr(i), out);
        if (!length) out += '&';
        i += length ? length : 1;
    }
    return out;
}

}  // namespace peacrab
