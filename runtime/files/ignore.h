// Which files of a folder are left out: the rules of `.gitignore` and `.peacrabignore`.
//
// Source: gitignore(5): comments, `!`, `\`, a trailing `/` for folders only, a `/` elsewhere binds to the
// file's folder, `*` `?` `[a-z]` within a part, `**` across parts; of all rules that match the last one
// counts, and what is in a folder that is left out stays out. Not read: .git/info/exclude, the person's
// own excludes file, and what git tracks although a rule names it. Always left out: `.git`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace peacrab {

class Ignore {
  public:
    enum class What { File, Folder };
    // A line of an ignore file in `folder`, "" for the topmost. Throws Error beyond kMostRules.
    void add(const std::string& folder, std::string_view line);
    void add_file(const std::string& folder, std::string_view text);
    // `path` beneath the topmost folder; the folders it is in are not asked about.
    bool leaves_out(const std::string& path, What what) const;
    // The same, and of each folder on the way.
    bool leaves_out_within(const std::string& path, What what) const;
    // "FOLDER LINE", both escaped (files/listing), as add_text() reads it.
    std::string text() const;
    void add_text(std::string_view text);  // throws Error

    static constexpr size_t kMostRules = 4096;
    static constexpr size_t kMaxRule = 1024;  // longer lines are an Error
    static constexpr const char* kFiles[] = {".gitignore", ".peacrabignore"};
    static constexpr const char* kOurs = ".peacrab-new-";  // how names begin that are being written

  private:
    struct Rule {
        std::string folder, line;
        std::vector<std::string> parts;
        bool keeps = false;         // `!`
        bool folders_only = false;
        bool bound = false;         // to its folder; else at any depth
    };
    void add_rule(const std::string& folder, std::string_view line);
    std::vector<Rule> rules_;
};

// `*`, `?`, `[…]` and `\`, within one part. Linear but for the stars.
bool matches_part(std::string_view pattern, std::string_view name);

}  // namespace peacrab
