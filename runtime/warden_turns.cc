// Turns and their tool calls: spawn, hand over, authorise, write down, execute, write down, answer,
// end. What is allowed is decided in policy.cc; what runs, runs in a cell. An end is only marked in
// a callback and carried out by a timer of 0 ms, because it destroys what the callback came from.
#include <unistd.h>

#include <algorithm>

#include "error.h"
#include "cells/mechanism.h"
#include "turn_process.h"
#include "warden_state.h"
#include "wardens/hooks.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

// So that all of one turn's calls take up a small part of the audit, whose oldest files go.
constexpr size_t kCallStored = size_t{64} << 10;
constexpr Seconds kStopGrace{10};                 // from "stop" to SIGKILL of the turn process
constexpr Milliseconds kDeafGrace{500};           // of one that has closed its ears: its last words
// Said to a turn and not yet taken by it; in JSON it may be six times as much, and must fit its port.
constexpr size_t kMaxWaiting = 100, kMaxWaitingBytes = size_t{1} << 20;
constexpr size_t kMostCalls = 4;  // at once, of those that only read
constexpr size_t kMaxReply = kMaxFrame - KiB(4).count;  // as written in JSON

}  // namespace

std::string memory_of(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/status";
    std::string memory;
    for (const std::string& line : split(read_file_if_exists(path, KiB(64)).value_or(""), '\n'))
        for (const char* name : {"VmHWM:", "RssAnon:"})
            if (line.starts_with(name))
                memory += std::string(memory.empty() ? "" : ", ") + name +
                          line.substr(line.find_first_of("0123456789") - 1);
    return memory;
}

void Warden::State::report_interrupted() {
    // A full disk must not keep us from starting: it is from inside that it is made empty.
    kept([&] {
        for (const TurnRow& turn : store.running_turns()) store.together([&] { interrupt(turn); });
    });
}

void Warden::State::interrupt(const TurnRow& turn) {
    std::string what;
    const std::string status = waits(turn.id) ? "waiting" : "interrupted";
    for (const CallRow& call : store.open_calls(turn.id)) {
        store.call_done(call.row, Outcome::Interrupted);
        what += (what.empty() ? "; not finished, and not run again: " : ", ") + call.summary;
        json::Value done = json::Value::object({{"type", "tool_done"},
                                                {"turn", turn_name(turn.id)},
                                                {"call", call.id},
                                                {"outcome", outcome_name(Outcome::Interrupted)},
                                                {"summary", call.summary},
                                                {"ms", 0}});
        store.add_event(turn.session, turn.id, done);
    }
    json::Value end =
        json::Value::object({{"type", "turn_done"},
                             {"turn", turn_name(turn.id)},
                             {"status", status},
                             {"ms", 0}});
    if (status == "interrupted")
        end.set("error", "the machine or its agent stopped while this turn ran" + what +
                             ". Say what should happen next");
    put_spent(end, turn.id);
    store.add_event(turn.session, turn.id, end);
    store.end_turn(turn.id, status);
}

json::Value Warden::State::start_frame(const RunningTurn& turn) {
    json::Value frame = json::Value::object(
        {{"type", "start"},
         {"turn", turn_name(turn.id)},
         {"agent", turn.agent},
         {"session", session_name(turn.session)},
         {"journal", agent_folder(turn.agent) + "/sessions/" + session_name(turn.session) + ".db"},
         {"workspace", options.cell.workspace},
         {"base_url", options.base_url}});
    ModelSettings model = options.model;
    model.name = model_of(turn.agent);
    put_model(frame, model);
    if (const AgentSettings* agent = options.agents.find(turn.agent); agent && !agent->rules.empty())
        frame.set("rules", agent->rules);
    if (options.skills) frame.set("skills", options.skills(*options.agents.find(turn.agent)));
    const ToolSet tools = tools_of(turn);
    frame.set("cell", tools.cell);
    frame.set("with", partner_name(tools.with));
    const bool first = store.turn_count(turn.session) == 1;  // then there is nothing before it to look for
    if (!first) put_asked(frame, turn.session);
    for (const std::string& name : tools.may_message) {
        if (!frame.find("may_message")) frame.set("may_message", json::Value::array());
        frame.find("may_message")->push(name);
    }
    if (!options.open_model && !options.key.empty()) frame.set("key", options.key.reveal());
    for (const MessageRow& row : first ? std::vector<MessageRow>() : store.messages_before(turn.id)) {
        if (!frame.find("earlier")) frame.set("earlier", json::Value::array());
        frame.find("earlier")->push(
            json::Value::object({{"turn", turn_name(row.turn)}, {"text", row.text}}));
    }
    if (const json::Value undone = undone_turns(turn.session); !undone.items().empty()) frame.set("undone", undone);
    frame.set("messages", json::Value::array({turn.handed.front().text + news_for(turn.agent)}));
    return frame;
}

