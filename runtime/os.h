// System calls, wrapped once: owners of fds, processes and secrets, deadlines, bounded reads,
// opens that cannot leave a directory, and the log. Everything is CLOEXEC. Failures throw
// ErrnoError unless said otherwise.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "types.h"

namespace peacrab {

// Owns a file descriptor; -1 is empty. Moves only.
class UniqueFd {
  public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept;
    ~UniqueFd() { reset(); }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset() noexcept;

  private:
    int fd_ = -1;
};

struct Pipe {
    UniqueFd read;
    UniqueFd write;
    static Pipe make();
};

struct SocketPair {
    UniqueFd ours;
    UniqueFd theirs;
    static SocketPair stream();     // AF_UNIX SOCK_STREAM
    static SocketPair seqpacket();  // AF_UNIX SOCK_SEQPACKET
};

// How a child ended. The default is "unknown", which nobody may take for success.
struct [[nodiscard]] ChildExit {
    enum class How { Unknown, Exited, Signalled } how = How::Unknown;
    int code = -1;  // exit status or signal number
    bool ok() const { return how == How::Exited && code == 0; }
    std::string describe() const;  // "exit code 3", "killed by signal 9"
};

// Owns a child by pidfd: kills (SIGKILL) and reaps it when dropped. Moves only.
// Source: pidfd_open(2), waitid(2).
class Pidfd {
  public:
    Pidfd() = default;
    Pidfd(pid_t pid, UniqueFd fd) : pid_(pid), fd_(std::move(fd)) {}
    Pidfd(Pidfd&& other) noexcept : pid_(std::exchange(other.pid_, 0)), fd_(std::move(other.fd_)) {}
    Pidfd& operator=(Pidfd&& other) noexcept;
    ~Pidfd() { kill_and_reap(); }
    static Pidfd of_child(pid_t pid);  // pidfd_open on a child not yet reaped
    explicit operator bool() const { return pid_ > 0; }
    pid_t pid() const { return pid_; }
    int fd() const { return fd_.get(); }  // readable when the child has ended
    void signal(int number) const noexcept;
    ChildExit wait();                     // blocks, reaps
    std::optional<ChildExit> try_wait();  // reaps when ended, else nothing
    void kill_and_reap() noexcept;

  private:
    pid_t pid_ = 0;
    UniqueFd fd_;
};

// A point in time to be passed down; never a bare timeout. The default has already passed.
class Deadline {
  public:
    Deadline() = default;
    static Deadline in(Milliseconds span);
    static Deadline never();
    bool passed() const;
    Milliseconds left() const;  // ≥ 0
    int poll_timeout() const;   // for poll(2): ms, -1 for never

  private:
    std::chrono::steady_clock::time_point at_{};
    bool never_ = false;
};

// Bytes that are wiped when dropped, cannot be copied and have no printable form.
class Secret {
  public:
    Secret() = default;
    explicit Secret(std::string text) : text_(std::move(text)) {}
    Secret(Secret&& other) noexcept;
    Secret& operator=(Secret&& other) noexcept;
    ~Secret() { wipe(); }
    bool empty() const { return text_.empty(); }
    const std::string& reveal() const { return text_; }
    Secret clone() const { return Secret(text_); }
    void wipe() noexcept;

  private:
    std::string text_;
};

// Bounded whole-file reads and atomic writes (temp file + fsync + rename in the same directory).
std::string read_file(const std::string& path, Bytes limit);
std::optional<std::string> read_file_if_exists(const std::string& path, Bytes limit);
void write_file_atomic(const std::string& path, std::string_view text, mode_t mode);
// The names in a folder, sorted; none when it cannot be read.
std::vector<std::string> list_folder(const std::string& path);
void make_directories(const std::string& path, mode_t mode = 0700);
// Without links, `.` and `..`; nothing when there is no such place, and errno says why.
std::optional<std::string> real_path(const std::string& path);
std::string require_real_path(const std::string& what, const std::string& path);
// Whether a path is `folder` or leads beneath it. Both as real_path gives them.
bool is_within(std::string_view path, std::string_view folder);
// openat2(2) with CLOEXEC; tried again when something was renamed while it looked. Empty: errno says why.
UniqueFd open_resolved(int at, const char* path, uint64_t flags, uint64_t resolve) noexcept;

// Writes all of it; EINTR retried; blocking fds only.
void write_all(int fd, std::string_view bytes);
// One read(2); EINTR retried. 0 is end of file. EAGAIN gives nothing.
std::optional<size_t> read_some(int fd, std::span<char> into);
// What is left until its end. Of more than `most` bytes `most` and one, which says that there are more.
std::string read_all(int fd, size_t most);
// A file without a name that holds `text`, to be read from its beginning.
UniqueFd in_memory(std::string_view text);
void set_nonblocking(int fd);
// Clears CLOEXEC: the one way a descriptor gets across an exec.
void inherit(int fd);

// Sends or receives one descriptor with a single byte (SCM_RIGHTS). receive_fd gives an empty fd
// at end of file.
void send_fd(int socket, int fd);
UniqueFd receive_fd(int socket);

std::string env(const char* name);     // "" when unset
std::string boot_id();         // of this kernel's run; "unknown" when it tells none
std::string kernel_release();  // as `uname -r`
std::string random_hex(size_t bytes);  // getrandom(2)
std::string hex_digits(std::string_view bytes);  // two for each, in lower case
// FNV-1a, 64 bits: for telling texts apart, not against who makes one to look like another.
uint64_t text_hash(std::string_view text);
// Control bytes, ESC, DEL, C1 and bidi overrides become visible escapes; newlines are kept.
// For anything hostile that is printed on a terminal.
std::string printable(std::string_view text);
// Bytes of the valid UTF-8 sequence (RFC 3629) at the front of `text`; 0 when there is none.
size_t utf8_length(std::string_view text);
// The front of `text`: at most `most` bytes, not cut within a character (of what is no UTF-8, at least
// `most` - 3: who sends a text in parts gets on).
std::string_view utf8_prefix(std::string_view text, size_t most);
std::vector<std::string> split(std::string_view text, char separator);
std::string lower(std::string_view text);  // ASCII letters; no locale

// One line on stderr: `peacrabd: text`. Hostile bytes are escaped. Level comes from set_log_level.
enum class LogLevel { Error, Info, Debug };
void set_log_level(LogLevel level);
void set_log_name(const char* name);
void log(LogLevel level, std::string_view text);

}  // namespace peacrab
