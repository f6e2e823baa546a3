// What a process may still reach by path and port, put on itself for good: the kernel's Landlock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os.h"

namespace peacrab {

// What is still reached once the ruleset is on. Other paths are refused, and so are TCP, abstract
// unix sockets of and signals to whom is outside, as far as the kernel's Landlock has them. A path
// that is missing is left out. Source: landlock(7).
struct LandlockRules {
    std::vector<std::string> write;    // read, write, make and remove beneath it
    std::vector<std::string> read;     // read beneath it, or the file
    std::vector<std::string> execute;  // read and execute; beneath no other path anything can be
    int program = -1;                  // the same for one file, by its descriptor
    // Whether executing is left to the filter: for a ruleset that is on before our program starts.
    enum class Execute { Listed, Any } executing = Execute::Listed;
    // Any: TCP is not limited. None: no port can be reached or bound; Listed: these can be reached.
    enum class Tcp { None, Listed, Any } tcp = Tcp::None;
    std::vector<uint16_t> ports;
};
constexpr int kGuestLandlock = 6;  // what our kernel has: files, TCP, scopes
// The version of Landlock here; 0: none.
int landlock_version();
// Throws Error when the kernel's Landlock is older than `least`.
UniqueFd landlock_ruleset(const LandlockRules& rules, int least = kGuestLandlock);
// On this process, for good. Needs no-new-privs. noexcept, no allocation. False: errno is set.
[[nodiscard]] bool landlock_restrict(int ruleset) noexcept;

}  // namespace peacrab
