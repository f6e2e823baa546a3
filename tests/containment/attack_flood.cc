// `flood NAME [COUNT]`: rows E. Takes as much of one thing as it gets, says how much that was and
// what stopped it, and gives it back. Every loop is bounded in count and time; the limits of the
// cell are what should end it long before.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "attack.h"

namespace attack {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

int told(const char* name, long count, int code) {
    std::printf("flood %s: %ld, then %s\n", name, count,
                code ? ::strerrorname_np(code) : "the bound");
    std::fflush(stdout);
    return 0;
}

// Repeats until it is refused; gives how often it was not.
long take(long most, const std::function<long()>& one, int& code) {
    long count = 0;
    code = 0;
    const auto start = Clock::now();
    for (; count < most && since(start) < 60; ++count)
        if (one() < 0) {
            code = errno;
            break;
        }
    return count;
}

int forks(long most) {
    int code;
    ::signal(SIGCHLD, SIG_DFL);
    const long count = take(
        most,
        [] {
            const pid_t pid = ::fork();
            if (pid == 0) {
                ::alarm(60);
                for (;;) ::pause();
            }
            return static_cast<long>(pid);
        },
        code);
    told("forks", count, code);
    ::signal(SIGTERM, SIG_IGN);
    ::kill(0, SIGTERM);
    return 0;
}

int thread_main(void*) {
    for (;;) raw(SYS_pause);
}

int threads(long most) {
    int code;
    constexpr size_t kStack = 16384;
    const long count = take(
        most,
        [] {
            char* stack =
                static_cast<char*>(::mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
            if (stack == MAP_FAILED) return -1L;
            return static_cast<long>(::clone(
                thread_main, stack + kStack,
                CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
                nullptr));
        },
        code);
    return told("threads", count, code);
}

// A real bomb: every child forks on. Ends by the limits, by its own clock, or with the call.
int bomb(long seconds) {
    const auto start = Clock::now();
    ::signal(SIGCHLD, SIG_IGN);
    long made = 0;
    while (since(start) < static_cast<double>(seconds))
        if (::fork() > 0) ++made;
    return told("bomb", made, EAGAIN);
}

int memory(long mebibytes) {
    int code;
    const long count = take(
        mebibytes,
        [] {
            char* block = static_cast<char*>(::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            if (block == MAP_FAILED) return -1L;
            for (int i = 0; i < 1 << 20; i += 4096) block[i] = 1;
            return 0L;
        },
        code);
    return told("memory", count, code);
}

int locked(long mebibytes) {
    int code;
    const long count = take(
        mebibytes,
        [] {
            void* block = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            return block == MAP_FAILED ? -1L : static_cast<long>(::mlock(block, 1 << 20));
        },
        code);
    return told("locked", count, code);
}

long write_block(int fd, size_t size) {
    static char block[1 << 20];
    for (size_t done = 0; done < size;) {  // a short write: the next one says why
        const ssize_t n = ::write(fd, block, size - done);
        if (n <= 0) return -1;
        done += static_cast<size_t>(n);
    }
    return 0;
}

int fill(const char* name, const std::string& path, long mebibytes, bool keep) {
    int code;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const long count = take(
        mebibytes, [=] { return write_block(fd, 1 << 20); }, code);
    if (!keep) ::unlink(path.c_str());
    ::close(fd);
    return told(name, count, code);
}

int shared(long mebibytes) {
    int code;
    const int fd = ::memfd_create("x", MFD_CLOEXEC);
    const long count = take(
        mebibytes, [=] { return write_block(fd, 1 << 20); }, code);
    return told("shared", count, code);
}

// So much that cannot be given back that what is left is read again and again: nothing fails.
int thrash(long mebibytes) {
    fill("thrash", "flood-thrash", 24, true);
    const int file = ::open("flood-thrash", O_RDONLY | O_CLOEXEC);
    ::fsync(file);
    const char* cached =
        static_cast<char*>(::mmap(nullptr, 24 << 20, PROT_READ, MAP_SHARED, file, 0));
    ::unlink("flood-thrash");
    if (cached == MAP_FAILED) return told("thrash", 0, errno);
    shared(mebibytes);
    std::fflush(stdout);
    volatile char seen = 0;
    for (const auto start = Clock::now(); since(start) < 60;)
        for (int i = 0; i < 24 << 20; i += 4096) seen = cached[i];
    return seen;
}

// More page cache than the cell may have: must be reclaimed, not killed for.
int cache(long mebibytes) {
    fill("cache", "flood-cache", mebibytes, true);
    const int fd = ::open("flood-cache", O_RDONLY | O_CLOEXEC);
    char* block = static_cast<char*>(std::malloc(1 << 20));
    for (int round = 0; round < 2; ++round) {
        ::lseek(fd, 0, SEEK_SET);
        while (::read(fd, block, 1 << 20) > 0) {
        }
    }
    ::unlink("flood-cache");
    return 0;
}

int disk(long mebibytes) {
    int code;
    const int fd = ::open("flood-disk", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::signal(SIGXFSZ, SIG_IGN);
    const int taken = ::fallocate(fd, 0, 0, off_t{400} << 20);
    told("fallocate", 0, taken == 0 ? 0 : errno);
    if (::ftruncate(fd, off_t{1} << 40) < 0) told("sparse", 0, errno);
    if (::ftruncate(fd, 0) < 0) return told("disk", 0, errno);
    const long count = take(
        mebibytes, [=] { return write_block(fd, 1 << 20); }, code);
    ::close(fd);
    told("disk", count, code);
    ::unlink("flood-disk");
    return 0;
}

int files(long most) {
    int code;
    ::mkdir("flood-files", 0700);
    long at = 0;
    const long count = take(
        most,
        [&] {
            const std::string name = "flood-files/" + std::string(200, 'x') + std::to_string(at++);
            const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (fd >= 0) ::close(fd);
            return static_cast<long>(fd);
        },
        code);
    return told("files", count, code);
}

int deep(long most) {
    int code;
    const int back = ::open(".", O_RDONLY | O_CLOEXEC);
    const std::string name(200, 'd');
    const long count = take(
        most,
        [&] {
            return ::mkdir(name.c_str(), 0700) < 0 ? -1L : static_cast<long>(::chdir(name.c_str()));
        },
        code);
    return ::fchdir(back) < 0 ? told("deep", 0, errno) : told("deep", count, code);
}

int descriptors(long most) {
    int code;
    const rlimit soft{most < 4096 ? static_cast<rlim_t>(most) : 4096, 4096};
    ::setrlimit(RLIMIT_NOFILE, &soft);
    const auto each = [&](const char* name, const std::function<long()>& one) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::alarm(60);
            const long count = take(most, one, code);
            told(name, count, code);
            ::_exit(0);
        }
        ::waitpid(pid, nullptr, 0);
    };
    each("files", [] { return static_cast<long>(::open("/dev/null", O_RDONLY)); });
    each("pipes", [] {
        int pair[2];
        return static_cast<long>(::pipe(pair));
    });
    each("epolls", [] { return static_cast<long>(::epoll_create1(0)); });
    each("inotifies", [] { return static_cast<long>(::inotify_init()); });
    each("ptys", [] { return static_cast<long>(::open("/dev/ptmx", O_RDWR | O_NOCTTY)); });
    each("timers", [] {
        timer_t timer;
        sigevent quiet{};
        quiet.sigev_notify = SIGEV_NONE;
        return static_cast<long>(::timer_create(CLOCK_MONOTONIC, &quiet, &timer));
    });
    each("signals", [] {
        sigset_t set;
        ::sigfillset(&set);
        ::sigprocmask(SIG_BLOCK, &set, nullptr);
        return static_cast<long>(::sigqueue(::getpid(), SIGRTMIN, {}));
    });
    return 0;
}

int output(long mebibytes) {
    static char block[1 << 16];
    for (size_t i = 0; i < sizeof block; ++i) block[i] = static_cast<char>(i * 7 + 128);
    for (long i = 0; i < mebibytes * 16; ++i)
        if (::write(i % 2 ? 1 : 2, block, sizeof block) < 0) return told("output", i / 16, errno);
    return 0;
}

int zombies(long most) {
    long made = 0, refused = 0;
    const auto start = Clock::now();
    ::signal(SIGCHLD, SIG_DFL);
    while (made < most && since(start) < 60) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            if (::fork() == 0) ::_exit(0);  // an orphan: pid 1's
            ::_exit(0);
        }
        if (pid > 0)
            ++made;
        else if (++refused % 64 == 0 || errno == EAGAIN)
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {
            }
    }
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    return told("zombies", made, 0);
}

