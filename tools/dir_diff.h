// Shows what the agent changed, as `git diff` would: `git apply` and `patch -p1` take it. The lines come
// from the system's own diff.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "dir_plan.h"
#include "dir_state.h"

namespace peacrab {

struct Changed {
    std::string path;
    MaybeListed was, now;  // their contents are kept in the state
};

struct DiffForm {
    enum class What { Lines, Stat } what = What::Lines;
    // Escaped: control bytes of contents become visible; for a terminal. Raw: as they are.
    enum class Bytes { Escaped, Raw } bytes = Bytes::Raw;
};

// As git quotes it when it must: "a/\n".
std::string quoted_name(const std::string& name);
// Folders are not shown. Throws Error when there is no diff program.
void show_diff(FILE* to, DirState& state, const std::vector<Changed>& changes, DiffForm form);

}  // namespace peacrab