// What ended in the background meanwhile: told with the next that a turn of the agent hears of us.
std::string Warden::State::news_for(const std::string& agent) const {
    const auto found = places.find(agent);
    return found == places.end() ? "" : found->second->background.news_of_ends();
}

TurnProcess Warden::State::begin_turn_of(const std::string& agent, const std::optional<Ids>& ids) const {
    return begin_turn(ids, options.open_model ? TurnRoute::Given : TurnRoute::Own, agent_folder(agent) + "/sessions");
}

TurnProcess Warden::State::turn_process(const std::string& agent) {
    if (!options.begun || agent != options.begun->agent) return started(begin_turn_of(agent, turn_ids(agent)));
    TurnProcess begun = std::move(options.begun->process);
    options.begun.reset();
    return started(std::move(begun));
}

void Warden::State::start_turn(int64_t session, const std::string& agent, int64_t id) {
    std::vector<MessageRow> messages;
    kept([&] { messages = store.messages(id); });
    if (messages.empty()) return;
    RunningTurn& turn = turns[session];
    turn.id = id;
    turn.session = session;
    turn.agent = agent;
    turn.handed = {messages.front()};
    show(session, id,
         json::Value::object(
             {{"type", "turn_start"}, {"turn", turn_name(id)}, {"text", messages.front().text}}));
    try {
        if (const std::string why = refusal(agent); !why.empty()) throw Error(why);
        if (turn.over = over_budget(turn); !turn.over.empty()) return end_turn(turn, "budget", turn.over, {});
        use_mechanisms_of(agent);
        prepare_agent(agent);
        TurnProcess process = turn_process(agent);
        turn.process = std::move(process.process);
        turn.stop = std::move(process.stop);
        turn.model = std::move(process.model);
        turn.frames = std::make_unique<FramePort>(
            loop, std::move(process.frames), Dialect::TurnToWarden, Dialect::WardenToTurn,
            FramePort::Handlers{
                [this, session](const json::Value& frame) { on_turn(turns.at(session), frame); },
                [this, session](const std::string& why) {
                    end_turn(turns.at(session), "failed",
                             "the turn process ended unexpectedly (" + shown_line(why, 200) +
                                 "); the conversation is kept, say it again",
                             {});
                }});
        if (turn.model) {
            set_nonblocking(turn.model.get());
            loop.watch(turn.model.get(), POLLIN, [this, session](short) { on_model(session); });
        }
        turn.frames->send(start_frame(turn));
    } catch (const Error& error) {
        return end_turn(turn, "failed", std::string("the turn could not start: ") + error.what(),
                        {});
    }
    for (size_t i = 1; i < messages.size(); ++i) steer(turn, messages[i]);
}

bool Warden::State::takes_more(const RunningTurn& turn, const std::string& text) const {
    size_t bytes = text.size();
    for (size_t i = turn.took; i < turn.handed.size(); ++i) bytes += turn.handed[i].text.size();
    return turn.handed.size() - turn.took < kMaxWaiting && bytes <= kMaxWaitingBytes;
}

void Warden::State::steer(RunningTurn& turn, const MessageRow& message) {
    turn.handed.push_back(message);
    if (turn.asked) return;  // it is the answer, and the next turn's
    turn.frames->send(json::Value::object({{"type", "steer"}, {"text", message.text}}));
}

