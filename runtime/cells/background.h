// An agent's background processes: what it started to go on after the call. They have ids, live in
// its cell and die with it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cells/command_watch.h"
#include "cells/warm.h"
#include "json.h"

namespace peacrab {

class Background {
  public:
    static constexpr size_t kMost = 8;  // that run; of those that ended as many are remembered
    static constexpr Milliseconds kGrace = Seconds(3);  // from SIGTERM to SIGKILL

    // `ended` is called for each that ends, with a line about it.
    Background(Loop& loop, WarmCell& home, std::function<void(const std::string& line)> ended = {});
    Background(const Background&) = delete;
    ~Background();  // kills

    std::string start(const ShellCall& call);  // its id: "b1"; throws Error
    size_t running() const;
    bool runs(const std::string& id) const;
    bool succeeded(const std::string& id) const;  // has ended, and well
    // For the model, one line each: "b1 has run for 12 s: sleep 60", "b2 ended (exit code 1): make".
    std::string list();
    std::string about(const std::string& id);  // its line; throws Error: there is no such id
    std::string news(const std::string& id);   // what it said since the last time; raw
    void stop(const std::string& id);
    void stop_all();  // kills
    // A line for each that ended by itself and that nobody was told of yet.
    std::vector<std::string> untold();
    // The same in brackets, to stand after other text; "" when there is none.
    std::string news_of_ends();
    // Of each that runs a row {agent, id, ms, command} for the person.
    void add_rows(json::Value& rows, const std::string& agent) const;

  private:
    struct Process {
        Process(Loop& loop, Command the_command, WarmCell::Stay the_stay, std::string the_title,
                std::function<void()> step)
            : command(std::move(the_command)), watched(loop, std::move(step)), stay(std::move(the_stay)),
              title(std::move(the_title)) {}
        Command command;
        CommandWatch watched;
        std::optional<WarmCell::Stay> stay;  // until it has ended
        std::string title;
        std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
        std::string end;  // how; "" while it runs
        bool well = false;
        bool told = false;
        bool stopping = false;  // asked to end; killed when it does not
        Loop::TimerId grace = 0;
    };
    Process& at(const std::string& id);
    std::string line(int number, const Process& process) const;
    void step(int number);
    void forget_old();

    Loop& loop_;
    WarmCell& home_;
    std::function<void(const std::string&)> ended_;
    std::map<int, Process> processes_;
    int next_ = 1;
};

}  // namespace peacrab
