// One file between us and an agent's workspace, over a `files` stream (files/child), in a loop: the peer may be slow
// or silent, and what it says is hostile.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "loop.h"
#include "protocols/tar.h"

namespace peacrab {

class WorkspaceStream {
  public:
    struct Result {
        bool ok = false;
        bool cut = false;  // it ended without a verdict: it can be tried again
        std::string why;   // for the model
    };
    using Done = std::function<void(const Result&)>;  // once, out of the loop; it may destroy this

    // `stream` was opened with "put" and a folder, in which `file` becomes `name`.
    static std::unique_ptr<WorkspaceStream> put(Loop& loop, UniqueFd stream, UniqueFd file, uint64_t size, const std::string& name,
                                                Done done);
    // `stream` was opened with "get" and a file's path. `take` gets its bytes, and may throw Error.
    static std::unique_ptr<WorkspaceStream> get(Loop& loop, UniqueFd stream, uint64_t most, std::function<void(std::string_view)> take,
                                                Done done);
    ~WorkspaceStream();
    WorkspaceStream(const WorkspaceStream&) = delete;
    WorkspaceStream& operator=(const WorkspaceStream&) = delete;

    static constexpr Milliseconds kSilence{70'000}, kWhole{600'000};

  private:
    WorkspaceStream(Loop& loop, UniqueFd stream, Done done);
    void watch();
    void ready(short revents);
    void flush();
    void fill();
    void read();
    void take(std::string_view bytes);
    void line(const std::string& text);
    void end(Result result);

    Loop& loop_;
    UniqueFd stream_, file_;
    Done done_;
    Loop::TimerId timer_ = 0;
    Deadline whole_ = Deadline::in(kWhole);
    std::string out_;
    uint64_t left_ = 0;  // of the file
    bool all_out_ = true;
    std::unique_ptr<TarWriter> writer_;
    std::unique_ptr<TarReader> reader_;  // of an archive that comes, until it has ended
    bool announced_ = false;             // it has been said that one comes
    size_t files_ = 0;
    std::string line_;
};

}  // namespace peacrab
