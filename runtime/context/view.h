// What of a journal the model is shown. The journal stays whole: a Summary entry says from where on it is
// shown, and what stands for what was before. Pure functions from entries to entries.
//
// The content of a Summary entry is an object. Each key stands for itself; one that is absent leaves what
// held before:
//   text     what stands for the entries up to `upto` (a seq)
//   stubs    of results up to this seq only the ends are shown, when they are long
//   model, window   what a server gave as the window of this model
//   dropped  {from, to, entries, tokens_before, tokens_after}: for whoever reads the journal
//   undo     the seq of a Summary entry: it and those behind it are out of force
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sessions/journal.h"

namespace peacrab {

// The content of a Rewind entry: `from`, a seq; what stands from it on and before the entry itself is left out;
// `turn`, the one that was taken back.

// The entries that were not taken back, without the Rewind entries: a conversation, for all of what follows.
std::vector<Entry> standing(std::vector<Entry> entries);

// What takes the turn back, to be appended; nothing when none of its entries stands. `entries`: of standing().
std::optional<Entry> rewind_of(const std::vector<Entry>& entries, const std::string& turn);

struct ShownState {
    int64_t upto = 0;
    std::string text;
    int64_t stubs = 0;
    std::string model;
    uint64_t window = 0;  // 0: not known
};

// What holds after all the Summary entries.
ShownState shown_state(const std::vector<Entry>& entries);

// The newest Summary in force that stands for something; nothing when there is none.
std::optional<int64_t> newest_summary(const std::vector<Entry>& entries);

// What context/prompt.h is given: the summary as one entry, and what is behind it, old results as stubs.
std::vector<Entry> shown(const std::vector<Entry>& entries, const ShownState& state);

// About what an entry costs in a request, in bytes.
size_t size_of(const Entry& entry);
constexpr size_t kPictureSize = 6400;  // of a picture, whatever its bytes: about 1,600 tokens

// Head and tail of a long result, and where all of it is. What is not long stays as it is.
std::string stub(const std::string& result);
constexpr size_t kLongResult = size_t{2} << 10;

// Where the conversation may be cut so that what is kept is at least `bytes`, or little less when the
// last such place would keep more than twice of it: the index of the first entry kept. Never between a
// call and its result, nor inside one answer. Looks at entries from `first` on; nothing when there is no
// such place behind it.
std::optional<size_t> cut(const std::vector<Entry>& entries, size_t first, size_t bytes);

}  // namespace peacrab
