// System calls, wrapped once. Everything that owns something is here, so that no naked descriptor,
// pid or secret crosses a function boundary elsewhere. Must not know anything of agents or frames.
#include "os.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "error.h"

namespace peacrab {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

void UniqueFd::reset() noexcept {
    if (fd_ >= 0) ::close(fd_);  // EINTR still closes on Linux: never retried
    fd_ = -1;
}

Pipe Pipe::make() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) < 0) throw ErrnoError("os: pipe");
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

namespace {

SocketPair make_socket_pair(int type) {
    int fds[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) throw ErrnoError("os: socketpair");
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

}  // namespace

SocketPair SocketPair::stream() {
    return make_socket_pair(SOCK_STREAM);
}
SocketPair SocketPair::seqpacket() {
    return make_socket_pair(SOCK_SEQPACKET);
}

std::string ChildExit::describe() const {
    switch (how) {
        case How::Exited:
            return "exit code " + std::to_string(code);
        case How::Signalled:
            return "killed by signal " + std::to_string(code);
        case How::Unknown:
            break;
    }
    return "end unknown";
}

Pidfd Pidfd::of_child(pid_t pid) {
    // pidfds are CLOEXEC by definition.
    const long fd = ::syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        const int code = errno;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        throw ErrnoError("os: pidfd_open", code);
    }
    return {pid, UniqueFd(static_cast<int>(fd))};
}

Pidfd& Pidfd::operator=(Pidfd&& other) noexcept {
    if (this != &other) {
        kill_and_reap();
        pid_ = std::exchange(other.pid_, 0);
        fd_ = std::move(other.fd_);
    }
    return *this;
}

void Pidfd::signal(int number) const noexcept {
    if (fd_) ::syscall(SYS_pidfd_send_signal, fd_.get(), number, nullptr, 0);
}

namespace {

std::optional<ChildExit> reap(pid_t pid, int flags) {
    siginfo_t info{};
    int result;
    do {
        result = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | flags);
    } while (result < 0 && errno == EINTR);
    if (result < 0) throw ErrnoError("os: waitid");
    if (info.si_pid == 0) return std::nullopt;
    using How = ChildExit::How;
    return ChildExit{info.si_code == CLD_EXITED ? How::Exited : How::Signalled, info.si_status};
}

}  // namespace

ChildExit Pidfd::wait() {
    if (pid_ <= 0) throw Error("os: wait: no child");
    const ChildExit exit = *reap(pid_, 0);
    pid_ = 0;
    fd_.reset();
    return exit;
}

std::optional<ChildExit> Pidfd::try_wait() {
    if (pid_ <= 0) throw Error("os: wait: no child");
    const std::optional<ChildExit> exit = reap(pid_, WNOHANG);
    if (exit) {
        pid_ = 0;
        fd_.reset();
    }
    return exit;
}

void Pidfd::kill_and_reap() noexcept {
    if (pid_ <= 0) return;
    signal(SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    fd_.reset();
}

Deadline Deadline::in(Milliseconds span) {
    Deadline deadline;
    deadline.at_ = std::chrono::steady_clock::now() + span;
    return deadline;
}

Deadline Deadline::never() {
    Deadline deadline;
    deadline.never_ = true;
    return deadline;
}

bool Deadline::passed() const {
    return !never_ && std::chrono::steady_clock::now() >= at_;
}

Milliseconds Deadline::left() const {
    if (never_) return Milliseconds::max();
    const auto span = at_ - std::chrono::steady_clock::now();
    return std::max(std::chrono::ceil<Milliseconds>(span), Milliseconds(0));
}

int Deadline::poll_timeout() const {
    if (never_) return -1;
    return static_cast<int>(std::min<int64_t>(left().count(), INT_MAX));
}

Secret::Secret(Secret&& other) noexcept : text_(std::move(other.text_)) {
    other.wipe();
}

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this != &other) {
        wipe();
        text_ = std::move(other.text_);
        other.wipe();
    }
    return *this;
}

void Secret::wipe() noexcept {
    // The whole capacity: a short string keeps its bytes inside the object.
    text_.resize(text_.capacity());
    ::explicit_bzero(text_.data(), text_.size());
    text_.clear();
}

