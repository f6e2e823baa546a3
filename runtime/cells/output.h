// What a tool child says: its head and tail in bounded memory, and all of it in a file once that is
// more than a model is shown at once.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "os.h"

namespace peacrab {

// A folder of kept output: the newest files, bounded in number and size. In a cell it belongs to
// real root and is seen read-only; nothing in it is ever followed or opened again.
class OutputFolder {
  public:
    // `path` is made when missing. `seen_as`: the same folder as a tool child sees it.
    OutputFolder(const std::string& path, std::string seen_as);
    static constexpr size_t kMaxFiles = 64;
    static constexpr Bytes kMaxSize = MiB(256);
    static constexpr Bytes kReserve = MiB(64);  // of the disk, that is left to others

    struct File {
        UniqueFd fd;
        int64_t number = 0;
        std::string seen_as;
    };
    // A new, empty file; the oldest make room for it and for what it may come to hold. Throws.
    File make();
    void close(const File& file);  // from now on it may be removed
    bool nearly_full() const;      // the disk

  private:
    void make_room();
    UniqueFd folder_;
    std::string seen_as_;
    int64_t next_ = 1;
    std::set<int64_t> open_;
};

class Capture {
  public:
    enum class Beyond { Stop, BeginAnew };  // what becomes of the file at its bound
    static constexpr Bytes kMaxCall = MiB(64);
    static constexpr Bytes kMaxBackground = MiB(16);

    // Half of `limit` is kept of the head, half of the tail. Without a folder nothing else is.
    explicit Capture(size_t limit, std::shared_ptr<OutputFolder> folder = {},
                     Beyond beyond = Beyond::Stop);
    Capture(const Capture&) = delete;
    ~Capture();
    void append(std::string_view bytes);
    uint64_t total() const { return total_; }
    // Stop: more came than one call may say. The owner ends it.
    bool too_much() const { return beyond_ == Beyond::Stop && total_ > kMaxCall.count; }
    const std::string& kept() const { return file_.seen_as; }  // "" while nothing is
    // All of it, or head and tail and between them a line that says what was cut and where it is.
    std::string text() const;
    // What came since the last call of this; of much, the end.
    std::string news();

  private:
    std::string where() const;
    std::string last(size_t count) const;
    void keep(std::string_view bytes);
    bool write_out(std::string_view bytes);

    size_t half_;
    std::shared_ptr<OutputFolder> folder_;
    Beyond beyond_;
    std::string head_, tail_;
    uint64_t total_ = 0;
    uint64_t told_ = 0;  // by news()
    OutputFolder::File file_;
    uint64_t written_ = 0;
    bool lost_ = false;  // something could not be kept
    bool anew_ = false;  // the file has begun anew
};

}  // namespace peacrab
