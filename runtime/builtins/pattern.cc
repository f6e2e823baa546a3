// Thompson's construction, run as a deterministic automaton whose states are made as they are met
// (Cox, "Regular Expression Matching Can Be Simple And Fast"). Hostile patterns: depth, repetitions,
// size, states and work are bounded.
#include "builtins/pattern.h"

#include <algorithm>
#include <memory>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using Set = std::bitset<256>;
using Kind = Pattern::Step::Kind;

constexpr size_t kMaxSteps = 5000;
constexpr int kMaxDepth = 100, kMaxRepeat = 1000, kNoEnd = -1;
constexpr size_t kMaxStates = 1000;
constexpr uint64_t kMaxWork = 200'000'000;  // steps visited: some seconds
constexpr uint64_t kStateWork = 50;         // what a state costs besides
constexpr unsigned kEnd = 256;              // the symbol after a line's last byte
constexpr int32_t kUnknown = -1, kMatched = -2;

bool is_word(unsigned c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

Set range(unsigned from, unsigned to) {
    Set set;
    for (unsigned c = from; c <= to; ++c) set.set(c);
    return set;
}

Set words() {
    Set set;
    for (unsigned c = 0; c < 128; ++c) set.set(c, is_word(c));
    return set;
}

// \d, \w, \s and, in capitals, what is not.
std::optional<Set> class_escape(char c) {
    const char kind = static_cast<char>(c | 0x20);
    Set set;
    if (kind == 'd') set = range('0', '9');
    else if (kind == 'w') set = words();
    else if (kind == 's') set = range('\t', '\r') | range(' ', ' ');
    else return std::nullopt;
    return kind == c ? set : ~set;
}

std::optional<Set> named_class(std::string_view name) {
    const Set digit = range('0', '9'), lower = range('a', 'z'), upper = range('A', 'Z');
    if (name == "digit") return digit;
    if (name == "lower") return lower;
    if (name == "upper") return upper;
    if (name == "alpha") return lower | upper;
    if (name == "alnum") return lower | upper | digit;
    if (name == "space") return class_escape('s');
    if (name == "blank") return range(' ', ' ') | range('\t', '\t');
    if (name == "xdigit") return digit | range('a', 'f') | range('A', 'F');
    if (name == "punct") return range('!', '~') & ~(lower | upper | digit);
    return std::nullopt;
}

struct Node {
    enum class Kind { Empty, Bytes, Join, Either, Repeat, Assert } kind = Kind::Empty;
    Set set;
    Pattern::Step::Kind assertion = Pattern::Step::Kind::Begin;
    int least = 0, most = 0;
    std::vector<Node> parts;
};

Node one_of(const Set& set) {
    Node node;
    node.kind = Node::Kind::Bytes;
    node.set = set;
    return node;
}

Node made(Node::Kind kind, std::vector<Node> parts) {
    Node node;
    node.kind = kind;
    node.parts = std::move(parts);
    return node;
}

Node bytes(std::string_view text) {
    std::vector<Node> parts;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        parts.push_back(one_of(range(byte, byte)));
    }
    return parts.size() == 1 ? parts[0] : made(Node::Kind::Join, std::move(parts));
}

// One character of `set`: those beyond ASCII, when it has their bytes, as a whole or, where text is of
// another encoding, as a byte.
Node character(const Set& set) {
    if (!set.test(0xff)) return one_of(set);
    const Node more = one_of(range(0x80, 0xbf));
    return made(Node::Kind::Either,
                {one_of(set), made(Node::Kind::Join, {one_of(range(0xc2, 0xdf)), more}),
                 made(Node::Kind::Join, {one_of(range(0xe0, 0xef)), more, more}),
                 made(Node::Kind::Join, {one_of(range(0xf0, 0xf4)), more, more, more})});
}

