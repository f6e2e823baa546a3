// libcurl behind one blocking call. The multi interface is used for a single transfer, because only
// there can a foreign descriptor (the person's "stop") be polled beside the socket and our own
// clocks run: curl has no timer for "silent after the first byte".
//
// Everything the server says is bounded here, before anyone parses it. This file must not follow a
// redirect, must not ask a resolver on the model route, must not put a credential into `detail`,
// and must not load a CA bundle for plain http (20-30 ms). Beside protocols/byte_stream.cc and
// curl_setup the only file that includes curl; it compiles against 7.88 (Debian 12) and 8.14 (ours, static).
#include "http.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "error.h"
#include "protocols/curl_setup.h"

namespace peacrab {

namespace {

using Clock = std::chrono::steady_clock;
using Failure = HttpResult::Failure;

constexpr size_t kHeaderLimit = size_t{256} << 10;
constexpr Milliseconds kLinger{250};

std::string_view trimmed(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

class Url {
  public:
    explicit Url(const std::string& text) : handle_(curl_url()) {
        if (!handle_) throw std::bad_alloc();
        valid_ = resolve(text);
    }
    ~Url() { curl_url_cleanup(handle_); }
    Url(const Url&) = delete;
    Url& operator=(const Url&) = delete;

    // Sets the address, or moves to one that may be relative (RFC 3986, section 5).
    bool resolve(const std::string& text) {
        return curl_url_set(handle_, CURLUPART_URL, text.c_str(),
                            CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) == CURLUE_OK;
    }
    bool valid() const { return valid_; }
    std::string part(CURLUPart which) const {
        char* text = nullptr;
        if (curl_url_get(handle_, which, &text, 0) != CURLUE_OK) return {};
        std::string out(text);
        curl_free(text);
        return out;
    }
    std::string origin() const {
        const std::string port = part(CURLUPART_PORT);
        return printable(part(CURLUPART_SCHEME) + "://" + part(CURLUPART_HOST) +
                         (port.empty() ? "" : ":" + port));
    }

  private:
    CURLU* handle_;
    bool valid_ = false;
};

}  // namespace

struct HttpClient::State {
    HttpOptions options;
    CURLM* multi = nullptr;
    CURL* easy = nullptr;
    std::optional<Trust> trust;  // found at the first https request

    explicit State(HttpOptions o) : options(std::move(o)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (easy) curl_easy_reset(easy);  // it still points into the last transfer
        if (easy) curl_easy_cleanup(easy);
        if (multi) curl_multi_cleanup(multi);
    }
    void open() {
        if (easy) return;
        HttpClient::prepare();
        multi = curl_multi_init();
        easy = curl_easy_init();
        if (!multi || !easy) throw std::bad_alloc();
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 2L);
    }
};

void HttpClient::prepare() {
    static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (global != CURLE_OK) throw Error("http: libcurl does not start");
}

namespace {

struct Transfer {
    const HttpOptions& options;
    const HttpRequest& request;
    const std::function<bool(const HttpResult&)>& wants;
    const std::function<void(std::string_view)>& sink;

    HttpResult result{};
    std::string origin{};  // of the address asked for
    std::string proxy{};   // origin of the proxy that applies, or ""
    std::exception_ptr thrown{};
    std::string opening{};  // why no socket could be opened
    UniqueFd real{};        // see connects_twice
    int stand_in = -1;
    size_t header_bytes = 0;
    size_t body_bytes = 0;
    curl_off_t uploaded = 0;
    bool connected = false;    // the request is on its way
    bool heard = false;        // a byte of the response came
    bool answered = false;     // its headers are whole
    bool taken = false;        // its body goes to the sink
    bool satisfied = false;    // request.enough() said so
    Clock::time_point life{};  // when a byte last moved
    char message[CURL_ERROR_SIZE] = {};

