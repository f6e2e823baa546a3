// What was said, on its way into the journal.
#pragma once

#include <vector>

#include "json.h"
#include "sessions/journal.h"

namespace peacrab {

// What a `start` frame says and `journal` lacks, in order: what was said to turns that were cut off, then the
// messages of this one. What comes first where a call of `ask_user` waits is that call's result.
std::vector<Entry> said_entries(const std::vector<Entry>& journal, const json::Value& start);

}  // namespace peacrab
