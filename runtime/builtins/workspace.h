// Paths of the file tools: opened beneath the workspace, however fast somebody swaps folders for
// links meanwhile; regular files only; written whole or not at all. Failures are Errors for the model.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>

#include "json.h"
#include "os.h"

namespace peacrab {

constexpr uint64_t kMaxWhole = uint64_t{1} << 20;  // of a file that is taken whole: what write writes

// A path that is asked for: `path` beneath the open folder `root`; `given` is what the model said.
struct Place {
    UniqueFd root;
    std::string path;
    std::string given;
};
enum class Use { Read, Write };
// `request` names the folders: "workspace", and to read from "kept" output and what is "shown".
Place find_place(const json::Value& request, const std::string& given, Use use);

// Opens beneath `root`, an open folder. Empty: errno is set.
UniqueFd open_beneath(int root, const std::string& path, uint64_t flags);
[[noreturn]] void fail_at(const std::string& given, int code);

struct Target {
    UniqueFd fd;
    struct stat info {};
};
Target open_regular(const Place& place);

// A text file as a whole, at most kMaxWhole.
struct WholeText {
    std::string text;
    struct stat info {};
};
WholeText read_whole(const Place& place);

// Where a write lands: a name in an open folder, and what has that name now. The name is no link.
struct Landing {
    UniqueFd folder;  // empty: it is missing, and was to be left so
    std::string name;
    std::optional<struct stat> replaced;
};
enum class Folders { Make, Leave };  // those that are missing
// A link is written through, not replaced: what it names is what was meant.
Landing find_landing(const Place& place, Folders folders);
void require_replaceable(const std::string& given, const struct stat& info);
// Whether it is still the file that was read: nothing was written to it, and it was not exchanged.
void require_same(const std::string& given, const Landing& landing, const struct stat& read);

// A temporary file beside it, synced, then renamed. Mode and owner are those of the file that is
// replaced, or of `like`; else its folder's owner's.
void write_whole(const Place& place, const Landing& landing, const std::string& content,
                 const struct stat* like = nullptr);
// A name to be removed: no link is followed. `read`: it must still be that file.
Landing find_removable(const Place& place, const struct stat* read);
void remove_file(const Place& place, const struct stat& read);

// What names a file in what was seen of it: its path from the workspace on, without "." and "//".
std::string seen_name(const std::string& given, const std::string& workspace);
// What tells contents apart. No cryptography: who makes two alike fools his own agent alone, and
// the library would read its configuration from the cell.
std::string content_mark(std::string_view text);
// `request` says of what it has "seen": this file is refused when it is not what was read.
void require_unchanged(const json::Value& request, const std::string& given, std::string_view text);

// The answer. `seen`: name → mark of what was read or written, null of what has gone.
json::Value done(std::string text, uint64_t bytes, json::Value seen = {});

}  // namespace peacrab
