// Paths of the file tools: opened beneath the workspace, however fast somebody swaps folders for
// links meanwhile; regular files only; written whole or not at all. Failures are Errors for the model.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

// Folders that were made for a write. Those that are empty go with it, unless it was done.
class MadeFolders {
  public:
    MadeFolders() = default;
    MadeFolders(MadeFolders&&) = default;
    MadeFolders& operator=(MadeFolders&&) = delete;
    ~MadeFolders();
    void add(UniqueFd in, std::string name) { made_.emplace_back(std::move(in), std::move(name)); }
    void keep() { made_.clear(); }

  private:
    std::vector<std::pair<UniqueFd, std::string>> made_;
};

// Where a write lands: a name in an open folder, and what has that name now. The name is no link.
struct Landing {
    UniqueFd folder;  // empty: it is missing, and was to be left so
    std::string name;
    std::optional<struct stat> replaced = {};
    MadeFolders made = {};
};
enum class Folders { Make, Leave };  // those that are missing
// A link is written through, not replaced: what it names is what was meant.
Landing find_landing(const Place& place, Folders folders);
void require_replaceable(const std::string& given, const struct stat& info);
// Whether it is still the file that was read: nothing was written to it, and it was not exchanged.
void require_same(const std::string& given, const Landing& landing, const struct stat& read);

// What is to be written there, as a temporary file beside it: whole, on the disk, and with mode and owner
// of the file that is replaced, or of `like`; else its folder's owner's. It is there by its name once
// it was put in place; dropped before, nothing is left of it.
class NewFile {
  public:
    // `landing` is what was found for `given`. Throws Error: nothing is left then.
    NewFile(std::string given, Landing landing, const std::string& content, const struct stat* like = nullptr);
    NewFile(NewFile&& other) noexcept;
    ~NewFile();
    // Throws Error when the name has come to mean something else: what it means stays.
    void put_in_place();

  private:
    void fill(int file, const std::string& content, const struct stat* like) const;
    std::string given_;
    Landing landing_;
    std::string temporary_;  // "": nothing is to be removed
};
void write_whole(const Place& place, Landing landing, const std::string& content);
// A name to be removed: no link is followed. `read`: it must still be that file.
Landing find_removable(const Place& place, const struct stat* read);
void remove_file(const Place& place, const struct stat& read);
// Throws Error when remove_file() could not, as far as can be told before.
void require_may_remove(const Place& place, const struct stat& read);

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
