// HTTP bytes from a guest that may be hostile, turned into one request. Two parsers that disagree
// on where a request ends are how requests are smuggled; so what is unusual is refused before the
// parser (Boost.Beast) sees it: folded lines, bare CR or LF, control bytes, two lengths, a length
// beside chunks, trailing bytes. Nothing received here is ever passed on as bytes: the caller
// builds its own request. Must not know what the requests mean. The only file that includes Beast.
#include "http_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>

#include "os.h"

namespace peacrab {
namespace {

namespace http = boost::beast::http;
using Parser = http::request_parser<http::string_body>;

constexpr size_t kReadBytes = size_t{64} << 10;
// One chunk's size line or the trailers: what the parser may leave unused while it wants more.
constexpr size_t kMaxUnparsed = size_t{16} << 10;
constexpr Milliseconds kLinger{2'000};
constexpr size_t kMaxLinger = size_t{64} << 20;

// `head` ends with the empty line. RFC 9112 lets a server refuse all of these.
void check_head(std::string_view head) {
    if (head.starts_with("\r\n")) throw BadRequest(400, "the request begins with an empty line");
    for (size_t i = 0; i < head.size(); ++i) {
        const auto c = static_cast<unsigned char>(head[i]);
        if (c == '\n' && (i == 0 || head[i - 1] != '\r'))
            throw BadRequest(400, "a line of the request ends without CR");
        if (c == '\r' && head[i + 1] != '\n') throw BadRequest(400, "the request has a bare CR");
        if (c == '\n' && i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t'))
            throw BadRequest(400, "the request has a folded header");
        if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c >= 0x7f)
            throw BadRequest(400, "the request's header has a control or non-ASCII byte");
    }
}

size_t count(const Parser& parser, http::field name) {
    const auto range = parser.get().base().equal_range(name);
    return static_cast<size_t>(std::distance(range.first, range.second));
}

// One way to say how long the body is, and it must be said.
void check_framing(const Parser& parser) {
    const auto& fields = parser.get().base();
    if (fields.version() != 11) throw BadRequest(505, "only HTTP/1.1 is spoken here");
    const size_t lengths = count(parser, http::field::content_length);
    const size_t codings = count(parser, http::field::transfer_encoding);
    if (lengths + codings > 1)
        throw BadRequest(400, "the request says more than once how long its body is");
    const auto coding = fields[http::field::transfer_encoding];
    if (codings == 1 && lower({coding.data(), coding.size()}) != "chunked")
        throw BadRequest(400, "the request's transfer coding is not chunked");
    const auto length = fields[http::field::content_length];
    if (std::any_of(length.begin(), length.end(), [](char c) { return c < '0' || c > '9'; }))
        throw BadRequest(400, "the request's content length is no number");
}

void check_error(const boost::system::error_code& error) {
    if (!error || error == http::error::need_more) return;
    if (error == http::error::body_limit)
        throw BadRequest(413, "the request is larger than the model route accepts");
    if (error == http::error::header_limit)
        throw BadRequest(431, "the request's header is too long");
    throw BadRequest(400, "the request is no valid HTTP: " + printable(error.message()));
}

ServedRequest request_of(Parser& parser, HeaderLines headers) {
    auto message = parser.release();
    ServedRequest request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.headers = std::move(headers);
    request.body = std::move(message.body());
    return request;
}

HeaderLines headers_of(const Parser& parser) {
    HeaderLines lines;
    for (const auto& field : parser.get().base())
        lines.emplace_back(lower({field.name_string().data(), field.name_string().size()}),
                           std::string(field.value()));
    return lines;
}

std::string head_of(int status, const HeaderLines& headers) {
    const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
    std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason) + "\r\n";
    for (const auto& [name, value] : headers) {
        const bool clean = std::none_of(value.begin(), value.end(), [](char c) {
            return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
        });
        if (clean) head += name + ": " + value + "\r\n";
    }
    return head;
}

}  // namespace

std::optional<std::string> ServedRequest::header(std::string_view lower_case_name) const {
    std::optional<std::string> value;
    for (const auto& [name, text] : headers) {
        if (name != lower_case_name) continue;
        if (value) return std::nullopt;
        value = text;
    }
    return value;
}

bool HttpServer::fill(Deadline deadline) {
    struct pollfd entry {
        fd_, POLLIN, 0
    };
    int ready;
    do {
        ready = poll(&entry, 1, deadline.poll_timeout());
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) throw ErrnoError("model route: wait for a request");
    if (ready == 0) throw BadRequest(408, "the request did not arrive in time");
    const size_t before = in_.size();
    in_.resize(before + kReadBytes);
    const auto n = read_some(fd_, std::span(in_.data() + before, kReadBytes));
    in_.resize(before + n.value_or(0));
    return !n || *n > 0;
}

// Everything up to and with the empty line; empty at a clean end of the connection.
std::string HttpServer::take_head() {
    const Milliseconds limit = std::min(limits_.head, limits_.request);
    Deadline deadline = in_.empty() ? Deadline::never() : Deadline::in(limit);
    for (;;) {
        const size_t end = in_.find("\r\n\r\n");
        if (std::min(end, in_.size()) > limits_.header.count)
            throw BadRequest(431, "the request's header is too long");
        if (end != std::string::npos) {
            std::string head = in_.substr(0, end + 4);
            in_.erase(0, end + 4);
            return head;
        }
        const bool first = in_.empty();
        if (!fill(deadline)) {
            if (in_.empty()) return {};
            throw BadRequest(400, "the request ends in the middle");
        }
        if (first) deadline = Deadline::in(limit);
    }
}

std::optional<ServedRequest> HttpServer::next() {
    const std::string head = take_head();
    if (head.empty()) return std::nullopt;
    const Deadline deadline = Deadline::in(limits_.request);
    check_head(head);
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(limits_.header.count + 4));
    parser.body_limit(limits_.body.count);
    boost::system::error_code error;
    parser.put(boost::asio::buffer(head), error);
    check_error(error);
    if (!parser.is_header_done()) throw BadRequest(400, "the request is no valid HTTP");
    check_framing(parser);
    HeaderLines headers = headers_of(parser);  // before a trailer can add to them
    if (in_.empty() && parser.get().base()[http::field::expect] == "100-continue")
        send("HTTP/1.1 100 Continue\r\n\r\n");
    parser.eager(true);
    while (!parser.is_done()) {
        const size_t used = in_.empty() ? 0 : parser.put(boost::asio::buffer(in_), error);
        check_error(error);
        in_.erase(0, used);
        if (parser.is_done() || used > 0) continue;
        if (in_.size() > kMaxUnparsed) throw BadRequest(400, "a chunk of the request has no end");
        if (!fill(deadline)) throw BadRequest(400, "the request ends in the middle");
    }
    if (!in_.empty()) throw BadRequest(400, "bytes came after the request");
    return request_of(parser, std::move(headers));
}

