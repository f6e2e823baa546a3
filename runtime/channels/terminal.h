// The terminal as a channel: `chat`, `ask` and `wait` speak Client↔Warden frames over one socket.
//
// Linked into `peacrab` (the socket leads through the gateway into the machine) and into `peacrabd`
// (no VM: a socketpair to a forked warden). Everything that came from the model or a tool is
// hostile and is escaped before it meets a terminal. Leaving never stops a turn; only `stop` does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "channels/line_source.h"
#include "frame.h"

namespace peacrab {

// Exit codes of all three.
constexpr int kExitReplied = 0;
constexpr int kExitTurnFailed = 1;  // the sentence is on stderr
constexpr int kExitUsage = 2;
constexpr int kExitUnreachable = 3;  // no machine, or it ended under us
constexpr int kExitBudget = 4;       // nothing more may be spent; `more` allows it
constexpr int kExitModelDown = 5;    // nobody could be asked, or who was could not answer now
constexpr int kExitStopped = 130;    // Ctrl-C

struct TerminalOptions {
    std::string agent = "main";
    std::string session;  // empty: the channel's current one
    bool fresh = false;   // start a new session
    // No cursor movement, ASCII only, no colours. Off only when out_fd is a terminal that can.
    bool plain = true;
    bool colour = false;
    bool json = false;  // `ask` and `wait`: stdout carries the turn's frames, one JSON object a line
    int in_fd = 0;
    int out_fd = 1;
    int err_fd = 2;
    std::string model_note;  // footer: "claude-…", "demo model: no model at all; `peacrab setup`…"
    std::string accelerator;  // footer: "KVM", "TCG (emulated)", "no VM"; empty: left out
    // What to do when the connection ends under us, e.g.
    // "run `peacrab up`, then `peacrab chat`: the conversation is kept".
    std::string next_step;
    // What becomes of a running turn when the person leaves `chat`; and what takes up one that
    // `ask` left, with the turn's id behind it ("peacrab wait"; empty: there is no such command).
    std::string wait_with;
    // Called when the person says `more`, before the warden hears it: whoever else bounds what is spent.
    std::function<void()> more;
    std::string detached = "the turn goes on; `peacrab chat` comes back to it";
};

// plain and colour from --plain, NO_COLOR, TERM, the locale and whether `out_fd` is a terminal.
void detect_style(TerminalOptions& options, bool plain_asked);

// Runs a conversation until the person leaves. Gives the exit code.
int terminal_chat(const TerminalOptions& options, FrameSocket& warden, LineSource& lines);

struct AskOptions {
    std::string text;     // see whole_question
    bool detach = false;  // print the turn's id as soon as the message is on disk, and leave
};
// One message, one reply. stdout: the reply (streamed when it is a terminal, else once, whole and
// unescaped, when it is final). stderr: activity. Ctrl-C stops the turn, a second one leaves.
int terminal_ask(const TerminalOptions& options, FrameSocket& warden, const AskOptions& ask);

// Waits for the end of `turn` and prints its reply as terminal_ask does; Ctrl-C only leaves.
int terminal_wait(const TerminalOptions& options, FrameSocket& warden, const std::string& turn);

// The question of `ask`: the words of the command line, then what is piped into `in_fd` (a pipe, a
// socket or a file; made valid UTF-8). Nothing when both are empty, an Error when the pipe holds more
// than 256 KiB: usage errors. Call it before the machine is started. A note goes to `err_fd` when the
// pipe keeps us waiting.
std::optional<std::string> whole_question(const std::string& words, int in_fd, int err_fd);

}  // namespace peacrab
