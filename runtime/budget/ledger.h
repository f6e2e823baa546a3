// What was spent and what may be: a book in SQLite, of a warden (turns, sessions, agents, days) or of a
// machine on the host (agents, days). Every call is written down before anybody goes on; nothing is ever
// taken off but an estimate that a count replaces. Days are those of UTC.
#pragma once

#include <string>
#include <vector>

#include "budget/spending.h"
#include "store.h"

namespace peacrab {

class Ledger {
  public:
    // Makes its tables in `database`, which is not owned. Throws Error, as everything here.
    explicit Ledger(Database& database);

    enum class Scope { Turn, Session, Agent, Day };
    // Whose spending it is. The host knows of no turns and sessions.
    struct Where {
        std::string agent;
        int64_t session = 0;
        int64_t turn = 0;
        int64_t day = today();
    };
    static int64_t today();  // days since 1970-01-01, UTC

    void add(const Where& where, const std::string& model, const Spent& spent);
    // In one step: the estimate that was added is gone, the count is there.
    void replace(const Where& where, const std::string& model, const Spent& estimate, const Spent& count);
    Spent spent(Scope scope, const Where& where);

    // How often a scope was given as much again, and that it is given it once more: so often that something
    // is left. False: there was something left.
    int64_t given(Scope scope, const Where& where);
    bool give_more(Scope scope, const Where& where, const Limit& limit);

    // A scope as it stands.
    struct Standing {
        Scope scope;
        Spent spent = {};
        int64_t given = 0;
        int64_t warned = 0;  // of which amount it was said that most of it is gone: the first is 1
        Limit limit = {};    // with what was given; only Budgets knows
    };
    // In two queries, whatever the scopes.
    std::vector<Standing> look(const std::vector<Scope>& scopes, const Where& where);
    void note_warning(const Standing& now, const Where& where);

    struct Row {
        int64_t day = 0;
        std::string agent;
        std::string model;
        Spent spent;
    };
    std::vector<Row> days(int64_t from);  // from that day on, by day, agent and model

  private:
    Spent read(Statement& query);
    void sum_up(std::vector<Standing>& scopes, const Where& where);
    Database& database_;
};

// The limits of a scope, as often as they were given.
Limit limit_of(const Spending& spending, Ledger::Scope scope, const std::string& agent);
Limit times(const Limit& limit, int64_t given);
bool exhausted(const Limit& limit, const Spent& spent);
bool nearly(const Limit& limit, const Spent& spent);  // 80 %
// "5.02 USD of 5 USD", in what the limit is counted in; without a limit what it cost.
std::string in_words(const Spent& spent, const Limit& limit);

// What one delegated turn may spend, while it runs; all of it counts in the scopes of the turn that asked, too.
struct Portion {
    Limit limit;
    Spent spent = {};
    std::string said = {};    // in the steps that are over
    std::string newest = {};  // in this one, as of its last call of a model
};

// The ledger with the limits: what the warden and the host ask it.
class Budgets {
  public:
    using Scope = Ledger::Scope;
    // `scopes`: those that are bounded here.
    Budgets(Database& database, std::vector<Scope> scopes) : ledger(database), scopes_(std::move(scopes)) {}

    // One sentence for the person when nothing more may be spent, else "".
    std::string refusal(const Ledger::Where& where);
    struct Verdict {
        std::string refusal;                // as above
        std::vector<std::string> warnings;  // a sentence for each scope of which 80 % are gone, once
    };
    Verdict check(const Ledger::Where& where);
    // What a turn that is delegated now may spend: as the configuration says, never more than is left of any
    // scope, and no more than was asked for.
    Limit for_delegate(const Ledger::Where& where, const Limit& asked);
    // Every scope that is used up is given as much again. False: none was.
    bool give_more(const Ledger::Where& where);
    // {scope, calls, tokens, cost?, limit} of each scope, for people.
    json::Value report(const Ledger::Where& where);

    Ledger ledger;
    Spending spending;

  private:
    using Standing = Ledger::Standing;
    std::vector<Standing> look(const Ledger::Where& where);
    static std::string refusal_of(const std::vector<Standing>& all, const std::string& agent);
    std::vector<Scope> scopes_;
};

}  // namespace peacrab
