// Where a cell's bytes leave. Everything from the stream is hostile: the agent may be injected, the
// guest may be lost. A request is understood whole or refused; what is passed on is built anew from
// what was understood; who asks is what the gateway says, never what stands in the request.
// Must not follow a redirect, must not add a credential, and must not let one through to a server
// that anybody on the way can read.
#include "egress_route.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>

#include "error.h"
#include "http_head.h"
#include "json.h"
#include "landlock.h"
#include "relay_pair.h"
#include "tls_hello.h"

namespace peacrab {
namespace {

constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
constexpr size_t kMaxResponseHead = size_t{64} << 10;
constexpr int kMaxRefusalsLogged = 20;
constexpr Milliseconds kLinger{2'000};
constexpr uint16_t kTlsPort = 443;
constexpr Bytes kMemory = MiB(512);

using Outcome = RelayPair::Outcome;
using Read = RelayPair::Read;

// One exchange ends the connection; `status` 0: without an answer.
struct Refusal {
    int status = 403;
    std::string why;
    std::string reason = "";  // in place of the status' usual words
};

const char* usual_reason(int status) {
    switch (status) {
        case 400: return "Bad Request";
        case 403: return "Forbidden";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 431: return "Request Header Fields Too Large";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        default: return "Gateway Timeout";
    }
}

// What of a request's headers goes on. A credential on plain HTTP can be read by anybody on the way.
bool passes(const std::string& name, const std::string& connection) {
    return !is_hop_by_hop(name, connection) && name != "host" && name != "authorization" &&
           name != "cookie";
}

std::string connection_of(const HeaderLines& headers) {
    std::string all;
    for (const auto& [name, value] : headers)
        if (name == "connection" || name == "proxy-connection") all += value + ",";
    return all;
}

std::string upstream_head(const RequestHead& head, const AbsoluteTarget& target,
                          const std::optional<ProxyAddress>& proxy) {
    const std::string to = proxy ? "http://" + target.authority + target.path : target.path;
    std::string text = head.method + " " + to + " HTTP/1." + std::to_string(head.minor) +
                       "\r\nHost: " + target.authority + "\r\n";
    const std::string connection = connection_of(head.headers);
    for (const auto& [name, value] : head.headers)
        if (passes(name, connection)) text += name + ": " + value + "\r\n";
    if (proxy && !proxy->authorization.empty())
        text += "Proxy-Authorization: " + proxy->authorization + "\r\n";
    return text + "\r\n";
}

std::string downstream_head(const ResponseHead& head, bool keep) {
    std::string text = "HTTP/1.1 " + std::to_string(head.status) + " " + head.reason + "\r\n";
    const std::string connection = connection_of(head.headers);
    for (const auto& [name, value] : head.headers)
        if (!is_hop_by_hop(name, connection)) text += name + ": " + value + "\r\n";
    if (!keep && head.status >= 200) text += "Connection: close\r\n";
    return text + "\r\n";
}

// What is written down of requests to one place.
struct Account {
    EgressAsk ask;
    int requests = 0;
    int status = 0;
    uint64_t up = 0;
    uint64_t down = 0;
};

class Route {
  public:
    explicit Route(const EgressRouteOptions& options) : options_(options) {}
    void run();

  private:
    struct Upstream {
        Dialed connection;
        EgressAsk ask;
    };
    std::optional<RequestHead> next_head();
    bool fill(Deadline deadline);
    void decide(const EgressAsk& ask, bool& private_address);
    Dialed dial_to(const EgressAsk& ask, bool private_address);
    void tunnel(const EgressAsk& ask);
    bool inspect(const EgressAsk& ask, std::string_view bytes);
    bool plain(const RequestHead& head);
    bool exchange(const RequestHead& head, const AbsoluteTarget& target, Dialed& upstream,
                  bool reused, bool& again);
    void answer(const Refusal& refusal);
    std::string who() const;
    void log_refusal(const std::string& what);
    void account(const EgressAsk& ask, int status, uint64_t up, uint64_t down);
    void flush_account();

    const EgressRouteOptions& options_;
    std::string in_;  // of the client, not yet used
    bool first_ = true;
    std::optional<Upstream> upstream_;  // kept for the next request to the same place
    Account account_;
    int refusals_ = 0;
};

// ---- the client's side

bool Route::fill(Deadline deadline) {
    RelayPair pair(options_.fd, options_.fd);
    pair.from_client.swap(in_);
    const Outcome outcome = pair.round(Read::Client, deadline);
    in_.swap(pair.from_client);
    if (outcome == Outcome::Idle) throw Refusal{408, "the request did not arrive in time"};
    return outcome == Outcome::Moved && !pair.client_ended;
}

// Nothing: the connection has ended between two requests.
std::optional<RequestHead> Route::next_head() {
    const bool fresh = std::exchange(first_, false);
    Deadline deadline = Deadline::in(in_.empty() && !fresh ? options_.idle_limit : options_.head_limit);
    for (;;) {
        const size_t end = in_.find("\r\n\r\n");
        if (std::min(end, in_.size()) > kMaxHead)
            throw Refusal{431, "the request's head is longer than 16 KiB"};
        if (end != std::string::npos) {
            const RequestHead head = parse_request_head(std::string_view(in_).substr(0, end + 4));
            in_.erase(0, end + 4);
            return head;
        }
        const bool empty = in_.empty();
        try {
            if (!fill(deadline)) return std::nullopt;
        } catch (const Refusal&) {
            if (empty) return std::nullopt;  // it said nothing: nobody waits for an answer
            throw;
        }
        if (empty) deadline = Deadline::in(options_.head_limit);
    }
}

void Route::answer(const Refusal& refusal) {
    const std::string body = "peacrab: " + refusal.why + "\n";
    RelayPair pair(options_.fd, options_.fd);
    pair.to_client = "HTTP/1.1 " + std::to_string(refusal.status) + " " +
                     (refusal.reason.empty() ? usual_reason(refusal.status) : refusal.reason) +
                     "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
                     std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
    const Deadline deadline = Deadline::in(kLinger);
    while (!pair.to_client.empty())
        if (pair.round(Read::None, deadline) != Outcome::Moved) return;
    // What it is still sending is read away for a moment, or it would see a broken connection
    // instead of the answer.
    pair.shut_client();
    while (!pair.client_ended && pair.round(Read::Client, deadline) == Outcome::Moved)
        pair.from_client.clear();
}

// ---- decisions

void Route::decide(const EgressAsk& ask, bool& private_address) {
    const EgressDecision decision = decide_egress(options_.rules, ask, options_.agent);
    private_address = decision.private_address;
    if (decision.allowed) return;
    throw Refusal{403, decision.why, "Forbidden; to allow: " + allow_command(ask)};
}

Dialed Route::dial_to(const EgressAsk& ask, bool private_address) {
    try {
        return dial(ask, private_address, options_.proxies, Deadline::in(options_.connect_limit));
    } catch (const DialFailure& failure) {
        const std::string place = place_text(ask.host, ask.port) + ": ";
        switch (failure.kind()) {
            case DialFailure::Kind::PrivateAddress:
                throw Refusal{403, private_refusal(ask, options_.agent),
                              "Forbidden; to allow: " + allow_command(ask) + " private"};
            case DialFailure::Kind::Forbidden:
                throw Refusal{403, place + failure.what()};
            case DialFailure::Kind::Unreachable:
                break;
        }
        throw Refusal{502, place + failure.what()};
    }
}

// ---- tunnels

// True once the client's first bytes may go on; throws when they may not.
bool Route::inspect(const EgressAsk& ask, std::string_view bytes) {
    if (bytes.empty()) return false;
    const TlsHello hello = read_tls_hello(bytes);
    switch (hello.kind) {
        case TlsHello::Kind::NeedMore:
            return false;
        case TlsHello::Kind::NotTls:
            if (ask.port == kTlsPort) throw Refusal{0, "dropped: it does not speak TLS"};
            return true;
        case TlsHello::Kind::Named:
            if (canonical_host(hello.name) == ask.host) return true;
            throw Refusal{0, "dropped: TLS asks for another server, " +
                                 printable(hello.name.substr(0, 80))};
        case TlsHello::Kind::Bad:
            break;
    }
    throw Refusal{0, "dropped: TLS: " + hello.why};
}

void Route::tunnel(const EgressAsk& ask) {
    bool private_address = false;
    decide(ask, private_address);
    const Dialed outside = dial_to(ask, private_address);
    RelayPair pair(options_.fd, outside.fd.get());
    pair.to_client = "HTTP/1.1 200 Connection established\r\n\r\n";
    pair.from_client = std::move(in_);
    bool clear = false, server_shut = false, client_shut = false;
    std::optional<Deadline> hello;  // from its first byte
    std::string ending = "closed";
    try {
        for (;;) {
            if (!clear) clear = inspect(ask, pair.from_client);
            if (!clear && !pair.from_client.empty() && !hello) hello = Deadline::in(options_.head_limit);
            if (clear) pair.to_server += std::exchange(pair.from_client, {});
            pair.to_client += std::exchange(pair.from_server, {});
            if (pair.client_ended && pair.to_server.empty() && !std::exchange(server_shut, true)) {
                if (!clear && !pair.from_client.empty()) throw Refusal{0, "dropped: TLS: half a hello"};
                pair.shut_server();
            }
            if (pair.server_ended && pair.to_client.empty() && !std::exchange(client_shut, true))
                pair.shut_client();
            if (server_shut && client_shut) break;
            const Outcome outcome = pair.round(
                Read::Both, !clear && hello ? *hello : Deadline::in(options_.idle_limit));
            if (outcome == Outcome::Moved) continue;
            if (outcome == Outcome::Idle) ending = clear ? "idle" : "dropped: no whole hello";
            break;
        }
    } catch (const Refusal& refusal) {
        log_refusal(place_text(ask.host, ask.port) + ": " + refusal.why);
        ending = "dropped";
    }
    account(ask, ending == "closed" ? 200 : 0, pair.up, pair.down);
}

// ---- plain HTTP

// False: no further request on this connection.
bool Route::plain(const RequestHead& head) {
    if (std::find(std::begin(kMethods), std::end(kMethods), head.method) == std::end(kMethods))
        throw Refusal{405, "the method " + head.method + " is not passed on"};
    const AbsoluteTarget target = read_absolute_target(head.method, head.target);
    const auto host = head.header("host");
    if (host && !names_same_host(*host, target.ask, 80))
        throw Refusal{400, "the Host header names another place than the target"};
    (void)BodyEnd::of_request(head);
    bool private_address = false;
    decide(target.ask, private_address);
    const bool same = upstream_ && upstream_->ask.host == target.ask.host &&
                      upstream_->ask.port == target.ask.port;
    if (!same) upstream_.reset();
    bool reused = upstream_.has_value();
    for (;;) {
        if (!upstream_) upstream_ = Upstream{dial_to(target.ask, private_address), target.ask};
        bool again = false;
        const bool keep = exchange(head, target, upstream_->connection, reused, again);
        if (!again) return keep;
        upstream_.reset();  // the server had closed it in between
        reused = false;
    }
}

// Relays one request and its response. `again`: the kept connection was dead, nothing of the request
// counts. What the server does wrong after its head has gone out ends the connection.
bool Route::exchange(const RequestHead& head, const AbsoluteTarget& target, Dialed& upstream,
                     bool reused, bool& again) {
    BodyEnd request = BodyEnd::of_request(head);
    const bool repeatable = reused && request.done();
    const bool client_keeps = head.minor == 1 && !lists(connection_of(head.headers), "close");
    RelayPair pair(options_.fd, upstream.fd.get());
    pair.from_client.swap(in_);
    pair.to_server = upstream_head(head, target, upstream.proxy);
    std::optional<ResponseHead> response;
    BodyEnd body;
    bool server_keeps = false, keep = false;
    for (;;) {
        if (!request.done()) {
            const size_t n = request.take(pair.from_client);
            pair.to_server.append(pair.from_client, 0, n);
            pair.from_client.erase(0, n);
        }
        for (size_t end; !response && (end = pair.from_server.find("\r\n\r\n")) != std::string::npos;) {
            const ResponseHead next =
                parse_response_head(std::string_view(pair.from_server).substr(0, end + 4));
            pair.from_server.erase(0, end + 4);
            if (next.status == 101) throw Error("the server changes the protocol");
            body = BodyEnd::of_response(next, head.method);
            server_keeps = next.minor == 1 && !lists(connection_of(next.headers), "close") &&
                           !body.until_close();
            keep = client_keeps && !body.until_close();
            if (next.status >= 200 || head.minor == 1) pair.to_client += downstream_head(next, keep);
            if (next.status >= 200) response = next;
        }
        if (response) {
            const size_t n = body.take(pair.from_server);
            pair.to_client.append(pair.from_server, 0, n);
            pair.from_server.erase(0, n);
        } else if (pair.from_server.size() > kMaxResponseHead) {
            throw Error("the server's head is too long");
        }
        const bool whole = response && (body.done() || (body.until_close() && pair.server_ended));
        if (whole && pair.to_client.empty()) break;
        if (pair.server_ended && !whole && pair.from_server.empty() && pair.to_client.empty()) {
            if (!response && repeatable) return again = true;
            if (response) return account(target.ask, response->status, pair.up, pair.down), false;
            throw Error("the server ended without an answer");
        }
        const Read which = request.done() ? Read::Server : Read::Both;
        const Outcome outcome = pair.round(which, Deadline::in(options_.idle_limit));
        if (outcome == Outcome::Moved) continue;
        if (outcome == Outcome::Broken && !response && repeatable) return again = true;
        account(target.ask, response ? response->status : 0, pair.up, pair.down);
        if (outcome == Outcome::Idle && !response)
            throw Refusal{504, place_text(target.ask.host, target.ask.port) + ": it does not answer"};
        return false;
    }
    in_.swap(pair.from_client);
    account(target.ask, response->status, pair.up, pair.down);
    if (!server_keeps || !pair.from_server.empty() || !request.done()) upstream_.reset();
    return keep && request.done();
}

// ---- what is written down

std::string Route::who() const {
    return options_.agent +
           (options_.connection > 0 ? " #" + std::to_string(options_.connection) : std::string());
}

void Route::log_refusal(const std::string& what) {
    if (refusals_++ < kMaxRefusalsLogged)
        log(LogLevel::Info, "egress: " + who() + ": " + what.substr(0, 400));
}

void Route::account(const EgressAsk& ask, int status, uint64_t up, uint64_t down) {
    const bool same = account_.ask.host == ask.host && account_.ask.port == ask.port &&
                      account_.ask.method == ask.method && account_.status == status;
    if (!same) flush_account();
    account_.ask = ask;
    account_.status = status;
    ++account_.requests;
    account_.up += up;
    account_.down += down;
}

void Route::flush_account() {
    if (account_.requests) {
        const std::string times =
            account_.requests > 1 ? " ×" + std::to_string(account_.requests) : std::string();
        log(LogLevel::Info, "egress: " + who() + ": " + account_.ask.method + " " +
                                place_text(account_.ask.host, account_.ask.port) + times +
                                ": allowed, " +
                                (account_.status ? std::to_string(account_.status) : "cut short") +
                                ", up " + std::to_string(account_.up) + ", down " +
                                std::to_string(account_.down));
    }
    account_ = {};
}

void Route::run() {
    try {
        while (const auto head = next_head()) {
            if (head->method == "CONNECT") {
                tunnel(read_connect_target(head->target));
                break;
            }
            if (!plain(*head)) break;
        }
    } catch (const Refusal& refusal) {
        log_refusal(refusal.why);
        answer(refusal);
    } catch (const BadRequest& bad) {
        log_refusal(bad.what());
        answer({bad.status(), bad.what()});
    } catch (const Error& error) {  // a server that speaks no proper HTTP
        log_refusal(error.what());
        answer({502, error.what()});
    }
    flush_account();
}

// ---- as a process

// Only what resolving a name reads, and the ports that are listed. What the kernel lacks of it is a
// layer less, not the one: the rules hold without.
void confine(const EgressRouteOptions& options) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw ErrnoError("egress: no new privileges");
    const rlimit memory{kMemory.count, kMemory.count};
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is larger
    if (::setrlimit(RLIMIT_AS, &memory) < 0) throw ErrnoError("egress: limit the memory");
#else
    static_cast<void>(memory);
#endif
    if (landlock_version() < 1) return;
    LandlockRules rules;
    rules.read = {"/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf",
                  "/run/NetworkManager", "/run/nscd", "/proc/sys/net"};
    rules.tcp = LandlockRules::Tcp::Listed;
    rules.ports = {53};
    for (const EgressRule& rule : options.rules) rules.ports.push_back(rule.port);
    for (const char* method : {"GET", "CONNECT"}) {
        try {
            if (const auto proxy = proxy_for(options.proxies, {"proxy.invalid", 1, method}))
                rules.ports.push_back(proxy->port);
        } catch (const Error&) {  // said when it is needed
        }
    }
    if (!landlock_restrict(landlock_ruleset(rules, 1).get())) throw ErrnoError("egress: landlock");
}

}  // namespace

int serve_egress_route(const EgressRouteOptions& options) {
    try {
        Route(options).run();
        return 0;
    } catch (const std::exception& error) {
        log(LogLevel::Error, error.what());
        return 1;
    }
}

std::string egress_job(const EgressRouteOptions& options) {
    json::Value rules = json::Value::array();
    for (const EgressRule& rule : options.rules) rules.push(format_egress_rule(rule));
    return json::dump(json::Value::object({{"agent", options.agent},
                                           {"connection", options.connection},
                                           {"rules", rules},
                                           {"http", options.proxies.http},
                                           {"https", options.proxies.https},
                                           {"except", options.proxies.except}}));
}

EgressRouteOptions read_egress_job(std::string_view text) {
    const json::Value job = json::parse(text);
    EgressRouteOptions options;
    options.agent = job.text("agent");
    options.connection = job.integer("connection");
    for (const json::Value& rule : job.at("rules").items())
        options.rules.push_back(parse_egress_rule(rule.as_string()));
    options.proxies = {job.text("http"), job.text("https"), job.text("except")};
    return options;
}

int egress_route_main() {
    set_log_name("peacrab egress-route");
    try {
        UniqueFd job(4);
        std::string text;
        std::vector<char> piece(65536);
        while (const size_t n = read_some(job.get(), piece).value_or(0)) {
            text.append(piece.data(), n);
            if (text.size() > MiB(1).count) throw Error("egress: the job is too long");
        }
        job.reset();
        const EgressRouteOptions options = read_egress_job(text);
        confine(options);
        return serve_egress_route(options);
    } catch (const std::exception& error) {
        log(LogLevel::Error, error.what());
        return 1;
    }
}

}  // namespace peacrab