void HttpServer::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes.remove_prefix(static_cast<size_t>(n));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) throw ErrnoError("model route: answer");
        struct pollfd entry {
            fd_, POLLOUT, 0
        };
        const int ready = poll(&entry, 1, Deadline::in(limits_.write).poll_timeout());
        if (ready == 0) throw Error("model route: answer: the guest takes nothing any more");
        if (ready < 0 && errno != EINTR) throw ErrnoError("model route: answer");
    }
}

void HttpServer::begin(int status, const HeaderLines& headers) {
    send(head_of(status, headers) + "transfer-encoding: chunked\r\n\r\n");
}

void HttpServer::piece(std::string_view bytes) {
    if (bytes.empty()) return;  // an empty chunk would be the end
    char size[24];
    snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    std::string chunk = size;
    chunk.append(bytes).append("\r\n");
    send(chunk);
}

void HttpServer::end() {
    send("0\r\n\r\n");
}

void HttpServer::answer(int status, const HeaderLines& headers, std::string_view body,
                        After after) {
    std::string whole = head_of(status, headers);
    whole += "content-length: " + std::to_string(body.size()) + "\r\n";
    if (after == After::Close) whole += "connection: close\r\n";
    whole += "\r\n";
    whole += body;
    send(whole);
}

void HttpServer::hang_up() {
    shutdown(fd_, SHUT_WR);
    const Deadline deadline = Deadline::in(kLinger);
    size_t read_away = 0;
    try {
        while (read_away < kMaxLinger && !deadline.passed()) {
            in_.clear();
            if (!fill(deadline)) return;
            read_away += in_.size();
        }
    } catch (const Error&) {  // time is up or the client has gone: either is the end
    }
}

}  // namespace peacrab
