// The parent's side of a tool call: decides once which layers there are, starts the child, collects
// its output within bounds, and ends it.
//
// A call is over when its pid 1 is gone, never when its output is: a background process may hold
// the pipe for ever. The parent therefore keeps a writing end of its own, so that the pipe never
// hangs up, and reads what is left once the child has ended. What the child does: cells/cell_child.cc.
#include "cell.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "cells/cell_child.h"
#include "cells/output.h"
#include "error.h"

namespace peacrab {
namespace {

// How long the watcher of a call without a pid namespace has to end everybody, before it is ended.
constexpr Milliseconds kGrace{2000};
// Read in one step at most: a flood must not keep the owner from its other descriptors.
constexpr size_t kStepBytes = size_t{1} << 20;

}  // namespace

struct Command::State {
    State(size_t limit, std::shared_ptr<OutputFolder> folder, Capture::Beyond beyond)
        : capture(limit, std::move(folder), beyond) {}
    CellLayers::Kind kind = CellLayers::Kind::Root;
    Pidfd child;
    UniqueFd ended_fd;  // the child's pidfd once more: stays open, and itself, after the reaping
    UniqueFd output;
    UniqueFd output_keeper;  // keeps the pipe from hanging up
    UniqueFd report;
    Deadline deadline;
    Capture capture;
    CommandResult result;
    bool killed = false;
    bool ended = false;

    void drain();
    void kill();
    void end(const ChildExit& exit);
    void read_report(const ChildExit& exit);
};

void Command::State::drain() {
    std::array<char, 65536> bytes;
    for (size_t done = 0; done < kStepBytes;) {
        const std::optional<size_t> n = read_some(output.get(), bytes);
        if (n.value_or(0) == 0) return;
        capture.append({bytes.data(), *n});
        done += *n;
    }
}

void Command::State::kill() {
    if (ended) return;
    // Without a pid namespace the watcher has to find the descendants first; if it does not end
    // within its grace, the next step() comes here again.
    child.signal(!killed && kind == CellLayers::Kind::Plain ? SIGTERM : SIGKILL);
    killed = true;
    deadline = Deadline::in(kGrace);
}

void Command::State::read_report(const ChildExit& exit) {
    result.exit = exit;  // unless the child says how the command itself ended
    bool said = false;
    for (int i = 0; i < 4; ++i) {
        CellReport record{};
        std::span<char> bytes(reinterpret_cast<char*>(&record), sizeof record);
        if (read_some(report.get(), bytes).value_or(0) != sizeof record) break;
        record.step[sizeof record.step - 1] = '\0';
        using How = ChildExit::How;
        if (record.kind == CellReport::Kind::Failed) {
            result.failed_step = std::string(record.step) + ": " + std::strerror(record.value);
            result.exit = {};
            return;
        }
        result.exit = {record.kind == CellReport::Kind::Exited ? How::Exited : How::Signalled,
                       record.value};
        said = true;
    }
    // Pid 1 ending without a word is not the command ending well.
    if (!said && exit.how == ChildExit::How::Exited)
        result.failed_step = "start: the child gave no reason";
}

void Command::State::end(const ChildExit& exit) {
    drain();
    read_report(exit);
    result.output = capture.text();
    result.total_bytes = capture.total();
    result.kept_output = capture.kept();
    ended = true;
}

Command::Command(std::unique_ptr<State> state) : state_(std::move(state)) {}
Command::Command(Command&&) noexcept = default;

Command::~Command() {
    if (!state_ || state_->ended || !state_->child) return;
    state_->kill();
    if (state_->kind != CellLayers::Kind::Plain) return;  // Pidfd waits
    pollfd one{state_->child.fd(), POLLIN, 0};
    ::poll(&one, 1, static_cast<int>(kGrace.count()));
}

int Command::output_fd() const {
    return state_->output.get();
}
int Command::exit_fd() const {
    return state_->ended_fd.get();
}
Deadline Command::deadline() const {
    return state_->deadline;
}
Capture& Command::output() {
    return state_->capture;
}

void Command::terminate() {
    // Pid 1 of a namespace of its own cannot be asked; without one the watcher passes it on.
    if (!state_->ended && state_->kind == CellLayers::Kind::Plain) state_->child.signal(SIGTERM);
}

void Command::cancel() {
    if (state_->ended || state_->killed) return;
    state_->result.cancelled = true;
    state_->kill();
}

bool Command::step() {
    State& state = *state_;
    if (state.ended) return true;
    state.drain();
    if (const std::optional<ChildExit> exit = state.child.try_wait()) {
        state.end(*exit);
        return true;
    }
    if (state.deadline.passed()) {
        if (!state.killed) state.result.timed_out = true;
        state.kill();
    }
    return false;
}

CommandResult Command::result() {
    return std::move(state_->result);
}

CommandResult Command::run() {
    while (!step()) {
        pollfd fds[] = {{output_fd(), POLLIN, 0}, {exit_fd(), POLLIN, 0}};
        if (::poll(fds, 2, deadline().poll_timeout()) < 0 && errno != EINTR)
            throw ErrnoError("cell: poll");
    }
    return result();
}

struct Cell::State {
    CellOptions options;
    CellLayers layers;
    std::string home;  // Cell: of the agent, on the state disk
    Posture posture;
    JailFilter shell;
    JailFilter file;
    JailFilter reaper;
    UniqueFd program;         // our own binary
    UniqueFd users, network;  // the namespaces every call enters
    std::vector<std::string> environment;
    std::shared_ptr<OutputFolder> output;  // none: what is cut is not kept

