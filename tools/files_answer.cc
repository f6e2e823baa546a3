#include "files_answer.h"

#include <algorithm>

#include "error.h"
#include "json.h"
#include "os.h"

namespace peacrab {

FilesVerdict parse_verdict(const std::string& line) {
    const json::Value said = json::parse(line, {kMaxFilesLine, 2});
    FilesVerdict verdict;
    const auto number = [&](const char* key) {
        return static_cast<uint64_t>(std::max<int64_t>(0, said.integer(key, 0)));
    };
    verdict.ok = said.flag("ok");
    verdict.missing = said.find("missing") && said.flag("missing");
    verdict.files = number("files");
    verdict.bytes = number("bytes");
    verdict.skipped = number("skipped");
    verdict.failed = number("failed");
    verdict.why = printable(said.text("why", ""));
    std::replace(verdict.why.begin(), verdict.why.end(), '\n', ' ');
    return verdict;
}

FilesVerdict read_listing(const std::function<std::string()>& next_line, Listing& into) {
    for (size_t bytes = 0;;) {
        const std::string line = next_line();
        bytes += line.size();
        if (line.starts_with('{')) return parse_verdict(line);
        auto [name, entry] = parse_listing_line(line);
        if (into.size() == kMostFilesEntries || bytes > kMaxFilesListing)
            throw Error("files: the guest lists more than it may");
        into.insert_or_assign(std::move(name), std::move(entry));
    }
}

}  // namespace peacrab
