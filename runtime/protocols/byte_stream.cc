// libcurl opens the connection and then only carries bytes (CONNECT_ONLY).
//
// A piece that was handed to TLS and did not go out must be handed to it again unchanged, at the same place: it is kept
// here until it has gone. This file must not put a credential into `detail`.
#include "protocols/byte_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "error.h"
#include "http.h"
#include "protocols/curl_setup.h"

namespace peacrab {
namespace {

constexpr size_t kPiece = 16 << 10;

curl_socket_t on_open(void*, curlsocktype, struct curl_sockaddr* address) {
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    pollfd entry{*static_cast<int*>(user), POLLIN, 0};
    return entry.fd >= 0 && ::poll(&entry, 1, 0) > 0 ? 1 : 0;
}

std::string address_of(const ByteStreamOptions& options) {
    using Protocol = ByteStreamLogin::Protocol;
    const Protocol protocol = options.login.protocol;
    std::string url = protocol == Protocol::Imap ? "imap" : protocol == Protocol::Smtp ? "smtp" : "http";
    if (options.tls && !options.login.starttls) url += "s";
    return url + "://" + options.host + ":" + std::to_string(options.port) + "/" + options.login.domain;
}

void set_login(CURL* easy, const ByteStreamOptions& options) {
    const ByteStreamLogin& login = options.login;
    if (login.protocol == ByteStreamLogin::Protocol::None) return;
    set_option(easy, CURLOPT_USE_SSL, long{options.tls ? CURLUSESSL_ALL : CURLUSESSL_NONE});
    set_option(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, static_cast<long>(options.connect_limit.count() / 1000));
    if (login.user.empty() || !login.secret) return;
    set_option(easy, CURLOPT_USERNAME, login.user.c_str());
    set_option(easy, login.token ? CURLOPT_XOAUTH2_BEARER : CURLOPT_PASSWORD, login.secret->reveal().c_str());
}

}  // namespace

struct ByteStream::State {
    CURL* easy = nullptr;
    Trust trust;
    curl_socket_t socket = CURL_SOCKET_BAD;
    std::string piece;  // that TLS has been handed, or will be
    size_t gone = 0;    // of it
    char message[CURL_ERROR_SIZE] = {};

    State() {
        HttpClient::prepare();
        easy = curl_easy_init();
        if (!easy) throw std::bad_alloc();
        piece.reserve(kPiece);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { curl_easy_cleanup(easy); }

    // The origin of the proxy that applies, or "".
    std::string set_up(const ByteStreamOptions& options, int* cancel_fd) {
        set_option(easy, CURLOPT_URL, address_of(options).c_str());
        set_option(easy, CURLOPT_CONNECT_ONLY, 1L);
        set_option(easy, CURLOPT_NOSIGNAL, 1L);
        set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https,imap,imaps,smtp,smtps");
        set_login(easy, options);
        set_option(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
        set_option(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
        set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        set_option(easy, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
        set_option(easy, CURLOPT_SSL_ENABLE_ALPN, options.http ? 1L : 0L);
        set_option(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        set_option(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_limit.count()));
        set_option(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
        set_option(easy, CURLOPT_ERRORBUFFER, message);
        set_option(easy, CURLOPT_NOPROGRESS, 0L);
        set_option(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
        set_option(easy, CURLOPT_XFERINFODATA, cancel_fd);
        const std::string through = set_proxy(easy, options.tls, options.environment);
        if (options.tls || through.starts_with("https:"))
            set_trust(easy, trust = find_trust(options.environment ? TrustFrom::Environment : TrustFrom::System));
        return through;
    }
};

ByteStream::ByteStream() : state_(std::make_unique<State>()) {}
ByteStream::~ByteStream() = default;

ByteStream::Opened ByteStream::open(const ByteStreamOptions& options, int cancel_fd) {
    Opened out;
    const std::string place = printable(options.host) + ":" + std::to_string(options.port);
    std::unique_ptr<ByteStream> stream(new ByteStream);
    State& state = *stream->state_;
    std::string proxy;
    try {
        if (options.host.empty() || options.host.find_first_of(" /@?#\\\r\n") != std::string::npos || !options.port)
            throw Error(place + " is not a place to connect to");
        if (options.login.domain.find_first_of(" /@?#%\\\r\n") != std::string::npos) throw Error(printable(options.login.domain) + " is no name of a host");
        proxy = state.set_up(options, &cancel_fd);
    } catch (const Error& error) {
        out.hopeless = true;
        out.detail = error.what();
        return out;
    }
    CURLcode code = curl_easy_perform(state.easy);
    set_option(state.easy, CURLOPT_XFERINFODATA, static_cast<void*>(nullptr));
    set_option(state.easy, CURLOPT_NOPROGRESS, 1L);
    if (code == CURLE_OK) code = curl_easy_getinfo(state.easy, CURLINFO_ACTIVESOCKET, &state.socket);
    if (code == CURLE_OK && state.socket != CURL_SOCKET_BAD) {
        out.stream = std::move(stream);
        return out;
    }
    long answer = 0;
    curl_easy_getinfo(state.easy, CURLINFO_HTTP_CONNECTCODE, &answer);
    out.proxy_answer = static_cast<int>(answer);
    out.hopeless = is_hopeless(state.easy, code);
    out.refused = code == CURLE_LOGIN_DENIED;
    out.detail = "cannot reach " + place + (proxy.empty() ? "" : " through the proxy " + proxy) + ": " +
                 why_no_connection(state.easy, code, state.message, options.connect_limit);
    return out;
}

ByteStream::Got ByteStream::read(std::string& onto, size_t most) {
    const size_t before = onto.size();
    onto.resize(before + most);
    size_t count = 0;
    const CURLcode code = curl_easy_recv(state_->easy, onto.data() + before, most, &count);
    onto.resize(before + (code == CURLE_OK ? count : 0));
    if (code == CURLE_AGAIN) return Got::Nothing;
    if (code != CURLE_OK) return Got::Broken;
    return count > 0 ? Got::Some : Got::Ended;
}

bool ByteStream::write(std::string_view bytes, size_t& taken) {
    taken = 0;
    for (;;) {
        if (flushed()) {
            state_->piece.assign(bytes.substr(taken, kPiece));  // within what is reserved: it does not move
            state_->gone = 0;
            taken += state_->piece.size();
            if (state_->piece.empty()) return true;
        }
        size_t count = 0;
        const CURLcode code = curl_easy_send(state_->easy, state_->piece.data() + state_->gone,
                                             state_->piece.size() - state_->gone, &count);
        if (code == CURLE_AGAIN) return true;
        if (code != CURLE_OK) return false;
        state_->gone += count;
    }
}

bool ByteStream::flushed() const {
    return state_->gone == state_->piece.size();
}

bool ByteStream::wait(Milliseconds most, int wake_fd) {
    const short wanted = static_cast<short>(flushed() ? POLLIN : POLLIN | POLLOUT);
    pollfd entries[] = {{state_->socket, wanted, 0}, {wake_fd, POLLIN, 0}};
    const int64_t limit = std::clamp<int64_t>(most.count(), 0, 60'000);
    if (::poll(entries, wake_fd >= 0 ? 2 : 1, static_cast<int>(limit)) <= 0) return false;
    return wake_fd >= 0 && entries[1].revents != 0;
}

}  // namespace peacrab
