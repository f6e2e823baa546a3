// The seam between the terminal and whoever reads what the person types.
//
// Two sources: tools/line_editor (libedit; the host program) and plain_line_source() (the tty's own
// canonical mode, or a pipe; `peacrabd` and --plain). Both also own the screen while a prompt is
// open, so that what arrives from the agent is printed above the line being typed.
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "os.h"

namespace peacrab {

// SIGINT, SIGHUP, SIGTERM, SIGWINCH and SIGCONT as a readable descriptor, for as long as it lives;
// their default actions are off meanwhile. Children must be forked before, or unblock them.
// Source: signalfd(2).
class TerminalSignals {
  public:
    TerminalSignals();
    ~TerminalSignals();
    TerminalSignals(const TerminalSignals&) = delete;
    TerminalSignals& operator=(const TerminalSignals&) = delete;
    int fd() const { return fd_.get(); }
    int next();  // a signal's number, 0 when none waits; never blocks

  private:
    sigset_t before_;
    UniqueFd fd_;
};

class LineSource {
  public:
    struct [[nodiscard]] Input {
        enum class Kind {
            End,        // end of file (Ctrl-D), SIGHUP, SIGTERM
            Line,       // `line`, without its newline; may be empty
            Interrupt,  // Ctrl-C; `had_text`: something had been typed and is dropped
            Woken,      // `arrived` said Leave
        } kind = Kind::End;
        std::string line;
        bool had_text = false;
        bool broke_line = false;  // the echo of Enter ended a line print() had left open
    };
    // Hidden while the agent speaks: the screen is its, until the person types.
    enum class Prompt { Shown, Hidden };

    virtual ~LineSource() = default;
    // What is to be done after something arrived: Again is Wait with more to handle at once.
    enum class Then { Wait, Again, Leave };

    // Waits for the person. Whenever `fd` is readable (or at its end) `arrived` is called, which
    // may print() and set_prompt().
    virtual Input next(int fd, const std::function<Then()>& arrived) = 0;
    // Prints text of ours, escapes already dealt with. It need not end in a newline. False: there
    // is no screen any more (next() will say End), nobody has seen it.
    virtual bool print(std::string_view text) = 0;
    virtual void set_prompt(Prompt prompt) = 0;
};

// Lines from `in_fd`, text to `out_fd`. Longest line: 256 KiB, the rest of it is dropped.
std::unique_ptr<LineSource> plain_line_source(int in_fd, int out_fd, std::string prompt = "> ");

}  // namespace peacrab
