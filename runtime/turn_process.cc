// The steps between fork and exec, in their order, each with its reason. The class filter of the
// turn is installed by the program itself, first thing (agent.cc): it forbids exec.
#include "turn_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent.h"
#include "cells/mechanism.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxReport = 160;  // why it could not begin

struct ChildEnds {
    int frames;
    int model;  // -1: none
    int stop;
    int report;
    int program;
    void (*forget)();  // null: executed anew
};

[[noreturn]] void give_up(int report, const char* step) noexcept {
    char text[kMaxReport];
    const int n = ::snprintf(text, sizeof text, "%s: %s", step, ::strerrordesc_np(errno));
    [[maybe_unused]] const ssize_t written = ::write(report, text, static_cast<size_t>(n));
    ::_exit(127);
}

// Out of the warden's group, whose memory is kept for it, and no longer spared when memory runs out.
// Where there are no such groups (no VM) the rest stands as well.
bool leave_warden_group() noexcept {
    for (const char* path : {"/run/cgroup/turns/cgroup.procs", "/proc/self/oom_score_adj"}) {
        const int file = ::open(path, O_WRONLY | O_CLOEXEC);
        if (file < 0 && errno == ENOENT) return true;
        if (file < 0 || ::write(file, "0", 1) != 1) return false;
        ::close(file);
    }
    return true;
}

// Child side: noexcept, no allocation. `report` is CLOEXEC: its end of file means exec happened.
[[noreturn]] void run_child(const ChildEnds& ends, const std::optional<Ids>& ids, pid_t parent,
                            char* const* arguments) noexcept {
    // High first, so that no dup2 below overwrites a source.
    const int report = ::fcntl(ends.report, F_DUPFD_CLOEXEC, 20);
    const int program = ::fcntl(ends.program, F_DUPFD_CLOEXEC, 20);
    const int frames = ::fcntl(ends.frames, F_DUPFD_CLOEXEC, 20);
    const int stop = ::fcntl(ends.stop, F_DUPFD_CLOEXEC, 20);
    const int model = ends.model < 0 ? -1 : ::fcntl(ends.model, F_DUPFD_CLOEXEC, 20);
    if (report < 0 || program < 0 || frames < 0 || stop < 0) give_up(ends.report, "descriptors");
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(null, 1) < 0) give_up(report, "standard streams");
    if (::dup2(frames, kTurnFrames) < 0 || ::dup2(stop, kTurnStop) < 0)
        give_up(report, "descriptors");
    if (model >= 0 ? ::dup2(model, kTurnModelRoute) < 0
                   : ::close(kTurnModelRoute) < 0 && errno != EBADF)
        give_up(report, "descriptors");
    // With a given route no network is needed at all: an empty one of its own.
    if (ids && ::unshare((model < 0 ? 0 : CLONE_NEWNET) | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        give_up(report, "namespaces");
    if (ids && !leave_warden_group()) give_up(report, "control group");
    JailOptions jail;
    jail.ids = ids;
    if (const char* step = drop_privileges(jail)) give_up(report, step);
    // Dies with the warden. After the change of ids, which clears it; the check closes the gap.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) give_up(report, "death signal");
    if (::getppid() != parent) ::_exit(127);
    if (ends.forget) {
        ends.forget();
        ::close_range(kTurnStop + 1, ~0U, 0);
        ::_exit(turn_main(model < 0 ? TurnNetwork::Own : TurnNetwork::ModelRoute, arguments[3]));
    }
    ::execveat(program, "", arguments, environ, AT_EMPTY_PATH);
    give_up(report, "exec");
}

}  // namespace

TurnProcess begin_turn(const std::optional<Ids>& ids, TurnRoute route, const std::string& journals,
                       void (*forget)()) {
    SocketPair frames = SocketPair::stream();
    SocketPair model = route == TurnRoute::Given ? SocketPair::seqpacket() : SocketPair();
    Pipe stop = Pipe::make();
    Pipe report = Pipe::make();
    UniqueFd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (!program) throw ErrnoError("turn: open our own program");
    std::string name = "peacrabd", verb = "turn", folder = journals;
    std::string network = route == TurnRoute::Own ? "--own-network" : "--model-route";
    // The kernel only reads; its signature has no const.
    char* arguments[] = {name.data(),   verb.data(),
                         network.data(), folder.data(),
                         const_cast<char*>(mechanism_argument()), nullptr};
    const ChildEnds ends{frames.theirs.get(), route == TurnRoute::Given ? model.theirs.get() : -1,
                         stop.read.get(), report.write.get(), program.get(), forget};
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("turn: fork");
    if (pid == 0) run_child(ends, ids, parent, arguments);
    return {Pidfd::of_child(pid), std::move(frames.ours), std::move(model.ours),
            std::move(stop.write), std::move(report.read)};
}

TurnProcess started(TurnProcess begun) {
    const std::string failure = read_all(begun.report.get(), kMaxReport);
    if (!failure.empty()) throw Error("turn: " + failure);
    begun.report.reset();
    return begun;
}

TurnProcess spawn_turn(const std::optional<Ids>& ids, TurnRoute route, const std::string& journals) {
    return started(begin_turn(ids, route, journals));
}

}  // namespace peacrab
