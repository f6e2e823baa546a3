// The holder's steps, then those of a call, each in an order that is the protection: descriptors of
// the warden are closed before any path the agent may have planted is followed, the domain is
// entered before anything is started, and the filter comes last. The holder serves one call at a
// time and runs nothing of the agent's itself; its memory is a copy of the warden's, so it is never
// dumpable.
#include "cells/shared_child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cells/mechanism.h"
#include "cells/probe.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

// Where descriptors stand: of the holder, whose control socket is where reports go (kReport), and
// of a call.
constexpr int kProgram = 4, kUsers = 5, kNetwork = 6;
constexpr int kClean = 5, kRules = 6;
constexpr int kAsked = 6;  // instead, of a call that was begun before it was known

bool tmpfs(const char* path, unsigned long flags, const char* options) noexcept {
    return ::mount("tmpfs", path, "tmpfs", flags, options) == 0;
}

void hide(const char* path) noexcept {
    struct stat info;
    require(::stat(path, &info) == 0, "hide");
    if (S_ISDIR(info.st_mode))
        require(tmpfs(path, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
                      "mode=0555,size=4k,nr_inodes=2"),
                "hide");
    else
        require(::mount("/dev/null", path, nullptr, MS_BIND, nullptr) == 0, "hide");
}

void make_path(const char* path) noexcept {
    char part[PATH_MAX];
    const size_t length = ::strlen(path);
    require(length < sizeof part, "keep workspace");
    ::memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; ++i) {
        if (part[i] != '/' && part[i] != '\0') continue;
        const char end = part[i];
        part[i] = '\0';
        require(::mkdir(part, 0755) == 0 || errno == EEXIST, "keep workspace");
        part[i] = end;
    }
}

enum class Access { Same, ReadOnly };

// A tree of the machine's that what is mounted next will cover; -1 for no path.
int take_aside(const std::string& path, Access access) noexcept {
    if (path.empty()) return -1;
    const int tree = ::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    require(tree >= 0, "keep what tools see");
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (access == Access::ReadOnly)
        require(::mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0,
                "keep output read-only");
    return tree;
}

void put_back(int tree, const std::string& path) noexcept {
    if (tree < 0) return;
    make_path(path.c_str());
    require(::move_mount(tree, "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0,
            "keep what tools see");
    ::close(tree);
}

// Among the machine's files are doors past the jail: sockets of the person's session bus, service
// manager, containers and terminal multiplexer, the terminal itself, others' shared memory. Where
// they usually are, a place has something empty of its own.
void cover_doors(const HolderPlan& plan) noexcept {
    struct Cover {
        const char* path;
        const char* type;
        const char* options;
    };
    static constexpr Cover kCovers[] = {
        {"/tmp", "tmpfs", "mode=1777,nr_inodes=65536"},
        {"/run", "tmpfs", "mode=0755,size=16m,nr_inodes=4096"},
        {"/dev/shm", "tmpfs", "mode=1777,nr_inodes=4096"},
        {"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,max=64"},
    };
    const int kept = take_aside(plan.kept, Access::Same);
    const int output = take_aside(plan.output, Access::ReadOnly);
    const int shown = take_aside(plan.shown, Access::ReadOnly);
    for (const Cover& cover : kCovers) {
        const unsigned long flags = MS_NOSUID | (*cover.type == 't' ? MS_NODEV : MS_NOEXEC);
        require(::mount(cover.type, cover.path, cover.type, flags, cover.options) == 0 ||
                    errno == ENOENT,
                "cover /tmp, /run and /dev");
    }
    put_back(kept, plan.kept);
    put_back(output, plan.output);
    put_back(shown, plan.shown);
}

// As an ordinary user, in namespaces that belong to a user namespace of our own. The files stay the
// machine's, except for what is hidden and the doors.
void separate(const HolderPlan& plan) noexcept {
    require(::setns(kUsers, CLONE_NEWUSER) == 0 && ::setns(kNetwork, CLONE_NEWNET) == 0,
            "namespaces");
    require(::unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) == 0, "namespaces");
    require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
    for (const std::string& path : plan.hidden) hide(path.c_str());
    cover_doors(plan);
    require(::sethostname("peacrab", 7) == 0, "host name");
}

