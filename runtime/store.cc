// SQLite, and nothing above it: tables, transactions, and the order in which things become
// durable. Must not decide anything: what a row means is the warden's and the turn's business.
#include "store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cstring>

#include "os.h"

namespace peacrab {
namespace {

[[noreturn]] void fail(sqlite3* handle, const char* what) {
    if (handle && sqlite3_system_errno(handle) == EDQUOT)
        throw Error("the disk is full, or this turn has written down all it may: make room, then say it again");
    const std::string why = std::string("store: ") + what + ": " + (handle ? sqlite3_errmsg(handle) : "out of memory");
    const int code = handle ? sqlite3_errcode(handle) & 0xff : SQLITE_NOMEM;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) throw DamagedError(why);
    throw Error(why);
}

constexpr int64_t kWardenVersion = 3;
constexpr size_t kMostIdle = 48;  // statements that are kept prepared
constexpr int64_t kLongLog = 256 << 10;

// Run as a whole on a file of an older version too: what it has already, it keeps.
const char* kWardenSchema = R"(
CREATE TABLE IF NOT EXISTS agents(slot INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    retired INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS agent_of_name ON agents(name) WHERE retired IS NULL;
CREATE TABLE IF NOT EXISTS sent(row INTEGER PRIMARY KEY, sender TEXT NOT NULL,
    receiver TEXT NOT NULL, id TEXT NOT NULL, hops INTEGER NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch()));
CREATE INDEX IF NOT EXISTS sent_on_route ON sent(sender, receiver, at);
CREATE INDEX IF NOT EXISTS sent_by_id ON sent(id);
CREATE TABLE IF NOT EXISTS sessions(id INTEGER PRIMARY KEY, agent TEXT NOT NULL,
    channel TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS turns(id INTEGER PRIMARY KEY, session INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'running',
    started INTEGER NOT NULL DEFAULT (unixepoch()), ended INTEGER);
CREATE INDEX IF NOT EXISTS turns_of_session ON turns(session);
CREATE TABLE IF NOT EXISTS inbox(arrival INTEGER PRIMARY KEY, channel TEXT NOT NULL,
    id TEXT NOT NULL, turn INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE(channel, id));
CREATE INDEX IF NOT EXISTS inbox_of_turn ON inbox(turn);
CREATE TABLE IF NOT EXISTS calls(row INTEGER PRIMARY KEY, turn INTEGER NOT NULL, call TEXT NOT NULL, name TEXT NOT NULL,
    arguments TEXT NOT NULL, summary TEXT NOT NULL, outcome TEXT,
    started INTEGER NOT NULL DEFAULT (unixepoch()), ended INTEGER);
CREATE INDEX IF NOT EXISTS calls_of_turn ON calls(turn);
CREATE TABLE IF NOT EXISTS events(seq INTEGER PRIMARY KEY, session INTEGER NOT NULL,
    turn INTEGER NOT NULL, frame TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_session ON events(session, seq);
CREATE INDEX IF NOT EXISTS events_of_turn ON events(turn, seq);
CREATE TABLE IF NOT EXISTS forks(session INTEGER PRIMARY KEY, parent INTEGER NOT NULL, upto INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS undone(session INTEGER NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY(session, turn));
PRAGMA user_version = 3;
)";

const char* synchronous(Durability durability) {
    switch (durability) {
        case Durability::PowerLoss:
            return "PRAGMA synchronous=FULL";
        case Durability::ProcessCrash:
            return "PRAGMA synchronous=NORMAL";
        case Durability::Scratch:
            return "PRAGMA synchronous=OFF";
    }
    return "PRAGMA synchronous=FULL";
}

}  // namespace

void prepare_schema(Database& database, const char* schema, int64_t newest) {
    Statement version = database.prepare("PRAGMA user_version");
    version.step();
    const int64_t found = version.integer(0);
    version.run();
    if (found > newest) throw Error("store: written by a newer version of peacrab");
    if (found < newest) database.transaction([&] { database.run(schema); });
}

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)), next_(other.next_) {}

Statement::~Statement() {
    if (!statement_) return;
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    database_->keep(statement_);
}

Statement& Statement::bind(std::string_view text) {
    if (sqlite3_bind_text64(statement_, next_++, text.data() ? text.data() : "", text.size(),
                            SQLITE_TRANSIENT, SQLITE_UTF8) != SQLITE_OK)
        fail(sqlite3_db_handle(statement_), "bind");
    return *this;
}

Statement& Statement::bind(int64_t number) {
    if (sqlite3_bind_int64(statement_, next_++, number) != SQLITE_OK)
        fail(sqlite3_db_handle(statement_), "bind");
    return *this;
}

