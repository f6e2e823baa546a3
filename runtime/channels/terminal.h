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
#include "channels/schema.h"
#include "frame.h"

namespace peacrab {

// Exit codes of all of them: this is the one place; kExitCodes is what --help says.
constexpr int kExitReplied = 0;
constexpr int kExitTurnFailed = 1;   // the sentence is on stderr; with a schema: no reply fitted
constexpr int kExitUsage = 2;        // bad input: an option, a schema, no such agent, session or turn
constexpr int kExitHeld = 3;         // it has asked the person, and waits for the answer
constexpr int kExitBudget = 4;       // nothing more may be spent; `more` allows it
constexpr int kExitModelDown = 5;    // nobody could be asked, or who was could not answer now
constexpr int kExitUnreachable = 6;  // no machine, or it ended under us
constexpr int kExitStopped = 130;    // Ctrl-C
constexpr const char* kExitCodes =
    "Exit code: 0 done, 1 the turn failed (also: no reply fits --schema), 2 bad input (also: no such agent,\n"
    "session or turn), 3 held: it has asked the person and waits for the answer, 4 the budget is spent,\n"
    "5 the model is down (out of reach, overloaded, silent), 6 no agent to talk to, 130 stopped.\n";

struct TerminalOptions {
    std::string agent = "main";
    std::string session;  // empty: the channel's current one
    bool fresh = false;   // start a new session
    // It was begun for us: in a new session, of which nothing can come first, it is told at once what is asked.
    bool own_warden = false;
    bool fork = false;    // `chat`: go on in a copy of it
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
    std::optional<Schema> schema{};  // the reply is one JSON value that fits; not with detach
};
// One message, one reply. stdout: the reply (streamed when it is a terminal, else once, whole and
// unescaped, when it is final). stderr: activity. Ctrl-C stops the turn, a second one leaves.
// With a schema stdout is the JSON as it was written; a reply that does not fit is asked for again, twice at
// most, in the same session.
int terminal_ask(const TerminalOptions& options, FrameSocket& warden, const AskOptions& ask);

// Waits for the end of `turn` and prints its reply as terminal_ask does; Ctrl-C only leaves.
int terminal_wait(const TerminalOptions& options, FrameSocket& warden, const std::string& turn);

// The schema in a file. Throws Error: a usage error.
Schema read_schema(const std::string& path);

// The question of `ask`: the words of the command line, then what is piped into `in_fd` (a pipe, a
// socket or a file; made valid UTF-8). Nothing when both are empty, an Error when the pipe holds more
// than 256 KiB: usage errors. Call it before the machine is started. A note goes to `err_fd` when the
// pipe keeps us waiting.
std::optional<std::string> whole_question(const std::string& words, int in_fd, int err_fd);

}  // namespace peacrab
