// Files on their way between a messenger and an agent: in a folder of ours alone, bounded in total, each gone when it
// has arrived. What is here may be lost: it is fetched again from where it came.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "audit.h"
#include "os.h"

namespace peacrab {

class Spool {
  public:
    static constexpr uint64_t kMost = uint64_t{256} << 20;  // bytes of all
    explicit Spool(std::string folder) : folder_(std::move(folder)) {}

    // Empty, and ours alone to read. Throws Error.
    UniqueFd create(const std::string& name);
    UniqueFd open(const std::string& name) const;  // to be read; throws Error
    void remove(const std::string& name) noexcept;
    void keep_only(const std::set<std::string>& names) noexcept;  // of an earlier run
    uint64_t room() const;                                        // bytes that may still come

  private:
    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    std::string folder_;
};

// One that is being filled; gone with this object unless it was kept.
class SpoolFile {
  public:
    SpoolFile(Spool& spool, std::string name);
    ~SpoolFile();
    SpoolFile(const SpoolFile&) = delete;
    SpoolFile& operator=(const SpoolFile&) = delete;
    // Throws Error, for the model: it is larger than the spool has room for, or the disk is full.
    void write(std::string_view bytes);
    void sync();  // on the disk: of what cannot be fetched again
    void keep() { kept_ = true; }
    uint64_t size() const { return size_; }
    const std::string& name() const { return name_; }
    std::string sha256() { return sum_.hex(); }  // once

  private:
    Spool& spool_;
    std::string name_;
    UniqueFd file_;
    Sha256 sum_;
    uint64_t size_ = 0, room_ = 0;
    bool kept_ = false;
};

}  // namespace peacrab
