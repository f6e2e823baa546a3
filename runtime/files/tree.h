// A folder that may be anybody's work: walked, and written to, without ever leaving it.
//
// Each path is opened beneath the folder's descriptor by the kernel (openat2), through no link; what is
// written is a temporary file beside its place, then renamed. Used on both sides of the link.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "files/ignore.h"
#include "files/listing.h"
#include "os.h"
#include "types.h"

namespace peacrab {

struct TreeLimits {
    size_t entries = 100'000;
    Bytes total = GiB(1);
    size_t depth = 64;
};

// Throws ErrnoError "what: path"; the folder itself is ".".
UniqueFd open_folder_within(int root, const std::string& path);
// A regular file, to read; empty when there is none by that name, also when a link is on the way.
UniqueFd open_file_within(int root, const std::string& path, struct stat& info);
// What has that name now, no link followed. False: nothing.
bool look_within(int root, const std::string& path, struct stat& info);
std::string link_within(int root, const std::string& path);  // what it points to

struct WalkedEntry {
    std::string path;
    Listed::Kind kind = Listed::Kind::File;
    struct stat info {};
};
struct WalkCount {
    size_t entries = 0;
    uint64_t bytes = 0;
    size_t left_out = 0;     // by rules, a folder as one
    size_t special = 0;      // neither file, folder nor link
};
enum class RuleFiles { Leave, Read };  // Read: adds those of each folder to `rules` on the way
// Each folder before what is in it, by name. Throws Error beyond the limits, and for a folder that
// cannot be read. `rules` null: nothing is left out but what is being written.
WalkCount walk_tree(int root, Ignore* rules, RuleFiles files, const TreeLimits& limits,
                    const std::function<void(const WalkedEntry&)>& found);

// All of a file through `take`; gives how much it was. At most `most`.
uint64_t read_through(int fd, uint64_t most, const std::function<void(std::string_view)>& take);
// What stands in a listing of it; a file is read for its hash. Throws Error when it has gone.
Listed listed_within(int root, const WalkedEntry& entry);

class TreeWriter {
  public:
    enum class Sync { Never, Each };  // Never: who writes much syncs at its end
    TreeWriter(int root, Sync sync) : root_(root), sync_(sync) {}
    // A file that is being written; dropped before commit() nothing is left of it.
    class File {
      public:
        File(File&&) noexcept = default;
        ~File();
        void write(std::string_view bytes);
        void commit();

      private:
        friend class TreeWriter;
        File() = default;
        UniqueFd folder_, file_;
        std::string name_, temporary_, path_;
        mode_t mode_ = 0;
        int64_t mtime_ = 0;
        Sync sync_ = Sync::Never;
    };
    // Missing folders are made. All of these throw Error, naming the path; none replaces a folder.
    File create(const std::string& path, mode_t mode, int64_t mtime = 0);  // 0: now
    void link(const std::string& path, const std::string& target);
    void folder(const std::string& path);
    // A file or link; a folder when it is empty. What is not there is fine. False: it is not empty.
    bool remove(const std::string& path);

  private:
    std::pair<UniqueFd, std::string> landing(const std::string& path);
    int root_;
    Sync sync_;
};

}  // namespace peacrab
