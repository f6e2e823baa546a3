// The parent's side of a container: what is prepared before its pid 1 begins, and what each call is
// given.
//
// Order: ids, files and quotas, control group, user namespace, pid 1. Everything is undone by its
// owner, in the opposite order; what an agent has written is never followed, only opened beneath a
// descriptor. Nothing of the environment of this process reaches a call.
#include "cells/container.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "cells/container_child.h"
#include "cells/foreign.h"
#include "cells/limits.h"
#include "cells/mechanism.h"
#include "cells/probe.h"
#include "cells/quota.h"
#include "cells/users.h"
#include "error.h"
#include "landlock.h"

namespace peacrab {
namespace {

constexpr uint32_t kMostSlots = 32'768 - kFirstSlot;

constexpr uint64_t bit(int capability) {
    return uint64_t{1} << capability;
}
// What packages and servers need within the cell; none is a right over a namespace.
constexpr uint64_t kRootRights = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) |
                                 bit(CAP_FSETID) | bit(CAP_SETUID) | bit(CAP_SETGID) |
                                 bit(CAP_SETPCAP) | bit(CAP_KILL) | bit(CAP_SYS_CHROOT) |
                                 bit(CAP_SETFCAP);
// So that it can touch what the shell has made, whoever owns it.
constexpr uint64_t kFileRights = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER);

// Nobody's in the cell, so that its root cannot steer who reads the web.
constexpr Ids kFetchIds{65'534, 65'534};

constexpr uint64_t kScratchFiles = 65'536;

UniqueFd open_folder(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) throw ErrnoError("cell: folder: " + printable(path));
    return fd;
}

// Makes `name` in `parent` when it is missing, with that owner. The parent may be the agent's.
void make_inner(int parent, const std::string& name, uid_t owner, mode_t mode) {
    if (::mkdirat(parent, name.c_str(), mode) < 0) {
        if (errno == EEXIST) return;
        throw ErrnoError("cell: folder: " + printable(name));
    }
    if (::fchownat(parent, name.c_str(), owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
        throw ErrnoError("cell: folder: owner of " + printable(name));
}

std::string workspace_name(const std::string& workspace) {
    const std::string prefix = std::string(kCellHome) + "/";
    std::string name =
        workspace.starts_with(prefix) ? workspace.substr(prefix.size()) : std::string();
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..")
        throw Error("cell: workspace: " + printable(workspace) + ": not directly in " + kCellHome);
    return name;
}

// --- what calls share

std::vector<const char*> pointers(const std::vector<std::string>& words) {
    std::vector<const char*> list;
    for (const std::string& word : words) list.push_back(word.c_str());
    list.push_back(nullptr);
    return list;
}

std::vector<std::string> environment_of(const std::string& user) {
    const std::string proxy = "http://127.0.0.1:" + std::to_string(kProxyPort);
    return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            std::string("HOME=") + kCellHome,
            "USER=" + user,
            "LOGNAME=" + user,
            "LANG=C.UTF-8",
            "TERM=dumb",
            "PAGER=cat",
            "GIT_PAGER=cat",
            "GIT_TERMINAL_PROMPT=0",
            "DEBIAN_FRONTEND=noninteractive",
            "http_proxy=" + proxy,
            "https_proxy=" + proxy,
            "HTTP_PROXY=" + proxy,
            "HTTPS_PROXY=" + proxy,
            "no_proxy=localhost,127.0.0.1,::1",
            // The workspace belongs to another id of the cell than its root.
            "GIT_CONFIG_COUNT=1",
            "GIT_CONFIG_KEY_0=safe.directory",
            "GIT_CONFIG_VALUE_0=*"};
}

// One message of pid 1, and the descriptor that came with it.
UniqueFd receive_word(int socket, Deadline deadline) {
    CellReport record{};
    UniqueFd received;
    pollfd one{socket, POLLIN, 0};
    if (::poll(&one, 1, deadline.poll_timeout()) <= 0)
        throw Error("cell: its pid 1 said nothing in time");
    iovec bytes{&record, sizeof record};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) throw ErrnoError("cell: pid 1");
    if (n != static_cast<ssize_t>(sizeof record)) throw Error("cell: its pid 1 has ended");
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
        received = UniqueFd(fd);
    }
    record.step[sizeof record.step - 1] = '\0';
    if (record.kind == CellReport::Kind::Failed)
        throw Error("cell: " + std::string(record.step) + ": " + std::strerror(record.value));
    return received;
}

