// A call that asks the web, from our side: which address next, what was seen a moment ago, and how the words of
// strangers are shown so that nothing in them can pass for anybody else's.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "cell.h"
#include "cells/output.h"
#include "policy.h"
#include "types.h"
#include "web/address.h"

namespace peacrab {

// A page as a child has read it. All of it is a stranger's word but the address.
struct WebPage {
    std::string asked;  // addresses, as WebAddress::text()
    std::string url;    // where it came from in the end
    int status = 0;
    std::string type, title, note;
    std::string text;  // empty when it is in a file
    std::string file;  // as the agent sees it; "": in memory alone
    uint64_t size = 0; // of the text
    std::chrono::steady_clock::time_point when{};
};

// An agent's pages of the last quarter of an hour: short ones in memory, long ones in its folder of kept output,
// where `read` and `search` find them as well.
class WebCache {
  public:
    static constexpr size_t kInMemory = size_t{48} << 10;  // of one page
    static constexpr size_t kMostPages = 24;
    static constexpr std::chrono::minutes kKeeps{15};

    std::function<UniqueFd()> open_search;  // none: there is no search here

    const WebPage* find(const std::string& url);  // null: not, or not any more
    // Takes it in, its text moved to a file when it is long and there is a folder.
    const WebPage& keep(WebPage page, const CellOptions& options);
    // `most` bytes of its text from `offset`; nothing when its file has gone.
    static std::optional<std::string> part(const WebPage& page, const CellOptions& options, uint64_t offset,
                                           size_t most);

  private:
    void to_file(WebPage& page, const CellOptions& options);
    std::list<WebPage> pages_;  // newest first
    std::shared_ptr<OutputFolder> folder_;
};

class WebCall {
  public:
    static constexpr Milliseconds kLimit = Seconds(60);  // of one child
    static constexpr int kMostRedirects = 5;

    WebCall(const Permit& permit, WebCache& cache, const CellOptions& options);
    // Answered without asking anybody: a copy, or what cannot be asked.
    std::optional<ToolResult> known();
    Command ask(Cell& cell);  // the next child
    // What that one said. Nothing: another is to be asked.
    std::optional<ToolResult> take(const CommandResult& ended);

  private:
    ToolResult shown(const WebPage& page, std::optional<std::string> text) const;
    WebCache& cache_;
    const CellOptions& options_;
    std::string query_;  // of a search; else ""
    int count_ = 0;
    std::string asked_, url_;
    uint64_t offset_ = 0;
    std::string refused_;
    int redirects_ = 0;
};

}  // namespace peacrab
