// What is typed is read by hand, byte for byte, into memory that is wiped.
#include "dialogue.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>

#include <array>

#include "error.h"
#include "config/secrets.h"

namespace peacrab {

// Echo off, as long as it lives. Source: termios(3).
class NoEcho {
  public:
    explicit NoEcho(int fd) : fd_(fd) {
        if (::tcgetattr(fd_, &before_) < 0) throw ErrnoError("setup: terminal");
        off();
    }
    ~NoEcho() { ::tcsetattr(fd_, TCSADRAIN, &before_); }
    NoEcho(const NoEcho&) = delete;
    NoEcho& operator=(const NoEcho&) = delete;
    // Again after a stop: the shell has put its own modes on the terminal.
    void off() const {
        termios hidden = before_;
        hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
        if (::tcsetattr(fd_, TCSAFLUSH, &hidden) < 0) throw ErrnoError("setup: hide the key");
    }

  private:
    int fd_;
    termios before_{};
};

namespace {

// Blanks at both ends go: they come with copying.
Secret trimmed(const Secret& text) {
    const std::string& all = text.reveal();
    const char* const blanks = " \t\r\n";
    const size_t start = all.find_first_not_of(blanks);
    if (start == std::string::npos) return {};
    return Secret(all.substr(start, all.find_last_not_of(blanks) - start + 1));
}

}  // namespace

std::string Dialogue::ask(const std::string& question) {
    write_all(out_, question);
    return trimmed(read_line(nullptr)).reveal();
}

bool Dialogue::yes(const std::string& question) {
    const std::string answer = ask(question + " [y/N] ");
    return answer == "y" || answer == "Y" || answer == "yes";
}

Secret Dialogue::ask_hidden(const std::string& question) {
    Secret line;
    {
        const NoEcho hidden(in_);  // before the question: who answers at once is fast
        write_all(out_, question);
        line = read_line(&hidden);
    }
    write_all(out_, "\n");
    return trimmed(line);
}

// The buffer never grows: no copies stay behind.
Secret Dialogue::read_line(const NoEcho* hidden) {
    std::string line;
    line.reserve(kMaxSecret.count + 256);
    Secret out;
    for (;;) {
        pollfd all[] = {{in_, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
        if (::poll(all, 2, -1) < 0 && errno != EINTR) throw ErrnoError("setup: poll");
        if (all[1].revents != 0) heed_signal(hidden);
        if (all[0].revents == 0) continue;
        std::array<char, 256> bytes;
        const size_t n = read_some(in_, bytes).value_or(0);
        line.append(bytes.data(), n);
        ::explicit_bzero(bytes.data(), bytes.size());
        const bool whole = !line.empty() && line.back() == '\n';
        if (n > 0 && !whole && line.size() <= kMaxSecret.count) continue;
        out = Secret(std::move(line));
        if (n == 0 && out.empty()) throw Interrupted{};  // Ctrl-D
        return out;
    }
}

void Dialogue::heed_signal(const NoEcho* hidden) {
    switch (signals_.next()) {
        case SIGINT:
        case SIGTERM:
        case SIGHUP:
            throw Interrupted{};
        case SIGCONT:
            if (hidden) hidden->off();
            return;
        default:
            return;
    }
}

Secret read_key(int fd) {
    return trimmed(read_bounded(fd));
}

}  // namespace peacrab
