// One typed wrapper over libcurl: one request at a time, the response streamed to a sink.
//
// Used by the turn process (to the model route of the link, or through a foreign sandbox's proxy)
// and on the host by the gateway (where TLS starts). Redirects are never followed. Only http and
// https. Source: https://curl.se/libcurl/c/.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os.h"

namespace peacrab {

struct HttpOptions {
    // When set, every connection is a stream socket got from here, already connected: no resolver,
    // no proxy, and TLS (else https is refused) only with `pem`. This is the model route. When empty,
    // sockets are ours.
    std::function<UniqueFd()> connector;
    // With a connector: the CAs that https trusts over it, and what it leads to is the server; for plain
    // http, a proxy. The client then opens nothing after its making (class fetch), or throws there.
    std::string pem;
    // Proxy and CA from the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY (either case),
    // SSL_CERT_FILE, PROXY_CA_CERT_B64 (base64 of a PEM bundle, trusted beside the system's).
    // Read anew for each client, because such a CA rotates. Ignored with a connector. When false:
    // no proxy, the system's bundle.
    bool environment = false;
    Milliseconds connect_limit{10'000};      // name, proxy and TLS included
    Milliseconds first_byte_limit{120'000};  // after the last byte of the request went out
    Milliseconds idle_limit{120'000};        // silence after the first byte; pings count as life
    Bytes error_body_limit = MiB(1);
    Bytes response_limit = MiB(64);  // after decompression
};

struct HttpRequest {
    std::string method = "POST";
    std::string url;
    std::vector<std::string> headers;  // "Name: value"; a line break in one is refused
    std::string body;
    // Asked after each piece the sink took. True: the rest is of no interest, and the response is
    // whole however it ends; up to 250 ms are waited for its end so that the connection can serve
    // again. Empty: the whole response is wanted.
    std::function<bool()> enough;
    Milliseconds first_byte_limit{0};  // of this one; 0: the client's
};

struct [[nodiscard]] HttpResult {
    enum class Failure {
        Unknown,      // the zero value: not sent, and trying again would not help (`detail`: why)
        None,         // a whole response arrived; look at `status`
        Unreachable,  // no connection: name, refused, proxy, TLS (`detail` says which)
        Cut,          // the connection ended inside the response, or before it
        Silent,       // first byte or idle limit
        TooLarge,     // headers 256 KiB, or a limit of the options; `body` is what fitted
        Cancelled,    // `cancel_fd` said so
    } failure = Failure::Unknown;
    int status = 0;            // 0: no headers came
    std::string content_type;  // lower case, without parameters
    // Names in lower case. Those that describe the transfer (content-encoding, content-length,
    // transfer-encoding, connection) are left out: the body is given decoded.
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;  // only of responses the sink did not take (see send)
    // One sentence for a person, never a credential. Set for every failure, and for a redirect
    // (failure None, status 3xx), which is a wrong address.
    std::string detail;
    std::string header(std::string_view lower_case_name) const;  // "" when absent
};

class HttpClient {
  public:
    explicit HttpClient(HttpOptions options);
    ~HttpClient();
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;

    // What the libraries do once: the first request does it, or somebody who has time before. Throws Error.
    static void prepare();

    // Blocks until the response has ended. `wants` is asked once, when the headers are there: true
    // sends the body to `sink` piece by piece, false collects it (bounded) into the result.
    // `cancel_fd`, when ≥ 0, is polled beside the transfer; when it becomes readable the transfer
    // is dropped within 100 ms with Failure::Cancelled (nothing is read from it).
    // An exception from `sink` is carried out of send(). A connection is kept for the next send().
    HttpResult send(const HttpRequest& request, std::function<bool(const HttpResult&)> wants,
                    std::function<void(std::string_view)> sink, int cancel_fd = -1);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// The time of an HTTP date ("Wed, 21 Oct 2026 07:28:00 GMT") in Unix seconds. RFC 9110, 5.6.7.
std::optional<int64_t> http_date(const std::string& text);
// "https://host" or "http://host:8080": the part of an address that may be shown; escaped. No user
// name or password. "" when it is not an address.
std::string origin_of(const std::string& url);

}  // namespace peacrab
