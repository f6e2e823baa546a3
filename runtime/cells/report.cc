// The steps every child of ours takes between fork and exec. Nothing here may allocate, log or
// throw: the child's memory is a copy of the warden's, and only system calls are safe in it.
#include "cells/report.h"

#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace peacrab {

void report(CellReport::Kind kind, int value, const char* step) noexcept {
    CellReport record{kind, value, {}};
    ::strncpy(record.step, step, sizeof record.step - 1);
    // Nobody to tell when this fails; the parent sees a child that ended without a word.
    [[maybe_unused]] const ssize_t n = ::write(kReport, &record, sizeof record);
}

void report_end(int status) noexcept {
    if (WIFEXITED(status))
        report(CellReport::Kind::Exited, WEXITSTATUS(status), "");
    else
        report(CellReport::Kind::Signalled, WTERMSIG(status), "");
}

void fail(const char* step) noexcept {
    report(CellReport::Kind::Failed, errno, step);
    ::_exit(126);
}

void require(bool done, const char* step) noexcept {
    if (!done) fail(step);
}

void arrange_descriptors(std::span<const int> from) noexcept {
    constexpr size_t kMost = 16;
    int safe[kMost];
    if (from.size() > kMost || from.size() <= kReport) ::_exit(126);
    for (size_t i = 0; i < from.size(); ++i) {
        safe[i] = from[i] < 0 ? -1 : ::fcntl(from[i], F_DUPFD_CLOEXEC, static_cast<int>(kMost));
        if (from[i] >= 0 && safe[i] < 0) ::_exit(126);
    }
    for (size_t i = 0; i < from.size(); ++i) {
        const int to = static_cast<int>(i);
        if (safe[i] < 0)
            ::close(to);
        else if (::dup3(safe[i], to, to < kReport ? 0 : O_CLOEXEC) < 0)
            ::_exit(126);
    }
    require(::close_range(static_cast<unsigned>(from.size()), ~0u, 0) == 0, "descriptors");
}

void default_signals() noexcept {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    require(::sigprocmask(SIG_SETMASK, &none, nullptr) == 0, "signals");
}

void keep_only(int kept, pid_t parent) noexcept {
    // Where the warden is root, that is not needed either; taking ids clears the death signal.
    JailOptions nobody;
    nobody.ids = kReaperIds;
    if (::geteuid() == 0 && drop_privileges(nobody)) ::_exit(126);
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || ::getppid() != parent)
        ::_exit(126);
    const int descriptors[] = {-1, -1, -1, kept};
    arrange_descriptors(descriptors);
    default_signals();
}

bool write_text(const char* path, const char* text) noexcept {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const size_t length = ::strlen(text);
    const bool done = ::write(fd, text, length) == static_cast<ssize_t>(length);
    const int code = errno;
    ::close(fd);
    errno = code;
    return done;
}

bool raise_loopback() noexcept {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    ifreq request{};
    ::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
    bool done = ::ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    done = done && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    const int code = errno;
    ::close(fd);
    errno = code;
    return done;
}

}  // namespace peacrab