// What a turn has us write down is bounded: a turn process that was taken over must not fill the
// disk through us, who may use its last blocks. Each row is taken to cost 1 KiB beside its text.
void Warden::State::count_stored(RunningTurn& turn, size_t bytes) {
    turn.stored += bytes + 1024;
    if (const auto parent = turns.find(turn.parent); parent != turns.end()) count_stored(parent->second, bytes);
    const std::string sessions = agent_folder(turn.agent) + "/sessions";
    if (turn.stored > options.hold_journals(sessions, store.slot(turn.agent)).count)
        throw Error("turn: it has more written down than one turn may");
}

// The turn process wants one more connection to the model.
void Warden::State::on_model(int64_t session) {
    RunningTurn& turn = turns.at(session);
    char byte;
    const ssize_t n = ::read(turn.model.get(), &byte, 1);
    try {
        if (n == 1) {
            // Our end does not block: who takes nothing of what it asks for loses the route.
            const UniqueFd stream = options.open_model(turn.agent, session_name(session));
            return send_fd(turn.model.get(), stream.get());
        }
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
    loop.forget(turn.model.get());  // closed: the turn sees that the route has gone
    turn.model.reset();
}

void Warden::State::on_delta(RunningTurn& turn, const json::Value& frame) {
    const std::string text = frame.text("text");
    // A client that comes back sees this; beyond the bound it sees the end of it in the reply.
    if (turn.partial.size() + text.size() <= size_t{128} << 10) turn.partial += text;
    broadcast(turn.session, json::Value::object(
                                {{"type", "delta"}, {"turn", turn_name(turn.id)}, {"text", text}}));
}

void Warden::State::on_turn(RunningTurn& turn, const json::Value& frame) {
    const std::string type = frame.text("type");
    const std::string name = turn_name(turn.id);
    if (turn.ending) return;
    if (type == "delta") {
        on_delta(turn, frame);
    } else if (type == "restart") {
        turn.partial.clear();
        broadcast(turn.session, json::Value::object({{"type", "restart"}, {"turn", name}}));
    } else if (type == "tool") {
        on_tool(turn, frame);
    } else if (type == "usage") {
        charge(turn, frame);
    } else if (type == "notice") {
        broadcast(turn.session, json::Value::object({{"type", "notice"},
                                                     {"turn", name},
                                                     {"text", shown_line(frame.text("text"), 500)}}));
    } else if (type == "took") {
        const int64_t count = frame.integer("count");
        if (count < 0 || turn.took + static_cast<size_t>(count) > turn.handed.size())
            throw Error("frame: took: more messages than were handed over");
        for (int64_t i = 0; i < count; ++i) turn.handed[turn.took++].text = {};
    } else if (type == "reply") {
        turn.partial.clear();
        count_stored(turn, frame.text("text").size());
        const std::string text = frame.text("text");
        // As we write it it may be longer. What is stored must fit a frame, or nobody could attach.
        if (json::dump(text).size() > kMaxReply) throw Error("frame: reply: too long");
        show(turn.session, turn.id,
             json::Value::object({{"type", "reply"}, {"turn", name}, {"text", text}}));
    } else if (type == "done") {
        const std::string status = frame.text("status");
        const bool known = status == "done" || status == "stopped" || status == "budget";
        if (options.turn_ids) turn_memory = memory_of(turn.process.pid());
        end_turn(turn, known ? status : "failed", shown_line(frame.text("error"), 4000), frame);
    }
}

void Warden::State::ask_stop(RunningTurn& turn) {
    if (turn.stopping || turn.ending) return;
    turn.stopping = true;
    const bool listens = turn.stop && ::write(turn.stop.get(), "", 1) == 1;
    for (RunningCall& call : turn.calls) {
        if (call.run) call.run->cancel();
        if (RunningTurn* child = child_of(call)) ask_stop(*child);
    }
    const int64_t session = turn.session;
    const Milliseconds grace = listens ? kStopGrace * options.cell.time_factor : kDeafGrace;
    turn.timer = loop.after(grace, [this, session] {
        const auto running = turns.find(session);
        if (running == turns.end() || running->second.ending) return;
        running->second.timer = 0;
        end_turn(running->second, "stopped", {}, {});
    });
}

void Warden::State::end_turn(RunningTurn& turn, const std::string& status, const std::string& error,
                             const json::Value& done) {
    if (turn.ending) return;
    if (turn.asked && status != "waiting") return end_turn(turn, "waiting", {}, done);
    if (!turn.asked && !turn.over.empty() && status != "done" && error != turn.over)
        return end_turn(turn, "budget", turn.over, done);
    turn.ending = true;
    for (RunningCall& call : turn.calls) {  // the turn ended under its own calls
        call.run.reset();
        if (RunningTurn* child = child_of(call)) {
            child->parent = 0;
            end_turn(*child, "stopped", {}, {});
        }
        show_call_done(turn, call, {Outcome::Interrupted, {}, {}});
    }
    turn.calls.clear();
    const auto span = std::chrono::steady_clock::now() - turn.since;
    json::Value frame = json::Value::object(
        {{"type", "turn_done"}, {"turn", turn_name(turn.id)}, {"status", status}});
    if (!error.empty()) frame.set("error", error);
    if (done.flag("model_down")) frame.set("model_down", true);
    if (const std::string model = done.text("model"); !model.empty())
        frame.set("model", shown_line(model, 200));
    put_spent(frame, turn.id);
    frame.set("ms", std::chrono::duration_cast<Milliseconds>(span).count());
    const auto ended = [&] { store.end_turn(turn.id, status); };
    if (!show(turn.session, turn.id, frame, ended)) kept(ended);
    if (turn.parent) delegate_ended(turn, status, error);
    const int64_t session = turn.session;
    loop.cancel(turn.timer);
    turn.timer = loop.after(Milliseconds(0), [this, session] { bury(session); });
}

// Frees an ended turn; what was said to it and not taken becomes the next one.
void Warden::State::bury(int64_t session) {
    const auto found = turns.find(session);
    if (found == turns.end() || !found->second.ending) return;
    RunningTurn turn = std::move(found->second);
    turns.erase(found);
    loop.cancel(turn.timer);
    if (turn.model) loop.forget(turn.model.get());
    turn.frames.reset();
    turn.process.kill_and_reap();
    requeue(turn);
}

void Warden::State::requeue(const RunningTurn& turn) {
    // The message a turn began with is answered by its end, however it ended.
    const size_t first = std::max<size_t>(turn.took, 1);
    if (first >= turn.handed.size()) return;
    int64_t next = 0;
    const bool moved = kept([&] {
        store.together([&] {
            next = store.begin_turn(turn.session);
            close_question(turn.session, Outcome::Ok);
            for (size_t i = first; i < turn.handed.size(); ++i)
                store.move_message(turn.handed[i].id, turn.id, next);
        });
    });
    if (moved) start_turn(turn.session, turn.agent, next);
}

void Warden::State::open_audit() {
    try {
        audit.emplace(options.state + "/audit");
        audit_complaint = audit->complaint();
    } catch (const Error& error) {
        audit_complaint = std::string("no tools: ") + error.what();
    }
    if (!audit_complaint.empty()) log(LogLevel::Error, audit_complaint);
}

bool Warden::State::recorded(const json::Value& record, Audit::Until until) {
    if (!audit) open_audit();  // the disk may have been full
    return audit && kept([&] { audit->append(record, until); });
}

json::Value Warden::State::call_record(const char* kind, const RunningTurn& turn,
                                       const RunningCall& call) const {
    return json::Value::object({{"kind", kind},
                                {"agent", turn.agent},
                                {"session", session_name(turn.session)},
                                {"turn", turn_name(turn.id)},
                                {"call", call.id},
                                {"tool", call.name}});
}

// Written down before anything happens, in the store and in the audit; what cannot be written down
// does not happen.
bool Warden::State::begin_call(RunningTurn& turn, RunningCall& running, const ToolCall& call,
                               const Denied* denied) {
    const json::Value shown = json::Value::object({{"type", "tool"},
                                                   {"turn", turn_name(turn.id)},
                                                   {"call", call.id},
                                                   {"name", shown_line(call.name, 128)},
                                                   {"summary", running.summary}});
    const bool stored = show(turn.session, turn.id, shown, [&] {
        running.row = store.call_started(turn.id, call.id, call.name, call.arguments,
                                         running.summary);
    });
    if (turn.parent) note_step(turn, running.summary);
    json::Value record = call_record("before", turn, running);
    record.set("arguments", sha256_hex(call.arguments));
    record.set("decision", denied ? "denied: " + denied->why : std::string("allowed"));
    const bool noted = recorded(record, denied || options.durability != Durability::PowerLoss
                                            ? Audit::Until::Page
                                            : Audit::Until::Disk);
    return stored && noted;
}

void Warden::State::on_tool(RunningTurn& turn, const json::Value& frame) {
    if (turn.asked) throw Error("frame: tool: the turn waits for the person");
    const ToolCall call = unwrapped({frame.text("id").substr(0, 128), frame.text("name").substr(0, 128),
                                     frame.text("arguments")});
    const bool alone = !reads_only(call.name) || std::any_of(turn.calls.begin(), turn.calls.end(),
                                                        [](const RunningCall& one) {
                                                            return !reads_only(one.name);
                                                        });
    if (turn.calls.size() >= (alone ? 1 : kMostCalls)) throw Error("frame: tool: one call at a time");
    use_mechanisms_of(turn.agent);
    count_stored(turn, kCallStored + frame.text("arguments").size());
    turn.partial.clear();
    RunningCall& running = turn.calls.emplace_back();
    running.number = next_call++;
    running.id = call.id;
    running.name = call.name;
    running.summary = describe_call(call);
    std::variant<Permit, Denied> decision = authorise(call, tools_of(turn));
    const Denied* denied = std::get_if<Denied>(&decision);
    const auto finish = [&](const ToolResult& result) { finish_call(turn, running.number, result); };
    if (!begin_call(turn, running, call, denied))
        return finish({Outcome::Failed,
                       "not run: it could not be written down first; the disk may be full",
                       running.summary});
    if (denied) own_tool_refused(*this, turn, call, denied->why);
    if (denied) return finish({Outcome::Denied, denied->why, running.summary});
    run_hooked(*this, turn, running, call, std::move(std::get<Permit>(decision)));
}

void Warden::State::run_call(RunningTurn& turn, RunningCall& call, Permit permit) {
    const int64_t session = turn.session;
    const uint64_t number = call.number;
    try {
        call.run = std::make_unique<ToolRun>(loop, place(turn.agent), std::move(permit),
                                             [this, session, number](const ToolResult& result) {
                                                 finish_call(turns.at(session), number, result);
                                             });
    } catch (const Error& error) {
        finish_call(turn, number, {Outcome::Failed, std::string("not run: ") + error.what(),
                                   shown_line(error.what(), 200)});
    }
}

void Warden::State::show_call_done(const RunningTurn& turn, const RunningCall& call,
                                   const ToolResult& result) {
    const auto span = std::chrono::steady_clock::now() - call.since;
    json::Value record = call_record("after", turn, call);
    record.set("outcome", outcome_name(result.outcome));
    if (!result.exit.empty()) record.set("exit", result.exit);
    record.set("bytes", result.bytes);
    if (!result.limit.empty()) record.set("limit", result.limit);
    if (result.untrusted) record.set("untrusted", true);
    recorded(record);
    show(turn.session, turn.id,
         json::Value::object({{"type", "tool_done"},
                              {"turn", turn_name(turn.id)},
                              {"call", call.id},
                              {"outcome", outcome_name(result.outcome)},
                              {"summary", shown_line(result.summary, 200)},
                              {"ms", std::chrono::duration_cast<Milliseconds>(span).count()}}),
         [&] {
             if (call.row) store.call_done(call.row, result.outcome);
         });
}

RunningCall* RunningTurn::call(uint64_t number) {
    for (RunningCall& one : calls)
        if (one.number == number) return &one;
    return nullptr;
}

void Warden::State::finish_call(RunningTurn& turn, uint64_t number, const ToolResult& result) {
    RunningCall* const call = turn.call(number);
    if (!call || hooks_after(*this, turn, *call, result)) return;
    show_call_done(turn, *call, result);
    const std::string id = call->id;
    turn.calls.remove_if([&](const RunningCall& one) { return &one == call; });
    if (!turn.frames) return;
    json::Value frame = json::Value::object({{"type", "tool_result"},
                                             {"id", id},
                                             {"outcome", outcome_name(result.outcome)},
                                             {"text", result.text + news_for(turn.agent)}});
    if (!result.picture.empty()) frame.set("picture", result.picture);
    turn.frames->send(frame);
}

}  // namespace peacrab
