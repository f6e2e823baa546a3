// Runs one command as a tool child without a VM and prints what it said, so that scripts can attack
// the jail from inside without a model or a warden. As an ordinary user. Exit code: the command's;
// 125 when it never ran.
//
//   in_cell here WORKSPACE COMMAND       with what this machine gives
//   in_cell bare WORKSPACE COMMAND       the same where there are no namespaces to be had
//   in_cell posture WORKSPACE            prints what is in force
//
// Paths in $IN_CELL_HIDDEN (":") are not to be seen.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include "cell.h"
#include "error.h"
#include "tools.h"

using namespace peacrab;

namespace {

// As a container runtime does that has no namespaces to give.
void lose_namespaces() {
    const sock_filter program[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_unshare},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_setns},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    const sock_fprog prog{5, const_cast<sock_filter*>(program)};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        throw ErrnoError("in_cell: filter");
}

Cell make_cell(const std::string& workspace) {
    CellOptions options;
    options.place = CellOptions::Place::Here;
    options.workspace = workspace;
    for (const std::string& path : split(env("IN_CELL_HIDDEN"), ':'))
        if (!path.empty()) options.hidden.push_back(path);
    return Cell(std::move(options));
}

int run(Cell cell, const char* command) {
    const CommandResult result = cell.shell({command, Seconds(60)}).run();
    std::fwrite(result.output.data(), 1, result.output.size(), stdout);
    if (!result.failed_step.empty()) {
        std::fprintf(stderr, "in_cell: never ran: %s\n", result.failed_step.c_str());
        return 125;
    }
    if (!result.exit.ok()) std::fprintf(stderr, "in_cell: %s\n", result.exit.describe().c_str());
    return result.exit.how == ChildExit::How::Exited ? result.exit.code : 124;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "tool-file") return tool_file_main();
    try {
        if (what == "bare") lose_namespaces();
        if ((what == "here" || what == "bare") && argc == 4) return run(make_cell(argv[2]), argv[3]);
        if (what == "posture" && argc == 3) {
            std::puts(make_cell(argv[2]).posture().text().c_str());
            return 0;
        }
    } catch (const Error& error) {
        std::fprintf(stderr, "in_cell: %s\n", error.what());
        return 125;
    }
    std::fputs("usage: in_cell here|bare WORKSPACE COMMAND | posture WORKSPACE\n", stderr);
    return 2;
}
