// The line editor on a real pseudo-terminal, looked at through a small screen of our own.
#include "line_editor.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio_ext.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>

#include "error.h"

using namespace peacrab;

namespace {

constexpr size_t kColumns = 40, kRows = 12;

// What a VT100-like terminal shows: the controls libedit and we use, nothing more.
class Screen {
  public:
    void feed(std::string_view bytes) {
        for (const char c : bytes) {
            if (!escape_.empty()) {
                escape_ += c;
                if (c >= 0x40 && c <= 0x7e && c != '[') control();
            } else if (c == '\x1b') {
                escape_ = c;
            } else if (c == '\r') {
                column_ = 0;
            } else if (c == '\n') {
                down();
            } else if (c == '\b') {
                column_ -= column_ > 0;
            } else if (static_cast<unsigned char>(c) >= 0x20) {
                put(c);
            }
        }
    }
    // The rows that hold something, without blanks at their ends.
    std::string text() const {
        std::string all;
        for (std::string row : rows_) {
            row.erase(row.find_last_not_of(' ') + 1);
            all += row + "\n";
        }
        all.erase(all.find_last_not_of('\n') + 1);
        return all;
    }

  private:
    void down() {
        if (++row_ < kRows) return;
        rows_.erase(rows_.begin());
        rows_.emplace_back(kColumns, ' ');
        row_ = kRows - 1;
    }
    void put(char c) {
        if (column_ == kColumns) {
            column_ = 0;
            down();
        }
        rows_[row_][column_++] = c;
    }
    void control() {
        const std::string all = std::exchange(escape_, {});
        if (all.size() < 3) return;
        const size_t n = std::max<size_t>(1, std::strtoul(all.c_str() + 2, nullptr, 10));
        std::string& row = rows_[row_];
        switch (all.back()) {
            case 'A':
                row_ -= std::min(row_, n);
                break;
            case 'B':
                row_ = std::min(row_ + n, kRows - 1);
                break;
            case 'C':
                column_ = std::min(column_ + n, kColumns - 1);
                break;
            case 'D':
                column_ -= std::min(column_, n);
                break;
            case 'P':
                row = (row.erase(column_, n) + std::string(n, ' ')).substr(0, kColumns);
                break;
            case '@':
                row = row.insert(column_, n, ' ').substr(0, kColumns);
                break;
            case 'J':
                for (size_t r = row_ + 1; r < kRows; ++r) rows_[r].assign(kColumns, ' ');
                [[fallthrough]];
            case 'K':
                row.replace(column_, std::string::npos, kColumns - std::min(column_, kColumns),
                            ' ');
                break;
            default:
                break;
        }
    }

    std::vector<std::string> rows_ = std::vector<std::string>(kRows, std::string(kColumns, ' '));
    size_t row_ = 0, column_ = 0;
    std::string escape_;
};

// The child: prints what comes by the socket; "\x01" shows the prompt, "\x02" hides it, and each
// input goes back as one line, its kind first.
[[noreturn]] void child(int socket, const std::string& history) {
    try {
        const std::unique_ptr<LineSource> lines = make_line_editor({"> ", history, 1000});
        lines->set_prompt(LineSource::Prompt::Hidden);
        const auto arrived = [&] {
            std::array<char, 8192> bytes;
            const size_t n = read_some(socket, bytes).value_or(0);
            if (n == 0) return LineSource::Then::Leave;
            std::string_view text(bytes.data(), n);
            while (!text.empty()) {
                const size_t plain = std::min(text.find_first_of("\x01\x02"), text.size());
                lines->print(text.substr(0, plain));
                if (plain < text.size())
                    lines->set_prompt(text[plain] == 1 ? LineSource::Prompt::Shown
                                                       : LineSource::Prompt::Hidden);
                text.remove_prefix(std::min(plain + 1, text.size()));
            }
            return LineSource::Then::Wait;
        };
        for (;;) {
            const LineSource::Input input = lines->next(socket, arrived);
            const char* kinds[] = {"end", "line ", "interrupt", "woken"};
            write_all(socket, kinds[static_cast<int>(input.kind)] + input.line +
                                  (input.had_text ? " had text" : "") + "\n");
            if (input.kind == LineSource::Input::Kind::End) break;
            if (input.kind == LineSource::Input::Kind::Woken) break;
        }
    } catch (const std::exception& error) {
        write_all(socket, std::string("threw ") + error.what() + "\n");
    }
    ::_exit(0);
}

class Editor {
  public:
    explicit Editor(const std::string& history = "") {
        SocketPair pair = SocketPair::stream();
        winsize size{kRows, kColumns, 0, 0};
        int master = -1;
        const pid_t pid = ::forkpty(&master, nullptr, nullptr, &size);
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::__fpurge(stdout);  // what the test has not yet printed is not the child's to print
            ::setenv("TERM", "xterm", 1);
            ::setenv("LC_ALL", "C.UTF-8", 1);
            child(pair.theirs.get(), history);
        }
        pty_ = UniqueFd(master);
        agent_ = std::move(pair.ours);
        child_ = Pidfd::of_child(pid);
    }
    void type(std::string_view keys) { write_all(pty_.get(), keys); }
    void agent(std::string_view text) { write_all(agent_.get(), text); }
    // Until the screen is exactly this, or ten seconds have passed.
    bool shows(const std::string& wanted) {
        pump([&] { return screen_.text() == wanted; });
        if (screen_.text() != wanted)
            MESSAGE("wanted:\n" << wanted << "\nscreen:\n" << screen_.text());
        return screen_.text() == wanted;
    }
    // The next input the child was given.
    std::string input() {
        size_t end = std::string::npos;
        pump([&] { return (end = inputs_.find('\n')) != std::string::npos; });
        const std::string line = inputs_.substr(0, end);
        inputs_.erase(0, end == std::string::npos ? end : end + 1);
        return line;
    }
    bool line_is_empty() { return inputs_.empty(); }
    int pty() const { return pty_.get(); }
    bool cooked() const {
        termios modes{};
        REQUIRE(::tcgetattr(pty_.get(), &modes) == 0);
        return (modes.c_lflag & ICANON) != 0 && (modes.c_lflag & ECHO) != 0;
    }
    Pidfd& process() { return child_; }
    void hang_up() { pty_.reset(); }

