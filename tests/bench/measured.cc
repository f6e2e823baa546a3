// measured FD USER COMMAND...: runs the command as that user id (0: as we are), waits for it and for all it leaves
// behind, and writes "MICROSECONDS KIB STATUS" to FD: until the command itself ended, and the peak of the largest
// process. A small program of its own, because what forks counts in a child's peak and in the time it takes to start:
// of both Python would be the greater part. getrusage(2), wait4(2).
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace {

long long microseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000LL + now.tv_nsec / 1000;
}

bool become(unsigned user) {
    return user == 0 || (setgroups(0, nullptr) == 0 && setgid(user) == 0 && setuid(user) == 0);
}

}  // namespace

int main(int count, char** words) {
    if (count < 4) return 2;
    const int report = std::atoi(words[1]);
    const auto user = static_cast<unsigned>(std::atoi(words[2]));
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || fcntl(report, F_SETFD, FD_CLOEXEC) < 0) return 2;
    const long long begun = microseconds();
    const pid_t child = fork();
    if (child == 0) {
        if (become(user)) execvp(words[3], words + 3);
        _exit(127);
    }
    long long wall = 0;
    long peak = 0;
    int ended = 127;
    int status = 0;
    rusage usage;
    for (pid_t pid; (pid = wait4(-1, &status, 0, &usage)) > 0;) {
        peak = std::max(peak, usage.ru_maxrss);
        if (pid != child) continue;
        wall = microseconds() - begun;
        ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return dprintf(report, "%lld %ld %d\n", wall, peak, ended) > 0 ? 0 : 1;
}
