// The life of one machine, as an event loop. The order of a start is the order of what may fail
// cheaply first; the socket is there before the boot, so that whoever comes meanwhile waits for the
// same boot instead of starting another. Must not read a key (that is the model route's child), and
// must not let the guest decide anything but which bytes are relayed.
#include "gateway.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <set>

#include "config_watch.h"
#include "error.h"
#include "frame_port.h"
#include "gateway_boot.h"
#include "gateway_clients.h"
#include "gateway_prepare.h"
#include "gateway_streams.h"
#include "link.h"
#include "loop.h"
#include "model_route.h"
#include "removals.h"
#include "usage_command.h"

namespace peacrab {
namespace {

using Clock = GatewayBoot::Clock;

class Gateway : GatewayClients::Owner, GatewayBoot::Owner {
  public:
    Gateway(const GatewayOptions& options, Prepared prepared, MachineDriver& driver);
    ~Gateway() {
        loop_.cancel(stop_timer_);
        vm_dropped();
    }
    int run(const std::function<void()>& listening);

  private:
    enum class Phase { Booting, Ready, Stopping, Ended };

    // GatewayClients::Owner
    json::Value report() override;
    void stream_wanted(const std::string& kind, const std::string& meta, UniqueFd client) override;
    void inspect_wanted(const std::string& id, const std::string& what) override;
    void stop_wanted() override { begin_stop("stopped"); }
    void more_wanted() override {
        if (phase_ == Phase::Ready) send_settings();
    }
    void removal_wanted(const std::string& agent) override;
    void removed(const json::Value& frame);
    std::string port_wanted(const json::Value& frame, int client) override {
        return streams_.port_wanted(frame, client);
    }
    void port_left(int client) override { streams_.port_left(client); }

    // GatewayBoot::Owner
    void boot_says(const std::string& text) override { say(text); }
    void vm_launched(UniqueFd link) override;
    void vm_dropped() override;
    void vm_ended(const ChildExit& exit) override;
    void boot_given_up(const std::string& why) override { end(why, 1); }

    void watch_signals();
    void config_changed();
    void choose();
    void say(const std::string& text);

    LinkPort::Handlers link_handlers();
    void attached(const std::string& hello);
    GatewayStreams::Options stream_options(const GatewayOptions& options);
    void stream_opened(StreamId stream, const std::string& kind, const std::string& meta);
    void from_guest(const json::Value& frame);
    void send_settings();
    void link_broken(const std::string& why);

    void begin_stop(const std::string& why);
    void end(const std::string& why, int code);
    int time_factor() const { return boot_.verdict().accelerator == Accelerator::Kvm ? 1 : 10; }

    const MachineOptions flags_;
    Prepared prepared_;
    Loop loop_;
    BoundedLog& log_;
    GatewayClients clients_;
    GatewayStreams streams_;
    GatewayBoot boot_;
    ConfigWatch config_{loop_, [this] { config_changed(); }};
    UniqueFd signals_;

    Phase phase_ = Phase::Booting;
    ModelChoice choice_;
    ModelSettings model_;  // what the guest has to know of it: how to speak, and nothing of where it is
    Agents agents_;
    Spending spending_;
    uint32_t epoch_ = 0;
    std::unique_ptr<LinkPort> link_;
    std::unique_ptr<FramePort> control_;
    std::set<StreamId> logs_;
    Loop::TimerId stop_timer_ = 0;
    Clock::time_point begun_ = Clock::now();  // of the first attempt
    Clock::duration boot_time_{};
    std::string posture_;
    std::string stop_reason_;
    int chats_ = 0;
    int exit_code_ = 0;
};

// Only what was asked for on the command line: the rest is in the config, which the child reads.
std::vector<std::string> model_command(const GatewayOptions& options) {
    MachineOptions only;
    static_cast<ModelConfig&>(only) = options.flags;
    std::vector<std::string> command = options.model_route;
    const std::vector<std::string> flags = machine_flags(only);
    command.insert(command.end(), flags.begin() + 2, flags.end());  // without --name
    return command;
}

Gateway::Gateway(const GatewayOptions& options, Prepared prepared, MachineDriver& driver)
    : flags_(options.flags),
      prepared_(std::move(prepared)),
      log_(prepared_.log),
      clients_(loop_, prepared_.place, *this),
      streams_(loop_, stream_options(options)),
      boot_(loop_, prepared_, driver, options.accelerator_cache, *this) {}

int Gateway::run(const std::function<void()>& listening) {
    watch_signals();
    choose();
    clients_.listen();
    write_record(prepared_.place, {::getpid(), prepared_.place.socket, ""});
    listening();
    boot_.begin();
    loop_.run();
    return exit_code_;
}

void Gateway::watch_signals() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
    if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) throw ErrnoError("gateway: signals");
    signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) throw ErrnoError("gateway: signals");
    loop_.watch(signals_.get(), POLLIN, [this](short) {
        signalfd_siginfo info;
        while (::read(signals_.get(), &info, sizeof info) == sizeof info) begin_stop("stopped");
    });
}

