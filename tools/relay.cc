// A process for each connection: whoever sends slowly holds up nobody but himself, and the bytes of strangers are parsed
// where a configuration, secrets and the spool can be read and nothing else be reached. What it says to strangers is a
// status and no word of why.
#include "relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <list>

#include "audit.h"
#include "config.h"
#include "config/secrets.h"
#include "error.h"
#include "landlock.h"
#include "loop.h"
#include "relay_hooks.h"
#include "relay_spool.h"

namespace peacrab {
namespace {

constexpr const char* kTokenName = "relay";
constexpr size_t kMostSenders = 48;
constexpr size_t kMostReaders = 24;
constexpr Milliseconds kYoung{2'000};  // who is answered so long is not ended for another
constexpr unsigned kSenderLife = 30, kReaderLife = 90;  // seconds
constexpr Milliseconds kFirstByte{5'000}, kHead{5'000}, kRequest{10'000};
constexpr int64_t kLongestWait = 50;  // seconds
constexpr Bytes kMostOfBody = MiB(3);  // which is WhatsApp's
constexpr Bytes kMostOfSigned = KiB(256);
constexpr Bytes kMemory = MiB(512);

std::string spool_file() {
    return relay_folder() + "/spool.db";
}

UniqueFd listen_on(uint16_t port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw ErrnoError("relay: socket");
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) < 0 || ::listen(fd.get(), 128) < 0)
        throw ErrnoError("relay: listen on 127.0.0.1:" + std::to_string(port));
    return fd;
}

// ---- one connection

struct Target {
    std::string hook;
    std::string query;
};

Target target_of(const std::string& target) {
    const size_t mark = std::min(target.find('?'), target.size());
    if (target.empty() || target[0] != '/') return {};
    return {target.substr(1, mark - 1), mark < target.size() ? target.substr(mark + 1) : std::string()};
}

// Percent signs are nobody's here: no value needs them.
std::string value_of(const std::string& query, std::string_view name) {
    for (const std::string& pair : split(query, '&'))
        if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') return pair.substr(name.size() + 1);
    return {};
}

std::optional<int64_t> number(std::string_view text) {
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    return std::stoll(std::string(text));
}

void confine() {
    LandlockRules rules;
    rules.write = {relay_folder()};
    // The file may be a link to elsewhere.
    rules.read = {config_folder(), SecretStore::default_directory(), real_path(config_file()).value_or(""), "/dev/urandom"};
    const rlimit memory{kMemory.count, kMemory.count};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw ErrnoError("relay: no new privileges");
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is larger
    if (::setrlimit(RLIMIT_AS, &memory) < 0) throw ErrnoError("relay: limit the memory");
#else
    static_cast<void>(memory);
#endif
    if (landlock_version() >= 1 && !landlock_restrict(landlock_ruleset(rules, 1).get())) throw ErrnoError("relay: landlock");
}

void say(HttpServer& server, int status, std::string_view body = {}, const char* type = "text/plain", HeaderLines more = {}) {
    more.emplace_back("content-type", type);
    more.emplace_back("x-content-type-options", "nosniff");
    server.answer(status, more, body, HttpServer::After::Close);
    server.hang_up();
}

Secret secret_of(const RelayHook& hook) {
    return SecretStore().read("hook-" + hook.name).value_or(Secret());
}

void take_webhook(HttpServer& server, const RelayHook& hook, const ServedRequest& request) {
    const auto refuse = [&](int status, const std::string& why) {
        log(LogLevel::Error, hook.name + ": refused: " + why);
        say(server, status);
    };
    if (hook.scheme == RelayHook::Scheme::Signed && request.body.size() > kMostOfSigned.count) return refuse(413, "it is too large");
    const HookVerdict verdict = judge_hook(hook, secret_of(hook), request, std::time(nullptr));
    if (verdict.status != 200) return refuse(verdict.status, verdict.why);
    // Closed before the answer: that is what channels are woken by.
    switch (RelaySpool(spool_file()).add(hook.name, verdict.key, request.body, hook.hourly)) {
        case RelaySpool::Added::New:
        case RelaySpool::Added::Known:
            return say(server, 200, "ok");
        case RelaySpool::Added::TooMany:
            log(LogLevel::Error, hook.name + ": refused: more than " + std::to_string(hook.hourly) + " in an hour");
            return say(server, 429, {}, "text/plain", {{"retry-after", "600"}});
        case RelaySpool::Added::Full:
            return refuse(503, "too much waits: does `peacrab serve` run?");
    }
}

// The world's side.
void answer_sender(HttpServer& server, const ServedRequest& request) {
    const RelayConfig config = load_relay(config_file());
    const Target target = target_of(request.target);
    const RelayHook* const hook = config.find(target.hook);
    if (!hook) return say(server, 404);
    if (request.method == "POST") return take_webhook(server, *hook, request);
    if (request.method != "GET" || hook->scheme != RelayHook::Scheme::WhatsApp) return say(server, 405);
    const std::optional<std::string> answer = answer_challenge(secret_of(*hook), target.query);
    if (!answer) log(LogLevel::Error, hook->name + ": a challenge with another verify token");
    say(server, answer ? 200 : 403, answer.value_or(""));
}

json::Value entries_value(const std::vector<SpoolEntry>& entries) {
    json::Value array = json::Value::array();
    for (const SpoolEntry& entry : entries)
        array.push(json::Value::object({{"seq", entry.seq},
                                        {"at", entry.at},
                                        {"key", json::valid_utf8(entry.key)},
                                        {"body", json::valid_utf8(entry.body)}}));
    return array;
}

// Until something is there, the time is up, or who asks has gone. Whoever adds opens the file and closes it, even when
// he is killed; that he writes would be told too early, before what he writes holds.
std::vector<SpoolEntry> wait_for_entries(RelaySpool& spool, const std::string& hook, int64_t seq, int socket, Deadline deadline) {
    const UniqueFd changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!changes || ::inotify_add_watch(changes.get(), relay_folder().c_str(), IN_CLOSE_WRITE) < 0) throw ErrnoError("relay: watch the spool");
    for (;;) {
        std::vector<SpoolEntry> entries = spool.after(hook, seq);
        if (!entries.empty() || deadline.passed()) return entries;
        pollfd events[] = {{changes.get(), POLLIN, 0}, {socket, POLLIN, 0}};
        if (::poll(events, 2, deadline.poll_timeout()) < 0 && errno != EINTR) throw ErrnoError("relay: wait");
        if (events[1].revents) return {};
        char away[4096];
        while (::read(changes.get(), away, sizeof away) > 0) {
        }
    }
}

// The channels' side.
void answer_reader(HttpServer& server, const ServedRequest& request, int socket) {
    const Secret token = SecretStore().read(kTokenName).value_or(Secret());
    const Target target = target_of(request.target);
    constexpr std::string_view kBearer = "Bearer ";
    const std::string given = request.header("authorization").value_or("");
    const bool known = given.starts_with(kBearer) &&
                       same_secret(std::string_view(given).substr(kBearer.size()), sha256_hex(token.reveal() + "/" + target.hook));
    if (token.empty() || !known) return say(server, 401);
    if (request.method != "GET") return say(server, 405);
    if (!load_relay(config_file()).find(target.hook)) return say(server, 404);
    RelaySpool spool(spool_file());
    json::Value answer = json::Value::object({{"spool", spool.id()}});
    if (const std::string text = value_of(target.query, "having"); !text.empty()) {
        answer.set("entries", entries_value(spool.having(target.hook, text)));
        return say(server, 200, json::dump(answer), "application/json");
    }
    const std::string after = value_of(target.query, "after");
    const size_t colon = after.find(':');
    const std::optional<int64_t> place = colon == std::string::npos ? std::nullopt : number(after.substr(colon + 1));
    // A number of another spool says nothing of this one.
    const bool ours = place && after.substr(0, colon) == spool.id();
    if (ours) spool.take(target.hook, *place);
    const int64_t wait = std::min(number(value_of(target.query, "wait")).value_or(0), kLongestWait);
    const std::vector<SpoolEntry> entries =
        wait_for_entries(spool, target.hook, ours ? *place : spool.taken(target.hook), socket, Deadline::in(Seconds(wait)));
    answer.set("entries", entries_value(entries));
    say(server, 200, json::dump(answer), "application/json");
}

enum class Side { Sender, Reader };

// `asked` is closed when all of the request is there.
void serve_one(int socket, Side side, UniqueFd asked) {
    confine();
    pollfd first{socket, POLLIN, 0};
    if (::poll(&first, 1, static_cast<int>(kFirstByte.count())) <= 0) return;
    HttpServer server(socket, {KiB(16), side == Side::Sender ? kMostOfBody : KiB(4), kRequest, Seconds(10), kHead});
    try {
        const std::optional<ServedRequest> request = server.next();
        asked.reset();
        if (!request) return;
        if (side == Side::Sender) answer_sender(server, *request);
        else answer_reader(server, *request, socket);
    } catch (const BadRequest& bad) {
        say(server, bad.status());
    } catch (const ErrnoError& error) {
        log(LogLevel::Error, error.what());
    } catch (const Error& error) {  // a full disk among them: who sent it sends it again
        log(LogLevel::Error, error.what());
        say(server, 503);
    }
}

// ---- all of them

struct Child {
    Pidfd process;
    UniqueFd asked;  // hangs up when all of its request is there; empty: it did
    std::chrono::steady_clock::time_point since;
};

// For whom somebody else has to go: the oldest that has not asked yet, however young, since who is genuine asks at
// once; then the oldest, if it has had its time. Who was cut off sends once more.
std::list<Child>::iterator whose_place(std::list<Child>& children) {
    const auto slow = std::find_if(children.begin(), children.end(), [](const Child& one) { return static_cast<bool>(one.asked); });
    if (slow != children.end()) return slow;
    return std::chrono::steady_clock::now() - children.front().since < kYoung ? children.end() : children.begin();
}

class Relay {
  public:
    Relay(uint16_t listen, uint16_t local) : senders_(listen_on(listen)), readers_(listen_on(local)) {
        loop_.watch(senders_.get(), POLLIN, [this](short) { accept(senders_.get(), Side::Sender, sender_children_, kMostSenders); });
        loop_.watch(readers_.get(), POLLIN, [this](short) { accept(readers_.get(), Side::Reader, reader_children_, kMostReaders); });
    }

