// One turn, watched to its end. Whoever called may be a script: standard output carries the reply
// and nothing else, and when it is no terminal only once nothing can make it void any more, or, with
// --json, what happens as it happens; how it went is the exit code. The text of a reply is escaped only for a terminal, that of activity
// always.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "channels/terminal.h"
#include "channels/turn_view.h"
#include "channels/warden_wire.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr int kMostRepairs = 2;

// `ask` and `wait`: one turn, watched to its end.
class Watch {
  public:
    Watch(const TerminalOptions& options, FrameSocket& warden, bool with_schema = false)
        : options_(options),
          wire_(warden),
          streams_(::isatty(options.out_fd) && !with_schema),
          view_({options.plain, options.colour, streams_, options.agent},
                [this](TurnView::Stream stream, std::string_view text) {
                    if (stream == TurnView::Stream::Text)
                        put_out(text);
                    else
                        put_quietly(options_.err_fd, text);
                }) {}
    int ask(AskOptions ask);
    int wait(const std::string& turn);

  private:
    enum class Interrupt { Stops, Leaves };
    int watch(Interrupt interrupt);
    void put_out(std::string_view text);
    void on_frame(const json::Value& frame);
    void on_turn_frame(const json::Value& frame);
    void on_done(const json::Value& frame);
    void on_json_reply();
    void say(const std::string& text);
    std::optional<int> on_signal(Interrupt interrupt);
    bool may_answer() const;
    std::optional<int> take_answer();
    int held();

    const TerminalOptions& options_;
    TerminalSignals signals_;
    WardenWire wire_;
    bool streams_;  // a person watches stdout: the reply is shown as it comes
    TurnView view_;
    std::string question_, message_id_, turn_;
    bool attached_ = false, said_ = false, detach_ = false, stopping_ = false;
    std::string reply_, session_;
    std::optional<Schema> schema_;
    int repairs_ = 0;  // asked for
    bool asked_ = false;  // the person, who may type an answer
    std::string typed_;
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
    if (type == "attached") {
        attached_ = true;
        session_ = frame.text("session");
    } else if (type == "caught_up") {
        // Only now: what comes before is of other turns, or of the watched one.
        if (!message_id_.empty() && !said_)
            say(question_);
        else if (!turn_.empty() && frame.text("turn") == turn_)
            view_.show_partial(frame.text("partial"));
    } else if (type == "ack" && frame.text("id") == message_id_) {
        turn_ = frame.text("turn");
        if (!detach_) return;
        exit_code_ = kExitReplied;
        put_out((options_.json ? json::dump(frame) : one_line(turn_)) + "\n");
    } else if (type == "refused") {
        if (options_.json) put_out(json::dump(frame) + "\n");
        view_.line("refused: " + one_line(frame.text("why"), 400), TurnView::Tone::Bad);
        exit_code_ = attached_ ? kExitTurnFailed : kExitUsage;  // no such agent, session or turn
    } else if (!turn_.empty() && frame.text("turn", turn_) == turn_) {
        on_turn_frame(frame);
    }
}

void Watch::on_turn_frame(const json::Value& frame) {
    const std::string& type = frame.at("type").as_string();
    if (type == "reply") reply_ = frame.at("text").as_string();
    if (options_.json) put_out(json::dump(frame) + "\n");
    if (type == "turn_done") on_done(frame);
    if (!options_.json) view_.show(frame);
    if (type == "turn_done" && frame.text("status") == "waiting") {
        asked_ = may_answer();
        if (!asked_) exit_code_ = held();
        if (asked_) put_quietly(options_.err_fd, "> ");
    }
}

void Watch::on_done(const json::Value& frame) {
    const std::string& status = frame.at("status").as_string();
    if (status == "waiting") return;
    exit_code_ = status == "done"            ? kExitReplied
                 : status == "stopped"       ? kExitStopped
                 : status == "budget"        ? kExitBudget
                 : frame.flag("model_down") ? kExitModelDown
                                             : kExitTurnFailed;
    if (schema_ && status == "done") return on_json_reply();
    if (streams_ || options_.json || status != "done") return;
    if (reply_.empty() || reply_.back() != '\n') reply_ += '\n';
    put_out(reply_);
}

bool Watch::may_answer() const {
    return streams_ && !options_.json && !message_id_.empty() && ::isatty(options_.in_fd);
}

// The question stands, whoever goes.
int Watch::held() {
    view_.line("it waits for an answer: peacrab ask --session " + one_line(session_, 40) +
               " \"the answer\", or say it in the chat of this session");
    return kExitHeld;
}

// A line from a terminal: the answer, and the turn that goes on with it is watched.
std::optional<int> Watch::take_answer() {
    std::array<char, 4096> bytes;
    const std::optional<size_t> n = read_some(options_.in_fd, bytes);
    if (!n) return std::nullopt;
    if (*n == 0 || typed_.size() > kMaxText) return held();
    typed_.append(bytes.data(), *n);
    const size_t end = typed_.find('\n');
    if (end == std::string::npos) return std::nullopt;
    const std::string line = clean_text(typed_.substr(0, end), kMaxMessage);
    typed_.clear();
    if (line.find_first_not_of(" \t") == std::string::npos) return std::nullopt;
    asked_ = false;
    view_.line_ended();
    turn_.clear();
    reply_.clear();
    say(line);
    return std::nullopt;
}

