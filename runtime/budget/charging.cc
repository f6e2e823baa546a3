// The warden's part of money: each call of a model is written down, looked at against the limits of its turn,
// session, agent and day, and only then answered, so that a limit holds in the middle of a turn. A turn
// process may lie in its frames; what they hold is bounded here, and the host counts for itself.
#include <algorithm>

#include "budget/ledger.h"
#include "budget/usage_frame.h"
#include "channels/warden_wire.h"
#include "config/model_choice.h"
#include "error.h"
#include "protocols/servers.h"
#include "warden_state.h"

namespace peacrab {
namespace {

using Scope = Ledger::Scope;

constexpr const char* kGoOn = "Go on with what was interrupted: there is a new budget for it.";

Ledger::Where where_of(const RunningTurn& turn) {
    return {turn.agent, turn.session, turn.id};
}

// What an agent asks of itself is paid by the turn that asks.
int64_t payer_of(const Warden::State& state, const RunningTurn& turn) {
    return state.turns.count(turn.parent) ? turn.parent : turn.session;
}

// The part of its parent's budget that is a delegate's: it alone ends when that is gone.
std::string spent_of_portion(RunningTurn& turn, const Spent& spent) {
    Portion& portion = *turn.portion;
    portion.spent += spent;
    portion.newest = turn.partial;
    if (!exhausted(portion.limit, portion.spent)) return {};
    return "the budget of this delegate is spent: " + in_words(portion.spent, portion.limit);
}

}  // namespace

void Warden::State::open_budgets() {
    budgets = std::make_shared<Budgets>(
        store.database(), std::vector<Scope>{Scope::Turn, Scope::Session, Scope::Agent, Scope::Day});
}

void Warden::set_spending(const Spending& spending) {
    state_->budgets->spending = spending;
}

void Warden::State::charge(RunningTurn& turn, const json::Value& frame) {
    ModelCall call = call_from(frame);
    // Who would rather have been cheaper is believed only where another may have been asked.
    const std::vector<std::string>& others = options.model.fallback;
    if (std::find(others.begin(), others.end(), call.asked) == others.end()) call.asked = model_of(turn.agent);
    const ModelServer* const server = server_named(options.model.server);
    call.free = (server && server->quirks.local) || options.model.name == kDemoModel;
    RunningTurn& payer = turns.at(payer_of(*this, turn));
    const Ledger::Where where = where_of(payer);
    count_stored(turn, call.asked.size());
    const Spent spent = spent_by(budgets->spending, call);
    budgets->ledger.add(where, call.asked, spent);
    const Budgets::Verdict verdict = budgets->check(where);
    for (const std::string& warning : verdict.warnings)
        broadcast(payer.session, json::Value::object(
                                     {{"type", "notice"}, {"turn", turn_name(payer.id)}, {"text", warning}}));
    if (turn.portion) turn.over = spent_of_portion(turn, spent);
    for (RunningTurn* each : {&turn, &payer}) {  // who waits for a delegate would spend once more to hear of it
        if (!verdict.refusal.empty()) each->over = verdict.refusal;
        if (!each->over.empty()) ask_stop(*each);
    }
    turn.frames->send(json::Value::object({{"type", "go"}}));
}

std::string Warden::State::over_budget(const RunningTurn& turn) const {
    return budgets->refusal(where_of(turns.at(payer_of(*this, turn))));
}

void Warden::State::put_spent(json::Value& turn_done, int64_t turn) const {
    Spent spent;
    try {
        spent = budgets->ledger.spent(Scope::Turn, {{}, 0, turn});
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
    turn_done.set("input_tokens", sum(spent.input, sum(spent.cache_read, spent.cache_write)));
    turn_done.set("output_tokens", spent.output);
    if (spent.unpriced == 0 && spent.calls > 0) turn_done.set("cost", sum(spent.money, 999) / 1000);
}

json::Value Warden::State::spending_of(const Client& client) const {
    const auto running = turns.find(client.session);
    Ledger::Where where{client.agent, client.session};
    if (running != turns.end()) where.turn = running->second.id;
    return budgets->report(where);
}

std::string Warden::State::said_of(const Client& client, const std::string& text) {
    if (!is_more(text)) return text;
    Statement last = store.database().prepare(
        "SELECT status FROM turns WHERE session = ? ORDER BY id DESC LIMIT 1");
    last.bind(client.session);
    if (!last.step() || last.text(0) != "budget") return text;
    (void)budgets->give_more({client.agent, client.session});  // a turn's is the new turn's
    return kGoOn;
}

}  // namespace peacrab
