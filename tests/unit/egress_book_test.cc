// What is written down of connections by which cells go out, and how little of a flood.
#include "cells/egress_book.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include "error.h"

using namespace peacrab;

namespace {

struct Shelf {
    Loop loop;
    std::vector<json::Value> records;
    bool full = false;
    EgressBook book{loop, [this](const json::Value& record) {
                        if (!full) records.push_back(record);
                        return !full;
                    }};
    uint64_t sum(const char* key) const {
        uint64_t all = 0;
        for (const json::Value& record : records)
            if (record.text("kind") == "egress counted")
                all += static_cast<uint64_t>(record.integer(key));
        return all;
    }
    size_t count(const char* kind) const {
        size_t found = 0;
        for (const json::Value& record : records) found += record.text("kind") == kind;
        return found;
    }
};

}  // namespace

TEST_CASE("egress book: a connection is written down when it is opened and when it has ended") {
    Shelf shelf;
    const EgressBook::Entry first = shelf.book.opened("main");
    const EgressBook::Entry second = shelf.book.opened("scout");
    REQUIRE(shelf.records.size() == 2);
    CHECK(json::dump(shelf.records[0]) ==
          R"({"kind":"egress opened","agent":"main","connection":1})");
    CHECK(second.number == 2);
    shelf.book.closed("main", first, {100, 2000});
    REQUIRE(shelf.records.size() == 3);
    CHECK(shelf.records[2].text("kind") == "egress closed");
    CHECK(shelf.records[2].integer("connection") == 1);
    CHECK(shelf.records[2].integer("up") == 100);
    CHECK(shelf.records[2].integer("down") == 2000);
}

TEST_CASE("egress book: of five thousand connections few have records, and none is left out of the sum") {
    Shelf shelf;
    for (int i = 0; i < 5000; ++i)
        shelf.book.closed("main", shelf.book.opened("main"), {10, 20});
    for (int i = 0; i < 30; ++i) shelf.book.turned_away("main");
    shelf.book.flush();
    CHECK(shelf.count("egress opened") == EgressBook::kBurst);
    CHECK(shelf.count("egress closed") == EgressBook::kBurst);
    CHECK(shelf.count("egress counted") == 1);
    CHECK(shelf.sum("opened") == 5000 - EgressBook::kBurst);
    CHECK(shelf.sum("closed") == 5000 - EgressBook::kBurst);
    CHECK(shelf.sum("up") == 10 * (5000 - EgressBook::kBurst));
    CHECK(shelf.sum("turned_away") == 30);
    // A neighbour has its own.
    (void)shelf.book.opened("scout");
    CHECK(shelf.records.back().text("agent") == "scout");
    shelf.book.flush();
    CHECK(shelf.count("egress counted") == 1);  // nothing new
}

TEST_CASE("egress book: what cannot be written down does not begin, and a count is not lost") {
    Shelf shelf;
    shelf.full = true;
    CHECK_THROWS_AS((void)shelf.book.opened("main"), Error);
    shelf.full = false;
    for (int i = 0; i < EgressBook::kBurst + 5; ++i) (void)shelf.book.opened("main");
    const uint64_t counted = 6;  // one of the burst was spent in vain
    shelf.full = true;
    shelf.book.flush();
    CHECK(shelf.sum("opened") == 0);
    shelf.full = false;
    shelf.book.flush();
    CHECK(shelf.sum("opened") == counted);
}

TEST_CASE("egress book: the kernel says how much went through a connection, also once it has ended") {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    auto* const address = reinterpret_cast<sockaddr*>(&name);
    REQUIRE(::bind(listener.get(), address, size) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    REQUIRE(::getsockname(listener.get(), address, &size) == 0);
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), address, size) == 0);
    UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const UniqueFd same(::dup(server.get()));
    write_all(client.get(), std::string(5000, 'x'));
    write_all(server.get(), std::string(300, 'y'));
    std::string got(5000, ' ');
    REQUIRE(::recv(server.get(), got.data(), got.size(), MSG_WAITALL) == 5000);
    REQUIRE(::recv(client.get(), got.data(), 300, MSG_WAITALL) == 300);
    ::shutdown(server.get(), SHUT_RDWR);
    server.reset();
    client.reset();
    // The kernel may count the end itself as one.
    const EgressBook::Traffic traffic = traffic_of(same.get());
    CHECK(traffic.up >= 5000);
    CHECK(traffic.up <= 5001);
    CHECK(traffic.down >= 300);
    CHECK(traffic.down <= 302);
}