// What is wrong goes back to the model as the next message of the session: a turn of its own, so that it is
// checked here, by a program that no model's bytes have run through.
void Watch::on_json_reply() {
    std::string wrong;
    try {
        json::Value value;
        const std::string text(json_of_reply(reply_, value));
        for (const std::string& each : schema_->problems(value)) wrong += "- " + each + "\n";
        if (wrong.empty() && !options_.json) put_out((::isatty(options_.out_fd) ? printable(text) : text) + "\n");
    } catch (const Error& error) {
        wrong = std::string("- it is not one JSON value: ") + error.what() + "\n";
    }
    if (wrong.empty()) return;
    const std::string first = one_line(wrong.substr(2, wrong.find('\n') - 2), 300);
    if (stopping_) {
        exit_code_ = kExitStopped;
        return;
    }
    if (repairs_ == kMostRepairs) {
        view_.line("error: the reply does not fit the schema: " + first, TurnView::Tone::Bad);
        exit_code_ = kExitTurnFailed;
        return;
    }
    ++repairs_;
    exit_code_.reset();
    view_.line("the reply does not fit the schema (" + first + "); asking again");
    turn_.clear();
    reply_.clear();
    say("Your reply does not fit the schema:\n" + wrong + "Answer with the corrected JSON value and nothing else.");
}

void Watch::say(const std::string& text) {
    message_id_ = random_hex(16);
    said_ = true;
    wire_.send(json::Value::object({{"type", "message"}, {"id", message_id_}, {"text", text}}));
}

std::optional<int> Watch::on_signal(Interrupt interrupt) {
    const int number = signals_.next();
    const bool ends = number == SIGHUP || number == SIGTERM;
    if (!ends && number != SIGINT) return std::nullopt;
    if (asked_) return held();
    if (ends || interrupt == Interrupt::Leaves || stopping_ || !said_) {
        if (!turn_.empty()) {
            const std::string turn = one_line(turn_, 60);
            view_.line("left: turn " + turn + " goes on" +
                       (options_.wait_with.empty()
                            ? ""
                            : "; `" + options_.wait_with + " " + turn + "` prints its reply"));
        }
        return ends ? 128 + number : kExitStopped;
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
        pollfd all[] = {{wire_.fd(), POLLIN, 0},
                        {signals_.fd(), POLLIN, 0},
                        {asked_ ? options_.in_fd : -1, POLLIN, 0}};
        if (::poll(all, 3, then == LineSource::Then::Again ? 0 : -1) < 0 && errno != EINTR)
            throw ErrnoError("terminal: poll");
        if (all[1].revents != 0)
            if (const std::optional<int> code = on_signal(interrupt)) return *code;
        if (all[2].revents != 0)
            if (const std::optional<int> code = take_answer()) return *code;
    }
}

int Watch::ask(AskOptions ask) {
    question_ = clean_text(ask.text, kMaxMessage);
    schema_ = std::move(ask.schema);
    if (schema_)
        question_ += "\n\nAnswer with one JSON value that fits this JSON Schema, and nothing else:\n" + schema_->text();
    detach_ = ask.detach;
    message_id_ = random_hex(16);
    if (options_.more && is_more(question_)) options_.more();
    // What is not a session of its own goes on with the conversation of `chat`.
    const bool apart = options_.fresh || !options_.session.empty();
    wire_.send(attach_frame(options_, apart ? "ask" : "terminal"));
    if (options_.fresh && options_.own_warden) say(question_);
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

// What is piped in. Cut short it would be another question: too long, it is none.
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
    throw Error("standard input is longer than the 256 KiB that a message may have: pipe less of it");
}

}  // namespace

int terminal_ask(const TerminalOptions& options, FrameSocket& warden, const AskOptions& ask) {
    return Watch(options, warden, ask.schema.has_value()).ask(ask);
}

int terminal_wait(const TerminalOptions& options, FrameSocket& warden, const std::string& turn) {
    return Watch(options, warden).wait(turn);
}

Schema read_schema(const std::string& path) {
    return Schema(read_file(path, Bytes{Schema::kMaxSize + 1}));
}

std::optional<std::string> whole_question(const std::string& words, int in_fd, int err_fd) {
    std::string text = clean_text(words, kMaxMessage);
    if (can_be_read(in_fd)) {
        std::string piped = clean_text(piped_text(in_fd, err_fd), kMaxMessage);
        while (!piped.empty() && piped.back() == '\n') piped.pop_back();
        if (!piped.empty()) text = text.empty() ? piped : text + "\n\n" + piped;
    }
    if (text.find_first_not_of(" \t\n") == std::string::npos) return std::nullopt;
    return text;
}

}  // namespace peacrab
