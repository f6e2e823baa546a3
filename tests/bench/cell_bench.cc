// What a cell costs, in our own guest (tests/support/guest_unit), each figure beside its floor or a
// peer of the same run: a warm call beside fork and exec of the same static program, a new cell beside
// bwrap with the options agents usually give it. Figures, no test. One line each:
// NAME|UNIT|p50|p99|floor's p50|floor's p99, which tests/bench/run prints.
//
// Needs in the guest's root (GUEST_EXTRA): /nothing, a static program that does nothing, and /bwrap.
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "audit.h"
#include "cell_fixture.h"
#include "cells/limits.h"
#include "frame.h"
#include "guest_main.h"
#include "jail.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

using Clock = std::chrono::steady_clock;
using Side = std::function<double()>;  // milliseconds

struct Figure {
    double p50 = 0, p99 = 0;
};

double milliseconds(const std::function<void()>& act) {
    const auto start = Clock::now();
    act();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Side timed(std::function<void()> act) {
    return [act = std::move(act)] { return milliseconds(act); };
}

// The sides take turns, so that what else the machine does meets all of them.
std::vector<Figure> measure(int rounds, const std::vector<Side>& sides) {
    std::vector<std::vector<double>> times(sides.size());
    for (const Side& side : sides) side();
    for (int i = 0; i < rounds; ++i)
        for (size_t side = 0; side < sides.size(); ++side) times[side].push_back(sides[side]());
    std::vector<Figure> figures;
    for (auto& list : times) {
        std::sort(list.begin(), list.end());
        figures.push_back({list[list.size() / 2], list[list.size() * 99 / 100]});
    }
    return figures;
}

void say(const char* name, const Figure& ours, const Figure& floor = {}) {
    std::printf("figure|%s|ms|%.3f|%.3f|%.3f|%.3f\n", name, ours.p50, ours.p99, floor.p50,
                floor.p99);
    std::fflush(stdout);
}

[[noreturn]] void give_up(const std::string& why) {
    std::fprintf(stderr, "bench: %s\n", why.c_str());
    std::exit(1);
}

void require(bool done, const char* what) {
    if (!done) give_up(std::string(what) + ": " + std::strerror(errno));
}

void wait_for(pid_t pid) {
    int status = 0;
    require(pid > 0 && ::waitpid(pid, &status, 0) == pid, "fork");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) give_up("a child failed");
}

// As a shell would start it, with nothing around it.
void fork_and_exec(const char* root, const char* program, const char* const* arguments) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (root && (::chroot(root) < 0 || ::chdir("/") < 0)) ::_exit(126);
        ::execv(program, const_cast<char* const*>(arguments));
        ::_exit(127);
    }
    wait_for(pid);
}

void clone_and_end(uint64_t flags) {
    clone_args args{};
    args.flags = flags;
    args.exit_signal = SIGCHLD;
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) ::_exit(0);
    wait_for(static_cast<pid_t>(pid));
}

// A child that does nothing but put on a filter.
void put_on(const JailFilter& filter) {
    const pid_t pid = ::fork();
    if (pid == 0)
        ::_exit(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter.install() ? 0 : 1);
    wait_for(pid);
}

void require_ok(const CommandResult& result) {
    if (result.failed_step.empty() && result.exit.ok()) return;
    give_up(result.failed_step + " " + result.output);
}

constexpr const char* kShell[] = {"sh", "-c", "--", ":", nullptr};

// A base whose shell is the program that does nothing.
std::string tiny_base() {
    const std::string base = "/state/bench-base";
    make_directories(base + "/bin", 0755);
    make_directories(base + "/proc", 0755);
    write_file_atomic(base + "/bin/sh", read_file("/nothing", MiB(8)), 0755);
    return base;
}

