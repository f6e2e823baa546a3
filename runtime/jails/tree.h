// A decision over numbers, as BPF: what a filter does once it has the number of a call.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace peacrab {

using Program = std::vector<sock_filter>;
using Verdicts = std::map<uint32_t, Program>;  // by number; each ends with an answer

sock_filter statement(unsigned code, uint32_t k);
sock_filter jump(unsigned test, uint32_t k, size_t yes, size_t no);  // throws Error: too far

// Ends with the verdict of the number in the accumulator, which is at most `highest`; of one that has none,
// with `otherwise`. Numbers side by side that are answered alike are one range, equal answers stand once
// where they are near.
Program decide(const Verdicts& verdicts, uint32_t highest, const sock_filter& otherwise);

}  // namespace peacrab
