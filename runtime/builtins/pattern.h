// Regular expressions for the tool `search`: no backtracking, so that no pattern is slow on any text.
// What is asked is only whether a line matches, and where. RE2 does the same and would add 860 KB to
// the static binary, which has 330 KB to spare.
//
// Syntax: literals, ., [a-z], [^a-z], [[:alpha:]], \d \w \s \D \W \S, ^ $ \b \B, ( ) (?: ) |, * + ? {m,n},
// (?i) at the front. ASCII classes; other characters match as they are, . takes a whole one. Neither
// back-references nor look-around.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace peacrab {

class Pattern {
  public:
    // Throws Error, which says what is wrong with it, for the model.
    explicit Pattern(std::string_view text);
    // A file name pattern: * ? [a-z] {a,b}, and ** across folders. It must fit the whole name.
    static Pattern glob(std::string_view text);

    // Where the first match to end ends. `line` is one line, without its end. Throws Error when all
    // lines together have cost too much.
    std::optional<size_t> end_in(std::string_view line);

    struct Step {
        enum class Kind : uint8_t { Byte, Split, Begin, End, Word, NotWord, Match } kind;
        uint32_t set = 0;    // Byte: which
        uint32_t other = 0;  // Split: besides the next; a jump when `only`
        bool only = false;
    };

  private:
    // A state is what may come next, and what came before: the sets of steps are made when needed.
    struct State {
        std::vector<uint32_t> steps;
        bool first = false, after_word = false;
        std::vector<int32_t> next;  // by byte, and for the end of the line
    };
    int32_t add_state(std::vector<uint32_t> steps, bool first, bool after_word);
    int32_t step(int32_t from, unsigned symbol);
    bool holds(Step::Kind kind, const State& state, unsigned symbol) const;

    std::vector<Step> program_;
    std::vector<std::bitset<256>> sets_;
    std::vector<State> states_;
    std::unordered_map<std::string, int32_t> known_;
    std::vector<uint32_t> mark_;  // when a step was last seen, for the sets
    uint32_t round_ = 0;
    uint64_t work_ = 0;
};

}  // namespace peacrab
