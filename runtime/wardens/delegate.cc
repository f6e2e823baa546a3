// The tool `delegate`: a turn of the same agent in a session of its own, whose answer is the call's result. It has
// a place of its own beside the turns that others start, so that who waits for it never keeps it from running.
// It ends with the turn that asked for it, and what it spends and stores counts there; of what that one may spend
// it has a portion, which is gone with it.
#include <algorithm>

#include "budget/ledger.h"
#include "error.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

constexpr std::ptrdiff_t kMostAtOnce = 4;
constexpr size_t kHead = size_t{24} << 10, kTail = size_t{8} << 10;  // of an answer
constexpr size_t kMaxSaid = size_t{128} << 10;  // of what comes before it, the newest
constexpr const char* kTask =
    "A part of your own work, given to you in a conversation of its own. Nobody can be asked. Only your last "
    "answer goes back: it must hold all that is needed.\n\nThe task:\n";

std::string clipped(const std::string& text) {
    if (text.size() <= kHead + kTail) return text;
    const auto part = [&](size_t at, size_t most) { return json::valid_utf8(std::string_view(text).substr(at, most)); };
    return part(0, kHead) + "\n[... " + std::to_string(text.size() - kHead - kTail) +
           " bytes left out; have long answers written to a file ...]\n" + part(text.size() - kTail, kTail);
}

// Its last words, as they were shown.
std::string answer_of(WardenStore& store, const RunningTurn& turn) {
    const WardenStore::Events events = store.events({turn.session, 0, turn.id}, 100, MiB(2));
    for (auto event = events.frames.rbegin(); event != events.frames.rend(); ++event)
        if (event->text("type") == "reply") return event->text("text");
    return {};
}

// What it was about to say counts as said.
void end_step(Portion& portion) {
    if (!portion.newest.empty()) portion.said += std::exchange(portion.newest, {}) + "\n";
    if (portion.said.size() > kMaxSaid) portion.said.erase(0, portion.said.size() - kMaxSaid);
}

// For the model: what it can do about it.
std::string unfinished(const std::string& status, const std::string& error) {
    if (status != "budget") return "it did not finish: " + error;
    return "it did not finish: " + error + "; what it changed in the workspace stands. Go on from there yourself";
}

ToolResult result_of(WardenStore& store, const RunningTurn& turn, const std::string& status,
                     const std::string& error) try {
    if (status == "stopped")
        return {Outcome::Interrupted, "stopped; what it changed in the workspace stands", "stopped"};
    const std::string answer = clipped(answer_of(store, turn));
    if (status == "done") return {Outcome::Ok, answer, std::to_string(answer.size()) + " bytes"};
    end_step(*turn.portion);
    const std::string said = answer.empty() ? json::valid_utf8(clipped(turn.portion->said)) : answer;
    return {Outcome::Failed, unfinished(status, error) + (said.empty() ? "" : "\n\nWhat it had said so far:\n" + said),
            shown_line(error, 200)};
} catch (const Error&) {
    return {Outcome::Failed, "its answer could not be read; what it changed in the workspace stands", "no answer"};
}

}  // namespace

bool Warden::State::full() const {
    const auto own = std::count_if(turns.begin(), turns.end(),
                                   [](const auto& each) { return each.second.parent == 0; });
    return own >= std::ptrdiff_t{kMaxTurns};
}

RunningTurn* Warden::State::child_of(const RunningCall& call) {
    const auto found = turns.find(call.child);
    return call.child == 0 || found == turns.end() ? nullptr : &found->second;
}

// The person sees that something goes on: a line for each of its calls, which is not kept.
void Warden::State::note_step(const RunningTurn& turn, const std::string& summary) {
    end_step(*turn.portion);
    const auto parent = turns.find(turn.parent);
    if (parent == turns.end()) return;
    broadcast(turn.parent, json::Value::object({{"type", "notice"},
                                                {"turn", turn_name(parent->second.id)},
                                                {"text", "    delegate: " + summary}}));
}

void Warden::State::delegate_ended(const RunningTurn& turn, const std::string& status, const std::string& error) {
    const auto parent = turns.find(turn.parent);
    if (parent != turns.end())
        finish_call(parent->second, turn.parent_call, result_of(store, turn, status, error));
}

std::optional<ToolResult> run_delegate(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit) try {
    const auto running = std::count_if(state.turns.begin(), state.turns.end(),
                                       [](const auto& each) { return each.second.parent != 0; });
    if (running >= kMostAtOnce)
        return ToolResult{Outcome::Denied, "delegate: too many run already; do it yourself", "too many"};
    Limit asked = kLifted;
    if (permit.arguments().find("budget")) parse_limit(permit.arguments().text("budget"), asked);
    const Portion portion{state.budgets->for_delegate({turn.agent, turn.session, turn.id}, asked)};
    if (exhausted(portion.limit, {}))
        return ToolResult{Outcome::Denied, "delegate: too little is left of the budget for it; do it yourself",
                          "too little is left of the budget"};
    const std::string task = kTask + permit.arguments().text("task");
    state.count_stored(turn, task.size());
    int64_t session = 0, id = 0;
    state.store.together([&] {
        session = state.store.new_session(turn.agent, kDelegated).id;
        id = state.store.begin_turn(session);
        state.store.add_message(id, kDelegated, random_hex(16), task);
    });
    RunningTurn& child = state.turns[session];
    child.parent = turn.session;
    child.parent_call = call.number;
    child.portion = std::make_shared<Portion>(portion);
    call.child = session;
    state.start_turn(session, turn.agent, id);  // when that fails it has ended, and the call with it
    if (const auto begun = state.turns.find(session); begun != state.turns.end() && begun->second.id == 0) {
        state.turns.erase(begun);
        throw Error("its task could not be read");
    }
    return std::nullopt;
} catch (const Error& error) {
    return ToolResult{Outcome::Failed, std::string("delegate: not begun: ") + error.what(),
                      shown_line(error.what(), 200)};
}

}  // namespace peacrab
