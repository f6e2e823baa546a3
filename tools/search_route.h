// The host's end of a `search` stream of the guest: a child of the gateway, one a stream, with the key of the
// service the person chose. `peacrab setup --search NAME` stores that key and the choice.
#pragma once

#include <string>

namespace peacrab {

// The stream is descriptor 3. Gives the exit code.
int search_route_main();

// Stores what searches from now on. The key comes from a terminal with its echo off, or from a pipe; a service
// without one needs `url`. 0: stored; 2: it cannot be, 130: Ctrl-C (said on stderr). Throws Error.
int setup_search(const std::string& name, const std::string& url);

}  // namespace peacrab
