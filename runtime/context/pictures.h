// Pictures that came with what was said: in front of them stands, on a line of its own in the text,
// "[picture: inbox/PATH, …]" (messaging/incoming). Anybody may write such a line: what it gets is what the model
// could read by itself.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sessions/journal.h"

namespace peacrab {

constexpr size_t kMostPictures = 8;  // of what is said at once; more are only named

// What was said, and behind each of it its pictures. `read` gives one as builtins/picture makes it; "": none.
std::vector<Entry> with_pictures(std::vector<Entry> said, const std::function<std::string(const std::string& path)>& read);
// Of the call that reads it.
std::string picture_arguments(const std::string& path);

}  // namespace peacrab
