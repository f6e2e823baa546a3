// SQL and nothing else: what is done with a task that is due stands in messaging/tasks.
#include "messaging/schedule.h"

#include <algorithm>
#include <cstdio>

#include "os.h"

namespace peacrab {
namespace {

const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS clocks(channel TEXT NOT NULL, sender TEXT NOT NULL, zone TEXT NOT NULL,
    quiet_from INTEGER NOT NULL, quiet_until INTEGER NOT NULL, PRIMARY KEY(channel, sender)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, place INTEGER NOT NULL, channel TEXT NOT NULL,
    sender TEXT NOT NULL, text TEXT NOT NULL, gate TEXT NOT NULL, changed INTEGER NOT NULL, kept TEXT NOT NULL,
    zone TEXT NOT NULL, skip INTEGER NOT NULL, state TEXT NOT NULL, next INTEGER NOT NULL, hold INTEGER NOT NULL,
    failures INTEGER NOT NULL, began INTEGER NOT NULL, allowed INTEGER NOT NULL, secret TEXT NOT NULL,
    digest TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS firings(row INTEGER PRIMARY KEY, task INTEGER NOT NULL, due INTEGER NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch()), outcome TEXT NOT NULL, note TEXT NOT NULL DEFAULT '',
    arrival INTEGER NOT NULL, cost INTEGER, UNIQUE(task, due));
CREATE INDEX IF NOT EXISTS firings_by_arrival ON firings(arrival);
CREATE TABLE IF NOT EXISTS ends(place INTEGER NOT NULL, turn TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL,
    cost INTEGER, at INTEGER NOT NULL DEFAULT (unixepoch()), PRIMARY KEY(place, turn)) WITHOUT ROWID;
)";

#define TASK \
    "id, place, channel, sender, text, gate, changed, kept, zone, skip, state, next, hold, failures, began, allowed, secret, digest, created"

TaskRow task_of_row(const Statement& row) {
    return {row.integer(0),  row.integer(1),       row.text(2),      row.text(3),     row.text(4),     row.text(5),     row.integer(6) != 0,
            row.text(7),     row.text(8),          row.integer(9) != 0, row.text(10), row.integer(11), row.integer(12), row.integer(13),
            row.integer(14), row.integer(15) != 0, row.text(16),     row.text(17),    row.integer(18)};
}

std::vector<TaskRow> rows_of(Statement& query) {
    std::vector<TaskRow> rows;
    while (query.step()) rows.push_back(task_of_row(query));
    return rows;
}

}  // namespace

Schedule::Schedule(Database& database) : database_(database) {
    database_.run(kSchema);
}

Schedule::Person Schedule::person(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT zone, quiet_from, quiet_until FROM clocks WHERE channel = ? AND sender = ?");
    if (!query.bind(channel).bind(sender).step()) return {};
    return {query.text(0), {static_cast<int>(query.integer(1)), static_cast<int>(query.integer(2))}};
}

void Schedule::set_person(const std::string& channel, const std::string& sender, const Person& person) {
    database_.prepare("INSERT OR REPLACE INTO clocks(channel, sender, zone, quiet_from, quiet_until) VALUES(?, ?, ?, ?, ?)")
        .bind(channel)
        .bind(sender)
        .bind(person.zone)
        .bind(int64_t{person.quiet.from})
        .bind(int64_t{person.quiet.until})
        .run();
}

int64_t Schedule::add(const TaskRow& task) {
    int64_t id = 0;
    database_.transaction([&] {
        database_
            .prepare("INSERT INTO tasks(place, channel, sender, text, gate, changed, kept, zone, skip, state, next, hold, failures, began, "
                     "allowed, secret, digest, created) VALUES(?, ?, ?, '', '', 0, '', '', 0, 'done', 0, 0, 0, 0, 0, '', '', 0)")
            .bind(task.place)
            .bind(task.channel)
            .bind(task.sender)
            .run();
        TaskRow made = task;
        made.id = id = database_.last_row();
        made.secret = random_hex(8);
        save(made);
    });
    return id;
}