  private:
    template <typename Until>
    void pump(Until until) {
        const Deadline limit = Deadline::in(Seconds(10));
        while (!until() && !limit.passed()) {
            pollfd all[] = {{pty_.get(), POLLIN, 0}, {agent_.get(), POLLIN, 0}};
            if (::poll(all, 2, limit.poll_timeout()) <= 0) return;
            std::array<char, 4096> bytes;
            if (all[0].revents != 0) {
                const ssize_t n = ::read(pty_.get(), bytes.data(), bytes.size());
                if (n > 0)
                    screen_.feed({bytes.data(), static_cast<size_t>(n)});
                else
                    pty_.reset();
            }
            if (all[1].revents != 0) {
                const size_t n = read_some(agent_.get(), bytes).value_or(0);
                if (n == 0) return;
                inputs_.append(bytes.data(), n);
            }
        }
    }
    UniqueFd pty_, agent_;
    Pidfd child_;
    Screen screen_;
    std::string inputs_;
};

}  // namespace

TEST_CASE("editor: a line is edited and given without its newline") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("helo world\x02\x02\x02\x02\x02\x02");  // Ctrl-B to the l
    editor.type("\x02l\x05!\n");
    CHECK(editor.input() == "line hello world!");
}

TEST_CASE("editor: letters beyond ASCII, in pieces, are one letter") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("gr\xc3");
    editor.type("\xbcxy\x7f\x7f\xc3\x9f\xff\n");
    CHECK(editor.input() == "line grüß");
}

TEST_CASE("editor: text that arrives at the prompt stands above the line being typed") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("half a quest");
    REQUIRE(editor.shows("> half a quest"));
    editor.agent("news\n");
    REQUIRE(editor.shows("news\n> half a quest"));
    editor.agent("unfinished");
    editor.type("ion");
    REQUIRE(editor.shows("news\n> half a question"));
    editor.agent(" line\n");
    REQUIRE(editor.shows("news\nunfinished line\n> half a question"));
    editor.type("\n");
    CHECK(editor.input() == "line half a question");
}

TEST_CASE("editor: a line longer than the screen is wide is taken off whole") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    const std::string text(90, 'x');
    editor.type(text);
    const std::string shown =
        "> " + std::string(38, 'x') + "\n" + std::string(40, 'x') + "\n" + std::string(12, 'x');
    REQUIRE(editor.shows(shown));
    editor.agent("news\n");
    REQUIRE(editor.shows("news\n" + shown));
    editor.type("\x01");  // to the beginning: fewer rows above the cursor
    editor.agent("more\n");
    REQUIRE(editor.shows("news\nmore\n" + shown));
}

TEST_CASE("editor: typing while text streams takes the unfinished line along and brings it back") {
    Editor editor;
    editor.agent("The answer is for");
    REQUIRE(editor.shows("The answer is for"));
    editor.type("wait");
    REQUIRE(editor.shows("> wait"));
    editor.agent("ty");
    editor.type("!\n");
    CHECK(editor.input() == "line wait!");
    REQUIRE(editor.shows("> wait!\nThe answer is forty"));
    editor.agent("-two.\n");
    REQUIRE(editor.shows("> wait!\nThe answer is forty-two."));
}