bool Statement::step() {
    const int result = sqlite3_step(statement_);
    if (result == SQLITE_ROW) return true;
    if (result != SQLITE_DONE) fail(sqlite3_db_handle(statement_), sqlite3_sql(statement_));
    return false;
}

void Statement::run() {
    while (step()) {
    }
}

std::string Statement::text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    if (!bytes) return {};
    return {reinterpret_cast<const char*>(bytes),
            static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

Database::Database(const std::string& path, Durability durability) {
    // Private cache, our own thread only: no mutexes. NOFOLLOW: a journal's folder belongs to a
    // less trusted id.
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr) != SQLITE_OK) {
        const Error error(std::string("store: open: ") + path + ": " +
                          (handle_ ? sqlite3_errmsg(handle_) : "out of memory"));
        sqlite3_close(handle_);
        throw error;
    }
    sqlite3_busy_timeout(handle_, 5000);
    // The log is kept when the file is closed: on a disk without a free inode it could not be made.
    int keep = 1;
    sqlite3_file_control(handle_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, 64 << 20);
    // Closing would otherwise copy the log back and sync, which costs more than a short turn does.
    if (durability != Durability::PowerLoss)
        sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    struct stat file {};
    const bool fresh = ::stat(path.c_str(), &file) < 0 || file.st_size == 0;
    try {
        // A file of one page has nothing to go back to; a journal would be made and removed for it.
        if (fresh && durability != Durability::PowerLoss) run("PRAGMA journal_mode=MEMORY");
        if (fresh) run("PRAGMA page_size=1024");
        run(synchronous(durability));
        run("PRAGMA journal_mode=WAL; PRAGMA cache_size=-512; PRAGMA trusted_schema=OFF;");
        idle_.reserve(kMostIdle);
    } catch (...) {
        close();
        throw;
    }
}

Database::~Database() {
    close();
}

void Database::close() noexcept {
    for (sqlite3_stmt* statement : idle_) sqlite3_finalize(statement);
    // Whoever opens it next reads the whole log: a long one is copied back and emptied.
    sqlite3_file* log = nullptr;
    sqlite3_int64 length = 0;
    if (sqlite3_file_control(handle_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
        log->pMethods && log->pMethods->xFileSize(log, &length) == SQLITE_OK && length > kLongLog)
        sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    sqlite3_close_v2(handle_);
}

Statement Database::prepare(const char* sql) {
    for (sqlite3_stmt*& kept : idle_) {
        if (std::strcmp(sqlite3_sql(kept), sql) != 0) continue;
        std::swap(kept, idle_.back());
        sqlite3_stmt* const statement = idle_.back();
        idle_.pop_back();
        return Statement(*this, statement);
    }
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
        fail(handle_, sql);
    return Statement(*this, statement);
}

// What was used last stands last; the oldest makes room. Reserved before: nothing is allocated.
void Database::keep(sqlite3_stmt* statement) noexcept {
    if (idle_.size() == kMostIdle) {
        sqlite3_finalize(idle_.front());
        idle_.erase(idle_.begin());
    }
    idle_.push_back(statement);
}

void Database::run(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(handle_, "run");
}

int64_t Database::last_row() const {
    return sqlite3_last_insert_rowid(handle_);
}

void Database::transaction(const std::function<void()>& work) {
    if (!sqlite3_get_autocommit(handle_)) return work();
    run("BEGIN IMMEDIATE");
    try {
        work();
        run("COMMIT");
    } catch (...) {
        sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
        throw;
    }
}

namespace {

// Before SQLite makes it, which gives its other files the mode of the first: turn processes of every
// agent see this folder.
const std::string& for_us_alone(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file || ::fchmod(file.get(), 0600) < 0) throw ErrnoError("store: " + path);
    return path;
}

}  // namespace

WardenStore::WardenStore(const std::string& path, Durability durability)
    : database_(for_us_alone(path), durability) {
    prepare_schema(database_, kWardenSchema, kWardenVersion);
}

SessionRow WardenStore::current_session(const std::string& agent, const std::string& channel) {
    Statement query = database_.prepare(
        "SELECT id FROM sessions WHERE agent = ? AND channel = ? ORDER BY id DESC LIMIT 1");
    query.bind(agent).bind(channel);
    if (query.step()) return {query.integer(0), agent, channel};
    return new_session(agent, channel);
}

SessionRow WardenStore::new_session(const std::string& agent, const std::string& channel) {
    database_.prepare("INSERT INTO sessions(agent, channel) VALUES(?, ?)")
        .bind(agent)
        .bind(channel)
        .run();
    return {database_.last_row(), agent, channel};
}

std::optional<SessionRow> WardenStore::session(int64_t id) {
    Statement query = database_.prepare("SELECT agent, channel FROM sessions WHERE id = ?");
    query.bind(id);
    if (!query.step()) return std::nullopt;
    return SessionRow{id, query.text(0), query.text(1)};
}

