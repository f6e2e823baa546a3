// libedit wants to own the screen for as long as a line is typed; the agent wants to print
// meanwhile. So libedit gets its characters from us: while it waits for one we wait for the agent
// too, and whatever is to be printed is put above the line.
//
// The screen is in one of two states. Not drawn: the agent's text streams freely, its unfinished
// last line is kept in `tail_`. Drawn: prompt and line are on the screen; only whole lines are
// printed, above them, and the unfinished rest waits in `held_`. The first key takes the tail off
// the screen into held_, Enter puts it back: nothing is shown torn or twice. This file must not
// decide what a line means.
#include "line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cwchar>

#include "config.h"
#include "error.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kMaxHeld = KiB(64).count;
constexpr size_t kMaxHistoryFile = MiB(4).count;

class LineEditor : public LineSource {
  public:
    explicit LineEditor(LineEditorOptions options);
    ~LineEditor() override;
    Input next(int fd, const std::function<Then()>& arrived) override;
    bool print(std::string_view text) override;
    void set_prompt(Prompt prompt) override;

  private:
    static char* prompt_callback(EditLine* editor);
    static int char_callback(EditLine* editor, wchar_t* into);
    int get_char(wchar_t* into);
    bool decode(wchar_t* into);
    void rest();
    bool wait();
    bool on_signal();
    bool give_up(Input::Kind kind);
    void begin_typing();
    void draw();
    void erase(size_t rows);
    void erase_line();
    void release();
    bool put(std::string_view text);
    bool line_is_empty() const;
    size_t columns() const;
    size_t rows_above_cursor() const;
    void load_history();
    void remember(const std::string& line);

    LineEditorOptions options_;
    EditLine* editor_ = nullptr;
    History* history_ = nullptr;
    TerminalSignals signals_;
    Prompt prompt_ = Prompt::Shown;
    bool reading_ = false, drawn_ = false;
    std::string tail_, held_;
    std::string bytes_;  // typed, not yet decoded
    // Of the call of next() that is running.
    int fd_ = -1;
    const std::function<Then()>* arrived_ = nullptr;
    Then then_ = Then::Wait;
    Input gave_up_;
    std::string failure_;  // an exception must not pass through libedit
};

// Columns a text takes; what has no width of its own is counted as two, as libedit shows ^X.
size_t width_of(const wchar_t* text, size_t length) {
    size_t width = 0;
    for (size_t i = 0; i < length; ++i) {
        const int one = ::wcwidth(text[i]);
        width += one < 0 ? 2 : static_cast<size_t>(one);
    }
    return width;
}

// Of text that stands on the screen: colours take no room, a tab goes to the next stop.
size_t width_of(const std::string& text) {
    std::wstring wide(text.size() + 1, L'\0');
    const size_t n = std::mbstowcs(wide.data(), text.c_str(), wide.size());
    if (n == static_cast<size_t>(-1)) return text.size();
    size_t width = 0;
    for (size_t i = 0; i < n; ++i) {
        if (wide[i] == L'\x1b')
            i = std::min(wide.find(L'm', i), n);
        else if (wide[i] == L'\t')
            width += 8 - width % 8;
        else
            width += width_of(&wide[i], 1);
    }
    return width;
}

LineEditor::LineEditor(LineEditorOptions options) : options_(std::move(options)) {
    ::setlocale(LC_CTYPE, "");
    if (std::string(::nl_langinfo(CODESET)) != "UTF-8") ::setlocale(LC_CTYPE, "C.UTF-8");
    editor_ = ::el_init("peacrab", stdin, stdout, stderr);
    history_ = ::history_init();
    if (!editor_ || !history_) {
        if (editor_) ::el_end(editor_);
        if (history_) ::history_end(history_);
        throw Error("terminal: this one cannot edit lines: try --plain");
    }
    HistEvent event;
    ::history(history_, &event, H_SETSIZE, static_cast<int>(options_.history_limit));
    ::history(history_, &event, H_SETUNIQUE, 1);
    ::el_set(editor_, EL_CLIENTDATA, this);
    ::el_set(editor_, EL_PROMPT, &LineEditor::prompt_callback);
    ::el_set(editor_, EL_EDITOR, "emacs");
    ::el_set(editor_, EL_SIGNAL, 0);  // they come through signals_
    ::el_set(editor_, EL_HIST, ::history, history_);
    // Between two lines libedit goes back to the terminal's own modes. A key that falls into that
    // moment would be echoed, and a Ctrl-D lost: so those modes are without editing as well.
    // el_end() restores what was there before.
    ::el_set(editor_, EL_SETTY, "-x", "-icanon", "-echo", nullptr);
    ::el_wset(editor_, EL_GETCFN, &LineEditor::char_callback);
    const char* const keys[][2] = {
        {"^R", "em-inc-search-prev"},      {"^W", "ed-delete-prev-word"},
        {"\\e[3~", "ed-delete-next-char"}, {"\\e[1~", "ed-move-to-beg"},
        {"\\e[4~", "ed-move-to-end"},      {"\\e[1;5C", "em-next-word"},
        {"\\e[1;5D", "ed-prev-word"},
    };
    for (const auto& key : keys) ::el_set(editor_, EL_BIND, key[0], key[1], nullptr);
    load_history();
}

