// Accepts for one cell, with bounds: a cell that opens connections as fast as it can takes neither the
// link's streams from the others nor the warden's time. Must not look into a connection.
#include "cells/relay.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>

#include "error.h"

namespace peacrab {
namespace {

constexpr int kAcceptsARound = 8;
constexpr size_t kMaxLeaving = 16;
constexpr Milliseconds kLeave{250};
constexpr Milliseconds kPause{100};
constexpr std::string_view kBusy =
    "HTTP/1.1 503 Too many connections\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    "Content-Length: 90\r\n\r\n"
    "peacrab: too many connections at once from this cell; close some, or try again in a moment";

}  // namespace

Relay::Relay(Loop& loop, int listener, Take take, std::function<void()> turned_away)
    : loop_(loop),
      listener_(listener),
      take_(std::move(take)),
      turned_away_(std::move(turned_away)) {
    set_nonblocking(listener_);
    watch();
}

Relay::~Relay() {
    loop_.cancel(pause_);
    loop_.forget(listener_);
    for (const auto& [fd, leaving] : leaving_) loop_.cancel(leaving.second);
}

void Relay::watch() {
    loop_.watch(listener_, POLLIN, [this](short) { accept(); });
}

void Relay::accept() {
    for (int round = 0; round < kAcceptsARound; ++round) {
        if (!allowance_.take()) {  // the others wait in the listener's queue
            loop_.forget(listener_);
            pause_ = loop_.after(kPause, [this] { watch(); });
            return;
        }
        UniqueFd connection(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!connection) {
            allowance_.give_back();
            return;
        }
        if (*open_ >= kMost) {
            refuse(std::move(connection));
            continue;
        }
        ++*open_;
        const auto ended = [open = open_, once = std::make_shared<bool>(false)] {
            if (!std::exchange(*once, true)) --*open;
        };
        // A second way to it, for the sentence when nobody takes the first.
        UniqueFd spare(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 3));
        try {
            take_(std::move(connection), ended);
        } catch (const Error& error) {
            log(LogLevel::Info, std::string("relay: ") + error.what());
            ended();
            if (spare) refuse(std::move(spare));
        }
    }
}

// Closed a moment later: at once, with bytes of the client unread, it would see a reset connection
// and no sentence.
void Relay::refuse(UniqueFd connection) {
    if (turned_away_) turned_away_();
    std::array<char, 16384> away;
    static_cast<void>(::recv(connection.get(), away.data(), away.size(), MSG_DONTWAIT));
    static_cast<void>(::send(connection.get(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    ::shutdown(connection.get(), SHUT_WR);
    if (leaving_.size() >= kMaxLeaving) return;
    const int fd = connection.get();
    const auto timer = loop_.after(kLeave, [this, fd] { leaving_.erase(fd); });
    leaving_.emplace(fd, std::pair(std::move(connection), timer));
}

}  // namespace peacrab
