// The parent's side of posture shared: decides once which layers there are, keeps the holder that
// starts calls in them, and says what is not given. What the processes do: shared_child.cc. Nothing
// here may fall back to less than what was decided.
#include "cells/shared.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "cells/mechanism.h"
#include "cells/probe.h"
#include "cells/shared_child.h"
#include "cells/shared_relay.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr Milliseconds kTrialLimit{30'000};
constexpr uint16_t kRelayPort = 3128;
// Read and executed, beneath them nothing of the person's own; what is missing is left out.
constexpr const char* kSystem[] = {"/usr",   "/bin",    "/sbin", "/lib", "/lib32",
                                   "/lib64", "/libx32", "/etc",  "/opt", "/var/lib",
                                   "/run",   "/sys",    "/nix",  "/gnu"};
// Written by any program.
constexpr const char* kDevices[] = {"/proc",       "/dev/null",    "/dev/zero", "/dev/full",
                                    "/dev/random", "/dev/urandom", "/dev/tty"};
// These only where the place has its own: elsewhere they are other programs' terminals and memory.
constexpr const char* kOwnDevices[] = {"/dev/ptmx", "/dev/pts", "/dev/shm"};

std::vector<std::string> environment_for(const std::string& own, const std::string& proxy) {
    std::vector<std::string> words = {
        kPath,           "HOME=" + own + "/home", "TMPDIR=" + own, "USER=agent",
        "LOGNAME=agent", "LANG=C.UTF-8",          "TERM=dumb",     "PAGER=cat",
        "GIT_PAGER=cat", "GIT_TERMINAL_PROMPT=0"};
    if (proxy.empty()) return words;
    for (const char* name : {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"})
        words.push_back(std::string(name) + "=" + proxy);
    words.push_back("no_proxy=localhost,127.0.0.1,::1");
    return words;
}

void write_map(const char* path, const std::string& text) {
    const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
    if (!file) throw ErrnoError(std::string("map ids: ") + path);
    write_all(file.get(), text);
}

UniqueFd listen_on_loopback() {
    UniqueFd made(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(kRelayPort);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!made || ::bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) < 0 ||
        ::listen(made.get(), 128) < 0)
        throw ErrnoError("proxy port");
    return made;
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
    send_fd(socket, listen_on_loopback().get());
}

// The same for an ordinary user: the network namespace belongs to a user namespace in which only
// our own uid is known. Who made them, to be reaped: it is ending.
Pidfd make_user_spaces(UniqueFd& users, UniqueFd& network, UniqueFd& listener) {
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
    if (network) listener = receive_fd(pair.ours.get());
    if (!listener) throw Error("no user namespaces here");
    return child;
}

void require_directory(const char* what, const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) < 0)
        throw ErrnoError("cell: " + std::string(what) + ": " + printable(path));
    if (!S_ISDIR(info.st_mode))
        throw Error("cell: " + std::string(what) + ": " + printable(path) + ": not a directory");
}

// Neither a link nor anybody else's: what tools read there must be what we have written.
bool is_our_folder(const std::string& path) {
    struct stat info;
    return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::geteuid();
}

// How long a keeper has to end everybody, before the place is ended.
constexpr Milliseconds kGrace{2000};

// Scratch of the place's own, where it cannot have a /tmp of its own.
class Scratch {
  public:
    Scratch() {
        const std::string in = env("TMPDIR");
        path_ = (in.empty() ? "/tmp" : in) + "/peacrab-XXXXXX";
        if (!::mkdtemp(path_.data())) throw ErrnoError("cell: scratch folder: " + printable(path_));
    }
    Scratch(const Scratch&) = delete;
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

// A command's processes, as they are told of; begun before it is known what it is.
struct Spare {
    Pidfd process;
    UniqueFd asked, output, output_keeper, report, clean;
};

// The holder's process and the socket to it. With a pid namespace all calls end with it.
struct Holder {
    Pidfd process;
    UniqueFd control;
    UniqueFd init;  // pidfd of the place's pid 1, which goes when all of them have
    std::optional<Spare> spare;
    bool spare_comes = false;  // was asked for, and is told of before anything else

