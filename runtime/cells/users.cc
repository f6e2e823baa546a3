// Made by a child that is gone again: what stays is the descriptor. The maps are written by us, who
// have the right over all ids of the machine, before the child goes on; it forbids nesting from
// inside, where alone that can be said.
#include "cells/users.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "cells/mechanism.h"
#include "cells/report.h"
#include "error.h"

namespace peacrab {
namespace {

void write_map(const std::string& path, const std::string& text) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) throw ErrnoError("cell: ids: " + path);
    write_all(file.get(), text);
}

bool forbid_nesting() noexcept {
    static constexpr const char* kKinds[] = {"user", "mnt", "net",    "pid",
                                             "ipc",  "uts", "cgroup", "time"};
    if (!on(Mechanism::NestedNamespaces)) return true;
    for (const char* kind : kKinds) {
        char path[64];
        ::snprintf(path, sizeof path, "/proc/sys/user/max_%s_namespaces", kind);
        if (!write_text(path, "0")) return false;
    }
    return true;
}

}  // namespace

UniqueFd make_users(uint32_t first) {
    Pipe gate = Pipe::make();
    clone_args args{};
    int pidfd = -1;
    args.flags = CLONE_NEWUSER | CLONE_PIDFD;
    args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
    args.exit_signal = SIGCHLD;
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) throw ErrnoError("cell: user namespace");
    if (pid == 0) {
        char byte;
        ::close(gate.write.get());
        ::_exit(::read(gate.read.get(), &byte, 1) == 1 && forbid_nesting() ? 0 : 1);
    }
    Pidfd child(static_cast<pid_t>(pid), UniqueFd(pidfd));
    const std::string folder = "/proc/" + std::to_string(pid);
    const std::string map = "0 " + std::to_string(first) + " " + std::to_string(kCellIds);
    write_map(folder + "/uid_map", map);
    write_map(folder + "/gid_map", map);
    UniqueFd users(::open((folder + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!users) throw ErrnoError("cell: user namespace");
    write_all(gate.write.get(), "x");
    if (!child.wait().ok()) throw Error("cell: user namespace: nested ones cannot be forbidden");
    return users;
}

}  // namespace peacrab
