// Options from flags, config and environment, in this order. The key is taken out of the environment before
// anything else runs, so that no child inherits it. Root never runs a call on
// the machine's own files: it makes cells, or nothing.
#include "launch/local.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "cells/quota.h"
#include "cells/shared_relay.h"
#include "cells/users.h"
#include "config.h"
#include "config/model_choice.h"
#include "error.h"
#include "files/listing.h"
#include "files/transfers.h"
#include "frame_port.h"
#include "launch/local_search.h"
#include "launch/sandbox.h"
#include "loop.h"
#include "protocols/model_list.h"
#include "skills/folders.h"
#include "skills/shelf.h"
#include "warden.h"

namespace peacrab {
namespace {

// Where the ids of turn processes begin in posture `cells`: those of the slot no cell has, because lower
// ones may be somebody's in this sandbox.
constexpr Ids kTurnIds{kFirstSlot * kCellIds, kFirstSlot * kCellIds};

constexpr int kFilesPatience = 30'000;  // ms

struct Choice {
    ModelChoice model;
    Secret key;
    Agents agents;
    std::vector<std::string> fallback;
    uint64_t window = 0;
    std::shared_ptr<LocalSearch> search;
    Spending spending;
};

// What a process was started with stays in its memory (and in /proc/PID/environ), whatever is unset.
void forget(const char* variable) {
    if (!*variable) return;
    if (char* const there = ::getenv(variable)) ::explicit_bzero(there, std::strlen(there));
    ::unsetenv(variable);
}

void forget_keys() {
    for (const ModelServer& server : model_servers()) forget(server.key_variable);
    for (const SearchApi& api : search_apis()) forget(api.key_variable);
}

// A server that runs on this machine is named, never taken: whoever listens there would get the conversation
// and drive the tools.
ModelChoice choose_model_here(const LocalOptions& options, const Config& config) {
    const auto keys = [](const ModelServer& server, const std::string&) {
        const std::string variable = key_variable(server);
        return KeysPresent{false, !variable.empty() && !env(variable.c_str()).empty()};
    };
    ModelChoice choice = choose_model(options.or_else(config), keys);
    std::string found;
    for (const ModelServer& server : model_servers())
        if (choice.demo && server.quirks.local && answers(server))
            found += std::string("; on this machine one answers as ") + server.name +
                     " does: --model-url " + server.base;
    if (choice.demo)
        throw Error(
            "no model: set ANTHROPIC_API_KEY or OPENAI_API_KEY, or name a server with --model-url (the "
            "demo model is only there in the microVM: `peacrab ask`)" + found);
    if (choice.model.empty()) choice.model = first_model(choice.url, choice.server.dialect);
    return choice;
}

Choice choose(const LocalOptions& options) {
    const Config config = load_config(config_file());
    Choice choice;
    if (options.use != LocalOptions::Use::Reading) choice.model = choose_model_here(options, config);
    if (!choice.model.note.empty()) log(LogLevel::Error, choice.model.note);
    if (choice.model.key == ModelChoice::Key::Environment)
        choice.key = Secret(env(key_variable(choice.model.server).c_str()));
    choice.agents = config.agents;
    choice.fallback = config.fallback;
    choice.window = config.window;
    choice.search = std::make_shared<LocalSearch>(config);
    forget_keys();
    choice.spending = config.spending;
    return choice;
}

std::string current_folder() {
    char path[PATH_MAX];
    if (!::getcwd(path, sizeof path)) throw ErrnoError("local: working directory");
    return path;
}

// `base`: of cells; "": on the machine's own files.
WardenOptions warden_options(const std::string& state, const std::string& base, Choice choice) {
    WardenOptions options;
    options.state = state;
    options.durability = Durability::ProcessCrash;
    if (base.empty()) {
        options.cell.place = CellOptions::Place::Here;
        options.cell.workspace = current_folder();
        options.cell.hidden = {state_folder(), config_folder()};
        const std::string own = cache_folder() + "/local";  // the state is hidden from tools
        options.cell.folder = real_path(own).value_or(own);
        if (is_within(options.cell.workspace, options.cell.folder))
            throw Error("tools cannot work in " + printable(options.cell.workspace) +
                        ", where peacrab keeps what is its own: start in another folder");
    } else {
        options.cell.place = CellOptions::Place::Cell;
        options.cell.base = base;
        options.cell.workspace = "/home/agent/workspace";
        options.turn_ids = kTurnIds;
        options.hold_journals = hold_journals;
        options.agents = std::move(choice.agents);
    }
    options.open_search = [search = choice.search](const std::string&) { return search->open(); };
    options.base_url = choice.model.url;
    options.model = {choice.model.model, dialect_name(choice.model.server.dialect),
                     choice.model.server.name, std::move(choice.fallback), choice.window};
    options.key = std::move(choice.key);
    return options;
}

// First of all: before this process knows a key, and because all else is done beside it.
std::shared_ptr<BegunTurn> begin_main_turn(const std::string& state) {
    const std::string journals = state + "/agents/" + kMainAgent + "/sessions";
    make_directories(journals);
    return std::make_shared<BegunTurn>(BegunTurn{kMainAgent, begin_turn({}, TurnRoute::Own, journals, forget_keys)});
}

UniqueFd open_lock(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) throw ErrnoError("local: " + path);
    return fd;
}

// `operation` as of flock(2). False: LOCK_NB was given, and somebody else holds it.
bool lock(const UniqueFd& fd, int operation) {
    while (::flock(fd.get(), operation) < 0) {
        if (errno == EWOULDBLOCK) return false;
        if (errno != EINTR) throw ErrnoError("local: lock");
    }
    return true;
}

// The way out of each cell: a process of its own joins its listener to the environment's proxy. Without
// one that can be used nobody accepts, which the posture says.
void join_proxy(WardenOptions& options, std::map<std::string, ProxyRelay>& relays) {
    options.cell_here = [&relays](const std::string& cell, int listener) {
        relays.erase(cell);
        try {
            if (const std::optional<ProxyAddress> proxy = proxy_of_environment())
                relays.try_emplace(cell, *proxy, listener);
        } catch (const Error& error) {
            log(LogLevel::Debug, error.what());
        }
    };
    options.cell_gone = [&relays](const std::string& cell) { relays.erase(cell); };
}

// The person's skills, unpacked where calls see them; looked at before each turn.
class LocalSkills {
  public:
    // `alone`: nobody else is at work here. Throws Error where tools could write them.
    LocalSkills(Loop& loop, const WardenOptions& options, bool alone)
        : places_(skill_places()), shelf_(loop, shelf_options(options, alone)) {}

