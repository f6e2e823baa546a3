// The tool `edit`, the child's side: text in a file is replaced by other text, or a patch is applied.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "json.h"

namespace peacrab {

enum class Times { Once, All };
struct Edited {
    std::string text;
    std::vector<std::pair<size_t, size_t>> places;  // first and last line of what is new, in `text`
    bool loosely = false;  // `old` is there only but for blanks, line ends, quotes or dashes
};
// Throws an Error that says what to do when `old` is not there, or in several places and that was
// not meant. Line ends and the byte order mark stay those of the file.
Edited replace_text(const std::string& text, std::string old, std::string fresh, Times times);

// Carries out the request: "path", "old", "new", "all", or "patch".
json::Value edit_files(const json::Value& request);
// What a call does, for the person: the file, or those of the patch.
std::string shown_edit(const json::Value& arguments);

}  // namespace peacrab