int64_t WardenStore::turn_count(int64_t session) {
    Statement query = database_.prepare("SELECT count(*) FROM turns WHERE session = ?");
    query.bind(session).step();
    return query.integer(0);
}

std::optional<uint32_t> WardenStore::known_slot(const std::string& agent) {
    Statement query =
        database_.prepare("SELECT slot FROM agents WHERE name = ? AND retired IS NULL");
    query.bind(agent);
    if (!query.step()) return std::nullopt;
    return static_cast<uint32_t>(query.integer(0));
}

uint32_t WardenStore::slot(const std::string& agent) {
    if (const std::optional<uint32_t> known = known_slot(agent)) return *known;
    database_.prepare("INSERT INTO agents(name) VALUES(?)").bind(agent).run();
    return static_cast<uint32_t>(database_.last_row());
}

// Rows stay where their numbers must not come back: sessions, turns and events keep theirs, under a
// name that no agent can have.
void WardenStore::retire(const std::string& agent) {
    const std::string turns =
        " WHERE turn IN (SELECT t.id FROM turns t JOIN sessions s ON t.session = s.id WHERE s.agent = ?)";
    database_.transaction([&] {
        for (const std::string what : {"DELETE FROM inbox", "DELETE FROM calls"})
            database_.prepare((what + turns).c_str()).bind(agent).run();
        database_
            .prepare("UPDATE events SET frame = '{}' WHERE session IN "
                     "(SELECT id FROM sessions WHERE agent = ?)")
            .bind(agent)
            .run();
        for (const char* each :
             {"UPDATE sessions SET agent = '#' || agent WHERE agent = ?",
              "UPDATE agents SET retired = unixepoch() WHERE retired IS NULL AND name = ?"})
            database_.prepare(each).bind(agent).run();
    });
}

void WardenStore::add_sent(const std::string& from, const std::string& to, const std::string& id,
                           int hops) {
    database_.prepare("INSERT INTO sent(sender, receiver, id, hops) VALUES(?, ?, ?, ?)")
        .bind(from)
        .bind(to)
        .bind(id)
        .bind(hops)
        .run();
}

int64_t WardenStore::sent_in_the_last_hour(const std::string& from, const std::string& to) {
    Statement query = database_.prepare(
        "SELECT count(*) FROM sent WHERE sender = ? AND receiver = ? AND at > unixepoch() - 3600");
    query.bind(from).bind(to).step();
    return query.integer(0);
}

int WardenStore::hops(int64_t turn) {
    Statement query = database_.prepare(
        "SELECT coalesce(max(s.hops), 0) FROM inbox i JOIN sent s ON s.id = i.id "
        "AND i.channel = 'agent:' || s.sender WHERE i.turn = ?");
    query.bind(turn).step();
    return static_cast<int>(query.integer(0));
}

std::optional<int64_t> WardenStore::known_message(const std::string& channel,
                                                  const std::string& id) {
    Statement query = database_.prepare("SELECT turn FROM inbox WHERE channel = ? AND id = ?");
    query.bind(channel).bind(id);
    if (!query.step()) return std::nullopt;
    return query.integer(0);
}

int64_t WardenStore::begin_turn(int64_t session) {
    database_.prepare("INSERT INTO turns(session) VALUES(?)").bind(session).run();
    return database_.last_row();
}

void WardenStore::add_message(int64_t turn, const std::string& channel, const std::string& id,
                              const std::string& text) {
    database_.prepare("INSERT INTO inbox(channel, id, turn, text) VALUES(?, ?, ?, ?)")
        .bind(channel)
        .bind(id)
        .bind(turn)
        .bind(text)
        .run();
}

std::vector<MessageRow> WardenStore::messages(int64_t turn) {
    Statement query =
        database_.prepare("SELECT id, text FROM inbox WHERE turn = ? ORDER BY arrival");
    query.bind(turn);
    std::vector<MessageRow> rows;
    while (query.step()) rows.push_back({query.text(0), query.text(1), turn});
    return rows;
}

std::vector<MessageRow> WardenStore::messages_before(int64_t turn) {
    Statement query = database_.prepare(
        "WITH session_of AS (SELECT session AS id FROM turns WHERE id = ?1) "
        "SELECT inbox.id, inbox.text, inbox.turn FROM inbox JOIN turns ON turns.id = inbox.turn "
        "WHERE turns.session = (SELECT id FROM session_of) AND turns.id < ?1 AND turns.id > "
        "(SELECT coalesce(max(id), 0) FROM turns WHERE session = (SELECT id FROM session_of) "
        "AND id < ?1 AND status = 'done') AND turns.status <> 'stopped' "
        "AND turns.id NOT IN (SELECT turn FROM undone WHERE session = turns.session) "
        "ORDER BY inbox.turn DESC, inbox.arrival DESC LIMIT 100");
    query.bind(turn);
    std::vector<MessageRow> rows;
    size_t size = 0;
    while (query.step()) {
        rows.push_back({query.text(0), query.text(1), query.integer(2)});
        size += rows.back().text.size();
        if (size <= kMaxEarlier) continue;
        rows.pop_back();
        break;
    }
    std::reverse(rows.begin(), rows.end());
    return rows;
}