constexpr Milliseconds kBuildLimit{30'000};

constexpr Milliseconds kGrace{2000};

// What outlives the container in the hands of a call: the group must not be removed under it.
struct Shared {
    explicit Shared(const CellOptions& the_options) : options(the_options) {}
    CellOptions options;
    std::unique_ptr<AgentGroup> group;
    UniqueFd home;  // none in a throw-away cell
    bool frozen = false;
};

class ContainerCall : public PlaceCall {
  public:
    ContainerCall(std::shared_ptr<Shared> shared, AgentGroup::Kind kind)
        : shared_(std::move(shared)), group_(shared_->group->take(kind)) {
        looked_after = true;
    }
    ~ContainerCall() override {
        if (child) {
            // The keeper ends when all of the call has; if not within the grace, it goes too. One that is
            // frozen tells nothing: the call dies where it stands.
            shared_->group->end(group_);
            pollfd one{child.fd(), POLLIN, 0};
            if (!shared_->frozen) ::poll(&one, 1, static_cast<int>(kGrace.count()));
            child.kill_and_reap();
        }
        shared_->group->give_back(std::move(group_));
    }
    void kill() noexcept override {
        // The keeper tells the end. If it does not within the grace, or cannot, it goes too.
        shared_->group->end(group_);
        if (killed_ || shared_->frozen) child.signal(SIGKILL);
        killed_ = true;
    }
    void terminate() noexcept override { shared_->group->terminate(group_); }
    bool stalled() noexcept override { return shared_->group->stalled(group_); }
    std::string limit_hit() noexcept override {
        std::string hit = shared_->group->limit_hit(group_);
        if (hit.empty() && shared_->home)
            hit = quota_hit(shared_->home.get(), shared_->options.slot, shared_->options.limits);
        return hit;
    }
    const AgentGroup::Call& group() const { return group_; }

  private:
    std::shared_ptr<Shared> shared_;
    AgentGroup::Call group_;
    bool killed_ = false;
};

struct Filters {
    JailFilter shell = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    JailFilter file = JailFilter::compile(JailClass::File);
    JailFilter reaper = JailFilter::compile(JailClass::Reaper);
};

// The same for every cell, and compiling is much of what a new one costs.
std::shared_ptr<const Filters> filters() {
    // A test takes a row away; one at a time.
    if (mechanism_argument() && on(Mechanism::SelfProbe)) return std::make_shared<Filters>();
    static const auto made = std::make_shared<const Filters>();
    return made;
}

class Container : public Place {
  public:
    explicit Container(const CellOptions& options);
    ~Container() override = default;
    std::unique_ptr<PlaceCall> shell(const ShellCall& call) override;
    std::unique_ptr<PlaceCall> file(const std::string& request) override {
        return helper("tool-file", in_memory(request));
    }
    std::unique_ptr<PlaceCall> files(UniqueFd stream) override {
        return helper("tool-files", std::move(stream));
    }
    std::unique_ptr<PlaceCall> fetch(int input) override;
    Posture posture() const override;
    int proxy() const override { return listener_.get(); }
    UniqueFd connect(uint16_t port) override;
    void freeze() override { freeze(true); }
    void thaw() override { freeze(false); }

  private:
    void prepare_files();
    void start();
    void try_effects();
    void freeze(bool frozen) {
        shared_->group->freeze(frozen);
        shared_->frozen = frozen;
    }
    EntryPlan plan(const JailFilter& filter) const;
    std::unique_ptr<PlaceCall> begin(EntryPlan plan, AgentGroup::Kind kind, int input);
    std::unique_ptr<PlaceCall> helper(const char* name, UniqueFd input);
    std::string scratch(uint64_t percent, uint64_t files, const char* mode) const;

    std::shared_ptr<Shared> shared_;
    std::string workspace_;
    uint32_t first_ = 0;
    std::shared_ptr<const Filters> filters_;
    UniqueFd program_, users_, listener_, rules_;
    UniqueFd our_network_;
    size_t probes_ = 0;
    std::vector<std::string> root_environment_, agent_environment_;
    Pidfd init_;  // last: goes first, and everything in the cell with it
};

Container::Container(const CellOptions& options)
    : shared_(std::make_shared<Shared>(options)), workspace_(workspace_name(options.workspace)) {
    use_mechanisms_of(options.agent);
    if (::geteuid() != 0) throw Error("cell: containers are made by root");
    if (!options.hidden.empty()) throw Error("cell: hidden paths are for places without a cell");
    if (!options.shown.as.empty() && options.shown.as.rfind('/') != 0)
        throw Error("cell: what is shown: /NAME was expected");
    if (options.slot == 0 || options.slot > kMostSlots) throw Error("cell: no slot for its ids");
    if (options.base.empty() || options.base == "/")
        throw Error("cell: base: / itself cannot become a root directory");
    // Our memory is copied into every child of ours.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("cell: hide memory");
    first_ = (options.slot + kFirstSlot) * kCellIds;
    filters_ = filters();
    program_ = UniqueFd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    our_network_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!program_ || !our_network_) throw ErrnoError("cell: our own program");
    root_environment_ = environment_of("root");
    agent_environment_ = environment_of("agent");
    if (options.files == CellOptions::Files::Kept) prepare_files();
    shared_->group =
        options.files == CellOptions::Files::Kept
            ? std::make_unique<AgentGroup>(options.agent, options.limits,
                                           std::vector<std::string>{options.base, options.folder})
            : AgentGroup::within(options.agent, options.limits);
    users_ = make_users(first_);
    start();
    if (on(Mechanism::SelfProbe)) try_effects();
}