// Again after each change of rights, which clears both.
void bind_to_warden() noexcept {
    require(::prctl(PR_SET_DUMPABLE, 0) == 0, "hide memory");
    require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
}

// Pid 1 of the place: mounts the /proc that shows only it, and of it nothing of ours, and rests. It goes
// with the holder, and everything in the place with it.
[[noreturn]] void rest_as_init(const HolderPlan& plan, int told) noexcept {
    require(::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") == 0,
            "mount /proc");
    require(::signal(SIGCHLD, SIG_IGN) != SIG_ERR, "signals");
    JailOptions options;
    if (const char* step = enter_jail(options, *plan.reaper)) fail(step);
    bind_to_warden();
    if (::write(told, "", 1) != 1) ::_exit(126);
    // The holder's death signal cannot reach us: its domain has no signals out. Its socket can.
    pollfd holder{told, POLLIN, 0};
    while (::poll(&holder, 1, -1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
}

pid_t make_processes(const HolderPlan& plan) noexcept {
    int told[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, told) == 0, "pid 1");
    require(::unshare(CLONE_NEWPID) == 0, "namespaces");
    const pid_t init = ::_Fork();
    require(init >= 0, "pid 1");
    if (init == 0) {
        ::close(told[0]);
        rest_as_init(plan, told[1]);
    }
    ::close(told[1]);  // ours stays open for as long as we live
    char byte;
    const ssize_t n = ::read(told[0], &byte, 1);
    if (n != 1) ::_exit(126);  // it has said why
    return init;
}

// Reaps who has ended, and tells the command's end. What waitpid(2) gave last: 0 or -1.
pid_t reap(pid_t command, bool& told) noexcept {
    for (;;) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, WNOHANG);
        if (pid <= 0) return pid;
        if (pid != command) continue;
        report_end(status);
        told = true;
    }
}

// Kills our own children as often as new orphans turn up. Source: proc(5), "children".
void kill_descendants(pid_t command, bool& told) noexcept {
    char path[64];
    ::snprintf(path, sizeof path, "/proc/self/task/%d/children", ::getpid());
    for (int round = 0; round < 1024; ++round) {
        char pids[4096];
        const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd < 0 ? -1 : ::read(fd, pids, sizeof pids - 1);
        if (fd >= 0) ::close(fd);
        if (n <= 0) return;
        pids[n] = '\0';
        char* at = pids;
        for (long pid; (pid = ::strtol(at, &at, 10)) > 1;) ::kill(static_cast<pid_t>(pid), SIGKILL);
        reap(command, told);
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
}

// Of a command that was begun before it was known: what it is to run, as sent. Nobody asks any more: ends.
const char* await_command() noexcept {
    UniqueFd file;
    try {
        file = receive_fd(kAsked);
    } catch (const Error&) {
    }
    if (!file) ::_exit(126);
    struct stat info;
    require(::fstat(file.get(), &info) == 0 && info.st_size > 0, "command");
    void* const text = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file.get(), 0);
    require(text != MAP_FAILED, "command");
    return static_cast<const char*>(text);  // its last byte is the end of the text
}