void Schedule::save(const TaskRow& task) {
    database_
        .prepare("UPDATE tasks SET text = ?, gate = ?, changed = ?, kept = ?, zone = ?, skip = ?, state = ?, next = ?, hold = ?, failures = ?, "
                 "began = ?, allowed = ?, secret = ?, digest = ?, created = ? WHERE id = ?")
        .bind(task.text)
        .bind(task.gate)
        .bind(int64_t{task.changed})
        .bind(task.kept)
        .bind(task.zone)
        .bind(int64_t{task.skip})
        .bind(task.state)
        .bind(task.next)
        .bind(task.hold)
        .bind(task.failures)
        .bind(task.began)
        .bind(int64_t{task.allowed})
        .bind(task.secret)
        .bind(task.digest)
        .bind(task.created)
        .bind(task.id)
        .run();
}

void Schedule::remove(int64_t id) {
    database_.transaction([&] {
        database_.prepare("DELETE FROM firings WHERE task = ?").bind(id).run();
        database_.prepare("DELETE FROM tasks WHERE id = ?").bind(id).run();
    });
}

std::optional<TaskRow> Schedule::task(int64_t id) {
    Statement query = database_.prepare("SELECT " TASK " FROM tasks WHERE id = ?");
    if (!query.bind(id).step()) return std::nullopt;
    return task_of_row(query);
}

std::vector<TaskRow> Schedule::tasks(int64_t place) {
    Statement query = database_.prepare("SELECT " TASK " FROM tasks WHERE (?1 = 0 OR place = ?1) AND state <> 'done' ORDER BY id");
    return rows_of(query.bind(place));
}

std::vector<TaskRow> Schedule::due(int64_t now) {
    Statement query = database_.prepare("SELECT " TASK " FROM tasks WHERE state = 'active' AND next > 0 AND next <= ?1 AND hold <= ?1 ORDER BY next, id");
    return rows_of(query.bind(now));
}

std::optional<int64_t> Schedule::next_due(int64_t now) {
    Statement query = database_.prepare(
        "SELECT min(due) FROM (SELECT max(next, hold) AS due FROM tasks WHERE state = 'active' AND next > 0 UNION ALL "
        "SELECT not_before / 1000 FROM deliveries WHERE state = 'quiet') WHERE due > ?");
    query.bind(now).step();
    const int64_t due = query.integer(0);
    return due > 0 ? std::optional(due) : std::nullopt;
}

std::vector<int64_t> Schedule::places_listening() {
    Statement query = database_.prepare("SELECT DISTINCT place FROM tasks WHERE state = 'active' AND kept LIKE 'ends %'");
    std::vector<int64_t> all;
    while (query.step()) all.push_back(query.integer(0));
    return all;
}

bool Schedule::listens(int64_t place) {
    Statement query = database_.prepare("SELECT 1 FROM tasks WHERE place = ? AND state = 'active' AND kept LIKE 'ends %'");
    return query.bind(place).step();
}

bool Schedule::fire(const TaskRow& task, int64_t due, const std::string& outcome, const std::string& text) {
    bool fired = false;
    database_.transaction([&] {
        const std::string key = "task:" + std::to_string(task.id) + ":" + std::to_string(due) + ":" + task.secret;
        Statement known = database_.prepare("SELECT 1 FROM firings WHERE task = ? AND due = ?");
        if (known.bind(task.id).bind(due).step()) return;
        known.run();
        int64_t arrival = 0;
        if (!text.empty()) {
            Statement insert = database_.prepare(
                "INSERT OR IGNORE INTO arrivals(channel, key, place, id, sender, name, text, state, verdict, rule) "
                "SELECT channel, ?, id, ?, '', 'task', ?, 'waiting', 'task', 'it was due' FROM places WHERE id = ? RETURNING row");
            insert.bind(key).bind("task " + std::to_string(task.id)).bind(text).bind(task.place);
            arrival = insert.step() ? insert.integer(0) : 0;
            insert.run();
            if (arrival == 0) return;
        }
        database_.prepare("INSERT INTO firings(task, due, outcome, arrival) VALUES(?, ?, ?, ?)")
            .bind(task.id)
            .bind(due)
            .bind(outcome)
            .bind(arrival)
            .run();
        database_
            .prepare("DELETE FROM firings WHERE task = ?1 AND outcome <> 'running' AND row <= (SELECT row FROM firings WHERE task = ?1 "
                     "ORDER BY row DESC LIMIT 1 OFFSET ?2)")
            .bind(task.id)
            .bind(kKept)
            .run();
        fired = true;
    });
    return fired;
}

