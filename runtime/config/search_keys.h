// The key `search` of the configuration: which service web_search asks.
#pragma once

#include <string>

namespace peacrab {

// `value` when there is such a service; throws Error naming those there are.
std::string search_service(const std::string& value);

}  // namespace peacrab