void Container::prepare_files() {
    const CellOptions& options = shared_->options;
    make_directories(options.folder, 0711);
    const UniqueFd folder = open_folder(options.folder);
    const uid_t agent = first_ + kAgentIds.uid;
    fit_to_disk(folder.get(), shared_->options.limits);
    shared_->options.limits.files = share_files(folder.get(), options.slot, options.limits.files);
    set_quota(folder.get(), options.slot, options.limits, Room::Building);
    make_inner(folder.get(), "layer", 0, 0700);
    make_inner(folder.get(), "output", 0, 0755);
    make_inner(folder.get(), "home", agent, 0755);
    for (const char* name : {"layer", "output", "home"}) {
        const UniqueFd inner = open_folder(options.folder + "/" + name);
        count_for_project(inner.get(), options.slot);
    }
    const UniqueFd layer = open_folder(options.folder + "/layer");
    make_inner(layer.get(), "upper", first_, 0755);
    make_inner(layer.get(), "work", 0, 0700);
    shared_->home = open_folder(options.folder + "/home");
    make_inner(shared_->home.get(), workspace_, agent, 0755);
}

// Options of a tmpfs that belongs to the cell's root.
std::string Container::scratch(uint64_t percent, uint64_t files, const char* mode) const {
    const uint64_t size = memory_or_share(shared_->options.limits.memory).count * percent / 100;
    std::string text = std::string("mode=") + mode + ",uid=" + std::to_string(first_) +
                       ",gid=" + std::to_string(first_);
    if (on(Mechanism::ScratchSize))
        text += ",size=" + std::to_string(size) + ",nr_inodes=" + std::to_string(files);
    return text;
}