int orphans(long most) {
    for (long i = 0; i < most; ++i)
        if (::fork() == 0) {
            ::setsid();
            if (::fork() != 0) ::_exit(0);
            for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
            for (int fd = 0; fd < 3; ++fd) ::close(fd);
            ::alarm(0);
            for (int second = 0; second < 300; ++second) ::sleep(1);
            ::_exit(0);
        }
    return told("orphans", most, 0);
}

int stubborn(long) {
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_BLOCK, &all, nullptr);
    if (::fork() == 0) ::raise(SIGSTOP);
    if (::vfork() == 0) {  // the parent waits where no signal reaches it
        ::sleep(300);
        ::_exit(0);
    }
    return 0;
}

int busy(long seconds) {
    int code = 0;
    sched_param parameters{1};
    errno = 0;
    ::sched_setscheduler(0, SCHED_FIFO, &parameters);
    told("SCHED_FIFO", 0, errno);
    errno = 0;
    ::setpriority(PRIO_PROCESS, 0, -20);
    told("nice", 0, errno);
    for (int i = 0; i < 8; ++i)
        if (::fork() == 0) {
            volatile unsigned long spin = 0;
            for (const auto start = Clock::now(); since(start) < static_cast<double>(seconds);)
                for (int j = 0; j < 100000; ++j) spin = spin + 1;
            ::_exit(0);
        }
    while (::wait(nullptr) > 0) {
    }
    return told("busy", seconds, code);
}

