// Brings a person's skills and hooks into the machine, at its start and when one of them changes.
#pragma once

#include <optional>
#include <vector>

#include "link.h"
#include "loop.h"
#include "skills/folders.h"

namespace peacrab {

class SkillSender {
  public:
    SkillSender(Loop& loop, SkillPlaces places);
    ~SkillSender();
    SkillSender(const SkillSender&) = delete;

    // The guest is there: it gets all of it, on a stream of kind `skills`. Good until clear().
    void attached(LinkPort& link);
    // Sends what has changed since. Called by itself; before a message is handed on it may be called at once.
    void look();
    void clear();  // the machine has gone

  private:
    void watch();
    void send(const Pack& pack);

    Loop& loop_;
    SkillPlaces places_;
    UniqueFd inotify_;
    LinkPort* link_ = nullptr;
    std::optional<std::vector<Hook>> hooks_;  // of the last configuration that could be read
    std::string sent_;  // the mark of what was sent last
    std::vector<Pidfd> packers_;
};

}  // namespace peacrab
