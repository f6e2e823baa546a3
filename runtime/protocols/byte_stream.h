// A connection that carries bytes: what a WebSocket, IRC, IMAP and SMTP are spoken over. TLS, the proxy (CONNECT) and
// whom to trust are as with http.h; there is no other code for them.
// Source: CURLOPT_CONNECT_ONLY(3), curl_easy_send(3).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "os.h"

namespace peacrab {

// The first words of a protocol that libcurl speaks: over to TLS where that begins in the clear (STARTTLS), and a login
// by the best way the server offers. What follows is the caller's.
struct ByteStreamLogin {
    enum class Protocol : uint8_t { None, Imap, Smtp } protocol = Protocol::None;
    bool starttls = false;  // `tls` is then what it comes to: without it there is no connection
    std::string user;       // "": no login
    const Secret* secret = nullptr;
    bool token = false;     // the secret is one of OAuth 2 (XOAUTH2, OAUTHBEARER)
    std::string domain;     // Smtp: whom to say we are
};

struct ByteStreamOptions {
    std::string host;  // a name or an address literal, of IPv6 with its brackets
    uint16_t port = 0;
    bool tls = true;
    bool http = false;                   // what is spoken inside is HTTP/1.1: said to the server in the TLS handshake
    bool environment = false;            // proxy and CA as HttpOptions::environment
    Milliseconds connect_limit{15'000};  // name, proxy and TLS included, and the login
    ByteStreamLogin login = {};
};

class ByteStream {
  public:
    // How a connection came to be, or why there is none; nothing of what is to be said has gone out then.
    struct [[nodiscard]] Opened {
        std::unique_ptr<ByteStream> stream;  // empty: see below
        bool hopeless = false;               // trying again would not help: the name of the server, a CA
        bool refused = false;                // the login was
        int proxy_answer = 0;                // of a proxy that refused
        std::string detail;                  // a sentence for a person, never a credential
    };
    // Blocks. `cancel_fd`, when it becomes readable, ends that within about a second.
    static Opened open(const ByteStreamOptions& options, int cancel_fd = -1);
    ~ByteStream();

    // What follows never blocks. wait() may only be called after read() has said Nothing: bytes that TLS holds are
    // not seen by poll(2).
    enum class Got { Some, Nothing, Ended, Broken };  // Ended: the other end closed it
    Got read(std::string& onto, size_t most);         // appends
    // Takes some of the bytes, or none for now. False: the connection is gone.
    bool write(std::string_view bytes, size_t& taken);
    bool flushed() const;  // all that was taken has gone out; if not, write() again, with nothing if need be
    // Until there may be something to read, to write (when something waits for it), or to read at `wake_fd`
    // (true), or the time is over.
    bool wait(Milliseconds most, int wake_fd = -1);

  private:
    ByteStream();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace peacrab
