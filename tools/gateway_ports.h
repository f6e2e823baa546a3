// Ports of cells that are open on this host: a listener on 127.0.0.1 each, a gate before it, and the
// connections handed on. None is open unless `peacrab port` asked for it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "gated_connection.h"
#include "json.h"
#include "loop.h"
#include "os.h"
#include "port_gate.h"

namespace peacrab {

class GatewayPorts {
  public:
    struct Wanted {
        std::string agent;
        uint16_t port = 0;
        enum class Gate { Token, None } gate = Gate::Token;  // None: any program here can connect
    };
    struct Handlers {
        // A connection that passed the gate, to be joined to the cell's port.
        std::function<void(const std::string& agent, uint16_t port, UniqueFd connection)> connected;
        std::function<void(int id, const std::string& why)> closed;  // not by close() itself
    };
    GatewayPorts(Loop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
    ~GatewayPorts() { clear(); }
    GatewayPorts(const GatewayPorts&) = delete;
    GatewayPorts& operator=(const GatewayPorts&) = delete;

    static constexpr size_t kMost = 32;
    static constexpr size_t kMaxAtGate = 64;  // connections of one port that have not passed yet
    struct Opened {
        int id = 0;
        std::string url;
    };
    Opened open(const Wanted& wanted);  // throws Error
    void close(int id);
    // All of an agent's, or only this port. How many there were.
    size_t close_agent(const std::string& agent, uint16_t port, const std::string& why);
    void clear();
    json::Value list() const;  // {agent, port, url, raw} each

  private:
    struct Pending {
        UniqueFd fd;
        Loop::TimerId timer = 0;
    };
    struct Port {
        Wanted wanted;
        PortGate gate;
        UniqueFd listener;
        std::map<int, Pending> at_gate;  // by descriptor
        std::map<int, std::unique_ptr<GatedConnection>> passed;  // by a number
        std::string url() const;
    };
    void accept(int id);
    void readable(int id, int fd);
    void pass(int id, UniqueFd connection);
    void drop(Port& port, int fd);
    Loop& loop_;
    Handlers handlers_;
    std::map<int, Port> ports_;
    int next_id_ = 1;
    int next_passed_ = 1;
};

}  // namespace peacrab
