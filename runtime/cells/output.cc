// Output is hostile in its amount: a flood must cost neither memory nor the disk, nor hold up who
// reads it. The file is written by the warden in a folder no agent can write, under a name that did
// not exist; the disk's last part is left alone, because our writes would not be refused it.
#include "cells/output.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "error.h"

namespace peacrab {
namespace {

constexpr int64_t kMaxNumber = 999'999'999;
constexpr size_t kSlack = size_t{1} << 20;  // of the tail: cut seldom, not at every read

std::string file_name(int64_t number) {
    char name[32];
    std::snprintf(name, sizeof name, "out-%06lld.txt", static_cast<long long>(number));
    return name;
}

// 0: not one of ours.
int64_t number_of(const char* name) {
    long long number = 0;
    if (std::sscanf(name, "out-%9lld.txt", &number) != 1 || number < 1) return 0;
    return file_name(number) == name ? number : 0;
}

// Number → size of each of our files.
std::map<int64_t, uint64_t> list(int folder) {
    std::map<int64_t, uint64_t> files;
    // A description of its own: a duplicate would share the place read so far.
    const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) throw ErrnoError("output: list");
    DIR* directory = ::fdopendir(fd);
    if (!directory) {
        ::close(fd);
        throw ErrnoError("output: list");
    }
    while (const dirent* entry = ::readdir(directory)) {
        const int64_t number = number_of(entry->d_name);
        struct stat info;
        if (number && ::fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            files[number] = static_cast<uint64_t>(info.st_blocks) * 512;
    }
    ::closedir(directory);
    return files;
}

bool continues(char c) {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// A UTF-8 sequence has at most three bytes after its first.
std::string_view without_torn_end(std::string_view text) {
    for (size_t back = 1; back <= std::min<size_t>(4, text.size()); ++back) {
        const char c = text[text.size() - back];
        if (continues(c)) continue;
        if (static_cast<unsigned char>(c) >= 0xc0) text.remove_suffix(back);
        break;
    }
    return text;
}

std::string_view without_torn_start(std::string_view text) {
    for (int i = 0; i < 3 && !text.empty() && continues(text.front()); ++i) text.remove_prefix(1);
    return text;
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path, std::string seen_as)
    : seen_as_(std::move(seen_as)) {
    make_directories(path, 0755);
    folder_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder_) throw ErrnoError("output: folder");
    const std::map<int64_t, uint64_t> files = list(folder_.get());
    if (!files.empty()) next_ = files.rbegin()->first + 1;
}

void OutputFolder::make_room() {
    std::map<int64_t, uint64_t> files = list(folder_.get());
    uint64_t size = Capture::kMaxCall.count;
    for (const auto& [number, bytes] : files) size += bytes;
    size_t count = files.size() + 1;
    for (const auto& [number, bytes] : files) {
        if (count <= kMaxFiles && size <= kMaxSize.count) return;
        if (open_.contains(number)) continue;
        if (::unlinkat(folder_.get(), file_name(number).c_str(), 0) < 0) continue;
        --count;
        size -= bytes;
    }
}

OutputFolder::File OutputFolder::make() {
    make_room();
    // Without a cell, others may be at work in the same folder.
    for (int tries = 0; tries < 100 && next_ <= kMaxNumber; ++tries) {
        const int64_t number = next_++;
        const std::string name = file_name(number);
        UniqueFd fd(::openat(folder_.get(), name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC,
                             0644));
        if (!fd && errno == EEXIST) continue;
        if (!fd || ::fchmod(fd.get(), 0644) < 0) throw ErrnoError("output: file");
        open_.insert(number);
        return {std::move(fd), number, seen_as_ + "/" + name};
    }
    throw Error("output: file: no name is free");
}

void OutputFolder::close(const File& file) {
    open_.erase(file.number);
}

bool OutputFolder::nearly_full() const {
    struct statvfs info;
    return ::fstatvfs(folder_.get(), &info) < 0 ||
           static_cast<uint64_t>(info.f_bavail) * info.f_frsize < kReserve.count;
}

Capture::Capture(size_t limit, std::shared_ptr<OutputFolder> folder, Beyond beyond)
    : half_(limit / 2), folder_(std::move(folder)), beyond_(beyond) {}

Capture::~Capture() {
    if (file_.fd) folder_->close(file_);
}

void Capture::append(std::string_view bytes) {
    if (folder_ && !lost_ && total_ + bytes.size() > 2 * half_) keep(bytes);
    total_ += bytes.size();
    const size_t first = std::min(bytes.size(), half_ - head_.size());
    head_.append(bytes.substr(0, first));
    tail_.append(bytes.substr(first));
    if (tail_.size() > half_ + kSlack) tail_.erase(0, tail_.size() - half_);
}

// The file is whole or `lost_` says that it is not; a call never fails because of it.
void Capture::keep(std::string_view bytes) {
    try {
        if (!file_.fd) {
            if (folder_->nearly_full()) throw Error("output: the disk is nearly full");
            file_ = folder_->make();
            lost_ = !write_out(head_) || !write_out(tail_);
        }
        const uint64_t most = (beyond_ == Beyond::Stop ? kMaxCall : kMaxBackground).count;
        if (beyond_ == Beyond::BeginAnew && written_ + bytes.size() > most) {
            if (::ftruncate(file_.fd.get(), 0) < 0) throw ErrnoError("output: begin anew");
            written_ = 0;
            anew_ = true;
            lost_ = !write_out("[what came before was dropped]\n");
        }
        lost_ = lost_ || !write_out(bytes.substr(0, most - std::min(most, written_)));
    } catch (const Error& error) {
        log(LogLevel::Info, error.what());
        lost_ = true;
    }
}

bool Capture::write_out(std::string_view bytes) {
    // Looked at once a MiB: a statvfs for each read would cost more than the read.
    if (written_ >> 20 != (written_ + bytes.size()) >> 20 && folder_->nearly_full()) return false;
    while (!bytes.empty()) {
        const ssize_t n = ::write(file_.fd.get(), bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        written_ += static_cast<uint64_t>(n);
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
}

// Ends the line that says how much was cut.
std::string Capture::where() const {
    if (!folder_) return {};
    if (kept().empty()) return "; it was not kept: the disk is full";
    if (lost_) return "; the beginning is in " + kept() + ", the disk is too full for the rest";
    const char* what = anew_ ? "; the end of it is in " : "; all of it is in ";
    return what + kept() + ": go on with read and offset, or sed and grep";
}

std::string Capture::text() const {
    if (total_ <= 2 * half_) return head_ + tail_;
    const std::string_view head = without_torn_end(head_);
    const std::string_view tail =
        without_torn_start(std::string_view(tail_).substr(tail_.size() - half_));
    const uint64_t cut = total_ - head.size() - tail.size();
    return std::string(head) + "\n[... " + std::to_string(cut) + " bytes cut" + where() +
           " ...]\n" + std::string(tail);
}

// The tail is at least half of the limit whenever it has been cut.
std::string Capture::last(size_t count) const {
    if (count <= tail_.size()) return tail_.substr(tail_.size() - count);
    const std::string all = head_ + tail_;
    return all.substr(all.size() - std::min(count, all.size()));
}

std::string Capture::news() {
    const uint64_t fresh = total_ - told_;
    told_ = total_;
    if (fresh <= half_) return last(static_cast<size_t>(fresh));
    const std::string all = last(half_);
    const std::string_view tail = without_torn_start(all);
    return "[... " + std::to_string(fresh - tail.size()) + " bytes not shown" + where() +
           " ...]\n" + std::string(tail);
}

}  // namespace peacrab
