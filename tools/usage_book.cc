// Looked at and written in one transaction: of several routes that ask at once none goes by what the others
// have not written yet. Must not fail open: what cannot be written down is not sent.
#include "usage_book.h"

#include <algorithm>

#include "error.h"

namespace peacrab {

UsageBook::UsageBook(const std::string& path, Spending spending)
    : database_(path, Durability::ProcessCrash) {
    budgets_.spending = std::move(spending);
}

std::string UsageBook::begin(const std::string& agent, ModelCall guess, Entry& entry) {
    entry.where = {agent};
    guess.estimated = true;
    entry.guess = spent_by(budgets_.spending, guess);
    entry.call = std::move(guess);
    std::string why;
    database_.transaction([&] {
        why = budgets_.refusal(entry.where);
        if (why.empty()) ledger().add(entry.where, entry.call.asked, entry.guess);
    });
    return why;
}

void UsageBook::settle(const Entry& entry, const ModelCount& count) {
    ModelCall call = entry.call;
    call.answered = json::valid_utf8(count.model.substr(0, 200));
    call.usage = count.usage;
    call.estimated = count.estimated;
    ledger().replace(entry.where, entry.call.asked, entry.guess, spent_by(budgets_.spending, call));
}

void UsageBook::cancel(const Entry& entry) {
    ledger().replace(entry.where, entry.call.asked, entry.guess, {});
}

bool UsageBook::give_more(const std::vector<std::string>& agents) {
    bool any = false;
    database_.transaction([&] {
        for (const std::string& agent : agents) any = budgets_.give_more({agent}) || any;
    });
    return any;
}

std::string UsageBook::today(const std::string& agent) {
    const Ledger::Scope scope = agent.empty() ? Ledger::Scope::Day : Ledger::Scope::Agent;
    const Ledger::Where where{agent};
    return in_words(ledger().spent(scope, where),
                    times(limit_of(budgets_.spending, scope, agent), ledger().given(scope, where)));
}

Spending UsageBook::raised() {
    Spending out = budgets_.spending;
    out.day = times(out.day, ledger().given(Ledger::Scope::Day, {}));
    for (auto& [agent, budget] : out.own)
        budget.day = times(budget.day, ledger().given(Ledger::Scope::Agent, {agent}));
    return out;
}

}  // namespace peacrab
