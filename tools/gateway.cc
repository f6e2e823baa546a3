// The life of one machine, as an event loop. The order of a start is the order of what may fail
// cheaply first; the socket is there before the boot, so that whoever comes meanwhile waits for the
// same boot instead of starting another. Must not read a key (that is the model route's child), and
// must not let the guest decide anything but which bytes are relayed.
#include "gateway.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <set>

#include "config_watch.h"
#include "error.h"
#include "frame_port.h"
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

using Clock = std::chrono::steady_clock;

std::string seconds(Clock::duration span) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(span).count());
    return text;
}

class Gateway : GatewayClients::Owner {
  public:
    Gateway(const GatewayOptions& options, Prepared prepared, MachineDriver& driver);
    ~Gateway();
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

    void watch_signals();
    void config_changed();
    void choose();
    void say(const std::string& text);

    void decide_accelerator();
    void fill_spec();
    LinkPort::Handlers link_handlers();
    void launch();
    void watch_output(UniqueFd& fd, void (Gateway::*took)(std::string_view));
    bool read_output(UniqueFd& fd, void (Gateway::*took)(std::string_view));
    void from_console(std::string_view bytes);
    void from_vmm(std::string_view bytes);
    void progress();
    void boot_failed(BootFailure failure, const std::string& why);
    void drop_machine();

    void attached(const std::string& hello);
    GatewayStreams::Options stream_options(const GatewayOptions& options);
    void stream_opened(StreamId stream, const std::string& kind, const std::string& meta);
    void from_guest(const json::Value& frame);
    void send_settings();
    void process_ended();
    void link_broken(const std::string& why);

    void begin_stop(const std::string& why);
    void end(const std::string& why, int code);
    int time_factor() const { return verdict_.accelerator == Accelerator::Kvm ? 1 : 10; }

    const MachineOptions flags_;
    Prepared prepared_;
    MachineDriver& driver_;
    Loop loop_;
    BoundedLog& log_;
    BoundedLog console_log_;
    GatewayClients clients_;
    GatewayStreams streams_;
    ConfigWatch config_{loop_, [this] { config_changed(); }};
    UniqueFd signals_;

    Phase phase_ = Phase::Booting;
    Verdict verdict_;
    AcceleratorOptions accelerator_;
    ModelChoice choice_;
    ModelSettings model_;  // what the guest has to know of it: how to speak, and nothing of where it is
    Agents agents_;
    Spending spending_;
    MachineSpec spec_;
    BootAttempt attempt_;
    uint32_t epoch_ = 0;
    Machine machine_;
    std::unique_ptr<LinkPort> link_;
    std::unique_ptr<FramePort> control_;
    std::set<StreamId> logs_;
    Loop::TimerId silence_ = 0;
    Loop::TimerId whole_ = 0;
    Loop::TimerId stop_timer_ = 0;
    Clock::time_point begun_ = Clock::now();   // of the first attempt
    Clock::time_point launched_ = Clock::now();  // of this attempt
    Clock::duration boot_time_{};
    std::string posture_;
    std::string stop_reason_;
    std::string last_words_;  // of the VMM's stderr
    int chats_ = 0;
    int exit_code_ = 0;
};

// Only what was asked for on the command line: the rest is in the config, which the child reads.
std::vector<std::string> model_command(const GatewayOptions& options) {
    MachineOptions only;
    only.model = options.flags.model;
    only.model_url = options.flags.model_url;
    only.dialect = options.flags.dialect;
    std::vector<std::string> command = options.model_route;
    const std::vector<std::string> flags = machine_flags(only);
    command.insert(command.end(), flags.begin() + 2, flags.end());  // without --name
    return command;
}

Gateway::Gateway(const GatewayOptions& options, Prepared prepared, MachineDriver& driver)
    : flags_(options.flags),
      prepared_(std::move(prepared)),
      driver_(driver),
      log_(prepared_.log),
      console_log_(prepared_.place.console_log, KiB(256)),
      clients_(loop_, prepared_.place, *this),
      streams_(loop_, stream_options(options)) {
    accelerator_.cache_file = options.accelerator_cache;
}

Gateway::~Gateway() { drop_machine(); }

int Gateway::run(const std::function<void()>& listening) {
    watch_signals();
    choose();
    clients_.listen();
    write_record(prepared_.place, {::getpid(), prepared_.place.socket, ""});
    listening();
    decide_accelerator();
    launch();
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
        route.config = {now.model, now.model_url, now.dialect};
        choice_ = choose_model_here(route);
        model_ = {choice_.model, dialect_name(choice_.server.dialect), choice_.server.name,
                  config.fallback, config.window};
        prepared_.options.model = now.model;
        prepared_.options.model_url = now.model_url;
        prepared_.options.dialect = now.dialect;
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
}

