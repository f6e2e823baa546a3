// Reading goes forward until the file is broken, then backward from its end: what is between is lost, and
// said. Places must rise (or fall), so that no damage makes it endless.
#include "sessions/journal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>

namespace peacrab {
namespace {

constexpr int64_t kJournalVersion = 3;

// Run as a whole on a file of an older version too; kept in it as kTable.
const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS entries(seq INTEGER PRIMARY KEY, turn TEXT NOT NULL,
    kind TEXT NOT NULL, call TEXT NOT NULL, outcome TEXT NOT NULL, body TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch()));
PRAGMA user_version = 3;
)";
constexpr std::string_view kTable =
    "CREATE TABLE entries(seq INTEGER PRIMARY KEY, turn TEXT NOT NULL, kind TEXT NOT NULL, call TEXT NOT NULL, "
    "outcome TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL DEFAULT (unixepoch()))";

std::string with_single_blanks(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const bool blank = c == ' ' || c == '\n';
        if (!blank || (!out.empty() && out.back() != ' ')) out += blank ? ' ' : c;
    }
    return out;
}

constexpr const char* kForward =
    "SELECT turn, kind, call, outcome, body, seq, at FROM entries WHERE seq > ? ORDER BY seq";
constexpr const char* kBackward =
    "SELECT turn, kind, call, outcome, body, seq, at FROM entries WHERE seq <= ? ORDER BY seq DESC";

bool has_content(Entry::Kind kind) {
    return kind != Entry::Kind::User && kind != Entry::Kind::Result && kind != Entry::Kind::Picture;
}

// False: it is no entry. Whatever a later version calls its kinds, it is not shown as something else.
bool read_entry(const Statement& row, Entry& entry) {
    entry.turn = row.text(0);
    entry.call = row.text(2);
    entry.outcome = outcome_from(row.text(3));
    entry.seq = row.integer(5);
    entry.at = row.integer(6);
    const std::string kind = row.text(1);
    bool known = false;
    for (const Entry::Kind each : {Entry::Kind::User, Entry::Kind::Assistant, Entry::Kind::Result,
                                   Entry::Kind::Summary, Entry::Kind::Rewind, Entry::Kind::Picture})
        if (kind == kind_name(each)) {
            entry.kind = each;
            known = true;
        }
    if (!known) return false;
    std::string body = row.text(4);
    if (!has_content(entry.kind)) {
        entry.text = json::valid_utf8(body);
        return true;
    }
    try {
        entry.content = json::parse(body, {size_t{64} << 20, 66});
    } catch (const Error&) {
        return false;
    }
    return entry.kind == Entry::Kind::Assistant ? entry.content.is_array() : entry.content.is_object();
}

bool there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Complete as soon as it has this name; who finds it puts it in its place. The log first: it must never be
// taken for that of the new file.
void put_in_place(const std::string& path) {
    const std::string made = path + ".rebuilt", kept = path + ".damaged";
    if (!there(made)) return;
    (void)::rename((path + "-wal").c_str(), (kept + "-wal").c_str());
    (void)::unlink((path + "-shm").c_str());
    (void)::rename(path.c_str(), kept.c_str());
    if (::rename(made.c_str(), path.c_str()) < 0) throw ErrnoError("journal: put the rebuilt one in its place");
}

}  // namespace

const char* kind_name(Entry::Kind kind) {
    switch (kind) {
        case Entry::Kind::User:
            return "user";
        case Entry::Kind::Assistant:
            return "assistant";
        case Entry::Kind::Result:
            return "result";
        case Entry::Kind::Summary:
            return "summary";
        case Entry::Kind::Rewind:
            return "rewind";
        case Entry::Kind::Picture:
            return "picture";
    }
    return "user";
}

Journal::Journal(const std::string& path, Durability durability) : path_(path), durability_(durability) {
    put_in_place(path_);
    try {
        open();
    } catch (const DamagedError&) {
        database_.reset();
    }
}

void Journal::open() {
    database_ = std::make_unique<Database>(path_, durability_);
    prepare_schema(*database_, kSchema, kJournalVersion);
    // Its agent can put anything here: what computes (a view, a trigger) is no journal, and could be endless.
    Statement ours = database_->prepare(
        "SELECT count(*), total(name = 'entries' AND type = 'table'), max(sql) FROM sqlite_master");
    if (!ours.step() || ours.integer(0) != 1 || ours.integer(1) != 1) throw DamagedError("journal: other tables");
    odd_table_ = unsound_ = with_single_blanks(ours.text(2)) != kTable;
    try {
        (void)database_->prepare(kForward);
    } catch (const Error& error) {
        if (std::string_view(error.what()).find("no such") == std::string_view::npos) throw;
        throw DamagedError(error.what());
    }
}