TEST_CASE("editor: an unfinished line of several rows and colours is taken off whole") {
    Editor editor;
    const std::string row(40, 'a');
    editor.agent("top\n\x1b[2m" + row + row + "\x1b[0mb");
    REQUIRE(editor.shows("top\n" + row + "\n" + row + "\nb"));
    editor.type("x");
    REQUIRE(editor.shows("top\n> x"));
    editor.type("\x7f");
    editor.agent("c");
    REQUIRE(editor.shows("top\n" + row + "\n" + row + "\nbc"));
}

TEST_CASE("editor: Enter alone while the agent speaks is nothing") {
    Editor editor;
    editor.agent("speaking");
    REQUIRE(editor.shows("speaking"));
    editor.type("\n\n\x03");
    CHECK(editor.input() == "interrupt");
    editor.agent(" on\n\x01");
    REQUIRE(editor.shows("speaking on\n>"));
    editor.type("x\n");
    CHECK(editor.input() == "line x");
}

TEST_CASE("editor: Ctrl-C drops the line and says whether there was one") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("oops");
    REQUIRE(editor.shows("> oops"));
    editor.type("\x03");
    CHECK(editor.input() == "interrupt had text");
    REQUIRE(editor.shows(">"));
    editor.type("\x03");
    CHECK(editor.input() == "interrupt");
    editor.type("fine\n");
    CHECK(editor.input() == "line fine");
}

TEST_CASE("editor: Ctrl-C in the middle of streamed text leaves the text alone") {
    Editor editor;
    editor.agent("on and");
    REQUIRE(editor.shows("on and"));
    editor.type("\x03");
    CHECK(editor.input() == "interrupt");
    editor.agent(" on");
    CHECK(editor.shows("on and on"));
}

TEST_CASE("editor: Ctrl-D at an empty prompt is the end, a hung-up terminal too") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("\x04");
    CHECK(editor.input() == "end");

    Editor other;
    other.agent("\x01");
    REQUIRE(other.shows(">"));
    other.hang_up();
    CHECK(other.input() == "end");
}

TEST_CASE("editor: the terminal has its own modes back when the editor has gone") {
    Editor editor;
    REQUIRE(editor.cooked());
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    CHECK(!editor.cooked());
    editor.type("\x04");
    CHECK(editor.input() == "end");
    CHECK(editor.process().wait().ok());
    CHECK(editor.cooked());

    Editor killed;
    killed.agent("\x01");
    REQUIRE(killed.shows(">"));
    killed.process().signal(SIGTERM);
    CHECK(killed.input() == "end");
    CHECK(killed.process().wait().ok());
    CHECK(killed.cooked());
}

TEST_CASE("editor: after a stop it takes the terminal back and draws its line anew") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("abc");
    REQUIRE(editor.shows("> abc"));
    editor.process().signal(SIGSTOP);
    siginfo_t info;
    REQUIRE(::waitid(P_PID, static_cast<id_t>(editor.process().pid()), &info, WSTOPPED) == 0);
    termios modes{};
    REQUIRE(::tcgetattr(editor.pty(), &modes) == 0);
    modes.c_lflag |= ICANON | ECHO;  // as a shell does
    REQUIRE(::tcsetattr(editor.pty(), TCSANOW, &modes) == 0);
    editor.process().signal(SIGCONT);
    REQUIRE(editor.shows("> abc> abc"));  // on whatever line the shell has left
    CHECK(!editor.cooked());
    editor.type("d\n");
    CHECK(editor.input() == "line abcd");
}

TEST_CASE("editor: a new size of the window is taken up") {
    Editor editor;
    editor.agent("\x01");
    REQUIRE(editor.shows(">"));
    editor.type("hello");
    REQUIRE(editor.shows("> hello"));
    winsize size{kRows, 20, 0, 0};
    REQUIRE(::ioctl(editor.pty(), TIOCSWINSZ, &size) == 0);
    editor.type(" there\n");
    CHECK(editor.input() == "line hello there");
}

TEST_CASE("editor: history is kept in a file of its owner alone, and comes back") {
    char folder[] = "/tmp/peacrab-history-XXXXXX";
    REQUIRE(::mkdtemp(folder));
    const std::string file = std::string(folder) + "/state/history";
    {
        Editor editor(file);
        editor.agent("\x01");
        editor.type("first\nsecond\n");
        CHECK(editor.input() == "line first");
        CHECK(editor.input() == "line second");
        editor.type("\x04");
        CHECK(editor.input() == "end");
    }
    struct stat info;
    REQUIRE(::stat(file.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK(read_file(file, KiB(1)) == "first\nsecond\n");
    {
        Editor editor(file);
        editor.agent("\x01");
        REQUIRE(editor.shows(">"));
        editor.type("\x1b[A\x1b[A\n");
        CHECK(editor.input() == "line first");
    }
    ::unlink(file.c_str());
    ::rmdir((std::string(folder) + "/state").c_str());
    ::rmdir(folder);
}
