// The order is the protection: hide, read the request, open what will be needed (the way out, the CAs, what the
// libraries want of the system), then the jail, and only then a byte from outside. Whatever a page does to the
// code below, it has one socket, which leads where the rules let this agent go anyway, and its own stdout.
//
// It must not follow a redirect (each is decided anew, with a further child), must not send a cookie or a
// credential, and must not say that something failed for a reason that a server made up.
#include "builtins/tool_fetch.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>

#include "cells/mechanism.h"
#include "cells/shared_relay.h"
#include "error.h"
#include "http.h"
#include "jail.h"
#include "json.h"
#include "landlock.h"
#include "os.h"
#include "protocols/search_api.h"
#include "trust.h"
#include "web/characters.h"
#include "web/page.h"

namespace peacrab {
namespace {

constexpr size_t kMaxRequest = size_t{1} << 20;
constexpr Bytes kMaxPage = MiB(10);
constexpr size_t kMaxText = size_t{448} << 10;  // with its line of JSON within Cell::kMaxAnswer
constexpr size_t kMaxHead = size_t{16} << 10;
constexpr size_t kMaxSentence = 600;  // of a proxy that refuses
constexpr Bytes kMaxMemory = MiB(384);
constexpr rlim_t kOpenFiles = 16;

std::string read_request() {
    std::string text = read_all(STDIN_FILENO, kMaxRequest);
    if (text.size() > kMaxRequest) throw Error("request: too large");
    return text;
}

// The proxy of the cell; that it is on its way says nothing yet.
UniqueFd way_out() {
    const std::optional<ProxyAddress> proxy = proxy_of_environment();
    if (!proxy) throw Error("there is no way out here: tools reach the web only through a proxy");
    UniqueFd socket = dial(*proxy);
    if (!socket) throw Error("the way out of this place does not answer");
    return socket;
}

// The cell's own CAs, as its shell has them, and what the environment of the agent adds.
std::string trusted(const json::Value& request) {
    const std::string instead = request.text("ca_pem"), more = request.text("ca_base64");
    if (!more.empty() && instead.empty()) ::setenv("PROXY_CA_CERT_B64", more.c_str(), 1);
    if (!instead.empty()) return instead + "\n" + decode_base64(more);
    const Trust trust = find_trust(TrustFrom::Environment);
    return trust.pem.empty() ? read_file(trust.path, MiB(8)) : trust.pem;
}

bool limit(__rlimit_resource resource, rlim_t most) {
    rlimit now;
    if (::getrlimit(resource, &now) < 0) return false;
    now.rlim_cur = now.rlim_max = std::min(now.rlim_max, most);
    return ::setrlimit(resource, &now) == 0;
}

// From here on: streams and memory.
void confine(rlim_t seconds) {
    // A certificate's dates would otherwise have the libc look for the machine's time zone.
    if (::setenv("TZ", "UTC0", 1) < 0) throw ErrnoError("fetch: time zone");
    ::tzset();
    const JailFilter filter = JailFilter::compile(JailClass::Fetch);
    const UniqueFd nothing = landlock_ruleset({}, 1);
    if (!limit(RLIMIT_AS, kMaxMemory.count) || !limit(RLIMIT_CPU, seconds) || !limit(RLIMIT_NOFILE, kOpenFiles) ||
        !limit(RLIMIT_CORE, 0) || !limit(RLIMIT_FSIZE, 0))
        throw ErrnoError("fetch: limits");
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) throw ErrnoError("fetch: no-new-privs");
    if (!landlock_restrict(nothing.get())) throw ErrnoError("fetch: landlock");
    if (!filter.install()) throw ErrnoError("fetch: install filter");
}

void wait_for(int socket, short events, Deadline deadline) {
    pollfd one{socket, events, 0};
    if (::poll(&one, 1, deadline.poll_timeout()) != 1) throw Error("the way out of this place does not answer");
}

// What the proxy says for itself, on one line.
std::string sentence(std::string_view text) {
    std::string line = clean_text(text.substr(0, 4 * kMaxSentence));
    std::replace(line.begin(), line.end(), '\n', ' ');
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return std::string(utf8_prefix(line, kMaxSentence));
}

// Byte by byte, because what follows the head belongs to somebody else.
std::string read_head(int socket, Deadline deadline) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
        char byte;
        wait_for(socket, POLLIN, deadline);
        const ssize_t n = ::recv(socket, &byte, 1, 0);
        if (n < 0 && errno == EAGAIN) continue;
        if (n <= 0 || head.size() > kMaxHead) throw Error("the way out of this place broke off");
        head += byte;
    }
    return head;
}

