// The terminal's side of a conversation. One thread, one wait: the person's keys, the warden's
// frames and signals are polled together, so that text streams while something is being typed.
//
// What has been shown is told to the warden (`seen`) only after it was printed: what a closed
// terminal did not show is shown by the next. A turn is never stopped by leaving.
#include "channels/terminal.h"

#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "channels/turn_view.h"
#include "channels/warden_wire.h"
#include "error.h"

namespace peacrab {
namespace {

class Chat {
  public:
    Chat(const TerminalOptions& options, FrameSocket& warden, LineSource& lines)
        : options_(options),
          wire_(warden),
          lines_(lines),
          view_({options.plain, options.colour, true, options.agent},
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
    void on_usage(const json::Value& frame);
    void on_answer(const json::Value& frame);
    void on_session(const json::Value& frame);
    void change(const std::string& word);
    Next on_line(const std::string& line);
    Next on_command(const std::string& word);
    Next on_interrupt(bool had_text);
    void say(const std::string& text);
    int gone();
    int leave();

    const TerminalOptions& options_;
    WardenWire wire_;
    LineSource& lines_;
    TurnView view_;
    bool attached_ = false, refused_ = false, caught_up_ = false, replayed_ = false, forked_ = false;
    std::map<std::string, std::string> pending_;  // not acknowledged yet: id → text
    std::string running_, ended_, own_;           // turns: now, the last one done, the last of ours
    int asked_ = 0;                   // /undo and /fork, not answered yet
    bool no_copy_ = false;            // that was asked for: nothing is said in the conversation itself
    bool forking_ = false;            // what is said meanwhile waits for the new session
    std::vector<std::string> held_;   // lines
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
    else if (type == "usage")
        on_usage(frame);
    else if (type == "session")
        on_session(frame);
    view_.show(frame);
    if (type == "undone" || type == "session" || type == "refused" || type == "notice") on_answer(frame);
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

void Chat::on_session(const json::Value& frame) {
    const std::string from = one_line(frame.text("from"), 60);
    view_.line("new session " + one_line(frame.text("session"), 60) +
               (from.empty() ? "" : ", a copy of " + from + ": what is said here stays here"));
    forking_ = false;
    for (const std::string& text : std::exchange(held_, {})) (void)on_line(text);
}

// To /undo or /fork, perhaps: those have no id.
void Chat::on_answer(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "undone") {
        const std::string words = one_line(frame.text("text"), 100);
        view_.line("taken back" + (words.empty() ? "" : ": " + words));
        if (asked_ > 0) view_.line("  files and what else it did are not undone");
    }
    if (!caught_up_ || asked_ == 0 || frame.find("id") || (type == "notice" && frame.find("turn"))) return;
    --asked_;
    if (type != "refused" || !std::exchange(forking_, false)) return;
    no_copy_ = options_.fork;
    for (const std::string& text : std::exchange(held_, {}))
        view_.line("not said, as there is no copy: " + one_line(text), TurnView::Tone::Bad);
}

void Chat::on_caught_up(const json::Value& frame) {
    caught_up_ = true;
    running_ = frame.text("turn");
    if (options_.fork && !std::exchange(forked_, true)) change("/fork");
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
    if (const json::Value* background = frame.find("background"))
        for (const json::Value& each : background->items())
            row("running  ", each.text("id") + " for " + std::to_string(each.integer("ms") / 1000) +
                                 " s: " + each.text("command"));
    if (!options_.accelerator.empty()) row("machine  ", options_.accelerator);
}

void Chat::on_usage(const json::Value& frame) {
    for (const json::Value& row : frame.at("rows").items())
        view_.line("  " + one_line(row.text("scope"), 60) + ": " + one_line(row.text("spent"), 60) + ", " +
                       std::to_string(row.integer("tokens")) + " tokens in " + std::to_string(row.integer("calls")) +
                       " calls; limit " + one_line(row.text("limit"), 60),
                   TurnView::Tone::Plain);
}

Chat::Next Chat::on_line(const std::string& line) {
    const std::string text = clean_text(line, kMaxText);
    if (text.find_first_not_of(" \t\n") == std::string::npos) return Next::Stay;
    if (forking_ && text != "/quit") {
        held_.push_back(text);
        return Next::Stay;
    }
    if (text[0] == '/') {
        const std::string word = text.substr(0, text.find_last_not_of(" \t") + 1);
        if (word == "/undo summary") return on_command(word);
        // "/etc/passwd is …" is a message, and "//x" says "/x".
        if (word.find_first_of("/ \t", 1) == std::string::npos) return on_command(word);
    }
    const size_t skip = text.compare(0, 2, "//") == 0 ? 1 : 0;
    say(text.substr(skip));
    return Next::Stay;
}

void Chat::change(const std::string& word) {
    if (busy()) {
        forking_ = false;
        return view_.line("a turn is running: /stop it first, or wait for it");
    }
    json::Value frame = json::Value::object({{"type", word == "/fork" ? "fork" : "undo"}});
    if (word == "/undo summary") frame.set("what", "summary");
    forking_ = forking_ || word == "/fork";
    ++asked_;
    wire_.send(frame);
}

void Chat::say(const std::string& text) {
    const std::string id = random_hex(16);
    pending_[id] = text;
    if (options_.more && is_more(text)) options_.more();
    wire_.send(json::Value::object({{"type", "message"}, {"id", id}, {"text", text}}));
    show_prompt();
}

Chat::Next Chat::on_command(const std::string& word) {
    if (word == "/quit" || word == "/exit") return Next::Leave;
    if (word == "/status") {
        wire_.send(json::Value::object({{"type", "status"}}));
    } else if (word == "/usage") {
        wire_.send(json::Value::object({{"type", "usage"}}));
    } else if (word == "/new") {
        if (busy())
            view_.line("a turn is running: /stop it first, or wait for it");
        else
            wire_.send(json::Value::object({{"type", "new"}}));
    } else if (word == "/compact") {
        if (busy())
            view_.line("a turn is running: /stop it first, or wait for it");
        else
            say(word);
    } else if (word == "/undo" || word == "/undo summary" || word == "/fork") {
        change(word);
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
              "  /undo    take the last turn of the conversation back; again: the one before. Files stay",
              "  /compact sum up all but the newest of the conversation: what is sent each time gets shorter",
              "  /undo summary   what was summed up is shown to the model again",
              "  /fork    go on in a copy of this conversation",
              "  /status  the agent, its session, model, posture and kernel",
              "  /usage   what was spent, and what may be",
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
    while ((!pending_.empty() || !caught_up_ || asked_ > 0) && !limit.passed())
        if (wire_.drain([this](const json::Value& frame) { on_frame(frame); }, limit) ==
            LineSource::Then::Leave)
            return gone();
    if (!pending_.empty())
        view_.line("the last message was not taken in 5 s and may be lost", TurnView::Tone::Bad);
    if (!running_.empty()) view_.line("detached: " + options_.detached);
    return no_copy_ ? kExitTurnFailed : kExitReplied;
}

int Chat::run() {
    forking_ = options_.fork;
    wire_.send(attach_frame(options_, "terminal"));
    const auto arrived = [this] {
        const LineSource::Then then = wire_.drain([this](const json::Value& frame) { on_frame(frame); });
        return no_copy_ ? LineSource::Then::Leave : then;
    };
    lines_.set_prompt(LineSource::Prompt::Hidden);
    for (;;) {
        LineSource::Input input = lines_.next(wire_.fd(), arrived);
        if (input.broke_line) view_.line_ended();
        Next next = Next::Stay;
        switch (input.kind) {
            case LineSource::Input::Kind::Woken:
                return no_copy_ ? kExitTurnFailed : gone();
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

}  // namespace peacrab
