// The parent's side of a call on the machine's own files: decides once which layers there are, and
// starts each call in them. What the child does: cell_child.cc. Nothing here may fall back to less
// than what was decided.
#include "cells/shared.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "cells/cell_child.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr Milliseconds kTrialLimit{30'000};

std::vector<std::string> environment_for(const std::string& home, const std::string& user) {
    return {kPath,       "HOME=" + home, "USER=" + user,  "LOGNAME=" + user,      "LANG=C.UTF-8",
            "TERM=dumb", "PAGER=cat",    "GIT_PAGER=cat", "GIT_TERMINAL_PROMPT=0"};
}

// The program and its words, as execve wants them; `words` must outlive it.
std::vector<const char*> pointers(const std::vector<std::string>& words) {
    std::vector<const char*> list;
    for (const std::string& word : words) list.push_back(word.c_str());
    list.push_back(nullptr);
    return list;
}

UniqueFd in_memory(const std::string& text) {
    UniqueFd file(::memfd_create("request", MFD_CLOEXEC));
    if (!file) throw ErrnoError("request");
    write_all(file.get(), text);
    if (::lseek(file.get(), 0, SEEK_SET) < 0) throw ErrnoError("request");
    return file;
}

void write_map(const char* path, const std::string& text) {
    const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
    if (!file) throw ErrnoError(std::string("map ids: ") + path);
    write_all(file.get(), text);
}

// In a child: moves into a user and a network namespace of our own and hands them back.
void hand_back_spaces(int socket, const std::string& ids, const std::string& groups) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) throw ErrnoError("unshare");
    // The maps are ours to write only while we are dumpable.
    if (::prctl(PR_SET_DUMPABLE, 1) < 0) throw ErrnoError("map ids");
    write_map("/proc/self/setgroups", "deny");
    write_map("/proc/self/uid_map", ids);
    write_map("/proc/self/gid_map", groups);
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("map ids");
    if (!raise_loopback()) throw ErrnoError("loopback");
    for (const char* path : {"/proc/self/ns/user", "/proc/self/ns/net"}) {
        const UniqueFd space(::open(path, O_RDONLY | O_CLOEXEC));
        if (!space) throw ErrnoError(path);
        send_fd(socket, space.get());
    }
}

// The same for an ordinary user: the network namespace belongs to a user namespace in which only
// our own uid is known.
void make_user_spaces(UniqueFd& users, UniqueFd& network) {
    SocketPair pair = SocketPair::seqpacket();
    const std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("fork");
    if (pid == 0) {
        try {
            hand_back_spaces(pair.theirs.get(), uid + " " + uid + " 1", gid + " " + gid + " 1");
        } catch (const Error& error) {
            log(LogLevel::Debug, std::string("cell: user namespace: ") + error.what());
        }
        ::_exit(0);
    }
    Pidfd child = Pidfd::of_child(pid);
    pair.theirs.reset();
    users = receive_fd(pair.ours.get());
    if (users) network = receive_fd(pair.ours.get());
    (void)child.wait();
    if (!network) throw Error("no user namespaces here");
}

void require_directory(const char* what, const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) < 0)
        throw ErrnoError("cell: " + std::string(what) + ": " + printable(path));
    if (!S_ISDIR(info.st_mode))
        throw Error("cell: " + std::string(what) + ": " + printable(path) + ": not a directory");
}

std::string real_path(const std::string& path) {
    char resolved[PATH_MAX];
    if (!::realpath(path.c_str(), resolved)) throw ErrnoError("cell: " + printable(path));
    return resolved;
}

bool is_within(const std::string& path, const std::string& directory) {
    return path == directory || path.starts_with(directory + "/");
}

// How long the watcher of a call without a pid namespace has to end everybody, before it is ended.
constexpr Milliseconds kGrace{2000};

