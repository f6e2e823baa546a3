// What a file that came through a messenger is, by what it begins with, and what it may be called here. Its name
// and its declared type are the sender's to choose; neither is believed.
#pragma once

#include <string>
#include <string_view>

namespace peacrab {

constexpr size_t kSniffed = 4096;  // bytes of its beginning that are looked at

struct FileKind {
    const char* mime = "application/octet-stream";
    const char* kind = "file";       // "picture", "voice", "audio", "video" or "file"
    const char* extension = ".bin";  // for one without a name
};
FileKind file_kind(std::string_view beginning);

// One part of a path, of at most 100 bytes of valid UTF-8: no slash, blank, control or hidden character, nothing a
// shell would take for more than a letter, neither hidden nor an option. The extension stays. Of a safe name it
// gives the same.
std::string safe_file_name(std::string_view name, const FileKind& kind);

}  // namespace peacrab
