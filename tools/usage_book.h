// What a machine's agents have spent, as the host counts it: off the wire, where no guest can lie. In the
// machine's folder; every model route writes it, and asks it before a request goes out.
#pragma once

#include <string>

#include "budget/ledger.h"
#include "llm.h"

namespace peacrab {

class UsageBook {
  public:
    // Makes the file when there is none. Throws Error, as everything here.
    UsageBook(const std::string& path, Spending spending);

    // One request on its way. What it could cost at most is written down before a byte of it goes out, and
    // stays when nobody lives to replace it.
    struct Entry {
        Ledger::Where where;
        ModelCall call;  // as it was guessed
        Spent guess;
    };
    // "" and the entry; or the one sentence that refuses it. Whose request it is, is the guest's word: a name
    // that is none of `spending`'s machine is counted like any other, and all of them together are bounded.
    std::string begin(const std::string& agent, ModelCall guess, Entry& entry);
    void settle(const Entry& entry, const ModelCount& count);
    void cancel(const Entry& entry);  // nobody took it: nothing was spent

    // Whatever is used up today of these agents, and of all together, is given as much again.
    bool give_more(const std::vector<std::string>& agents);
    std::string today(const std::string& agent);  // "0.42 USD of 10 USD"; "" as agent: all
    Spending raised();  // the limits of today, with what was given

    Ledger& ledger() { return budgets_.ledger; }

  private:
    Database database_;
    Budgets budgets_{database_, {Budgets::Scope::Agent, Budgets::Scope::Day}};
};

}  // namespace peacrab