LineEditor::~LineEditor() {
    if (!tail_.empty()) put("\n");
    ::el_end(editor_);
    ::history_end(history_);
}

char* LineEditor::prompt_callback(EditLine* editor) {
    LineEditor* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    static char nothing[] = "";
    return self->drawn_ ? self->options_.prompt.data() : nothing;
}

int LineEditor::char_callback(EditLine* editor, wchar_t* into) {
    LineEditor* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    try {
        return self->get_char(into);
    } catch (const std::exception& error) {
        self->failure_ = error.what();
        return 0;
    }
}

// One character for libedit; 0 makes it give the line up.
int LineEditor::get_char(wchar_t* into) {
    for (;;) {
        while (decode(into)) {
            // Enter with nothing typed, while the agent speaks: nothing to do.
            if (!drawn_ && (*into == L'\r' || *into == L'\n')) continue;
            if (!drawn_) begin_typing();
            return 1;
        }
        rest();
        if (!wait()) return 0;
    }
}

// Takes one whole character off bytes_; what is no UTF-8 is dropped byte by byte.
bool LineEditor::decode(wchar_t* into) {
    while (!bytes_.empty()) {
        std::mbstate_t state{};
        const size_t n = std::mbrtowc(into, bytes_.data(), bytes_.size(), &state);
        if (n == static_cast<size_t>(-2)) return false;
        if (n == static_cast<size_t>(-1) || n == 0) {
            bytes_.erase(0, 1);
            continue;
        }
        bytes_.erase(0, n);
        return true;
    }
    return false;
}

// What was typed while the agent spoke has been taken back: the screen is the agent's again.
void LineEditor::rest() {
    if (prompt_ == Prompt::Shown || !drawn_ || !line_is_empty()) return;
    erase_line();
    release();
}

