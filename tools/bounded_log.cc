// Bounded log files. The size is asked of the file and not counted, because with take_stderr()
// others write to it too. Must not throw once it is open: logging is never why a machine ends.
#include "bounded_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "error.h"

namespace peacrab {

BoundedLog::BoundedLog(std::string path, Bytes both_files)
    : path_(std::move(path)), half_(both_files.count / 2) {
    open();
}

void BoundedLog::open() {
    UniqueFd fresh(::open(path_.c_str(),
                          O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fresh) throw ErrnoError("log: " + path_);
    fd_ = std::move(fresh);
    if (is_stderr_) ::dup2(fd_.get(), STDERR_FILENO);
}

void BoundedLog::take_stderr() {
    is_stderr_ = true;
    if (::dup2(fd_.get(), STDERR_FILENO) < 0) throw ErrnoError("log: " + path_);
}

void BoundedLog::append(std::string_view bytes, std::string_view prefix) {
    std::string text;
    for (const std::string& line : split(bytes, '\n')) {
        if (line_begins_ && !line.empty()) text += prefix;
        // A carriage return before the newline is how consoles end lines.
        text += printable(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
        text += '\n';
        line_begins_ = true;
    }
    text.pop_back();  // the last part has no newline of its own
    line_begins_ = bytes.empty() ? line_begins_ : bytes.ends_with('\n');
    struct stat info;
    if (::fstat(fd_.get(), &info) == 0 &&
        static_cast<uint64_t>(info.st_size) + text.size() > half_) {
        try {
            if (::rename(path_.c_str(), (path_ + ".1").c_str()) == 0) open();
        } catch (const Error&) {
            return;  // no new file: the old one is not let grow
        }
    }
    try {
        write_all(fd_.get(), std::string_view(text).substr(0, half_));
    } catch (const Error&) {
    }
}

}  // namespace peacrab
