// SQL and nothing else: who is let in (messaging/door) and when something is sent again (messaging/delivery) is
// decided elsewhere.
#include "messaging/post.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr int64_t kPostVersion = 4;
constexpr int64_t kMostHeld = 500, kMostHeldOfOne = 20, kHeldDays = 7;
constexpr int64_t kMostDropped = 20'000;  // rows of what was not let in
const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS cursors(channel TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signs(channel TEXT PRIMARY KEY, account TEXT NOT NULL, polled INTEGER NOT NULL,
    trouble TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places(id INTEGER PRIMARY KEY, channel TEXT NOT NULL, conversation TEXT NOT NULL,
    thread TEXT NOT NULL, grouped INTEGER NOT NULL, title TEXT NOT NULL, agent TEXT NOT NULL DEFAULT '',
    live TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '', UNIQUE(channel, conversation, thread));
CREATE TABLE IF NOT EXISTS arrivals(row INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL,
    place INTEGER NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
    state TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL, turn TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0, received INTEGER NOT NULL DEFAULT (unixepoch()), UNIQUE(channel, key));
CREATE INDEX IF NOT EXISTS arrivals_of_place ON arrivals(place, state);
CREATE INDEX IF NOT EXISTS arrivals_by_state ON arrivals(state, place) WHERE state IN ('waiting', 'handed', 'held');
CREATE INDEX IF NOT EXISTS arrivals_by_id ON arrivals(id);
CREATE TABLE IF NOT EXISTS cut(place INTEGER NOT NULL, turn TEXT NOT NULL, at INTEGER NOT NULL DEFAULT (unixepoch()),
    PRIMARY KEY(place, turn)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replied(place INTEGER NOT NULL, turn TEXT NOT NULL, at INTEGER NOT NULL DEFAULT (unixepoch()),
    PRIMARY KEY(place, turn)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries(row INTEGER PRIMARY KEY, place INTEGER NOT NULL, channel TEXT NOT NULL,
    origin TEXT UNIQUE, key TEXT NOT NULL, reply_to TEXT NOT NULL, text TEXT NOT NULL, state TEXT NOT NULL,
    part INTEGER NOT NULL DEFAULT 0, parts INTEGER NOT NULL DEFAULT 0, platform TEXT NOT NULL,
    again INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL, error TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries(channel, place, row)
    WHERE state IN ('queued', 'sending', 'unknown');
CREATE TABLE IF NOT EXISTS files(row INTEGER PRIMARY KEY, arrival INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
    mime TEXT NOT NULL, note TEXT NOT NULL, handle TEXT NOT NULL, size INTEGER NOT NULL, voice INTEGER NOT NULL,
    path TEXT NOT NULL DEFAULT '', line TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS files_of_arrival ON files(arrival);
CREATE INDEX IF NOT EXISTS files_by_path ON files(path) WHERE path <> '';
CREATE TABLE IF NOT EXISTS parcels(delivery INTEGER PRIMARY KEY, agent TEXT NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT NOT NULL, spool TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS taken(file INTEGER PRIMARY KEY, channel TEXT NOT NULL, sender TEXT NOT NULL, bytes INTEGER NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch()));
CREATE INDEX IF NOT EXISTS taken_of_sender ON taken(channel, sender, at);
PRAGMA user_version = 4;
)";

#define ARRIVAL "row, place, key, id, sender, name, text, state, verdict, rule, turn, received, tries"
#define DELIVERY "row, place, key, reply_to, text, state, platform, error, coalesce(origin, ''), part, parts, attempts, not_before, created, again"

ArrivalRow arrival_of(const Statement& row) {
    return {row.integer(0), row.integer(1), row.text(2), row.text(3), row.text(4),     row.text(5),    row.text(6),
            row.text(7),    row.text(8),    row.text(9), row.text(10), row.integer(11), row.integer(12)};
}

DeliveryRow delivery_of(const Statement& row) {
    return {row.integer(0),  row.integer(1),  row.text(2),     row.text(3),     row.text(4),
            row.text(5),     row.text(6),     row.text(7),     row.text(8),     row.integer(9),
            row.integer(10), row.integer(11), row.integer(12), row.integer(13), row.integer(14) != 0};
}

std::vector<ArrivalRow> arrivals(Statement& query) {
    std::vector<ArrivalRow> rows;
    while (query.step()) rows.push_back(arrival_of(query));
    return rows;
}

std::vector<DeliveryRow> deliveries(Statement& query) {
    std::vector<DeliveryRow> rows;
    while (query.step()) rows.push_back(delivery_of(query));
    return rows;
}

std::vector<int64_t> numbers(Statement& query) {
    std::vector<int64_t> all;
    while (query.step()) all.push_back(query.integer(0));
    return all;
}

UniqueFd locked(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file || ::flock(file.get(), LOCK_EX) < 0) throw ErrnoError("store: " + path);
    return file;
}

PlaceRow place_of(const Statement& row) {
    return {row.integer(0), row.text(1), row.text(2), row.text(3), row.integer(4) != 0, row.text(5), row.text(6), row.text(7)};
}

}  // namespace

int64_t unix_ms() {
    return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

const char* verdict_name(Admission::What what) {
    switch (what) {
        case Admission::What::Dropped:
            return "dropped";
        case Admission::What::Silent:
            return "silent";
        case Admission::What::Held:
            return "held";
        case Admission::What::Command:
            return "command";
        case Admission::What::Admitted:
            return "admitted";
        case Admission::What::Hooked:
            return "hook";
        case Admission::What::Pressed:
            return "press";
    }
    return "dropped";
}

// One at a time makes the file what it is: of two, SQLite would turn one away.
Post::Post(const std::string& path, UniqueFd) : database_(path, Durability::PowerLoss) {
    prepare_schema(database_, kSchema, kPostVersion);
}

Post::Post(const std::string& path) : Post(path, locked(path + ".lock")) {}

std::optional<std::string> Post::cursor(const std::string& channel) {
    Statement query = database_.prepare("SELECT cursor FROM cursors WHERE channel = ?");
    if (!query.bind(channel).step()) return std::nullopt;
    return query.text(0);
}

void Post::set_cursor(const std::string& channel, const std::string& cursor) {
    database_.prepare("INSERT OR REPLACE INTO cursors(channel, cursor) VALUES(?, ?)").bind(channel).bind(cursor).run();
}

void Post::set_sign(const std::string& channel, const Sign& sign) {
    database_.prepare("INSERT OR REPLACE INTO signs(channel, account, polled, trouble) VALUES(?, ?, ?, ?)")
        .bind(channel)
        .bind(sign.account)
        .bind(sign.polled)
        .bind(sign.trouble)
        .run();
}

Post::Sign Post::sign(const std::string& channel) {
    Statement query = database_.prepare("SELECT account, polled, trouble FROM signs WHERE channel = ?");
    if (!query.bind(channel).step()) return {};
    return {query.text(0), query.integer(1), query.text(2)};
}

PlaceRow Post::place(const std::string& channel, const Event& event) {
    database_
        .prepare("INSERT INTO places(channel, conversation, thread, grouped, title) VALUES(?, ?, ?, ?, ?) "
                 "ON CONFLICT(channel, conversation, thread) DO UPDATE SET title = excluded.title WHERE title <> "
                 "excluded.title AND excluded.title <> ''")
        .bind(channel)
        .bind(event.conversation)
        .bind(event.thread)
        .bind(int64_t{event.group})
        .bind(event.title)
        .run();
    Statement query = database_.prepare("SELECT id, channel, conversation, thread, grouped, title, agent, live FROM places "
                                        "WHERE channel = ? AND conversation = ? AND thread = ?");
    if (!query.bind(channel).bind(event.conversation).bind(event.thread).step()) throw Error("store: a place is lost");
    return place_of(query);
}

std::optional<PlaceRow> Post::place(int64_t id) {
    Statement query =
        database_.prepare("SELECT id, channel, conversation, thread, grouped, title, agent, live FROM places WHERE id = ?");
    if (!query.bind(id).step()) return std::nullopt;
    return place_of(query);
}

void Post::set_live(int64_t place, const std::string& platform) {
    database_.prepare("UPDATE places SET live = ? WHERE id = ?").bind(platform).bind(place).run();
}

void Post::set_agent(int64_t place, const std::string& agent) {
    database_.prepare("UPDATE places SET agent = ? WHERE id = ?").bind(agent).bind(place).run();
}

void Post::move_place(int64_t place, const std::string& conversation) {
    database_.prepare("UPDATE OR IGNORE places SET conversation = ? WHERE id = ?").bind(conversation).bind(place).run();
    database_
        .prepare("UPDATE deliveries SET place = coalesce((SELECT there.id FROM places there JOIN places here USING (channel, thread) "
                 "WHERE here.id = ?1 AND there.conversation = ?2), ?1) WHERE place = ?1 AND state IN ('queued', 'sending', 'unknown')")
        .bind(place)
        .bind(conversation)
        .run();
}

int64_t Post::add_arrival(const PlaceRow& place, const Event& event, const std::string& text, const Admission& verdict) {
    const bool waits = verdict.what == Admission::What::Admitted || verdict.what == Admission::What::Command ||
                       verdict.what == Admission::What::Hooked;
    Statement insert = database_.prepare(
        "INSERT OR IGNORE INTO arrivals(channel, key, place, id, sender, name, text, state, verdict, rule) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING row");
    insert.bind(place.channel)
        .bind(event.key)
        .bind(place.id)
        .bind(event.id)
        .bind(event.sender)
        .bind(event.name)
        .bind(text)
        .bind(waits ? "waiting" : verdict.what == Admission::What::Held ? "held" : "none")
        .bind(verdict_name(verdict.what))
        .bind(verdict.rule);
    const int64_t row = insert.step() ? insert.integer(0) : 0;
    insert.run();
    return row;
}

bool Post::edit_waiting(const PlaceRow& place, const Event& event, const std::string& text) {
    Statement query = database_.prepare("SELECT max(row) FROM arrivals WHERE place = ? AND id = ? AND sender = ? AND state = 'waiting'");
    query.bind(place.id).bind(event.id).bind(event.sender).step();
    const int64_t row = query.integer(0);
    query.run();
    if (row == 0) return false;
    database_.prepare("UPDATE arrivals SET text = ? WHERE row = ?").bind(text).bind(row).run();
    return true;
}

std::vector<ArrivalRow> Post::waiting(int64_t place) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE place = ? AND state = 'waiting' ORDER BY row LIMIT 200");
    return arrivals(query.bind(place));
}

std::vector<ArrivalRow> Post::silent_before(int64_t place, int64_t row, int64_t after) {
    Statement query = database_.prepare("SELECT * FROM (SELECT " ARRIVAL " FROM arrivals WHERE place = ? AND verdict = 'silent' AND "
                                        "state = 'none' AND row < ? AND row > ? ORDER BY row DESC LIMIT 20) ORDER BY row");
    return arrivals(query.bind(place).bind(row).bind(after));
}

void Post::join(int64_t place, int64_t row) {
    database_
        .prepare("UPDATE arrivals SET turn = 'with ' || ?2 WHERE place = ?1 AND state = 'waiting' AND verdict = 'admitted' AND "
                 "turn NOT LIKE 'with %' AND row < ?2")
        .bind(place)
        .bind(row)
        .run();
}

std::vector<ArrivalRow> Post::joined(int64_t place, int64_t row) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE place = ? AND state = 'waiting' AND turn = 'with ' || ? ORDER BY row");
    return arrivals(query.bind(place).bind(row));
}

std::vector<int64_t> Post::places_at_work() {
    Statement query = database_.prepare("SELECT DISTINCT place FROM arrivals WHERE state IN ('waiting', 'handed')");
    return numbers(query);
}

void Post::handed(int64_t row, const std::string& turn) {
    const std::optional<ArrivalRow> one = arrival(row);
    if (!one || one->state != "waiting") return;
    database_.transaction([&] {
        database_
            .prepare("UPDATE arrivals SET state = 'handed', turn = ?1 WHERE place = ?3 AND state = 'waiting' AND (row = ?2 OR turn = 'with ' || ?2)")
            .bind(turn)
            .bind(row)
            .bind(one->place)
            .run();
        if (one->verdict != "admitted") return;
        database_
            .prepare("UPDATE arrivals SET state = 'answered', turn = ? WHERE place = ? AND verdict = 'silent' AND state = 'none' AND row < ?")
            .bind(turn)
            .bind(one->place)
            .bind(row)
            .run();
    });
}

std::vector<std::string> Post::speakers(int64_t place, const std::string& turn) {
    Statement query = database_.prepare("SELECT DISTINCT sender FROM arrivals WHERE place = ? AND turn = ? AND verdict IN ('admitted', 'silent')");
    query.bind(place).bind(turn);
    std::vector<std::string> senders;
    while (query.step()) senders.push_back(query.text(0));
    return senders;
}

void Post::answered_all(int64_t place) {
    database_.prepare("UPDATE arrivals SET state = 'answered' WHERE place = ? AND state = 'handed'").bind(place).run();
}

void Post::answered(int64_t row) {
    database_
        .prepare("UPDATE arrivals SET state = 'answered' WHERE place = (SELECT place FROM arrivals WHERE row = ?1) AND (row = ?1 OR "
                 "(state = 'waiting' AND turn = 'with ' || ?1))")
        .bind(row)
        .run();
}

void Post::wait_again(int64_t place, const std::string& turn) {
    database_
        .prepare("UPDATE arrivals SET state = 'waiting', tries = tries + 1 WHERE row = (SELECT max(row) FROM arrivals WHERE "
                 "place = ? AND turn = ? AND state = 'handed')")
        .bind(place)
        .bind(turn)
        .run();
    answered_all(place);
}

void Post::note_cut(int64_t place, const std::string& turn) {
    database_.prepare("INSERT OR IGNORE INTO cut(place, turn) VALUES(?, ?)").bind(place).bind(turn).run();
}

void Post::note_reply(int64_t place, const std::string& turn) {
    database_.prepare("INSERT OR IGNORE INTO replied(place, turn) VALUES(?, ?)").bind(place).bind(turn).run();
}

bool Post::has_verdict(int64_t place, const std::string& turn, const std::string& verdict) {
    Statement query = database_.prepare("SELECT 1 FROM arrivals WHERE place = ? AND turn = ? AND verdict = ?");
    return !turn.empty() && query.bind(place).bind(turn).bind(verdict).step();
}

bool Post::has_replied(int64_t place, const std::string& turn) {
    Statement query = database_.prepare("SELECT 1 FROM replied WHERE place = ? AND turn = ?");
    return query.bind(place).bind(turn).step();
}

bool Post::was_cut(int64_t place, const std::string& turn) {
    Statement query = database_.prepare("SELECT 1 FROM cut WHERE place = ? AND turn = ?");
    return query.bind(place).bind(turn).step();
}

bool Post::room_at_the_door(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT count(*), total(sender = ?) FROM arrivals WHERE state = 'held' AND channel = ?");
    query.bind(sender).bind(channel).step();
    const int64_t all = query.integer(0), of_one = query.integer(1);
    query.run();
    if (of_one >= kMostHeldOfOne) return false;
    if (all >= kMostHeld) {
        Statement oldest = database_.prepare("SELECT row FROM arrivals WHERE state = 'held' AND channel = ? "
                                             "ORDER BY count(*) OVER (PARTITION BY sender) DESC, row LIMIT 1");
        const int64_t row = oldest.bind(channel).step() ? oldest.integer(0) : 0;
        oldest.run();
        refuse(row, "too much waits at the door");
    }
    return true;
}

std::vector<ArrivalRow> Post::held(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE channel = ? AND sender = ? AND state = 'held' ORDER BY row LIMIT 100");
    return arrivals(query.bind(channel).bind(sender));
}

void Post::release(int64_t row) {
    database_.prepare("UPDATE arrivals SET state = 'waiting', verdict = 'admitted' WHERE row = ? AND state = 'held'").bind(row).run();
}

void Post::refuse(int64_t row, const std::string& rule) {
    database_.prepare("UPDATE arrivals SET state = 'none', verdict = 'dropped', rule = ? WHERE row = ? AND state = 'held'")
        .bind(rule)
        .bind(row)
        .run();
}

int64_t Post::tries_of(int64_t place, const std::string& turn) {
    Statement query = database_.prepare("SELECT coalesce(max(tries), 0) FROM arrivals WHERE place = ? AND turn = ? AND state = 'handed'");
    query.bind(place).bind(turn).step();
    return query.integer(0);
}

std::optional<ArrivalRow> Post::arrival_before(int64_t row) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE place = (SELECT place FROM arrivals WHERE row = ?1) AND "
                                        "row < ?1 ORDER BY row DESC LIMIT 1");
    if (!query.bind(row).step()) return std::nullopt;
    return arrival_of(query);
}

