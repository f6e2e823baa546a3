// What must survive: SQLite, and the warden's own book in it (who said what, which turn runs, which call
// was started and done). A session's conversation is a file of its own (sessions/journal.h), which the
// warden neither opens nor trusts.
//
// Append-only but for status columns. Every public call is one transaction. Failures throw Error
// ("store: …"); a full disk is such a failure, and what was committed before stays readable.
// Source: https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "json.h"
#include "types.h"

struct sqlite3;
struct sqlite3_stmt;

namespace peacrab {

// What a commit survives. In our VM the "power" goes whenever the VM is killed, so it is PowerLoss
// there. ProcessCrash: a killed process loses nothing; a loss of power loses the last commits.
// Scratch: as ProcessCrash, but a loss of power may damage the file: for one session's journal
// without a VM, where an fsync would take longer than the turn.
enum class Durability { PowerLoss, ProcessCrash, Scratch };

// The file is no database, or not whole.
class DamagedError : public Error {
  public:
    using Error::Error;
};

class Database;

// Lives no longer than its database, which keeps it prepared for the next who asks for the same.
class Statement {
  public:
    Statement(Statement&& other) noexcept;
    ~Statement();
    Statement& bind(std::string_view text);
    Statement& bind(int64_t number);
    bool step();  // a row?
    void run();   // to the end
    std::string text(int column) const;
    int64_t integer(int column) const;

  private:
    friend class Database;
    Statement(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
    Database* database_;
    sqlite3_stmt* statement_;
    int next_ = 1;
};

class Database {
  public:
    Database(const std::string& path, Durability durability);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    Statement prepare(const char* sql);
    void run(const char* sql);
    int64_t last_row() const;
    // Commits when `work` returns, rolls back when it throws. Inside another one: part of that.
    void transaction(const std::function<void()>& work);

  private:
    friend class Statement;
    void keep(sqlite3_stmt* statement) noexcept;  // reset already; or it is finalized
    void close() noexcept;

    sqlite3* handle_ = nullptr;
    std::vector<sqlite3_stmt*> idle_;
};

// Creates the tables once; a file of a later version is refused, never "upgraded" downwards.
void prepare_schema(Database& database, const char* schema, int64_t newest);

struct SessionRow {
    int64_t id = 0;
    std::string agent;
    std::string channel;
};

struct MessageRow {
    std::string id;
    std::string text;
    int64_t turn = 0;
};

struct CallRow {
    int64_t row = 0;
    std::string id;
    std::string name;
    std::string summary;
};

// Which events a client is to be shown again: of one session, those behind `after`, or of one turn.
struct Replay {
    int64_t session = 0;
    int64_t after = 0;
    int64_t turn = 0;  // 0: of every turn
};

struct TurnRow {
    int64_t id = 0;
    int64_t session = 0;
    std::string status;  // running, done, failed, stopped, interrupted
};

class WardenStore {
  public:
    WardenStore(const std::string& path, Durability durability);
    // What `work` writes is kept whole or not at all, with one sync to the disk.
    Database& database() { return database_; }  // for books of their own (budget/)
    void together(const std::function<void()>& work) { database_.transaction(work); }

    // Sessions. current_session makes the first one.
    SessionRow current_session(const std::string& agent, const std::string& channel);
    SessionRow new_session(const std::string& agent, const std::string& channel);
    std::optional<SessionRow> session(int64_t id);
    int64_t turn_count(int64_t session);
    // Of an agent, the newest first, at most 500: rows {id, channel, began, last, turns, words, from}.
    json::Value sessions(const std::string& agent);
    std::optional<SessionRow> newest_session(const std::string& agent, const std::string& channel);
    // A session that goes on from this one; of no channel until adopt().
    int64_t fork(int64_t session);
    void adopt(int64_t session, const std::string& channel);

    // What was taken back of a session, and of those it goes on from. last_turn: the newest that stands, with
    // its first message; undone: the newest first, at most 1000.
    std::optional<MessageRow> last_turn(int64_t session);
    void undo_turn(int64_t session, int64_t turn);
    std::vector<int64_t> undone(int64_t session);

    // Agents. The slot of a name is given once, and never to another: ids and quotas hang on it.
    uint32_t slot(const std::string& agent);  // made when it has none
    std::optional<uint32_t> known_slot(const std::string& agent);
    // The name is free again; what its sessions said, were told and called is gone.
    void retire(const std::string& agent);

    // Messages from one agent to another: beside the inbox row, where it came from.
    void add_sent(const std::string& from, const std::string& to, const std::string& id, int hops);
    int64_t sent_in_the_last_hour(const std::string& from, const std::string& to);
    int hops(int64_t turn);  // the most of any message of this turn; 0: only a person's

    // Turns and their messages. A message is unique by (channel, id): the second arrival gives the
    // first one's turn and says so.
    std::optional<int64_t> known_message(const std::string& channel, const std::string& id);
    int64_t begin_turn(int64_t session);
    void add_message(int64_t turn, const std::string& channel, const std::string& id,
                     const std::string& text);
    std::vector<MessageRow> messages(int64_t turn);  // in order of arrival
    // Of the turns before it in its session that nobody stopped, back to the last that ended well: a journal
    // may lack them. The newest, 100 and kMaxEarlier bytes at most, in order of arrival.
    static constexpr size_t kMaxEarlier = size_t{64} << 10;
    std::vector<MessageRow> messages_before(int64_t turn);
    void move_message(const std::string& id, int64_t from_turn, int64_t to_turn);
    std::optional<TurnRow> turn(int64_t id);
    void end_turn(int64_t turn, const std::string& status);
    std::vector<TurnRow> running_turns();

    // Effects: a row before, a row after.
    int64_t call_started(int64_t turn, const std::string& call, const std::string& name,
                         const std::string& arguments, const std::string& summary);
    void call_done(int64_t row, Outcome outcome);
    std::vector<CallRow> open_calls(int64_t turn);

    // What a channel is to be shown. The frame lacks its `seq`; it is put second, after `type`.
    int64_t add_event(int64_t session, int64_t turn, json::Value& frame);
    // The newest of them, oldest first: at most `limit`, and together about `size`.
    struct Events {
        std::vector<json::Value> frames;
        bool all = true;
    };
    Events events(const Replay& replay, size_t limit, Bytes size);
    int64_t seen(int64_t session);
    void set_seen(int64_t session, int64_t seq);  // only upwards, and not beyond what there is

  private:
    Database database_;
};

}  // namespace peacrab
