// What is written down by code of the part of a conversation that will not be shown any more, so that no
// summary can lose it or get it wrong.
#pragma once

#include <string>
#include <vector>

#include "sessions/journal.h"

namespace peacrab {

// Of all entries up to `upto`, in lines of at most `limit` bytes together, the older left out first: what the
// person said (each shortened to 300 bytes; that of the turn `turn`, which may still be at work on it, to 4 KiB
// where that fits) and other agents, the files that were written, the calls that failed, and what was left
// running in the background, and the plan (both of the whole journal: as they are now).
std::string facts(const std::vector<Entry>& entries, int64_t upto, const std::string& turn, size_t limit);

// Of what stands before the summary in force facts() is all that is still made: what it does not need of it is
// dropped from memory, so that a turn of any length needs no more. The journal keeps it.
void let_go(std::vector<Entry>& entries);

// The entries from `from` up to `upto` as text for whoever sums them up; what is long is shortened.
std::vector<std::string> transcript(const std::vector<Entry>& entries, int64_t from, int64_t upto);

}  // namespace peacrab
