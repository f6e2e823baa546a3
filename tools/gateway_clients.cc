// Clients of the gateway. A client that breaks the protocol, hangs up or does not read is dropped;
// none of them can make the gateway wait. Must not look into a chat once it is one.
#include "gateway_clients.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

#include "agents.h"
#include "error.h"
#include "link.h"

namespace peacrab {

SocketAddress::SocketAddress(const std::string& path) : text(path) {
    constexpr size_t kMost = sizeof(sockaddr_un::sun_path) - 1;
    if (text.size() <= kMost) return;
    const size_t slash = path.rfind('/');
    folder = UniqueFd(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) throw ErrnoError("socket: " + printable(path));
    text = "/proc/self/fd/" + std::to_string(folder.get()) + path.substr(slash);
    if (text.size() > kMost)
        throw Error("socket: " + printable(path) + ": too long; set XDG_RUNTIME_DIR to a short folder");
}

GatewayClients::GatewayClients(Loop& loop, const MachinePlace& place, Owner& owner)
    : loop_(loop), owner_(owner), path_(place.socket) {}

GatewayClients::~GatewayClients() {
    if (listener_) {
        loop_.forget(listener_.get());
        ::unlink(path_.c_str());
    }
    for (const auto& [fd, client] : clients_) loop_.forget(fd);
}

void GatewayClients::listen() {
    make_directories(path_.substr(0, path_.rfind('/')));
    ::unlink(path_.c_str());
    const SocketAddress address(path_);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw ErrnoError("socket");
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address.text.copy(name.sun_path, sizeof name.sun_path - 1);
    const mode_t before = ::umask(0177);  // 0600 from its first moment
    const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name);
    const int code = errno;
    ::umask(before);
    if (bound < 0) throw ErrnoError("socket: " + printable(path_), code);
    if (::listen(fd.get(), 16) < 0) throw ErrnoError("socket: " + printable(path_));
    listener_ = std::move(fd);
    loop_.watch(listener_.get(), POLLIN, [this](short) { accept(); });
}

void GatewayClients::accept() {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;  // it has gone again, or there are no descriptors: the next event tells
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return;
    if (peer.uid != ::geteuid() && peer.uid != 0) return;
    if (clients_.size() >= kMaxClients) return;
    const int number = fd.get();
    clients_[number].fd = std::move(fd);
    loop_.watch(number, POLLIN, [this, number](short) { readable(number); });
}

void GatewayClients::drop(int fd) {
    loop_.forget(fd);
    clients_.erase(fd);
    owner_.port_left(fd);
}

// One line and not a byte behind it. Nothing: it is not whole yet.
std::optional<std::string> GatewayClients::take_line(int fd) {
    std::array<char, 4096> bytes;
    const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
    if (n <= 0) throw Error("client: it has gone");
    const std::string_view seen(bytes.data(), static_cast<size_t>(n));
    const size_t end = seen.find('\n');
    if (end == std::string_view::npos) {
        if (seen.size() == bytes.size()) throw Error("client: line too long");
        // Half a line would wake us again and again: take it when it is whole or the client is gone.
        throw Error("client: half a line");
    }
    std::string line(seen.substr(0, end));
    if (::recv(fd, bytes.data(), end + 1, 0) != static_cast<ssize_t>(end + 1))
        throw Error("client: it has gone");
    return line;
}

void GatewayClients::readable(int fd) {
    const auto it = clients_.find(fd);
    if (it == clients_.end()) return;
    if (it->second.waits != Waits::Nothing) return drop(fd);  // only a hang-up comes while it waits
    try {
        const std::optional<std::string> line = take_line(fd);
        if (line) handle(it->second, parse_frame(Dialect::ClientToGateway, *line));
    } catch (const Error& error) {
        log(LogLevel::Debug, error.what());
        drop(fd);
    }
}

void GatewayClients::handle(Client& client, const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "ps") {
        send(client, json::Value::object({{"type", "machine"}, {"report", owner_.report()}}));
    } else if (type == "stop") {
        wait(client, Waits::Stop);
        owner_.stop_wanted();
    } else if (type == "ready") {
        if (!ready_) return wait(client, Waits::Ready);
        send(client, json::Value::object({{"type", "machine"}, {"report", owner_.report()}}));
    } else if (type == "inspect") {
        if (!ready_) return fail(client, "the machine is still booting; try again in a moment");
        client.inspect_id = random_hex(8);
        wait(client, Waits::Inspect);
        owner_.inspect_wanted(client.inspect_id, frame.text("what").substr(0, 32));
    } else if (type == "remove_agent") {
        client.agent = frame.text("agent");
        wait(client, Waits::Removal);
        owner_.removal_wanted(client.agent);
    } else if (type == "more") {
        owner_.more_wanted();
        send(client, json::Value::object({{"type", "done"}}));
    } else if (type == "port") {
        open_port(client, frame);
    } else if (frame.text("what") == "files") {
        open_files(client, frame);
    } else if (frame.text("what") != "chat") {
        fail(client, "open: only a chat, or files, can be opened");
    } else if (ready_) {
        serve(client.fd.get(), "chat", "");
    } else {
        wait(client, Waits::Chat);
    }
}