    int run() {
        sigset_t set;
        sigemptyset(&set);
        for (const int end : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, end);
        if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) throw ErrnoError("relay: signals");
        const UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!signals) throw ErrnoError("relay: signals");
        loop_.watch(signals.get(), POLLIN, [this](short) { loop_.stop(); });
        loop_.run();
        return 0;
    }

  private:
    void accept(int listener, Side side, std::list<Child>& children, size_t most) {
        UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        if (children.size() >= most) {
            const auto place = whose_place(children);
            if (place == children.end()) return;
            end(children, place);
        }
        Pipe asked = Pipe::make();
        const pid_t parent = ::getpid(), pid = ::fork();
        if (pid < 0) return log(LogLevel::Error, ErrnoError("relay: fork").what());
        if (pid == 0) run_child(fd.get(), parent, side, std::move(asked.write));
        children.push_back({Pidfd::of_child(pid), std::move(asked.read), std::chrono::steady_clock::now()});
        const auto child = std::prev(children.end());
        loop_.watch(child->process.fd(), POLLIN, [this, &children, child](short) { end(children, child); });
        loop_.watch(child->asked.get(), 0, [this, child](short) {
            loop_.forget(child->asked.get());
            child->asked.reset();
        });
    }

    void end(std::list<Child>& children, std::list<Child>::iterator child) {
        if (child->asked) loop_.forget(child->asked.get());
        loop_.forget(child->process.fd());
        child->process.kill_and_reap();
        children.erase(child);
    }

    [[noreturn]] void run_child(int socket, pid_t parent, Side side, UniqueFd asked) noexcept {
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        ::alarm(side == Side::Sender ? kSenderLife : kReaderLife);
        senders_.reset();
        readers_.reset();
        try {
            serve_one(socket, side, std::move(asked));
        } catch (const std::exception& error) {
            log(LogLevel::Error, error.what());
        }
        ::_exit(0);
    }

    Loop loop_;
    UniqueFd senders_, readers_;
    std::list<Child> sender_children_, reader_children_;
};

}  // namespace

std::string relay_folder() {
    return state_folder() + "/relay";
}

Secret relay_token() {
    const SecretStore store;
    if (!store.exists(kTokenName)) store.write(kTokenName, Secret(random_hex(24)));
    return store.read(kTokenName).value_or(Secret());
}

int run_relay(const Arguments&) {
    set_log_name("peacrab relay");
    const RelayConfig config = load_relay(config_file());
    if (config.hooks.empty()) throw Error("no webhooks: name one under `relay:` in " + config_file());
    (void)relay_token();
    make_directories(relay_folder());
    (void)RelaySpool(spool_file()).id();  // whether it can be written, before anybody relies on it
    for (const RelayHook& hook : config.hooks)
        if (!SecretStore().exists("hook-" + hook.name))
            tell(hook.name + ": takes nothing until `peacrab secret set hook-" + hook.name + "` was told what its sender signs with");
    Relay relay(config.listen, config.local);
    tell("taking " + std::to_string(config.hooks.size()) + " webhook" + (config.hooks.size() == 1 ? "" : "s") + " on 127.0.0.1:" +
         std::to_string(config.listen) + ", without TLS: a reverse proxy or a tunnel has to lead there; Ctrl-C ends it");
    return relay.run();
}

}  // namespace peacrab
