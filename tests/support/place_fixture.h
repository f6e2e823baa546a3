// Options of a cell for tests that build it by way of a WarmCell: in our own guest a container,
// elsewhere one in place, as an ordinary user. Call stay_ordinary() first in main.
#pragma once

#include "cell_fixture.h"

namespace peacrab::test {

struct TestPlace {
    TestPlace() {
        if (in_guest()) {
            options = guest_options();
            workspace = options.folder + "/home/workspace";
            return;
        }
        folder.emplace();
        workspace = folder->path + "/work";
        make_directories(workspace, 0755);
        options.place = CellOptions::Place::Here;
        options.workspace = workspace;
        options.folder = folder->path + "/kept";
    }
    bool contained() const { return options.place == CellOptions::Place::Cell; }

    std::optional<Folder> folder;
    std::string workspace;  // from this machine's side
    CellOptions options;
};

}  // namespace peacrab::test
