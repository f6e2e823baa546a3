// What is done to a journal without a model, in a turn process: the warden opens no journal, whose bytes are
// its agent's.
#pragma once

#include <string>
#include <vector>

#include "frame.h"
#include "sessions/journal.h"

namespace peacrab {

// What stands of a conversation. The turns `undone` (names; null: none) are taken back in the journal first,
// those of them that are not yet.
std::vector<Entry> conversation(Journal& journal, const json::Value* undone);

// Carries out a `work` frame: its `what` is
//   export     the journal as text, a `part` at a time, each answered by a `more`. `form`: jsonl, md
//   copy       what stands of it becomes the journal `to`
//   uncompact  its newest summary is out of force from now on
// Gives "", or why not, for the person. What could not be read is said in a `notice`.
std::string journal_work(FrameSocket& warden, const json::Value& frame);

}  // namespace peacrab
