// A tree of Markdown as one line of characters, each with all that has to be known of it wherever a text is cut. What
// it says without any marks, `plain`, is the same for all messengers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "messaging/markdown.h"

namespace peacrab {

// Beside TextStyle: code with a backtick in it, and a heading, which some messengers show as bold.
constexpr uint8_t kTicked = 16, kHeading = 32;

// What a person sees as one character, or a mark that is not to be taken apart.
struct Atom {
    enum class Kind : uint8_t {
        Text,
        Blank,   // a space or a tab
        Line,    // the end of a line
        Quote,   // "> " in front of a line
        Marker,  // what is in front of an item: indentation, a bullet, a number
        Tail,    // the address of the link that ends here: " (https://…)"
    };
    // What a cut in front of it would part; Never: only where there is nothing else.
    enum class Cut : uint8_t { Never, Character, Word, Sentence, Line, Paragraph };

    uint32_t at = 0;       // its first byte in `plain`; it reaches to the next atom's
    uint32_t leaf = kNone; // none: it is between two of them
    uint32_t link = kNone;
    Kind kind = Kind::Text;
    Cut cut = Cut::Character;
    uint8_t style = 0;
};

struct Flow {
    Markdown markdown;
    std::string plain;        // begins and ends with something that can be seen, or is empty
    std::vector<Atom> atoms;  // the last one stands for the end

    explicit Flow(Markdown tree);
    size_t size() const { return atoms.size() - 1; }
    std::string_view text(size_t from, size_t to) const {
        return std::string_view(plain).substr(atoms[from].at, atoms[to].at - atoms[from].at);
    }
    std::string_view text(size_t atom) const { return text(atom, atom + 1); }
    // In code spaces are not merely between words.
    bool verbatim(size_t atom) const {
        return atoms[atom].leaf != kNone && markdown.leaves[atoms[atom].leaf].verbatim();
    }
};

}  // namespace peacrab