void WardenStore::move_message(const std::string& id, int64_t from_turn, int64_t to_turn) {
    database_.prepare("UPDATE inbox SET turn = ? WHERE id = ? AND turn = ?")
        .bind(to_turn)
        .bind(id)
        .bind(from_turn)
        .run();
}

std::optional<TurnRow> WardenStore::turn(int64_t id) {
    Statement query = database_.prepare("SELECT session, status FROM turns WHERE id = ?");
    query.bind(id);
    if (!query.step()) return std::nullopt;
    return TurnRow{id, query.integer(0), query.text(1)};
}

void WardenStore::end_turn(int64_t turn, const std::string& status) {
    database_.prepare("UPDATE turns SET status = ?, ended = unixepoch() WHERE id = ?")
        .bind(status)
        .bind(turn)
        .run();
}

std::vector<TurnRow> WardenStore::running_turns() {
    Statement query =
        database_.prepare("SELECT id, session, status FROM turns WHERE status = 'running'");
    std::vector<TurnRow> rows;
    while (query.step()) rows.push_back({query.integer(0), query.integer(1), query.text(2)});
    return rows;
}

int64_t WardenStore::call_started(int64_t turn, const std::string& call, const std::string& name,
                                  const std::string& arguments, const std::string& summary) {
    database_
        .prepare("INSERT INTO calls(turn, call, name, arguments, summary) VALUES(?, ?, ?, ?, ?)")
        .bind(turn)
        .bind(call)
        .bind(name)
        .bind(arguments)
        .bind(summary)
        .run();
    return database_.last_row();
}

void WardenStore::call_done(int64_t row, Outcome outcome) {
    database_
        .prepare(
            "UPDATE calls SET outcome = ?, ended = unixepoch() WHERE row = ? AND outcome IS NULL")
        .bind(outcome_name(outcome))
        .bind(row)
        .run();
}

std::vector<CallRow> WardenStore::open_calls(int64_t turn) {
    Statement query = database_.prepare(
        "SELECT row, call, name, summary FROM calls WHERE turn = ? AND outcome IS NULL ORDER BY "
        "row");
    query.bind(turn);
    std::vector<CallRow> rows;
    while (query.step())
        rows.push_back({query.integer(0), query.text(1), query.text(2), query.text(3)});
    return rows;
}

int64_t WardenStore::add_event(int64_t session, int64_t turn, json::Value& frame) {
    int64_t seq = 0;
    database_.transaction([&] {
        Statement highest = database_.prepare("SELECT coalesce(max(seq), 0) + 1 FROM events");
        highest.step();
        seq = highest.integer(0);
        auto& members = frame.members();
        members.insert(members.begin() + 1, {"seq", seq});
        database_.prepare("INSERT INTO events(seq, session, turn, frame) VALUES(?, ?, ?, ?)")
            .bind(seq)
            .bind(session)
            .bind(turn)
            .bind(json::dump(frame))
            .run();
    });
    return seq;
}

WardenStore::Events WardenStore::events(const Replay& replay, size_t limit, Bytes size) {
    Statement query = database_.prepare(
        replay.turn ? "SELECT frame FROM events WHERE turn = ? AND seq > ? ORDER BY seq DESC"
                    : "SELECT frame FROM events WHERE session = ?1 AND seq > ?2 AND turn NOT IN "
                      "(SELECT turn FROM undone WHERE session = ?1) ORDER BY seq DESC");
    query.bind(replay.turn ? replay.turn : replay.session).bind(replay.after);
    Events events;
    uint64_t bytes = 0;
    while (events.all && query.step()) {
        const std::string text = query.text(0);
        bytes += text.size();
        events.all = events.frames.size() < limit && bytes <= size.count;
        if (events.all) events.frames.push_back(json::parse(text));
    }
    std::reverse(events.frames.begin(), events.frames.end());
    return events;
}

int64_t WardenStore::seen(int64_t session) {
    Statement query = database_.prepare("SELECT seen FROM sessions WHERE id = ?");
    query.bind(session);
    return query.step() ? query.integer(0) : 0;
}

void WardenStore::set_seen(int64_t session, int64_t seq) {
    database_
        .prepare(
            "UPDATE sessions SET seen = max(seen, min(?, (SELECT coalesce(max(seq), 0) FROM "
            "events))) WHERE id = ?")
        .bind(seq)
        .bind(session)
        .run();
}

}  // namespace peacrab