class SharedCall : public PlaceCall {
  public:
    explicit SharedCall(bool plain) : plain_(plain) {}
    ~SharedCall() override {
        if (!child || !plain_) return;  // Pidfd kills and waits
        kill();
        pollfd one{child.fd(), POLLIN, 0};
        ::poll(&one, 1, static_cast<int>(kGrace.count()));
    }
    // Without a pid namespace the watcher has to find the descendants first.
    void kill() noexcept override {
        child.signal(!killed_ && plain_ ? SIGTERM : SIGKILL);
        killed_ = true;
    }
    // Pid 1 of a namespace of its own cannot be asked; without one the watcher passes it on.
    void terminate() noexcept override {
        if (plain_) child.signal(SIGTERM);
    }

  private:
    bool plain_;
    bool killed_ = false;
};

class SharedPlace : public Place {
  public:
    explicit SharedPlace(CellOptions& options);
    std::unique_ptr<PlaceCall> shell(const ShellCall& call) override;
    std::unique_ptr<PlaceCall> file(const std::string& request) override;
    Posture posture() const override;
    UniqueFd connect(uint16_t) override {
        throw Error("cell: connect: this kind of cell has no network");
    }

  private:
    void find_layers();
    CellPlan plan(const JailFilter& filter) const;
    std::unique_ptr<PlaceCall> start(CellPlan plan, const std::string* request = nullptr) const;
    std::string attempt() const;

    CellOptions options_;
    CellLayers layers_;
    JailFilter shell_, file_, reaper_;
    UniqueFd program_;          // our own binary
    UniqueFd users_, network_;  // the namespaces every call enters
    std::vector<std::string> environment_;
};

CellPlan SharedPlace::plan(const JailFilter& filter) const {
    CellPlan plan;
    plan.layers = layers_;
    plan.user = users_.get();
    plan.network = network_.get();
    plan.filter = &filter;
    plan.reaper_filter = &reaper_;
    plan.jail.directory = options_.workspace.c_str();
    for (const char* covered : {"/tmp", "/run", "/dev/shm"})
        if (is_within(options_.workspace, covered)) plan.kept = options_.workspace.c_str();
    plan.jail.max_open_files = 4096;
    // Counted per uid: where the uid is the person's own, their other programs count too.
    if (layers_.kind == CellLayers::Kind::Plain) plan.jail.max_processes = 4096;
    return plan;
}

std::unique_ptr<PlaceCall> SharedPlace::start(CellPlan plan, const std::string* request) const {
    auto call = std::make_unique<SharedCall>(layers_.kind == CellLayers::Kind::Plain);
    Pipe said = Pipe::make();
    Pipe report = Pipe::make();
    set_nonblocking(said.read.get());
    set_nonblocking(report.read.get());
    const UniqueFd input = request ? in_memory(*request) : UniqueFd();
    const std::vector<const char*> words = pointers(environment_);
    std::vector<const char*> hidden = pointers(options_.hidden);
    hidden.pop_back();
    plan.environment = words.data();
    plan.hidden = hidden;
    plan.input = input.get();
    plan.output = said.write.get();
    plan.report = report.write.get();
    int pidfd = -1;
    const pid_t pid = start_cell_child(plan, pidfd);
    if (pid < 0) throw ErrnoError("fork");
    if (pidfd < 0) {  // without it a command could not be ended
        const int code = errno;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        throw ErrnoError("pidfd", code);
    }
    call->child = Pidfd(pid, UniqueFd(pidfd));
    call->output = std::move(said.read);
    call->output_keeper = std::move(said.write);
    call->report = std::move(report.read);
    return call;
}

