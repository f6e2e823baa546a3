// What agents have of their person's skills and hooks, in the versions that are still used: unpacked below one
// folder, `skills/ID/NAME` and `hooks/ID/PROGRAM`, ID naming the contents. A new version is there as a whole or
// not at all; a turn that began with an older one finds it as long as turns run.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agents.h"
#include "loop.h"
#include "skills/unpack.h"

namespace peacrab {

constexpr const char* kSeenSkills = "/skills";  // in a cell
// Of the child that unpacks: beyond those of all turns, the first of which is `turns`.
constexpr Ids unpack_ids(const Ids& turns) { return {turns.uid + 60'001, turns.gid + 60'001}; }

class Shelf {
  public:
    struct Options {
        std::string folder;  // made when missing
        // Alone: what an earlier run has left in it goes. Shared: others may use it now.
        enum class Use { Alone, Shared } use = Use::Alone;
        std::string seen = {};  // where agents find its skills; "": where they are
        std::optional<Ids> ids = {};              // unpack_ids() (needs root); none: our own
        std::function<bool()> idle = {};          // nobody uses an older version
        Milliseconds limit = Seconds(30);
    };
    Shelf(Loop& loop, Options options);
    ~Shelf();
    Shelf(const Shelf&) = delete;

    // An archive, to be read to its end. `done`: "" or why the version before it stays; called from the loop.
    // One that comes while another is read waits for nothing: the last one that begins is the last in force.
    void take(UniqueFd archive, std::function<void(const std::string& why)> done);
    // The same, and waits for it. `mark`: of what is packed; it is kept for reuse().
    std::string take_now(UniqueFd archive, const std::string& mark = {});
    // What an earlier run took under that mark is in force, unpacked as it is. False: there is none. Only for a
    // folder that nobody but us could write to since.
    bool reuse(const std::string& mark);
    bool taking() const { return !jobs_.empty(); }

    std::string skills_folder() const { return options_.folder + "/skills"; }
    // For the prompt of this agent: "" when it has none.
    std::string catalogue(const AgentSettings& agent) const;
    // Which hooks there are, and where. Until the first version is there it is not known, unless it was
    // said that there are none.
    HookSet hooks() const;
    void no_hooks_known() { known_ = true; }
    void hooks_lost() { known_ = false; }  // there are some, and they did not arrive

  private:
    struct Job {
        uint64_t number = 0;
        std::string folder;
        Unpacking unpacking;
        std::string said = {};
        Loop::TimerId timer = 0;
        std::function<void(const std::string& why)> done = {};
    };
    Job begin(const UniqueFd& archive);
    std::string finish(Job& job);
    void accept(const Job& job, Unpacked unpacked);
    void put_in_force(uint64_t number, Unpacked unpacked);
    void heard(uint64_t number);
    void end(uint64_t number, const std::string& failure);
    void tidy();

    struct Kept {  // by an earlier run
        std::string mark;
        Unpacked unpacked;
    };
    static std::optional<Kept> read_kept(const std::string& folder);

    Loop& loop_;
    Options options_;
    std::optional<Kept> kept_;
    Unpacked now_;
    bool known_ = false;
    uint64_t newest_ = 0;  // job that is in force
    uint64_t next_ = 1;
    std::vector<std::string> versions_;  // that are there, the oldest first
    std::vector<Job> jobs_;
};

}  // namespace peacrab
