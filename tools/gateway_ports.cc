// Listens, and lets through who has the token. The first head is looked at and left in the socket, from
// which what passes is read anew, request by request. Must not make the gateway wait for a client, and must not listen
// anywhere but on loopback.
#include "gateway_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "error.h"
#include "http_head.h"

namespace peacrab {
namespace {

constexpr Milliseconds kAtGate{10'000};
constexpr int kAcceptsARound = 16;

UniqueFd listen_on_loopback(uint16_t& port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw ErrnoError("port: socket");
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    sockaddr* const any = reinterpret_cast<sockaddr*>(&name);
    if (::bind(fd.get(), any, size) < 0 || ::listen(fd.get(), 64) < 0 ||
        ::getsockname(fd.get(), any, &size) < 0)
        throw ErrnoError("port: listen on 127.0.0.1");
    port = ntohs(name.sin_port);
    return fd;
}

// poll then reports the socket only when more than this is there.
void wake_above(int fd, size_t bytes) {
    const int mark = static_cast<int>(bytes) + 1;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark);
}

// A short answer, and the end. What it has sent is read first, or it would see a reset connection.
void answer(int fd, const std::string& text) {
    std::array<char, kMaxHead> away;
    while (::recv(fd, away.data(), away.size(), MSG_DONTWAIT) > 0) {
    }
    static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    ::shutdown(fd, SHUT_WR);
}

}  // namespace

std::string GatewayPorts::Port::url() const {
    return wanted.gate == Wanted::Gate::Token ? gate.url() : "127.0.0.1:" + std::to_string(gate.port);
}

GatewayPorts::Opened GatewayPorts::open(const Wanted& wanted) {
    if (ports_.size() >= kMost) throw Error("port: " + std::to_string(kMost) + " are open already");
    Port port;
    port.wanted = wanted;
    port.listener = listen_on_loopback(port.gate.port);
    port.gate.name = wanted.agent + "-" + std::to_string(wanted.port) + "-" + random_hex(4) + ".localhost";
    port.gate.token = random_hex(16);
    const int id = next_id_++;
    loop_.watch(port.listener.get(), POLLIN, [this, id](short) { accept(id); });
    const std::string url = port.url();
    ports_.emplace(id, std::move(port));
    return {id, url};
}

void GatewayPorts::accept(int id) {
    Port& port = ports_.at(id);
    for (int round = 0; round < kAcceptsARound; ++round) {
        UniqueFd fd(::accept4(port.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd) return;
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (port.wanted.gate == Wanted::Gate::None) {
            handlers_.connected(port.wanted.agent, port.wanted.port, std::move(fd));
            continue;
        }
        if (port.at_gate.size() >= kMaxAtGate) continue;
        const int number = fd.get();
        Pending& pending = port.at_gate[number];
        pending.fd = std::move(fd);
        pending.timer = loop_.after(kAtGate, [this, id, number] { drop(ports_.at(id), number); });
        loop_.watch(number, POLLIN, [this, id, number](short) { readable(id, number); });
    }
}

void GatewayPorts::readable(int id, int fd) {
    Port& port = ports_.at(id);
    std::array<char, kMaxHead> bytes;
    const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return drop(port, fd);
    const auto size = static_cast<size_t>(n);
    const GateAnswer verdict = ask_gate(port.gate, {bytes.data(), size});
    switch (verdict.kind) {
        case GateAnswer::Kind::NeedMore:
            return wake_above(fd, size);
        case GateAnswer::Kind::Pass: {
            wake_above(fd, 0);
            UniqueFd connection = std::move(port.at_gate.at(fd).fd);
            drop(port, fd);
            return pass(id, std::move(connection));
        }
        case GateAnswer::Kind::Refuse:
        case GateAnswer::Kind::Redirect:
            break;
    }
    answer(fd, verdict.response);
    drop(port, fd);
}

void GatewayPorts::pass(int id, UniqueFd connection) {
    Port& port = ports_.at(id);
    SocketPair pair = SocketPair::stream();
    const int number = next_passed_++;
    port.passed[number] = std::make_unique<GatedConnection>(
        loop_, port.gate, std::move(connection), std::move(pair.ours),
        [this, id, number] { ports_.at(id).passed.erase(number); });
    handlers_.connected(port.wanted.agent, port.wanted.port, std::move(pair.theirs));
}

void GatewayPorts::drop(Port& port, int fd) {
    const auto it = port.at_gate.find(fd);
    if (it == port.at_gate.end()) return;
    loop_.forget(fd);
    loop_.cancel(it->second.timer);
    port.at_gate.erase(it);
}

void GatewayPorts::close(int id) {
    const auto it = ports_.find(id);
    if (it == ports_.end()) return;
    loop_.forget(it->second.listener.get());
    while (!it->second.at_gate.empty()) drop(it->second, it->second.at_gate.begin()->first);
    ports_.erase(it);
}

size_t GatewayPorts::close_agent(const std::string& agent, uint16_t port, const std::string& why) {
    std::vector<int> found;
    for (const auto& [id, each] : ports_)
        if (each.wanted.agent == agent && (port == 0 || each.wanted.port == port)) found.push_back(id);
    for (const int id : found) {
        close(id);
        handlers_.closed(id, why);
    }
    return found.size();
}

void GatewayPorts::clear() {
    while (!ports_.empty()) close(ports_.begin()->first);
}

json::Value GatewayPorts::list() const {
    json::Value array = json::Value::array();
    for (const auto& [id, port] : ports_)
        array.push(json::Value::object({{"agent", port.wanted.agent},
                                        {"port", port.wanted.port},
                                        {"url", port.url()},
                                        {"raw", port.wanted.gate == Wanted::Gate::None}}));
    return array;
}

}  // namespace peacrab