void Gateway::config_changed() {
    const auto said = [this] {
        json::Value frame = json::Value::object({});
        put_model(frame, model_);
        put_agents(frame, agents_);
        put_spending(frame, spending_);
        return json::dump(frame);
    };
    const std::string before = said();
    choose();
    if (said() != before && phase_ == Phase::Ready) send_settings();
}

// A configuration that cannot be read changes nothing: the last good one stays.
void Gateway::choose() {
    try {
        const Config config = load_config(config_file());
        streams_.configure(config);
        const MachineOptions now = with_config(flags_, config);
        agents_ = config.agents;
        spending_ = config.spending;
        ModelRouteOptions route;
        route.config = now;
        choice_ = choose_model_here(route);
        model_ = {choice_.model, dialect_name(choice_.server.dialect), choice_.server.name,
                  config.fallback, config.window};
        static_cast<ModelConfig&>(prepared_.options) = now;
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
}

void Gateway::say(const std::string& text) {
    log(LogLevel::Info, text);
    clients_.progress(text);
}

// ---- boot

LinkPort::Handlers Gateway::link_handlers() {
    LinkPort::Handlers handlers;
    handlers.attached = [this](const std::string& hello) { attached(hello); };
    handlers.opened = [this](StreamId stream, const std::string& kind, const std::string& meta) {
        stream_opened(stream, kind, meta);
    };
    handlers.data = [this](StreamId stream, std::string_view bytes) {
        if (logs_.count(stream)) log_.append(bytes, "guest: ");
    };
    handlers.finished = [this](StreamId stream) {
        if (logs_.erase(stream)) link_->finish(stream);
    };
    handlers.reset = [this](StreamId stream, const std::string&) { logs_.erase(stream); };
    handlers.broken = [this](const std::string& why) { link_broken(why); };
    return handlers;
}

void Gateway::vm_launched(UniqueFd link) {
    link_ = std::make_unique<LinkPort>(loop_, std::move(link), Link::Side::Host, link_handlers());
    link_->attach(++epoch_);
}

void Gateway::vm_dropped() {
    control_.reset();
    link_.reset();
    logs_.clear();
    streams_.clear();
}

// ---- the guest

bool speaks_our_protocol(const std::string& hello) {
    try {
        return json::parse(hello).integer("protocol") == 1;
    } catch (const Error&) {
        return false;
    }
}

void Gateway::attached(const std::string& hello) {
    if (control_ || phase_ != Phase::Booting) return;
    if (!speaks_our_protocol(hello)) {
        // Not from inside the link, which would be dropped under itself.
        loop_.after(Milliseconds(0), [this] {
            end("the guest image is of another version than this program; build one: peacrab image "
                "build",
                1);
        });
        return;
    }
    SocketPair pair = SocketPair::stream();
    control_ = std::make_unique<FramePort>(
        loop_, std::move(pair.ours), Dialect::GuestToHost, Dialect::HostToGuest,
        FramePort::Handlers{[this](const json::Value& frame) { from_guest(frame); },
                            [this](const std::string& why) { link_broken("control: " + why); }});
    link_->join(link_->open("control"), std::move(pair.theirs));
    send_settings();
    streams_.attached(*link_);
    // Before any chat can be opened: a name that was given again begins without what it left.
    for (const std::string& agent : pending_removals(prepared_.place)) removal_wanted(agent);
    boot_.alive();
}

void Gateway::send_settings() {
    const auto now = std::chrono::duration_cast<Milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    json::Value settings = json::Value::object({{"type", "settings"},
                                                {"clock", now.count()},
                                                {"time_factor", time_factor()}});
    put_model(settings, model_);
    put_agents(settings, agents_);
    put_spending(settings, raised_today(prepared_.place, spending_));
    control_->send(settings);
}

GatewayStreams::Options Gateway::stream_options(const GatewayOptions& options) {
    return {model_command(options), usage_book(prepared_.place), options.egress_route,
            [this] { return phase_ == Phase::Ready ? link_.get() : nullptr; },
            [this](int client, const std::string& why) { clients_.port_closed(client, why); }};
}

void Gateway::stream_opened(StreamId stream, const std::string& kind, const std::string& meta) {
    if (kind == "log" && logs_.size() < 4) logs_.insert(stream);  // kept: its bytes come as data
    else if (!streams_.opened(*link_, stream, kind, meta)) link_->reset(stream, "no such kind here");
}

void Gateway::from_guest(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "ready") posture_ = printable(frame.text("posture").substr(0, 1000));
    if (type == "ready" && phase_ == Phase::Booting) {
        phase_ = Phase::Ready;
        boot_.watch_no_more();
        boot_time_ = boot_.age();
        say("ready in " + in_seconds(Clock::now() - begun_));
        clients_.ready();
    } else if (type == "inspected") {
        clients_.inspected(frame.text("id"), frame.at("report"));
    } else if (type == "removed") {
        removed(frame);
    } else if (type == "log") {
        log_.append(frame.text("text") + "\n", "guest: ");
    } else if (type == "cell_gone") {
        streams_.cell_gone(frame.text("agent"));
    } else if (type == "stopped" && phase_ == Phase::Stopping) {
        log(LogLevel::Info, "the guest has stopped its work");
    }
}