    void add_to(WardenOptions& options) {
        const bool cell = options.cell.place == CellOptions::Place::Cell;
        options.cell.shown = {shelf_.skills_folder(), cell ? kSeenSkills : shelf_.skills_folder()};
        options.skills = [this](const AgentSettings& agent) {
            refresh();
            return shelf_.catalogue(agent);
        };
        options.hooks = [this] { return hooks_.empty() ? HookSet() : shelf_.hooks(); };
    }

    static std::string shelf_folder(const WardenOptions& options) {
        const bool cell = options.cell.place == CellOptions::Place::Cell;
        return (cell ? options.state : options.cell.folder) + "/shelf";
    }

  private:
    static Shelf::Options shelf_options(const WardenOptions& options, bool alone) {
        const bool cell = options.cell.place == CellOptions::Place::Cell;
        Shelf::Options shelf;
        shelf.folder = shelf_folder(options);
        make_directories(shelf.folder);
        shelf.folder = require_real_path("skills", shelf.folder);
        if (!cell && is_within(shelf.folder, options.cell.workspace))
            throw Error("no skills here: tools could write them in " + printable(options.cell.workspace) +
                        "; start in another folder");
        if (cell) shelf.seen = kSeenSkills;
        if (cell) shelf.ids = unpack_ids(kTurnIds);
        shelf.use = alone ? Shelf::Options::Use::Alone : Shelf::Options::Use::Shared;
        shelf.idle = [] { return false; };  // others may use them
        return shelf;
    }