// `command`: null: it is still to come.
[[noreturn]] void run_command(const HolderPlan& plan, SharedCallKind kind, const char* command,
                              int gate) noexcept {
    // If the keeper goes, so does the command.
    require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "death signal");
    char byte;
    ssize_t opened;
    while ((opened = ::read(gate, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (opened != 1) ::_exit(126);  // it went before it could take us along
    ::umask(022);
    const bool files = kind == SharedCallKind::Files, file = files || kind == SharedCallKind::File;
    JailOptions jail;
    jail.directory = plan.workspace.c_str();
    jail.otherwise = "/";
    jail.max_open_files = 4096;
    // Counted per uid: where the uid is the person's own, their other programs count too. A shell
    // at the limit must not keep the helper from starting.
    if (plan.layers.kind == SharedLayers::Kind::Plain) jail.max_processes = 4096;
    if (file) jail.max_processes *= 2;
    if (file && on(Mechanism::LandlockFile)) jail.landlock = kRules;
    if (const char* step = enter_jail(jail, file ? *plan.file : *plan.shell)) fail(step);
    if (!command) {
        command = await_command();
        // Meanwhile another folder may have taken its place.
        require(enter_directory(jail.directory) || enter_directory(jail.otherwise), "working directory");
    }
    if (kind == SharedCallKind::Probe) ::_exit(try_effects_in_shared());
    const bool helps = file || kind == SharedCallKind::Fetch;
    const char* const helper[] = {"peacrabd", files ? "tool-files" : file ? "tool-file" : "tool-fetch", mechanism_argument(), nullptr};
    // `--`: a command may begin with a dash.
    const char* const shell[] = {"sh", "-c", "--", command, nullptr};
    const char* environment[32] = {};
    for (size_t i = 0; i < plan.environment.size() && i + 1 < std::size(environment); ++i)
        environment[i] = plan.environment[i].c_str();
    auto* const words = const_cast<char* const*>(environment);
    if (helps)
        ::syscall(SYS_execveat, kProgram, "", const_cast<char* const*>(helper), words,
                  AT_EMPTY_PATH);
    else
        ::execve("/bin/sh", const_cast<char* const*>(shell), words);
    fail("execute");
}

// Until the command has ended and, if it may leave something behind, that has too; or SIGTERM.
void watch(pid_t command, bool outlives, const sigset_t& awaited, bool& told) noexcept {
    for (;;) {
        const pid_t last = reap(command, told);
        if (told && (!outlives || (last < 0 && errno == ECHILD))) return;
        if (::sigwaitinfo(&awaited, nullptr) == SIGTERM) return;
    }
}

[[noreturn]] void keep(const HolderPlan& plan, SharedCallKind kind, const char* command,
                       const int (&descriptors)[7]) noexcept {
    // Our parent is the warden: with it we go, but not before those we have to end.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) ::_exit(126);
    sigset_t awaited;
    ::sigemptyset(&awaited);
    ::sigaddset(&awaited, SIGCHLD);
    ::sigaddset(&awaited, SIGTERM);
    if (::sigprocmask(SIG_BLOCK, &awaited, nullptr) < 0) ::_exit(126);
    arrange_descriptors(descriptors);
    // The warden may have gone before its death could be announced; of a spare the holder may have the other
    // end still, and then nobody will ever ask.
    pollfd reader{kReport, 0, 0};
    if (::poll(&reader, 1, 0) != 0) ::_exit(126);
    if (descriptors[0] < 0) require(::open("/dev/null", O_RDONLY) == 0, "open /dev/null");
    require(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "adopt orphans");
    int gate[2];
    require(::pipe2(gate, O_CLOEXEC) == 0, "gate");
    const pid_t started = ::_Fork();
    require(started >= 0, "fork");
    if (started == 0) {
        ::close(gate[1]);
        ::close(kClean);
        default_signals();
        run_command(plan, kind, command, gate[0]);
    }
    ::close_range(0, kReport - 1, 0);
    ::close(kProgram);
    ::close(kRules);  // or kAsked
    require(::write(gate[1], "", 1) == 1, "gate");
    bool told = false;
    watch(started, kind == SharedCallKind::Background, awaited, told);
    if (!told) ::kill(-started, SIGKILL);
    kill_descendants(started, told);
    [[maybe_unused]] const ssize_t n = ::write(kClean, "", 1);
    ::_exit(0);
}

// --- the holder

std::string read_text(int file) {
    std::string text = read_all(file, kMaxCommand);
    if (text.size() > kMaxCommand) throw Error("command: too long");
    return text;
}

// A keeper, told to the warden. False: there could be none, which it is told too. A child of the warden, not
// of ours: it waits for its calls itself. By the old call: a sandbox around us that has no namespaces to give
// refuses clone3 as well.
bool begin_call(const HolderPlan& plan, SharedCallKind kind, const char* command, const int (&descriptors)[7]) {
    const long pid = ::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) keep(plan, kind, command, descriptors);
    const int32_t answer = pid < 0 ? -errno : static_cast<int32_t>(pid);
    write_all(kReport, {reinterpret_cast<const char*>(&answer), sizeof answer});
    if (pid < 0) return false;
    const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process) throw ErrnoError("holder: pidfd");
    send_fd(kReport, process.get());
    return true;
}