    ~Holder() { end(); }
    int32_t told_pid() const;
    Pidfd started() const;
    void ask_spare();
    void take_spare();
    void end() noexcept {
        if (!process) return;
        try {
            take_spare();  // it has to be reaped too
        } catch (const Error&) {
        }
        spare.reset();
        process.kill_and_reap();
        if (!init) return;
        pollfd one{init.get(), POLLIN, 0};
        ::poll(&one, 1, static_cast<int>(kGrace.count()));
    }
};

// Of what was asked for.
int32_t Holder::told_pid() const {
    int32_t pid = 0;
    std::span<char> bytes(reinterpret_cast<char*>(&pid), sizeof pid);
    if (read_some(control.get(), bytes).value_or(0) != sizeof pid || pid == 0)
        throw Error("cell: its holder has ended: try again");
    if (pid < 0) throw ErrnoError("cell: fork", -pid);
    return pid;
}

Pidfd Holder::started() const {
    const int32_t pid = told_pid();
    UniqueFd told = receive_fd(control.get());
    if (!told) throw Error("cell: its holder has ended: try again");
    return Pidfd(pid, std::move(told));
}

// So that it is made while the model thinks.
void Holder::ask_spare() {
    if (spare || spare_comes) return;
    const char byte = static_cast<char>(SharedCallKind::Spare);
    write_all(control.get(), {&byte, 1});
    spare_comes = true;
}

// Without one, or with one that somebody in the place has ended, the next call begins from nothing.
void Holder::take_spare() {
    if (!std::exchange(spare_comes, false)) return;
    const int32_t pid = told_pid();
    UniqueFd told, asked, output, output_keeper, report, clean;
    bool whole = true;
    for (UniqueFd* fd : {&told, &asked, &output, &output_keeper, &report, &clean})
        whole = (*fd = receive_fd(control.get())) && whole;
    if (!whole) {  // we have no descriptors left
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        return;
    }
    for (const UniqueFd* fd : {&output, &report, &clean}) set_nonblocking(fd->get());
    spare = {Pidfd(pid, std::move(told)), std::move(asked), std::move(output), std::move(output_keeper),
             std::move(report), std::move(clean)};
}

class SharedCall : public PlaceCall {
  public:
    SharedCall(std::shared_ptr<Holder> holder, Spare made)
        : holder_(std::move(holder)), clean_(std::move(made.clean)) {
        child = std::move(made.process);
        output = std::move(made.output);
        output_keeper = std::move(made.output_keeper);
        report = std::move(made.report);
    }
    ~SharedCall() override {
        if (child) {
            kill();
            pollfd one{child.fd(), POLLIN, 0};
            ::poll(&one, 1, static_cast<int>(kGrace.count()));
            child.kill_and_reap();
        }
        // A keeper that was ended by its own call has left somebody behind: the place goes.
        char byte;
        if (read_some(clean_.get(), {&byte, 1}).value_or(0) != 1) holder_->end();
    }
    // The keeper has to find the descendants first.
    void kill() noexcept override {
        child.signal(killed_ ? SIGKILL : SIGTERM);
        killed_ = true;
    }

  private:
    std::shared_ptr<Holder> holder_;
    UniqueFd clean_;
    bool killed_ = false;
};

class SharedPlace : public Place {
  public:
    explicit SharedPlace(CellOptions& options);
    std::unique_ptr<PlaceCall> shell(const ShellCall& call) override;
    std::unique_ptr<PlaceCall> file(const std::string& request) override;
    std::unique_ptr<PlaceCall> fetch(int input) override { return start_reading(SharedCallKind::Fetch, input); }
    std::unique_ptr<PlaceCall> files(UniqueFd stream) override { return start_reading(SharedCallKind::Files, stream.get()); }
    Posture posture() const override;
    UniqueFd connect(uint16_t) override {
        throw Error("cell: connect: servers are reached only in a cell of its own");
    }

  private:
    enum class Network { None, Relay, Port };
    void check_paths(CellOptions& options);
    void find_layers();
    void choose_network();
    std::string output() const { return options_.folder + "/output"; }
    LandlockRules rules() const;
    void start_holder();
    std::string attempt();
    std::unique_ptr<PlaceCall> start(SharedCallKind kind, const std::string& text);
    std::unique_ptr<PlaceCall> start_reading(SharedCallKind kind, int input);
    std::unique_ptr<PlaceCall> start_spare(const std::string& command);
    void ready_holder();

