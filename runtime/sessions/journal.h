// One session's conversation: one SQLite file, written by that session's turn processes alone. It belongs to
// its agent, so it is hostile to everybody else and only ever opened in a process that can do nothing
// (`peacrabd turn`). Append-only: nothing that was said is changed or taken away.
//
// The reader is tolerant: of a damaged file it gives what can be read, leaves out entries that are no such
// thing, and says so in damage(). A file that is found broken is made anew from what could be
// read, at the first entry that is added; the damaged one stays beside it as FILE.damaged.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "json.h"
#include "store.h"
#include "types.h"

namespace peacrab {

// One entry of a conversation.
struct Entry {
    // Rewind: from the entry `from` of its content on, what stands before it is left out (context/view.h).
    enum class Kind { User, Assistant, Result, Summary, Rewind, Picture } kind = Kind::User;
    std::string turn;
    std::string call;                   // Result, Picture: the tool_use id; Assistant: model_origin()
    std::string text;                   // User: what was said; Result: what came out; Picture: builtins/picture.h
    json::Value content;                // Assistant: the blocks, as they must be replayed; Summary: context/view.h
    Outcome outcome = Outcome::Failed;  // Result
    int64_t seq = 0;                    // its place in the journal, from 1
    int64_t at = 0;                     // Unix seconds; 0: not read from a journal
};

const char* kind_name(Entry::Kind kind);  // "user", "assistant", "result", "summary", "rewind", "picture"

class Journal {
  public:
    Journal(const std::string& path, Durability durability);
    int64_t append(const Entry& entry);                 // its seq
    int64_t append(const std::vector<Entry>& entries);  // all or none; those before the last directly precede it
    // With the seq and time they have, of a journal that is empty.
    void copy(const std::vector<Entry>& entries);
    std::vector<Entry> entries();
    // One after the other, without holding them all; `take` says whether it wants more.
    void each(const std::function<bool(Entry)>& take);
    // What the last reading could not read, in words; "" when it was all of it.
    std::string damage() const;

  private:
    void open();
    void insert(const Entry& entry);
    enum class Way { Forward, Backward };
    void scan(Way way, int64_t after, const std::function<bool(Entry)>& take);
    void make_anew();

    std::string path_;
    Durability durability_;
    std::unique_ptr<Database> database_;  // none: it cannot even be opened
    int64_t unreadable_ = 0;              // entries that are no such thing
    std::string broken_;                  // where the file is
    bool odd_table_ = false;
    bool unsound_ = false;                // found so by reading: what is written to it may be lost
};

}  // namespace peacrab
