// Which agents there are, what each may use, and who may say something to whom. Data of the host's
// configuration, carried by the `settings` frame; and the one decision about messages between
// agents. Nothing here has an effect.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "json.h"
#include "policy.h"
#include "types.h"

namespace peacrab {

constexpr size_t kMaxAgents = 64;
constexpr Bytes kMaxRules = KiB(4);
constexpr const char* kMainAgent = "main";  // always there

struct AgentSettings {
    std::string name;
    std::string model;  // empty: the machine's
    std::string rules;  // put into the system prompt; text of the person who owns the machine
    CellLimits limits;
    bool paused = false;  // takes no message
    std::optional<std::string> skills = {};  // names, a space between; nothing: all there are
};

// One way: what `to` answers goes nowhere, unless a route back is there too.
struct AgentRoute {
    std::string from;
    std::string to;
    bool operator==(const AgentRoute&) const = default;
};

struct Agents {
    std::vector<AgentSettings> list = {{kMainAgent, {}, {}, {}, false}};
    std::vector<AgentRoute> routes;

    const AgentSettings* find(const std::string& name) const;  // null: there is none
    std::vector<std::string> reachable_from(const std::string& name) const;
    std::string names() const;  // "main, scout"
};

bool is_agent_name(std::string_view text);  // [a-z][a-z0-9-]{0,31}

// The keys `agents` and `routes` of a frame. agents_from throws Error on what put_agents would not
// have written; a frame without the keys is `main` alone.
void put_agents(json::Value& frame, const Agents& agents);
Agents agents_from(const json::Value& frame);

// The keys of the model in a frame: `model`, `dialect`, `server`, `fallback`, `window`. model_from takes
// what is absent as "" or none: `model` the frame's own table asks for.
void put_model(json::Value& frame, const ModelSettings& model);
ModelSettings model_from(const json::Value& frame);

// Leave to hand one message of an agent to another. Only route() can mint one.
class Delivery {
  public:
    const std::string& from() const { return from_; }
    const std::string& to() const { return to_; }
    int hops() const { return hops_; }

  private:
    friend std::variant<Denied, Delivery> route(const Agents&, const struct RouteAsked&);
    Delivery(std::string from, std::string to, int hops)
        : from_(std::move(from)), to_(std::move(to)), hops_(hops) {}
    std::string from_;
    std::string to_;
    int hops_;
};

struct RouteAsked {
    std::string from;
    std::string to;  // the model's word
    int hops = 0;    // of the message that began the sender's turn; 0: a person's
    int64_t sent_in_the_last_hour = 0;  // on this route
};
constexpr int kMaxHops = 3;
constexpr int64_t kMaxMessagesAnHour = 20;

// Pure. Without the operator's line there is no way, and the refusal does not tell who exists.
std::variant<Denied, Delivery> route(const Agents& agents, const RouteAsked& asked);

}  // namespace peacrab
