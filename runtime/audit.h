// What was done, in the order it was done, so that a change afterwards is seen: JSON lines, each with
// the SHA-256 of itself and of the one before, in a few files that the chain runs through.
//
// A chain proves order and that nothing in the middle was touched. Whoever can write it can write
// all of it anew, or cut its end: that is for an anchor outside to see.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "json.h"
#include "os.h"

namespace peacrab {

struct AuditOptions {
    Bytes file_size = MiB(4);  // then the next file is begun; at the start one file is checked
    size_t files = 16;         // the oldest is removed
};

class Audit {
  public:
    // Opens the newest file and checks it. What a crash left unfinished at its end is taken away and
    // said in a record; where the chain is broken the file stays as it is, and a new chain begins
    // with a record that says so. Throws Error when nothing can be written.
    explicit Audit(const std::string& folder, AuditOptions options = {});

    // Disk: an effect follows, which must not outlive its record. Page: it goes to the disk with the
    // next one; what a loss of power takes of it, the store has too.
    enum class Until { Disk, Page };
    // `record` is an object, `kind` first; `seq`, `time`, `prev` and `hash` are added. Longer values
    // are cut. Throws Error: then nothing was recorded, and nothing may be done.
    void append(const json::Value& record, Until until);
    const std::string& complaint() const { return complaint_; }  // "" while all is well

    static constexpr size_t kMaxValue = 512;  // bytes of one text
    static constexpr size_t kMaxLine = size_t{16} << 10;

  private:
    void load();
    void check_newest();
    void begin_file();
    void write_line(const json::Value& record);

    AuditOptions options_;
    UniqueFd folder_, file_;
    int64_t number_ = 0;  // of the newest file
    uint64_t size_ = 0;   // of it, after our last record
    int64_t seq_ = 0;
    std::string head_;
    std::string complaint_;
};

// All files of `folder`, without changing anything. `complaints` name file and line.
struct AuditCheck {
    uint64_t records = 0;
    int64_t seq = 0;   // of the last one
    std::string head;  // its hash
    std::vector<std::string> complaints;
};
AuditCheck check_audit(const std::string& folder);

// The sum of what comes in pieces. Throws Error when the library fails.
class Sha256 {
  public:
    Sha256();
    ~Sha256();
    void add(std::string_view bytes);
    std::string hex();  // once, at the end

  private:
    struct Context;
    std::unique_ptr<Context> context_;
};
std::string sha256_hex(std::string_view bytes);

}  // namespace peacrab
