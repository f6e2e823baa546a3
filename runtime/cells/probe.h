// The forbidden effects that are tried from inside when a cell starts. A wall is not there because
// it was built, but because somebody ran against it: the attempts are made by one process of jail
// class shell, as in-cell root, before the agent's first call. One that works, or is refused by
// another errno than its wall's, and the cell must not be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

struct Tried {
    enum class Outcome { Possible, Unexpected, Refused } outcome = Outcome::Possible;
    std::string name;  // e.g. "mount a file system"
    int error = 0;     // errno of the refusal
};

struct [[nodiscard]] Probes {
    std::vector<Tried> tried;
    bool all_refused() const;  // false when nothing was tried
    // "" when all were refused, else the first that was not: "bpf: possible".
    std::string failure() const;
};

// In the jail, instead of a program: tries each effect and says on descriptor 1 what came of it.
// Gives 0 when it came to the end. No allocation; takes well under a millisecond.
int try_effects_in_cell() noexcept;
// The same for posture shared, where fewer walls stand.
int try_effects_in_shared() noexcept;
// From what it said. What cannot be read, or is not about every effect, is not all_refused().
Probes probes_in_cell(std::string_view said);
Probes probes_in_shared(std::string_view said);

// What this kernel would let in-cell root use if there were no seccomp filter: to be named in the
// posture. Asked by real tries from outside of any cell, as root.
std::vector<std::string> only_seccomp_stops();

}  // namespace peacrab
