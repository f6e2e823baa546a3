// Names are ours: no byte of anybody else's is in one.
#include "messaging/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

namespace peacrab {

UniqueFd Spool::create(const std::string& name) {
    make_directories(folder_);
    UniqueFd file(::open(path(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) throw ErrnoError("spool");
    return file;
}

UniqueFd Spool::open(const std::string& name) const {
    UniqueFd file(::open(path(name).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!file) throw ErrnoError("spool");
    return file;
}

void Spool::remove(const std::string& name) noexcept {
    if (!name.empty()) ::unlink(path(name).c_str());
}

void Spool::keep_only(const std::set<std::string>& names) noexcept {
    for (const std::string& name : list_folder(folder_))
        if (!names.contains(name)) remove(name);
}

uint64_t Spool::room() const {
    uint64_t used = 0;
    for (const std::string& name : list_folder(folder_)) {
        struct stat info;
        if (::stat(path(name).c_str(), &info) == 0) used += static_cast<uint64_t>(info.st_size);
    }
    return used < kMost ? kMost - used : 0;
}

SpoolFile::SpoolFile(Spool& spool, std::string name)
    : spool_(spool), name_(std::move(name)), file_(spool_.create(name_)), room_(spool_.room()) {}

SpoolFile::~SpoolFile() {
    if (!kept_) spool_.remove(name_);
}

void SpoolFile::sync() {
    if (::fdatasync(file_.get()) < 0) throw ErrnoError("spool: sync");
}

void SpoolFile::write(std::string_view bytes) {
    if (bytes.size() > room_ - size_) throw Error("too much else is on its way just now: try again later");
    size_ += bytes.size();
    sum_.add(bytes);
    try {
        write_all(file_.get(), bytes);
    } catch (const ErrnoError& error) {
        throw Error(error.code() == ENOSPC || error.code() == EDQUOT ? "the disk is full" : "it could not be kept");
    }
}

}  // namespace peacrab