class Parser {
  public:
    explicit Parser(std::string_view text) : rest_(text) {
        if (rest_.starts_with("(?i)")) {
            ignore_case_ = true;
            rest_.remove_prefix(4);
        }
    }
    Node parse() {
        Node node = alternatives(0);
        if (!rest_.empty()) fail("there is a ) without its (; write \\) for the character");
        return node;
    }

  private:
    [[noreturn]] static void fail(const std::string& why) { throw Error("pattern: " + why); }
    bool take(std::string_view text) {
        if (!rest_.starts_with(text)) return false;
        rest_.remove_prefix(text.size());
        return true;
    }
    Node alternatives(int depth) {
        if (depth > kMaxDepth) fail("too many groups within groups");
        std::vector<Node> each = {sequence(depth)};
        while (take("|")) each.push_back(sequence(depth));
        return each.size() == 1 ? std::move(each[0]) : made(Node::Kind::Either, std::move(each));
    }
    Node sequence(int depth) {
        std::vector<Node> parts;
        while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')')
            parts.push_back(repeated(atom(depth)));
        return made(Node::Kind::Join, std::move(parts));
    }
    Node repeated(Node node) {
        for (int times = 0;; ++times) {
            int least = 0, most = kNoEnd;
            if (take("+")) least = 1;
            else if (take("?")) most = 1;
            else if (!take("*") && !counted(least, most)) return node;
            if (times > 3) fail("too many repetitions of repetitions");
            (void)take("?");  // as few as possible: the same lines
            Node repeat = made(Node::Kind::Repeat, {std::move(node)});
            repeat.least = least;
            repeat.most = most;
            node = std::move(repeat);
        }
    }
    // {3}, {3,} or {3,5}; any other brace is a character.
    bool counted(int& least, int& most) {
        if (!rest_.starts_with('{')) return false;
        const size_t close = rest_.find('}');
        const std::string_view inside = rest_.substr(1, close == rest_.npos ? 0 : close - 1);
        const size_t comma = std::min(inside.find(','), inside.size());
        const auto number = [](std::string_view digits) {
            if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos) return -1;
            if (digits.size() > 4) return kMaxRepeat + 1;
            return std::stoi(std::string(digits));
        };
        least = number(inside.substr(0, comma));
        most = comma == inside.size()       ? least
               : comma + 1 == inside.size() ? kNoEnd
                                            : number(inside.substr(comma + 1));
        if (least < 0 || (most < 0 && comma + 1 != inside.size())) return false;
        if (least > kMaxRepeat || most > kMaxRepeat) fail("repeats more than 1000 times");
        if (most != kNoEnd && most < least) fail("{m,n} with n below m");
        rest_.remove_prefix(close + 1);
        return true;
    }
    Node assertion(Kind kind) {
        Node node;
        node.kind = Node::Kind::Assert;
        node.assertion = kind;
        return node;
    }
    Node atom(int depth) {
        if (take("(")) {
            if (take("?:") || named_group()) {
            } else if (rest_.starts_with('?')) {
                fail("look-around and flags within are not known here; (?i) goes at the front");
            }
            Node inside = alternatives(depth + 1);
            if (!take(")")) fail("a ( is not closed; write \\( for the character");
            return inside;
        }
        if (take("^")) return assertion(Kind::Begin);
        if (take("$")) return assertion(Kind::End);
        if (take(".")) return character(~Set());
        if (take("[")) return bracket();
        if (rest_[0] == '*' || rest_[0] == '+' || rest_[0] == '?')
            fail("there is nothing before a " + std::string(1, rest_[0]) + " to repeat");
        if (rest_[0] == '\\') return escape();
        return literal(take_character());
    }
    bool named_group() {
        const size_t open = rest_.starts_with("?P<") ? 3 : rest_.starts_with("?<") ? 2 : 0;
        const size_t close = rest_.find('>');
        if (!open || close == rest_.npos || close == open) return false;
        for (const char c : rest_.substr(open, close - open))
            if (!is_word(static_cast<unsigned char>(c))) return false;
        rest_.remove_prefix(close + 1);
        return true;
    }
    std::string_view take_character() {
        const size_t length = std::max<size_t>(utf8_length(rest_), 1);
        const std::string_view text = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return text;
    }
    Node literal(std::string_view text) {
        return text.size() == 1 ? one_of(with_case(bytes(text).set)) : bytes(text);
    }
    Set with_case(Set set) const {
        if (!ignore_case_) return set;
        for (unsigned c = 'a'; c <= 'z'; ++c)
            if (set.test(c) || set.test(c - 32)) set.set(c).set(c - 32);
        return set;
    }
    // After a backslash: a character that stands for another, or for itself.
    char plain_escape() {
        if (rest_.empty()) fail("it ends with a backslash; write \\\\ for the character");
        const char c = rest_[0];
        rest_.remove_prefix(1);
        const size_t known = std::string_view("tnrfv").find(c);
        if (known != std::string_view::npos) return "\t\n\r\f\v"[known];
        if (c == 'x') {
            const auto digit = [&](size_t i) {
                const char low = i < rest_.size() ? static_cast<char>(rest_[i] | 0x20) : ' ';
                const size_t value = std::string_view("0123456789abcdef").find(low);
                if (value == std::string_view::npos) fail("\\x needs two hexadecimal digits");
                return static_cast<int>(value);
            };
            const int value = 16 * digit(0) + digit(1);
            rest_.remove_prefix(2);
            return static_cast<char>(value);
        }
        if (c >= '1' && c <= '9') fail("back-references are not known here");
        if (is_word(static_cast<unsigned char>(c)))
            fail(std::string("\\") + c + " is not known here");
        return c;
    }
    Node escape() {
        rest_.remove_prefix(1);
        if (take("b")) return assertion(Kind::Word);
        if (take("B")) return assertion(Kind::NotWord);
        if (take("A")) return assertion(Kind::Begin);
        if (take("z") || take("Z")) return assertion(Kind::End);
        if (const auto set = rest_.empty() ? std::nullopt : class_escape(rest_[0])) {
            rest_.remove_prefix(1);
            return character(*set);
        }
        if (!rest_.empty() && static_cast<unsigned char>(rest_[0]) >= 0x80)
            return literal(take_character());
        const char c = plain_escape();
        return literal({&c, 1});
    }
    Node bracket() {
        const bool negated = take("^");
        Set set;
        std::vector<Node> others;  // beyond ASCII
        for (bool first = true; first || !rest_.starts_with(']'); first = false) {
            if (rest_.empty()) fail("a [ is not closed; write \\[ for the character");
            if (take("[:")) {
                const size_t close = rest_.find(":]");
                const auto named = named_class(rest_.substr(0, close));
                if (close == rest_.npos || !named) fail("a [: :] names no class");
                set |= *named;
                rest_.remove_prefix(close + 2);
                continue;
            }
            if (rest_.size() > 1 && rest_[0] == '\\')
                if (const auto known = class_escape(rest_[1])) {
                    set |= *known;
                    rest_.remove_prefix(2);
                    continue;
                }
            const std::optional<unsigned char> from = member(others);
            if (!from || rest_.size() < 2 || rest_[0] != '-' || rest_[1] == ']') {
                if (from) set.set(*from);
                continue;
            }
            rest_.remove_prefix(1);
            const std::optional<unsigned char> to = member(others);
            if (!to || *to < *from) fail("a range in [ ] that is none; beyond ASCII name each");
            set |= range(*from, *to);
        }
        rest_.remove_prefix(1);
        if (negated && !others.empty()) fail("[^ ] takes only ASCII characters");
        set = with_case(set);
        if (negated) return character(~set);
        if (others.empty()) return character(set);
        others.push_back(one_of(set));
        return made(Node::Kind::Either, std::move(others));
    }
    // One character of a bracket; nothing when it is beyond ASCII and has gone to `others`.
    std::optional<unsigned char> member(std::vector<Node>& others) {
        if (take("\\")) {
            if (take("b")) return static_cast<unsigned char>('\b');
            return static_cast<unsigned char>(plain_escape());
        }
        const std::string_view text = take_character();
        if (text.size() == 1) return static_cast<unsigned char>(text[0]);
        others.push_back(bytes(text));
        if (rest_.starts_with('-') && !rest_.starts_with("-]"))
            fail("a range in [ ] that is none; beyond ASCII name each");
        return std::nullopt;
    }

    std::string_view rest_;
    bool ignore_case_ = false;
};

