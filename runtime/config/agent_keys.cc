// Agents as a person writes them. A limit that is out of all reason is refused here, with the range,
// rather than in the guest, where it would be an agent that does not start.
#include "config/agent_keys.h"

#include <algorithm>
#include <charconv>

#include "config.h"
#include "error.h"
#include "os.h"
#include "skills/skill.h"

namespace peacrab {
namespace {

using yaml::Node;

std::string text_of(const Node& node) {
    if (node.kind == Node::Kind::Text) return node.text;
    throw Error("a plain value was expected");
}

uint64_t parse_number(const std::string& text, uint64_t least, uint64_t most) {
    uint64_t number = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] = std::from_chars(text.data(), last, number);
    if (failure != std::errc() || end != last || number < least || number > most)
        throw Error("a number from " + std::to_string(least) + " to " + std::to_string(most) +
                    " was expected");
    return number;
}

Bytes parse_bounded(const std::string& text, Bytes least) {
    const Bytes size = parse_size(text);
    if (size < least) throw Error("at least " + format_size(least) + " was expected");
    return size;
}

// False: it is no key of a limit.
bool read_limit(CellLimits& limits, const std::string& key, const Node& value) {
    if (key == "memory")
        limits.memory = parse_bounded(text_of(value), MiB(16));
    else if (key == "processes")
        limits.processes = parse_number(text_of(value), 8, 100'000);
    else if (key == "cpus")
        limits.cpu_percent = parse_cpus(text_of(value));
    else if (key == "disk")
        limits.disk = parse_bounded(text_of(value), MiB(16));
    else if (key == "files")
        limits.files = parse_number(text_of(value), 1000, 100'000'000);
    else if (key == "io")
        limits.io = parse_bounded(text_of(value), KiB(64));
    else
        return false;
    return true;
}

// None is a word too: an agent without any.
std::string read_skill_names(const Node& list) {
    if (list.kind != Node::Kind::List) throw Error("a list was expected: [one, two], or [] for none");
    std::string names;
    for (const Node& item : list.items) {
        if (item.kind != Node::Kind::Text || !is_skill_name(item.text) || names.size() > KiB(4).count)
            throw Error("the name of a skill was expected; `peacrab skills` lists them");
        names += (names.empty() ? "" : " ") + item.text;
    }
    return names;
}

bool read_setting(AgentSettings& agent, const std::string& key, const Node& value) {
    const auto bounded = [&](size_t most) {
        std::string text = text_of(value);
        if (text.size() > most) throw Error("at most " + std::to_string(most) + " bytes");
        for (const char c : text)
            if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
                throw Error("control byte in a value");
        return text;
    };
    if (key == "model") {
        agent.model = bounded(200);
    } else if (key == "rules") {
        agent.rules = bounded(kMaxRules.count);
    } else if (key == "paused") {
        const std::string text = text_of(value);
        if (text != "true" && text != "false") throw Error("true or false was expected");
        agent.paused = text == "true";
    } else if (key == "skills") {
        agent.skills = read_skill_names(value);
    } else {
        return false;
    }
    return true;
}

std::string known_keys(bool with_settings) {
    std::string out;
    if (with_settings)
        for (const char* key : kAgentKeys) out += std::string(key) + ", ";
    if (with_settings) out += "budget, ";
    for (const char* key : kLimitKeys) out += std::string(key) + ", ";
    return out.substr(0, out.size() - 2);
}

const std::vector<yaml::Entry>& entries_of(const Node& node, const std::string& what) {
    if (node.kind == Node::Kind::Text || node.kind == Node::Kind::List)
        throw Error(at(node) + what + ": `key: value` lines were expected below it");
    return node.entries;
}

void read_limits(const Node& node, CellLimits& limits) {
    for (const auto& [key, value] : entries_of(node, "limits")) {
        try {
            if (!read_limit(limits, key.text, value))
                throw Error("unknown key; known: " + known_keys(false));
        } catch (const Error& error) {
            throw Error(at(key) + "limits: " + printable(key.text) + ": " + error.what());
        }
    }
}

AgentSettings read_agent(const Node& name, const Node& node, const CellLimits& limits) {
    if (!is_agent_name(name.text))
        throw Error(at(name) + "agents: `" + printable(name.text) +
                    "` is no name: a letter, then letters, digits and `-`, in lower case, at most 32");
    AgentSettings agent;
    agent.name = name.text;
    agent.limits = limits;
    for (const auto& [key, value] : entries_of(node, name.text)) {
        try {
            if (key.text == "budget") continue;  // config/budget_keys
            if (!read_setting(agent, key.text, value) && !read_limit(agent.limits, key.text, value))
                throw Error("unknown key; known: " + known_keys(true));
        } catch (const Error& error) {
            throw Error(at(key) + name.text + ": " + printable(key.text) + ": " + error.what());
        }
    }
    return agent;
}

AgentRoute read_route(const Agents& agents, const Node& node) {
    const std::string text = text_of(node);
    const std::vector<std::string> words = split(text, ' ');
    if (words.size() != 3 || words[1] != "->")
        throw Error("`one -> other` was expected, not `" + printable(text) + "`");
    for (const std::string& name : {words[0], words[2]})
        if (!agents.find(name))
            throw Error("there is no agent `" + printable(name) + "`; there are: " + agents.names());
    AgentRoute route{words[0], words[2]};
    if (route.from == route.to) throw Error("an agent needs no route to itself");
    if (std::find(agents.routes.begin(), agents.routes.end(), route) != agents.routes.end())
        throw Error("`" + printable(text) + "` stands twice");
    return route;
}

}  // namespace

unsigned parse_cpus(const std::string& text) {
    double cpus = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] =
        std::from_chars(text.data(), last, cpus, std::chars_format::fixed);
    if (failure != std::errc() || end != last || !(cpus >= 0.05) || cpus > 256)
        throw Error("a number of CPUs from 0.05 to 256 was expected");
    return static_cast<unsigned>(cpus * 100 + 0.5);
}

std::string format_cpus(unsigned percent) {
    std::string out = std::to_string(percent / 100);
    if (percent % 100 == 0) return out;
    const std::string part = std::to_string(percent % 100 + 100).substr(1);
    out += "." + part;
    if (out.back() == '0') out.pop_back();
    return out;
}

Agents read_agents(const Node* limits, const Node* agents, const Node* routes) {
    Agents out;
    CellLimits common;
    if (limits) read_limits(*limits, common);
    out.list[0].limits = common;
    if (agents) {
        for (const auto& [name, node] : entries_of(*agents, "agents")) {
            AgentSettings agent = read_agent(name, node, common);
            if (agent.name == kMainAgent)
                out.list[0] = std::move(agent);
            else if (out.list.size() < kMaxAgents)
                out.list.push_back(std::move(agent));
            else
                throw Error(at(name) + "agents: at most " + std::to_string(kMaxAgents));
        }
    }
    if (!routes || routes->kind == Node::Kind::Null) return out;
    if (routes->kind != Node::Kind::List)
        throw Error(at(*routes) + "may-message: lines `- one -> other` were expected below it");
    for (const Node& node : routes->items) {
        try {
            out.routes.push_back(read_route(out, node));
        } catch (const Error& error) {
            throw Error(at(node) + "may-message: " + error.what());
        }
    }
    return out;
}

}  // namespace peacrab
