// Each call of a jailed process is decided here, and each start of one waits for the kernel to take the
// program in: both want it short. A jump reaches 255 instructions; what lies further is jumped to in two steps.
#include "jails/tree.h"

#include <span>

#include "error.h"

namespace peacrab {

sock_filter statement(unsigned code, uint32_t k) {
    return {static_cast<uint16_t>(code), 0, 0, k};
}
sock_filter jump(unsigned test, uint32_t k, size_t yes, size_t no) {
    if (yes > 255 || no > 255) throw Error("jail: filter: a block is too long to jump over");
    return {static_cast<uint16_t>(BPF_JMP | test | BPF_K), static_cast<uint8_t>(yes),
            static_cast<uint8_t>(no), k};
}

namespace {

// Numbers from `first` up to where the next range begins.
struct Range {
    uint32_t first;
    Program verdict;
};

bool same(const sock_filter& one, const sock_filter& other) {
    return one.code == other.code && one.k == other.k;  // of instructions that do not jump
}

std::vector<Range> ranges_of(const Verdicts& verdicts, uint32_t highest, const sock_filter& otherwise) {
    std::vector<Range> ranges;
    const Program refused{otherwise};
    for (uint32_t number = 0; number <= highest; ++number) {
        const auto found = verdicts.find(number);
        const Program& verdict = found == verdicts.end() ? refused : found->second;
        const bool alike = !ranges.empty() && ranges.back().verdict.size() == 1 && verdict.size() == 1 &&
                           same(ranges.back().verdict[0], verdict[0]);
        if (!alike) ranges.push_back({number, verdict});
    }
    return ranges;
}

// Halves the ranges until one is left. Written from its end: what is jumped to stands already.
class Tree {
  public:
    explicit Tree(std::span<const Range> ranges) { place(ranges); }
    Program program() const { return {backwards_.rbegin(), backwards_.rend()}; }

  private:
    static constexpr size_t kReach = 255;

    // Where its first instruction stands.
    size_t place(std::span<const Range> ranges) {
        if (ranges.size() == 1) return place(ranges[0].verdict);
        const size_t half = ranges.size() / 2;
        size_t high = place(ranges.subspan(half));
        const size_t low = place(ranges.first(half));
        if (distance(high) >= kReach)
            high = push(statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(distance(high))));
        return push(jump(BPF_JGE, ranges[half].first, distance(high), distance(low)));
    }
    size_t place(const Program& verdict) {
        // An answer that is there already, near enough from where it is asked for.
        for (size_t at = backwards_.size(); verdict.size() == 1 && at-- > 0 && distance(at) < kReach / 2;)
            if (same(verdict[0], backwards_[at])) return at;
        for (size_t i = verdict.size(); i-- > 0;) push(verdict[i]);
        return backwards_.size() - 1;
    }
    size_t push(const sock_filter& instruction) {
        backwards_.push_back(instruction);
        return backwards_.size() - 1;
    }
    size_t distance(size_t place) const { return backwards_.size() - place - 1; }

    Program backwards_;
};

}  // namespace

Program decide(const Verdicts& verdicts, uint32_t highest, const sock_filter& otherwise) {
    return Tree(ranges_of(verdicts, highest, otherwise)).program();
}

}  // namespace peacrab
