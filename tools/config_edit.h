// Edits of the configuration file that leave the person's comments, order and spelling alone.
//
//     ConfigEdit edit(config_file());
//     edit.set({"agents", "scout", "model"}, "claude-haiku-4-5");
//     edit.add("egress", "registry.example.org:443");
//     edit.save();
//
// Each edit changes whole lines, reads the result again, and compares: had it changed anything but
// what was asked for, it is an Error that names the line to be written by hand (a map in braces, a
// value in an odd place). Nothing is on disk before save(), which replaces the file in one step.
#pragma once

#include <string>
#include <vector>

#include "config.h"
#include "config/yaml.h"
#include "os.h"

namespace peacrab {

class ConfigEdit {
  public:
    using Path = std::vector<std::string>;  // of keys

    // Holds the file against other edits until it is dropped. An absent file is an empty one; a file
    // that cannot be read as a configuration is an Error.
    explicit ConfigEdit(std::string path);

    // Of a plain value; makes what is missing above it.
    void set(const Path& path, const std::string& value);
    // An empty map or list, unless it is there: `agents: scout:` or `egress:`.
    void make(const Path& path);
    // With all that is below it. False: it was not there. A map that becomes empty stays.
    bool remove(const Path& path);
    // One item of the list `key`. False: it stands there already; or, of take, it does not.
    bool add(const std::string& key, const std::string& item);
    bool take(const std::string& key, const std::string& item);

    const std::string& text() const { return text_; }
    const yaml::Node& root() const { return root_; }
    // Reads the whole as a configuration, which may be an Error, and replaces the file; mode and
    // links stay as they were.
    Config save();

  private:
    using Lines = std::vector<std::string>;
    void put(const Path& path, const std::string* value);
    void insert_below(const Path& path, size_t known, const yaml::Node& parent,
                      const std::string* value);
    void replace_value(const yaml::Node& key, const yaml::Node& value, const std::string& text);
    // Empties `[]` or `{}` behind a key; what is not empty in brackets is an Error.
    void open_brackets(const yaml::Node& node);
    void erase_lines(size_t first, size_t last, size_t column);
    void insert_lines(size_t at, const Lines& lines);
    void accept(const yaml::Node& wanted, size_t line);

    std::string path_;
    UniqueFd lock_;
    std::string text_;
    Lines lines_;  // of text_, without their ends
    std::string line_end_ = "\n";
    yaml::Node root_;
};

// A value in one line or, of several lines, behind `|`; as YAML reads it back. `indent` is that of
// its key. Throws Error for control bytes.
std::string yaml_value(const std::string& value, size_t indent);

}  // namespace peacrab