void Container::start() {
    const CellOptions& options = shared_->options;
    SocketPair pair = SocketPair::seqpacket();
    const std::string layer = options.folder + "/layer", home = options.folder + "/home",
                      output = options.folder + "/output";
    const std::string memory_layer = scratch(50, kScratchFiles, "0700");
    const std::string tmp = scratch(50, kScratchFiles, "1777"), run = scratch(5, 4096, "0755"),
                      shm = scratch(50, 4096, "1777");
    // Group 5 is Debian's tty.
    const std::string terminals =
        "newinstance,ptmxmode=0666,mode=0620,gid=" + std::to_string(first_ + 5) +
        (on(Mechanism::TerminalsLimit) ? ",max=64" : "");
    ContainerPlan plan;
    plan.root.base = options.base.c_str();
    plan.root.users = users_.get();
    plan.root.first_id = first_;
    if (options.files == CellOptions::Files::Kept) {
        plan.root.layer = layer.c_str();
        plan.root.home = home.c_str();
        plan.root.output = output.c_str();
    }
    plan.root.memory_layer = memory_layer.c_str();
    plan.root.tmp = tmp.c_str();
    plan.root.run = run.c_str();
    plan.root.shm = shm.c_str();
    plan.root.terminals = terminals.c_str();
    plan.root.workspace = workspace_.c_str();
    if (!options.shown.as.empty()) {
        plan.root.shown = options.shown.from.c_str();
        plan.root.shown_as = options.shown.as.c_str() + 1;
    }
    plan.socket = pair.theirs.get();
    plan.reaper = &filters_->reaper;
    int pidfd = -1;
    const pid_t pid = start_container(plan, shared_->group->init(), pidfd);
    if (pid < 0) throw ErrnoError("cell: namespaces");
    init_ = Pidfd(pid, UniqueFd(pidfd));
    pair.theirs.reset();
    const Deadline deadline = Deadline::in(kBuildLimit * std::max(1, options.time_factor));
    listener_ = receive_word(pair.ours.get(), deadline);
    if (!listener_) throw Error("cell: its pid 1 handed nothing over");
    const std::string root = "/proc/" + std::to_string(pid) + "/root";
    LandlockRules rules;
    rules.write = {root + kCellHome};
    // The helper itself is opened for its start.
    rules.read = {root + Cell::kSeenOutput, "/proc/self/exe"};
    if (!options.shown.as.empty()) rules.read.push_back(root + options.shown.as);
    rules.executing = LandlockRules::Execute::Any;
    rules_ = landlock_ruleset(rules);
    (void)receive_word(pair.ours.get(), deadline);
    if (shared_->home)
        set_quota(shared_->home.get(), options.slot, options.limits, Room::Running);
}

// As the first call, before any other can be.
void Container::try_effects() {
    EntryPlan entry = plan(filters_->shell);
    entry.jail.capabilities = kRootRights;
    entry.act = try_effects_in_cell;
    entry.home = -1;  // nothing of it is to be waited for
    const std::unique_ptr<PlaceCall> call = begin(entry, AgentGroup::Kind::Call, -1);
    pollfd one{call->child.fd(), POLLIN, 0};
    const int factor = std::max(1, shared_->options.time_factor);
    if (::poll(&one, 1, static_cast<int>(kBuildLimit.count()) * factor) != 1)
        throw Error("cell: its probes did not end");
    std::array<char, 8192> said;
    const size_t length = read_some(call->output.get(), said).value_or(0);
    const Probes probes = probes_in_cell({said.data(), length});
    if (!probes.all_refused()) throw Error("cell: probe: " + probes.failure());
    probes_ = probes.tried.size();
}

EntryPlan Container::plan(const JailFilter& filter) const {
    EntryPlan plan;
    plan.cell = init_.fd();
    plan.home = shared_->home.get();
    plan.filter = &filter;
    plan.reaper = &filters_->reaper;
    plan.jail.user_namespace = users_.get();
    plan.jail.ids = Ids{0, 0};
    plan.jail.directory = shared_->options.workspace.c_str();
    // The workspace is the agent's own to remove or to lock; it could not be mended without a call.
    plan.jail.otherwise = "/";
    plan.jail.max_open_files = 4096;
    plan.jail.max_file_bytes = shared_->options.limits.disk.count;
    // The control group counts, for all of the agent's ids together.
    plan.jail.max_processes = 1 << 20;
    return plan;
}

std::unique_ptr<PlaceCall> Container::begin(EntryPlan plan, AgentGroup::Kind kind, int input) {
    use_mechanisms_of(shared_->options.agent);
    auto call = std::make_unique<ContainerCall>(shared_, kind);
    Pipe output = Pipe::make();
    Pipe report = Pipe::make();
    set_nonblocking(output.read.get());
    set_nonblocking(report.read.get());
    plan.group = call->group().directory.get();
    plan.kill = call->group().kill.get();
    plan.events = call->group().events.get();
    plan.input = input;
    plan.output = output.write.get();
    plan.report = report.write.get();
    int pidfd = -1;
    const pid_t pid = start_entry(plan, shared_->group->keepers(), pidfd);
    if (pid < 0) throw ErrnoError("cell: fork");
    call->child = Pidfd(pid, UniqueFd(pidfd));
    call->output = std::move(output.read);
    call->output_keeper = std::move(output.write);
    call->report = std::move(report.read);
    return call;
}

