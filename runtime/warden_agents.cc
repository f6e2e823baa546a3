// Who there is: the list of the host's configuration, an agent's own ids, its removal, and messages
// between agents. An agent that is not in the list keeps its files and takes no message: nothing is
// removed because a line is missing, only because the host says so (remove_agent).
//
// Removal moves the folder away in one step, so that the name is free at once; a child deletes it. A
// removal that is cut off goes on at the next start: of the moving the host knows, of the rest we do.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "error.h"
#include "warden_state.h"

namespace peacrab {
namespace {

std::string removed_folder(const std::string& state) {
    return state + "/removed";
}

}  // namespace

std::string Warden::State::refusal(const std::string& agent) const {
    const AgentSettings* const settings = options.agents.find(agent);
    if (!settings) return "there is no agent `" + shown_line(agent, 40) + "` any more";
    if (settings->paused)
        return "the agent `" + agent + "` is paused; let it go on: peacrab agent resume " + agent;
    return {};
}

std::optional<Ids> Warden::State::turn_ids(const std::string& agent) {
    if (!options.turn_ids) return std::nullopt;
    const uint32_t slot = store.slot(agent);
    if (slot >= 60'000) throw Error("warden: no ids are left: too many agents were made");
    // Its own group may enter its folder; that of all is for what a full disk holds back (launch/boot).
    const uint32_t own = options.turn_ids->uid + slot;
    return Ids{own, own, options.turn_ids->gid};
}

std::string Warden::State::model_of(const std::string& agent) const {
    const AgentSettings* const settings = options.agents.find(agent);
    return settings && !settings->model.empty() ? settings->model : options.model.name;
}

// Without a name everybody's. At once, also one that is in a call; what was said to it and not taken is
// answered by its end.
void Warden::State::stop_turns(const std::string& agent, const std::string& why) {
    std::vector<int64_t> sessions;
    for (auto& [session, turn] : turns)
        if (agent.empty() || turn.agent == agent) sessions.push_back(session);
    for (const int64_t session : sessions) {
        RunningTurn& turn = turns.at(session);
        end_turn(turn, "stopped", why, {});
        turn.handed.resize(std::min<size_t>(turn.handed.size(), 1));
        bury(session);
    }
}

void Warden::set_agents(Agents agents) {
    state_->options.agents = std::move(agents);
    std::set<std::string> stopped;
    for (const auto& [session, turn] : state_->turns)
        if (!state_->refusal(turn.agent).empty()) stopped.insert(turn.agent);
    for (const std::string& name : stopped) state_->stop_turns(name, state_->refusal(name));
    std::vector<std::string> gone;
    for (auto& [name, place] : state_->places) {
        const AgentSettings* const settings = state_->options.agents.find(name);
        if (!settings) {
            gone.push_back(name);
            continue;
        }
        if (place->cell.options().limits != settings->limits)
            place->cell.configure(state_->cell_options(name));
        place->cell.pause(settings->paused);  // frozen with what runs in it
    }
    for (const std::string& name : gone) state_->places.erase(name);
}

void Warden::remove_agent(const std::string& name, std::function<void(const std::string&)> done) {
    State& state = *state_;
    const auto later = [&](const std::string& why) {
        state.loop.after(Milliseconds(0), [done, why] { done(why); });
    };
    try {
        if (!is_agent_name(name) || name == kMainAgent) throw Error("this agent cannot be removed");
        const std::optional<uint32_t> slot = state.store.known_slot(name);
        state.stop_turns(name, "the agent was removed");
        state.places.erase(name);
        state.end_works(name);
        const std::string removed = removed_folder(state.options.state);
        make_directories(removed, 0700);
        const std::string to = removed + "/" + std::to_string(slot.value_or(0)) + "-" + random_hex(8);
        if (::rename(state.agent_folder(name).c_str(), to.c_str()) < 0 && errno != ENOENT)
            throw ErrnoError("move its files");
        // Only now: cut off before, the host asks again, and finds the name in its old slot.
        state.store.retire(name);
        std::vector<ClientId> attached;
        for (const auto& [id, client] : state.clients)
            if (client.agent == name && client.session != 0) attached.push_back(id);
        for (const ClientId id : attached) state.drop(id, "the agent was removed");
        state.sweep(std::move(done));
    } catch (const Error& error) {
        later(error.what());
    }
}

void Warden::State::sweep(std::function<void(const std::string& why)> done) {
    swept.push_back(std::move(done));
    if (sweeper) return;  // who comes meanwhile waits for a round of its own
    const std::string folder = removed_folder(options.state);
    UniqueFd open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!open) return end_sweep(swept.size(), errno == ENOENT ? "" : "open what was removed");
    const pid_t pid = ::fork();
    if (pid < 0) return end_sweep(swept.size(), "no process could be started");
    if (pid == 0) {
        // Nothing else of ours: a socket held here would keep its other end from seeing ours close.
        if (::dup2(open.get(), 3) < 0 || ::close_range(4, ~0U, 0) < 0 || ::nice(10) == -1) ::_exit(1);
        ::_exit(delete_below(3) ? 0 : 1);
    }
    sweeper = Pidfd::of_child(pid);
    loop.watch(sweeper.fd(), POLLIN, [this, of = swept.size()](short) {
        loop.forget(sweeper.fd());
        const bool well = sweeper.wait().ok();
        sweeper = Pidfd();
        end_sweep(of, well ? "" : "its files are out of reach, but not all could be deleted; the "
                                  "next start of the machine tries again");
    });
}

void Warden::State::end_sweep(size_t count, const std::string& why) {
    std::vector<std::function<void(const std::string&)>> ended;
    ended.swap(swept);
    const auto rest = ended.begin() + static_cast<std::ptrdiff_t>(std::min(count, ended.size()));
    const bool more = rest != ended.end();
    std::vector<std::function<void(const std::string&)>> waiting(rest, ended.end());
    ended.erase(rest, ended.end());
    for (const auto& done : ended) loop.after(Milliseconds(0), [done, why] { done(why); });
    if (!more) return;
    std::function<void(const std::string&)> last = std::move(waiting.back());
    waiting.pop_back();
    swept = std::move(waiting);
    sweep(std::move(last));
}

}  // namespace peacrab