void Journal::insert(const Entry& entry) {
    const bool placed = entry.seq > 0;
    Statement row = database_->prepare(
        placed ? "INSERT INTO entries(turn, kind, call, outcome, body, seq, at) VALUES(?, ?, ?, ?, ?, ?, ?)"
               : "INSERT INTO entries(turn, kind, call, outcome, body) VALUES(?, ?, ?, ?, ?)");
    row.bind(entry.turn)
        .bind(kind_name(entry.kind))
        .bind(entry.call)
        .bind(entry.kind == Entry::Kind::Result ? outcome_name(entry.outcome) : "")
        .bind(has_content(entry.kind) ? json::dump(entry.content) : entry.text);
    if (placed) row.bind(entry.seq).bind(entry.at);
    row.run();
}

int64_t Journal::append(const Entry& entry) {
    return append(std::vector<Entry>{entry});
}

int64_t Journal::append(const std::vector<Entry>& entries) {
    const auto add = [&] {
        database_->transaction([&] {
            for (Entry entry : entries) {
                entry.seq = 0;  // the next one
                insert(entry);
            }
        });
        return database_->last_row();
    };
    if (!database_ || unsound_) make_anew();
    try {
        return add();
    } catch (const DamagedError&) {
        make_anew();
        return add();
    }
}

void Journal::copy(const std::vector<Entry>& entries) {
    if (!database_ || unsound_) make_anew();
    database_->transaction([&] {
        for (const Entry& entry : entries) insert(entry);
    });
}

// Forward to the end, or backward down to the place `after`.
void Journal::scan(Way way, int64_t after, const std::function<bool(Entry)>& take) {
    const bool forward = way == Way::Forward;
    int64_t last = forward ? after : std::numeric_limits<int64_t>::max();
    Statement query = database_->prepare(forward ? kForward : kBackward);
    query.bind(last);
    while (query.step()) {
        Entry entry;
        const bool good = read_entry(query, entry);
        if (forward ? entry.seq <= last : entry.seq >= last) throw DamagedError("journal: its places are in no order");
        if (!forward && entry.seq <= after) return;
        last = entry.seq;
        if (!good)
            ++unreadable_;
        else if (!take(std::move(entry)))
            return;
    }
}

void Journal::each(const std::function<bool(Entry)>& take) {
    unreadable_ = 0;
    broken_.clear();
    if (!database_) {
        broken_ = "the file is no journal";
        return;
    }
    int64_t last = 0;
    bool wanted = true;
    try {
        scan(Way::Forward, 0, [&](Entry entry) {
            last = entry.seq;
            return wanted = take(std::move(entry));
        });
        return;
    } catch (const DamagedError&) {
        broken_ = "the file is broken behind entry " + std::to_string(last);
        unsound_ = true;
    }
    std::vector<Entry> rest;
    try {
        scan(Way::Backward, last, [&](Entry entry) {
            rest.push_back(std::move(entry));
            return true;
        });
    } catch (const DamagedError&) {  // what is between stays unread
    }
    for (auto entry = rest.rbegin(); entry != rest.rend() && wanted; ++entry) wanted = take(std::move(*entry));
}

std::vector<Entry> Journal::entries() {
    std::vector<Entry> all;
    each([&](Entry entry) {
        all.push_back(std::move(entry));
        return true;
    });
    return all;
}

std::string Journal::damage() const {
    std::string words = broken_.empty() && odd_table_ ? "its table is not as it was made" : broken_;
    if (unreadable_ > 0)
        words += (words.empty() ? "" : ", ") + std::to_string(unreadable_) +
                 (unreadable_ == 1 ? " entry is" : " entries are") + " no entry that this version knows";
    return words;
}

void Journal::make_anew() {
    const std::vector<Entry> kept = entries();
    const std::string broken = broken_;
    const int64_t unreadable = unreadable_;
    const bool odd_table = odd_table_;
    database_.reset();
    const std::string made = path_ + ".new";
    for (const char* of : {"", "-wal", "-shm", "-journal"}) (void)::unlink((made + of).c_str());
    database_ = std::make_unique<Database>(made, Durability::PowerLoss);
    database_->run("PRAGMA journal_mode=DELETE");  // one file, that can be given another name
    prepare_schema(*database_, kSchema, kJournalVersion);
    unsound_ = false;
    copy(kept);
    database_.reset();
    if (::rename(made.c_str(), (path_ + ".rebuilt").c_str()) < 0) throw ErrnoError("journal: make it anew");
    put_in_place(path_);
    open();
    broken_ = broken;
    unreadable_ = unreadable;
    odd_table_ = odd_table;
}

}  // namespace peacrab