std::unique_ptr<PlaceCall> Container::shell(const ShellCall& call) {
    const bool root = call.user == ShellCall::User::Root;
    EntryPlan entry = plan(filters_->shell);
    entry.jail.ids = root ? Ids{0, 0} : kAgentIds;
    entry.jail.capabilities = root ? kRootRights : 0;
    // `--`: a command may begin with a dash.
    const char* const arguments[] = {"sh", "-c", "--", call.command.c_str(), nullptr};
    const std::vector<const char*> words =
        pointers(root ? root_environment_ : agent_environment_);
    entry.path = "/bin/sh";
    entry.arguments = arguments;
    entry.environment = words.data();
    entry.outlives = call.life == ShellCall::Life::Background;
    const UniqueFd input = call.input.empty() ? UniqueFd() : in_memory(call.input);
    return begin(entry, entry.outlives ? AgentGroup::Kind::Background : AgentGroup::Kind::Call, input.get());
}

std::unique_ptr<PlaceCall> Container::helper(const char* name, UniqueFd input) {
    EntryPlan entry = plan(filters_->file);
    entry.jail.capabilities = kFileRights;
    entry.jail.landlock = on(Mechanism::LandlockFile) ? rules_.get() : -1;
    const char* const arguments[] = {"peacrabd", name, mechanism_argument(), nullptr};
    const std::vector<const char*> words = pointers(root_environment_);
    entry.program = program_.get();
    entry.arguments = arguments;
    entry.environment = words.data();
    return begin(entry, AgentGroup::Kind::File, input.get());
}

// The helper's own filter cannot be on before it starts: its class runs no program.
std::unique_ptr<PlaceCall> Container::fetch(int input) {
    EntryPlan entry = plan(filters_->shell);
    entry.jail.ids = kFetchIds;
    entry.jail.directory = "/";
    const char* const arguments[] = {"peacrabd", "tool-fetch", mechanism_argument(), nullptr};
    const std::vector<const char*> words = pointers(agent_environment_);
    entry.program = program_.get();
    entry.arguments = arguments;
    entry.environment = words.data();
    return begin(entry, AgentGroup::Kind::File, input);
}

// Whether a connection is there, refused, or neither yet. On loopback that is known at once, unless the
// server's queue is full; a moment is for a kernel that is late.
bool refused(int socket) {
    constexpr int kMoment = 1;  // ms: nobody may hold up the warden
    pollfd one{socket, POLLOUT, 0};
    int code = 0;
    socklen_t size = sizeof code;
    return ::poll(&one, 1, kMoment) == 1 &&
           (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code != 0);
}

// Another network for the making of one socket. A process that could not go back to its own must not
// go on.
UniqueFd Container::connect(uint16_t port) {
    for (const int family : {AF_INET, AF_INET6}) {
        if (::setns(init_.fd(), CLONE_NEWNET) < 0) throw ErrnoError("cell: connect: its network");
        UniqueFd made(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (::setns(our_network_.get(), CLONE_NEWNET) < 0) std::abort();
        if (!made) throw ErrnoError("cell: connect");
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_port = htons(port);
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(port);
        six.sin6_addr = in6addr_loopback;
        const bool old = family == AF_INET;
        const auto* address = old ? reinterpret_cast<const sockaddr*>(&four)
                                  : reinterpret_cast<const sockaddr*>(&six);
        const int tries = 2;  // of a server that does not serve: seven seconds
        ::setsockopt(made.get(), IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof tries);
        if (::connect(made.get(), address, old ? sizeof four : sizeof six) == 0) return made;
        if (errno == EINPROGRESS && !refused(made.get())) return made;
    }
    throw Error("cell: connect: nobody listens on port " + std::to_string(port));
}

Posture Container::posture() const {
    // The same for every cell of this boot.
    static const std::vector<std::string> open = only_seccomp_stops();
    const char* guest = open.empty() ? "full" : "full (stock kernel)";
    const bool ours = shared_->options.kernel == CellOptions::Kernel::Own;
    Posture posture{ours ? guest : "cells", {}, static_cast<int>(probes_)};
    if (!ours) posture.lacks = lacks_of_a_sandbox();
    for (const std::string& part : open) posture.lacks.push_back("only seccomp stops " + part);
    return posture;
}

}  // namespace

std::unique_ptr<Place> make_container(const CellOptions& options) {
    return std::make_unique<Container>(options);
}

}  // namespace peacrab
