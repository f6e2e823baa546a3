// One row for each turn, model and day, one for each scope that was given more. Sums are made here and not by
// SQLite, which fails when one is too great. Must not decide what happens to who has spent too much.
#include "budget/ledger.h"

#include <algorithm>
#include <ctime>

namespace peacrab {
namespace {

const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS spent(day INTEGER NOT NULL, agent TEXT NOT NULL, session INTEGER NOT NULL,
    turn INTEGER NOT NULL, model TEXT NOT NULL, calls INTEGER NOT NULL, input INTEGER NOT NULL,
    output INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, money INTEGER NOT NULL,
    unpriced INTEGER NOT NULL, estimated INTEGER NOT NULL, PRIMARY KEY(day, agent, session, turn, model))
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spent_by_turn ON spent(turn);
CREATE INDEX IF NOT EXISTS spent_in_session ON spent(session);
CREATE TABLE IF NOT EXISTS given(scope TEXT PRIMARY KEY, times INTEGER NOT NULL, warned INTEGER NOT NULL)
    WITHOUT ROWID;
)";

#define COUNTS "calls, input, output, cache_read, cache_write, money, unpriced, estimated"

constexpr int64_t Spent::*kParts[] = {&Spent::calls,       &Spent::input, &Spent::output,   &Spent::cache_read,
                                      &Spent::cache_write, &Spent::money, &Spent::unpriced, &Spent::estimated};

Spent read_counts(const Statement& row, int first) {
    Spent spent;
    for (const auto part : kParts) spent.*part = row.integer(first++);
    return spent;
}

// What a scope is called in the table `given`.
std::string key_of(Ledger::Scope scope, const Ledger::Where& where) {
    switch (scope) {
        case Ledger::Scope::Turn:
            return "turn " + std::to_string(where.turn);
        case Ledger::Scope::Session:
            return "session " + std::to_string(where.session);
        case Ledger::Scope::Agent:
            return "day " + std::to_string(where.day) + " " + where.agent;
        case Ledger::Scope::Day:
            return "day " + std::to_string(where.day);
    }
    return {};
}

std::string name_of(Ledger::Scope scope, const std::string& agent) {
    switch (scope) {
        case Ledger::Scope::Turn:
            return "this turn";
        case Ledger::Scope::Session:
            return "this conversation";
        case Ledger::Scope::Agent:
            return "the agent " + agent + " today (UTC)";
        case Ledger::Scope::Day:
            return "all agents today (UTC)";
    }
    return {};
}

}  // namespace

Ledger::Ledger(Database& database) : database_(database) {
    database_.run(kSchema);
}

int64_t Ledger::today() {
    return std::max<int64_t>(0, std::time(nullptr)) / 86'400;
}

void Ledger::add(const Where& where, const std::string& model, const Spent& spent) {
    replace(where, model, {}, spent);
}