int io(long seconds) {
    const int fd = ::open("flood-io", O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    void* block = nullptr;
    if (fd < 0 || ::posix_memalign(&block, 4096, 1 << 20) != 0) return told("io", 0, errno);
    long written = 0;
    const auto start = Clock::now();
    while (since(start) < static_cast<double>(seconds)) {
        if (::pwrite(fd, block, 1 << 20, (written % 32) << 20) < 0) break;
        ++written;
        ::fsync(fd);
    }
    std::printf("flood io: %.1f MiB/s\n", static_cast<double>(written) / since(start));
    ::unlink("flood-io");
    return 0;
}

// The name "race" is by turns a folder, a link out of the workspace, a fifo, and nothing.
int swap(long seconds) {
    ::mkdir("race-folder", 0755);
    ::mkdir("/home/agent/outside", 0777);
    ::unlink("race-link");
    if (::symlink("/home/agent/outside", "race-link") < 0) return told("swap", 0, errno);
    long rounds = 0;
    for (const auto start = Clock::now(); since(start) < static_cast<double>(seconds); ++rounds) {
        ::rename("race-folder", "race");
        ::rename("race", "race-folder");
        ::rename("race-link", "race");
        ::rename("race", "race-link");
        ::renameat2(AT_FDCWD, "race-link", AT_FDCWD, "race-folder", RENAME_EXCHANGE);
        ::renameat2(AT_FDCWD, "race-link", AT_FDCWD, "race-folder", RENAME_EXCHANGE);
    }
    return told("swap", rounds, 0);
}

struct Kind {
    const char* name;
    int (*run)(long);
    long count;  // unless one is given
};

const Kind kKinds[] = {
    {"forks", forks, 100000},
    {"threads", threads, 100000},
    {"bomb", bomb, 5},
    {"memory", memory, 8192},
    {"locked", locked, 1024},
    {"shared", shared, 8192},
    {"tmp", [](long most) { return fill("tmp", "/tmp/flood", most, false); }, 8192},
    {"shm", [](long most) { return fill("shm", "/dev/shm/flood", most, false); }, 8192},
    {"run", [](long most) { return fill("run", "/run/flood", most, false); }, 8192},
    {"thrash", thrash, 152},
    {"cache", cache, 256},
    {"disk", disk, 16384},
    {"files", files, 10'000'000},
    {"layer", [](long most) { return fill("layer", "/var/tmp/flood", most, false); }, 16384},
    {"deep", deep, 100'000},
    {"descriptors", descriptors, 4096},
    {"output", output, 1024},
    {"zombies", zombies, 100'000},
    {"orphans", orphans, 20},
    {"stubborn", stubborn, 0},
    {"busy", busy, 10},
    {"io", io, 10},
    {"swap", swap, 10},
};

}  // namespace

int flood(const std::vector<std::string>& words) {
    if (words.size() < 2 || words[0] != "flood") return -1;
    for (const Kind& kind : kKinds)
        if (words[1] == kind.name)
            return kind.run(words.size() > 2 ? std::atol(words[2].c_str()) : kind.count);
    std::printf("flood: no such kind: %s\n", words[1].c_str());
    return 2;
}

}  // namespace attack
