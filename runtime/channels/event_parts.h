// What is taken out of a messenger's event, as its server and strangers made it: bounded, and a member that is missing
// or of another kind is as if it were empty.
#pragma once

#include <string>
#include <string_view>

#include "json.h"

namespace peacrab {

// A member of an object; null when there is none.
const json::Value& part(const json::Value& of, std::string_view key);
// At most so many bytes of it, cut between two characters.
std::string bounded(std::string_view text, size_t most);
// Of a name: on one line, at most 200 bytes.
std::string name_of(std::string_view text);

}  // namespace peacrab
