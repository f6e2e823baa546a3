// The children that answer streams the guest opens, one a stream, with the stream as their descriptor
// 3: `peacrab model-route` for kind model, `peacrab egress-route` for kind egress. The gateway itself
// sees neither a key nor a request. Bounded in number and in how fast they are started.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cells/allowance.h"
#include "link.h"
#include "loop.h"
#include "os.h"
#include "spawn.h"

namespace peacrab {

class RouteStreams {
  public:
    struct Options {
        std::string what;                  // in the log: "model route"
        std::vector<std::string> command;  // the program and its arguments
        size_t most = 8;                   // at once
        double a_second = 1e9;             // started in the long run; a burst of `most` before
        std::vector<std::string> environment = own_environment();
        std::optional<Confinement> confinement = std::nullopt;
    };
    RouteStreams(Loop& loop, Options options)
        : loop_(loop),
          options_(std::move(options)),
          starts_(static_cast<double>(options_.most), options_.a_second) {}
    ~RouteStreams() { clear(); }
    RouteStreams(const RouteStreams&) = delete;
    RouteStreams& operator=(const RouteStreams&) = delete;

    // Joins the stream to a child of its own, or resets it. `job`: what the child reads from its
    // descriptor 4; at most 32 KiB, else the stream is reset.
    void serve(LinkPort& link, StreamId stream, const std::string& job = {});
    size_t running() const { return children_.size(); }
    void clear();  // kills all

  private:
    UniqueFd start(const std::string& job, int id);
    void reap(int id);
    void ended(int id);
    Loop& loop_;
    Options options_;
    std::map<int, Pidfd> children_;
    int next_id_ = 1;
    Allowance starts_;
};

// Nobody's ids when we are root: else ours.
Confinement outgoing_confinement();

}  // namespace peacrab