    void refresh() {
        try {
            hooks_ = load_config(config_file()).hooks;
        } catch (const Error& error) {  // the last good one stays
            log(LogLevel::Error, error.what());
        }
        const Pack pack = find_pack(places_, hooks_);
        if (pack.mark == mark_) return;
        if (mark_.empty() && shelf_.reuse(pack.mark)) {
            mark_ = pack.mark;
            return;
        }
        Pipe pipe = Pipe::make();
        const pid_t pid = ::fork();
        if (pid < 0) return log(LogLevel::Error, "skills: no process could be started");
        if (pid == 0) {
            pipe.read.reset();
            try {
                write_pack(pack, [&](std::string_view bytes) { write_all(pipe.write.get(), bytes); });
            } catch (const Error&) {  // an archive that breaks off says it
            }
            ::_exit(0);
        }
        Pidfd packer = Pidfd::of_child(pid);
        pipe.write.reset();
        if (shelf_.take_now(std::move(pipe.read), pack.mark).empty())
            mark_ = pack.mark;
        else
            shelf_.hooks_lost();
    }

    SkillPlaces places_;
    Shelf shelf_;
    std::vector<Hook> hooks_ = load_config(config_file()).hooks;
    std::string mark_;
};

// One client, or a socket over which clients come, and one on which `files` streams are asked for.
struct Clients {
    UniqueFd socket;
    bool many = false;
    UniqueFd files;
};

// Each descriptor that comes asks for one stream, by a line; on it a stream goes back, be it to read there why not.
class LocalFiles {
  public:
    LocalFiles(Loop& loop, Warden& warden, UniqueFd socket)
        : loop_(loop), warden_(warden), socket_(std::move(socket)),
          transfers_(loop, [&warden](const json::Value& record) { return warden.note(record); }) {
        loop_.watch(socket_.get(), POLLIN, [this](short) { asked(); });
    }
    ~LocalFiles() {
        loop_.forget(socket_.get());
        transfers_.cancel({});  // they stay in cells of the warden's
    }

  private:
    void asked() {
        std::array<char, 16384> bytes;
        try {
            const UniqueFd one = receive_fd(socket_.get());
            if (!one) return loop_.forget(socket_.get());
            set_nonblocking(one.get());
            const size_t n = read_some(one.get(), bytes).value_or(0);
            send_fd(one.get(), begun({bytes.data(), n}).get());
        } catch (const Error& error) {  // who asked has gone
            log(LogLevel::Debug, error.what());
        }
    }
    UniqueFd begun(std::string_view line) {
        try {
            const json::Value said = json::parse(line, {size_t{16} << 10, 2});
            const Transfers::Wanted wanted{said.text("agent"), said.text("op"), said.text("path")};
            return transfers_.begin(warden_.cell_of(wanted.agent), wanted).socket;
        } catch (const Error& error) {
            SocketPair pair = SocketPair::stream();
            write_all(pair.theirs.get(), Transfers::verdict(false, error.what()));
            return std::move(pair.ours);
        }
    }

