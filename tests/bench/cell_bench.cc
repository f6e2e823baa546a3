// What a cell costs, in our own guest (tests/support/guest_unit): a warm call beside fork and exec of
// the same program, and a new cell with its parts. Figures, no test. One line each:
// NAME p50 p99 UNIT [FLOOR-p50 FLOOR-p99], which tests/bench/run prints.
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "cell_fixture.h"
#include "cells/limits.h"
#include "guest_main.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

using Clock = std::chrono::steady_clock;

struct Figure {
    double p50 = 0, p99 = 0;
};

double milliseconds(const std::function<void()>& act) {
    const auto start = Clock::now();
    act();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// The sides take turns, so that what else the machine does meets both.
std::vector<Figure> measure(int rounds, const std::vector<std::function<void()>>& sides) {
    std::vector<std::vector<double>> times(sides.size());
    for (const auto& side : sides) side();
    for (int i = 0; i < rounds; ++i)
        for (size_t side = 0; side < sides.size(); ++side)
            times[side].push_back(milliseconds(sides[side]));
    std::vector<Figure> figures;
    for (auto& list : times) {
        std::sort(list.begin(), list.end());
        figures.push_back({list[list.size() / 2], list[list.size() * 99 / 100]});
    }
    return figures;
}

void say(const char* name, const Figure& ours, const Figure& floor = {}) {
    std::printf("%-28s %8.3f %8.3f ms %8.3f %8.3f  %.2fx p50, %.2fx p99\n", name, ours.p50, ours.p99,
                floor.p50, floor.p99, floor.p50 > 0 ? ours.p50 / floor.p50 : 0,
                floor.p99 > 0 ? ours.p99 / floor.p99 : 0);
    std::fflush(stdout);
}

// fork and exec of a program of the base, as a shell would do it, with a pipe for what it says.
void fork_and_exec(const char* program, const char* const* arguments) {
    Pipe pipe = Pipe::make();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::dup2(pipe.write.get(), 1);
        ::execv(program, const_cast<char* const*>(arguments));
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) std::abort();
}

void require_ok(const CommandResult& result) {
    if (result.failed_step.empty() && result.exit.ok()) return;
    std::fprintf(stderr, "bench: %s %s\n", result.failed_step.c_str(), result.output.c_str());
    std::abort();
}

void bench_calls(int rounds) {
    Cell cell(guest_options());
    // The floor is the same shell from the same base, started without anything around it.
    const char* const shell[] = {"sh", "-c", "--", ":", nullptr};
    const auto floor = [&] {
        const pid_t pid = ::fork();
        if (pid == 0) {
            if (::chroot("/base") < 0 || ::chdir("/") < 0) ::_exit(126);
            ::execv("/bin/sh", const_cast<char* const*>(shell));
            ::_exit(127);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) std::abort();
    };
    const auto warm = [&] { require_ok(cell.shell({":", Seconds(20)}).run()); };
    const auto figures = measure(rounds, {warm, floor});
    say("warm-call", figures[0], figures[1]);
    const char* const helper[] = {"unit", "nothing", nullptr};
    const auto own = [&] { fork_and_exec("/proc/self/exe", helper); };
    const auto file = [&] {
        require_ok(cell.file("{\"tool\":\"write\",\"path\":\"f\",\"content\":\"x\"}", Seconds(20)).run());
    };
    const auto files = measure(rounds, {file, own});
    say("file-call", files[0], files[1]);
}

void bench_cells(int rounds) {
    CellOptions options = guest_options();
    const auto whole = [&] { const Cell cell(options); };
    const auto group = [&] { const AgentGroup one("bench", options.limits, {"/base", "/state"}); };
    // A place for others: bwrap with the options agents use, run from here with the same clock.
    const auto figures = measure(rounds, {whole, group});
    say("new-cell-and-its-end", figures[0]);
    say("of-it-control-group", figures[1]);
    std::vector<double> made;
    for (int i = 0; i < rounds; ++i) {
        std::optional<Cell> cell;
        made.push_back(milliseconds([&] { cell.emplace(options); }));
    }
    std::sort(made.begin(), made.end());
    say("new-cell", {made[made.size() / 2], made[made.size() * 99 / 100]});
}

}  // namespace

int peacrab::test::run_tests(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "nothing") return 0;
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
    bench_calls(rounds);
    bench_cells(std::max(rounds / 5, 10));
    return 0;
}
