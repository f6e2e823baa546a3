// Whether the audit's chain is whole, over all its files, asked while the warden goes on writing: a
// child of ours reads them, in its own time and not for ever.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "loop.h"
#include "os.h"

namespace peacrab {

class AuditChecker {
  public:
    struct Result {
        enum class State { Whole, Broken, Unknown } state = State::Unknown;
        std::string text;  // "1200 records in 3 files, whole", or the first that is wrong
    };
    AuditChecker(Loop& loop, std::string folder, Milliseconds limit = Seconds(30))
        : loop_(loop), folder_(std::move(folder)), limit_(limit) {}
    ~AuditChecker();
    AuditChecker(const AuditChecker&) = delete;
    AuditChecker& operator=(const AuditChecker&) = delete;

    // `done` is called once, later. Who asks while one runs gets the answer of that one.
    void check(std::function<void(const Result&)> done);

  private:
    void start();
    void heard();
    void end(const Result& result);

    Loop& loop_;
    std::string folder_;
    Milliseconds limit_;
    std::vector<std::function<void(const Result&)>> waiting_;
    Pidfd child_;
    UniqueFd answer_;
    std::string said_;
    Loop::TimerId timer_ = 0;
};

// The same at once, by whoever asks.
AuditChecker::Result check_whole_audit(const std::string& folder);

}  // namespace peacrab
