#include "relay_spool.h"

#include "error.h"
#include "messaging/post.h"
#include "os.h"

namespace peacrab {
namespace {

// No index has bodies in it, and `size` stands before them: counting reads none.
const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS entries(seq INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, key TEXT NOT NULL,
    at INTEGER NOT NULL, size INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE(hook, key));
CREATE INDEX IF NOT EXISTS entries_by_hook ON entries(hook, seq, size, at);
CREATE TABLE IF NOT EXISTS taken(hook TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS about(id TEXT NOT NULL);
)";

constexpr int64_t kHour = 3'600'000;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kMostTaken = 5'000;
constexpr size_t kPage = size_t{1} << 20;

}  // namespace

RelaySpool::RelaySpool(const std::string& path) : database_(path, Durability::PowerLoss) {
    database_.run(kSchema);
}

std::string RelaySpool::id() {
    std::string id;
    database_.transaction([&] {
        Statement query = database_.prepare("SELECT id FROM about");
        if (query.step()) {
            id = query.text(0);
            return;
        }
        id = random_hex(8);
        database_.prepare("INSERT INTO about(id) VALUES(?)").bind(id).run();
    });
    return id;
}

RelaySpool::Added RelaySpool::add(const std::string& hook, const std::string& key, const std::string& body, int64_t hourly) {
    Added added = Added::Full;
    const int64_t now = unix_ms();
    database_.transaction([&] {
        prune(hook);
        Statement known = database_.prepare("SELECT 1 FROM entries WHERE hook = ? AND key = ?");
        if (known.bind(hook).bind(key).step()) {
            added = Added::Known;
            return;
        }
        Statement waiting = database_.prepare("SELECT count(*), total(size) FROM entries WHERE hook = ? AND seq > ?");
        waiting.bind(hook).bind(taken(hook)).step();
        if (waiting.integer(0) >= kMostWaiting || waiting.integer(1) + static_cast<int64_t>(body.size()) > kMostBytes) return;
        Statement lately = database_.prepare("SELECT count(*) FROM entries WHERE hook = ? AND at > ?");
        lately.bind(hook).bind(now - kHour).step();
        if (hourly > 0 && lately.integer(0) >= hourly) {
            added = Added::TooMany;
            return;
        }
        database_.prepare("INSERT INTO entries(hook, key, at, size, body) VALUES(?, ?, ?, ?, ?)")
            .bind(hook)
            .bind(key)
            .bind(now)
            .bind(static_cast<int64_t>(body.size()))
            .bind(body)
            .run();
        added = Added::New;
    });
    return added;
}

// Of what was taken: the old, and what is too much.
void RelaySpool::prune(const std::string& hook) {
    database_
        .prepare("DELETE FROM entries WHERE seq IN (SELECT seq FROM (SELECT seq, at, sum(size) OVER newest AS bytes, "
                 "row_number() OVER newest AS number FROM entries WHERE hook = ? AND seq <= ? WINDOW newest AS (ORDER BY seq DESC)) "
                 "WHERE at < ? OR bytes > ? OR number > ?)")
        .bind(hook)
        .bind(taken(hook))
        .bind(unix_ms() - kDay)
        .bind(kMostBytes)
        .bind(kMostTaken)
        .run();
}

std::vector<SpoolEntry> RelaySpool::after(const std::string& hook, int64_t seq) {
    Statement query = database_.prepare("SELECT seq, at, key, body FROM entries WHERE hook = ? AND seq > ? ORDER BY seq LIMIT 100");
    query.bind(hook).bind(seq);
    std::vector<SpoolEntry> entries;
    size_t size = 0;
    while (size < kPage && query.step()) {
        entries.push_back({query.integer(0), query.integer(1), query.text(2), query.text(3)});
        size += entries.back().body.size();
    }
    return entries;
}

int64_t RelaySpool::newest(const std::string& hook) {
    Statement query = database_.prepare("SELECT max(seq) FROM entries WHERE hook = ?");
    return query.bind(hook).step() ? query.integer(0) : 0;
}

int64_t RelaySpool::taken(const std::string& hook) {
    Statement query = database_.prepare("SELECT seq FROM taken WHERE hook = ?");
    return query.bind(hook).step() ? query.integer(0) : 0;
}

void RelaySpool::take(const std::string& hook, int64_t seq) {
    if (taken(hook) >= seq) return;
    if (newest(hook) < seq) return;  // it is of something else
    database_.prepare("INSERT INTO taken(hook, seq) VALUES(?, ?) ON CONFLICT(hook) DO UPDATE SET seq = max(seq, excluded.seq)")
        .bind(hook)
        .bind(seq)
        .run();
}

std::vector<SpoolEntry> RelaySpool::having(const std::string& hook, const std::string& text) {
    Statement query = database_.prepare("SELECT seq, at, key, body FROM entries WHERE hook = ? AND instr(body, ?) > 0 ORDER BY seq DESC LIMIT 20");
    query.bind(hook).bind(text);
    std::vector<SpoolEntry> entries;
    while (query.step()) entries.push_back({query.integer(0), query.integer(1), query.text(2), query.text(3)});
    return entries;
}

}  // namespace peacrab
