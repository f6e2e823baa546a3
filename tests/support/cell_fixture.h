// A cell to test in: in our own guest (guest_main.h) a container, elsewhere one in place, as an
// ordinary user. Undone when dropped.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
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
#include "folder.h"

namespace peacrab::test {

// "/" of this machine, without what is mounted beneath it. It is read-only before it can be seen,
// and its mount point is only ever removed by rmdir: nothing can go wrong in a way that deletes it.
class Base {
  public:
    Base() {
        char name[] = "/tmp/peacrab-base-XXXXXX";
        if (!::mkdtemp(name)) throw ErrnoError("test: mkdtemp");
        path_ = name;
        const UniqueFd tree(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
        mount_attr attr{};
        attr.attr_set = MOUNT_ATTR_RDONLY;
        if (!tree || ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attr, sizeof attr) < 0 ||
            ::move_mount(tree.get(), "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
            const int code = errno;
            ::rmdir(name);
            throw ErrnoError("test: bind / read-only", code);
        }
    }
    Base(const Base&) = delete;
    ~Base() {
        ::umount2(path_.c_str(), MNT_DETACH);
        ::rmdir(path_.c_str());
    }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline bool is_root() {
    return ::geteuid() == 0;
}

// Our own microVM, started by tests/support/guest_unit: /base, /state, control groups.
inline bool in_guest() {
    return ::access("/unit-arguments", F_OK) == 0;
}

// Without a guest there are no containers, and root is refused: the whole program gives it up.
inline void stay_ordinary() {
    if (in_guest() || !is_root()) return;
    if (::setgroups(0, nullptr) < 0 || ::setresgid(54321, 54321, 54321) < 0 ||
        ::setresuid(54321, 54321, 54321) < 0)
        throw ErrnoError("test: become an ordinary user");
}

// Is there a place whose processes, network and rights are apart from this machine's? Not where user
// namespaces are forbidden, as in a chroot or in many containers.
inline bool kept_apart() {
    static const bool apart = [] {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
        int status = 1;
        return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
    }();
    return apart || in_guest();
}

// Options of a container of its own; its files stay after it, until the guest ends.
inline CellOptions guest_options() {
    static uint32_t made = 0;
    CellOptions options;
    options.place = CellOptions::Place::Cell;
    options.slot = ++made;
    options.agent = "test-" + std::to_string(made);
    options.base = "/base";
    options.folder = "/state/agents/" + options.agent;
    options.workspace = "/home/agent/workspace";
    options.limits.memory = MiB(256);
    options.limits.disk = MiB(512);
    return options;
}

class TestCell {
  public:
    explicit TestCell(int time_factor = 1) : cell(make(time_factor)) {}
    // Where the workspace is on this machine.
    std::string workspace() const {
        return in_guest() ? cell.options().folder + "/home/workspace" : folder_->path;
    }
    CommandResult run(const std::string& command, Milliseconds limit = Seconds(20)) {
        return cell.shell({command, limit}).run();
    }

  private:
    Cell make(int time_factor) {
        CellOptions options;
        if (in_guest()) {
            options = guest_options();
        } else {
            folder_.emplace();
            options.place = CellOptions::Place::Here;
            options.workspace = folder_->path;
        }
        options.time_factor = time_factor;
        return Cell(options);
    }
    std::optional<Folder> folder_;

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
        if (is_root() &&
            (::setresgid(54321, 54321, 54321) < 0 || ::setresuid(54321, 54321, 54321) < 0))
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
