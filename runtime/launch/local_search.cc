// A fork of the warden that keeps nothing of it but the key and one stream: what a search service answers is read
// there, never in the warden and never in the agent's place, where the key could be looked for.
#include "launch/local_search.h"

#include <unistd.h>

#include "cells/report.h"
#include "error.h"

namespace peacrab {

LocalSearch::LocalSearch(const Config& config) {
    options_.api = config.search;
    options_.url = config.search_url;
    options_.http.environment = true;
    const SearchApi* const chosen = search_api(config.search);
    if (chosen && *chosen->key_variable) options_.key = Secret(env(chosen->key_variable));
}

UniqueFd LocalSearch::open() {
    running_.remove_if([](Pidfd& one) { return one.try_wait().has_value(); });
    if (running_.size() >= kMost) throw Error("too many searches at once: try again in a moment");
    SocketPair pair = SocketPair::stream();
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("search: fork");
    if (pid == 0) {
        keep_only(pair.theirs.get(), parent);
        serve_search(kReport, options_);
        ::_exit(0);
    }
    running_.push_back(Pidfd::of_child(pid));
    return std::move(pair.ours);
}

}  // namespace peacrab
