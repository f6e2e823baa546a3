// The host's end of a `files` stream: one operation on an agent's workspace, and its verdict. What the
// guest says is hostile: listings and archives are checked and bounded as they come.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "files/ignore.h"
#include "files_answer.h"
#include "machine.h"
#include "protocols/tar.h"

namespace peacrab {

// Each throws Error when the machine does not run, when it could not begin, or when it was cut off
// before its verdict: it can be repeated then, and only what differs is sent. `path` is beneath the
// workspace, "" for all of it.
class FilesLink {
  public:
    FilesLink(const MachinePlace& place, std::string agent) : place_(place), agent_(std::move(agent)) {}
    virtual ~FilesLink() = default;
    const std::string& agent() const { return agent_; }

    FilesVerdict list(const std::string& path, const Ignore& rules, Listing& into);
    // No paths: all that is there.
    // `kind` is told first: a folder's entries are named beneath it, a file by its own name.
    enum class Archive { OfFile, OfFolder };
    FilesVerdict get(const std::string& path, const std::vector<std::string>& paths,
                     TarReader::Handlers handlers, const std::function<void(Archive)>& kind = {});
    FilesVerdict put(const std::string& path, const std::function<void(TarWriter&)>& fill);
    FilesVerdict remove(const std::string& path, const std::vector<std::string>& paths);

    // The stream itself; a test has another.
    virtual UniqueFd open(const std::string& op, const std::string& path);

  private:
    const MachinePlace& place_;
    std::string agent_;
};

}  // namespace peacrab
