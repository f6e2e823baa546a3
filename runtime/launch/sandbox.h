// Posture `cells`: root with the right to mount, in a sandbox that is somebody else's (a virtual machine,
// a privileged container). What our guest has from its boot is made here, in a mount namespace of our
// own, so that all of it goes with us: control groups, a state disk with quotas, the base. What is
// missing is an Error that names it and the next step: nothing has a weaker fallback.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "os.h"
#include "types.h"

namespace peacrab {

constexpr const char* kDefaultBase = "/usr/share/peacrab/base";

struct SandboxOptions {
    std::string base;   // a clean Debian for cells; never the sandbox's own root
    std::string state;  // a folder of the sandbox that keeps what is to stay; made when missing
    // Of the state disk's file, where there is room; taken as a whole, and fixed, when it is made.
    Bytes disk = {uint64_t{8} << 30};
};

struct Sandbox {
    std::string base;   // where both are now, in our mount namespace
    std::string state;
    UniqueFd lock;   // while it is open nobody else works on that state
    UniqueFd alone;  // nor makes cells in this sandbox
};

// As root. Afterwards this process and its children are in a mount namespace and a control group of
// their own.
Sandbox enter_sandbox(const SandboxOptions& options);

// "CAP_SYS_ADMIN, CAP_MKNOD": of what cells need, what is not among `effective`; "" when all are.
std::string missing_rights(uint64_t effective);
// Why a controller cannot be had, by the text of /proc/cgroups, and what to do: "bound to version 1 …".
std::string why_missing(std::string_view controller, std::string_view proc_cgroups);
// The first folder on the way to `path` that is not root's, or that others may write to (a sticky one
// too); "": none. What is not there yet ends the way.
std::string not_roots_alone(const std::string& path);
// Throws Error unless `base` can be the root directory of a cell, as far as its files say.
void check_base(const std::string& base);

}  // namespace peacrab