void Schedule::end_firing(int64_t arrival, const std::string& outcome, const std::string& note) {
    database_.prepare("UPDATE firings SET outcome = ?, note = ? WHERE arrival = ? AND outcome = 'running'")
        .bind(outcome)
        .bind(note)
        .bind(arrival)
        .run();
}

std::vector<FiringRow> Schedule::history(int64_t task, int64_t most) {
    Statement query = database_.prepare("SELECT task, due, at, outcome, note, cost IS NOT NULL, cost FROM firings WHERE task = ? ORDER BY row DESC LIMIT ?");
    query.bind(task).bind(most);
    std::vector<FiringRow> rows;
    while (query.step()) {
        rows.push_back({query.integer(0), query.integer(1), query.integer(2), query.text(3), query.text(4), std::nullopt});
        if (query.integer(5)) rows.back().cost = query.integer(6);
    }
    return rows;
}

int64_t Schedule::due_of(int64_t arrival) {
    Statement query = database_.prepare("SELECT due FROM firings WHERE arrival = ?");
    return query.bind(arrival).step() ? query.integer(0) : 0;
}

void Schedule::set_words(int64_t arrival, const std::string& text) {
    database_.prepare("UPDATE arrivals SET text = ?, rule = 'it was due, and its gate let it pass' WHERE row = ?").bind(text).bind(arrival).run();
}

bool Schedule::passed_gate(int64_t arrival) {
    Statement query = database_.prepare("SELECT 1 FROM arrivals WHERE row = ? AND rule LIKE '%its gate let it pass'");
    return query.bind(arrival).step();
}

void Schedule::note_end(int64_t place, const std::string& turn, const std::string& status, const std::string& error, std::optional<int64_t> cost) {
    database_.prepare("INSERT OR IGNORE INTO ends(place, turn, status, error, cost) VALUES(?, ?, ?, ?, nullif(?, -1))")
        .bind(place)
        .bind(turn)
        .bind(status)
        .bind(error)
        .bind(cost.value_or(-1))
        .run();
}

std::vector<Schedule::Settled> Schedule::settle(int64_t place, const std::string& turn) {
    std::vector<Settled> settled;
    database_.transaction([&] {
        Statement query = database_.prepare(
            "SELECT f.row, f.task, e.status, e.error, coalesce(e.cost, -1), f.at - f.due FROM firings f JOIN arrivals a ON a.row = f.arrival "
            "JOIN ends e ON e.place = a.place AND e.turn = a.turn WHERE f.outcome = 'running' AND a.place = ? AND a.turn = ? AND a.state <> 'waiting'");
        query.bind(place).bind(turn);
        struct Found {
            int64_t row, cost, late;
            Settled what;
        };
        std::vector<Found> found;
        while (query.step()) found.push_back({query.integer(0), query.integer(4), query.integer(5), {query.integer(1), query.text(2), query.text(3)}});
        query.run();
        for (const Found& each : found) {
            const bool well = each.what.status == "done" || each.what.status == "waiting";
            database_.prepare("UPDATE firings SET outcome = ?, note = ?, cost = nullif(?, -1) WHERE row = ?")
                .bind(well ? (each.late > 60 ? "late" : "ok") : each.what.status == "stopped" ? "stopped" : "failed")
                .bind(each.what.error.substr(0, 300))
                .bind(each.cost)
                .bind(each.row)
                .run();
            settled.push_back(each.what);
        }
    });
    return settled;
}

std::optional<int64_t> Schedule::mean_cost(int64_t place) {
    for (const int64_t of : {place, int64_t{0}}) {
        Statement query = database_.prepare("SELECT count(cost), coalesce(sum(cost), 0) FROM ends WHERE ?1 = 0 OR place = ?1");
        query.bind(of).step();
        if (query.integer(0) > 0) return query.integer(1) / query.integer(0);
    }
    return std::nullopt;
}