    bool stop(Failure failure) {
        if (result.failure == Failure::Unknown) result.failure = failure;
        return false;
    }
    bool take_header(std::string_view line);
    bool take_body(std::string_view piece);
    void finish_headers();
    Milliseconds silence() const;  // that is borne now
    Clock::time_point limit() const;
};

void Transfer::finish_headers() {
    answered = true;
    std::string type = lower(result.header("content-type"));
    type.resize(std::min(type.find(';'), type.size()));
    result.content_type = trimmed(type);
    std::erase_if(result.headers, [](const auto& header) {
        return header.first == "content-encoding" || header.first == "content-length" ||
               header.first == "transfer-encoding" || header.first == "connection";
    });
    taken = wants && wants(result);
}

// Called line by line, also for interim responses (1xx) and for trailers.
bool Transfer::take_header(std::string_view line) {
    heard = true;
    life = Clock::now();
    header_bytes += line.size();
    if (header_bytes > kHeaderLimit) return stop(Failure::TooLarge);
    if (answered) return true;  // trailers
    if (line.substr(0, 5) == "HTTP/") {
        result.headers.clear();
        const size_t space = line.find(' ');
        const std::string code(space < line.size() ? line.substr(space + 1, 3) : "");
        result.status = code.size() == 3 ? std::atoi(code.c_str()) : 0;
        return true;
    }
    if (trimmed(line).empty()) {
        if (result.status >= 200) finish_headers();
        return true;
    }
    if (const size_t colon = line.find(':'); colon != std::string_view::npos)
        result.headers.emplace_back(lower(line.substr(0, colon)),
                                    std::string(trimmed(line.substr(colon + 1))));
    return true;
}

bool Transfer::take_body(std::string_view piece) {
    life = Clock::now();
    body_bytes += piece.size();
    if (!taken) {
        const size_t room = options.error_body_limit.count - result.body.size();
        result.body.append(piece.substr(0, room));
        return piece.size() <= room || stop(Failure::TooLarge);
    }
    if (body_bytes > options.response_limit.count) return stop(Failure::TooLarge);
    if (satisfied) return true;
    sink(piece);
    if (request.enough && request.enough()) satisfied = true;
    return true;
}

// When this transfer counts as dead. Before it is connected, curl's own timer runs.
Clock::time_point Transfer::limit() const {
    if (!connected) return Clock::time_point::max();
    if (satisfied) return life + kLinger;
    return life + silence();
}

Milliseconds Transfer::silence() const {
    if (heard) return options.idle_limit;
    return request.first_byte_limit > Milliseconds(0) ? request.first_byte_limit : options.first_byte_limit;
}

// C callbacks: an exception must not cross curl's frames; it is kept and thrown again by send().
size_t guarded(Transfer& transfer, size_t size, auto&& step) {
    try {
        return step() ? size : 0;
    } catch (...) {
        transfer.thrown = std::current_exception();
        return 0;
    }
}

size_t on_header(char* bytes, size_t, size_t size, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    return guarded(transfer, size, [&] { return transfer.take_header({bytes, size}); });
}

size_t on_body(char* bytes, size_t, size_t size, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    return guarded(transfer, size, [&] { return transfer.take_body({bytes, size}); });
}

// libcurl 7.88 (Debian 12, so only development builds) has a fault: it calls connect() also on a
// socket that is said to be connected (curl issue 10626). It is given a datagram socket, whose
// connect() always works, and the real one takes that number when the request is about to go out.
bool connects_twice() {
    return curl_version_info(CURLVERSION_NOW)->version_num < 0x080000;
}

int on_connected(void* user, char*, char*, int, int) {
    auto& transfer = *static_cast<Transfer*>(user);
    if (transfer.real) {
        const int flags = ::fcntl(transfer.real.get(), F_GETFL);
        if (flags < 0 || ::fcntl(transfer.real.get(), F_SETFL, flags | O_NONBLOCK) < 0 ||
            ::dup3(transfer.real.get(), transfer.stand_in, O_CLOEXEC) < 0)
            return CURL_PREREQFUNC_ABORT;
        transfer.real.reset();
    }
    transfer.connected = true;
    transfer.life = Clock::now();
    return CURL_PREREQFUNC_OK;
}

// Our own socket() only for its CLOEXEC, which curl does not set in every version.
curl_socket_t on_open(void* user, curlsocktype, struct curl_sockaddr* address) {
    auto& transfer = *static_cast<Transfer*>(user);
    if (!transfer.options.connector)
        return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    try {
        transfer.real = transfer.options.connector();
    } catch (const std::exception& error) {
        transfer.opening = error.what();
        return CURL_SOCKET_BAD;
    }
    if (!connects_twice()) return transfer.real.release();
    return transfer.stand_in = ::socket(address->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int on_opened(void* user, curl_socket_t, curlsocktype) {
    const bool connected = static_cast<Transfer*>(user)->options.connector && !connects_twice();
    return connected ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

class HeaderList {
  public:
    HeaderList() = default;
    HeaderList(const HeaderList&) = delete;
    HeaderList& operator=(const HeaderList&) = delete;
    ~HeaderList() { curl_slist_free_all(list_); }
    void add(const std::string& line) {
        if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
            throw Error("the header " + printable(line.substr(0, line.find(':'))) +
                        " (a key, perhaps) has a line break in it");
        curl_slist* longer = curl_slist_append(list_, line.c_str());
        if (!longer) throw std::bad_alloc();
        list_ = longer;
    }
    curl_slist* get() const { return list_; }

  private:
    curl_slist* list_ = nullptr;
};

void set_request(CURL* easy, const HttpRequest& request) {
    set_option(easy, CURLOPT_URL, request.url.c_str());
    if (request.method == "GET") {
        set_option(easy, CURLOPT_HTTPGET, 1L);
    } else if (request.method == "HEAD") {
        set_option(easy, CURLOPT_NOBODY, 1L);
    } else {
        set_option(easy, CURLOPT_POST, 1L);
        set_option(easy, CURLOPT_POSTFIELDS, request.body.data());
        set_option(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        if (request.method != "POST")
            set_option(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
}

void set_callbacks(CURL* easy, Transfer& transfer) {
    void* user = &transfer;
    set_option(easy, CURLOPT_HEADERFUNCTION, on_header);
    set_option(easy, CURLOPT_HEADERDATA, user);
    set_option(easy, CURLOPT_WRITEFUNCTION, on_body);
    set_option(easy, CURLOPT_WRITEDATA, user);
    set_option(easy, CURLOPT_PREREQFUNCTION, on_connected);
    set_option(easy, CURLOPT_PREREQDATA, user);
    set_option(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    set_option(easy, CURLOPT_OPENSOCKETDATA, user);
    set_option(easy, CURLOPT_SOCKOPTFUNCTION, on_opened);
    set_option(easy, CURLOPT_SOCKOPTDATA, user);
    set_option(easy, CURLOPT_ERRORBUFFER, transfer.message);
}

void set_transport(CURL* easy, const HttpOptions& options) {
    set_option(easy, CURLOPT_NOSIGNAL, 1L);
    set_option(easy, CURLOPT_FOLLOWLOCATION, 0L);
    set_option(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set_option(easy, CURLOPT_ACCEPT_ENCODING, "");
    set_option(easy, CURLOPT_BUFFERSIZE, 65536L);
    set_option(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_limit.count()));
    set_option(easy, CURLOPT_QUICK_EXIT, 1L);  // a cancel must not wait for the resolver's thread
    if (options.connector) {
        set_option(easy, CURLOPT_PROTOCOLS_STR, options.pem.empty() ? "http" : "http,https");
        set_option(easy, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);  // else it tries whether there is IPv6
        return;
    }
    set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set_option(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    // HTTP/2 by ALPN. A curl built without it says no, and then HTTP/1.1 is right.
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_2TLS});
}

void set_way(CURL* easy, Transfer& transfer, bool https) {
    transfer.proxy = set_proxy(easy, https, transfer.options.environment && !transfer.options.connector);
    if (transfer.options.pem.empty() || https) return;
    set_option(easy, CURLOPT_PROXY, "http://127.0.0.1");
    set_option(easy, CURLOPT_NOPROXY, "");
    transfer.proxy = origin_of("http://127.0.0.1");
}

bool readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 0) > 0;  // a hang-up counts: whoever could cancel has gone
}

// Keeps the clock alive while a large request still goes out.
void note_upload(CURL* easy, Transfer& transfer) {
    curl_off_t sent = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent == transfer.uploaded) return;
    transfer.uploaded = sent;
    transfer.life = Clock::now();
}

CURLcode drive(CURLM* multi, CURL* easy, Transfer& transfer, int cancel_fd) {
    for (;;) {
        if (cancel_fd >= 0 && readable(cancel_fd)) {
            transfer.stop(Failure::Cancelled);
            return CURLE_ABORTED_BY_CALLBACK;
        }
        int running = 0, queued = 0;
        if (curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_FAILED_INIT;
        if (CURLMsg* done = curl_multi_info_read(multi, &queued)) return done->data.result;
        if (!transfer.heard) note_upload(easy, transfer);
        const auto now = Clock::now();
        const auto limit = transfer.limit();
        if (now >= limit) {
            if (!transfer.satisfied) transfer.stop(Failure::Silent);
            return CURLE_OPERATION_TIMEDOUT;
        }
        auto wait = std::chrono::ceil<Milliseconds>(
            std::min<Clock::duration>(limit - now, std::chrono::seconds(60)));
        curl_waitfd extra{cancel_fd, CURL_WAIT_POLLIN, 0};
        curl_multi_poll(multi, &extra, cancel_fd >= 0 ? 1 : 0, static_cast<int>(wait.count()),
                        nullptr);
    }
}

Failure classify(CURL* easy, CURLcode code, const Transfer& transfer) {
    if (transfer.satisfied) return Failure::None;
    // curl takes an end of file inside the headers for a response.
    if (code == CURLE_OK) return transfer.answered ? Failure::None : Failure::Cut;
    if (!transfer.connected) return is_hopeless(easy, code) ? Failure::Unknown : Failure::Unreachable;
    // One header line beyond curl's own limit: by its new name, which 7.88 lacks, and its old one.
    constexpr int kTooLarge = 100;
    return int{code} == kTooLarge || code == CURLE_OUT_OF_MEMORY ? Failure::TooLarge : Failure::Cut;
}

std::string seconds(Milliseconds span) {
    return span < Seconds(1) ? std::to_string(span.count()) + " ms"
                             : std::to_string(span.count() / 1000) + " s";
}

std::string describe(CURL* easy, CURLcode code, const Transfer& transfer) {
    const std::string& origin = transfer.origin;
    switch (transfer.result.failure) {
        case Failure::Unknown:
        case Failure::Unreachable:
            return "cannot reach " + origin +
                   (transfer.proxy.empty() ? "" : " through the proxy " + transfer.proxy) + ": " +
                   (transfer.opening.empty()
                        ? why_no_connection(easy, code, transfer.message, transfer.options.connect_limit)
                        : printable(transfer.opening));
        case Failure::Cut:
            return origin + (transfer.answered ? " broke off in the middle of its answer"
                                               : " closed the connection without an answer");
        case Failure::Silent:
            return origin + " sent nothing for " +
                   seconds(transfer.silence());
        case Failure::TooLarge:
            return origin + " sent more than is accepted";
        case Failure::Cancelled:
            return "cancelled";
        case Failure::None:
            break;
    }
    const std::string location = transfer.result.header("location");
    if (transfer.result.status / 100 != 3 || location.empty()) return {};
    Url target(transfer.request.url);
    return origin + " redirects to " +
           (target.resolve(location) ? target.origin() : "an address that cannot be read") + " (" +
           std::to_string(transfer.result.status) + "), and redirects are not followed";
}

// Takes the transfer off in every case, so that the next one starts clean. Connections stay.
struct Attached {
    CURLM* multi;
    CURL* easy;
    Attached(CURLM* m, CURL* e) : multi(m), easy(e) {
        if (curl_multi_add_handle(multi, easy) != CURLM_OK) throw Error("http: cannot start");
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;
    ~Attached() { curl_multi_remove_handle(multi, easy); }
};

}  // namespace

std::string HttpResult::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

HttpClient::HttpClient(HttpOptions options) : state_(std::make_unique<State>(std::move(options))) {
    if (state_->options.pem.empty()) return;
    if (connects_twice()) throw Error("this program's libcurl is older than 8.0, which cannot be confined");
    state_->open();
    state_->trust = Trust{{}, state_->options.pem};
}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

HttpResult HttpClient::send(const HttpRequest& request,
                            std::function<bool(const HttpResult&)> wants,
                            std::function<void(std::string_view)> sink, int cancel_fd) {
    Transfer transfer{state_->options, request, wants, sink};
    HeaderList headers;
    HeaderList route;
    CURLcode code = CURLE_OK;
    try {
        state_->open();
        CURL* easy = state_->easy;
        curl_easy_reset(easy);  // keeps the connections
        const Url url(request.url);
        if (!url.valid()) throw Error(printable(request.url) + " is not an address");
        transfer.origin = url.origin();
        set_request(easy, request);
        set_callbacks(easy, transfer);
        set_transport(easy, state_->options);
        const bool https = url.part(CURLUPART_SCHEME) == "https";
        set_way(easy, transfer, https);
        // On the model route an address literal stands in for the host: no resolver is asked.
        if (state_->options.connector && transfer.proxy.empty()) route.add("::127.0.0.1:80");
        set_option(easy, CURLOPT_CONNECT_TO, route.get());
        if (https || transfer.proxy.starts_with("https:")) {
            if (!state_->trust)
                state_->trust = find_trust(state_->options.environment ? TrustFrom::Environment
                                                                       : TrustFrom::System);
            set_trust(easy, *state_->trust);
        }
        for (const std::string& line : request.headers) headers.add(line);
        headers.add("Expect:");  // else a large body first waits for "100 continue"
        set_option(easy, CURLOPT_HTTPHEADER, headers.get());
    } catch (const Error& error) {
        transfer.result.detail = error.what();
        return std::move(transfer.result);
    }
    {
        const Attached attached(state_->multi, state_->easy);
        code = drive(state_->multi, state_->easy, transfer, cancel_fd);
        if (transfer.thrown) std::rethrow_exception(transfer.thrown);
        if (transfer.result.failure == Failure::Unknown)
            transfer.result.failure = classify(state_->easy, code, transfer);
        transfer.result.detail = describe(state_->easy, code, transfer);
    }
    return std::move(transfer.result);
}

std::optional<int64_t> http_date(const std::string& text) {
    const time_t when = curl_getdate(text.c_str(), nullptr);
    if (when == -1) return std::nullopt;
    return when;
}

std::string origin_of(const std::string& url) {
    const Url parsed(url);
    return parsed.valid() ? parsed.origin() : "";
}

}  // namespace peacrab