    CellOptions options_;
    SharedLayers layers_;
    Network network_kind_ = Network::None;
    std::optional<ProxyAddress> proxy_;
    std::string unusable_proxy_;  // why tools cannot have the one there is
    JailFilter shell_, file_, reaper_;
    UniqueFd program_;                     // our own binary
    UniqueFd users_, network_, listener_;  // the namespaces every call enters
    std::optional<Scratch> scratch_;
    std::optional<ProxyRelay> relay_;
    size_t probes_ = 0;
    std::shared_ptr<Holder> holder_;
};

bool separated(const SharedLayers& layers) {
    return layers.kind == SharedLayers::Kind::Separated;
}

SharedPlace::SharedPlace(CellOptions& options) {
    if (::geteuid() == 0)
        throw Error("cell: without a VM peacrab must not be root: start it as an ordinary user");
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("cell: hide memory");
    if (landlock_version() < 1)
        throw Error(
            "cell: posture shared needs Landlock, which this kernel has not or not switched on "
            "(Linux 5.13; /sys/kernel/security/lsm lists it): use `peacrab ask`, in a VM");
    check_paths(options);
    options_ = options;
    try {
        proxy_ = proxy_of_environment();
    } catch (const Error& error) {
        unusable_proxy_ = error.what();  // then tools have no way out, which the posture says
    }
    file_ = JailFilter::compile(JailClass::File);
    reaper_ = JailFilter::compile(JailClass::Reaper);
    program_ = UniqueFd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    if (!program_) throw ErrnoError("cell: our own program");
    find_layers();
}

void SharedPlace::check_paths(CellOptions& options) {
    require_directory("workspace", options.workspace);
    options.workspace = require_real_path("cell", options.workspace);
    if (!options.folder.empty()) try {
        make_directories(options.folder + "/output", 0755);
        // A tool that was started above them may have put links there.
        if (!is_our_folder(options.folder) || !is_our_folder(options.folder + "/output"))
            throw Error("cell: kept output: " + printable(options.folder) + ": is or holds a link");
        options.folder = require_real_path("cell", options.folder);
        // There a tool could write it, and have us write where it pleases.
        if (is_within(options.folder, options.workspace)) options.folder.clear();
    } catch (const Error& error) {  // the posture says that nothing is kept
        log(LogLevel::Debug, error.what());
        options.folder.clear();
    }
    if (!options.shown.from.empty()) {
        if (!is_our_folder(options.shown.from))
            throw Error("cell: what is shown: " + printable(options.shown.from) + ": is or holds a link");
        options.shown.from = options.shown.as = require_real_path("cell", options.shown.from);
        // There a tool could write it.
        if (is_within(options.shown.from, options.workspace)) options.shown = {};
    }
    for (std::string& path : options.hidden) {
        struct stat info;
        if (::stat(path.c_str(), &info) < 0) make_directories(path, 0700);
        path = require_real_path("cell", path);
        if (is_within(options.workspace, path))
            throw Error("cell: workspace: " + printable(options.workspace) + ": lies within " +
                        printable(path) + ", which tools must not see: start in another folder");
    }
}

void SharedPlace::choose_network() {
    using Kind = JailFilter::Network;
    relay_.reset();
    network_kind_ = Network::None;
    Kind kind = Kind::None;
    if (separated(layers_)) {
        kind = Kind::Own;  // loopback, and what listens there
        if (proxy_) {
            relay_.emplace(*proxy_, listener_.get());
            network_kind_ = Network::Relay;
        }
    } else if (proxy_ && landlock_version() >= 4) {
        kind = Kind::Tcp;
        network_kind_ = Network::Port;
    }
    shell_ = JailFilter::compile(JailClass::Shell, kind);
}

// What can be had of the machine's files. Beneath no path of these may what is hidden lie, unless
// it is covered.
LandlockRules SharedPlace::rules() const {
    LandlockRules rules;
    const std::string own = separated(layers_) ? "/tmp" : scratch_->path();
    rules.write = {options_.workspace, own};
    rules.execute = {options_.workspace, own};
    rules.execute.insert(rules.execute.end(), std::begin(kSystem), std::end(kSystem));
    if (!options_.folder.empty()) {
        if (!is_our_folder(output()))
            throw Error("cell: kept output: " + printable(output()) + ": is no folder of ours any more");
        rules.read = {output()};
    }
    if (!options_.shown.from.empty()) {
        rules.execute.push_back(options_.shown.from);
        rules.read.push_back(options_.shown.from);  // the file helper's as well
    }
    rules.write.insert(rules.write.end(), std::begin(kDevices), std::end(kDevices));
    if (separated(layers_)) {
        rules.write.insert(rules.write.end(), std::begin(kOwnDevices), std::end(kOwnDevices));
        rules.tcp = LandlockRules::Tcp::Any;  // the network is its own
        return rules;
    }
    std::vector<std::string> all = rules.execute;
    all.insert(all.end(), rules.read.begin(), rules.read.end());
    for (const std::string& path : options_.hidden)
        for (const std::string& seen : all)
            if (is_within(path, seen))
                throw Error("cell: " + printable(path) + ": lies within " + printable(seen) +
                            ", which tools see here: start in another folder");
    if (network_kind_ == Network::Port) {
        rules.tcp = LandlockRules::Tcp::Listed;
        rules.ports = {proxy_->port};
    }
    return rules;
}

void SharedPlace::start_holder() {
    SocketPair pair = SocketPair::seqpacket();
    HolderPlan plan;
    plan.layers = layers_;
    if (separated(layers_)) plan.hidden = options_.hidden;
    for (const char* covered : {"/tmp", "/run", "/dev/shm"}) {
        if (is_within(options_.workspace, covered)) plan.kept = options_.workspace;
        if (separated(layers_) && !options_.folder.empty() && is_within(output(), covered))
            plan.output = output();
        if (separated(layers_) && is_within(options_.shown.from, covered)) plan.shown = options_.shown.from;
    }
    plan.workspace = options_.workspace;
    plan.own = separated(layers_) ? "/tmp" : scratch_->path();
    plan.environment = environment_for(
        plan.own, network_kind_ == Network::Relay ? "http://127.0.0.1:" + std::to_string(kRelayPort)
                  : network_kind_ == Network::Port ? proxy_->url()
                                                   : std::string());
    plan.rules = rules();
    plan.control = pair.theirs.get();
    plan.program = program_.get();
    plan.network = separated(layers_) ? network_.get() : -1;
    plan.users = separated(layers_) ? users_.get() : -1;
    plan.shell = &shell_;
    plan.file = &file_;
    plan.reaper = &reaper_;
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("cell: holder: fork");
    if (pid == 0) hold(plan);
    holder_ = std::make_shared<Holder>();
    holder_->process = Pidfd::of_child(pid);
    holder_->control = std::move(pair.ours);
    pair.theirs.reset();
    pollfd one{holder_->control.get(), POLLIN, 0};
    CellReport record{};
    std::span<char> bytes(reinterpret_cast<char*>(&record), sizeof record);
    if (::poll(&one, 1, static_cast<int>(kTrialLimit.count())) != 1 ||
        read_some(holder_->control.get(), bytes).value_or(0) != sizeof record)
        throw Error("cell: holder: gave no reason");
    record.step[sizeof record.step - 1] = '\0';
    if (record.kind != CellReport::Kind::Exited)
        throw Error("cell: " + std::string(record.step) + ": " + std::strerror(record.value));
    if (separated(layers_) && layers_.own_processes) {
        holder_->init = receive_fd(holder_->control.get());
        if (!holder_->init) throw Error("cell: holder: no pid 1");
    }
}

std::unique_ptr<PlaceCall> SharedPlace::start(SharedCallKind kind, const std::string& text) {
    if (text.size() > kMaxCommand && kind != SharedCallKind::File) throw Error("command: too long");
    return start_reading(kind, in_memory(text).get());
}

void SharedPlace::ready_holder() {
    use_mechanisms_of(options_.agent);
    try {
        holder_->take_spare();
    } catch (const Error& error) {
        log(LogLevel::Debug, error.what());
    }
    if (!holder_->process || holder_->process.try_wait()) start_holder();
}

std::unique_ptr<PlaceCall> SharedPlace::start_reading(SharedCallKind kind, int input) {
    ready_holder();
    Pipe said = Pipe::make();
    Pipe report = Pipe::make();
    Pipe clean = Pipe::make();
    for (const Pipe* pipe : {&said, &report, &clean}) set_nonblocking(pipe->read.get());
    const int control = holder_->control.get();
    const char byte = static_cast<char>(kind);
    write_all(control, {&byte, 1});
    for (const int fd : {input, said.write.get(), report.write.get(), clean.write.get()})
        send_fd(control, fd);
    Pidfd process = holder_->started();
    holder_->ask_spare();
    return std::make_unique<SharedCall>(holder_, Spare{std::move(process), {}, std::move(said.read), std::move(said.write),
                                                       std::move(report.read), std::move(clean.read)});
}

// Null: there is none.
std::unique_ptr<PlaceCall> SharedPlace::start_spare(const std::string& command) {
    if (command.size() > kMaxCommand) throw Error("command: too long");
    ready_holder();
    if (!holder_->spare) return nullptr;
    const UniqueFd text = in_memory(command + '\0');
    Spare spare = std::move(*holder_->spare);
    holder_->spare.reset();
    bool sent = !spare.process.try_wait();
    try {
        if (sent) send_fd(spare.asked.get(), text.get());
    } catch (const Error&) {  // somebody in the place has ended it
        sent = false;
    }
    if (!sent) return nullptr;
    holder_->ask_spare();
    return std::make_unique<SharedCall>(holder_, std::move(spare));
}

// Builds the place and tries the forbidden effects in it. Empty when all were refused.
std::string SharedPlace::attempt() {
    try {
        choose_network();
        start_holder();
        const std::unique_ptr<PlaceCall> call = start(SharedCallKind::Probe, "");
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
        std::vector<char> said(4096);
        const size_t length = read_some(call->output.get(), said).value_or(0);
        const Probes probes = probes_in_shared({said.data(), length});
        if (on(Mechanism::SelfProbe) && !probes.all_refused()) return "probe: " + probes.failure();
        probes_ = probes.tried.size();
        return {};
    } catch (const Error& error) {
        return error.what();
    }
}

void SharedPlace::find_layers() {
    using Kind = SharedLayers::Kind;
    std::string failed;
    Pidfd maker;
    try {
        maker = make_user_spaces(users_, network_, listener_);
    } catch (const Error& error) {
        failed = error.what();  // only the jail and Landlock are left to try
    }
    for (const SharedLayers candidate :
         {SharedLayers{Kind::Separated, true}, SharedLayers{Kind::Separated, false},
          SharedLayers{Kind::Plain, false}}) {
        if (separated(candidate) && !listener_) continue;
        layers_ = candidate;
        if (!separated(layers_)) scratch_.emplace();
        if (!failed.empty()) log(LogLevel::Debug, "cell: not here: " + failed);
        failed = attempt();
        if (failed.empty()) return;
    }
    throw Error(failed.starts_with("cell: ") ? failed : "cell: " + failed);
}

std::unique_ptr<PlaceCall> SharedPlace::shell(const ShellCall& call) {
    const bool background = call.life == ShellCall::Life::Background;
    std::string text = call.command.substr(0, call.command.find('\0'));  // behind one stands its stdin
    if (!background && call.input.empty())
        if (std::unique_ptr<PlaceCall> begun = start_spare(text)) return begun;
    if (!call.input.empty()) text += '\0' + call.input;
    return start(background ? SharedCallKind::Background : SharedCallKind::Shell, text);
}

std::unique_ptr<PlaceCall> SharedPlace::file(const std::string& request) {
    return start(SharedCallKind::File, request);
}

Posture SharedPlace::posture() const {
    Posture posture{"shared", {}, static_cast<int>(probes_)};
    std::vector<std::string>& lacks = posture.lacks;
    lacks.push_back("no VM: the kernel, its system files and the user id are this machine's");
    lacks.push_back("no bounds on memory and disk");
    if (options_.folder.empty()) lacks.push_back("what is cut from long output is not kept");
    if (separated(layers_)) {
        if (!layers_.own_processes) lacks.push_back("other processes are seen");
    } else {
        lacks.push_back(
            "no user namespaces here: processes and sockets of this user are not separated, no "
            "terminals and no shared memory for tools");
        if (landlock_version() < 6)
            lacks.push_back("other processes of this user can be signalled");
    }
    if (network_kind_ == Network::None)
        lacks.push_back("no way out for tools" +
                        (unusable_proxy_.empty() ? "" : " (" + unusable_proxy_ + ")"));
    if (network_kind_ == Network::Port)
        lacks.push_back("any server's port " + std::to_string(proxy_->port) + " can be reached");
    return posture;
}

}  // namespace

std::unique_ptr<Place> make_shared_place(CellOptions& options) {
    return std::make_unique<SharedPlace>(options);
}

}  // namespace peacrab
