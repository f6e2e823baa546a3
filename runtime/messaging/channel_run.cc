// An adapter gets one socket as its input and output, our standard error, and of the environment what leads to the
// network: no key of a model, and nothing of the person's.
#include "messaging/channel_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>

#include "audit.h"
#include "error.h"
#include "messaging/errand.h"

namespace peacrab {
namespace {

constexpr Milliseconds kLongestWait{60'000};
constexpr Milliseconds kSecretsLimit{100'000};  // three commands, of half a minute each
constexpr size_t kMostSecrets = size_t{64} << 10;
constexpr Milliseconds kGoodRun{10'000};  // after which the next start waits no longer than the first
constexpr const char* kPassed[] = {"PATH",        "HOME",        "LANG",     "TZ",       "TMPDIR",        "HTTP_PROXY",         "HTTPS_PROXY",
                                   "http_proxy",  "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "PROXY_CA_CERT_B64"};

[[noreturn]] void run_child(int socket, pid_t parent, char* const* arguments, char* const* environment) noexcept {
    if (::dup2(socket, 0) < 0 || ::dup2(socket, 1) < 0) ::_exit(127);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (::setsid() < 0) ::_exit(127);  // Ctrl-C is ours: it is told to stop
    if (::prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || ::getppid() != parent) ::_exit(127);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ::_exit(127);
    ::execve(arguments[0], arguments, environment);
    ::_exit(127);
}

Pidfd start_program(const std::vector<std::string>& words, int socket) {
    std::vector<std::string> kept = words, variables;
    for (const char* name : kPassed)
        if (const std::string value = env(name); !value.empty()) variables.push_back(std::string(name) + "=" + value);
    std::vector<char*> arguments, environment;
    for (std::string& word : kept) arguments.push_back(word.data());
    for (std::string& variable : variables) environment.push_back(variable.data());
    arguments.push_back(nullptr);
    environment.push_back(nullptr);
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid < 0) throw ErrnoError("channel: fork");
    if (pid == 0) run_child(socket, parent, arguments.data(), environment.data());
    return Pidfd::of_child(pid);
}

// As they are now: of a command, what it says now.
json::Value secrets_of(const ChannelConfig& config, const SecretSource& source) {
    json::Value secrets = json::Value::object();
    const std::string name = config.hub.name;
    if (const std::optional<Secret> token = source("channel-" + name)) secrets.set("token", token->reveal());
    if (const std::optional<Secret> app = source("channel-" + name + "_app")) secrets.set("app", app->reveal());
    if (config.type == "whatsapp" || config.type == "webhook")
        if (const std::optional<Secret> relay = source("relay"))
            secrets.set("relay", sha256_hex(relay->reveal() + "/" + config.hub.settings.text("hook")));  // good for that one
    return secrets;
}

// A token that was good and has run out, as those of OAuth 2 do, and another one in its place.
bool has_new_secrets(const ChannelConfig& config, const SecretSource& source, const std::string& given) {
    try {
        return sha256_hex(json::dump(secrets_of(config, source))) != given;
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return false;
    }
}

}  // namespace

struct ChannelRun::Running {
    ChannelConfig config;
    Pidfd process;
    Milliseconds wait{1000};
    Loop::TimerId timer = 0;
    std::unique_ptr<Errand> asking;  // for its secrets
    std::chrono::steady_clock::time_point since{};
    bool down = false;
    std::string given;  // the sum of its secrets
};

ChannelRun::ChannelRun(Loop& loop, Hub& hub, std::vector<std::string> adapter, std::vector<ChannelConfig> channels,
                       SecretSource secrets)
    : loop_(loop), hub_(hub), adapter_(std::move(adapter)), secrets_(std::move(secrets)) {
    for (ChannelConfig& config : channels) {
        auto one = std::make_unique<Running>();
        one->config = std::move(config);
        Running& running = *one;
        all_[running.config.hub.name] = std::move(one);
        start(running);
    }
}

ChannelRun::~ChannelRun() {
    for (const auto& [name, one] : all_) {
        loop_.cancel(one->timer);
        hub_.disconnect(name);
    }
}

bool ChannelRun::asking() const {
    return std::any_of(all_.begin(), all_.end(), [](const auto& one) { return one.second->asking != nullptr; });
}

bool ChannelRun::all_down() const {
    return std::all_of(all_.begin(), all_.end(), [](const auto& one) { return one.second->down; });
}

// A command may have to say them, or a person whom it asks.
void ChannelRun::start(Running& one) {
    const std::string name = one.config.hub.name;
    const bool on_relay = one.config.type == "whatsapp" || one.config.type == "webhook";
    if (on_relay && !one.config.hub.settings.find("hook")) one.config.hub.settings.set("hook", name);
    try {
        one.asking = std::make_unique<Errand>(
            loop_, kSecretsLimit, [config = one.config, read = secrets_] { return Errand::Given{json::dump(secrets_of(config, read)), {}}; },
            [this, name](const Errand::Given& given, const std::string& why) {
                Running& asked = *all_.at(name);
                asked.asking.reset();
                if (why.empty()) begin(asked, json::parse(given.text, {kMostSecrets, 2}));
                else (void)ended(name, why, {});
            });
    } catch (const Error& error) {
        (void)ended(name, error.what(), {});
    }
}

void ChannelRun::begin(Running& one, const json::Value& secrets) {
    const std::string name = one.config.hub.name;
    try {
        one.given = sha256_hex(json::dump(secrets));
        SocketPair pair = SocketPair::stream();
        std::vector<std::string> words = one.config.command;
        if (words.empty()) {
            words = adapter_;
            words.push_back(one.config.type);
        }
        one.process = start_program(words, pair.theirs.get());
        one.since = std::chrono::steady_clock::now();
        pair.theirs.reset();
        hub_.connect(one.config.hub, secrets, std::move(pair.ours),
                     [this, name](const std::string& why, const std::string& trouble) { return ended(name, why, trouble); });
    } catch (const Error& error) {
        (void)ended(name, error.what(), {});
    }
}

bool ChannelRun::ended(const std::string& name, const std::string& why, const std::string& trouble) {
    const auto found = all_.find(name);
    if (found == all_.end()) return false;
    Running& one = *found->second;
    one.process.kill_and_reap();
    const bool good = std::chrono::steady_clock::now() - one.since > kGoodRun;
    if (trouble == "conflict" || (trouble == "auth" && !(good && has_new_secrets(one.config, secrets_, one.given)))) {
        one.down = true;
        log(LogLevel::Error, "channel " + name + ": stopped: " + trouble);
        return false;
    }
    if (good) one.wait = Milliseconds(1000);
    log(LogLevel::Error, "channel " + name + ": " + why + "; it is started again in " + std::to_string(one.wait.count() / 1000) + " s");
    one.timer = loop_.after(one.wait, [this, name] {
        Running& again = *all_.at(name);
        again.timer = 0;
        start(again);
    });
    one.wait = std::min(one.wait * 2, kLongestWait);
    return true;
}

}  // namespace peacrab
