// Agents as data: to a frame and back, and the decision about a message between two of them. The
// frame comes from the host and is checked all the same: a name becomes a path and a control group.
#include "agents.h"

#include <algorithm>
#include <limits>

#include "cells/mechanism.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

// A number of a frame that may not be below `least`.
uint64_t number(const json::Value& agent, const char* key, int64_t least, int64_t most) {
    const int64_t value = agent.integer(key, -1);
    if (value < least || value > most) throw Error(std::string("agents: ") + key + ": out of range");
    return static_cast<uint64_t>(value);
}

AgentSettings settings_from(const json::Value& agent) {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    AgentSettings out;
    out.name = agent.text("name");
    if (!is_agent_name(out.name)) throw Error("agents: no name: " + printable(out.name.substr(0, 40)));
    out.model = agent.text("model");
    out.rules = agent.text("rules");
    if (out.model.size() > 200 || out.rules.size() > kMaxRules.count)
        throw Error("agents: " + out.name + ": too long");
    out.limits.memory.count = number(agent, "memory", 0, kMost);
    out.limits.processes = number(agent, "processes", 1, 1 << 22);
    out.limits.cpu_percent = static_cast<unsigned>(number(agent, "cpus", 0, 100 * 256));
    out.limits.disk.count = number(agent, "disk", 1, kMost);
    out.limits.files = number(agent, "files", 1, kMost);
    out.limits.io.count = number(agent, "io", 0, kMost);
    out.paused = agent.flag("paused");
    if (agent.find("skills")) out.skills = agent.text("skills");
    return out;
}

AgentRoute route_from(const Agents& agents, const std::string& text) {
    const size_t arrow = text.find(" -> ");
    if (arrow == std::string::npos) throw Error("agents: a route is `A -> B`");
    AgentRoute out{text.substr(0, arrow), text.substr(arrow + 4)};
    if (!agents.find(out.from) || !agents.find(out.to) || out.from == out.to)
        throw Error("agents: a route of nobody: " + printable(text.substr(0, 80)));
    return out;
}

}  // namespace

const AgentSettings* Agents::find(const std::string& name) const {
    for (const AgentSettings& agent : list)
        if (agent.name == name) return &agent;
    return nullptr;
}

std::vector<std::string> Agents::reachable_from(const std::string& name) const {
    std::vector<std::string> out;
    for (const AgentRoute& route : routes)
        if (route.from == name || !on(Mechanism::MessageRoute)) out.push_back(route.to);
    return out;
}

std::string Agents::names() const {
    std::string out;
    for (const AgentSettings& agent : list) out += (out.empty() ? "" : ", ") + agent.name;
    return out;
}

bool is_agent_name(std::string_view text) {
    const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
    return !text.empty() && text.size() <= 32 && letter(text[0]) &&
           std::all_of(text.begin(), text.end(), [&](char c) {
               return letter(c) || (c >= '0' && c <= '9') || c == '-';
           });
}

void put_agents(json::Value& frame, const Agents& agents) {
    json::Value list = json::Value::array();
    for (const AgentSettings& agent : agents.list) {
        json::Value row = json::Value::object({{"name", agent.name},
                                               {"memory", agent.limits.memory.count},
                                               {"processes", agent.limits.processes},
                                               {"cpus", agent.limits.cpu_percent},
                                               {"disk", agent.limits.disk.count},
                                               {"files", agent.limits.files},
                                               {"io", agent.limits.io.count},
                                               {"paused", agent.paused}});
        if (!agent.model.empty()) row.set("model", agent.model);
        if (!agent.rules.empty()) row.set("rules", agent.rules);
        if (agent.skills) row.set("skills", *agent.skills);
        list.push(std::move(row));
    }
    json::Value routes = json::Value::array();
    for (const AgentRoute& route : agents.routes) routes.push(route.from + " -> " + route.to);
    frame.set("agents", std::move(list));
    frame.set("routes", std::move(routes));
}

Agents agents_from(const json::Value& frame) {
    Agents out;
    const json::Value* const list = frame.find("agents");
    if (!list) return out;
    out.list.clear();
    if (list->items().size() > kMaxAgents) throw Error("agents: too many");
    for (const json::Value& agent : list->items()) {
        AgentSettings settings = settings_from(agent);
        if (out.find(settings.name)) throw Error("agents: " + settings.name + ": stands twice");
        out.list.push_back(std::move(settings));
    }
    if (!out.find(kMainAgent)) throw Error("agents: no main");
    const json::Value* const routes = frame.find("routes");
    if (!routes) return out;
    if (routes->items().size() > kMaxAgents * kMaxAgents) throw Error("agents: too many routes");
    for (const json::Value& text : routes->items())
        out.routes.push_back(route_from(out, text.as_string()));
    return out;
}

void put_model(json::Value& frame, const ModelSettings& model) {
    frame.set("model", model.name);
    frame.set("dialect", model.dialect);
    frame.set("server", model.server);
    frame.set("window", model.window);
    if (model.fallback.empty()) return;
    json::Value fallback = json::Value::array();
    for (const std::string& name : model.fallback) fallback.push(name);
    frame.set("fallback", std::move(fallback));
}

ModelSettings model_from(const json::Value& frame) {
    ModelSettings model{frame.text("model"), frame.text("dialect"), frame.text("server"), {},
                        static_cast<uint64_t>(std::max<int64_t>(0, frame.integer("window")))};
    if (const json::Value* fallback = frame.find("fallback"))
        for (const json::Value& name : fallback->items()) model.fallback.push_back(name.as_string());
    return model;
}

std::variant<Denied, Delivery> route(const Agents& agents, const RouteAsked& asked) {
    const std::vector<std::string> reachable = agents.reachable_from(asked.from);
    if (std::find(reachable.begin(), reachable.end(), asked.to) == reachable.end()) {
        std::string known;
        for (const std::string& name : reachable) known += (known.empty() ? "" : ", ") + name;
        return Denied{known.empty() ? "message: there is nobody you may send to"
                                    : "message: you may send only to: " + known};
    }
    if (on(Mechanism::MessageHops) && (asked.hops < 0 || asked.hops >= kMaxHops))
        return Denied{"message: this conversation between agents has gone on for " +
                      std::to_string(kMaxHops) + " messages; answer without sending another"};
    if (asked.sent_in_the_last_hour >= kMaxMessagesAnHour && on(Mechanism::MessageRate))
        return Denied{"message: " + std::to_string(kMaxMessagesAnHour) + " messages to " + asked.to +
                      " in an hour are the most; go on without"};
    if (agents.find(asked.to)->paused)
        return Denied{"message: " + asked.to + " is paused; go on without"};
    return Delivery(asked.from, asked.to, asked.hops + 1);
}

}  // namespace peacrab
