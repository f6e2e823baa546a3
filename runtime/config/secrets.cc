// Keys on the disk of the person. The one danger here is another user of the machine: who can read
// the file has the key, who can write the file or swap it in its folder decides where requests are
// paid from. So both are checked on the open descriptor at every read, and a file that fails the
// check is refused with the command that mends it, never used anyway.
// This file must not print, log or copy a secret: it hands out Secret and nothing else.
#include "config/secrets.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "config.h"
#include "error.h"

namespace peacrab {
namespace {

bool plain_name(const std::string& name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
}

struct stat status_of(int fd, const std::string& path) {
    struct stat status {};
    if (fstat(fd, &status) != 0) throw ErrnoError("secrets: look at " + path);
    return status;
}

void check_directory(int fd, const std::string& path) {
    const struct stat status = status_of(fd, path);
    if (status.st_uid != geteuid()) throw Error("secrets: " + path + ": belongs to another user");
    if ((status.st_mode & 022) != 0)
        throw Error("secrets: " + path + ": others can write in it; mend it with: chmod 700 " +
                    path);
}

void check_file(int fd, const std::string& path) {
    const struct stat status = status_of(fd, path);
    if (!S_ISREG(status.st_mode)) throw Error("secrets: " + path + ": no regular file");
    if (status.st_uid != geteuid()) throw Error("secrets: " + path + ": belongs to another user");
    if ((status.st_mode & 077) != 0)
        throw Error("secrets: " + path + ": others can read it; mend it with: chmod 600 " + path);
    if (status.st_size > static_cast<off_t>(kMaxSecret.count))
        throw Error("secrets: " + path + ": too long for a key");
}

// Nothing when it is not there.
std::optional<UniqueFd> open_if_there(int at, const std::string& path, int flags) {
    UniqueFd fd(openat(at, path.c_str(), flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd) return fd;
    if (errno == ENOENT) return std::nullopt;
    throw ErrnoError("secrets: open " + path);
}

Secret read_secret(int fd, const std::string& path) {
    const Secret whole = read_bounded(fd);
    const std::string& text = whole.reveal();
    size_t length = text.size();
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) --length;
    Secret secret(text.substr(0, length));
    const std::string fault = secret_fault(secret.reveal());
    if (!fault.empty()) throw Error("secrets: " + path + ": " + fault);
    return secret;
}

constexpr const char* kCommand = ".command";
constexpr Seconds kCommandLimit{30};

// What it says, to its end. In a group of its own, so that what it has begun ends with it.
Secret said_by(const std::string& command, const std::string& shown) {
    Pipe pipe = Pipe::make();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("secrets: fork");
    if (pid == 0) {
        const int null = ::open("/dev/null", O_RDONLY);
        ::setpgid(0, 0);
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::dup2(null, 0) < 0 || ::dup2(pipe.write.get(), 1) < 0) ::_exit(127);
        ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
        ::_exit(127);
    }
    Pidfd child = Pidfd::of_child(pid);
    pipe.write.reset();
    const Deadline limit = Deadline::in(kCommandLimit);
    pollfd ended{child.fd(), POLLIN, 0};
    const bool in_time = ::poll(&ended, 1, limit.poll_timeout()) > 0;
    ::kill(-pid, SIGKILL);
    if (!in_time)
        throw Error("secrets: " + shown + ": its command did not end within half a minute");
    const std::string how = child.wait().describe();
    if (how != "exit code 0") throw Error("secrets: " + shown + ": its command ended with " + how);
    set_nonblocking(pipe.read.get());  // who has left its group may hold it open
    return read_secret(pipe.read.get(), shown);
}

}  // namespace

Secret read_bounded(int fd) {
    std::string text(kMaxSecret.count + 3, '\0');  // a line break, and one byte more
    size_t length = 0;
    while (length < text.size()) {
        const auto n = read_some(fd, std::span(text).subspan(length));
        if (n.value_or(0) == 0) break;
        length += *n;
    }
    text.resize(length);
    return Secret(std::move(text));
}

std::string secret_fault(const std::string& text) {
    if (text.empty()) return "it is empty";
    if (text.size() > kMaxSecret.count) return "too long for a key";
    for (const char c : text)
        if (c <= 0x20 || c == 0x7f || static_cast<unsigned char>(c) > 0x7f)
            return "a key has no blanks, line breaks or letters beyond ASCII in it";
    return {};
}

SecretStore::SecretStore(std::string directory) : directory_(std::move(directory)) {}

std::string SecretStore::default_directory() {
    return config_folder() + "/secrets";
}

std::string SecretStore::path(const std::string& name) const {
    if (!plain_name(name)) throw Error("secrets: '" + printable(name) + "': not a name");
    return directory_ + "/" + name;
}

std::optional<Secret> SecretStore::read(const std::string& name) const {
    const std::string shown = path(name);
    const auto directory = open_if_there(AT_FDCWD, directory_, O_DIRECTORY);
    if (!directory) return std::nullopt;
    check_directory(directory->get(), directory_);
    if (const auto file = open_if_there(directory->get(), name, O_NOFOLLOW)) {
        check_file(file->get(), shown);
        return read_secret(file->get(), shown);
    }
    const auto command = open_if_there(directory->get(), name + kCommand, O_NOFOLLOW);
    if (!command) return std::nullopt;
    check_file(command->get(), shown + kCommand);
    return said_by(read_all(command->get(), kMaxSecret.count), shown + kCommand);
}

bool SecretStore::exists(const std::string& name) const {
    struct stat status {};
    return lstat(path(name).c_str(), &status) == 0 || lstat((path(name) + kCommand).c_str(), &status) == 0;
}

void SecretStore::replace(const std::string& name, const std::string& suffix, const std::string& text) const {
    make_directories(directory_, 0700);
    const UniqueFd directory(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) throw ErrnoError("secrets: open " + directory_);
    check_directory(directory.get(), directory_);
    write_file_atomic(path(name) + suffix, text, 0600);
    const std::string other = path(name) + (suffix.empty() ? kCommand : "");
    if (unlink(other.c_str()) != 0 && errno != ENOENT) throw ErrnoError("secrets: remove " + other);
}

void SecretStore::write(const std::string& name, const Secret& secret) const {
    const std::string fault = secret_fault(secret.reveal());
    if (!fault.empty()) throw Error("secrets: " + path(name) + ": " + fault);
    replace(name, "", secret.reveal());
}

void SecretStore::write_command(const std::string& name, const std::string& command) const {
    if (command.empty() || command.size() > kMaxSecret.count) throw Error("secrets: " + path(name) + ": no command, or too long a one");
    replace(name, kCommand, command);
}

void SecretStore::remove(const std::string& name) const {
    for (const std::string& file : {path(name), path(name) + kCommand})
        if (unlink(file.c_str()) != 0 && errno != ENOENT) throw ErrnoError("secrets: remove " + file);
}

std::optional<Secret> stored_secret(const std::string& name) {
    return SecretStore().read(name);
}

}  // namespace peacrab
