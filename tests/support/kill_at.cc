// kill_at N COMMAND...: runs COMMAND, and kills it and everything it started, at one moment, just before
// its N-th step: a write to a database (*.db), its log (*.db-wal) or the audit. Says on stdout how far it
// came: "killed N FILE", or "ended COUNT STATUS" when it had fewer steps. N = 0 only counts.
//
// All of it is traced (ptrace(2)): what is traced dies with its tracer, wherever it has moved itself.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace {

constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                          PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

// The file of a step; "" for whatever else the process is about to do.
std::string step(pid_t pid) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY ||
        (info.entry.nr != SYS_pwrite64 && info.entry.nr != SYS_write))
        return {};
    const std::string link =
        "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(info.entry.args[0]);
    char path[PATH_MAX];
    const ssize_t n = ::readlink(link.c_str(), path, sizeof path);
    const std::string file(path, n > 0 ? static_cast<size_t>(n) : 0);
    const bool counts = file.ends_with(".db") || file.ends_with(".db-wal") ||
                        file.find("/audit/") != std::string::npos;
    return counts ? file : "";
}

}  // namespace

int main(int count, char** words) {
    if (count < 3) return 2;
    const long wanted = std::atol(words[1]);
    const pid_t first = ::fork();
    if (first == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::execvp(words[2], words + 2);
        std::perror(words[2]);
        ::_exit(127);
    }
    int status = 0, end = 0;
    if (first < 0 || ::waitpid(first, &status, 0) != first ||
        ::ptrace(PTRACE_SETOPTIONS, first, nullptr, kOptions) < 0) {
        std::perror("kill_at");
        return 2;
    }
    ::ptrace(PTRACE_SYSCALL, first, nullptr, nullptr);
    std::map<pid_t, bool> known = {{first, true}};
    long steps = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid == first) end = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            known.erase(pid);
            continue;
        }
        long deliver = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            const std::string file = step(pid);
            if (!file.empty() && ++steps == wanted) {
                std::printf("killed %ld %s\n", steps, file.c_str());
                std::fflush(stdout);
                ::_exit(0);
            }
        } else if (status >> 16 == 0) {  // no event of ours
            // The first stop of a new one is ours, every later signal its own.
            if (known[pid] || WSTOPSIG(status) != SIGSTOP) deliver = WSTOPSIG(status);
            known[pid] = true;
        }
        ::ptrace(PTRACE_SYSCALL, pid, nullptr, deliver);
    }
    std::printf("ended %ld %d\n", steps, end);
    return 0;
}
