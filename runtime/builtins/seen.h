// What an agent has seen of its files: a mark of each file's contents, told by the file helper. With
// it an edit of a file that changed since is refused. Bounded: what is forgotten is not checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "json.h"

namespace peacrab {

class SeenFiles {
  public:
    // What a request of the tool `edit` is about.
    json::Value for_edit(const json::Value& arguments, const std::string& workspace) const;
    // From an answer: name → mark, or null of what has gone. Hostile.
    void learn(const json::Value& seen);

  private:
    struct Mark {
        std::string mark;
        uint64_t order = 0;
    };
    void forget(const std::string& name);
    std::map<std::string, Mark> marks_;
    uint64_t next_ = 0;
    size_t bytes_ = 0;
};

}  // namespace peacrab
