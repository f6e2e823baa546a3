// One process, one poll loop, two buffers a connection. It reads nothing of what it carries. Must
// hold no more than its bounds, whatever either side does: who does not read is not read from.
#include "cells/shared_relay.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <list>
#include <vector>

#include "cells/report.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMostConnections = 64;

// What goes one way.
struct Flow {
    int from, to;
    std::array<char, 16384> bytes;
    size_t begin = 0, end = 0;
    bool ended = false;  // `from` has said all, and `to` was told

    bool wants_read() const { return !ended && begin == end; }
    bool wants_write() const { return begin < end; }
    // False: the connection is broken.
    bool move(bool readable, bool writable) {
        if (readable && wants_read()) {
            const ssize_t n = ::read(from, bytes.data(), bytes.size());
            if (n < 0) return errno == EAGAIN || errno == EINTR;
            begin = 0;
            end = static_cast<size_t>(n);
            if (n == 0) {
                ended = true;
                ::shutdown(to, SHUT_WR);
            }
        }
        if ((writable || readable) && wants_write()) {
            const ssize_t n = ::send(to, bytes.data() + begin, end - begin, MSG_NOSIGNAL);
            if (n < 0) return errno == EAGAIN || errno == EINTR;
            begin += static_cast<size_t>(n);
        }
        return true;
    }
};

struct Connection {
    UniqueFd inside, outside;
    Flow out, in;
    bool connected = false;
    Connection(UniqueFd the_inside, UniqueFd the_outside)
        : inside(std::move(the_inside)), outside(std::move(the_outside)) {
        out.from = in.to = inside.get();
        out.to = in.from = outside.get();
    }
    short inside_events() const {
        return static_cast<short>((connected && out.wants_read() ? POLLIN : 0) |
                                  (in.wants_write() ? POLLOUT : 0));
    }
    short outside_events() const {
        return static_cast<short>((in.wants_read() && connected ? POLLIN : 0) |
                                  (out.wants_write() || !connected ? POLLOUT : 0));
    }
    bool step(short inside_has, short outside_has) {
        const auto ready = [](short has, int what) {
            return (has & (what | POLLERR | POLLHUP)) != 0;
        };
        if (!connected && ready(outside_has, POLLOUT)) {
            int code = 0;
            socklen_t size = sizeof code;
            if (::getsockopt(outside.get(), SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code)
                return false;
            connected = true;
        }
        if (!connected) return true;
        return out.move(ready(inside_has, POLLIN), ready(outside_has, POLLOUT)) &&
               in.move(ready(outside_has, POLLIN), ready(inside_has, POLLOUT)) &&
               !(out.ended && in.ended);
    }
};

void serve(const ProxyAddress& proxy, int listener) {
    std::list<Connection> connections;
    for (;;) {
        std::vector<pollfd> fds;
        const bool room = connections.size() < kMostConnections;
        fds.push_back({room ? listener : -1, POLLIN, 0});
        for (const Connection& each : connections) {
            // Not looked at while nothing is wanted of it: a hang-up would be told for ever.
            const short inside = each.inside_events(), outside = each.outside_events();
            fds.push_back({inside ? each.inside.get() : -1, inside, 0});
            fds.push_back({outside ? each.outside.get() : -1, outside, 0});
        }
        if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
        size_t i = 1;
        for (auto each = connections.begin(); each != connections.end(); i += 2) {
            const short inside = fds[i].revents, outside = fds[i + 1].revents;
            const bool lives = (!inside && !outside) || each->step(inside, outside);
            each = lives ? std::next(each) : connections.erase(each);
        }
        if (!fds[0].revents) continue;
        UniqueFd inside(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!inside) continue;
        if (UniqueFd outside = dial(proxy))
            connections.emplace_back(std::move(inside), std::move(outside));
    }
}

}  // namespace

UniqueFd dial(const ProxyAddress& proxy) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(proxy.host.c_str(), std::to_string(proxy.port).c_str(), &hints, &found) != 0)
        return {};
    UniqueFd made;
    for (const addrinfo* at = found; at && !made; at = at->ai_next) {
        made = UniqueFd(::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (made && ::connect(made.get(), at->ai_addr, at->ai_addrlen) < 0 && errno != EINPROGRESS)
            made.reset();
    }
    ::freeaddrinfo(found);
    return made;
}

std::string ProxyAddress::url() const {
    const bool six = host.find(':') != std::string::npos;
    return "http://" + (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::optional<ProxyAddress> proxy_of_environment() {
    std::string text;
    for (const char* name : {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"})
        if (text.empty()) text = env(name);
    if (text.empty()) return std::nullopt;
    const std::string scheme = "http://";
    const auto refuse = [&](const char* why) -> std::optional<ProxyAddress> {
        throw Error("cell: the environment's proxy: " + std::string(why) +
                    ": set HTTPS_PROXY to http://HOST:PORT, or unset it");
    };
    if (text.find("://") != std::string::npos) {
        if (!text.starts_with(scheme)) return refuse("not http");
        text.erase(0, scheme.size());
    }
    text = text.substr(0, text.find('/'));
    if (text.find('@') != std::string::npos) return refuse("asks for a password");
    const size_t colon = text.rfind(':');
    ProxyAddress proxy{text.substr(0, colon), 80};
    if (colon != std::string::npos) {
        const char* const end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data() + colon + 1, end, proxy.port);
        if (error != std::errc() || at != end || proxy.port == 0) return refuse("no such port");
    }
    if (proxy.host.size() > 2 && proxy.host.front() == '[' && proxy.host.back() == ']')
        proxy.host = proxy.host.substr(1, proxy.host.size() - 2);
    if (proxy.host.empty()) return refuse("no host");
    return proxy;
}

ProxyRelay::ProxyRelay(const ProxyAddress& proxy, int listener) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("cell: relay: fork");
    if (pid == 0) {
        keep_only(listener, parent);
        try {
            serve(proxy, kReport);
        } catch (const std::exception&) {
        }
        ::_exit(0);
    }
    process_ = Pidfd::of_child(pid);
}

}  // namespace peacrab
