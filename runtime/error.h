// The only exceptions of the project.
//
// A *failure* (this unit of work cannot go on) throws; an *outcome* the caller must choose on is a
// [[nodiscard]] value; a *bug* asserts. Message text is `what: object: why`, lower case, no full
// stop. Caught at a few named places: main, the turn, the tool call, C callbacks.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace peacrab {

class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class UsageError : public Error {  // of a command line
  public:
    using Error::Error;
};

// A failed system call: appends strerror(errno) to `what`. Read errno before anything else can
// change it, or pass the code.
class ErrnoError : public Error {
  public:
    explicit ErrnoError(const std::string& what, int code = errno)
        : Error(what + ": " + std::strerror(code)), code_(code) {}
    int code() const { return code_; }

  private:
    int code_;
};

}  // namespace peacrab
