// What the warden's book (store.h) knows of sessions over time: which there are, which goes on from which, and
// which turns were taken back. All of it is the warden's own word; no journal is asked.
#include "store.h"

namespace peacrab {
json::Value WardenStore::sessions(const std::string& agent) {
    Statement query = database_.prepare(
        "WITH chosen AS (SELECT id, channel FROM sessions WHERE agent = ? AND channel <> '' "
        "ORDER BY id DESC LIMIT 500), "
        "counted AS (SELECT c.id, c.channel, count(t.id) AS turns, coalesce(min(t.started), 0) AS began, "
        "coalesce(max(coalesce(t.ended, t.started)), 0) AS last, min(t.id) AS first FROM chosen c "
        "LEFT JOIN turns t ON t.session = c.id AND t.id NOT IN (SELECT turn FROM undone WHERE session = c.id) "
        "GROUP BY c.id) "
        "SELECT k.id, k.channel, k.turns, k.began, k.last, coalesce((SELECT substr(text, 1, 200) FROM inbox "
        "WHERE turn = k.first ORDER BY arrival LIMIT 1), ''), coalesce(f.parent, 0) FROM counted k "
        "LEFT JOIN forks f ON f.session = k.id ORDER BY k.id DESC");
    query.bind(agent);
    json::Value rows = json::Value::array();
    while (query.step())
        rows.push(json::Value::object({{"id", query.integer(0)},
                                       {"channel", query.text(1)},
                                       {"turns", query.integer(2)},
                                       {"began", query.integer(3)},
                                       {"last", query.integer(4)},
                                       {"words", json::valid_utf8(query.text(5))},
                                       {"from", query.integer(6)}}));
    return rows;
}

std::optional<SessionRow> WardenStore::newest_session(const std::string& agent, const std::string& channel) {
    Statement query =
        database_.prepare("SELECT id FROM sessions WHERE agent = ? AND channel = ? ORDER BY id DESC LIMIT 1");
    query.bind(agent).bind(channel);
    if (!query.step()) return std::nullopt;
    return SessionRow{query.integer(0), agent, channel};
}

int64_t WardenStore::fork(int64_t session) {
    int64_t made = 0;
    database_.transaction([&] {
        database_.prepare("INSERT INTO sessions(agent, channel) SELECT agent, '' FROM sessions WHERE id = ?")
            .bind(session)
            .run();
        made = database_.last_row();
        database_
            .prepare("INSERT INTO forks(session, parent, upto) SELECT ?, ?, coalesce(max(id), 0) FROM turns")
            .bind(made)
            .bind(session)
            .run();
        database_.prepare("INSERT INTO undone(session, turn) SELECT ?, turn FROM undone WHERE session = ?")
            .bind(made)
            .bind(session)
            .run();
    });
    return made;
}

void WardenStore::adopt(int64_t session, const std::string& channel) {
    database_.prepare("UPDATE sessions SET channel = ? WHERE id = ?").bind(channel).bind(session).run();
}

std::optional<MessageRow> WardenStore::last_turn(int64_t session) {
    Statement query = database_.prepare(
        "WITH RECURSIVE line(session, upto) AS (SELECT ?1, 9223372036854775807 UNION ALL "
        "SELECT f.parent, min(f.upto, line.upto) FROM forks f JOIN line ON f.session = line.session) "
        "SELECT t.id, coalesce((SELECT text FROM inbox WHERE turn = t.id ORDER BY arrival LIMIT 1), '') "
        "FROM turns t JOIN line ON t.session = line.session AND t.id <= line.upto WHERE t.status <> 'running' "
        "AND t.id NOT IN (SELECT turn FROM undone WHERE session = ?1) ORDER BY t.id DESC LIMIT 1");
    query.bind(session);
    if (!query.step()) return std::nullopt;
    return MessageRow{{}, query.text(1), query.integer(0)};
}

void WardenStore::undo_turn(int64_t session, int64_t turn) {
    database_.prepare("INSERT OR IGNORE INTO undone(session, turn) VALUES(?, ?)").bind(session).bind(turn).run();
}

std::vector<int64_t> WardenStore::undone(int64_t session) {
    Statement query = database_.prepare("SELECT turn FROM undone WHERE session = ? ORDER BY turn DESC LIMIT 1000");
    query.bind(session);
    std::vector<int64_t> turns;
    while (query.step()) turns.push_back(query.integer(0));
    return turns;
}

}  // namespace peacrab
