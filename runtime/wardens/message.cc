// The tool `message`: decides, notes, stores, delivers. A message starts a turn of the other agent or steers
// the one that runs; in the audit it stands before it is there, one that is refused too.
#include <algorithm>

#include "error.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

constexpr const char* kDelivered = "delivered";

// Into the audit: who said how much to whom, never what; and what became of it.
bool note_route(Warden::State& state, const RunningTurn& turn, const std::string& to, const std::string& text,
                const std::string& verdict) {
    return state.recorded(json::Value::object({{"kind", "route"},
                                         {"from", turn.agent},
                                         {"to", shown_line(to, 40)},
                                         {"turn", turn_name(turn.id)},
                                         {"call", turn.calls.back().id},
                                         {"hop", state.store.hops(turn.id) + 1},
                                         {"bytes", text.size()},
                                         {"sha256", sha256_hex(text)},
                                         {"verdict", verdict}}),
                    verdict == kDelivered ? Audit::Until::Disk : Audit::Until::Page);
}

void deliver(Warden::State& state, const Delivery& delivery, const std::string& text) {
    const std::string channel = "agent:" + delivery.from();
    const std::string id = random_hex(16);
    const std::string marked = "Message from the agent " + delivery.from() +
                               ", not from the person:\n\n" + text;
    const SessionRow session = state.store.current_session(delivery.to(), channel);
    state.bury(session.id);
    const auto running = state.turns.find(session.id);
    const bool steers = running != state.turns.end();
    if (!steers && state.full()) throw Error("message: too many turns run at once");
    if (steers && !state.takes_more(running->second, marked)) throw Error("message: too much waits there");
    int64_t turn = steers ? running->second.id : 0;
    state.store.together([&] {
        if (!steers) turn = state.store.begin_turn(session.id);
        state.store.add_message(turn, channel, id, marked);
        state.store.add_sent(delivery.from(), delivery.to(), id, delivery.hops());
    });
    if (steers) return state.steer(running->second, {id, marked, turn});
    state.start_turn(session.id, delivery.to(), turn);
}

}  // namespace

// By policy, which may have found no message in it.
void message_refused(Warden::State& state, const RunningTurn& turn, const ToolCall& call, const std::string& why) try {
    const json::Value said = json::parse(call.arguments, {size_t{1} << 20, 4});
    note_route(state, turn, said.text("agent"), said.text("text"), "refused: " + why);
} catch (const Error&) {
    note_route(state, turn, {}, call.arguments, "refused: " + why);
}

std::optional<ToolResult> run_message(Warden::State& state, RunningTurn& turn, RunningCall&, Permit permit) {
    const std::string to = permit.arguments().text("agent"), text = permit.arguments().text("text");
    const std::string summary = "message: to " + shown_line(to, 40);
    auto decision = route(state.options.agents, {turn.agent, to, state.store.hops(turn.id),
                                           state.store.sent_in_the_last_hour(turn.agent, to)});
    if (json::dump(text).size() > Warden::kMaxMessage / 2 && std::holds_alternative<Delivery>(decision))
        decision = Denied{"message: too long: 64 KiB is safe; send the essence"};
    if (const Denied* denied = std::get_if<Denied>(&decision)) {
        note_route(state, turn, to, text, "refused: " + denied->why);
        return ToolResult{Outcome::Denied, denied->why, summary};
    }
    try {
        if (!note_route(state, turn, to, text, kDelivered))
            throw Error("message: the audit cannot be written");
        deliver(state, std::get<Delivery>(decision), text);
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        note_route(state, turn, to, text, std::string("not delivered: ") + error.what());
        return ToolResult{Outcome::Failed, "message: not delivered; try again later", summary};
    }
    return ToolResult{Outcome::Ok, "delivered. An answer comes only if " + to + " sends one.", summary};
}

}  // namespace peacrab
