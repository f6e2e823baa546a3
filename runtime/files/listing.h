// What a folder holds, a line an entry: what goes over the link, and what is kept of what was sent.
//
//     f|x SIZE SHA256 PATH      a file; x: its owner may execute it
//     l 0 - PATH TARGET         a symbolic link
//     d 0 - PATH                a folder
//
// Bytes up to the space, `%` and from 0x7f on are written %XX, so that no name can be two lines or look
// like another. Of a mode only whether it is executable counts: the rest is what each machine makes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace peacrab {

struct Listed {
    enum class Kind : char { File = 'f', Program = 'x', Link = 'l', Folder = 'd' } kind = Kind::File;
    uint64_t size = 0;
    std::string hash = {};    // of a file
    std::string target = {};  // of a link
    bool operator==(const Listed& other) const = default;
    bool file() const { return kind == Kind::File || kind == Kind::Program; }
};
using Listing = std::map<std::string, Listed>;  // by path beneath the folder

std::string escaped(std::string_view text);
std::string unescaped(std::string_view text);  // throws Error

std::string listing_line(const std::string& path, const Listed& entry);  // with its newline
// Checks all of it, the path too: relative, without `..`. Throws Error.
std::pair<std::string, Listed> parse_listing_line(std::string_view line);

}  // namespace peacrab