class Compiler {
  public:
    Compiler(std::vector<Pattern::Step>& program, std::vector<Set>& sets)
        : program_(program), sets_(sets) {}

    void emit(const Node& node) {
        switch (node.kind) {
            case Node::Kind::Empty:
                return;
            case Node::Kind::Bytes:
                return (void)add({Kind::Byte, set_number(node.set)});
            case Node::Kind::Assert:
                return (void)add({node.assertion});
            case Node::Kind::Join:
                for (const Node& part : node.parts) emit(part);
                return;
            case Node::Kind::Either:
                return emit_either(node);
            case Node::Kind::Repeat:
                return emit_repeat(node);
        }
    }
    uint32_t add(Pattern::Step step) {
        if (program_.size() >= kMaxSteps) throw Error("pattern: too large; use a simpler one");
        program_.push_back(step);
        return static_cast<uint32_t>(program_.size() - 1);
    }

  private:
    uint32_t here() const { return static_cast<uint32_t>(program_.size()); }
    uint32_t set_number(const Set& set) {
        const auto found = std::find(sets_.begin(), sets_.end(), set);
        const auto number = static_cast<uint32_t>(found - sets_.begin());
        if (found == sets_.end()) sets_.push_back(set);
        return number;
    }
    void emit_either(const Node& node) {
        std::vector<uint32_t> ends;
        for (size_t i = 0; i < node.parts.size(); ++i) {
            const bool last = i + 1 == node.parts.size();
            const uint32_t split = last ? 0 : add({Kind::Split});
            emit(node.parts[i]);
            if (last) break;
            ends.push_back(add({Kind::Split, 0, 0, true}));
            program_[split].other = here();
        }
        for (const uint32_t end : ends) program_[end].other = here();
    }
    void emit_repeat(const Node& node) {
        const Node& part = node.parts[0];
        for (int i = 0; i < node.least; ++i) emit_counted(part);
        if (node.most == kNoEnd) {
            const uint32_t split = add({Kind::Split});
            emit(part);
            add({Kind::Split, 0, split, true});
            program_[split].other = here();
            return;
        }
        std::vector<uint32_t> splits;
        for (int i = node.least; i < node.most; ++i) {
            splits.push_back(add({Kind::Split}));
            emit_counted(part);
        }
        for (const uint32_t split : splits) program_[split].other = here();
    }
    // What emits nothing would not run into the bound on steps, however often it is repeated.
    void emit_counted(const Node& part) {
        if (++copies_ > 10 * kMaxSteps) throw Error("pattern: too large; use a simpler one");
        emit(part);
    }

