// The terminal's side of a conversation. One thread, one wait: the person's keys, the warden's
// frames and signals are polled together, so that text streams while something is being typed.
//
// What has been shown is told to the warden (`seen`) only after it was printed: what a closed
// terminal did not show is shown by the next. A turn is never stopped by leaving. Frames come from
// a guest that may be lost: a frame that is wrong ends the connection, never this program.
#include "channels/terminal.h"

#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "channels/turn_view.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxText = KiB(256).count;     // one line, one pipe
constexpr size_t kMaxMessage = KiB(384).count;  // all of it; as JSON at most twice that: a frame

// Valid UTF-8 without control bytes, at most `limit`.
std::string clean(std::string_view text, size_t limit) {
    std::string out = json::valid_utf8(text.substr(0, limit));
    std::erase_if(out, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
    });
    if (out.size() > limit) out = json::valid_utf8(std::string_view(out).substr(0, limit - 2));
    return out;
}

void put_quietly(int fd, std::string_view text) {
    try {
        write_all(fd, text);
    } catch (const ErrnoError&) {
    }
}

// The socket to the warden, and how it ended.
class Wire {
  public:
    explicit Wire(FrameSocket& socket) : socket_(socket) {
        // An agent that reads nothing any more must not take the terminal with it.
        const timeval limit{10, 0};
        if (::setsockopt(socket_.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
            throw ErrnoError("terminal: send limit");
    }
    int fd() const { return socket_.fd(); }
    // Nobody sees what is shown: from now on nothing counts as seen.
    void tell_nothing() { tells_ = false; }
    const std::string& fault() const { return fault_; }  // why it ended; empty: it just did

    void send(const json::Value& frame) {
        if (ended_) return;
        try {
            socket_.send(frame);
        } catch (const ErrnoError& error) {
            // A peer that has gone: what it still said is read first.
            if (error.code() != EAGAIN) return;
            fault_ = "it has taken nothing for 10 s";
            ended_ = true;
        }
    }
    // Handles what is there (a bounded share of it: the person must get a word in), then tells what
    // was shown. Leave: the connection has ended.
    template <typename Handler>
    LineSource::Then drain(Handler&& handle, Deadline first = {}) {
        size_t left = 256;
        for (; left > 0; --left) {
            const std::optional<json::Value> frame = receive(std::exchange(first, {}));
            if (!frame) break;
            handle(*frame);
            shown_ = std::max(shown_, frame->integer("seq"));
        }
        if (shown_ > told_ && tells_)
            send(json::Value::object({{"type", "seen"}, {"seq", shown_}}));
        told_ = shown_;
        if (ended_) return LineSource::Then::Leave;
        return left == 0 ? LineSource::Then::Again : LineSource::Then::Wait;
    }

  private:
    std::optional<json::Value> receive(Deadline deadline) {
        if (ended_) return std::nullopt;
        std::optional<json::Value> frame;
        try {
            frame = socket_.receive(deadline);
            ended_ = socket_.closed() && !frame;
        } catch (const ErrnoError& error) {
            // A peer that went with our words unread: as good as the end of file.
            if (error.code() != ECONNRESET) fault_ = error.what();
            ended_ = true;
        } catch (const Error& error) {
            fault_ = error.what();
            ended_ = true;
        }
        return frame;
    }

    FrameSocket& socket_;
    std::string fault_;
    bool ended_ = false, tells_ = true;
    int64_t shown_ = 0, told_ = 0;
};

json::Value attach_frame(const TerminalOptions& options, const char* channel) {
    json::Value frame =
        json::Value::object({{"type", "attach"}, {"agent", options.agent}, {"channel", channel}});
    if (!options.session.empty()) frame.set("session", options.session);
    if (options.fresh) frame.set("fresh", true);
    return frame;
}

// The last words when the connection ended under us.
std::string gone_sentence(const TerminalOptions& options, const Wire& wire) {
    std::string words = "the agent has gone";
    if (!wire.fault().empty()) words += " (" + wire.fault() + ")";
    if (!options.next_step.empty()) words += ": " + options.next_step;
    return words;
}

class Chat {
  public:
    Chat(const TerminalOptions& options, FrameSocket& warden, LineSource& lines)
        : options_(options),
          wire_(warden),
          lines_(lines),
          view_({options.plain, options.colour, true},
                [this](TurnView::Stream, std::string_view text) {
                    if (!lines_.print(text)) wire_.tell_nothing();
                }) {}
    int run();

  private:
    enum class Next { Stay, Leave };
    bool busy() const { return !running_.empty() || !pending_.empty(); }
    void show_prompt();
    void on_frame(const json::Value& frame);
    void on_attached(const json::Value& frame);
    void on_caught_up(const json::Value& frame);
    void on_ack(const json::Value& frame);
    void on_refused(const json::Value& frame);
    void on_turn_start(const json::Value& frame);
    void on_status(const json::Value& frame);
    Next on_line(const std::string& line);
    Next on_command(const std::string& word);
    Next on_interrupt(bool had_text);
    void say(const std::string& text);
    int gone();
    int leave();

    const TerminalOptions& options_;
    Wire wire_;
    LineSource& lines_;
    TurnView view_;
    bool attached_ = false, refused_ = false, caught_up_ = false, replayed_ = false;
    std::map<std::string, std::string> pending_;  // not acknowledged yet: id → text
    std::string running_, ended_, own_;           // turns: now, the last one done, the last of ours
    int interrupts_ = 0;                          // Ctrl-C in a row
};

void Chat::show_prompt() {
    lines_.set_prompt(caught_up_ && !busy() ? LineSource::Prompt::Shown
                                            : LineSource::Prompt::Hidden);
}

void Chat::on_frame(const json::Value& frame) {
    const std::string& type = frame.at("type").as_string();
    if (!caught_up_ && frame.find("seq") && !std::exchange(replayed_, true))
        view_.line(std::string(view_.dash()) + " while you were away " + view_.dash());
    if (type == "attached")
        on_attached(frame);
    else if (type == "caught_up")
        on_caught_up(frame);
    else if (type == "ack")
        on_ack(frame);
    else if (type == "refused")
        on_refused(frame);
    else if (type == "turn_start")
        on_turn_start(frame);
    else if (type == "status")
        on_status(frame);
    else if (type == "session")
        view_.line("new session " + one_line(frame.text("session")));
    view_.show(frame);
    if (type == "turn_done") {
        ended_ = frame.text("turn");
        running_.clear();
        interrupts_ = 0;
    }
    show_prompt();
}

void Chat::on_attached(const json::Value& frame) {
    attached_ = true;
    std::string words = "agent " + one_line(frame.text("agent"), 60) + ", session " +
                        one_line(frame.text("session"), 60);
    for (const std::string& note : {options_.model_note, options_.accelerator})
        if (!note.empty()) words += ", " + note;
    view_.line(words);
    view_.line(one_line(frame.text("posture"), 400));
    view_.line("/help lists the commands; Ctrl-D leaves");
}

void Chat::on_caught_up(const json::Value& frame) {
    caught_up_ = true;
    running_ = frame.text("turn");
    if (running_.empty()) {
        if (replayed_) view_.line(std::string(view_.dash()) + " that was all " + view_.dash());
        return;
    }
    view_.line(std::string(view_.dash()) + " the turn is still running " + view_.dash());
    view_.show_partial(frame.text("partial"));
}

void Chat::on_ack(const json::Value& frame) {
    pending_.erase(frame.text("id"));
    own_ = frame.text("turn");
    if (own_ != ended_) running_ = own_;
}

void Chat::on_refused(const json::Value& frame) {
    pending_.erase(frame.text("id"));
    refused_ = true;
    view_.line("refused: " + one_line(frame.text("why"), 400), TurnView::Tone::Bad);
}

// What this terminal sent stands on the screen already.
void Chat::on_turn_start(const json::Value& frame) {
    const std::string& text = frame.at("text").as_string();
    const bool ours = frame.text("turn") == own_ ||
                      std::any_of(pending_.begin(), pending_.end(),
                                  [&](const auto& sent) { return sent.second == text; });
    if (!ours) view_.echo(text);
    if (caught_up_) running_ = frame.text("turn");
}

void Chat::on_status(const json::Value& frame) {
    const auto row = [&](const char* name, const std::string& value) {
        view_.line(std::string("  ") + name + one_line(value, 400), TurnView::Tone::Plain);
    };
    row("agent    ", frame.text("agent"));
    row("session  ", frame.text("session"));
    row("turns    ",
        std::to_string(frame.integer("turns")) + (frame.flag("running") ? ", one is running" : ""));
    row("model    ", frame.text("model"));
    row("posture  ", frame.text("posture"));
    row("kernel   ", frame.text("kernel"));
    row("boot     ", frame.text("boot"));
    if (!options_.accelerator.empty()) row("machine  ", options_.accelerator);
}

Chat::Next Chat::on_line(const std::string& line) {
    const std::string text = clean(line, kMaxText);
    if (text.find_first_not_of(" \t\n") == std::string::npos) return Next::Stay;
    if (text[0] == '/') {
        const std::string word = text.substr(0, text.find_last_not_of(" \t") + 1);
        // "/etc/passwd is …" is a message, and "//x" says "/x".
        if (word.find_first_of("/ \t", 1) == std::string::npos) return on_command(word);
    }
    const size_t skip = text.compare(0, 2, "//") == 0 ? 1 : 0;
    say(text.substr(skip));
    return Next::Stay;
}

void Chat::say(const std::string& text) {
    const std::string id = random_hex(16);
    pending_[id] = text;
    wire_.send(json::Value::object({{"type", "message"}, {"id", id}, {"text", text}}));
    show_prompt();
}

Chat::Next Chat::on_command(const std::string& word) {
    if (word == "/quit" || word == "/exit") return Next::Leave;
    if (word == "/status") {
        wire_.send(json::Value::object({{"type", "status"}}));
    } else if (word == "/new") {
        if (busy())
            view_.line("a turn is running: /stop it first, or wait for it");
        else
            wire_.send(json::Value::object({{"type", "new"}}));
    } else if (word == "/stop") {
        if (busy())
            wire_.send(json::Value::object({{"type", "stop"}}));
        else
            view_.line("nothing is running");
    } else {
        if (word != "/help") view_.line("no such command: " + one_line(word, 60));
        for (const char* row :
             {"  /new     begin a new session; the old one is kept",
              "  /stop    stop the running turn (also Ctrl-C)",
              "  /status  the agent, its session, model, posture and kernel",
              "  /quit    leave (also Ctrl-D); a running turn goes on",
              "  what you type while a turn runs is handed to it at its next step"})
            view_.line(row, TurnView::Tone::Plain);
    }
    return Next::Stay;
}

Chat::Next Chat::on_interrupt(bool had_text) {
    if (had_text && !busy()) return Next::Stay;
    ++interrupts_;
    if (!busy()) {
        if (interrupts_ > 1) return Next::Leave;
        view_.line("Ctrl-C again, or Ctrl-D, leaves");
        return Next::Stay;
    }
    if (interrupts_ > 2) return Next::Leave;
    view_.line(interrupts_ == 1 ? std::string("stopping ") + view_.dots()
                                : "it has been told to stop; Ctrl-C again leaves");
    if (interrupts_ == 1) wire_.send(json::Value::object({{"type", "stop"}}));
    return Next::Stay;
}

int Chat::gone() {
    lines_.set_prompt(LineSource::Prompt::Hidden);
    if (!attached_ && refused_) return kExitTurnFailed;
    view_.line(gone_sentence(options_, wire_), TurnView::Tone::Bad);
    if (!pending_.empty())
        view_.line("the last message may not have arrived: look before you send it again");
    return kExitUnreachable;
}

// A message that was typed is on the agent's disk before we go, and what was missed is on the
// screen, if it can be had in five seconds. So `chat </dev/null` shows what was missed.
int Chat::leave() {
    lines_.set_prompt(LineSource::Prompt::Hidden);
    const Deadline limit = Deadline::in(Seconds(5));
    while ((!pending_.empty() || !caught_up_) && !limit.passed())
        if (wire_.drain([this](const json::Value& frame) { on_frame(frame); }, limit) ==
            LineSource::Then::Leave)
            return gone();
    if (!pending_.empty())
        view_.line("the last message was not taken in 5 s and may be lost", TurnView::Tone::Bad);
    if (!running_.empty()) view_.line("detached: " + options_.detached);
    return kExitReplied;
}

int Chat::run() {
    wire_.send(attach_frame(options_, "terminal"));
    const auto arrived = [this] {
        return wire_.drain([this](const json::Value& frame) { on_frame(frame); });
    };
    lines_.set_prompt(LineSource::Prompt::Hidden);
    for (;;) {
        LineSource::Input input = lines_.next(wire_.fd(), arrived);
        if (input.broke_line) view_.line_ended();
        Next next = Next::Stay;
        switch (input.kind) {
            case LineSource::Input::Kind::Woken:
                return gone();
            case LineSource::Input::Kind::End:
                return leave();
            case LineSource::Input::Kind::Interrupt:
                next = on_interrupt(input.had_text);
                break;
            case LineSource::Input::Kind::Line:
                interrupts_ = busy() ? interrupts_ : 0;
                next = on_line(input.line);
                break;
        }
        if (next == Next::Leave) return leave();
    }
}

// `ask` and `wait`: one turn, watched to its end.
class Watch {
  public:
    Watch(const TerminalOptions& options, FrameSocket& warden)
        : options_(options),
          wire_(warden),
          streams_(::isatty(options.out_fd)),
          view_({options.plain, options.colour, streams_},
                [this](TurnView::Stream stream, std::string_view text) {
                    if (stream == TurnView::Stream::Text)
                        put_out(text);
                    else
                        put_quietly(options_.err_fd, text);
                }) {}
    int ask(const AskOptions& ask);
    int wait(const std::string& turn);

  private:
    enum class Interrupt { Stops, Leaves };
    int watch(Interrupt interrupt);
    void put_out(std::string_view text);
    void on_frame(const json::Value& frame);
    void on_turn_frame(const json::Value& frame);
    void on_done(const json::Value& frame);
    std::optional<int> on_signal(Interrupt interrupt);

    const TerminalOptions& options_;
    TerminalSignals signals_;
    Wire wire_;
    bool streams_;  // a person watches stdout: the reply is shown as it comes
    TurnView view_;
    std::string question_, message_id_, turn_;
    bool caught_up_ = false, detach_ = false, stopping_ = false;
    std::string reply_;
    std::optional<int> exit_code_;
};

// A reply that cannot be written is as good as none. A closed pipe (`| head`) asks for no words.
void Watch::put_out(std::string_view text) {
    try {
        write_all(options_.out_fd, text);
    } catch (const ErrnoError& error) {
        if (error.code() != EPIPE)
            put_quietly(options_.err_fd, std::string("standard output: ") + error.what() + "\n");
        exit_code_ = kExitTurnFailed;
    }
}

void Watch::on_frame(const json::Value& frame) {
    const std::string& type = frame.at("type").as_string();
    if (type == "caught_up") {
        // Only now: what comes before is of other turns, or of the watched one.
        if (!message_id_.empty() && !caught_up_)
            wire_.send(json::Value::object(
                {{"type", "message"}, {"id", message_id_}, {"text", question_}}));
        else if (!turn_.empty() && frame.text("turn") == turn_)
            view_.show_partial(frame.text("partial"));
        caught_up_ = true;
    } else if (type == "ack" && frame.text("id") == message_id_) {
        turn_ = frame.text("turn");
        if (!detach_) return;
        exit_code_ = kExitReplied;
        put_out(one_line(turn_) + "\n");
    } else if (type == "refused") {
        view_.line("refused: " + one_line(frame.text("why"), 400), TurnView::Tone::Bad);
        exit_code_ = kExitTurnFailed;
    } else if (!turn_.empty() && frame.text("turn", turn_) == turn_) {
        on_turn_frame(frame);
    }
}

void Watch::on_turn_frame(const json::Value& frame) {
    const std::string& type = frame.at("type").as_string();
    if (type == "reply") reply_ = frame.at("text").as_string();
    if (type == "turn_done") on_done(frame);
    view_.show(frame);
}

void Watch::on_done(const json::Value& frame) {
    const std::string& status = frame.at("status").as_string();
    exit_code_ = status == "done"      ? kExitReplied
                 : status == "stopped" ? kExitStopped
                                       : kExitTurnFailed;
    if (streams_ || status != "done") return;
    if (reply_.empty() || reply_.back() != '\n') reply_ += '\n';
    put_out(reply_);
}

std::optional<int> Watch::on_signal(Interrupt interrupt) {
    const int number = signals_.next();
    if (number == SIGHUP || number == SIGTERM) return 128 + number;
    if (number != SIGINT) return std::nullopt;
    const bool sent = !message_id_.empty() && caught_up_;
    if (interrupt == Interrupt::Leaves || stopping_ || !sent) {
        if (!turn_.empty())
            view_.line("left turn " + one_line(turn_, 60) + ": " + options_.detached);
        return kExitStopped;
    }
    stopping_ = true;
    view_.line(std::string("stopping ") + view_.dots());
    wire_.send(json::Value::object({{"type", "stop"}}));
    return std::nullopt;
}

int Watch::watch(Interrupt interrupt) {
    for (;;) {
        const LineSource::Then then =
            wire_.drain([this](const json::Value& frame) { on_frame(frame); });
        if (exit_code_) return *exit_code_;
        if (then == LineSource::Then::Leave) {
            view_.line(gone_sentence(options_, wire_), TurnView::Tone::Bad);
            return kExitUnreachable;
        }
        pollfd all[] = {{wire_.fd(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
        if (::poll(all, 2, then == LineSource::Then::Again ? 0 : -1) < 0 && errno != EINTR)
            throw ErrnoError("terminal: poll");
        if (all[1].revents != 0)
            if (const std::optional<int> code = on_signal(interrupt)) return *code;
    }
}

int Watch::ask(const AskOptions& ask) {
    question_ = clean(ask.text, kMaxMessage);
    detach_ = ask.detach;
    message_id_ = random_hex(16);
    wire_.send(attach_frame(options_, "ask"));
    return watch(Interrupt::Stops);
}

int Watch::wait(const std::string& turn) {
    turn_ = turn;
    json::Value frame = attach_frame(options_, "ask");
    frame.set("watch", turn);
    wire_.send(frame);
    return watch(Interrupt::Leaves);
}

bool can_be_read(int fd) {
    struct stat info;
    if (::fstat(fd, &info) != 0) return false;
    return S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || S_ISREG(info.st_mode);
}

// What is piped in, whole or its first 256 KiB.
std::string piped_text(int in_fd, int err_fd) {
    std::string text;
    std::array<char, 65536> bytes;
    Deadline patience = Deadline::in(Seconds(3));
    while (text.size() <= kMaxText) {
        pollfd one{in_fd, POLLIN, 0};
        if (::poll(&one, 1, patience.poll_timeout()) == 0) {
            put_quietly(err_fd,
                        "reading the rest of the question from standard input; "
                        "`</dev/null` if there is none\n");
            patience = Deadline::never();
            continue;
        }
        const std::optional<size_t> n = read_some(in_fd, bytes);
        if (!n) continue;
        if (*n == 0) return text;
        patience = Deadline::never();
        text.append(bytes.data(), *n);
    }
    put_quietly(err_fd, "standard input is longer than 256 KiB: the rest of it is left out\n");
    text.resize(kMaxText);
    return text;
}

}  // namespace

void detect_style(TerminalOptions& options, bool plain_asked) {
    const std::string term = env("TERM");
    std::string locale = env("LC_ALL");
    if (locale.empty()) locale = env("LC_CTYPE");
    if (locale.empty()) locale = env("LANG");
    // A terminal without a locale, or with C, speaks UTF-8 today; one that names another does not.
    const bool other_charset = !locale.empty() && locale != "C" && locale != "POSIX" &&
                               ::strcasestr(locale.c_str(), "utf-8") == nullptr &&
                               ::strcasestr(locale.c_str(), "utf8") == nullptr;
    options.plain =
        plain_asked || other_charset || term.empty() || term == "dumb" || !::isatty(options.out_fd);
    options.colour = !options.plain && env("NO_COLOR").empty();
}

int terminal_chat(const TerminalOptions& options, FrameSocket& warden, LineSource& lines) {
    return Chat(options, warden, lines).run();
}

int terminal_ask(const TerminalOptions& options, FrameSocket& warden, const AskOptions& ask) {
    return Watch(options, warden).ask(ask);
}

int terminal_wait(const TerminalOptions& options, FrameSocket& warden, const std::string& turn) {
    return Watch(options, warden).wait(turn);
}

std::optional<std::string> whole_question(const std::string& words, int in_fd, int err_fd) {
    std::string text = clean(words, kMaxMessage - kMaxText);
    if (can_be_read(in_fd)) {
        std::string piped = clean(piped_text(in_fd, err_fd), kMaxText - 2);
        while (!piped.empty() && piped.back() == '\n') piped.pop_back();
        if (!piped.empty()) text = text.empty() ? piped : text + "\n\n" + piped;
    }
    if (text.find_first_not_of(" \t\n") == std::string::npos) return std::nullopt;
    return text;
}

}  // namespace peacrab
