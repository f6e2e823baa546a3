// A cell to test in: as root one in its own root directory, made of this machine's files bound
// read-only; as an ordinary user one in place. Undone when dropped.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "cell.h"
#include "error.h"

namespace peacrab::test {

class Folder {
  public:
    Folder() {
        char name[] = "/tmp/peacrab-test-XXXXXX";
        if (!::mkdtemp(name)) throw ErrnoError("test: mkdtemp");
        path = name;
        ::chmod(name, 0755);
    }
    Folder(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::string path;
};

// "/" of this machine, read-only, without what is mounted beneath it.
class Base {
  public:
    Base() {
        const char* at = folder_.path.c_str();
        if (::mount("/", at, nullptr, MS_BIND, nullptr) < 0) throw ErrnoError("test: bind /");
        if (::mount(nullptr, at, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) < 0) {
            const int code = errno;
            ::umount2(at, MNT_DETACH);
            throw ErrnoError("test: bind / read-only", code);
        }
    }
    Base(const Base&) = delete;
    // Unmounted before the folder is removed; if that failed, removing would find a read-only tree.
    ~Base() { ::umount2(folder_.path.c_str(), MNT_DETACH); }
    const std::string& path() const { return folder_.path; }

  private:
    Folder folder_;
};

inline bool is_root() { return ::geteuid() == 0; }

class TestCell {
  public:
    explicit TestCell(int time_factor = 1) : cell(make(time_factor)) {}
    // Where the workspace is on this machine.
    std::string workspace() const { return folder_.path + (is_root() ? "/home/workspace" : ""); }
    CommandResult run(const std::string& command, Milliseconds limit = Seconds(20)) {
        return cell.shell(command, limit).run();
    }

  private:
    Cell make(int time_factor) {
        CellOptions options;
        options.time_factor = time_factor;
        options.place = is_root() ? CellOptions::Place::Vm : CellOptions::Place::Here;
        options.workspace = is_root() ? "/home/agent/workspace" : folder_.path;
        if (is_root()) {
            base_.emplace();
            options.base = base_->path();
            options.home = folder_.path + "/home";
        }
        return Cell(options);
    }
    Folder folder_;
    std::optional<Base> base_;

  public:
    Cell cell;
};

// Runs `act` in a child that is an ordinary user, and gives what it returned. As an ordinary user
// already: as ourselves. Beyond 64 KiB it is cut.
inline std::string as_ordinary_user(const std::function<std::string()>& act) {
    Pipe pipe = Pipe::make();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("test: fork");
    if (pid == 0) {
        std::string said;
        if (is_root() && (::setresgid(54321, 54321, 54321) < 0 ||
                          ::setresuid(54321, 54321, 54321) < 0))
            ::_exit(1);
        try {
            said = act();
        } catch (const std::exception& error) {
            said = std::string("threw: ") + error.what();
        }
        write_all(pipe.write.get(), said.substr(0, 60000));
        ::_exit(0);
    }
    pipe.write.reset();
    std::string said;
    std::vector<char> buffer(65536);
    while (const size_t n = read_some(pipe.read.get(), buffer).value_or(0))
        said.append(buffer.data(), n);
    ::waitpid(pid, nullptr, 0);
    return said;
}

// A folder that belongs to that ordinary user.
inline void give_to_ordinary_user(const std::string& path) {
    if (is_root() && ::chown(path.c_str(), 54321, 54321) < 0) throw ErrnoError("test: chown");
}

}  // namespace peacrab::test