    std::vector<Pattern::Step>& program_;
    std::vector<Set>& sets_;
    size_t copies_ = 0;
};

}  // namespace

Pattern::Pattern(std::string_view text) {
    Compiler compiler(program_, sets_);
    compiler.emit(Parser(text).parse());
    compiler.add({Kind::Match});
    mark_.assign(program_.size(), 0);
    add_state({}, true, false);
}

Pattern Pattern::glob(std::string_view text) {
    std::string pattern = "^(?:";
    int open = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const std::string_view rest = text.substr(i);
        if (rest.starts_with("**/")) {
            pattern += "(?:.*/)?";
            i += 2;
        } else if (rest.starts_with("**")) {
            pattern += ".*";
            ++i;
        } else if (c == '*') {
            pattern += "[^/]*";
        } else if (c == '?') {
            pattern += "[^/]";
        } else if (c == '{') {
            ++open;
            pattern += "(?:";
        } else if (c == '}' && open > 0) {
            --open;
            pattern += ")";
        } else if (c == ',' && open > 0) {
            pattern += "|";
        } else if (c == '[') {
            const bool negated = rest.size() > 1 && (rest[1] == '!' || rest[1] == '^');
            pattern += negated ? "[^" : "[";
            i += negated;
        } else if (c == ']' || c == '-' || is_word(static_cast<unsigned char>(c)) ||
                   static_cast<unsigned char>(c) >= 0x80) {
            pattern += c;
        } else if (c == '\\' && rest.size() > 1) {
            pattern += rest.substr(0, 2);
            ++i;
        } else {
            pattern += std::string("\\") + c;
        }
    }
    if (open) throw Error("glob: a { is not closed");
    try {
        return Pattern(pattern + ")$");
    } catch (const Error& error) {
        throw Error("glob: " + std::string(error.what()));
    }
}

