// Patches in the envelope some models write by themselves:
//   *** Begin Patch
//   *** Update File: PATH        and perhaps   *** Move to: PATH
//   @@ a line the place comes after
//    context
//   -removed
//   +added
//   *** Add File: PATH           its lines, each after a +
//   *** Delete File: PATH
//   *** End Patch
// Every file is checked, and written beside its place, before one is changed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "json.h"

namespace peacrab {

struct Hunk {
    struct Line {
        char kind;  // ' ', '-' or '+'
        std::string text;
    };
    std::vector<std::string> anchors;  // lines to be passed first, one after the other
    std::vector<Line> lines;
    bool at_end = false;  // of the file
};
struct FilePatch {
    enum class Kind { Add, Update, Delete } kind = Kind::Update;
    std::string path;
    std::string to;       // not empty: moved there
    std::string content;  // of an added file
    std::vector<Hunk> hunks;
};
// Throws Error naming the line that is wrong.
std::vector<FilePatch> parse_patch(const std::string& text);

struct Patched {
    std::string text;
    std::vector<std::pair<size_t, size_t>> places;  // first and last line of what each hunk made
};
// Throws Error naming the hunk that does not fit in exactly one place. Lines of context stay as the
// file has them, and so do its line ends, byte order mark and end without a newline.
Patched apply_hunks(const std::string& text, const std::vector<Hunk>& hunks);

json::Value patch_files(const json::Value& request);
// The files it names, as far as it can be read.
std::vector<std::string> patched_paths(const std::string& text);

}  // namespace peacrab
