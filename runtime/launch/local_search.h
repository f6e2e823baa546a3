// What searches the web where there is no host: a process beside the warden, which has the key from the environment.
#pragma once

#include <list>

#include "config.h"
#include "os.h"
#include "protocols/search_api.h"

namespace peacrab {

class LocalSearch {
  public:
    // Keeps the key of the chosen service, of those in the environment.
    explicit LocalSearch(const Config& config);
    static constexpr size_t kMost = 4;  // at once
    UniqueFd open();  // a stream to a process that answers once (serve_search); throws Error

  private:
    SearchOptions options_;
    std::list<Pidfd> running_;
};

}  // namespace peacrab
