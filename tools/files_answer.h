// What a guest answers on a `files` stream, line by line: hostile, checked and bounded as it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "files/listing.h"

namespace peacrab {

constexpr size_t kMaxFilesLine = size_t{32} << 10;  // two paths, each byte escaped
constexpr size_t kMaxFilesListing = size_t{64} << 20;
constexpr size_t kMostFilesEntries = 250'000;

struct FilesVerdict {
    bool ok = false;
    bool missing = false;  // the folder, or file, that was named
    uint64_t files = 0, bytes = 0, skipped = 0, failed = 0;
    std::string why = {};  // for the person, escaped
};

// Throws Error for what is no verdict.
FilesVerdict parse_verdict(const std::string& line);
// Lines of a listing, up to the verdict behind them. Throws Error, also beyond the bounds.
FilesVerdict read_listing(const std::function<std::string()>& next_line, Listing& into);

}  // namespace peacrab
