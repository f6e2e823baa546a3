// Starts a program of the host: the one fork and exec of `peacrab`.
//
// Every default is the strict one: nothing but the listed descriptors gets across, 0, 1 and 2 are
// /dev/null unless listed, the environment is empty unless given. What the child could not do comes
// back through an error pipe as text, so that spawn() either gives a running program or throws.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os.h"
#include "types.h"

namespace peacrab {

// For a program that hostile bytes may take over (the VMM, the way out of a cell). In this order: its
// own network, ipc and uts namespaces (as root, or inside a user namespace; where neither is allowed it goes on without,
// and VmmStatus in machine.h tells), limits, no capability left to gain, ids, no new privileges.
struct Confinement {
    struct UserIds {
        uid_t user = 0;
        gid_t group = 0;
        std::vector<gid_t> groups;
    };
    enum class Network { None, Host } network = Network::None;  // Host: it is there to connect out
    std::optional<UserIds> ids;  // needs root
    Bytes file_limit;            // RLIMIT_FSIZE
    uint64_t open_files = 256;
};

struct SpawnOptions {
    std::string program;                 // absolute path
    std::vector<std::string> arguments;  // with the name in front
    std::vector<std::string> environment;
    std::vector<std::pair<int, int>> descriptors;  // ours → the child's number
    bool new_session = false;       // out of reach of the terminal's signals
    bool die_with_parent = false;   // SIGKILL when we end, however we end
    std::optional<Confinement> confinement;
};
Pidfd spawn(const SpawnOptions& options);  // throws Error("spawn: <program>: <step>: <why>")

std::vector<std::string> own_environment();
// Looks in PATH and in the sbin folders, absolute entries only; "" when it is nowhere.
std::string find_program(const std::string& name);

// Runs to the end within `limit`, gives what it wrote to stdout and stderr (the last 4 KiB).
struct [[nodiscard]] RunResult {
    ChildExit exit;
    std::string output;
};
RunResult run_program(SpawnOptions options, Milliseconds limit);

}  // namespace peacrab
