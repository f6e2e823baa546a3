// Tar, as a stream in pieces of any size: files, folders and symbolic links, nothing else.
//
// Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header"; GNU tar's long names ('L', 'K')
// and sizes in base 256 are read, not written. Every archive is hostile: all is bounded, nothing is
// allocated by what a header claims, and what a reader hands on is a path beneath wherever it is put:
// relative, without `..`, `.`, empty parts or NUL. What links point to is the owner's to judge.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "types.h"

namespace peacrab {

struct TarEntry {
    enum class Kind { File, Folder, Link } kind = Kind::File;
    std::string path = {};
    std::string target = {};  // of a link
    uint32_t mode = 0;   // permissions alone: never more than 0777
    uint64_t size = 0;   // of a file
    int64_t mtime = 0;   // seconds since 1970
};

struct TarLimits {
    size_t name = 4095;  // bytes of a path, or of what a link points to; 255 of each part
    size_t depth = 64;   // parts of a path
    size_t entries = 100'000;  // with those that are skipped
    Bytes file = GiB(1);
    Bytes total = GiB(1);  // of all files, with those that are skipped
};

// A path as it is handed on; "" for the folder itself. Throws Error for one that leads elsewhere.
std::string tar_path(std::string_view path, const TarLimits& limits = {});

class TarReader {
  public:
    struct Handlers {
        std::function<void(const TarEntry&)> begin = {};    // data comes only for files
        std::function<void(std::string_view)> data = {};    // exactly `size` bytes in all
        std::function<void()> end = {};                     // of the entry that was begun last
    };
    explicit TarReader(Handlers handlers, TarLimits limits = {});
    // Gives how many bytes it took: all of them, unless the archive has ended in between. Throws Error
    // for what is no archive, or beyond the limits; what handlers throw passes through. It is of no
    // further use then.
    size_t feed(std::string_view bytes);
    bool ended() const { return state_ == State::Ended; }
    // Hard links, devices and pipes: neither made nor handed on.
    size_t skipped() const { return skipped_; }

  private:
    enum class State { Header, Body, Padding, Ended };
    enum class Body { Nothing, File, Pax, LongName, LongTarget };
    void header();
    void record(char type);
    void begin(char type);
    void skip(uint64_t size);
    void body(std::string_view bytes);
    void end_body();
    void read_pax();
    void forget_extensions();

    Handlers handlers_;
    TarLimits limits_;
    State state_ = State::Header;
    Body kind_ = Body::Nothing;
    std::string block_;    // of a header that is not whole yet
    uint64_t left_ = 0;    // of the body
    size_t padding_ = 0;   // behind it
    std::string extra_;    // a body that is about the next entry
    bool zeros_ = false;   // one block of zeros was seen
    // What extensions say of the next entry; "" and false: nothing.
    std::string path_, target_;
    uint64_t size_ = 0;
    bool has_size_ = false, has_mtime_ = false;
    int64_t mtime_ = 0;
    size_t entries_ = 0, skipped_ = 0;
    uint64_t total_ = 0;
};

class TarWriter {
  public:
    explicit TarWriter(std::function<void(std::string_view)> out) : out_(std::move(out)) {}
    // A file's data() must be exactly as much as it says.
    void begin(const TarEntry& entry);
    void data(std::string_view bytes);
    void finish();  // the end of the archive

  private:
    void header(const TarEntry& entry, char type, const std::string& path, const std::string& target);
    void pad(uint64_t size);
    std::function<void(std::string_view)> out_;
    uint64_t left_ = 0, size_ = 0;
};

}  // namespace peacrab
