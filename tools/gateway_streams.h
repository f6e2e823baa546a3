// What goes on beside the chats of a machine: model calls and egress, each answered by a child of its
// own, and the ports of cells that are open here.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "egress_route.h"
#include "gateway_ports.h"
#include "link.h"
#include "route_streams.h"
#include "skill_sender.h"

namespace peacrab {

class GatewayStreams {
  public:
    struct Options {
        std::vector<std::string> model_route;
        std::string book;  // where the model routes write down what is spent
        std::vector<std::string> egress_route;
        std::function<LinkPort*()> link;  // null: the machine is not ready
        // A client that waited for the end of its port is to be told why it came.
        std::function<void(int client, const std::string& why)> port_closed;
        std::vector<std::string> search_route = {"/proc/self/exe", "search-route"};
    };
    GatewayStreams(Loop& loop, Options options);

    static constexpr size_t kMaxEgress = 160;  // of all cells together
    static constexpr size_t kMaxPortConnections = 48;  // of all opened ports together
    static constexpr size_t kMaxOfAnAgent = 16;        // a server that never ends one must not take all

    // A rule that is taken away ends everything that is open at once.
    void configure(const Config& config);
    // False: of no kind that is known here.
    bool opened(LinkPort& link, StreamId stream, const std::string& kind, const std::string& meta);
    void attached(LinkPort& link) { skills_.attached(link); }  // the guest is there
    void look() { skills_.look(); }  // for what a person has changed of theirs, now
    void clear();  // the machine has gone: children and ports end

    // `frame`: a client's `port`. Gives the address, "" for a port that was closed. Throws Error.
    std::string port_wanted(const json::Value& frame, int client);
    void port_left(int client);
    void cell_gone(const std::string& agent);
    json::Value ports() const { return ports_.list(); }

  private:
    void to_cell(const std::string& agent, uint16_t port, UniqueFd connection);
    void port_ended(int id, const std::string& why);
    Options options_;
    SkillSender skills_;
    RouteStreams models_;
    RouteStreams searches_;
    RouteStreams outgoing_;
    EgressRouteOptions egress_;  // the rules as they are now
    GatewayPorts ports_;
    struct PortConnections {
        size_t all = 0;
        std::map<std::string, size_t> of;  // by agent
    };
    std::shared_ptr<PortConnections> port_connections_ = std::make_shared<PortConnections>();
    std::map<int, int> port_clients_;  // who waits for the end of which port
};

}  // namespace peacrab
