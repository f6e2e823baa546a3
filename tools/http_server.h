// The server side of HTTP/1.1 on one connected socket, for a hostile client: one request at a
// time, bounded, strict; answers whole or in chunks. Source: RFC 9112.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"
#include "os.h"

namespace peacrab {

using HeaderLines = std::vector<std::pair<std::string, std::string>>;

struct ServedRequest {
    std::string method;
    std::string target;   // as it was sent, not normalised: compare it whole
    HeaderLines headers;  // names in lower case, in order
    std::string body;
    // The value when the name stands there exactly once; else nothing.
    std::optional<std::string> header(std::string_view lower_case_name) const;
};

// A request that is not answered further: what() is the sentence, `status` goes with it. The
// connection has to be closed after the answer: where the next request begins is not known.
class BadRequest : public Error {
  public:
    BadRequest(int status, const std::string& why) : Error(why), status_(status) {}
    int status() const { return status_; }

  private:
    int status_;
};

struct HttpServerLimits {
    Bytes header = KiB(32);
    Bytes body = MiB(32);
    Milliseconds request{60'000};  // from a request's first byte to its last
    Milliseconds write{60'000};    // a client that takes nothing for so long is gone
    Milliseconds head{60'000};     // of a request, from its first byte; `request` bounds it, too
};

class HttpServer {
  public:
    explicit HttpServer(int fd, HttpServerLimits limits = {}) : fd_(fd), limits_(limits) {}

    // The next whole request; nothing at the end of the connection between two requests. Waits
    // without limit for its first byte. Throws BadRequest, or ErrnoError when the socket breaks.
    // Bytes after the request (pipelining) are a BadRequest: nobody here sends them.
    std::optional<ServedRequest> next();

    // An answer whose end is not known: begin, any number of pieces, end. Not calling end() and
    // closing the connection is what tells the client that the answer was cut.
    void begin(int status, const HeaderLines& headers);
    void piece(std::string_view bytes);
    void end();
    // A whole answer.
    enum class After { Keep, Close };
    void answer(int status, const HeaderLines& headers, std::string_view body,
                After after = After::Keep);
    // Says that nothing more will come and reads away, for a short time, what the client is still
    // sending: else it would see a broken connection instead of the answer.
    void hang_up();

  private:
    void send(std::string_view bytes);
    bool fill(Deadline deadline);  // false: end of file
    std::string take_head();

    int fd_;
    HttpServerLimits limits_;
    std::string in_;  // received and not yet used
};

}  // namespace peacrab
