// Files between a host's stream and an agent's workspace: a jailed child of the agent's cell is joined
// with the stream byte for byte (files/child), and nothing of it is read here but the child's verdict.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cells/warm.h"
#include "json.h"
#include "loop.h"

namespace peacrab {

class Transfers {
  public:
    // Into the audit; false: it could not be written, and nothing is begun then.
    using Note = std::function<bool(const json::Value& record)>;
    Transfers(Loop& loop, Note note);
    ~Transfers();
    Transfers(const Transfers&) = delete;
    Transfers& operator=(const Transfers&) = delete;

    static constexpr size_t kMost = 8;          // at once
    static constexpr size_t kMostOfAgent = 2;
    static constexpr Milliseconds kIdle = Seconds(60);     // times the cell's factor, as
    static constexpr Milliseconds kLimit = Seconds(3600);  // all of it

    struct Wanted {
        std::string agent;
        std::string op;    // "list", "get", "put" or "remove" (files/child)
        std::string path;  // beneath the workspace; "" for all of it
    };
    struct Begun {
        uint64_t number = 0;
        UniqueFd socket;  // to be joined with the stream
    };
    // Throws Error: why not. `cell` must stay until it has ended, or cancel().
    Begun begin(WarmCell& cell, const Wanted& wanted);
    // The stream is gone: what has not answered yet is ended.
    void left(uint64_t number);
    void cancel(const std::string& agent);  // at once; "": of all
    // Of each agent with one under way.
    void cancel_if(const std::function<bool(const std::string& agent)>& ends);

    // What the host reads last on its stream; one line.
    static std::string verdict(bool ok, const std::string& why);

  private:
    struct Running;
    void step(uint64_t number);
    void finish(uint64_t number);
    void say(uint64_t number);
    void forget(uint64_t number);
    Loop& loop_;
    Note note_;
    std::map<uint64_t, std::unique_ptr<Running>> running_;
    uint64_t next_ = 1;
};

}  // namespace peacrab
