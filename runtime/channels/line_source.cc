// Lines without an editor: the kernel's own line discipline edits, or a pipe gives them.
//
// The one rule: what the agent says is printed at once, also while the person is typing, so this
// never blocks in read(2) alone; it polls the keyboard, the agent's socket and the signals
// together. It must not move the cursor: a line the person has half typed stays where it is.
#include "channels/line_source.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxLine = KiB(256).count;

class PlainLineSource : public LineSource {
  public:
    PlainLineSource(int in_fd, int out_fd, std::string prompt)
        : in_(in_fd),
          out_(out_fd),
          prompt_text_(std::move(prompt)),
          talks_(::isatty(in_fd) && ::isatty(out_fd)) {}

    Input next(int fd, const std::function<Then()>& arrived) override;
    bool print(std::string_view text) override;
    void set_prompt(Prompt prompt) override { prompt_ = prompt; }

  private:
    bool put(std::string_view text);
    void draw_prompt();
    std::optional<Input> take_line();
    bool read_more();
    std::optional<Input> on_signal();

    int in_, out_;
    std::string prompt_text_;
    bool talks_;  // a person is there: a prompt makes sense
    Prompt prompt_ = Prompt::Shown;
    bool at_prompt_ = false, line_open_ = false;
    bool ended_ = false, dropping_ = false;  // dropping: the rest of an over-long line
    std::string typed_;
    TerminalSignals signals_;
};

bool PlainLineSource::put(std::string_view text) {
    try {
        write_all(out_, text);
        return true;
    } catch (const ErrnoError&) {
        return false;
    }
}

void PlainLineSource::draw_prompt() {
    if (!talks_ || at_prompt_ || prompt_ == Prompt::Hidden) return;
    put((line_open_ ? "\n" : "") + prompt_text_);
    line_open_ = false;
    at_prompt_ = true;
}

bool PlainLineSource::print(std::string_view text) {
    if (text.empty()) return true;
    if (at_prompt_) put("\n");
    at_prompt_ = false;
    line_open_ = text.back() != '\n';
    return put(text);
}

// The next whole line; at the end also one without its newline. What an over-long line has beyond
// the limit is passed over.
std::optional<LineSource::Input> PlainLineSource::take_line() {
    for (;;) {
        const size_t end = typed_.find('\n');
        const bool whole = end != std::string::npos;
        if (!whole && typed_.size() < kMaxLine && (!ended_ || typed_.empty())) return std::nullopt;
        Input input;
        input.kind = Input::Kind::Line;
        input.line = typed_.substr(0, std::min(end, kMaxLine));
        typed_.erase(0, whole ? end + 1 : end);
        if (std::exchange(dropping_, !whole && !ended_)) continue;
        input.broke_line = talks_ && line_open_;
        if (talks_) at_prompt_ = line_open_ = false;
        return input;
    }
}

// False at the end; a terminal that was closed reads as EIO.
bool PlainLineSource::read_more() {
    std::array<char, 4096> bytes;
    try {
        const std::optional<size_t> n = read_some(in_, bytes);
        if (!n) return true;
        typed_.append(bytes.data(), *n);
        return *n > 0;
    } catch (const ErrnoError&) {
        return false;
    }
}

std::optional<LineSource::Input> PlainLineSource::on_signal() {
    const int number = signals_.next();
    Input input;
    if (number == SIGINT) {
        // The tty has dropped what was typed and echoed ^C.
        if (talks_) put("\n");
        input.broke_line = talks_ && line_open_;
        at_prompt_ = line_open_ = false;
        input.kind = Input::Kind::Interrupt;
        return input;
    }
    if (number == SIGHUP || number == SIGTERM) return input;  // End
    if (number == SIGCONT) at_prompt_ = false;                // the shell has written since
    return std::nullopt;
}

LineSource::Input PlainLineSource::next(int fd, const std::function<Then()>& arrived) {
    Then then = Then::Wait;
    for (;;) {
        if (std::optional<Input> line = take_line()) return std::move(*line);
        if (ended_) return {};
        draw_prompt();
        pollfd all[] = {{in_, POLLIN, 0}, {fd, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
        if (::poll(all, 3, then == Then::Again ? 0 : -1) < 0) {
            if (errno == EINTR) continue;
            throw ErrnoError("terminal: poll");
        }
        if (all[2].revents != 0)
            if (std::optional<Input> input = on_signal()) return std::move(*input);
        if (all[1].revents != 0 || then == Then::Again) then = arrived();
        if (then == Then::Leave) {
            Input woken;
            woken.kind = Input::Kind::Woken;
            return woken;
        }
        if (all[0].revents != 0) ended_ = !read_more();
    }
}

}  // namespace

TerminalSignals::TerminalSignals() {
    sigset_t ours;
    ::sigemptyset(&ours);
    for (const int number : {SIGINT, SIGHUP, SIGTERM, SIGWINCH, SIGCONT})
        ::sigaddset(&ours, number);
    if (::sigprocmask(SIG_BLOCK, &ours, &before_) < 0) throw ErrnoError("terminal: block signals");
    fd_ = UniqueFd(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) {
        const int code = errno;
        ::sigprocmask(SIG_SETMASK, &before_, nullptr);
        throw ErrnoError("terminal: signalfd", code);
    }
}

TerminalSignals::~TerminalSignals() {
    // One that still waits, say a second Ctrl-C, was meant for us: unblocked, it would kill.
    signalfd_siginfo info;
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

int TerminalSignals::next() {
    signalfd_siginfo info;
    const std::optional<size_t> n =
        read_some(fd_.get(), {reinterpret_cast<char*>(&info), sizeof info});
    return n == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

std::unique_ptr<LineSource> plain_line_source(int in_fd, int out_fd, std::string prompt) {
    return std::make_unique<PlainLineSource>(in_fd, out_fd, std::move(prompt));
}

}  // namespace peacrab