std::string Post::deliveries_in_words(int64_t place, int64_t arrival) {
    Statement query = database_.prepare("SELECT state, part, parts, error FROM deliveries WHERE place = ?1 AND created >= (SELECT received "
                                        "FROM arrivals WHERE row = ?2) * 1000 ORDER BY row LIMIT 5");
    query.bind(place).bind(arrival);
    std::string text;
    while (query.step()) {
        text += "\nsent since: " + query.text(0);
        if (query.integer(2) > 1) text += ", part " + std::to_string(query.integer(1)) + " of " + std::to_string(query.integer(2));
        if (!query.text(3).empty()) text += ": " + query.text(3);
    }
    return text;
}

std::optional<ArrivalRow> Post::arrival(int64_t row) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE row = ?");
    if (!query.bind(row).step()) return std::nullopt;
    return arrival_of(query);
}

std::optional<ArrivalRow> Post::arrival(const std::string& id) {
    Statement query = database_.prepare("SELECT " ARRIVAL " FROM arrivals WHERE id = ?1 OR CAST(row AS TEXT) = ?1 ORDER BY row DESC LIMIT 1");
    if (!query.bind(id).step()) return std::nullopt;
    return arrival_of(query);
}

void Post::prune(int64_t days) {
    database_
        .prepare("UPDATE arrivals SET state = 'none', verdict = 'dropped', rule = 'nobody has let its sender in within a week' WHERE "
                 "state = 'held' AND received < unixepoch() - ? * 86400")
        .bind(kHeldDays)
        .run();
    database_.prepare("DELETE FROM arrivals WHERE state IN ('none', 'answered') AND received < unixepoch() - ? * 86400").bind(days).run();
    database_
        .prepare("DELETE FROM arrivals WHERE state = 'none' AND verdict = 'dropped' AND row <= (SELECT row FROM arrivals WHERE "
                 "state = 'none' AND verdict = 'dropped' ORDER BY row DESC LIMIT 1 OFFSET ?)")
        .bind(kMostDropped)
        .run();
    database_.prepare("DELETE FROM replied WHERE at < unixepoch() - ? * 86400").bind(days).run();
    database_.prepare("DELETE FROM cut WHERE at < unixepoch() - ? * 86400").bind(days).run();
    database_
        .prepare("DELETE FROM deliveries WHERE state IN ('sent', 'failed') AND created < (unixepoch() - ? * 86400) * 1000")
        .bind(days)
        .run();
    prune_files();
}