int32_t Pattern::add_state(std::vector<uint32_t> steps, bool first, bool after_word) {
    std::sort(steps.begin(), steps.end());
    std::string key(reinterpret_cast<const char*>(steps.data()), steps.size() * sizeof(uint32_t));
    key += static_cast<char>(2 * first + after_word);
    const auto known = known_.find(key);
    if (known != known_.end()) return known->second;
    const auto number = static_cast<int32_t>(states_.size());
    states_.push_back({std::move(steps), first, after_word, std::vector<int32_t>(257, kUnknown)});
    known_.emplace(std::move(key), number);
    return number;
}

bool Pattern::holds(Kind kind, const State& state, unsigned symbol) const {
    const bool edge = state.after_word != (symbol < kEnd && is_word(symbol));
    if (kind == Kind::Begin) return state.first;
    if (kind == Kind::End) return symbol == kEnd;
    return kind == Kind::Word ? edge : !edge;
}

// All that can be reached before `symbol`, and from there what comes after it.
int32_t Pattern::step(int32_t from, unsigned symbol) {
    const State& state = states_[static_cast<size_t>(from)];
    std::vector<uint32_t> open = state.steps, after;
    open.push_back(0);  // a match may begin anywhere
    ++round_;
    work_ += kStateWork;
    while (!open.empty()) {
        const uint32_t at = open.back();
        open.pop_back();
        if (mark_[at] == round_) continue;
        mark_[at] = round_;
        if (++work_ > kMaxWork)
            throw Error("pattern: it takes too long on this text; use a simpler one, or a smaller path");
        const Step& each = program_[at];
        if (each.kind == Kind::Match) return kMatched;
        if (each.kind == Kind::Byte) {
            if (symbol < kEnd && sets_[each.set].test(symbol)) after.push_back(at + 1);
        } else if (each.kind == Kind::Split) {
            open.push_back(each.other);
            if (!each.only) open.push_back(at + 1);
        } else if (holds(each.kind, state, symbol)) {
            open.push_back(at + 1);
        }
    }
    return add_state(std::move(after), false, symbol < kEnd && is_word(symbol));
}

std::optional<size_t> Pattern::end_in(std::string_view line) {
    int32_t state = 0;
    for (size_t i = 0; i <= line.size(); ++i) {
        const unsigned symbol = i < line.size() ? static_cast<unsigned char>(line[i]) : kEnd;
        int32_t next = states_[static_cast<size_t>(state)].next[symbol];
        if (next == kUnknown) {
            next = step(state, symbol);
            states_[static_cast<size_t>(state)].next[symbol] = next;
            if (next >= 0 && states_.size() > kMaxStates) {  // forgotten, but for where we are
                State here = states_[static_cast<size_t>(next)];
                states_.clear();
                known_.clear();
                add_state({}, true, false);
                next = add_state(std::move(here.steps), here.first, here.after_word);
            }
        }
        if (next == kMatched) return i;
        state = next;
    }
    return std::nullopt;
}

}  // namespace peacrab