void Ledger::replace(const Where& where, const std::string& model, const Spent& estimate, const Spent& count) {
    database_.transaction([&] {
        Statement query = database_.prepare("SELECT " COUNTS
                                            " FROM spent WHERE day = ? AND agent = ? AND session = ? AND turn = ? "
                                            "AND model = ?");
        query.bind(where.day).bind(where.agent).bind(where.session).bind(where.turn).bind(model);
        Spent now;
        if (query.step()) now = read_counts(query, 0);
        query.run();
        for (const auto part : kParts) now.*part -= std::min(now.*part, estimate.*part);
        now += count;
        Statement write = database_.prepare("INSERT OR REPLACE INTO spent(day, agent, session, turn, model, " COUNTS
                                            ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        write.bind(where.day).bind(where.agent).bind(where.session).bind(where.turn).bind(model);
        for (const auto part : kParts) write.bind(now.*part);
        write.run();
    });
}

Spent Ledger::read(Statement& query) {
    Spent all;
    while (query.step()) all += read_counts(query, 0);
    return all;
}

Spent Ledger::spent(Scope scope, const Where& where) {
    const auto rows = [this](const char* sql) { return database_.prepare(sql); };
    Statement query = scope == Scope::Turn      ? rows("SELECT " COUNTS " FROM spent WHERE turn = ?")
                      : scope == Scope::Session ? rows("SELECT " COUNTS " FROM spent WHERE session = ?")
                      : scope == Scope::Day     ? rows("SELECT " COUNTS " FROM spent WHERE day = ?")
                                                : rows("SELECT " COUNTS " FROM spent WHERE day = ? AND agent = ?");
    query.bind(scope == Scope::Turn ? where.turn : scope == Scope::Session ? where.session : where.day);
    if (scope == Scope::Agent) query.bind(where.agent);
    return read(query);
}

int64_t Ledger::given(Scope scope, const Where& where) {
    Statement query = database_.prepare("SELECT times FROM given WHERE scope = ?");
    query.bind(key_of(scope, where));
    return query.step() ? query.integer(0) : 0;
}

bool Ledger::give_more(Scope scope, const Where& where, const Limit& limit) {
    const Spent now = spent(scope, where);
    const int64_t before = given(scope, where);
    if (!exhausted(times(limit, before), now)) return false;
    // With a limit of nothing there is nothing to give again.
    int64_t more = before + 1;
    if (limit.money > 0) more = std::max(more, now.weight() / limit.money);
    if (limit.tokens > 0) more = std::max(more, now.tokens() / limit.tokens);
    if (limit.money == 0 || limit.tokens == 0) return false;
    database_
        .prepare("INSERT INTO given(scope, times, warned) VALUES(?, ?, 0) ON CONFLICT(scope) DO UPDATE SET times = "
                 "excluded.times")
        .bind(key_of(scope, where))
        .bind(more)
        .run();
    return true;
}

void Ledger::note_warning(const Standing& now, const Where& where) {
    database_
        .prepare("INSERT INTO given(scope, times, warned) VALUES(?, 0, ?) ON CONFLICT(scope) DO UPDATE SET warned = "
                 "excluded.warned")
        .bind(key_of(now.scope, where))
        .bind(now.given + 1)
        .run();
}

// Once through the rows of the session, of which the turn's are some, and through those of the day, of which
// the agent's are. Of the host's book, which knows no sessions, only the latter.
void Ledger::sum_up(std::vector<Standing>& scopes, const Where& where) {
    Statement query = database_.prepare("SELECT turn = ?, 1, 0, 0, " COUNTS " FROM spent WHERE session = ? UNION ALL "
                                        "SELECT 0, 0, agent = ?, 1, " COUNTS " FROM spent WHERE day = ?");
    query.bind(where.turn).bind(where.session ? where.session : -1).bind(where.agent).bind(where.day);
    while (query.step()) {
        const Spent row = read_counts(query, 4);
        for (Standing& one : scopes)
            if (query.integer(static_cast<int>(one.scope))) one.spent += row;
    }
}

std::vector<Ledger::Standing> Ledger::look(const std::vector<Scope>& scopes, const Where& where) {
    std::vector<Standing> all;
    Statement query = database_.prepare("SELECT scope, times, warned FROM given WHERE scope IN (?, ?, ?, ?)");
    for (const Scope scope : scopes) {
        all.push_back({scope});
        query.bind(key_of(scope, where));
    }
    sum_up(all, where);
    while (query.step())
        for (Standing& one : all) {
            if (query.text(0) != key_of(one.scope, where)) continue;
            one.given = query.integer(1);
            one.warned = query.integer(2);
        }
    return all;
}

std::vector<Ledger::Row> Ledger::days(int64_t from) {
    Statement query = database_.prepare("SELECT day, agent, model, " COUNTS
                                        " FROM spent WHERE day >= ? ORDER BY day, agent, model");
    query.bind(from);
    std::vector<Row> rows;
    while (query.step()) {
        Row row{query.integer(0), query.text(1), query.text(2), read_counts(query, 3)};
        const bool same = !rows.empty() && rows.back().day == row.day && rows.back().agent == row.agent &&
                          rows.back().model == row.model;
        if (same)
            rows.back().spent += row.spent;
        else
            rows.push_back(std::move(row));
    }
    return rows;
}

Limit limit_of(const Spending& spending, Ledger::Scope scope, const std::string& agent) {
    switch (scope) {
        case Ledger::Scope::Turn:
            return spending.of(agent).turn;
        case Ledger::Scope::Session:
            return spending.of(agent).session;
        case Ledger::Scope::Agent:
            return spending.of(agent).day;
        case Ledger::Scope::Day:
            return spending.day;
    }
    return {};
}

Limit times(const Limit& limit, int64_t given) {
    const int64_t all = sum(given, 1);
    return {product(limit.money, all), product(limit.tokens, all)};
}

bool exhausted(const Limit& limit, const Spent& spent) {
    return (limit.money != kNoLimit && spent.weight() >= limit.money) ||
           (limit.tokens != kNoLimit && spent.tokens() >= limit.tokens);
}

bool nearly(const Limit& limit, const Spent& spent) {
    return (limit.money != kNoLimit && spent.weight() >= limit.money - limit.money / 5) ||
           (limit.tokens != kNoLimit && spent.tokens() >= limit.tokens - limit.tokens / 5);
}

std::string in_words(const Spent& spent, const Limit& limit) {
    if (limit == kLifted) return in_words(spent);
    std::string out = limit.money == kNoLimit ? grouped(spent.tokens()) + " tokens" : in_usd(spent.money);
    if (limit.money != kNoLimit && spent.unpriced)
        out += " and " + grouped(spent.unpriced) + " tokens whose price is not known, counted as " +
               in_usd(product(spent.unpriced, kUnknownPrice));
    if (limit.money != kNoLimit && limit.tokens != kNoLimit) out += ", " + grouped(spent.tokens()) + " tokens";
    return out + " of " + in_words(limit);
}

std::vector<Ledger::Standing> Budgets::look(const Ledger::Where& where) {
    std::vector<Standing> all = ledger.look(scopes_, where);
    for (Standing& one : all) one.limit = times(limit_of(spending, one.scope, where.agent), one.given);
    return all;
}

std::string Budgets::refusal_of(const std::vector<Standing>& all, const std::string& agent) {
    for (const Standing& one : all)
        if (exhausted(one.limit, one.spent))
            return "the budget of " + name_of(one.scope, agent) + " is spent: " + in_words(one.spent, one.limit) +
                   (one.limit.money > 0 && one.limit.tokens > 0 ? "; answer `more` to allow as much again" : "");
    return {};
}

std::string Budgets::refusal(const Ledger::Where& where) {
    return refusal_of(look(where), where.agent);
}

Budgets::Verdict Budgets::check(const Ledger::Where& where) {
    const std::vector<Standing> all = look(where);
    Verdict verdict{refusal_of(all, where.agent), {}};
    for (const Standing& one : all) {
        if (one.warned > one.given || !nearly(one.limit, one.spent) || exhausted(one.limit, one.spent)) continue;
        ledger.note_warning(one, where);
        verdict.warnings.push_back("80 % of the budget of " + name_of(one.scope, where.agent) + " is spent: " +
                                   in_words(one.spent, one.limit));
    }
    return verdict;
}

Limit Budgets::for_delegate(const Ledger::Where& where, const Limit& asked) {
    Limit left = kLifted;
    for (const Standing& one : look(where)) left = least(left, left_of(one.limit, one.spent));
    return least(asked, least(left, spending.of(where.agent).delegate.value_or(half_of(left))));
}

bool Budgets::give_more(const Ledger::Where& where) {
    bool any = false;
    for (const Scope scope : scopes_)
        any = ledger.give_more(scope, where, limit_of(spending, scope, where.agent)) || any;
    return any;
}

json::Value Budgets::report(const Ledger::Where& where) {
    json::Value rows = json::Value::array();
    for (const Standing& one : look(where)) {
        json::Value row = json::Value::object({{"scope", name_of(one.scope, where.agent)},
                                               {"calls", one.spent.calls},
                                               {"tokens", one.spent.tokens()},
                                               {"spent", in_words(one.spent)},
                                               {"limit", in_words(one.limit)}});
        if (one.spent.unpriced == 0) row.set("cost", one.spent.money / 1000);
        rows.push(std::move(row));
    }
    return rows;
}

}  // namespace peacrab
