// The tool `task`, and what a task needs of the machine. Who is to be woken when is kept where the messengers are
// (messaging/tasks): a client that said so when it attached. Here a call is handed to it, a gate is run for it, and it
// is told of the end of a background process. What begins by a task is never taken for the person's word: while they
// are asked something, or a turn runs, it has to wait.
#include <algorithm>

#include "error.h"
#include "hooks/hook.h"
#include "wardens/tools.h"

namespace peacrab {

struct TaskEnd {
    std::unique_ptr<ToolRun> gate;
    std::string gate_of;                           // whose
    std::map<std::string, std::string> listening;  // id of the client's → background process
};

namespace {

constexpr Milliseconds kPatience{20'000};  // with who keeps the tasks
constexpr size_t kMaxAnswer = size_t{32} << 10;
constexpr size_t kMaxListening = 200;
constexpr int64_t kGateSeconds = 60;
constexpr const char* kNobody =
    "task: nobody keeps tasks for this conversation. They need messengers, with `peacrab serve` (or `peacrabd serve`): tell the "
    "person, and do not try again";

json::Value task_frame(const char* what, const std::string& id, const std::string& text) {
    return json::Value::object({{"type", "task"}, {"what", what}, {"id", id}, {"text", text}});
}

// Of this process: the ids of what it has in the background begin anew with the next.
const std::string& token() {
    static const std::string kToken = random_hex(6);
    return kToken;
}

class Patience {
  public:
    Patience(Loop& loop, std::function<void()> over) : loop_(loop), timer_(loop.after(kPatience, std::move(over))) {}
    ~Patience() { loop_.cancel(timer_); }
    Patience(const Patience&) = delete;

  private:
    Loop& loop_;
    Loop::TimerId timer_;
};

RunningCall* call_of(Warden::State& state, int64_t session, uint64_t number) {
    const auto turn = state.turns.find(session);
    RunningCall* const call = turn == state.turns.end() ? nullptr : turn->second.call(number);
    return call && call->name == "task" ? call : nullptr;
}

uint64_t number_of(const std::string& id) {
    if (id.empty() || id.size() > 18 || id.find_first_not_of("0123456789") != std::string::npos) return 0;
    return std::stoull(id);
}

// The operator's hooks look at a call of a turn, and there is none: rather none runs.
bool hooks_look(Warden::State& state) {
    if (!state.options.hooks) return false;
    const HookSet set = state.options.hooks();
    return !set.missing.empty() || std::any_of(set.hooks.begin(), set.hooks.end(), [](const Hook& hook) {
        return wants(hook, Hook::Event::BeforeTool, "shell") || wants(hook, Hook::Event::AfterTool, "shell");
    });
}

json::Value gate_record(const char* kind, const Client& client, const std::string& id) {
    return json::Value::object({{"kind", kind},
                                {"agent", client.agent},
                                {"session", session_name(client.session)},
                                {"call", "gate " + id},
                                {"tool", "shell"}});
}

const char* verdict_of(const ToolResult& result) {
    if (result.outcome == Outcome::Ok) return "go";
    // A command that says no, and not one that could not be run.
    const bool said_no = result.outcome == Outcome::Failed && result.limit.empty() && result.exit.starts_with("exit code ") &&
                         result.exit != "exit code 126" && result.exit != "exit code 127";
    return said_no ? "no" : "failed";
}

void gate_ended(Warden::State& state, Warden::ClientId client, const std::string& id, const ToolResult& result) {
    const auto found = state.clients.find(client);
    if (found == state.clients.end() || !found->second.tasks) return;
    json::Value record = gate_record("after", found->second, id);
    record.set("outcome", outcome_name(result.outcome));
    if (!result.exit.empty()) record.set("exit", result.exit);
    record.set("bytes", result.bytes);
    state.recorded(record);
    const std::unique_ptr<ToolRun> over = std::move(found->second.tasks->gate);
    state.send(found->second, task_frame(verdict_of(result), id, json::valid_utf8(result.text.substr(0, kMaxAnswer))));
}

void run_gate(Warden::State& state, Client& client, const std::string& id, const std::string& command) {
    if (client.tasks->gate) throw Error("task: a gate runs already");
    if (const std::string why = state.refusal(client.agent); !why.empty()) throw Error(why);
    if (hooks_look(state)) throw Error("the operator's hooks look at commands of the shell; a gate has no turn for them, and does not run");
    state.prepare_agent(client.agent);
    const std::string arguments = json::dump(json::Value::object({{"command", command}, {"timeout", kGateSeconds}}));
    std::variant<Permit, Denied> decision = authorise({id, "shell", arguments}, {});
    const Denied* const denied = std::get_if<Denied>(&decision);
    json::Value record = gate_record("before", client, id);
    record.set("arguments", sha256_hex(arguments));
    record.set("decision", denied ? "denied: " + denied->why : std::string("allowed"));
    if (!state.recorded(record, Audit::Until::Disk)) throw Error("it could not be written down first; the disk may be full");
    if (denied) throw Error(denied->why);
    const auto own = std::find_if(state.clients.begin(), state.clients.end(), [&](const auto& each) { return &each.second == &client; });
    client.tasks->gate = std::make_unique<ToolRun>(
        state.loop, state.place(client.agent), std::move(std::get<Permit>(decision)),
        [&state, number = own->first, id](const ToolResult& result) { gate_ended(state, number, id, result); });
}

// Said at once of what does not run any more.
void listen(Warden::State& state, Client& client, const std::string& id, const std::string& said) {
    const std::string process = said.substr(0, said.find(' '));
    const std::string of = said.size() > process.size() ? said.substr(process.size() + 1) : token();
    const auto place = state.places.find(client.agent);
    if (of != token() || place == state.places.end())
        return state.send(client, task_frame("ended", id, process + " is no longer there: the machine was stopped meanwhile"));
    Background& background = place->second->background;
    if (!background.runs(process)) {
        std::string line = process + " is not known";
        try {
            line = background.about(process);
        } catch (const Error&) {
        }
        return state.send(client, task_frame("ended", id, line));
    }
    if (client.tasks->listening.size() >= kMaxListening) throw Error("task: it listens to too much");
    client.tasks->listening[id] = process;
    state.send(client, task_frame("listening", id, token()));
}

}  // namespace

void Warden::State::keep_tasks(Client& client) {
    client.tasks = std::make_shared<TaskEnd>();
}

std::string Warden::State::later(int64_t session) {
    if (turns.contains(session)) return "task: later: a turn runs";
    Statement open = store.database().prepare(
        "SELECT 1 FROM calls c JOIN turns t ON t.id = c.turn WHERE t.session = ? AND c.name = 'ask_user' AND c.outcome = 'waiting'");
    return open.bind(session).step() ? "task: later: the person is asked something" : "";
}

void Warden::State::on_task(Client& client, const json::Value& frame) {
    if (!client.tasks) throw Error("frame: task: it has not said that it keeps tasks");
    const std::string what = frame.text("what"), id = frame.text("id").substr(0, 64), text = frame.text("text");
    if (what == "result") {
        const uint64_t number = number_of(id);
        if (!call_of(*this, client.session, number)) return;  // it has ended meanwhile
        const bool well = frame.flag("ok");
        finish_call(turns.at(client.session), number,
                    {well ? Outcome::Ok : Outcome::Failed, json::valid_utf8(text.substr(0, kMaxAnswer)), well ? "done" : "not done"});
    } else if (what == "gate" || what == "listen") {
        try {
            if (what == "gate") run_gate(*this, client, id, text);
            else listen(*this, client, id, text.substr(0, 64));
        } catch (const Error& error) {
            send(client, task_frame("failed", id, shown_line(error.what(), 300)));
        }
    } else {
        throw Error("frame: task: what is that");
    }
}

void Warden::State::tell_of_end(const std::string& agent) {
    for (auto& [id, client] : clients) {
        if (!client.tasks || client.gone || client.agent != agent) continue;
        for (auto it = client.tasks->listening.begin(); it != client.tasks->listening.end();) {
            Background& background = place(agent).background;
            if (background.runs(it->second)) {
                ++it;
                continue;
            }
            send(client, task_frame("ended", it->first, background.about(it->second)));
            it = client.tasks->listening.erase(it);
        }
    }
}

std::optional<ToolResult> run_task(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit) {
    const auto keeper = std::find_if(state.clients.begin(), state.clients.end(), [&](const auto& each) {
        return each.second.session == turn.session && each.second.tasks && !each.second.gone;
    });
    if (keeper == state.clients.end()) return ToolResult{Outcome::Failed, kNobody, "nobody keeps tasks"};
    const int64_t session = turn.session;
    const uint64_t number = call.number;
    call.hook = std::make_shared<Patience>(state.loop, [&state, session, number] {
        if (call_of(state, session, number))
            state.finish_call(state.turns.at(session), number,
                              {Outcome::Failed, "task: no answer came: look with the action list before you try again", "no answer"});
    });
    json::Value frame = task_frame("call", std::to_string(number), json::dump(permit.arguments()));
    frame.set("turn", turn_name(turn.id));
    state.send(keeper->second, frame);
    return std::nullopt;
}

}  // namespace peacrab