void Gateway::say(const std::string& text) {
    log(LogLevel::Info, text);
    clients_.progress(text);
}

// ---- boot

void Gateway::decide_accelerator() {
    const std::string& asked = prepared_.options.accelerator;
    accelerator_.vmm = driver_.program();
    attempt_.accelerator_asked = asked != "auto";
    if (asked == "tcg") verdict_ = {Accelerator::Tcg, "asked", "--accel tcg"};
    else if (asked == "kvm") verdict_ = {Accelerator::Kvm, "asked", "--accel kvm"};
    else verdict_ = choose_accelerator(accelerator_);
    say(std::string("booting under ") + accelerator_describe(verdict_.accelerator) + ": " +
        verdict_.reason);
}

void Gateway::fill_spec() {
    const Accelerator accelerator = verdict_.accelerator;
    attempt_.accelerator = accelerator;
    spec_.vmm = driver_.program();
    spec_.name = prepared_.place.name;
    spec_.accelerator = accelerator;
    spec_.cpu_model = attempt_.cpu_model;
    spec_.cpus = prepared_.options.cpus ? prepared_.options.cpus
                                        : default_cpus(accelerator, host_cpus());
    spec_.memory = prepared_.options.memory;
    spec_.kernel = prepared_.image.kernel;
    spec_.initramfs = prepared_.image.initramfs;
    spec_.base = prepared_.image.base;
    spec_.state = prepared_.place.state_image;
    spec_.command_line = kernel_command_line(
        accelerator, accelerator == Accelerator::Tcg ? measure_tsc_khz() : 0);
}

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

void Gateway::launch() {
    try {
        fill_spec();
        launched_ = Clock::now();
        last_words_.clear();
        machine_ = driver_.launch(spec_);
        link_ = std::make_unique<LinkPort>(loop_, std::move(machine_.link), Link::Side::Host,
                                           link_handlers());
        link_->attach(++epoch_);
        watch_output(machine_.console, &Gateway::from_console);
        watch_output(machine_.errors, &Gateway::from_vmm);
        loop_.watch(machine_.process.fd(), POLLIN, [this](short) { process_ended(); });
    } catch (const Error& error) {
        return end(std::string("the machine did not start: ") + error.what(), 1);
    }
    whole_ = loop_.after(boot_limits(verdict_.accelerator, host_load()).whole, [this] {
        boot_failed(BootFailure::Silent, "the guest did not come up in time");
    });
    progress();
}

// Both are read for as long as they last: a full pipe would stop the guest.
void Gateway::watch_output(UniqueFd& fd, void (Gateway::*took)(std::string_view)) {
    set_nonblocking(fd.get());
    loop_.watch(fd.get(), POLLIN, [this, &fd, took](short) {
        if (read_output(fd, took)) return;
        loop_.forget(fd.get());
        fd.reset();
    });
}

// False at its end.
bool Gateway::read_output(UniqueFd& fd, void (Gateway::*took)(std::string_view)) {
    std::array<char, 16384> bytes;
    try {
        const std::optional<size_t> n = read_some(fd.get(), bytes);
        if (n.value_or(1) == 0) return false;
        if (n) (this->*took)({bytes.data(), *n});
        return true;
    } catch (const Error&) {  // a reset connection is an end as well
        return false;
    }
}

void Gateway::from_console(std::string_view bytes) {
    console_log_.append(bytes);
    if (phase_ == Phase::Booting) progress();
}

void Gateway::from_vmm(std::string_view bytes) {
    last_words_.append(bytes);
    if (last_words_.size() > 2048) last_words_.erase(0, last_words_.size() - 2048);
    log_.append(bytes, "vmm: ");
}

// A sign of life: the silence begins anew.
void Gateway::progress() {
    loop_.cancel(silence_);
    const BootLimits limits = boot_limits(verdict_.accelerator, host_load());
    silence_ = loop_.after(limits.silence, [this, limits] {
        boot_failed(BootFailure::Silent,
                    "the guest was silent for " + seconds(limits.silence));
    });
}

void Gateway::drop_machine() {
    for (const Loop::TimerId timer : {silence_, whole_, stop_timer_}) loop_.cancel(timer);
    for (UniqueFd* fd : {&machine_.console, &machine_.errors})
        if (*fd) loop_.forget(fd->get());
    if (machine_.process) loop_.forget(machine_.process.fd());
    control_.reset();
    link_.reset();
    logs_.clear();
    streams_.clear();
    machine_ = Machine();
}

