// The tool `search`, the child's side: lines of text files that match a pattern, or files by their names.
#pragma once

#include <string>

#include "json.h"

namespace peacrab {

// Carries out the request: "pattern" or "glob" or both, "path", "limit".
json::Value search_files(const json::Value& request);
// What a call looks for, for the person.
std::string shown_search(const json::Value& arguments);

}  // namespace peacrab