// The next command's processes, up to where it must be known.
void begin_spare(const HolderPlan& plan) {
    const Pipe said = Pipe::make(), report = Pipe::make(), clean = Pipe::make();
    const SocketPair asked = SocketPair::seqpacket();
    const int descriptors[7] = {-1,       said.write.get(),  said.write.get(),  report.write.get(),
                                kProgram, clean.write.get(), asked.theirs.get()};
    if (!begin_call(plan, SharedCallKind::Shell, nullptr, descriptors)) return;
    for (const UniqueFd* fd : {&asked.ours, &said.read, &said.write, &report.read, &clean.read})
        send_fd(kReport, fd->get());
}

// One call. False: the warden has gone.
bool serve(const HolderPlan& plan, const UniqueFd& file_rules) {
    char kind_byte;
    if (read_some(kReport, {&kind_byte, 1}).value_or(0) != 1) return false;
    const auto kind = static_cast<SharedCallKind>(kind_byte);
    if (kind == SharedCallKind::Spare) {
        begin_spare(plan);
        return true;
    }
    UniqueFd fds[4];
    for (UniqueFd& fd : fds)
        if (fd = receive_fd(kReport); !fd) return false;
    const auto& [text, output, report_to, clean] = fds;
    const bool file = kind == SharedCallKind::File || kind == SharedCallKind::Files || kind == SharedCallKind::Fetch;
    const std::string all = file ? std::string() : read_text(text.get());
    const std::string command = all.substr(0, all.find('\0'));
    const UniqueFd said = command.size() < all.size() ? in_memory(all.substr(command.size() + 1)) : UniqueFd();
    const int descriptors[7] = {file ? text.get() : said.get(), output.get(), output.get(),
                                report_to.get(),                kProgram,     clean.get(),
                                file_rules.get()};
    begin_call(plan, kind, command.c_str(), descriptors);
    return true;
}

}  // namespace

void hold(const HolderPlan& plan) noexcept {
    // Before anything else: our memory is a copy of the warden's.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) ::_exit(126);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int descriptors[] = {null,         null,       null,        plan.control,
                               plan.program, plan.users, plan.network};
    arrange_descriptors(descriptors);
    default_signals();
    ::signal(SIGPIPE, SIG_IGN);
    pid_t init = 0;
    if (plan.layers.kind == SharedLayers::Kind::Separated) {
        separate(plan);
        if (plan.layers.own_processes) init = make_processes(plan);
    }
    ::close_range(kUsers, kNetwork, 0);
    ::umask(022);
    const std::string home = plan.own + "/home";
    if (::mkdir(home.c_str(), 0700) < 0 && errno != EEXIST) fail("own home");
    try {
        LandlockRules rules = plan.rules;
        rules.program = kProgram;
        const UniqueFd domain = landlock_ruleset(rules, 1);
        LandlockRules of_helper;
        of_helper.write = {plan.workspace};
        of_helper.read = plan.rules.read;
        // What a helper that is not static is loaded from.
        of_helper.execute = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache"};
        of_helper.program = kProgram;
        const UniqueFd file_rules = landlock_ruleset(of_helper, 1);
        JailOptions jail;
        jail.max_open_files = 4096;
        jail.max_processes = 1 << 20;  // a call's own
        jail.landlock = domain.get();
        if (const char* step = drop_privileges(jail)) fail(step);
        bind_to_warden();
        report(CellReport::Kind::Exited, 0, "ready");
        if (init) {
            const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, init, 0)));
            if (!process) throw ErrnoError("holder: pidfd");
            send_fd(kReport, process.get());
        }
        while (serve(plan, file_rules)) {
        }
    } catch (const ErrnoError& error) {
        errno = error.code();
        fail("landlock");
    } catch (const std::exception& error) {
        log(LogLevel::Error, error.what());
    }
    ::_exit(0);
}

}  // namespace peacrab
