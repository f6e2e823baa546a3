// HTTP/1 heads and the ends of bodies, for what is passed on: strict where two parsers could disagree
// on where a message ends, which is how requests are smuggled. Pure; the callers have the sockets.
// Source: RFC 9112.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http_server.h"

namespace peacrab {

constexpr size_t kMaxHead = size_t{16} << 10;

struct RequestHead {
    std::string method;
    std::string target;
    int minor = 1;        // of HTTP/1.x
    HeaderLines headers;  // names in lower case, in order
    // The value when the name stands there exactly once.
    std::optional<std::string> header(std::string_view lower_case_name) const;
};
struct ResponseHead {
    int status = 0;
    std::string reason;
    int minor = 1;
    HeaderLines headers;
};

// `head` ends with the empty line. A request's throws BadRequest for: bare CR or LF, a folded line,
// control or non-ASCII bytes, a name that is no token, space before the colon, not exactly one Host,
// more than 100 lines. A response's throws Error.
RequestHead parse_request_head(std::string_view head);
ResponseHead parse_response_head(std::string_view head);

// True when `list`, a comma-separated header value, has `word` (lower case).
bool lists(std::string_view list, std::string_view word);
// Whether a header speaks of this connection only (RFC 9110, 7.6.1), by its name or because
// `connection`, the value of the Connection header, lists it.
bool is_hop_by_hop(std::string_view lower_case_name, std::string_view connection);

// Where a body ends. The default has ended already.
class BodyEnd {
  public:
    BodyEnd() = default;
    // Throws BadRequest: two lengths, a length beside chunks, another coding, a bad number.
    static BodyEnd of_request(const RequestHead& head);
    // `method`: what it answers. Throws Error.
    static BodyEnd of_response(const ResponseHead& head, std::string_view method);

    // How many bytes at the front of `bytes` belong to the body. Throws BadRequest for bad chunks.
    size_t take(std::string_view bytes);
    bool done() const { return state_ == State::Done; }
    bool until_close() const { return state_ == State::UntilClose; }

  private:
    enum class State {
        Done, Length, UntilClose,
        Size, Extension, SizeEnd, Chunk, ChunkCr, ChunkLf, Trailer, TrailerLine, TrailerLf, LastLf,
    };
    static BodyEnd framed(const HeaderLines& headers);
    void take_byte(char c);
    State state_ = State::Done;
    uint64_t left_ = 0;
    int digits_ = 0;
    size_t extra_ = 0;     // bytes of extensions and trailers
    bool lenient_ = false;  // a response: extensions and trailers are passed on
};

}  // namespace peacrab