void bench_calls(int rounds) {
    CellOptions options = guest_options();
    options.base = tiny_base();
    Cell tiny(options);
    CellOptions kept_nowhere = options;  // within whose limits it is
    kept_nowhere.files = CellOptions::Files::Discarded;
    Cell away(kept_nowhere);
    Cell debian(guest_options());
    const UniqueFd state(::open("/state", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const JailFilter shell = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    const JailFilter reaper = JailFilter::compile(JailClass::Reaper);
    const auto call_in = [](Cell& cell) { require_ok(cell.shell({":", Seconds(60)}).run()); };
    const char* const helper[] = {"unit", "nothing", nullptr};
    const std::string request = "{\"tool\":\"write\",\"path\":\"f\",\"content\":\"x\"}";
    const auto figures = measure(
        rounds, {timed([&] { call_in(tiny); }),
                 timed([&] { fork_and_exec(nullptr, "/nothing", kShell); }),
                 timed([&] { call_in(debian); }),
                 timed([&] { fork_and_exec("/base", "/bin/sh", kShell); }),
                 timed([&] { require_ok(debian.file(request, Seconds(60)).run()); }),
                 timed([&] { fork_and_exec(nullptr, "/proc/self/exe", helper); }),
                 timed([&] { call_in(away); }), timed([&] { ::syncfs(state.get()); }),
                 timed([&] { clone_and_end(0); }), timed([&] { put_on(shell); }),
                 timed([&] { put_on(reaper); })});
    say("warm call | fork+exec, a static program", figures[0], figures[1]);
    say("the same in a throw-away cell, which waits for no disk | fork+exec", figures[6], figures[1]);
    say("piece: the wait for the disk, with nothing to write", figures[7]);
    say("piece: a process, forked and ended", figures[8]);
    say("piece: one that puts on the shell's filter", figures[9]);
    say("piece: one that puts on the reaper's filter", figures[10]);
    say("warm call | fork+exec, Debian's shell", figures[2], figures[3]);
    say("call of the file helper, a file on disk | fork+exec", figures[4], figures[5]);
}

// What the warden does around each call.
void bench_around(int rounds) {
    Audit audit("/state/bench-audit");
    const json::Value record = json::Value::object(
        {{"kind", "tool"}, {"agent", "main"}, {"tool", "shell"}, {"arguments", "ls -l"}});
    SocketPair pair = SocketPair::stream();
    FrameSocket turn(std::move(pair.ours), Dialect::WardenToTurn, Dialect::TurnToWarden);
    FrameSocket warden(std::move(pair.theirs), Dialect::TurnToWarden, Dialect::WardenToTurn);
    const json::Value ask = json::Value::object(
        {{"type", "tool"}, {"id", "call_1"}, {"name", "shell"}, {"arguments", "{\"command\":\":\"}"}});
    const json::Value answer = json::Value::object(
        {{"type", "tool_result"}, {"id", "call_1"}, {"outcome", "ok"}, {"text", "done"}});
    const auto figures = measure(
        rounds, {timed([&] {
                     turn.send(ask);
                     if (!warden.receive(Deadline::in(Seconds(5)))) give_up("no frame");
                     warden.send(answer);
                     if (!turn.receive(Deadline::in(Seconds(5)))) give_up("no frame");
                 }),
                 timed([&] { audit.append(record, Audit::Until::Disk); }),
                 timed([&] { audit.append(record, Audit::Until::Page); })});
    say("apart: its two frames", figures[0]);
    say("apart: audit before it, on the disk", figures[1]);
    say("apart: audit after it", figures[2]);
}

// bwrap, in a root of Debian's as it would have it elsewhere, with the options agents use.
class Bwrap {
  public:
    Bwrap() : pair_(SocketPair::stream()) {
        pid_ = ::fork();
        require(pid_ >= 0, "fork");
        if (pid_ == 0) serve();
        pair_.theirs.reset();
        run();
    }
    Bwrap(const Bwrap&) = delete;
    ~Bwrap() {
        pair_.ours.reset();
        ::waitpid(pid_, nullptr, 0);
    }
    double run() {
        double spent = 0;
        if (::write(pair_.ours.get(), "x", 1) != 1 ||
            ::read(pair_.ours.get(), &spent, sizeof spent) != sizeof spent)
            give_up("bwrap did not run");
        return spent;
    }

  private:
    [[noreturn]] void serve() {
        pair_.ours.reset();
        const UniqueFd bwrap(::open("/bwrap", O_RDONLY | O_CLOEXEC));
        require(static_cast<bool>(bwrap), "/bwrap");
        // Moved over the root: in a chroot no user namespace can be made.
        require(::unshare(CLONE_NEWNS) == 0 &&
                    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                    ::mount("/nothing", "/base/usr/bin/true", nullptr, MS_BIND, nullptr) == 0 &&
                    ::mount("/proc", "/base/proc", nullptr, MS_BIND, nullptr) == 0 &&
                    ::mount("/dev", "/base/dev", nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
                    ::chdir("/base") == 0 && ::mount(".", "/", nullptr, MS_MOVE, nullptr) == 0 &&
                    ::chroot(".") == 0 && ::chdir("/") == 0,
                "a root for bwrap");
        char byte;
        while (::read(pair_.theirs.get(), &byte, 1) == 1) {
            const double spent = milliseconds([&] { start(bwrap.get()); });
            if (::write(pair_.theirs.get(), &spent, sizeof spent) != sizeof spent) break;
        }
        ::_exit(0);
    }
    static void start(int bwrap) {
        static constexpr const char* kArguments[] = {
            "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/",
            "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--", "/usr/bin/true", nullptr};
        static constexpr const char* kEnvironment[] = {"PATH=/usr/bin", nullptr};
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::syscall(SYS_execveat, bwrap, "", kArguments, kEnvironment, AT_EMPTY_PATH);
            ::_exit(127);
        }
        wait_for(pid);
    }

    SocketPair pair_;
    pid_t pid_ = -1;
};

Side new_cell(const CellOptions& options, std::vector<double>* ends) {
    return [options, ends] {
        std::optional<Cell> cell;
        const double made = milliseconds([&] { cell.emplace(options); });
        const double ended = milliseconds([&] { cell.reset(); });
        if (ends) ends->push_back(ended);
        return made;
    };
}

void bench_cells(int rounds) {
    CellOptions options = guest_options();
    CellOptions unprobed = guest_options();
    unprobed.agent = "off-self-probe";  // this program is the test-only kind
    CellOptions group = guest_options();
    Bwrap bwrap;
    std::vector<double> ends;
    const std::vector<std::string> disks{"/base", "/state"};
    constexpr uint64_t kSpaces =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
    const auto figures = measure(
        rounds,
        {new_cell(options, &ends), [&] { return bwrap.run(); }, new_cell(unprobed, nullptr),
         timed([&] { const AgentGroup made(group.agent, group.limits, disks); }),
         timed([] { clone_and_end(kSpaces); }),
         timed([] { clone_and_end(kSpaces & ~uint64_t{CLONE_NEWNET}); }),
         timed([] { clone_and_end(CLONE_NEWUSER); })});
    std::sort(ends.begin(), ends.end());
    say("new cell with its probes | bwrap", figures[0], figures[1]);
    say("new cell without probes | bwrap", figures[2], figures[1]);
    say("apart: the end of a cell", {ends[ends.size() / 2], ends[ends.size() * 99 / 100]});
    say("piece: control groups, made and removed", figures[3]);
    say("piece: a process with five namespaces", figures[4]);
    say("piece: one with four, all but the network", figures[5]);
    say("piece: one with a user namespace", figures[6]);
}

}  // namespace

int peacrab::test::run_tests(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "nothing") return 0;
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
    bench_calls(rounds);
    bench_around(rounds);
    bench_cells(std::max(rounds / 4, 10));
    return 0;
}