// Until there are bytes to decode. False: the line is given up, gave_up_ says why.
bool LineEditor::wait() {
    pollfd all[] = {{STDIN_FILENO, POLLIN, 0}, {fd_, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
    if (::poll(all, 3, then_ == Then::Again ? 0 : -1) < 0 && errno != EINTR)
        throw ErrnoError("terminal: poll");
    if (all[2].revents != 0 && !on_signal()) return false;
    if (all[1].revents != 0 || then_ == Then::Again) then_ = (*arrived_)();
    if (then_ == Then::Leave) return give_up(Input::Kind::Woken);
    if (all[0].revents == 0) return true;
    std::array<char, 4096> bytes;
    const ssize_t n = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) return give_up(Input::Kind::End);
    if (n > 0) bytes_.append(bytes.data(), static_cast<size_t>(n));
    return true;
}

bool LineEditor::give_up(Input::Kind kind) {
    gave_up_ = {};
    gave_up_.kind = kind;
    gave_up_.had_text = drawn_ && !line_is_empty();
    erase_line();
    drawn_ = false;
    return false;
}

bool LineEditor::on_signal() {
    switch (signals_.next()) {
        case SIGINT:
            return give_up(Input::Kind::Interrupt);
        case SIGHUP:
        case SIGTERM:
            return give_up(Input::Kind::End);
        case SIGCONT:
            // The shell had the terminal: its modes and its text are on it now.
            ::el_set(editor_, EL_PREP_TERM, 0);
            ::el_set(editor_, EL_PREP_TERM, 1);
            if (drawn_) draw();
            return true;
        case SIGWINCH:
            // The terminal has moved what was on the screen; where to, is a guess.
            if (drawn_) erase(rows_above_cursor());
            ::el_resize(editor_);
            if (drawn_) draw();
            return true;
        default:
            return true;
    }
}

void LineEditor::begin_typing() {
    const size_t rows = (std::max<size_t>(width_of(tail_), 1) - 1) / columns();
    struct winsize size {};
    const bool on_screen = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && rows + 2 < size.ws_row;
    if (tail_.empty() || !on_screen) {
        if (!tail_.empty()) put("\n");
    } else {
        erase(rows);
        held_ = tail_;
    }
    tail_.clear();
    draw();
}

void LineEditor::draw() {
    drawn_ = true;
    ::el_set(editor_, EL_REFRESH);
}

void LineEditor::erase(size_t rows) {
    put(rows == 0 ? "\r\x1b[J" : "\r\x1b[" + std::to_string(rows) + "A\x1b[J");
}

void LineEditor::erase_line() {
    if (drawn_) erase(rows_above_cursor());
}

// The line is off the screen: what waited may be shown, its last line unfinished.
void LineEditor::release() {
    drawn_ = false;
    put(held_);
    tail_ = std::exchange(held_, {});
    const size_t last = tail_.rfind('\n');
    if (last != std::string::npos) tail_.erase(0, last + 1);
}

bool LineEditor::put(std::string_view text) {
    try {
        write_all(STDOUT_FILENO, text);
        return true;
    } catch (const ErrnoError&) {
        return false;
    }
}

bool LineEditor::line_is_empty() const {
    const LineInfo* line = ::el_line(editor_);
    return line->lastchar == line->buffer;
}

size_t LineEditor::columns() const {
    struct winsize size {};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

size_t LineEditor::rows_above_cursor() const {
    const LineInfoW* line = ::el_wline(editor_);
    const auto before = static_cast<size_t>(line->cursor - line->buffer);
    return (width_of(options_.prompt) + width_of(line->buffer, before)) / columns();
}

bool LineEditor::print(std::string_view text) {
    if (!drawn_) {
        const size_t last = text.rfind('\n');
        if (last != std::string_view::npos) tail_.clear();
        // One beyond this is taller than any screen, and then its end alone does not matter.
        if (tail_.size() < kMaxHeld)
            tail_ += text.substr(last == std::string_view::npos ? 0 : last + 1);
        return put(text);
    }
    held_ += text;
    if (held_.size() > kMaxHeld) held_ += '\n';
    const size_t last = held_.rfind('\n');
    if (last == std::string::npos) return true;
    erase_line();
    const bool shown = put(std::string_view(held_).substr(0, last + 1));
    held_.erase(0, last + 1);
    draw();
    return shown;
}

void LineEditor::set_prompt(Prompt prompt) {
    prompt_ = prompt;
    if (!reading_) return;
    if (prompt == Prompt::Shown && !drawn_) {
        if (!tail_.empty()) put("\n");
        tail_.clear();
        draw();
    }
    rest();
}

LineSource::Input LineEditor::next(int fd, const std::function<Then()>& arrived) {
    fd_ = fd;
    arrived_ = &arrived;
    then_ = Then::Wait;
    gave_up_ = {};
    if (prompt_ == Prompt::Shown && !tail_.empty()) {
        put("\n");
        tail_.clear();
    }
    drawn_ = prompt_ == Prompt::Shown;
    reading_ = true;
    int length = 0;
    const char* typed = ::el_gets(editor_, &length);
    reading_ = false;
    Input input = gave_up_;
    if (typed && length > 0) {
        input.kind = Input::Kind::Line;
        input.line = json::valid_utf8({typed, static_cast<size_t>(length)});
        while (!input.line.empty() && input.line.back() == '\n') input.line.pop_back();
        remember(input.line);
    }
    release();
    if (!failure_.empty()) throw Error(std::exchange(failure_, {}));
    return input;
}

// One line an entry, oldest first. A file that cannot be read is no history, not a failure.
void LineEditor::load_history() {
    if (options_.history_file.empty()) return;
    try {
        const std::optional<std::string> text =
            read_file_if_exists(options_.history_file, Bytes{kMaxHistoryFile});
        if (!text) return;
        std::vector<std::string> lines = split(*text, '\n');
        std::erase(lines, "");
        const size_t excess = lines.size() - std::min<size_t>(lines.size(), options_.history_limit);
        lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(excess));
        HistEvent event;
        std::string kept;
        for (const std::string& line : lines) {
            ::history(history_, &event, H_ENTER, printable(line).c_str());
            kept += line + "\n";
        }
        if (excess > options_.history_limit) write_file_atomic(options_.history_file, kept, 0600);
    } catch (const Error& error) {
        log(LogLevel::Info, std::string("history: ") + error.what());
    }
}

// Appended line by line, so that two terminals, or one that is killed, lose nothing.
void LineEditor::remember(const std::string& line) {
    if (line.find_first_not_of(" \t") == std::string::npos) return;
    HistEvent event;
    ::history(history_, &event, H_ENTER, line.c_str());
    if (options_.history_file.empty()) return;
    try {
        make_directories(options_.history_file.substr(0, options_.history_file.rfind('/')), 0700);
        const UniqueFd file(::open(options_.history_file.c_str(),
                                   O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!file) throw ErrnoError("open: " + options_.history_file);
        write_all(file.get(), line + "\n");
    } catch (const Error& error) {
        options_.history_file.clear();  // said once
        log(LogLevel::Info, "history: not kept: " + std::string(error.what()));
    }
}

}  // namespace

std::unique_ptr<LineSource> make_line_editor(LineEditorOptions options) {
    return std::make_unique<LineEditor>(std::move(options));
}

std::string default_history_file() {
    return state_folder() + "/history";
}

}  // namespace peacrab
