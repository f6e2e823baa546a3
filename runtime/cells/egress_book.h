// What the audit is told of the connections by which cells go out. Each has a record when it is opened
// and one when it has ended; of an agent that opens many, the rest is counted, one record a minute: a
// flood must neither fill the disk with records nor push older ones out of the audit.
//
// Nothing of what a connection says is known here. Where it went, and whether it was let through, stands
// in the gateway's log under the same agent and number.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "cells/allowance.h"
#include "json.h"
#include "loop.h"

namespace peacrab {

class EgressBook {
  public:
    // Takes one record; false: it could not be written.
    using Write = std::function<bool(const json::Value& record)>;
    EgressBook(Loop& loop, Write write) : loop_(loop), write_(std::move(write)) {}
    ~EgressBook();
    EgressBook(const EgressBook&) = delete;
    EgressBook& operator=(const EgressBook&) = delete;

    static constexpr int kBurst = 40;            // connections of an agent with records of their own
    static constexpr double kAMinute = 2;        // in the long run
    static constexpr Milliseconds kCount = Seconds(60);  // between two records that count

    struct Entry {
        int64_t number = 0;      // of the connection, since the machine started
        bool counted = false;    // without records of its own
        std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    };
    struct Traffic {
        uint64_t up = 0;    // bytes the cell sent
        uint64_t down = 0;  // and got
    };
    // Before anything of the connection goes on. Throws Error when it cannot be written down: then
    // nothing may.
    Entry opened(const std::string& agent);
    void closed(const std::string& agent, const Entry& entry, Traffic traffic);
    void turned_away(const std::string& agent);  // it was one too many
    void flush();  // writes what is counted so far

  private:
    struct Account {
        Allowance records{kBurst, kAMinute / 60};
        uint64_t opened = 0, closed = 0, turned_away = 0;
        Traffic traffic;
        Loop::TimerId timer = 0;
    };
    void count(const std::string& agent, Account& account);
    void write_count(const std::string& agent, Account& account);

    Loop& loop_;
    Write write_;
    std::map<std::string, Account> accounts_;  // by agent: as many as there are agents
    int64_t last_ = 0;
};

// What went through a connected TCP socket so far, as the kernel counts it.
EgressBook::Traffic traffic_of(int socket);

}  // namespace peacrab
