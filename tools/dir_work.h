// A folder of the person's and the copy an agent works on: send, show, bring home, take back.
//
// Nothing of the copy is believed: what comes home is checked path by path, opened beneath the folder
// and through no link, written beside its place and renamed. What both have changed is left and named.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dir_diff.h"
#include "dir_plan.h"
#include "dir_state.h"
#include "files_link.h"

namespace peacrab {

// Of a folder and of what goes one way in one go.
struct DirBounds {
    size_t entries = 100'000;
    Bytes total = GiB(1);
};

class DirWork {
  public:
    using Tell = std::function<void(const std::string& sentence)>;
    DirWork(DirState& state, FilesLink& link, Tell tell, DirBounds bounds = {});

    // What changed here goes into the copy. False: not all of it; it was told which and why.
    bool send();
    struct Changes {
        std::vector<Changed> list;
        std::vector<std::string> guarded;  // .git and the like in the copy: never brought home
    };
    // Of the agent, against what was sent; with their contents. Throws when there is no copy.
    Changes changes();
    enum class Hooks { Refuse, Allow };
    enum class Run { Really, Dry };
    // False: something was left; it was told what and why.
    bool apply(Hooks hooks, Run run);
    bool undo();     // the last apply; see can_undo()
    bool can_undo() const { return !state_.last_apply().empty(); }
    bool discard();  // what the agent changed

  private:
    struct Sent {
        mode_t mode = 0;
        int64_t mtime = 0;
    };
    Listing scan(Ignore& rules, std::map<std::string, Sent>& details);
    Listing copy(const Ignore& rules, bool& missing);
    Ignore rules();
    void fetch(Changes& changes);
    bool put(const std::vector<std::string>& gone, const std::vector<std::string>& fresh,
             const Listing& want, const std::map<std::string, Sent>& details);
    MaybeListed here(const std::string& path, struct stat& info);
    void now_based_on(const std::string& path, const MaybeListed& entry);
    void keep_here(const std::string& path, const MaybeListed& entry);
    // Makes `was` into `now` here, where `was` is still there.
    struct Outcome {
        std::vector<AppliedStep> done;
        std::vector<std::string> left;  // "PATH: why"
    };
    Outcome change(const std::vector<AppliedStep>& steps);
    void change_one(const AppliedStep& step, bool away);
    void tell_all(const std::string& what, const std::vector<std::string>& names);

    DirState& state_;
    FilesLink& link_;
    Tell tell_;
    DirBounds bounds_;
};

// "1 file", "12 files"
std::string counted(size_t count, const char* one, const char* many);

}  // namespace peacrab
