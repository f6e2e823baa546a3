// The gateway's unix socket: who connects, what they ask for, and who waits for what.
//
// Only the person who owns the machine (or root) is let in. Frames come one line at a time and no
// byte more is taken from the socket than the line, so that a connection can become a chat stream.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "frame.h"
#include "json.h"
#include "loop.h"
#include "machine.h"
#include "os.h"

namespace peacrab {

class GatewayClients {
  public:
    class Owner {
      public:
        virtual ~Owner() = default;
        virtual json::Value report() = 0;
        // The socket is given away: the client has been told `opened`.
        // As a stream of that kind; throws Error when there is none left.
        virtual void stream_wanted(const std::string& kind, const std::string& meta, UniqueFd client) = 0;
        virtual void inspect_wanted(const std::string& id, const std::string& what) = 0;
        virtual void stop_wanted() = 0;
        virtual void more_wanted() = 0;  // the book of what is spent allows more than before
        virtual void removal_wanted(const std::string& agent) = 0;
        // Gives the address; throws Error, whose text the client is told.
        virtual std::string port_wanted(const json::Value& frame, int client) = 0;
        virtual void port_left(int client) = 0;  // a client that had asked for a port has gone
    };

    GatewayClients(Loop& loop, const MachinePlace& place, Owner& owner);
    ~GatewayClients();
    GatewayClients(const GatewayClients&) = delete;
    GatewayClients& operator=(const GatewayClients&) = delete;

    void listen();  // throws; the caller holds the machine's lock, so an old socket is removed
    void progress(const std::string& text);  // to those who wait for the boot
    void ready();                            // the machine is up: who waited is served
    void inspected(const std::string& id, const json::Value& report);
    void removed(const std::string& agent, const std::string& why);  // "": its files are gone
    void port_closed(int client, const std::string& why);
    // The machine has gone: everyone is told, the socket is removed.
    void ended(const std::string& why, bool orderly);

    static constexpr size_t kMaxClients = 64;

  private:
    enum class Waits { Nothing, Chat, Ready, Stop, Inspect, Removal, Port };
    struct Client {
        UniqueFd fd;
        Waits waits = Waits::Nothing;
        std::string inspect_id;
        std::string agent;  // whose removal it waits for
    };
    void accept();
    void readable(int fd);
    std::optional<std::string> take_line(int fd);  // throws when the client breaks the rules
    void handle(Client& client, const json::Value& frame);
    void serve(int fd, const std::string& kind, const std::string& meta);
    void wait(Client& client, Waits waits);
    void open_files(Client& client, const json::Value& frame);
    void open_port(Client& client, const json::Value& frame);
    bool send(Client& client, const json::Value& frame);
    void fail(Client& client, const std::string& why);
    void drop(int fd);

    Loop& loop_;
    Owner& owner_;
    std::string path_;
    UniqueFd listener_;
    std::map<int, Client> clients_;
    bool ready_ = false;
    std::string last_progress_;  // for who comes in the middle of a boot
};

// An address for bind(2) and connect(2): 107 bytes are all it holds, so a long path goes through
// /proc/self/fd of its folder, which `folder` keeps open. Throws Error.
struct SocketAddress {
    explicit SocketAddress(const std::string& path);
    std::string text;
    UniqueFd folder;
};

}  // namespace peacrab
