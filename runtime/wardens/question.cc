// The tool `ask_user`: a question that outlives its turn, and everybody's crash. It is an event and, in the same
// step to the disk, the outcome "waiting" of its call; nothing else keeps it, and no process waits. What the
// person says next in the session closes it in the step that stores what they said; so does the clock, which
// speaks as a message of its own, some times in a row. Which call that answers is told to the next turn; its journal knows whether
// it has the answer already.
#include <algorithm>
#include <ctime>

#include "error.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

constexpr int64_t kPatience = 86'400;  // seconds, unless the call says otherwise
constexpr int64_t kMostLate = 10;      // turns in a row that the clock begins in a session
constexpr int64_t kLook = 60;          // seconds: the clock may be set, and the machine may sleep

struct Question {
    int64_t row = 0;
    int64_t session = 0;
    std::string agent;
    json::Value arguments;
    int64_t left = 0;  // seconds
};

// Checked by policy before they were stored.
int64_t patience(const json::Value& arguments) {
    return arguments.integer("timeout", kPatience);
}

std::vector<Question> open_questions(Database& database) {
    Statement query = database.prepare(
        "SELECT c.row, t.session, s.agent, c.arguments, c.started - unixepoch() FROM calls c "
        "JOIN turns t ON t.id = c.turn JOIN sessions s ON s.id = t.session "
        "WHERE c.name = 'ask_user' AND c.outcome = 'waiting' ORDER BY c.row");
    std::vector<Question> all;
    while (query.step()) {
        Question question{query.integer(0), query.integer(1), query.text(2), json::parse(query.text(3)), 0};
        question.left = query.integer(4) + patience(question.arguments);
        all.push_back(std::move(question));
    }
    return all;
}

std::string nobody_answered(const json::Value& arguments) {
    const std::string otherwise = arguments.text("default");
    if (otherwise.empty())
        return "Nobody answered in time. Go on without an answer where that is safe; else end, and say what is "
               "missing.";
    return "Nobody answered in time. Go on with the default: " + otherwise;
}

// How often nobody has answered since the person last said something: a model must not keep itself going.
int64_t late_in_a_row(Database& database, int64_t session) {
    Statement query = database.prepare(
        "SELECT count(*) FROM inbox i JOIN turns t ON t.id = i.turn WHERE t.session = ?1 AND "
        "i.channel = 'question' AND i.arrival > (SELECT coalesce(max(p.arrival), 0) FROM inbox p "
        "JOIN turns u ON u.id = p.turn WHERE u.session = ?1 AND p.channel <> 'question')");
    query.bind(session).step();
    return query.integer(0);
}

// False: not now.
bool answer_for_nobody(Warden::State& state, const Question& question) {
    // No model: the host has not yet said who there is.
    if (state.model_of(question.agent).empty() || !state.refusal(question.agent).empty() || state.full() || state.turns.contains(question.session))
        return false;
    if (late_in_a_row(state.store.database(), question.session) >= kMostLate) return false;
    int64_t turn = 0;
    state.store.together([&] {
        turn = state.store.begin_turn(question.session);
        state.close_question(question.session, Outcome::TimedOut);
        state.store.add_message(turn, "question", "late:" + std::to_string(question.row),
                                nobody_answered(question.arguments));
    });
    state.start_turn(question.session, question.agent, turn);
    return true;
}

}  // namespace

void Warden::State::watch_questions() {
    loop.cancel(std::exchange(question_timer, 0));
    if (options.recovery != WardenOptions::Recovery::Report) return;  // they are another warden's
    int64_t next = kLook;
    bool any = false;
    kept([&] {
        for (const Question& question : open_questions(store.database())) {
            if (question.left <= 0 && answer_for_nobody(*this, question)) continue;
            any = true;
            next = std::min(next, std::max<int64_t>(question.left, 1));
        }
    });
    if (any) question_timer = loop.after(Seconds(next), [this] { watch_questions(); });
}

bool Warden::State::waits(int64_t turn) {
    Statement query = store.database().prepare(
        "SELECT 1 FROM calls WHERE turn = ? AND name = 'ask_user' AND outcome = 'waiting'");
    return query.bind(turn).step();
}

void Warden::State::close_question(int64_t session, Outcome how) {
    store.database()
        .prepare("UPDATE calls SET outcome = ?, ended = unixepoch() WHERE name = 'ask_user' AND "
                 "outcome = 'waiting' AND turn IN (SELECT id FROM turns WHERE session = ?)")
        .bind(outcome_name(how))
        .bind(session)
        .run();
}

// The newest that was asked in the session, answered or not.
void Warden::State::put_asked(json::Value& start, int64_t session) {
    Statement query = store.database().prepare(
        "SELECT t.id, c.call, c.outcome FROM calls c JOIN turns t ON t.id = c.turn WHERE t.session = ? AND "
        "c.name = 'ask_user' AND c.outcome IN ('waiting', 'ok', 'timed out') ORDER BY c.row DESC LIMIT 1");
    query.bind(session);
    if (!query.step()) return;
    start.set("asked", json::Value::object({{"turn", turn_name(query.integer(0))},
                                            {"call", query.text(1)},
                                            {"late", query.text(2) == outcome_name(Outcome::TimedOut)}}));
}

std::optional<ToolResult> run_ask_user(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit) {
    if (turn.handed.size() > turn.took)
        return ToolResult{Outcome::Denied,
                          "ask_user: not asked: the person has said something meanwhile; read it first",
                          "not asked: something was said meanwhile"};
    const json::Value& arguments = permit.arguments();
    json::Value frame = json::Value::object({{"type", "question"},
                                             {"turn", turn_name(turn.id)},
                                             {"call", call.id},
                                             {"text", arguments.text("question")},
                                             {"until", int64_t{::time(nullptr)} + patience(arguments)}});
    for (const std::string& choice : choices_in(arguments.text("choices"))) {
        if (!frame.find("choices")) frame.set("choices", json::Value::array());
        frame.find("choices")->push(choice);
    }
    if (const std::string otherwise = arguments.text("default"); !otherwise.empty())
        frame.set("default", otherwise);
    state.count_stored(turn, json::dump(frame).size());
    if (!state.show(turn.session, turn.id, frame, [&] { state.store.call_done(call.row, Outcome::Waiting); }))
        return ToolResult{Outcome::Failed, "ask_user: not asked: it could not be stored", "not stored"};
    turn.asked = true;
    state.ask_stop(turn);  // nothing more may come of it, and it must not stay
    state.watch_questions();
    return ToolResult{Outcome::Waiting, {}, "asked"};
}

}  // namespace peacrab