// Builds everything and enters the jail, without a program. Empty when it worked.
std::string SharedPlace::attempt() const {
    const std::unique_ptr<PlaceCall> call = start(plan(shell_));
    pollfd one{call->child.fd(), POLLIN, 0};
    if (::poll(&one, 1, static_cast<int>(kTrialLimit.count())) != 1)
        return "a trial call did not end";
    CellReport record{};
    std::span<char> bytes(reinterpret_cast<char*>(&record), sizeof record);
    if (read_some(call->report.get(), bytes).value_or(0) != sizeof record)
        return "a trial call gave no reason";
    record.step[sizeof record.step - 1] = '\0';
    if (record.kind == CellReport::Kind::Failed)
        return std::string(record.step) + ": " + std::strerror(record.value);
    if (record.kind != CellReport::Kind::Exited || record.value != 0) return "a trial call failed";
    return {};
}

SharedPlace::SharedPlace(CellOptions& options) {
    if (::geteuid() == 0)
        throw Error("cell: without a VM peacrab must not be root: start it as an ordinary user");
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("cell: hide memory");
    require_directory("workspace", options.workspace);
    options.workspace = real_path(options.workspace);
    for (std::string& path : options.hidden) {
        struct stat info;
        if (::stat(path.c_str(), &info) < 0) make_directories(path, 0700);
        path = real_path(path);
        if (is_within(options.workspace, path))
            throw Error("cell: workspace: " + printable(options.workspace) + ": lies within " +
                        printable(path) + ", which tools must not see: start in another folder");
    }
    const std::string own = env("HOME"), user = env("USER");
    environment_ =
        environment_for(own.empty() ? options.workspace : own, user.empty() ? "agent" : user);
    options_ = options;
    shell_ = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    file_ = JailFilter::compile(JailClass::File);
    reaper_ = JailFilter::compile(JailClass::Reaper);
    program_ = UniqueFd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    if (!program_) throw ErrnoError("cell: our own program");
    find_layers();
}

void SharedPlace::find_layers() {
    std::string failed;
    try {
        make_user_spaces(users_, network_);
    } catch (const Error& error) {
        failed = error.what();  // only the jail is left to try
    }
    for (const CellLayers candidate : {CellLayers{CellLayers::Kind::Separated, true},
                                       CellLayers{CellLayers::Kind::Separated, false},
                                       CellLayers{CellLayers::Kind::Plain, false}}) {
        if (candidate.kind == CellLayers::Kind::Separated && !network_) continue;
        layers_ = candidate;
        if (!failed.empty()) log(LogLevel::Debug, "cell: not here: " + failed);
        failed = attempt();
        if (failed.empty()) return;
    }
    throw Error("cell: " + failed);
}

std::unique_ptr<PlaceCall> SharedPlace::shell(const ShellCall& call) {
    CellPlan plan = this->plan(shell_);
    // `--`: a command may begin with a dash.
    const char* const arguments[] = {"sh", "-c", "--", call.command.c_str(), nullptr};
    plan.path = "/bin/sh";
    plan.arguments = arguments;
    return start(plan);
}

std::unique_ptr<PlaceCall> SharedPlace::file(const std::string& request) {
    CellPlan plan = this->plan(file_);
    const char* const arguments[] = {"peacrabd", "tool-file", nullptr};
    plan.program = program_.get();
    plan.arguments = arguments;
    // A shell at the limit of its processes must not keep the helper from starting.
    plan.jail.max_processes *= 2;
    return start(plan, &request);
}

Posture SharedPlace::posture() const {
    Posture posture{"interim", {"no cells"}, 0};
    switch (layers_.kind) {
        case CellLayers::Kind::Separated:
            posture.lacks.push_back(
                "shared: no-new-privs, seccomp, own pid, mount and network namespaces (no network); "
                "the files but for /tmp and /run are this machine's");
            if (!layers_.fresh_proc) posture.lacks.push_back("/proc is this machine's");
            break;
        case CellLayers::Kind::Plain:
            posture.lacks.push_back(
                "shared: no-new-privs, seccomp; no user namespaces here: files, network and "
                "processes are not separated");
            break;
    }
    return posture;
}

}  // namespace

std::unique_ptr<Place> make_shared_place(CellOptions& options) {
    return std::make_unique<SharedPlace>(options);
}

}  // namespace peacrab
