// The cell's end of the way out: bounds, and what one too many is told.
#include "cells/relay.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>

#include "error.h"

using namespace peacrab;

namespace {

struct Listener {
    UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in name{};
    Listener() {
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof name;
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size) == 0);
        REQUIRE(::listen(fd.get(), 256) == 0);
        REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
    }
    UniqueFd connect() {
        UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
        return client;
    }
};

void turn(Loop& loop, const std::function<bool()>& until) {
    for (int i = 0; i < 200 && !until(); ++i) loop.run_once(Milliseconds(20));
    CHECK(until());
}

std::string read_all(Loop& loop, int fd) {
    set_nonblocking(fd);
    std::string text;
    char piece[512];
    for (int i = 0; i < 200; ++i) {
        const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
        if (n == 0) break;
        if (n > 0) text.append(piece, static_cast<size_t>(n));
        else loop.run_once(Milliseconds(20));
    }
    return text;
}

}  // namespace

TEST_CASE("relay: one connection more than it takes is told so, and a place that is free is given again") {
    Loop loop;
    Listener listener;
    std::vector<std::pair<UniqueFd, std::function<void()>>> taken;
    Relay relay(loop, listener.fd.get(), [&](UniqueFd connection, std::function<void()> ended) {
        taken.emplace_back(std::move(connection), std::move(ended));
    });
    std::vector<UniqueFd> clients;
    for (size_t i = 0; i < Relay::kMost; ++i) clients.push_back(listener.connect());
    turn(loop, [&] { return taken.size() == Relay::kMost; });
    CHECK(relay.open() == Relay::kMost);
    UniqueFd more = listener.connect();
    const std::string answer = read_all(loop, more.get());
    CHECK(answer.starts_with("HTTP/1.1 503 "));
    CHECK(answer.ends_with("try again in a moment"));
    CHECK(taken.size() == Relay::kMost);
    taken.back().second();
    taken.back().second();  // twice is once
    taken.pop_back();
    CHECK(relay.open() == Relay::kMost - 1);
    UniqueFd again = listener.connect();
    turn(loop, [&] { return taken.size() == Relay::kMost; });
}

TEST_CASE("relay: what nobody takes is told so") {
    Loop loop;
    Listener listener;
    Relay relay(loop, listener.fd.get(),
                [](UniqueFd, std::function<void()>) { throw Error("the link is full"); });
    UniqueFd client = listener.connect();
    CHECK(read_all(loop, client.get()).starts_with("HTTP/1.1 503 "));
    CHECK(relay.open() == 0);
}

TEST_CASE("relay: a flood waits, and the loop has time for others") {
    Loop loop;
    Listener listener;
    size_t taken = 0;
    Relay relay(loop, listener.fd.get(), [&](UniqueFd, std::function<void()> ended) {
        ++taken;
        ended();
    });
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 200; ++i) clients.push_back(listener.connect());
    const auto begun = std::chrono::steady_clock::now();
    const Deadline deadline = Deadline::in(Milliseconds(500));
    while (!deadline.passed()) loop.run_once(Milliseconds(20));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    CHECK(taken >= Relay::kMost);
    CHECK(static_cast<double>(taken) <= Relay::kMost + 1 + took.count() * Relay::kASecond);
}
