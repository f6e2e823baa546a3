// What is kept of a folder that an agent works on a copy of: what was sent (the base: paths, modes, hashes
// and contents), and how to take the last apply back. In the machine's own state folder, one per agent
// and folder, so that it goes with the machine. Only one process at a time has it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "files/listing.h"
#include "machine.h"
#include "os.h"

namespace peacrab {

// One step of an apply: what a path was before, and what it was made. Nothing: absent.
struct AppliedStep {
    std::string path;
    std::optional<Listed> was, now;
    mode_t mode = 0;  // of a file that was there
};

class DirState {
  public:
    // `dir`: as a person gives it; resolved. Waits for another process that has it. Throws Error.
    DirState(const MachinePlace& place, const std::string& agent, const std::string& dir);

    const std::string& dir() const { return dir_; }    // absolute, no link in it
    const std::string& name() const { return name_; }  // of the copy in the workspace
    const std::string& agent() const { return agent_; }
    int fd() const { return fd_.get(); }  // of dir()
    Listing& base() { return base_; }
    bool was_sent() const { return sent_; }  // there was a base
    void save();  // the base; also forgets contents that nothing names any more

    // Contents by hash. keep(): reads all of a descriptor, gives what it was.
    bool has(const std::string& hash) const;
    UniqueFd contents(const std::string& hash) const;  // throws Error
    Listed keep(int file, Listed::Kind kind);
    // One that comes in pieces.
    class Incoming {
      public:
        explicit Incoming(DirState& state);
        ~Incoming();
        Incoming(Incoming&&) = delete;
        void write(std::string_view bytes);
        Listed done(Listed::Kind kind);

      private:
        DirState& state_;
        UniqueFd file_;
        std::string temporary_;
        std::unique_ptr<class Sha256> hash_;
        uint64_t size_ = 0;
    };

    // The last apply. remember() is called before anything is changed.
    void remember(const std::vector<AppliedStep>& steps);
    std::vector<AppliedStep> last_apply() const;
    void forget_apply();

    // The folder that was sent last, or the only one; for commands without --dir. "": none, or `why`.
    static std::string only_dir(const MachinePlace& place, const std::string& agent, std::string& why);

  private:
    void choose_name(const std::string& folder);
    void load();
    std::string object(const std::string& hash) const { return folder_ + "/objects/" + hash; }
    std::string agent_, dir_, name_, folder_;
    UniqueFd fd_, lock_;
    Listing base_;
    bool sent_ = false;
};

}  // namespace peacrab
