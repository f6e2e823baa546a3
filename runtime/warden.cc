// The warden's clients: who is attached where, what they said, what they are shown. What each frame
// means stands in runtime/README.md. Callbacks of ports and commands never destroy what they were
// called from: ends are carried out by a timer of 0 ms (warden_turns.cc).
#include "warden.h"

#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "warden_state.h"

namespace peacrab {
namespace {

// Of the events a client missed it is shown so many. What waits for a client is bounded by its port
// (LinkPort::kMaxQueued), and more than that would cut it off each time it comes.
constexpr size_t kReplayLimit = 500;
constexpr Bytes kReplaySize = MiB(2);

}  // namespace

std::string turn_name(int64_t id) {
    return "t" + std::to_string(id);
}
std::string session_name(int64_t id) {
    return "s" + std::to_string(id);
}

int64_t parse_name(const std::string& name, char letter) {
    if (name.size() < 2 || name.size() > 16 || name[0] != letter) return 0;
    int64_t number = 0;
    for (size_t i = 1; i < name.size(); ++i) {
        if (name[i] < '0' || name[i] > '9') return 0;
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

Warden::State::State(Loop& the_loop, WardenOptions the_options)
    : loop(the_loop),
      options(std::move(the_options)),
      store(options.state + "/warden.db", options.durability) {
    open_audit();
    open_budgets();
    if (options.recovery == WardenOptions::Recovery::Report) report_interrupted();
    if (options.recovery == WardenOptions::Recovery::Report) sweep([](const std::string&) {});
    question_timer = loop.after(Milliseconds(0), [this] { watch_questions(); });
}

std::string Warden::State::agent_folder(const std::string& agent) const {
    return options.state + "/agents/" + agent;
}

void Warden::State::send(Client& client, const json::Value& frame) {
    if (!client.gone) client.end.send(write_frame(Dialect::WardenToClient, frame));
}

void Warden::State::prepare_agent(const std::string& agent) {
    const std::string folder = agent_folder(agent);
    make_directories(folder, 0711);
    const std::string sessions = folder + "/sessions";
    make_directories(sessions, 0700);
    const std::optional<Ids> ids = turn_ids(agent);
    if (!ids) return;
    // The folder is closed to other agents' turn processes: a home is readable for all.
    if (::chmod(options.state.c_str(), 0711) < 0 || ::chown(folder.c_str(), 0, ids->gid) < 0 ||
        ::chmod(folder.c_str(), 0710) < 0 || ::chown(sessions.c_str(), ids->uid, ids->gid) < 0)
        throw ErrnoError("warden: give the journals to their turn process");
    (void)options.hold_journals(sessions, store.slot(agent));
}

CellOptions Warden::State::cell_options(const std::string& agent) {
    const AgentSettings* const settings = options.agents.find(agent);
    if (!settings) throw Error("warden: there is no agent " + agent);
    CellOptions own = options.cell;
    own.agent = agent;
    own.slot = store.slot(agent);
    own.limits = settings->limits;
    if (own.place == CellOptions::Place::Cell) own.folder = agent_folder(agent);
    return own;
}

Workplace& Warden::State::place(const std::string& agent) {
    std::unique_ptr<Workplace>& place = places[agent];
    if (place) return *place;
    WarmHooks hooks;
    hooks.built = [this, agent](Cell& cell) {
        const std::string posture = cell.posture().text();
        if (!recorded(json::Value::object({{"kind", "posture"},
                                           {"agent", agent},
                                           {"posture", posture},
                                           {"probes", cell.posture().probes},
                                           {"sha256", sha256_hex(posture)}})))
            throw Error("the audit cannot be written");
        if (options.cell_here) options.cell_here(agent, cell.proxy());
    };
    hooks.going = [this, agent] {
        if (options.cell_gone) options.cell_gone(agent);
    };
    const auto ended = [this, agent](const std::string& line) {
        recorded(json::Value::object(
            {{"kind", "background ended"}, {"agent", agent}, {"outcome", line}}));
        tell_of_end(agent);
    };
    place = std::make_unique<Workplace>(loop, cell_options(agent), std::move(hooks), ended);
    if (options.open_search) place->web.open_search = [this, agent] { return options.open_search(agent); };
    return *place;
}

json::Value Warden::State::background_of(const std::string& agent) const {
    json::Value rows = json::Value::array();
    for (const auto& [name, place] : places)
        if (agent.empty() || agent == name) place->background.add_rows(rows, name);
    return rows;
}

// Who talks to it is in its session's channel, which nobody but us gives.
ToolSet Warden::State::tools_of(const RunningTurn& turn) {
    const std::string channel = store.session(turn.session).value_or(SessionRow{}).channel;
    const Partner with = channel.empty() || channel == kDelegated ? Partner::Delegate
                         : channel.starts_with("agent:")          ? Partner::Agent
                                                                  : Partner::Person;
    return {options.cell.place == CellOptions::Place::Cell,
            options.agents.reachable_from(turn.agent), with};
}

std::string Warden::State::posture(const std::string& agent) {
    std::string text;
    try {
        text = place(agent).cell.enter().cell().posture().text();
    } catch (const Error& error) {
        text = std::string("no tools: ") + error.what();
    }
    return audit_complaint.empty() ? text : text + "; " + audit_complaint;
}

void Warden::State::broadcast(int64_t session, const json::Value& frame) {
    const std::string line = write_frame(Dialect::WardenToClient, frame);
    for (auto& [id, client] : clients)
        if (client.session == session && !client.gone) client.end.send(line);
}

// Never throws: when the store cannot take it (a full disk), who listens now is told all the same.
bool Warden::State::show(int64_t session, int64_t turn, json::Value frame,
                         const std::function<void()>& also) {
    json::Value stored = frame;
    const bool done = kept([&] {
        store.together([&] {
            if (also) also();
            store.add_event(session, turn, stored);
        });
    });
    if (!done) {
        stored = std::move(frame);
        stored.members().insert(stored.members().begin() + 1, {"seq", 0});
    }
    broadcast(session, stored);
    return done;
}

bool Warden::State::kept(const std::function<void()>& write) {
    try {
        write();
        return true;
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return false;
    }
}

void Warden::State::drop(ClientId id, const std::string& why) {
    const auto found = clients.find(id);
    if (found == clients.end()) return;
    const auto drop = found->second.end.drop;
    clients.erase(found);
    works.erase(id);
    drop(why);
}

void Warden::State::on_client(ClientId id, const json::Value& frame) {
    Client& client = clients.at(id);
    const std::string type = frame.text("type");
    if (type == "attach") return attach(client, frame);
    if (type == "sessions" || type == "export" || type == "more") return on_history(id, frame);
    if (type == "usage")
        return send(client, json::Value::object({{"type", "usage"}, {"rows", spending_of(client)}}));
    if (client.session == 0) throw Error("frame: attach comes first");
    const auto running = turns.find(client.session);
    if (type == "message") {
        take_message(client, frame);
    } else if (type == "task") {
        on_task(client, frame);
    } else if (type == "stop") {
        if (running != turns.end()) ask_stop(running->second);
    } else if (type == "new") {
        client.session = store.new_session(client.agent, client.channel).id;
        send(client,
             json::Value::object({{"type", "session"}, {"session", session_name(client.session)}}));
    } else if (type == "undo" || type == "fork") {
        on_history(id, frame);
    } else if (type == "status") {
        status(client);
    } else if (type == "seen") {
        store.set_seen(client.session, frame.integer("seq"));
    }
}

void Warden::State::choose_session(Client& client, const json::Value& frame, Replay& replay) {
    if (const std::string watch = frame.text("watch"); !watch.empty()) {
        const std::optional<TurnRow> turn = store.turn(parse_name(watch, 't'));
        if (!turn) throw Error("no such turn: " + shown_line(watch, 40));
        client.session = turn->session;
        client.agent = store.session(turn->session).value_or(SessionRow{}).agent;
        replay = {turn->session, 0, turn->id};
        return;
    }
    if (const std::string name = frame.text("session"); !name.empty()) {
        const std::optional<SessionRow> session = store.session(parse_name(name, 's'));
        if (!session || session->agent != client.agent)
            throw Error("no such session: " + shown_line(name, 40));
        client.session = session->id;
    } else if (frame.flag("fresh")) {
        client.session = store.new_session(client.agent, client.channel).id;
        return;  // nothing has happened in it
    } else {
        client.session = store.current_session(client.agent, client.channel).id;
    }
    replay = {client.session, store.seen(client.session), 0};
}

void Warden::State::attach(Client& client, const json::Value& frame) {
    client.agent = frame.text("agent");
    client.channel = frame.text("channel").substr(0, 32);
    if (frame.flag("tasks")) keep_tasks(client);
    Replay replay;
    try {
        const bool known = options.agents.find(client.agent) != nullptr;
        if (!known && frame.text("watch").empty())
            throw Error("no such agent: " + shown_line(client.agent, 40) +
                        "; there are: " + options.agents.names());
        choose_session(client, frame, replay);
        if (!options.agents.find(client.agent)) throw Error("that agent was removed");
    } catch (const Error& error) {
        client.session = 0;
        return send(client, json::Value::object({{"type", "refused"}, {"why", error.what()}}));
    }
    const auto running = turns.find(client.session);
    const bool runs = running != turns.end();
    json::Value attached = json::Value::object(
        {{"type", "attached"}, {"agent", client.agent}, {"session", session_name(client.session)}});
    // To know it the cell must be tried, which takes longer than a short answer: one question does
    // without, `status` always tells.
    if (client.channel == "terminal") attached.set("posture", posture(client.agent));
    attached.set("version", kVersion);
    attached.set("running", runs);
    send(client, attached);
    WardenStore::Events missed;
    if (replay.session) missed = store.events(replay, kReplayLimit, kReplaySize);
    if (!missed.all)
        send(client, json::Value::object({{"type", "notice"},
                                          {"text", "too much was missed: only the end is shown"}}));
    for (const json::Value& event : missed.frames) send(client, event);
    json::Value caught_up = json::Value::object({{"type", "caught_up"}});
    if (runs) {
        caught_up.set("turn", turn_name(running->second.id));
        caught_up.set("partial", running->second.partial);
    }
    send(client, caught_up);
}

void Warden::State::status(Client& client) {
    json::Value frame = json::Value::object({{"type", "status"},
                                             {"agent", client.agent},
                                             {"session", session_name(client.session)},
                                             {"posture", posture(client.agent)},
                                             {"running", turns.contains(client.session)},
                                             {"turns", store.turn_count(client.session)},
                                             {"background", background_of(client.agent)},
                                             {"model", model_of(client.agent)},
                                             {"boot", boot_id()},
                                             {"kernel", kernel_release()}});
    if (options.skills) frame.set("skills", options.skills(*options.agents.find(client.agent)));
    send(client, frame);
}

void Warden::State::on_message(Client& client, const json::Value& frame) {
    const std::string id = frame.text("id").substr(0, 128);
    const std::string text = frame.text("text");
    const auto refuse = [&](const std::string& why) {
        send(client, json::Value::object({{"type", "refused"}, {"id", id}, {"why", why}}));
    };
    const auto ack = [&](int64_t turn, bool duplicate) {
        json::Value answer =
            json::Value::object({{"type", "ack"}, {"id", id}, {"turn", turn_name(turn)}});
        if (duplicate) answer.set("duplicate", true);
        send(client, answer);
    };
    if (id.empty() || text.find_first_not_of(" \t\r\n") == std::string::npos)
        return refuse("an empty message");
    if (json::dump(text).size() > kMaxMessage)
        return refuse("the message is too long: 256 KiB is the most; send it in parts");
    if (const std::optional<int64_t> known = store.known_message(client.channel, id))
        return ack(*known, true);
    if (const std::string why = refusal(client.agent); !why.empty()) return refuse(why);
    bury(client.session);  // if its turn has ended in this very round: one at a time has its place
    if (const std::string why = frame.flag("task") ? later(client.session) : ""; !why.empty()) return refuse(why);
    const auto running = turns.find(client.session);
    if (running != turns.end()) {
        RunningTurn& turn = running->second;
        if (!takes_more(turn, text))
            return refuse("too much waits for this turn already; wait until it has taken it, or stop it");
        store.add_message(turn.id, client.channel, id, text);
        ack(turn.id, false);
        return steer(turn, {id, text, turn.id});
    }
    if (full())
        return refuse("too many turns run at once; wait for one to end, or stop it");
    int64_t turn = 0;
    const std::string said = said_of(client, text);
    store.together([&] {
        turn = store.begin_turn(client.session);
        close_question(client.session, Outcome::Ok);
        store.add_message(turn, client.channel, id, said);
    });
    ack(turn, false);
    start_turn(client.session, client.agent, turn);
}

void Warden::State::take_message(Client& client, const json::Value& frame) {
    try {
        on_message(client, frame);
    } catch (const Error& error) {
        send(client, json::Value::object(
                         {{"type", "refused"},
                          {"id", frame.text("id").substr(0, 128)},
                          {"why", std::string("it could not be stored: ") + error.what()}}));
    }
}

Warden::Warden(Loop& loop, WardenOptions options)
    : state_(std::make_unique<State>(loop, std::move(options))) {}
Warden::~Warden() = default;

Warden::ClientId Warden::connect(ClientEnd end) {
    if (state_->clients.size() >= kMaxClients) throw Error("warden: too many clients");
    const ClientId id = state_->next_client++;
    Client& client = state_->clients[id];
    client.end = std::move(end);
    return id;
}

void Warden::receive(ClientId id, std::string_view bytes) {
    try {
        const auto found = state_->clients.find(id);
        if (found == state_->clients.end()) return;
        found->second.buffer.append(bytes);
        // Looked up anew each time: a frame may end its client.
        for (auto client = found; client != state_->clients.end() && !client->second.gone;
             client = state_->clients.find(id)) {
            const std::optional<std::string> line = client->second.buffer.next();
            if (!line) return;
            handle(id, parse_frame(Dialect::ClientToWarden, *line));
        }
    } catch (const Error& error) {
        state_->drop(id, error.what());
    }
}

void Warden::handle(ClientId id, const json::Value& frame) {
    const auto found = state_->clients.find(id);
    if (found == state_->clients.end() || found->second.gone) return;
    try {
        state_->on_client(id, frame);
    } catch (const Error& error) {
        state_->drop(id, error.what());
    }
}

// It may be called from inside a send of ours, which goes on with its client.
void Warden::disconnect(ClientId id) {
    const auto found = state_->clients.find(id);
    if (found == state_->clients.end()) return;
    found->second.gone = true;
    state_->loop.after(Milliseconds(0), [state = state_.get(), id] {
        state->works.erase(id);
        state->clients.erase(id);
    });
}

UniqueFd Warden::connect_server(const std::string& agent, uint16_t port) {
    const auto it = state_->places.find(agent);
    Cell* cell = it == state_->places.end() ? nullptr : it->second->cell.present();
    if (!cell || it->second->cell.paused()) throw Error("no cell of this agent runs");
    return cell->connect(port);
}

WarmCell& Warden::cell_of(const std::string& agent) {
    if (const std::string why = state_->refusal(agent); !why.empty()) throw Error(why);
    state_->prepare_agent(agent);
    return state_->place(agent).cell;
}

void Warden::set_model(ModelSettings model) {
    state_->options.model = std::move(model);
}

void Warden::set_time_factor(int factor) {
    if (factor == state_->options.cell.time_factor) return;
    state_->options.cell.time_factor = factor;
    for (auto& [agent, place] : state_->places)
        place->cell.configure(state_->cell_options(agent));
}

json::Value Warden::background() const {
    return state_->background_of({});
}
bool Warden::note(const json::Value& record) {
    return state_->recorded(record);
}
std::string Warden::posture() {
    return state_->posture("main");
}
std::string Warden::memory() const {
    return memory_of(::getpid());
}
std::string Warden::turn_memory() const {
    for (const auto& [session, turn] : state_->turns)
        if (state_->options.turn_ids && turn.process && !turn.ending) return memory_of(turn.process.pid());
    return state_->turn_memory;
}
bool Warden::idle() const {
    return state_->turns.empty();
}

void Warden::stop_all() {
    state_->stop_turns({}, "the machine was stopped");
}

}  // namespace peacrab