void Gateway::vm_ended(const ChildExit& exit) {
    const std::string how = exit.ok() ? "ended by itself" : "ended: " + exit.describe();
    if (phase_ == Phase::Ended) return;
    if (phase_ == Phase::Booting) return boot_.failed(BootFailure::Exited, "QEMU " + how);
    if (phase_ == Phase::Stopping) return end(stop_reason_, 0);
    end(exit.ok() ? "the guest powered itself off"
                  : "QEMU " + how + " (the end of " + prepared_.place.console_log +
                        " may tell why); `peacrab up` starts it again, nothing that was saved is lost",
        1);
}

// Without the link there is nothing to be done with the VM. Its own end, which is the usual cause,
// gets a moment to be seen first: it is the better reason. Called from inside the link, which
// therefore must not be dropped here.
void Gateway::link_broken(const std::string& why) {
    loop_.after(Milliseconds(500), [this, why, epoch = epoch_] {
        if (epoch != epoch_ || phase_ == Phase::Ended || phase_ == Phase::Stopping) return;
        const std::string what = "the link to the guest broke (" + printable(why) + ")";
        if (phase_ == Phase::Booting) return boot_.failed(BootFailure::Exited, what);
        end(what + "; the machine was ended; `peacrab up` starts it again", 1);
    });
}

// ---- what clients ask for

json::Value Gateway::report() {
    static const char* const names[] = {"booting", "ready", "stopping", "ended"};
    const VmmStatus status = vmm_status(boot_.pid());
    const auto in_ms = [](Clock::duration span) { return std::chrono::duration_cast<Milliseconds>(span).count(); };
    const Verdict& verdict = boot_.verdict();
    const MachineSpec& spec = boot_.spec();
    json::Value value = json::Value::object(
        {{"name", prepared_.place.name},
         {"state", names[static_cast<int>(phase_)]},
         {"pid", boot_.pid()},
         {"gateway", ::getpid()},
         {"accelerator", accelerator_name(verdict.accelerator)},
         {"accelerator_asked", prepared_.options.accelerator},
         {"decided_by", verdict.decided_by},
         {"reason", verdict.reason},
         {"uptime_ms", in_ms(boot_.age())},
         {"boot_ms", in_ms(boot_time_)},
         {"cpus", spec.cpus},
         {"memory", spec.memory.count},
         {"resident", status.resident.count},
         {"disk", prepared_.disk.count},
         {"model", choice_.model},
         {"model_url", choice_.url},
         {"demo", choice_.demo},
         {"sessions", chats_},
         {"image", prepared_.image.id},
         {"posture", posture_},
         {"ports", streams_.ports()}});
    value.set("vmm", json::Value::object({{"program", spec.vmm},
                                          {"user", status.user},
                                          {"no_capabilities", status.no_capabilities},
                                          {"no_new_privileges", status.no_new_privileges},
                                          {"filtered", status.filtered},
                                          {"own_network", status.own_network}}));
    return value;
}

