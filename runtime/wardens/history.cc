// What a client asks about conversations: which there are, one of them as text, a copy to go on from, the last
// turn or the last summary taken back.
//
// A turn is taken back in the warden's book; the next turn process is told, and writes it into the journal before
// anything else. So there is one write that counts, and a journal that was made up cannot undo anything but
// itself. What must read a journal is done by a turn process (sessions/work.h), one for each client.
#include "error.h"
#include "turn_process.h"
#include "warden_state.h"

namespace peacrab {

struct JournalWork {
    explicit JournalWork(Loop& the_loop) : loop(the_loop) {}
    ~JournalWork() {
        if (limit) loop.cancel(limit);
        frames.reset();
        process.kill_and_reap();
    }
    JournalWork(const JournalWork&) = delete;
    JournalWork& operator=(const JournalWork&) = delete;

    Loop& loop;
    std::string what;
    std::string agent;
    int64_t session = 0;
    int64_t made = 0;  // copy: the session that comes of it
    Pidfd process;
    std::unique_ptr<FramePort> frames;
    Loop::TimerId limit = 0;
    bool wanted = true;  // export: the client has had the part before
    bool ending = false;
};

namespace {

using State = Warden::State;
using ClientId = Warden::ClientId;

constexpr size_t kMostWorks = 8;
constexpr Seconds kWorkLimit{60};
constexpr size_t kMaxPart = kMaxFrame - KiB(4).count;  // as written in JSON

std::string journal_of(const State& state, const std::string& agent, int64_t session) {
    return state.agent_folder(agent) + "/sessions/" + session_name(session) + ".db";
}

void refuse(State& state, Client& client, const std::string& why) {
    state.send(client, json::Value::object({{"type", "refused"}, {"why", why}}));
}

// What became of it, as its client is told.
void tell_end(State& state, Client& client, const JournalWork& work, const std::string& why) {
    if (work.what == "export") {
        json::Value frame = json::Value::object({{"type", "exported"}});
        if (!why.empty()) frame.set("why", why);
        return state.send(client, frame);
    }
    if (!why.empty()) return refuse(state, client, why);
    if (work.what == "uncompact")
        return state.send(client, json::Value::object({{"type", "notice"},
                                                       {"text", "the last summary is taken back: with the next "
                                                                "message the model is shown what it stood for"}}));
    state.store.adopt(work.made, client.channel);
    client.session = work.made;
    state.send(client, json::Value::object({{"type", "session"},
                                            {"session", session_name(work.made)},
                                            {"from", session_name(work.session)}}));
}

// Called from callbacks of the work itself, so it goes away later.
void end_work(State& state, ClientId id, const std::string& why) {
    const auto found = state.works.find(id);
    if (found == state.works.end() || found->second->ending) return;
    found->second->ending = true;
    const auto client = state.clients.find(id);
    if (client != state.clients.end() && !client->second.gone) {
        try {
            tell_end(state, client->second, *found->second, why);
        } catch (const Error& error) {
            refuse(state, client->second, error.what());
        }
    }
    state.loop.after(Milliseconds(0), [&state, id, work = std::weak_ptr<JournalWork>(found->second)] {
        const auto still = state.works.find(id);
        if (still != state.works.end() && still->second == work.lock()) state.works.erase(still);
    });
}

void limit(State& state, ClientId id, JournalWork& work) {
    if (work.limit) state.loop.cancel(work.limit);
    work.limit = state.loop.after(kWorkLimit * state.options.cell.time_factor, [&state, id, &work] {
        work.limit = 0;
        end_work(state, id, "it took too long");
    });
}

void on_work(State& state, ClientId id, const json::Value& frame) {
    JournalWork& work = *state.works.at(id);
    const auto client = state.clients.find(id);
    const std::string type = frame.text("type");
    if (work.ending || client == state.clients.end()) return;
    if (type == "part") {
        if (work.what != "export" || !std::exchange(work.wanted, false)) throw Error("frame: part: not asked for");
        if (json::dump(frame.at("text")).size() > kMaxPart) throw Error("frame: part: too long");
        if (work.limit) state.loop.cancel(std::exchange(work.limit, 0));  // the client may take its time
        return state.send(client->second, json::Value::object({{"type", "part"}, {"text", frame.text("text")}}));
    }
    if (type == "notice")
        return state.send(client->second, json::Value::object(
                                              {{"type", "notice"}, {"text", shown_line(frame.text("text"), 500)}}));
    if (type != "done") throw Error("frame: " + type + ": not in this work");
    const std::string why = shown_line(frame.text("error"), 500);
    end_work(state, id, frame.text("status") == "done" ? "" : why.empty() ? "it failed" : why);
}

// `form`: of an export.
void start_work(State& state, ClientId id, const std::string& what, const SessionRow& session,
                const std::string& form) {
    Client& client = state.clients.at(id);
    const auto before = state.works.find(id);
    if (before != state.works.end() && before->second->ending) state.works.erase(before);
    if (state.works.contains(id)) return refuse(state, client, "one thing at a time: wait for what you asked for");
    if (state.works.size() >= kMostWorks) return refuse(state, client, "too much is asked for at once; try again");
    state.prepare_agent(session.agent);
    const auto work = std::make_shared<JournalWork>(state.loop);
    work->what = what;
    work->agent = session.agent;
    work->session = session.id;
    json::Value frame = json::Value::object({{"type", "work"},
                                             {"what", what},
                                             {"agent", session.agent},
                                             {"session", session_name(session.id)},
                                             {"journal", journal_of(state, session.agent, session.id)},
                                             {"undone", state.undone_turns(session.id)}});
    if (!form.empty()) frame.set("form", form);
    if (what == "copy") {
        work->made = state.store.fork(session.id);
        frame.set("to", journal_of(state, session.agent, work->made));
    }
    // Its model route leads nowhere: our end of it is closed with `process`.
    TurnProcess process = spawn_turn(state.turn_ids(session.agent), TurnRoute::Given,
                                     state.agent_folder(session.agent) + "/sessions");
    work->process = std::move(process.process);
    work->frames = std::make_unique<FramePort>(
        state.loop, std::move(process.frames), Dialect::TurnToWarden, Dialect::WardenToTurn,
        FramePort::Handlers{[&state, id](const json::Value& said) { on_work(state, id, said); },
                            [&state, id](const std::string& why) { end_work(state, id, "it ended early: " + why); }});
    state.works[id] = work;
    limit(state, id, *work);
    work->frames->send(frame);
}

void undo(State& state, Client& client) {
    const std::optional<MessageRow> last = state.store.last_turn(client.session);
    if (!last) return refuse(state, client, "there is nothing to undo");
    json::Value event = json::Value::object({{"type", "undone"},
                                             {"turn", turn_name(last->turn)},
                                             {"text", shown_line(last->text, 200)}});
    const bool done = state.kept([&] {
        state.store.together([&] {
            state.store.undo_turn(client.session, last->turn);
            state.close_question(client.session, Outcome::Interrupted);  // it was that turn's
            state.store.add_event(client.session, 0, event);
        });
    });
    if (!done) return refuse(state, client, "it could not be stored");
    state.recorded(json::Value::object({{"kind", "undo"},
                                        {"agent", client.agent},
                                        {"session", session_name(client.session)},
                                        {"turn", turn_name(last->turn)}}));
    state.broadcast(client.session, event);
}

// The agent a client names. Throws Error.
std::string known_agent(const State& state, const json::Value& frame) {
    std::string agent = frame.text("agent");
    if (!state.options.agents.find(agent))
        throw Error("no such agent: " + shown_line(agent, 40) + "; there are: " + state.options.agents.names());
    return agent;
}

// The session a client means without being in one. Throws Error.
SessionRow meant(State& state, const json::Value& frame) {
    const std::string agent = known_agent(state, frame);
    const std::string name = frame.text("session");
    const std::optional<SessionRow> session =
        name.empty() ? state.store.newest_session(agent, "terminal") : state.store.session(parse_name(name, 's'));
    if (!session || session->agent != agent || session->channel.empty())
        throw Error(name.empty() ? "no conversation yet" : "no such session: " + shown_line(name, 40));
    return *session;
}

void list(State& state, Client& client, const std::string& agent) {
    json::Value rows = state.store.sessions(agent);
    for (json::Value& row : rows.items()) {
        row.set("id", session_name(row.integer("id")));
        row.set("words", shown_line(row.text("words"), 120));
        if (const int64_t from = row.integer("from"))
            row.set("from", session_name(from));
        else
            row.erase("from");
    }
    state.send(client, json::Value::object({{"type", "sessions"}, {"rows", rows}}));
}

}  // namespace

json::Value Warden::State::undone_turns(int64_t session) {
    json::Value names = json::Value::array();
    for (const int64_t turn : store.undone(session)) names.push(turn_name(turn));
    return names;
}

void Warden::State::end_works(const std::string& agent) {
    std::vector<ClientId> ended;
    for (const auto& [id, work] : works)
        if (work->agent == agent) ended.push_back(id);
    for (const ClientId id : ended) {
        end_work(*this, id, "the agent was removed");
        works.erase(id);
    }
}

void Warden::State::on_history(ClientId id, const json::Value& frame) {
    Client& client = clients.at(id);
    const std::string type = frame.text("type");
    try {
        if (type == "more") {
            const auto work = works.find(id);
            if (work == works.end() || work->second->ending || std::exchange(work->second->wanted, true)) return;
            limit(*this, id, *work->second);
            return work->second->frames->send(json::Value::object({{"type", "more"}}));
        }
        if (type == "sessions") return list(*this, client, known_agent(*this, frame));
        if (type == "export") {
            const std::string form = frame.text("form");
            if (form != "jsonl" && form != "md") throw Error("an export is jsonl or md");
            return start_work(*this, id, "export", meant(*this, frame), form);
        }
        bury(client.session);
        if (turns.contains(client.session)) throw Error("a turn is running: stop it first, or wait for it");
        if (const std::string why = refusal(client.agent); !why.empty()) throw Error(why);
        if (type == "undo" && frame.text("what") != "summary") return undo(*this, client);
        start_work(*this, id, type == "fork" ? "copy" : "uncompact",
                   {client.session, client.agent, client.channel}, {});
    } catch (const Error& error) {
        refuse(*this, client, error.what());
    }
}

}  // namespace peacrab