void Post::prune_places(const std::set<int64_t>& kept) {
    Statement query = database_.prepare("SELECT id FROM places WHERE agent = '' AND live = '' AND notes = '' AND id NOT IN (SELECT place FROM "
                                        "arrivals) AND id NOT IN (SELECT place FROM deliveries)");
    const std::vector<int64_t> idle = numbers(query);
    for (const int64_t id : idle)
        if (!kept.contains(id)) database_.prepare("DELETE FROM places WHERE id = ?").bind(id).run();
}

int64_t Post::enqueue(int64_t place, const std::string& origin, const std::string& text, const std::string& reply_to,
                      const std::string& platform) {
    Statement insert =
        database_.prepare("INSERT OR IGNORE INTO deliveries(place, channel, origin, key, reply_to, text, state, platform, created) "
                          "SELECT id, channel, nullif(?, ''), ?, ?, ?, 'queued', ?, ? FROM places WHERE id = ? RETURNING row");
    insert.bind(origin).bind(random_hex(12)).bind(reply_to).bind(text).bind(platform).bind(unix_ms()).bind(place);
    const int64_t row = insert.step() ? insert.integer(0) : 0;
    insert.run();
    return row;
}

std::optional<DeliveryRow> Post::take(int64_t place, int64_t now) {
    std::optional<DeliveryRow> taken;
    database_.transaction([&] {
        Statement query = database_.prepare("SELECT " DELIVERY " FROM deliveries WHERE place = ? AND state IN ('queued', 'sending', "
                                            "'unknown') ORDER BY row LIMIT 1");
        if (!query.bind(place).step()) return;
        DeliveryRow row = delivery_of(query);
        query.run();
        if (row.state != "queued" || row.not_before > now) return;
        // A reply takes the place of the line that showed its turn.
        if (row.part == 0 && row.platform.empty() && row.origin.starts_with("r:")) {
            Statement live = database_.prepare("SELECT live FROM places WHERE id = ?");
            if (live.bind(place).step()) row.platform = live.text(0);
            live.run();
            if (!row.platform.empty()) set_live(place, {});
        }
        database_.prepare("UPDATE deliveries SET state = 'sending', platform = ? WHERE row = ?").bind(row.platform).bind(row.row).run();
        row.state = "sending";
        taken = std::move(row);
    });
    return taken;
}

