// Hands on streams and connections; not a byte of them is looked at in this process. The rules of
// egress go to each child as they are at that moment.
#include "gateway_streams.h"

#include <algorithm>

#include "agents.h"
#include "error.h"
#include "model_route.h"

namespace peacrab {

GatewayStreams::GatewayStreams(Loop& loop, Options options)
    : options_(std::move(options)),
      skills_(loop, skill_places()),
      models_(loop, {.what = "model route", .command = options_.model_route}),
      searches_(loop, {.what = "search", .command = options_.search_route, .most = 4, .a_second = 2}),
      outgoing_(loop, {.what = "egress",
                       .command = options_.egress_route,
                       .most = kMaxEgress,
                       .a_second = 100,
                       .environment = {"RES_OPTIONS=timeout:4 attempts:2"},
                       .confinement = outgoing_confinement()}),
      ports_(loop, {[this](const std::string& agent, uint16_t port, UniqueFd connection) {
                        to_cell(agent, port, std::move(connection));
                    },
                    [this](int id, const std::string& why) { port_ended(id, why); }}) {
    egress_.proxies = own_proxy_settings();
}

// Which of the open ones went by a rule that is gone, nobody here knows.
void GatewayStreams::configure(const Config& config) {
    const bool shrinks = std::any_of(egress_.rules.begin(), egress_.rules.end(), [&](const auto& rule) {
        return std::find(config.egress.begin(), config.egress.end(), rule) == config.egress.end();
    });
    egress_.rules = config.egress;
    if (shrinks) outgoing_.clear();
}

// The agent's name is the guest's word: what is spent is bounded for all together, too; the rules are the same for all, so it decides nothing.
bool GatewayStreams::opened(LinkPort& link, StreamId stream, const std::string& kind,
                            const std::string& meta) {
    if (kind == "search") return searches_.serve(link, stream), true;
    if (kind != "model" && kind != "egress") return false;
    try {
        const json::Value said = json::parse(meta);
        if (kind == "model") {
            const std::string agent = said.text("agent");
            if (!is_agent_name(agent)) throw Error("no agent's name");
            return models_.serve(link, stream, model_job(agent, options_.book)), true;
        }
        egress_.agent = said.text("cell");
        egress_.connection = said.integer("connection");
        if (!is_agent_name(egress_.agent)) throw Error("no agent's name");
        outgoing_.serve(link, stream, egress_job(egress_));
    } catch (const Error&) {
        link.reset(stream, kind + ": whose it is was not said");
    }
    return true;
}

void GatewayStreams::clear() {
    skills_.clear();
    models_.clear();
    searches_.clear();
    outgoing_.clear();
    port_clients_.clear();
    port_connections_ = std::make_shared<PortConnections>();
    ports_.clear();
}

std::string GatewayStreams::port_wanted(const json::Value& frame, int client) {
    const std::string agent = frame.text("agent");
    const int64_t port = frame.integer("port");
    if (!is_agent_name(agent)) throw Error("port: `" + agent + "` is no agent's name");
    if (port < 1 || port > 65535) throw Error("port: a number from 1 to 65535 was expected");
    const auto number = static_cast<uint16_t>(port);
    if (frame.flag("close")) {
        if (ports_.close_agent(agent, number, "closed")) return "";
        throw Error("port: " + agent + " " + std::to_string(port) + ": it is not open");
    }
    using Gate = GatewayPorts::Wanted::Gate;
    const auto opened = ports_.open({agent, number, frame.flag("raw") ? Gate::None : Gate::Token});
    if (!frame.flag("detach")) port_clients_[client] = opened.id;
    return opened.url;
}

void GatewayStreams::port_left(int client) {
    const auto it = port_clients_.find(client);
    if (it == port_clients_.end()) return;
    const int id = it->second;
    port_clients_.erase(it);
    ports_.close(id);
}

void GatewayStreams::cell_gone(const std::string& agent) {
    ports_.close_agent(agent, 0, "the cell has ended, and its servers with it");
}

void GatewayStreams::port_ended(int id, const std::string& why) {
    for (auto it = port_clients_.begin(); it != port_clients_.end(); ++it) {
        if (it->second != id) continue;
        const int client = it->first;
        port_clients_.erase(it);
        return options_.port_closed(client, why);
    }
}

void GatewayStreams::to_cell(const std::string& agent, uint16_t port, UniqueFd connection) {
    LinkPort* const link = options_.link();
    // Anybody of this machine can connect to a raw port: streams must be left for everything else.
    PortConnections& now = *port_connections_;
    if (!link || now.all >= kMaxPortConnections || now.of[agent] >= kMaxOfAnAgent) return;
    const json::Value meta = json::Value::object({{"agent", agent}, {"port", port}});
    try {
        const StreamId stream = link->open("port", json::dump(meta));
        ++now.all;
        ++now.of[agent];
        link->join(stream, std::move(connection), [open = port_connections_, agent] {
            --open->all;
            --open->of[agent];
        });
    } catch (const Error& error) {  // no stream left: the connection ends
        log(LogLevel::Info, error.what());
    }
}

}  // namespace peacrab