std::optional<std::string> read_file_if_exists(const std::string& path, Bytes limit) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (!fd) throw ErrnoError("read: " + printable(path));
    std::string text = read_all(fd.get(), limit.count);
    if (text.size() > limit.count) throw Error("read: " + printable(path) + ": too large");
    return text;
}

std::string read_file(const std::string& path, Bytes limit) {
    std::optional<std::string> text = read_file_if_exists(path, limit);
    if (!text) throw ErrnoError("read: " + printable(path), ENOENT);
    return std::move(*text);
}

void write_file_atomic(const std::string& path, std::string_view text, mode_t mode) {
    const std::string temporary = path + ".new-" + random_hex(4);
    try {
        UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
        if (!fd) throw ErrnoError("write: " + printable(path));
        if (::fchmod(fd.get(), mode) < 0) throw ErrnoError("write: " + printable(path));
        write_all(fd.get(), text);
        if (::fsync(fd.get()) < 0) throw ErrnoError("write: " + printable(path));
        if (::rename(temporary.c_str(), path.c_str()) < 0)
            throw ErrnoError("write: " + printable(path));
    } catch (...) {
        ::unlink(temporary.c_str());
        throw;
    }
}

void make_directories(const std::string& path, mode_t mode) {
    struct stat there;
    if (::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode)) return;
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        if (::mkdir(part.c_str(), mode) < 0 && errno != EEXIST) {
            const int code = errno;  // EROFS or EACCES above a directory that is there is fine
            struct stat info;
            if (::stat(part.c_str(), &info) < 0 || !S_ISDIR(info.st_mode))
                throw ErrnoError("make directory: " + printable(part), code);
        }
        if (slash == std::string::npos) return;
    }
}

std::optional<std::string> real_path(const std::string& path) {
    char real[PATH_MAX];
    return ::realpath(path.c_str(), real) ? std::optional<std::string>(real) : std::nullopt;
}

std::string require_real_path(const std::string& what, const std::string& path) {
    std::optional<std::string> real = real_path(path);
    if (!real) throw ErrnoError(what + ": " + printable(path));
    return std::move(*real);
}

bool is_within(std::string_view path, std::string_view folder) {
    if (folder.empty() || !path.starts_with(folder)) return false;
    return path.size() == folder.size() || folder.back() == '/' || path[folder.size()] == '/';
}

UniqueFd open_resolved(int at, const char* path, uint64_t flags, uint64_t resolve) noexcept {
    constexpr int kMaxAttempts = 256;
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = resolve;
    for (int attempt = 0;; ++attempt) {
        UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, at, path, &how, sizeof how)));
        if (fd || errno != EAGAIN || attempt == kMaxAttempts) return fd;
    }
}

void write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw ErrnoError("write");
        bytes.remove_prefix(static_cast<size_t>(n));
    }
}

std::optional<size_t> read_some(int fd, std::span<char> into) {
    for (;;) {
        const ssize_t n = ::read(fd, into.data(), into.size());
        if (n >= 0) return static_cast<size_t>(n);
        if (errno == EAGAIN) return std::nullopt;
        if (errno != EINTR) throw ErrnoError("read");
    }
}

std::string read_all(int fd, size_t most) {
    std::string text;
    std::array<char, 16384> buffer;
    while (text.size() <= most) {
        const size_t room = std::min(buffer.size() - 1, most - text.size()) + 1;
        const size_t n = read_some(fd, std::span(buffer).first(room)).value_or(0);
        if (n == 0) break;
        text.append(buffer.data(), n);
    }
    return text;
}

UniqueFd in_memory(std::string_view text) {
    UniqueFd file(::memfd_create("text", MFD_CLOEXEC));
    if (!file) throw ErrnoError("os: memory for a text");
    write_all(file.get(), text);
    if (::lseek(file.get(), 0, SEEK_SET) < 0) throw ErrnoError("os: memory for a text");
    return file;
}

void set_nonblocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        throw ErrnoError("os: set non-blocking");
}

void inherit(int fd) {
    if (::fcntl(fd, F_SETFD, 0) < 0) throw ErrnoError("os: inherit");
}