std::vector<int64_t> Post::places_to_deliver(const std::string& channel, int64_t now) {
    Statement query = database_.prepare("SELECT DISTINCT place FROM deliveries WHERE channel = ? AND state = 'queued' AND not_before <= ?");
    return numbers(query.bind(channel).bind(now));
}

bool Post::delivering(int64_t place) {
    Statement query = database_.prepare("SELECT 1 FROM deliveries WHERE place = ? AND state IN ('queued', 'sending', 'unknown') LIMIT 1");
    return query.bind(place).step();
}

std::optional<int64_t> Post::next_delivery(const std::string& channel, int64_t now) {
    Statement query = database_.prepare("SELECT count(*), min(not_before) FROM deliveries WHERE channel = ? AND state = 'queued' AND not_before > ?");
    query.bind(channel).bind(now).step();
    if (query.integer(0) == 0) return std::nullopt;
    return query.integer(1);
}

std::optional<DeliveryRow> Post::delivery(int64_t row) {
    Statement query = database_.prepare("SELECT " DELIVERY " FROM deliveries WHERE row = ?");
    if (!query.bind(row).step()) return std::nullopt;
    return delivery_of(query);
}

void Post::part_sent(int64_t row, int64_t part, int64_t of, const std::string& platform) {
    database_
        .prepare("UPDATE deliveries SET part = ?2 + 1, parts = ?3, again = 0, attempts = 0, error = '', state = CASE WHEN ?2 + 1 >= ?3 "
                 "THEN 'sent' ELSE 'sending' END, platform = CASE WHEN ?2 = 0 AND ?4 <> '' THEN ?4 ELSE platform END "
                 "WHERE row = ?1 AND part <= ?2")
        .bind(row)
        .bind(part)
        .bind(of)
        .bind(platform)
        .run();
}

