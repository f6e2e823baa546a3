// A log file that hostile bytes may be written to without end: it is moved aside to `<path>.1` when
// it has grown to half of what the two may hold together. Control bytes become visible escapes.
#pragma once

#include <string>
#include <string_view>

#include "os.h"
#include "types.h"

namespace peacrab {

class BoundedLog {
  public:
    // Appends to what is there; 0600. Throws ErrnoError.
    BoundedLog(std::string path, Bytes both_files);

    // Each line gets `prefix` in front. What cannot be written (a full disk) is dropped.
    void append(std::string_view bytes, std::string_view prefix = {});

    // From now on stderr is this file, also after it was moved: our own log lines and those of the
    // children go the same way.
    void take_stderr();

  private:
    void open();
    std::string path_;
    uint64_t half_;
    UniqueFd fd_;
    bool is_stderr_ = false;
    bool line_begins_ = true;
};

}  // namespace peacrab