    CellPlan plan(const JailFilter& filter) const;
    struct Bounds {
        size_t output = kMaxOutput;
        Deadline deadline;
        ShellCall::Life life = ShellCall::Life::Call;
        const std::string* request = nullptr;  // of a file call: nothing is kept of its answer
    };
    Deadline in(Milliseconds span) const {
        return Deadline::in(span * std::max(1, options.time_factor));
    }
    Command start(CellPlan plan, const Bounds& bounds) const;
    std::string attempt() const;
    void prepare_cell();
    void prepare_here();
};

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

// An empty network namespace, its loopback up, made once: making and dropping one is what costs
// most in a call. A process that could not go back to its own network must not go on.
UniqueFd make_network() {
    const UniqueFd ours(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!ours) throw ErrnoError("cell: network: /proc/self/ns/net");
    if (::unshare(CLONE_NEWNET) < 0) throw ErrnoError("cell: network: unshare");
    const bool up = raise_loopback();
    const int code = errno;
    UniqueFd made(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::setns(ours.get(), CLONE_NEWNET) < 0) std::abort();
    if (!up) throw ErrnoError("cell: network: loopback", code);
    if (!made) throw Error("cell: network: no descriptor for it");
    return made;
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

// The home belongs to the agent: nothing in it is followed, only what is missing is made.
void prepare_home(const std::string& home, const std::string& workspace) {
    make_directories(home, 0755);
    const UniqueFd at(::open(home.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!at) throw ErrnoError("cell: home: " + printable(home));
    if (::fchown(at.get(), kAgentIds.uid, kAgentIds.gid) < 0) throw ErrnoError("cell: home: owner");
    const std::string prefix = std::string(kCellHome) + "/";
    if (!workspace.starts_with(prefix) || workspace.find('/', prefix.size()) != std::string::npos)
        throw Error("cell: workspace: " + printable(workspace) + ": not directly in " + kCellHome);
    const std::string name = workspace.substr(prefix.size());
    if (::mkdirat(at.get(), name.c_str(), 0755) < 0) {
        if (errno == EEXIST) return;
        throw ErrnoError("cell: workspace");
    }
    if (::fchownat(at.get(), name.c_str(), kAgentIds.uid, kAgentIds.gid, AT_SYMLINK_NOFOLLOW) < 0)
        throw ErrnoError("cell: workspace: owner");
}

std::string real_path(const std::string& path) {
    char resolved[PATH_MAX];
    if (!::realpath(path.c_str(), resolved)) throw ErrnoError("cell: " + printable(path));
    return resolved;
}

bool is_within(const std::string& path, const std::string& directory) {
    return path == directory || path.starts_with(directory + "/");
}

}  // namespace

CellPlan Cell::State::plan(const JailFilter& filter) const {
    CellPlan plan;
    plan.layers = layers;
    plan.base = options.base.c_str();
    plan.home = home.c_str();
    plan.user = users.get();
    plan.network = network.get();
    plan.filter = &filter;
    plan.reaper_filter = &reaper;
    plan.jail.directory = options.workspace.c_str();
    if (layers.kind == CellLayers::Kind::Root) {
        plan.jail.ids = kAgentIds;
        // The workspace is the agent's own to remove or to lock; it could not be mended without a
        // call.
        plan.jail.otherwise = "/";
    }
    for (const char* covered : {"/tmp", "/run", "/dev/shm"})
        if (is_within(options.workspace, covered)) plan.kept = options.workspace.c_str();
    plan.jail.max_open_files = 4096;
    // Counted per uid: where the uid is the person's own, their other programs count too.
    if (layers.kind == CellLayers::Kind::Plain) plan.jail.max_processes = 4096;
    return plan;
}

Command Cell::State::start(CellPlan plan, const Bounds& bounds) const {
    const bool background = bounds.life == ShellCall::Life::Background;
    auto state = std::make_unique<Command::State>(
        bounds.output, bounds.request ? nullptr : output,
        background ? Capture::Beyond::BeginAnew : Capture::Beyond::Stop);
    state->kind = layers.kind;
    state->deadline = background ? Deadline::never() : bounds.deadline;
    try {
        Pipe said = Pipe::make();
        Pipe report = Pipe::make();
        set_nonblocking(said.read.get());
        set_nonblocking(report.read.get());
        const UniqueFd input = bounds.request ? in_memory(*bounds.request) : UniqueFd();
        const std::vector<const char*> words = pointers(environment);
        std::vector<const char*> hidden = pointers(options.hidden);
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
        state->child = Pidfd(pid, UniqueFd(pidfd));
        state->ended_fd = UniqueFd(::fcntl(pidfd, F_DUPFD_CLOEXEC, 0));
        if (!state->ended_fd) throw ErrnoError("pidfd");
        state->output = std::move(said.read);
        state->output_keeper = std::move(said.write);
        state->report = std::move(report.read);
    } catch (const Error& error) {
        state->child.kill_and_reap();
        state->result.failed_step = error.what();
        state->ended = true;
        // Always readable: the owner looks, and learns that it has ended.
        state->output = UniqueFd(::eventfd(1, EFD_CLOEXEC));
        state->ended_fd = UniqueFd(::eventfd(1, EFD_CLOEXEC));
        if (!state->ended_fd) throw;
    }
    return Command(std::move(state));
}

// Builds everything and enters the jail, without a program. Empty when it worked.
std::string Cell::State::attempt() const {
    const CommandResult result = start(plan(shell), {.deadline = in(kTrialLimit)}).run();
    if (!result.failed_step.empty()) return result.failed_step;
    if (result.timed_out) return "a trial call did not end";
    if (!result.exit.ok()) return "a trial call ended by " + result.exit.describe();
    return {};
}

void Cell::State::prepare_cell() {
    if (::geteuid() != 0) throw Error("cell: in a VM the warden must be root");
    if (!options.hidden.empty()) throw Error("cell: hidden paths are for places without a VM");
    require_directory("base", options.base);
    if (options.base == "/") throw Error("cell: base: / itself cannot become a root directory");
    home = options.folder + "/home";
    prepare_home(home, options.workspace);
    layers = {CellLayers::Kind::Root, true};
    network = make_network();
    environment = environment_for(kCellHome, "agent");
    if (const std::string failed = attempt(); !failed.empty()) throw Error("cell: " + failed);
}

void Cell::State::prepare_here() {
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
    environment =
        environment_for(own.empty() ? options.workspace : own, user.empty() ? "agent" : user);
    std::string failed;
    try {
        make_user_spaces(users, network);
    } catch (const Error& error) {
        failed = error.what();  // only the jail is left to try
    }
    for (const CellLayers candidate : {CellLayers{CellLayers::Kind::Separated, true},
                                       CellLayers{CellLayers::Kind::Separated, false},
                                       CellLayers{CellLayers::Kind::Plain, false}}) {
        if (candidate.kind == CellLayers::Kind::Separated && !network) continue;
        layers = candidate;
        if (!failed.empty()) log(LogLevel::Debug, "cell: not here: " + failed);
        failed = attempt();
        if (failed.empty()) return;
    }
    throw Error("cell: " + failed);
}

namespace {

Posture describe(const CellLayers& layers) {
    Posture posture{"interim", {"no cells"}, 0};
    switch (layers.kind) {
        case CellLayers::Kind::Root:
            posture.lacks.push_back(
                "own VM: uid 1000, no capabilities, no-new-privs, seccomp, own pid, mount and "
                "network namespaces per call (no network)");
            break;
        case CellLayers::Kind::Separated:
            posture.lacks.push_back(
                "shared: no-new-privs, seccomp, own pid, mount and network namespaces (no network); "
                "the files but for /tmp and /run are this machine's");
            if (!layers.fresh_proc) posture.lacks.push_back("/proc is this machine's");
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

Cell::Cell(CellOptions options) : state_(std::make_unique<State>()) {
    State& state = *state_;
    state.options = std::move(options);
    if (state.options.place == CellOptions::Place::None) throw Error("cell: no place was given");
    state.shell = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    state.file = JailFilter::compile(JailClass::File);
    state.reaper = JailFilter::compile(JailClass::Reaper);
    state.program = UniqueFd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    if (!state.program) throw ErrnoError("cell: our own program");
    if (state.options.place == CellOptions::Place::Cell)
        state.prepare_cell();
    else
        state.prepare_here();
    const CellOptions& own = state.options;
    if (!own.folder.empty() && own.files == CellOptions::Files::Kept)
        state.output = std::make_shared<OutputFolder>(
            own.folder + "/output",
            own.place == CellOptions::Place::Cell ? kSeenOutput : own.folder + "/output");
    state.posture = describe(state.layers);
}

Cell::Cell(Cell&&) noexcept = default;
Cell::~Cell() = default;

Command Cell::shell(const ShellCall& call) {
    CellPlan plan = state_->plan(state_->shell);
    // `--`: a command may begin with a dash.
    const char* const arguments[] = {"sh", "-c", "--", call.command.c_str(), nullptr};
    plan.path = "/bin/sh";
    plan.arguments = arguments;
    return state_->start(plan, {.deadline = state_->in(call.limit), .life = call.life});
}

Command Cell::file(const std::string& request, Milliseconds limit) {
    CellPlan plan = state_->plan(state_->file);
    const char* const arguments[] = {"peacrabd", "tool-file", nullptr};
    plan.program = state_->program.get();
    plan.arguments = arguments;
    // A shell at the limit of its processes must not keep the helper from starting.
    plan.jail.max_processes *= 2;
    return state_->start(
        plan, {.output = kMaxAnswer, .deadline = state_->in(limit), .request = &request});
}

int Cell::proxy() const {
    return -1;
}
UniqueFd Cell::connect(uint16_t) {
    throw Error("cell: connect: this kind of cell has no network");
}
void Cell::freeze() {}
void Cell::thaw() {}
bool Cell::idle() const {
    return true;
}

const Posture& Cell::posture() const {
    return state_->posture;
}
const CellOptions& Cell::options() const {
    return state_->options;
}

std::string Posture::text() const {
    std::string line = name.empty() ? "none" : name;
    for (size_t i = 0; i < lacks.size(); ++i) line += (i == 0 ? ": " : "; ") + lacks[i];
    return line;
}

}  // namespace peacrab