// The client has been told `opened`; its socket is the stream from now on.
void Gateway::stream_wanted(const std::string& kind, const std::string& meta, UniqueFd client) {
    if (kind == "chat") streams_.look();
    const StreamId stream = link_->open(kind, meta);
    if (kind != "chat") return link_->join(stream, std::move(client));
    ++chats_;
    link_->join(stream, std::move(client), [this] { --chats_; });
}

void Gateway::inspect_wanted(const std::string& id, const std::string& what) {
    control_->send(json::Value::object({{"type", "inspect"}, {"id", id}, {"what", what}}));
}

// Without a link yet it is in the machine's list, which is read when there is one.
void Gateway::removal_wanted(const std::string& agent) {
    if (!control_ || !is_agent_name(agent)) return;
    control_->send(
        json::Value::object({{"type", "remove_agent"}, {"id", agent}, {"name", agent}}));
}

void Gateway::removed(const json::Value& frame) {
    const std::string agent = frame.text("id");
    const std::string why = frame.flag("ok") ? "" : printable(frame.text("why").substr(0, 400));
    try {
        if (frame.flag("ok")) end_removal(prepared_.place, agent);
    } catch (const Error& error) {  // asked again at the next start, and then there is nothing left
        log(LogLevel::Error, error.what());
    }
    clients_.removed(agent, frame.flag("ok") || !why.empty() ? why : "the guest gave no reason");
}

void Gateway::begin_stop(const std::string& why) {
    if (phase_ == Phase::Stopping || phase_ == Phase::Ended) return;
    const bool talks = control_ != nullptr;
    phase_ = Phase::Stopping;
    stop_reason_ = why;
    log(LogLevel::Info, "stopping");
    boot_.watch_no_more();
    if (talks) control_->send(json::Value::object({{"type", "power_off"}}));
    // QEMU flushes its disks at SIGTERM; a guest that hangs loses what it had not synced.
    stop_timer_ = loop_.after(talks ? Seconds(10) * (time_factor() > 1 ? 3 : 1) : Seconds(0), [this] {
        boot_.terminate();
        stop_timer_ = loop_.after(Seconds(3), [this] { end("it had to be killed", 1); });
    });
}

void Gateway::end(const std::string& why, int code) {
    if (phase_ == Phase::Ended) return;
    phase_ = Phase::Ended;
    exit_code_ = code;
    log(code ? LogLevel::Error : LogLevel::Info, why);
    // Before the chats end with the machine: who sees that looks here for the reason.
    try {  // a full disk must not keep the clients from hearing it
        write_record(prepared_.place, {0, "", code ? why : ""});
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
    loop_.cancel(stop_timer_);
    vm_dropped();
    boot_.drop();
    clients_.ended(why, code == 0);
    loop_.stop();
}

}  // namespace

int run_gateway(GatewayOptions options, MachineDriver& driver) {
    ::umask(0077);
    UniqueFd pipe = std::move(options.report);
    const auto report = [&pipe](const std::string& line) {
        if (pipe) write_all(pipe.get(), line + "\n");
        pipe.reset();
    };
    try {
        const MachinePlace place = machine_place(options.flags.name);
        make_directories(place.folder);
        std::optional<UniqueFd> lock = take_machine_lock(place);
        if (!lock) {
            report("busy");
            return 1;
        }
        Gateway gateway(options, prepare(options.flags, place, std::move(*lock), options.image_folder, driver),
                        driver);
        return gateway.run([&report] { report("listening"); });
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        report(std::string("failed ") + error.what());
        throw;
    }
}

}  // namespace peacrab
