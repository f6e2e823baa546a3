// Edits first, then the machines. An edit that the file's layout does not allow ends the command before
// anything is removed. What a machine that does not run has of a removed agent is remembered beside it,
// and goes when it starts: nothing goes because a line is missing.
#include "agent_commands.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client.h"
#include "config_edit.h"
#include "config/agent_keys.h"
#include "error.h"
#include "removals.h"

namespace peacrab {
namespace {

void tell(const std::string& sentence) {
    std::fprintf(stderr, "peacrab: %s\n", sentence.c_str());
}

const AgentSettings& known(const Agents& agents, const std::string& name) {
    if (const AgentSettings* agent = agents.find(name)) return *agent;
    throw Error("there is no agent `" + printable(name) + "`; there are: " + agents.names() +
                "; add one: peacrab agent add NAME");
}

// Says what is wrong with a value before the file's own words, and lines, would.
void check_values(const AgentValues& values) {
    for (const auto& [key, value] : values) {
        try {
            (void)parse_config("agents:\n  a:\n    " + key + ": " + yaml_value(value, 4) + "\n", "");
        } catch (const Error& error) {
            const std::string text = error.what();
            const size_t at = text.find(key + ": ");
            throw Error("--" + key + ": " +
                        (at == std::string::npos ? text : text.substr(at + key.size() + 2)));
        }
    }
}

void put_values(ConfigEdit& edit, const std::string& name, const AgentValues& values) {
    for (const auto& [key, value] : values) edit.set({"agents", name, key}, value);
}

std::string cpus_of(const CellLimits& limits) {
    return limits.cpu_percent ? format_cpus(limits.cpu_percent) : "shared";
}
std::string memory_of(const CellLimits& limits) {
    return limits.memory.count ? format_size(limits.memory) : "60%";
}

json::Value report(const Config& config, const AgentSettings& agent) {
    json::Value reachable = json::Value::array();
    for (const std::string& name : config.agents.reachable_from(agent.name)) reachable.push(name);
    json::Value out = json::Value::object(
        {{"name", agent.name},
         {"paused", agent.paused},
         {"model", agent.model.empty() ? config.model : agent.model},
         {"rules", agent.rules},
         {"limits", json::Value::object({{"memory", agent.limits.memory.count},
                                         {"processes", agent.limits.processes},
                                         {"cpu_percent", agent.limits.cpu_percent},
                                         {"disk", agent.limits.disk.count},
                                         {"files", agent.limits.files},
                                         {"io", agent.limits.io.count}})}});
    out.set("may_message", std::move(reachable));
    if (agent.skills) out.set("skills", *agent.skills);
    return out;
}

// Asks every machine, or leaves it a note. Gives the exit code.
int remove_everywhere(const std::string& name) {
    int code = 0;
    for (const std::string& machine : machine_names()) {
        const MachinePlace place = machine_place(machine);
        if (::access(place.state_image.c_str(), F_OK) < 0) continue;
        add_removal(place, name);
        std::optional<FrameSocket> gateway = connect_gateway(place);
        if (!gateway) {
            tell("what it has in the machine `" + machine + "` goes when that starts next");
            continue;
        }
        try {
            (void)ask_gateway(
                *gateway, json::Value::object({{"type", "remove_agent"}, {"agent", name}}),
                Seconds(600));
        } catch (const Error& error) {
            tell("machine `" + machine + "`: not yet removed, tried again when it starts next: " +
                 error.what());
            code = 1;
        }
    }
    return code;
}

// Left out it would be an agent that may spend more.
void copy_budget(ConfigEdit& edit, const std::string& name, const yaml::Node& budget) {
    edit.make({"agents", name, "budget"});
    for (const auto& [key, value] : budget.entries) {
        if (value.kind == yaml::Node::Kind::List)
            throw Error("a budget of two limits is not copied: write the block of `" + name + "` by hand");
        edit.set({"agents", name, "budget", key.text}, value.text);
    }
}

}  // namespace

int agent_add(const std::string& name, const AgentValues& values, const std::string& from) {
    check_values(values);
    ConfigEdit edit(config_file());
    const Config before = parse_config(edit.text(), config_file());
    if (before.agents.find(name))
        throw Error("there is an agent `" + name + "` already; change it: peacrab agent set " + name);
    edit.make({"agents", name});
    if (!from.empty()) {
        (void)known(before.agents, from);
        const yaml::Node* const agents = edit.root().find("agents");
        const yaml::Node* const found = agents ? agents->find(from) : nullptr;
        const yaml::Node pattern = found ? *found : yaml::Node();
        for (const auto& [key, value] : pattern.entries) {
            if (key.text == "skills")
                tell("`skills` of `" + from + "` is not copied: write it below `" + name + "` by hand");
            else if (key.text == "budget")
                copy_budget(edit, name, value);
            else if (key.text != "paused")
                edit.set({"agents", name, key.text}, value.text);
        }
    }
    put_values(edit, name, values);
    edit.save();
    tell("added; talk to it: peacrab chat --agent " + name);
    return 0;
}

int agent_set(const std::string& name, const AgentValues& values) {
    check_values(values);
    ConfigEdit edit(config_file());
    (void)known(parse_config(edit.text(), config_file()).agents, name);
    put_values(edit, name, values);
    edit.save();
    tell("changed; new limits hold once its container is idle");
    return 0;
}

int agent_list(OutputForm form) {
    const Config config = load_config(config_file());
    if (form == OutputForm::Json) {
        json::Value all = json::Value::array();
        for (const AgentSettings& agent : config.agents.list) all.push(report(config, agent));
        std::printf("%s\n", json::dump(all).c_str());
        return 0;
    }
    std::printf("%-16s %-8s %-8s %-7s %-6s %-6s %s\n", "NAME", "STATE", "MEMORY", "PROCS", "CPUS",
                "DISK", "MODEL");
    for (const AgentSettings& agent : config.agents.list)
        std::printf("%-16s %-8s %-8s %-7s %-6s %-6s %s\n", agent.name.c_str(),
                    agent.paused ? "paused" : "active", memory_of(agent.limits).c_str(),
                    std::to_string(agent.limits.processes).c_str(), cpus_of(agent.limits).c_str(),
                    format_size(agent.limits.disk).c_str(),
                    agent.model.empty() ? "the machine's" : printable(agent.model).c_str());
    return 0;
}

int agent_show(const std::string& name, OutputForm form) {
    const Config config = load_config(config_file());
    const AgentSettings& agent = known(config.agents, name);
    if (form == OutputForm::Json) {
        std::printf("%s\n", json::dump(report(config, agent)).c_str());
        return 0;
    }
    std::string reachable;
    for (const std::string& other : config.agents.reachable_from(name))
        reachable += (reachable.empty() ? "" : ", ") + other;
    const std::pair<const char*, std::string> lines[] = {
        {"name", agent.name},
        {"state", agent.paused ? "paused" : "active"},
        {"model", agent.model.empty() ? "the machine's" : agent.model},
        {"memory", agent.limits.memory.count ? memory_of(agent.limits) : "60% of the machine's"},
        {"processes", std::to_string(agent.limits.processes)},
        {"cpus", agent.limits.cpu_percent ? cpus_of(agent.limits) : "a fair share"},
        {"disk", format_size(agent.limits.disk)},
        {"files", std::to_string(agent.limits.files)},
        {"io", format_size(agent.limits.io) + " a second"},
        {"may message", reachable.empty() ? "nobody" : reachable},
        {"skills", !agent.skills ? "all there are" : agent.skills->empty() ? "none" : *agent.skills},
        {"rules", agent.rules.empty() ? "none" : agent.rules},
    };
    for (const auto& [key, value] : lines)
        std::printf("%-12s %s\n", key, printable(value).c_str());
    return 0;
}

int agent_state(const std::string& name, AgentState state) {
    ConfigEdit edit(config_file());
    (void)known(parse_config(edit.text(), config_file()).agents, name);
    if (state == AgentState::Paused) edit.set({"agents", name, "paused"}, "true");
    else edit.remove({"agents", name, "paused"});
    edit.save();
    if (state == AgentState::Paused)
        tell("paused: what it did is stopped; it goes on with: peacrab agent resume " + name);
    else
        tell("it takes messages again");
    return 0;
}

int agent_remove(const std::string& name, RemoveWhat what, const std::function<bool()>& confirmed) {
    if (name == kMainAgent) throw Error("`main` is always there; pause it, or: peacrab rm");
    {
        const Agents agents = load_config(config_file()).agents;
        if (what == RemoveWhat::Known) (void)known(agents, name);
        if (!confirmed()) return 1;
    }
    {
        ConfigEdit edit(config_file());
        const Agents agents = parse_config(edit.text(), config_file()).agents;
        for (const AgentRoute& route : agents.routes)
            if (route.from == name || route.to == name)
                edit.take("may-message", route.from + " -> " + route.to);
        edit.remove({"agents", name});
        edit.save();
    }
    const int code = remove_everywhere(name);
    if (code == 0) tell("removed " + name);
    return code;
}

}  // namespace peacrab