void Post::put_off(int64_t row, int64_t not_before, const std::string& error, bool again) {
    database_
        .prepare("UPDATE deliveries SET state = 'queued', not_before = ?, error = ?, again = ?, attempts = attempts + 1 WHERE row = ?")
        .bind(not_before)
        .bind(error)
        .bind(int64_t{again})
        .bind(row)
        .run();
}

void Post::fail(int64_t row, const std::string& error) {
    database_.prepare("UPDATE deliveries SET state = 'failed', error = ? WHERE row = ?").bind(error).bind(row).run();
}

std::vector<DeliveryRow> Post::under_way(const std::string& channel) {
    Statement query = database_.prepare("SELECT " DELIVERY " FROM deliveries WHERE channel = ? AND state = 'sending' ORDER BY row");
    return deliveries(query.bind(channel));
}

void Post::set_unknown(int64_t row, const std::string& error) {
    database_.prepare("UPDATE deliveries SET state = 'unknown', error = ? WHERE row = ?").bind(error).bind(row).run();
}

std::vector<DeliveryRow> Post::unknown(const std::string& channel) {
    Statement query = database_.prepare("SELECT " DELIVERY " FROM deliveries WHERE channel = ? AND state = 'unknown' ORDER BY row");
    return deliveries(query.bind(channel));
}