void Gateway::boot_failed(BootFailure failure, const std::string& why) {
    const NextBoot next = after_failed_boot(attempt_, failure);
    drop_machine();
    if (failure == BootFailure::Exited) ++attempt_.exits;
    switch (next) {
        case NextBoot::GiveUp: {
            const size_t line = last_words_.find_first_not_of(" \n");
            const std::string words =
                line == std::string::npos ? "" : ": " + printable(last_words_.substr(line, last_words_.find_last_not_of(" \n") + 1 - line));
            const bool kvm = verdict_.accelerator == Accelerator::Kvm;
            return end("the machine did not start: " + why + words +
                           (kvm ? "; leave --accel kvm away and it starts under TCG"
                                : "; what the guest printed is in " + prepared_.place.console_log),
                       1);
        }
        case NextBoot::SameAgain: say(why + "; trying once more"); break;
        case NextBoot::SecondCpuModel:
            attempt_.cpu_model = MachineSpec::CpuModel::Second;
            say(why + "; trying another CPU model");
            break;
        case NextBoot::Tcg:
            verdict_ = {Accelerator::Tcg, "watchdog", "KVM passed its probe, but " + why};
            remember_verdict(accelerator_, verdict_);
            attempt_ = BootAttempt();
            say(why + "; booting under " + accelerator_describe(Accelerator::Tcg));
            break;
    }
    launch();
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
    progress();
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
        loop_.cancel(silence_);
        loop_.cancel(whole_);
        boot_time_ = Clock::now() - launched_;
        say("ready in " + seconds(Clock::now() - begun_));
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

void Gateway::process_ended() {
    const int fd = machine_.process.fd();
    const std::optional<ChildExit> exit = machine_.process.try_wait();
    if (!exit) return;
    loop_.forget(fd);
    // What it said last is still in the pipes.
    for (int rounds = 0; rounds < 64 && read_output(machine_.console, &Gateway::from_console);)
        ++rounds;
    for (int rounds = 0; rounds < 64 && read_output(machine_.errors, &Gateway::from_vmm);) ++rounds;
    const std::string how = exit->ok() ? "ended by itself" : "ended: " + exit->describe();
    if (phase_ == Phase::Ended) return;
    if (phase_ == Phase::Booting) return boot_failed(BootFailure::Exited, "QEMU " + how);
    if (phase_ == Phase::Stopping) return end(stop_reason_, 0);
    end(exit->ok() ? "the guest powered itself off"
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
        if (phase_ == Phase::Booting) return boot_failed(BootFailure::Exited, what);
        end(what + "; the machine was ended; `peacrab up` starts it again", 1);
    });
}

// ---- what clients ask for

json::Value Gateway::report() {
    static const char* const names[] = {"booting", "ready", "stopping", "ended"};
    const pid_t pid = machine_.process ? machine_.process.pid() : 0;
    const VmmStatus status = vmm_status(pid);
    const auto uptime = std::chrono::duration_cast<Milliseconds>(Clock::now() - launched_);
    json::Value value = json::Value::object(
        {{"name", prepared_.place.name},
         {"state", names[static_cast<int>(phase_)]},
         {"pid", pid},
         {"gateway", ::getpid()},
         {"accelerator", accelerator_name(verdict_.accelerator)},
         {"accelerator_asked", prepared_.options.accelerator},
         {"decided_by", verdict_.decided_by},
         {"reason", verdict_.reason},
         {"uptime_ms", uptime.count()},
         {"boot_ms", std::chrono::duration_cast<Milliseconds>(boot_time_).count()},
         {"cpus", spec_.cpus},
         {"memory", spec_.memory.count},
         {"resident", status.resident.count},
         {"disk", prepared_.disk.count},
         {"model", choice_.model},
         {"model_url", choice_.url},
         {"demo", choice_.demo},
         {"sessions", chats_},
         {"image", prepared_.image.id},
         {"posture", posture_},
         {"ports", streams_.ports()}});
    value.set("vmm", json::Value::object({{"program", spec_.vmm},
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
    loop_.cancel(silence_);
    loop_.cancel(whole_);
    if (talks) control_->send(json::Value::object({{"type", "power_off"}}));
    // QEMU flushes its disks at SIGTERM; a guest that hangs loses what it had not synced.
    stop_timer_ = loop_.after(talks ? Seconds(10) * (time_factor() > 1 ? 3 : 1) : Seconds(0), [this] {
        if (machine_.process) machine_.process.signal(SIGTERM);
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
    drop_machine();
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