    Loop& loop_;
    Warden& warden_;
    UniqueFd socket_;
    Transfers transfers_;
};

// Runs until the clients have gone and no turn runs. The locks are held, and so inherited, until
// then.
void serve(WardenOptions options, const Spending& spending, Clients clients, UniqueFd alive) {
    // Alone, we may say of running turns that they were interrupted; beside others they may be
    // theirs. Who starts next is alone only when we are gone.
    bool alone = lock(alive, LOCK_EX | LOCK_NB);
    // Who served before may have been killed a moment ago.
    for (const Deadline patience = Deadline::in(Seconds(5)); clients.many && !alone && !patience.passed(); ::usleep(20'000))
        alone = lock(alive, LOCK_EX | LOCK_NB);
    options.recovery = alone ? WardenOptions::Recovery::Report : WardenOptions::Recovery::Leave;
    if (!alone) lock(alive, LOCK_SH);
    Loop loop;
    std::map<std::string, ProxyRelay> relays;  // by cell; the warden says which there are
    if (options.cell.place == CellOptions::Place::Cell) join_proxy(options, relays);
    std::optional<LocalSkills> skills;
    try {
        skills.emplace(loop, options, alone).add_to(options);
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        // What lies there is used again: tools that could write it do not see it.
        const std::optional<std::string> shelf = real_path(LocalSkills::shelf_folder(options));
        if (shelf && options.cell.place == CellOptions::Place::Here) options.cell.hidden.push_back(*shelf);
        if (!load_config(config_file()).hooks.empty())
            options.hooks = [] {
                return HookSet{{}, {}, "the operator's hooks cannot be run in this folder; the person has to start elsewhere"};
            };
    }
    Warden warden(loop, std::move(options));
    warden.set_spending(spending);
    if (alone) lock(alive, LOCK_SH);
    std::map<Warden::ClientId, std::shared_ptr<FramePort>> ports;
    const auto join = [&](UniqueFd socket) {
        auto id = std::make_shared<Warden::ClientId>(0);
        const auto leave = [&, id](const std::string&) {
            warden.disconnect(*id);
            const auto found = ports.find(*id);
            if (found == ports.end()) return;
            loop.after(Milliseconds(0), [port = std::move(found->second)] {});  // it may be the port that says so
            ports.erase(found);
        };
        const auto port = std::make_shared<FramePort>(
            loop, std::move(socket), Dialect::ClientToWarden, Dialect::WardenToClient,
            FramePort::Handlers{[&warden, id](const json::Value& frame) { warden.handle(*id, frame); }, leave});
        *id = warden.connect({[port = std::weak_ptr(port)](std::string_view line) {
                                  if (const auto there = port.lock()) there->send_line(line);
                              },
                              leave});
        ports[*id] = port;
    };
    std::optional<LocalFiles> files;
    if (clients.files) files.emplace(loop, warden, std::move(clients.files));
    bool more = clients.many;
    if (!more) join(std::move(clients.socket));
    if (more)
        loop.watch(clients.socket.get(), POLLIN, [&](short) {
            try {
                if (UniqueFd socket = receive_fd(clients.socket.get())) return join(std::move(socket));
            } catch (const Error& error) {
                return log(LogLevel::Error, error.what());  // too many: this one is closed
            }
            more = false;
            loop.forget(clients.socket.get());
        });
    while (more || !ports.empty() || !warden.idle()) loop.run_once(Milliseconds(60'000));
}

bool dies_with(pid_t parent) {
    return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent;
}

// For who serves: this process keeps the key and does nothing but fork a warden, and another when that one is
// killed. True in the warden; false when it has ended by itself.
bool stay_as_warden(pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (;;) {
        if (!dies_with(parent)) return false;
        const pid_t us = ::getpid(), pid = ::fork();
        if (pid < 0) throw ErrnoError("local: fork");
        if (pid == 0) return dies_with(us);
        const ChildExit ended = Pidfd::of_child(pid).wait();
        if (ended.describe() == "exit code 0") return false;
        log(LogLevel::Error, "the warden ended (" + ended.describe() + "); it is started again");
        ::usleep(500'000);
    }
}

// What a child has chosen, told to the parent: the model's name, or why there is none.
class ChoiceReport {
  public:
    void chosen(const std::string& model) { say('m', model); }
    bool failed(const std::string& why) { return say('e', why); }  // false: too late, the parent has gone on
    std::string read() {  // the parent; throws what the child could not
        pipe_.write.reset();
        std::string text = read_all(pipe_.read.get(), kMost);
        if (text.starts_with('e')) throw Error(text.substr(1));
        return text.empty() ? text : text.substr(1);
    }

  private:
    static constexpr size_t kMost = 4096;
    bool say(char kind, const std::string& text) {
        const UniqueFd end = std::move(pipe_.write);
        if (end) write_all(end.get(), kind + text.substr(0, kMost - 1));
        return static_cast<bool>(end);
    }
    Pipe pipe_ = Pipe::make();
};

struct Begun {
    UniqueFd socket;
    std::string model;
    UniqueFd files;  // for streams, when it is to serve
};

Begun start_warden(const LocalOptions& options) {
    const bool serving = options.use == LocalOptions::Use::Serving;
    const bool asks = options.use == LocalOptions::Use::OneShot || options.use == LocalOptions::Use::Conversation;
    // Neither a tool child of the same user nor a core file may read our memory: the key is there.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("local: set dumpable");
    std::optional<Choice> choice;
    Sandbox sandbox;
    if (::geteuid() == 0 || !asks) choice = choose(options);
    if (::geteuid() == 0)
        sandbox = enter_sandbox({options.base.empty() ? kDefaultBase : options.base,
                                 state_folder() + "/cells"});
    const std::string state = sandbox.base.empty() ? state_folder() + "/local" : sandbox.state;
    make_directories(state);
    UniqueFd conversation;
    if (options.use == LocalOptions::Use::Conversation) {
        conversation = open_lock(state + "/conversation.lock");
        // Who has just ended lets go of it a moment later: a script's next question must not meet that.
        const Deadline patience = Deadline::in(Seconds(3));
        bool ours = lock(conversation, LOCK_EX | LOCK_NB);
        for (; !ours && !patience.passed(); ours = lock(conversation, LOCK_EX | LOCK_NB)) ::usleep(20'000);
        if (!ours)
            throw Error("another `peacrabd` is at work on this conversation: wait for it to end");
    }
    UniqueFd alive = open_lock(state + "/lock");
    SocketPair pair = serving ? SocketPair::seqpacket() : SocketPair::stream();
    std::optional<ChoiceReport> report;
    std::string model;
    if (choice) model = choice->model.model;
    else report.emplace();
    SocketPair streams = serving ? SocketPair::seqpacket() : SocketPair();
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid < 0) throw ErrnoError("local: fork");
    if (pid == 0) {
        int code = 1;
        try {
            pair.ours.reset();
            streams.ours.reset();
            ::setsid();  // Ctrl-C is the client's to turn into "stop"
            ::signal(SIGPIPE, SIG_IGN);
            if (serving && !stay_as_warden(parent)) ::_exit(0);
            std::shared_ptr<BegunTurn> begun;
            if (!choice) {
                begun = begin_main_turn(state);
                choice = choose(options);
            }
            set_log_name("warden");
            const Spending spending = choice->spending;
            model = choice->model.model;
            WardenOptions warden = warden_options(state, sandbox.base, std::move(*choice));
            warden.begun = std::move(begun);
            if (report) report->chosen(model);
            serve(std::move(warden), spending, {std::move(pair.theirs), serving, std::move(streams.theirs)}, std::move(alive));
            code = 0;
        } catch (const std::exception& error) {
            if (!report || !report->failed(error.what())) log(LogLevel::Error, error.what());
        }
        ::_exit(code);
    }
    forget_keys();
    if (report) model = report->read();
    return {std::move(pair.ours), std::move(model), std::move(streams.ours)};
}

}  // namespace

LocalStart start_local_warden(const LocalOptions& options) {
    Begun begun = start_warden(options);
    return {{std::move(begun.socket), Dialect::WardenToClient, Dialect::ClientToWarden}, std::move(begun.model)};
}

LocalWarden::LocalWarden(LocalOptions options) {
    options.use = LocalOptions::Use::Serving;
    Begun begun = start_warden(options);
    socket_ = std::move(begun.socket);
    files_ = std::move(begun.files);
}

UniqueFd LocalWarden::open_files(const std::string& agent, const std::string& op, const std::string& path) {
    SocketPair pair = SocketPair::seqpacket();
    write_all(pair.ours.get(), json::dump(json::Value::object({{"agent", agent}, {"op", op}, {"path", escaped(path)}})));
    send_fd(files_.get(), pair.theirs.get());
    pair.theirs.reset();
    pollfd answer{pair.ours.get(), POLLIN, 0};
    if (::poll(&answer, 1, kFilesPatience) <= 0) throw Error("files: the agent does not answer");
    UniqueFd stream = receive_fd(pair.ours.get());
    if (!stream) throw Error("files: the agent has gone");
    return stream;
}

UniqueFd LocalWarden::open() {
    SocketPair pair = SocketPair::stream();
    send_fd(socket_.get(), pair.theirs.get());
    return std::move(pair.ours);
}

}  // namespace peacrab
