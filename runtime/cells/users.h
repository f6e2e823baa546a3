// A cell's user namespace: 65,536 ids that are nobody else's, and no right over any other namespace.
#pragma once

#include <cstdint>

#include "os.h"

namespace peacrab {

constexpr uint32_t kCellIds = 65'536;
constexpr uint32_t kFirstSlot = 15;  // ids below 983,040 stay the machine's; slot 0 is no agent's

// Maps `first` and what follows to 0 and what follows; none below it can ever be made. Throws Error.
UniqueFd make_users(uint32_t first);

}  // namespace peacrab
