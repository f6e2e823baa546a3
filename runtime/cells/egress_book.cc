// A bucket of records for each agent, and counters for what overflows. None is flushed to the disk at
// once: a connection must not wait for it, nor the neighbours for a cell that opens thousands.
#include "cells/egress_book.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "error.h"

namespace peacrab {

EgressBook::~EgressBook() {
    for (const auto& [agent, account] : accounts_) loop_.cancel(account.timer);
}

EgressBook::Entry EgressBook::opened(const std::string& agent) {
    Account& account = accounts_[agent];
    Entry entry;
    entry.number = ++last_;
    entry.counted = !account.records.take();
    if (entry.counted) {
        ++account.opened;
        count(agent, account);
    } else if (!write_(json::Value::object({{"kind", "egress opened"},
                                            {"agent", agent},
                                            {"connection", entry.number}}))) {
        throw Error("egress: the audit cannot be written");
    }
    return entry;
}

void EgressBook::closed(const std::string& agent, const Entry& entry, Traffic traffic) {
    if (!entry.counted) {
        const auto span = std::chrono::steady_clock::now() - entry.since;
        write_(json::Value::object(
            {{"kind", "egress closed"},
             {"agent", agent},
             {"connection", entry.number},
             {"up", traffic.up},
             {"down", traffic.down},
             {"ms", std::chrono::duration_cast<Milliseconds>(span).count()}}));
        return;
    }
    Account& account = accounts_[agent];
    ++account.closed;
    account.traffic.up += traffic.up;
    account.traffic.down += traffic.down;
    count(agent, account);
}

void EgressBook::turned_away(const std::string& agent) {
    Account& account = accounts_[agent];
    ++account.turned_away;
    count(agent, account);
}

void EgressBook::count(const std::string& agent, Account& account) {
    if (account.timer) return;
    account.timer = loop_.after(kCount, [this, agent] {
        Account& full = accounts_.at(agent);
        full.timer = 0;
        write_count(agent, full);
    });
}

void EgressBook::write_count(const std::string& agent, Account& account) {
    const bool written = write_(json::Value::object({{"kind", "egress counted"},
                                                     {"agent", agent},
                                                     {"opened", account.opened},
                                                     {"closed", account.closed},
                                                     {"turned_away", account.turned_away},
                                                     {"up", account.traffic.up},
                                                     {"down", account.traffic.down},
                                                     {"last", last_}}));
    if (!written) return count(agent, account);  // what was counted is not lost
    account.opened = account.closed = account.turned_away = 0;
    account.traffic = {};
}

void EgressBook::flush() {
    for (auto& [agent, account] : accounts_) {
        if (!account.timer) continue;
        loop_.cancel(std::exchange(account.timer, 0));
        write_count(agent, account);
    }
}

EgressBook::Traffic traffic_of(int socket) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return {};
    return {info.tcpi_bytes_received, info.tcpi_bytes_acked};
}

}  // namespace peacrab
