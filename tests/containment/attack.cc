// A hostile program for the inside of a cell: `attack ROW...` tries what each row names and prints
// one line for it (`A1 ok ...`, `A1 ESCAPED ...`) and one for its positive twin (`A1+ ok`), which
// shows that the attempt can succeed where it is allowed. Static, so that it runs in any cell.
//
// Must not harm a machine: it refuses to run where no-new-privs is off, unless told `--anyway` by
// the run that switches mechanisms off in a throw-away guest; what floods has words of its own.
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace attack {
namespace {

std::vector<int> g_first_descriptors;  // filled before anything else is opened

std::vector<int> open_descriptors() {
    std::vector<int> open;
    for (int fd = 0; fd < 4096; ++fd)
        if (::fcntl(fd, F_GETFD) >= 0) open.push_back(fd);
    return open;
}

}  // namespace

std::string Try::text() const {
    if (signal) return "ended by signal " + std::to_string(signal);
    if (value >= 0) return "possible (" + std::to_string(value) + ")";
    return std::string(::strerrorname_np(error) ? ::strerrorname_np(error) : "?");
}

Try in_child(const Attempt& attempt, unsigned seconds) {
    Try result;
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) < 0) return result;
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid < 0) {
        result.error = errno;
        ::close(pipe[0]);
        ::close(pipe[1]);
        return result;
    }
    if (pid == 0) {
        ::alarm(seconds);
        errno = 0;
        long answer[2];
        answer[0] = attempt();
        answer[1] = errno;
        if (::write(pipe[1], answer, sizeof answer) != sizeof answer) ::_exit(1);
        ::_exit(0);
    }
    ::close(pipe[1]);
    long answer[2] = {-1, 0};
    const bool told = ::read(pipe[0], answer, sizeof answer) == sizeof answer;
    ::close(pipe[0]);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (told) {
        result.value = answer[0];
        result.error = static_cast<int>(answer[1]);
    } else if (WIFSIGNALED(status)) {
        result.signal = WTERMSIG(status);
    }
    return result;
}

void Report::add(const std::string& what) {
    if (problems_.size() < 1500)
        problems_ += (problems_.empty() ? "" : "; ") + what;
    else
        ++dropped_;
}

void Report::escaped(const std::string& what) {
    escaped_ = true;
    add(what);
}

void Report::surprise(const std::string& what) {
    surprised_ = true;
    add(what);
}

void Report::refused(const std::string& what, std::initializer_list<int> codes,
                     const Attempt& attempt, unsigned seconds) {
    const Try result = in_child(attempt, seconds);
    ++tries_;
    for (const int code : codes)
        if (result.signal ? code == -result.signal : result.value < 0 && code == result.error)
            return;
    if (!result.signal && result.value >= 0)
        escaped(what + ": " + result.text());
    else
        surprise(what + ": " + result.text());
}

void Report::works(const std::string& what, const Attempt& attempt, unsigned seconds) {
    const Try result = in_child(attempt, seconds);
    ++tries_;
    if (result.signal || result.value < 0) surprise(what + ": " + result.text());
}

void Report::must(const std::string& what, bool holds) {
    ++tries_;
    if (!holds) surprise(what);
}

std::string Report::line(const std::string& id) const {
    if (!red())
        return tries_ ? id + " ok " + std::to_string(tries_) + " tries" +
                            (notes_.empty() ? "" : " (" + notes_ + ")")
                      : id + " UNEXPECTED nothing was tried";
    return id + (escaped_ ? " ESCAPED " : " UNEXPECTED ") + problems_ +
           (dropped_ ? " and " + std::to_string(dropped_) + " more" : "");
}

bool root() {
    return ::getuid() == 0;
}

long refusal(int code) {
    errno = code;
    return -1;
}

long raw(long number, long a, long b, long c, long d, long e, long f) {
    return ::syscall(number, a, b, c, d, e, f);
}

long open_for(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat info;
    if (fd < 0 || ::fstat(fd, &info) < 0) return -1;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3) && path != "/dev/null")
        return refusal(ENODEV);
    return fd;
}

long holds_bytes(const std::string& path) {
    const long fd = open_for(path, O_RDONLY);
    if (fd < 0) return -1;
    char bytes[64];
    const ssize_t n = ::read(static_cast<int>(fd), bytes, sizeof bytes);
    return n > 0 ? n : refusal(n == 0 ? ENODATA : errno);
}

std::string read_all(const std::string& path, size_t limit) {
    std::string text;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return text;
    char block[4096];
    ssize_t n;
    while (text.size() < limit && (n = ::read(fd, block, sizeof block)) > 0)
        text.append(block, static_cast<size_t>(n));
    const int code = errno;
    ::close(fd);
    errno = code;
    return text;
}

