// What one agent may use, made to hold: control groups (v2) for memory, processes, CPU and disk
// traffic. Parent side; a mechanism that is missing is an Error naming it.
//
//   /run/cgroup/agents/NAME          memory, cpu, io of all of it
//     init  keepers                  ours, of this agent
//     file-N                         calls of the file helper
//     shell                          processes, of all of these together:
//       call-N  background-N         one call each; ended as a whole when memory runs out
//       away-N                       a throw-away cell: init, keepers, file-N and shell once more
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "os.h"
#include "types.h"

namespace peacrab {

// Where control groups (v2) are, in our own microVM; no cell sees it. In it stand `warden`, `turns` and
// `agents`, whose groups have the controllers memory, pids, cpu and io.
constexpr const char* kControlGroups = "/run/cgroup";

class AgentGroup {
  public:
    enum class Kind { File, Call, Background };
    // The group of one call. Its directory is used again by a later call: making one is what would
    // cost most.
    struct Call {
        Kind kind = Kind::Call;
        unsigned number = 0;
        UniqueFd directory;  // O_PATH: what a child is cloned into
        UniqueFd kill;       // cgroup.kill, for writing
        UniqueFd events;     // cgroup.events
        uint64_t oom_kills = 0;  // of its calls before
        bool stalled = false;    // that it was, has been told
        bool closed = false;     // lets nothing new begin
    };

    // `disks`: a path on each block device whose traffic counts. What an earlier group of that name
    // left is ended first.
    AgentGroup(const std::string& name, const CellLimits& limits,
               const std::vector<std::string>& disks);
    // Of a throw-away cell: what it uses counts for the agent as well, whose group must be there and
    // which it does not outlive.
    static std::unique_ptr<AgentGroup> within(const std::string& agent, CellLimits limits);
    AgentGroup(const AgentGroup&) = delete;
    ~AgentGroup();  // ends everything in it, and removes it

    int init() const { return init_.get(); }
    int keepers() const { return keepers_.get(); }
    Call take(Kind kind);           // an empty one
    void give_back(Call call) noexcept;  // ends what is in it
    // Ends everything in it, and lets nothing new begin.
    void end(Call& call) const noexcept;
    void terminate(const Call& call) const noexcept;  // SIGTERM to everything in it
    void freeze(bool frozen);
    // To be asked about once a second while it runs: whether it has a part in that the agent, at its bound
    // of memory, has for ten seconds only read again what had just been given back. As long as some of
    // that is left the kernel ends nobody.
    bool stalled(Call& call) noexcept;
    // What was hit since `call` was taken, "" for nothing.
    std::string limit_hit(Call& call) noexcept;

  private:
    std::string path_of(const Call& call) const;
    uint64_t process_hits() const noexcept;
    bool empty(const Call& call) const noexcept;
    void look() noexcept;

    std::string path_;
    std::string outer_;  // the group whose processes are bounded as well; "": none
    CellLimits limits_;
    UniqueFd init_, keepers_;
    std::vector<Call> free_;
    unsigned made_ = 0;
    uint64_t process_hits_ = 0;
    struct Look {
        std::chrono::steady_clock::time_point at{};
        uint64_t hits = 0, refaults = 0;  // of the bound; in pages
        int stalls = 0;                   // looks in a row that saw it
    } last_;
};

// What `group` of the tree mounted at `tree` can have: the least of the machine's memory and of what
// memory.max says there and above, as far as that is seen. "" is the tree's root.
Bytes memory_of(const std::string& tree, std::string group);
// `limit`, or the share of what we can have that a limit of 0 stands for.
Bytes memory_or_share(Bytes limit);

// The disk as io.max names it: limits of traffic stand for a whole one, never for a part ("8:1").
std::string whole_disk(const std::string& device, const std::string& devices = "/sys/dev/block");
std::string disk_of(const std::string& path);  // that a path lies on

}  // namespace peacrab
