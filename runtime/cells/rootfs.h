// The root directory of a cell, made by its pid 1 while it is still real root in the cell's own mount
// namespace: the read-only base, with the cell's ids, under a layer of the agent's own; a /proc, /dev
// and scratch space of its own; its home and, read-only, its kept output.
#pragma once

#include <sys/types.h>

namespace peacrab {

// Paths are of the machine; made by the parent, which keeps what it points to alive over the fork.
struct RootPlan {
    const char* base = nullptr;
    int users = -1;  // the cell's user namespace: whose ids the base's files get
    uid_t first_id = 0;
    // Null: a throw-away cell; layer, home and output are in memory, of `memory_layer`.
    const char* layer = nullptr;  // holds upper/ and work/
    const char* home = nullptr;
    const char* output = nullptr;
    // Options of the tmpfs and devpts mounts: size, inodes, owner.
    const char* memory_layer = nullptr;
    const char* tmp = nullptr;
    const char* run = nullptr;
    const char* shm = nullptr;
    const char* terminals = nullptr;
    const char* workspace = nullptr;  // a name in the home, made when missing
    const char* shown = nullptr;      // a folder that is seen read-only; null: none
    const char* shown_as = nullptr;   // a name in the root directory
};

// Builds it and makes it the root directory; what was there before is gone afterwards. In a mount
// namespace of our own, as root. The name of the failed step (errno is set), null when it worked.
const char* build_root(const RootPlan& plan) noexcept;

}  // namespace peacrab
