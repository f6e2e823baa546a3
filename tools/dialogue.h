// Questions to the person, a line each. A key that is typed must not be seen: not on the screen, not in the
// shell's history, not in the argument list. So it comes from a terminal with its echo off, put back on every
// way out, or from a pipe; never from a flag.
#pragma once

#include <string>

#include "channels/line_source.h"
#include "os.h"

namespace peacrab {

// Ctrl-C, SIGTERM or a hung-up terminal, at a question.
struct Interrupted {};

class NoEcho;

// On a terminal in canonical mode. Answers come without the blanks at both ends; each question throws
// Interrupted.
class Dialogue {
  public:
    Dialogue(int in_fd, int out_fd) : in_(in_fd), out_(out_fd) {}
    void say(const std::string& text) { write_all(out_, text + "\n"); }
    int signals() const { return signals_.fd(); }

    std::string ask(const std::string& question);
    bool yes(const std::string& question);
    Secret ask_hidden(const std::string& question);

  private:
    Secret read_line(const NoEcho* hidden);
    void heed_signal(const NoEcho* hidden);

    int in_, out_;
    TerminalSignals signals_;
};

// A key from a pipe: all of it, without the blanks at both ends. One that is too long comes cut, and still too
// long (secret_fault).
Secret read_key(int fd);

}  // namespace peacrab