std::string link_of(const std::string& path) {
    char target[4096];
    const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
    return n > 0 ? std::string(target, static_cast<size_t>(n)) : std::string();
}

std::vector<std::string> list(const std::string& folder) {
    std::vector<std::string> names;
    DIR* directory = ::opendir(folder.c_str());
    if (!directory) return names;
    while (const dirent* entry = ::readdir(directory))
        if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
            names.emplace_back(entry->d_name);
    ::closedir(directory);
    return names;
}

std::vector<int> pids() {
    std::vector<int> found;
    for (const std::string& name : list("/proc"))
        if (const int pid = std::atoi(name.c_str()); pid > 0) found.push_back(pid);
    return found;
}

std::string own_path() {
    return link_of("/proc/self/exe");
}

const std::vector<int>& first_descriptors() {
    return g_first_descriptors;
}

std::string status_field(const char* name) {
    const std::string status = read_all("/proc/self/status");
    const size_t at = status.find("\n" + std::string(name) + ":\t");
    if (at == std::string::npos) return {};
    const size_t from = at + std::strlen(name) + 3;
    return status.substr(from, status.find('\n', from) - from);
}

std::string run_self(const std::string& program, const char* word, int uid) {
    int pipe[2];
    if (::pipe(pipe) < 0) return {};
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::alarm(20);
        ::dup2(pipe[1], 1);
        if (uid > 0 && (::setgroups(0, nullptr) < 0 ||
                        ::setresgid(static_cast<gid_t>(uid), static_cast<gid_t>(uid),
                                    static_cast<gid_t>(uid)) < 0 ||
                        ::setresuid(static_cast<uid_t>(uid), static_cast<uid_t>(uid),
                                    static_cast<uid_t>(uid)) < 0))
            ::_exit(3);
        ::execl(program.c_str(), "attack", word, nullptr);
        std::printf("exec: %s", std::strerror(errno));
        std::fflush(stdout);
        ::_exit(4);
    }
    ::close(pipe[1]);
    std::string said;
    char block[512];
    ssize_t n;
    while (said.size() < 4096 && (n = ::read(pipe[0], block, sizeof block)) > 0)
        said.append(block, static_cast<size_t>(n));
    ::close(pipe[0]);
    if (pid > 0) ::waitpid(pid, nullptr, 0);
    return said;
}

namespace {

std::vector<Row> all_rows() {
    std::vector<Row> rows = kernel_rows();
    for (const Row& row : neighbour_rows()) rows.push_back(row);
    return rows;
}

bool wanted(const Row& row, const std::vector<std::string>& words) {
    for (const std::string& word : words)
        if (word == row.id || word == "all") return true;
    return false;
}

bool print(const std::string& line, bool red) {
    std::puts(line.c_str());
    std::fflush(stdout);
    return red;
}

bool run(const Row& row) {
    Report attempt, twin;
    row.attempt(attempt);
    const bool red = print(attempt.line(row.id), attempt.red());
    row.twin(twin);
    return print(twin.line(row.id + std::string("+")), twin.red()) || red;
}

// What a program run from a strange place may do; read by the rows that started it.
int print_rights() {
    std::printf("uid=%u euid=%u caps=%s nnp=%s seccomp=%s\n", ::getuid(), ::geteuid(),
                status_field("CapEff").c_str(), status_field("NoNewPrivs").c_str(),
                status_field("Seccomp").c_str());
    return 0;
}

int run_rows(const std::vector<std::string>& words) {
    int red = 0, done = 0;
    for (const Row& row : all_rows())
        if (wanted(row, words)) {
            ++done;
            red += run(row);
        }
    if (!done) {
        for (const Row& row : all_rows()) std::printf("%-5s %s\n", row.id, row.what);
        return 2;
    }
    std::printf("attack: %d rows, %d red\n", done, red);
    return red ? 1 : 0;
}

}  // namespace
}  // namespace attack

int main(int argc, char** argv) {
    using namespace attack;
    g_first_descriptors = open_descriptors();
    std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty() && words[0] == "--rights") return print_rights();
    const bool anyway = !words.empty() && words[0] == "--anyway";
    if (anyway) words.erase(words.begin());
    if (!anyway && status_field("NoNewPrivs") != "1") {
        std::puts("attack: this is no cell (no-new-privs is off): nothing is tried");
        return 2;
    }
    for (int (*part)(const std::vector<std::string>&) : {flood, meet, audit})
        if (const int code = part(words); code >= 0) return code;
    return run_rows(words);
}