// Asks the proxy for a tunnel; a refusal is its word, not a page's.
void open_tunnel(int socket, const WebAddress& to, Deadline deadline) {
    const std::string ask = "CONNECT " + to.place() + " HTTP/1.1\r\nHost: " + to.place() + "\r\n\r\n";
    wait_for(socket, POLLOUT, deadline);
    if (::send(socket, ask.data(), ask.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(ask.size()))
        throw Error("the way out of this place does not answer");
    const std::string head = read_head(socket, deadline);
    if (head.size() > 12 && head.starts_with("HTTP/1.") && head[9] == '2') return;
    std::string body;
    std::array<char, 4096> bytes;
    for (pollfd one{socket, POLLIN, 0}; body.size() < kMaxSentence && ::poll(&one, 1, 2000) == 1;) {
        const ssize_t n = ::recv(socket, bytes.data(), bytes.size(), 0);
        if (n <= 0) break;
        body.append(bytes.data(), static_cast<size_t>(n));
    }
    const std::string said = sentence(body);
    throw Error("not reached: " + (said.empty() ? sentence(head.substr(0, head.find('\r'))) : said));
}

// Whoever is at the other end of our stdin searches: its answer is read, not asked for.
bool searches() {
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

json::Value failed(const std::string& why) {
    return json::Value::object({{"ok", false}, {"error", why}});
}

struct Fetched {
    json::Value answer;
    std::string text;
};

HttpRequest page_request(const WebAddress& at) {
    HttpRequest request;
    request.method = "GET";
    request.url = at.text();
    request.headers = {"User-Agent: Mozilla/5.0 (compatible; peacrab/" + std::string(kVersion) + ")",
                       "Accept: text/html,application/xhtml+xml,text/*;q=0.9,application/pdf;q=0.8,*/*;q=0.5",
                       "Accept-Language: en,*;q=0.5"};
    return request;
}

Fetched describe(const HttpResult& got, std::string_view body, const WebAddress& at) {
    using Failure = HttpResult::Failure;
    const bool cut = got.failure == Failure::TooLarge && !body.empty();
    if (got.failure != Failure::None && !cut) return {failed(got.detail), {}};
    Fetched fetched;
    json::Value& answer = fetched.answer;
    answer = json::Value::object({{"ok", true}, {"status", got.status}, {"url", at.text()}});
    const std::string to = got.header("location");
    if (got.status / 100 == 3 && !to.empty()) {
        std::string location = resolve_link(at, to);
        location.resize(std::min(location.find('#'), location.size()));
        if (location.empty()) return {failed("it redirects to what cannot be fetched: " + sentence(to)), {}};
        answer.set("location", location);
        return fetched;
    }
    PageText page = read_page(body, got.header("content-type"), at, kMaxText);
    if (cut && page.note.empty()) page.note = "only its beginning: it is larger than 10 MiB";
    answer.set("type", sentence(got.content_type));
    answer.set("title", sentence(page.title));
    answer.set("note", page.note);
    answer.set("bytes", body.size());
    fetched.text = std::move(page.text);
    return fetched;
}

Fetched fetch(const json::Value& request) {
    const WebAddress at = parse_address(request.text("url"));
    const int factor = static_cast<int>(std::clamp<int64_t>(request.integer("factor", 1), 1, 100));
    const Seconds limit{kFetchSeconds * factor};
    UniqueFd socket = way_out();
    const int way = socket.get();
    HttpOptions options;
    options.connector = [&socket] { return std::move(socket); };
    options.pem = trusted(request);
    options.connect_limit = options.first_byte_limit = limit / 2;
    options.idle_limit = limit / 4;
    options.response_limit = kMaxPage;
    HttpClient client(std::move(options));
    confine(static_cast<rlim_t>(limit.count()));
    if (at.tls) open_tunnel(way, at, Deadline::in(limit / 2));
    std::string body;
    const HttpResult got = client.send(
        page_request(at), [](const HttpResult&) { return true; },
        [&body](std::string_view piece) { body += piece; });
    return describe(got, body, at);
}

Fetched found() {
    confine(kFetchSeconds);
    std::string line;
    std::vector<char> buffer(65536);
    while (const size_t n = read_some(STDIN_FILENO, buffer).value_or(0)) {
        line.append(buffer.data(), n);
        if (line.size() > kMaxSearchLine) throw Error("the search service's answer is too long");
        if (line.ends_with('\n')) break;
    }
    if (line.empty()) throw Error("the search was not answered; try again, or fetch a page whose address you know");
    const json::Value answer = json::parse(line, {kMaxSearchLine, 6});
    if (!answer.flag("ok")) return {failed("not searched: " + sentence(answer.text("error", "no reason given"))), {}};
    std::string text;
    int number = 0;
    for (const json::Value& item : answer.at("results").items())
        text += std::to_string(++number) + ". " + item.text("title") + "\n   " + item.text("url") + "\n   " +
                item.text("snippet") + "\n";
    if (text.empty()) text = "(nothing was found)\n";
    return {json::Value::object({{"ok", true}, {"status", 200}, {"type", "text/plain"}}), std::move(text)};
}

}  // namespace

int tool_fetch_main() {
    // What runs beside us in the cell must not read or steer us.
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) return 125;
    Fetched fetched;
    try {
        fetched = searches() ? found() : fetch(json::parse(read_request(), {kMaxRequest, 4}));
    } catch (const Error& error) {
        fetched = {failed(error.what()), {}};
    } catch (const std::bad_alloc&) {
        fetched = {failed("the page needs more memory than is spent on one"), {}};
    }
    try {
        write_all(STDOUT_FILENO, json::dump(fetched.answer) + "\n" + fetched.text);
    } catch (const std::exception&) {
        return 1;  // nobody is left to tell
    }
    return 0;
}

}  // namespace peacrab