void Post::note(int64_t place, const std::string& text) {
    database_.prepare("UPDATE places SET notes = substr(notes || ? || char(10), -4000) WHERE id = ?").bind(text).bind(place).run();
}

std::string Post::take_notes(int64_t place) {
    Statement query = database_.prepare("SELECT notes FROM places WHERE id = ?");
    if (!query.bind(place).step()) return {};
    const std::string notes = query.text(0);
    query.run();
    if (!notes.empty()) database_.prepare("UPDATE places SET notes = '' WHERE id = ?").bind(place).run();
    return notes;
}

Post::Counts Post::counts(const std::string& channel) {
    Counts counts;
    Statement query = database_.prepare("SELECT total(state IN ('queued', 'sending')), total(state = 'unknown'), total(state = 'failed') "
                                        "FROM deliveries WHERE channel = ?");
    query.bind(channel).step();
    counts.backlog = query.integer(0);
    counts.unknown = query.integer(1);
    counts.failed = query.integer(2);
    Statement waits = database_.prepare("SELECT count(*) FROM arrivals WHERE channel = ? AND state = 'waiting'");
    waits.bind(channel).step();
    counts.waiting = waits.integer(0);
    counts.next = next_delivery(channel, 0);
    return counts;
}

}  // namespace peacrab