std::optional<std::string> Schedule::asker(int64_t place, const std::string& turn) {
    Statement query = database_.prepare("SELECT sender FROM arrivals WHERE place = ? AND turn = ? AND verdict = 'admitted' ORDER BY row DESC LIMIT 1");
    if (!query.bind(place).bind(turn).step()) return std::nullopt;
    return query.text(0);
}

std::optional<int64_t> Schedule::task_of(int64_t place, const std::string& turn) {
    Statement query = database_.prepare(
        "SELECT f.task FROM arrivals a JOIN firings f ON f.arrival = a.row WHERE a.place = ? AND a.turn = ? AND a.verdict = 'task' LIMIT 1");
    if (!query.bind(place).bind(turn).step()) return std::nullopt;
    return query.integer(0);
}

bool Schedule::asks_now(int64_t place, const std::string& turn, const std::string& sender) {
    Statement query = database_.prepare("SELECT 1 FROM arrivals WHERE place = ? AND turn = ? AND sender = ? AND verdict = 'admitted' AND state = 'handed'");
    return query.bind(place).bind(turn).bind(sender).step();
}

bool Schedule::under_way(int64_t task) {
    Statement query = database_.prepare("SELECT 1 FROM firings f JOIN arrivals a ON a.row = f.arrival WHERE f.task = ? AND f.outcome = 'running' AND "
                                        "a.state IN ('waiting', 'handed')");
    return query.bind(task).step();
}

int64_t Schedule::told_lately(int64_t place) {
    Statement query = database_.prepare("SELECT count(*) FROM deliveries WHERE place = ? AND origin GLOB 'k:*' AND created > (unixepoch() - 3600) * 1000");
    query.bind(place).step();
    return query.integer(0);
}

void Schedule::hold(const std::string& origin, int64_t until) {
    database_.prepare("UPDATE deliveries SET state = 'quiet', not_before = ? WHERE origin = ? AND state = 'queued' AND part = 0 AND attempts = 0")
        .bind(until * 1000)
        .bind(origin)
        .run();
}

std::vector<std::string> Schedule::release(int64_t now) {
    std::vector<std::string> channels;
    Statement update = database_.prepare("UPDATE deliveries SET state = 'queued', not_before = 0 WHERE state = 'quiet' AND not_before <= ? RETURNING channel");
    update.bind(now * 1000);
    while (update.step())
        if (std::find(channels.begin(), channels.end(), update.text(0)) == channels.end()) channels.push_back(update.text(0));
    return channels;
}

void Schedule::release_place(int64_t place) {
    database_.prepare("UPDATE deliveries SET not_before = 0 WHERE state = 'quiet' AND place = ?").bind(place).run();
    database_.prepare("UPDATE tasks SET hold = 0 WHERE place = ?").bind(place).run();
}

void Schedule::shorten_quiet(int64_t now) {
    database_.prepare("UPDATE deliveries SET not_before = ?1 WHERE state = 'quiet' AND not_before > ?1").bind((now + 86'400) * 1000).run();
}

void Schedule::prune(int64_t days) {
    database_.prepare("DELETE FROM ends WHERE at < unixepoch() - ? * 86400").bind(3 * days).run();
    database_
        .prepare("DELETE FROM tasks WHERE state = 'done' AND id NOT IN (SELECT task FROM firings WHERE at > unixepoch() - ? * 86400)")
        .bind(days)
        .run();
    database_.prepare("DELETE FROM firings WHERE task NOT IN (SELECT id FROM tasks)").run();
}

std::string money_words(int64_t millionths) {
    if (millionths > 0 && millionths < 10'000) return "less than 0.01 USD";
    char text[40];
    std::snprintf(text, sizeof text, "%lld.%02lld USD", static_cast<long long>(millionths / 1'000'000),
                  static_cast<long long>(millionths / 10'000 % 100));
    return text;
}

}  // namespace peacrab
