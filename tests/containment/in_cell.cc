// Runs one command in a cell and prints what it said, so that scripts can attack the jail from
// inside without a model, a warden or a VM. Exit code: the command's; 125 when it never ran.
//
//   in_cell vm BASE HOME COMMAND      as root: BASE becomes the read-only root directory; "-" is
//                                     this machine's own
//   in_cell here WORKSPACE COMMAND    as an ordinary user; paths in $IN_CELL_HIDDEN (":") are
//   hidden in_cell posture WORKSPACE         prints which layers an ordinary user gets
#include <cstdio>
#include <cstring>
#include <string>

#include "cell.h"
#include "cell_fixture.h"
#include "error.h"
#include "tools.h"

using namespace peacrab;

namespace {

Cell make_cell(bool vm, char** words) {
    CellOptions options;
    if (vm) {
        options.place = CellOptions::Place::Cell;
        options.base = words[0];
        options.folder = words[1];
        options.workspace = "/home/agent/workspace";
    } else {
        options.place = CellOptions::Place::Here;
        options.workspace = words[0];
        for (const std::string& path : split(env("IN_CELL_HIDDEN"), ':'))
            if (!path.empty()) options.hidden.push_back(path);
    }
    return Cell(std::move(options));
}

int run(Cell& cell, const char* command) {
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
    if (argc == 2 && std::strcmp(argv[1], "tool-file") == 0) return tool_file_main();
    const std::string what = argc > 1 ? argv[1] : "";
    try {
        if (what == "vm" && argc == 5) {
            std::optional<test::Base> machine;
            std::string base = argv[2];
            if (base == "-") base = machine.emplace().path();
            argv[2] = base.data();
            Cell cell = make_cell(true, argv + 2);
            return run(cell, argv[4]);
        }
        if (what == "here" && argc == 4) {
            Cell cell = make_cell(false, argv + 2);
            return run(cell, argv[3]);
        }
        if (what == "posture" && argc == 3) {
            std::puts(make_cell(false, argv + 2).posture().text().c_str());
            return 0;
        }
    } catch (const Error& error) {
        std::fprintf(stderr, "in_cell: %s\n", error.what());
        return 125;
    }
    std::fputs("usage: in_cell vm BASE HOME COMMAND | here WORKSPACE COMMAND | posture WORKSPACE\n",
               stderr);
    return 2;
}