void send_fd(int socket, int fd) {
    char byte = 0;
    iovec io{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t n;
    do {
        n = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) throw ErrnoError("os: send descriptor");
}

UniqueFd receive_fd(int socket) {
    char byte;
    iovec io{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n;
    do {
        n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) throw ErrnoError("os: receive descriptor");
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return {};
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return UniqueFd(fd);
}

std::string env(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

std::string hex_digits(std::string_view bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
    return text;
}

std::string random_hex(size_t bytes) {
    std::string raw(bytes, '\0');
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n = ::getrandom(raw.data() + done, bytes - done, 0);
        if (n < 0 && errno != EINTR) throw ErrnoError("os: getrandom");
        if (n > 0) done += static_cast<size_t>(n);
    }
    return hex_digits(raw);
}

uint64_t text_hash(std::string_view text) {
    uint64_t hash = 14695981039346656037u;
    for (const unsigned char byte : text) hash = (hash ^ byte) * 1099511628211u;
    return hash;
}

namespace {

// Code points that change how a terminal or a reader sees the rest: C1 controls, line separators,
// bidirectional overrides and isolates, zero-width joiners and the byte order mark.
bool is_deceptive(char32_t c) {
    return (c >= 0x80 && c <= 0x9f) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe007f);
}

// The code point of a valid sequence of `length` bytes.
char32_t code_point(std::string_view text, size_t length) {
    char32_t code = static_cast<unsigned char>(text[0]) & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i)
        code = (code << 6) | (static_cast<unsigned char>(text[i]) & 0x3fu);
    return code;
}

void append_escape(std::string& out, char32_t code) {
    char text[16];
    const int n = code < 0x100
                      ? std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned>(code))
                      : std::snprintf(text, sizeof text, "\\u{%x}", static_cast<unsigned>(code));
    out.append(text, static_cast<size_t>(n));
}

}  // namespace

size_t utf8_length(std::string_view text) {
    const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = text.empty() ? 0xff : at(0);
    if (lead < 0x80) return 1;
    const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || text.size() < length) return 0;
    for (size_t i = 1; i < length; ++i)
        if ((at(i) & 0xc0) != 0x80) return 0;
    // Overlong forms, surrogates and what lies beyond U+10FFFF (section 4).
    if (lead == 0xe0 && at(1) < 0xa0) return 0;
    if (lead == 0xed && at(1) > 0x9f) return 0;
    if (lead == 0xf0 && at(1) < 0x90) return 0;
    if (lead == 0xf4 && at(1) > 0x8f) return 0;
    return length;
}

std::string_view utf8_prefix(std::string_view text, size_t most) {
    if (text.size() <= most) return text;
    for (size_t end = most, back = 0; back <= std::min<size_t>(most, 3); --end, ++back)
        if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80) return text.substr(0, end);
    return text.substr(0, most);
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const auto byte = static_cast<unsigned char>(text[0]);
        size_t length = 1;
        if (byte >= 0x80) {
            length = utf8_length(text);
            const char32_t code = length ? code_point(text, length) : byte;
            if (length == 0 || is_deceptive(code))
                append_escape(out, code);
            else
                out.append(text.substr(0, length));
            length = std::max<size_t>(length, 1);
        } else if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
            append_escape(out, byte);
        } else {
            out += text[0];
        }
        text.remove_prefix(length);
    }
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    for (;;) {
        const size_t end = text.find(separator);
        parts.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

namespace {

// The one piece of process-wide state: who speaks and how much. Set once at the start of main.
LogLevel log_level = LogLevel::Info;
const char* log_name = "peacrab";

}  // namespace

void set_log_level(LogLevel level) {
    log_level = level;
}
void set_log_name(const char* name) {
    log_name = name;
}

void log(LogLevel level, std::string_view text) {
    if (level > log_level) return;
    std::string line = std::string(log_name) + ": " + printable(text) + '\n';
    // Best effort: a log that cannot be written must not end what it reports on.
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

std::vector<std::string> list_folder(const std::string& path) {
    std::vector<std::string> names;
    DIR* const folder = ::opendir(path.c_str());
    if (!folder) return names;
    while (const dirent* entry = ::readdir(folder)) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(folder);
    std::sort(names.begin(), names.end());
    return names;
}

std::string boot_id() {
    std::string id =
        read_file_if_exists("/proc/sys/kernel/random/boot_id", KiB(1)).value_or("unknown");
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
}

std::string kernel_release() {
    utsname name;
    return ::uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace peacrab