void GatewayClients::open_port(Client& client, const json::Value& frame) {
    if (!ready_) return fail(client, "the machine is still booting; try again in a moment");
    std::string url;
    try {
        url = owner_.port_wanted(frame, client.fd.get());
    } catch (const Error& error) {
        return fail(client, error.what());
    }
    if (url.empty()) return void(send(client, json::Value::object({{"type", "done"}})));
    // It goes with its client: only a hang-up is expected from it now.
    if (!frame.flag("detach")) wait(client, Waits::Port);
    send(client, json::Value::object({{"type", "port_open"}, {"url", url}}));
}

void GatewayClients::port_closed(int fd, const std::string& why) {
    const auto it = clients_.find(fd);
    if (it == clients_.end()) return;
    fail(it->second, why);
    if (clients_.count(fd)) drop(fd);
}

// Input is left in the socket meanwhile; a hang-up still comes.
void GatewayClients::wait(Client& client, Waits waits) {
    client.waits = waits;
    loop_.change(client.fd.get(), 0);
    if ((waits == Waits::Ready || waits == Waits::Chat) && !last_progress_.empty())
        send(client, json::Value::object({{"type", "progress"}, {"text", last_progress_}}));
}

// What is meant by them, the guest decides.
void GatewayClients::open_files(Client& client, const json::Value& frame) {
    if (!ready_) return fail(client, "the machine is still booting; try again in a moment");
    const std::string agent = frame.text("agent");
    if (!is_agent_name(agent)) return fail(client, "files: `" + agent + "` is no agent's name");
    json::Value meta = json::Value::object({{"agent", agent}});
    for (const char* key : {"op", "path"}) meta.set(key, frame.text(key, ""));
    const std::string text = json::dump(meta);
    if (text.size() + 8 > Link::kMaxOpen) return fail(client, "files: the path is too long");
    serve(client.fd.get(), "files", text);
}

void GatewayClients::serve(int fd, const std::string& kind, const std::string& meta) {
    Client& client = clients_.at(fd);
    const json::Value report = owner_.report();
    const bool sent = send(client, json::Value::object({{"type", "opened"},
                                                        {"accelerator", report.text("accelerator")},
                                                        {"model", report.text("model")},
                                                        {"demo", report.flag("demo")}}));
    if (!sent) return;
    UniqueFd socket = std::move(client.fd);
    drop(fd);
    try {
        owner_.stream_wanted(kind, meta, std::move(socket));
    } catch (const Error& error) {  // no stream left: the client sees its connection end
        log(LogLevel::Error, error.what());
    }
}

// Answers are small; a client whose socket is full does not read, and is dropped. False: it was.
bool GatewayClients::send(Client& client, const json::Value& frame) {
    const std::string line = write_frame(Dialect::GatewayToClient, frame);
    const ssize_t n =
        ::send(client.fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == static_cast<ssize_t>(line.size())) return true;
    drop(client.fd.get());
    return false;
}

void GatewayClients::fail(Client& client, const std::string& why) {
    send(client, json::Value::object({{"type", "failed"}, {"why", why}}));
}

namespace {

// Sending may drop a client: walk over the numbers, not the map.
template <typename Map>
std::vector<int> numbers(const Map& clients) {
    std::vector<int> out;
    for (const auto& [fd, client] : clients) out.push_back(fd);
    return out;
}

}  // namespace

void GatewayClients::progress(const std::string& text) {
    last_progress_ = text;
    for (const int fd : numbers(clients_)) {
        Client& client = clients_.at(fd);
        if (client.waits == Waits::Ready || client.waits == Waits::Chat)
            send(client, json::Value::object({{"type", "progress"}, {"text", text}}));
    }
}

void GatewayClients::ready() {
    ready_ = true;
    for (const int fd : numbers(clients_)) {
        Client& client = clients_.at(fd);
        if (client.waits == Waits::Chat) {
            serve(fd, "chat", "");
        } else if (client.waits == Waits::Ready) {
            client.waits = Waits::Nothing;
            loop_.change(fd, POLLIN);
            send(client, json::Value::object({{"type", "machine"}, {"report", owner_.report()}}));
        }
    }
}

void GatewayClients::inspected(const std::string& id, const json::Value& report) {
    for (const int fd : numbers(clients_)) {
        Client& client = clients_.at(fd);
        if (client.waits != Waits::Inspect || client.inspect_id != id) continue;
        client.waits = Waits::Nothing;
        loop_.change(fd, POLLIN);
        send(client, json::Value::object({{"type", "inspected"}, {"report", report}}));
    }
}

void GatewayClients::removed(const std::string& agent, const std::string& why) {
    for (const int fd : numbers(clients_)) {
        Client& client = clients_.at(fd);
        if (client.waits != Waits::Removal || client.agent != agent) continue;
        client.waits = Waits::Nothing;
        loop_.change(fd, POLLIN);
        if (why.empty()) send(client, json::Value::object({{"type", "done"}}));
        else fail(client, why);
    }
}

void GatewayClients::ended(const std::string& why, bool orderly) {
    for (const int fd : numbers(clients_)) {
        Client& client = clients_.at(fd);
        if (client.waits == Waits::Stop && orderly)
            send(client, json::Value::object({{"type", "done"}}));
        else if (client.waits != Waits::Nothing)
            fail(client, why);
    }
    if (!listener_) return;
    loop_.forget(listener_.get());
    listener_.reset();
    ::unlink(path_.c_str());
}

}  // namespace peacrab
