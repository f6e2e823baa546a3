// What is put on one child process before it runs anything: no-new-privileges, capabilities,
// resource limits, ids, Landlock, and a seccomp allow-list, by class. The filter is compiled once
// in the parent and only installed in the child, last before exec. A missing mechanism is an Error:
// nothing here has a weaker fallback. Which calls a class has, and why: jails/tables.cc.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "os.h"

namespace peacrab {

enum class JailClass {
    File,   // our own helper for read and write, its start included: kill by default
    Shell,  // what real work needs: EPERM for what is refused, ENOSYS for what is unknown
    Fetch,  // our own program that reads what came over one connected socket; installed after exec
    Turn,   // the turn process: parses hostile model output; installed after exec, no exec in it
    Adapter,  // a messenger's adapter: its folder and the sockets it is given; installed after exec
    Reaper,   // pid 1 of a cell, and who waits for a call: waits, reports, ends
};

// A compiled filter. Compile in the parent, before fork. In every class: a foreign architecture
// and the x32 entry end the process; numbers newer than libseccomp knows get ENOSYS.
class JailFilter {
  public:
    // None: no INET socket. Own: Shell has a network of its own around it; the turn speaks to the
    // model itself (no VM) and may start threads (a shared libcurl resolves names in one). Tcp:
    // Shell in the machine's network has INET sockets for TCP alone; which port they reach is
    // Landlock's to say.
    enum class Network { None, Tcp, Own };
    static JailFilter compile(JailClass jail, Network network = Network::None);
    // In the child: noexcept, no allocation. Needs no-new-privs. False: errno is set.
    [[nodiscard]] bool install() const noexcept;
    std::span<const sock_filter> program() const { return program_; }

  private:
    std::vector<sock_filter> program_;
    bool taken_away_ = false;  // by a test (cells/mechanism.h)
};

// For our own programs once they have started: from here on exec and executable mappings end the
// process. Sets no-new-privs. noexcept, no allocation. False: errno is set.
[[nodiscard]] bool forbid_new_code() noexcept;

struct Ids {
    uid_t uid;
    gid_t gid;
    gid_t also = 0;  // a further group; 0: none
};

struct JailOptions {
    // A user namespace to enter, before ids are taken in it: from then on capabilities count there
    // alone. -1: none.
    int user_namespace = -1;
    // Ids to take (needs root); nothing: stay who we are (posture shared).
    std::optional<Ids> ids;
    // Capabilities that are kept, bit n for number n: bounding, permitted and effective set.
    uint64_t capabilities = 0;
    // Working directory, opened with the new ids and never through a magic link, so that a link
    // the agent planted cannot lead to a descriptor of ours. Null: stay.
    const char* directory = nullptr;
    const char* otherwise = nullptr;  // where, when that cannot be entered; null: a failure
    uint64_t max_open_files = 256;
    uint64_t max_file_bytes = uint64_t{1} << 30;  // RLIMIT_FSIZE
    uint64_t max_processes = 512;                 // RLIMIT_NPROC; counted per uid
    int landlock = -1;                            // a ruleset (landlock.h); -1: none
};

// As JailOptions::directory, later. noexcept, no allocation. False: errno is set.
[[nodiscard]] bool enter_directory(const char* path) noexcept;

// Child side of the fork, in this order: session, rlimits, user namespace, bounding set, ids,
// capabilities, working directory, no-new-privs, Landlock, the filter. noexcept, no allocation. On
// failure gives the name of the step (errno is set); the caller reports it on the error pipe and
// exits. Descriptors are the caller's: close what must not be inherited before.
const char* enter_jail(const JailOptions& options, const JailFilter& filter) noexcept;

// The same without the filter: only for our own programs that install theirs as their first act
// (the turn process, whose class has no exec).
const char* drop_privileges(const JailOptions& options) noexcept;

}  // namespace peacrab
