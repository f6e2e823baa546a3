// Reads heads byte by byte, with a finite set of shapes. What is unusual is refused: nobody who means
// well sends it, and each odd form is read differently by some server. Must not repair anything, for
// the bytes of a body go on as they came.
#include "http_head.h"

#include <algorithm>

#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMaxLines = 100;
constexpr size_t kMaxExtra = size_t{16} << 10;
constexpr int kMaxSizeDigits = 12;

bool is_token_byte(char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_token_byte);
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

// The lines of a head, without their ends. Throws the first fault.
std::vector<std::string_view> lines_of(std::string_view head) {
    std::vector<std::string_view> lines;
    if (!head.ends_with("\r\n\r\n")) throw Error("the head has no end");
    head.remove_suffix(2);
    while (!head.empty()) {
        const size_t end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos)
            throw Error("a line of the head has a bare CR or LF, or a NUL");
        if (line.empty() || line.front() == ' ' || line.front() == '\t')
            throw Error("the head has a folded or an empty line");
        lines.push_back(line);
        if (lines.size() > kMaxLines) throw Error("the head has too many lines");
        head.remove_prefix(end + 2);
    }
    return lines;
}

HeaderLines headers_of(const std::vector<std::string_view>& lines) {
    HeaderLines headers;
    for (size_t i = 1; i < lines.size(); ++i) {
        const size_t colon = lines[i].find(':');
        if (colon == std::string_view::npos || !is_token(lines[i].substr(0, colon)))
            throw Error("a header line has no proper name");
        headers.emplace_back(lower(lines[i].substr(0, colon)), trim(lines[i].substr(colon + 1)));
    }
    return headers;
}

bool has_strange_byte(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && c != '\t' && c != '\r' && c != '\n') || byte >= 0x7f;
    });
}

int minor_of(std::string_view version) {
    if (version == "HTTP/1.1") return 1;
    if (version == "HTTP/1.0") return 0;
    throw Error("only HTTP/1.1 and HTTP/1.0 are spoken here");
}

RequestHead request_of(std::string_view text) {
    const std::vector<std::string_view> lines = lines_of(text);
    if (lines.empty()) throw Error("there is no request line");
    const size_t first = lines[0].find(' ');
    const size_t second = first == std::string_view::npos ? first : lines[0].find(' ', first + 1);
    if (second == std::string_view::npos) throw Error("the request line has not three parts");
    RequestHead head;
    head.method = lines[0].substr(0, first);
    head.target = lines[0].substr(first + 1, second - first - 1);
    head.minor = minor_of(lines[0].substr(second + 1));
    if (!is_token(head.method) || head.method.size() > 20) throw Error("the method is no token");
    if (head.target.empty() || head.target.find('\t') != std::string::npos)
        throw Error("the request's target is empty or has a tab");
    head.headers = headers_of(lines);
    return head;
}

size_t count(const HeaderLines& headers, std::string_view name) {
    return static_cast<size_t>(std::count_if(headers.begin(), headers.end(),
                                             [&](const auto& line) { return line.first == name; }));
}

std::string first_value(const HeaderLines& headers, std::string_view name) {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::optional<std::string> RequestHead::header(std::string_view name) const {
    if (count(headers, name) != 1) return std::nullopt;
    return first_value(headers, name);
}

RequestHead parse_request_head(std::string_view text) {
    if (has_strange_byte(text))
        throw BadRequest(400, "the request's head has a control or non-ASCII byte");
    try {
        RequestHead head = request_of(text);
        const size_t hosts = count(head.headers, "host");
        if (hosts > 1 || (hosts == 0 && head.minor == 1))
            throw BadRequest(400, "the request must have one Host header");
        return head;
    } catch (const BadRequest&) {
        throw;
    } catch (const Error& error) {
        throw BadRequest(400, std::string("the request is no valid HTTP: ") + error.what());
    }
}

ResponseHead parse_response_head(std::string_view text) {
    const std::vector<std::string_view> lines = lines_of(text);
    if (lines.empty() || lines[0].size() < 12 || lines[0][8] != ' ')
        throw Error("there is no status line");
    ResponseHead head;
    head.minor = minor_of(lines[0].substr(0, 8));
    for (size_t i = 9; i < 12; ++i) {
        if (lines[0][i] < '0' || lines[0][i] > '9') throw Error("the status is no number");
        head.status = head.status * 10 + (lines[0][i] - '0');
    }
    if (head.status < 100 || (lines[0].size() > 12 && lines[0][12] != ' '))
        throw Error("the status is no number");
    head.reason = lines[0].size() > 13 ? lines[0].substr(13) : std::string_view();
    head.headers = headers_of(lines);
    return head;
}

bool lists(std::string_view list, std::string_view word) {
    for (const std::string& item : split(list, ','))
        if (lower(trim(item)) == word) return true;
    return false;
}

bool is_hop_by_hop(std::string_view name, std::string_view connection) {
    static constexpr std::string_view kNames[] = {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "upgrade",
    };
    if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)) return true;
    // What says where the body ends, or whom it is for, stays, whatever the sender lists.
    if (name == "host" || name == "content-length" || name == "transfer-encoding") return false;
    return lists(connection, name);
}

// ---- bodies

BodyEnd BodyEnd::framed(const HeaderLines& headers) {
    BodyEnd end;
    const size_t lengths = count(headers, "content-length");
    const size_t codings = count(headers, "transfer-encoding");
    if (lengths + codings == 0) return end;
    if (lengths + codings > 1) throw Error("it says more than once how long its body is");
    if (codings) {
        if (lower(first_value(headers, "transfer-encoding")) != "chunked")
            throw Error("its transfer coding is not chunked");
        end.state_ = State::Size;
        return end;
    }
    const std::string length = first_value(headers, "content-length");
    if (length.empty() || length.size() > 18 ||
        !std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; }))
        throw Error("its content length is no number");
    end.left_ = std::stoull(length);
    end.state_ = end.left_ ? State::Length : State::Done;
    return end;
}

BodyEnd BodyEnd::of_request(const RequestHead& head) {
    try {
        if (head.minor == 0 && count(head.headers, "transfer-encoding"))
            throw Error("HTTP/1.0 has no transfer coding");
        return framed(head.headers);
    } catch (const Error& error) {
        throw BadRequest(400, std::string("the request is not clear: ") + error.what());
    }
}

BodyEnd BodyEnd::of_response(const ResponseHead& head, std::string_view method) {
    if (head.minor == 0 && count(head.headers, "transfer-encoding"))
        throw Error("HTTP/1.0 has no transfer coding");
    BodyEnd end = framed(head.headers);
    end.lenient_ = true;
    if (method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304)
        end.state_ = State::Done;
    else if (!count(head.headers, "content-length") && !count(head.headers, "transfer-encoding"))
        end.state_ = State::UntilClose;
    return end;
}

size_t BodyEnd::take(std::string_view bytes) {
    size_t used = 0;
    while (used < bytes.size() && state_ != State::Done) {
        if (state_ == State::UntilClose) return bytes.size();
        if (state_ != State::Length && state_ != State::Chunk) {
            take_byte(bytes[used++]);
            continue;
        }
        const auto n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size() - used));
        used += n;
        left_ -= n;
        if (left_ == 0) state_ = state_ == State::Length ? State::Done : State::ChunkCr;
    }
    return used;
}

// One byte of what stands around the chunks.
void BodyEnd::take_byte(char c) {
    const auto expect = [c](char wanted) {
        if (c != wanted) throw BadRequest(400, "a chunk of the body is not well formed");
    };
    const auto extra = [this] {
        if (++extra_ > kMaxExtra || !lenient_)
            throw BadRequest(400, "the chunks of the body have extensions or trailers");
    };
    switch (state_) {
        case State::Size:
            if (const int digit = hex_value(c); digit >= 0 && digits_ < kMaxSizeDigits) {
                left_ = left_ * 16 + static_cast<uint64_t>(digit);
                ++digits_;
            } else if (digits_ > 0 && c == ';') {
                extra();
                state_ = State::Extension;
            } else {
                if (digits_ == 0) expect('0');
                expect('\r');
                state_ = State::SizeEnd;
            }
            return;
        case State::Extension:
            if (c == '\r') state_ = State::SizeEnd;
            else if (c == '\n') expect('\r');
            else extra();
            return;
        case State::SizeEnd:
            expect('\n');
            digits_ = 0;
            state_ = left_ ? State::Chunk : State::Trailer;
            return;
        case State::ChunkCr:
            expect('\r');
            state_ = State::ChunkLf;
            return;
        case State::ChunkLf:
            expect('\n');
            state_ = State::Size;
            return;
        case State::Trailer:
            if (c == '\r') {
                state_ = State::LastLf;
                return;
            }
            extra();
            state_ = State::TrailerLine;
            return;
        case State::TrailerLine:
            if (c == '\r') state_ = State::TrailerLf;
            else if (c == '\n') expect('\r');
            else extra();
            return;
        case State::TrailerLf:
            expect('\n');
            state_ = State::Trailer;
            return;
        case State::LastLf:
            expect('\n');
            state_ = State::Done;
            return;
        case State::Done:
        case State::Length:
        case State::UntilClose:
        case State::Chunk:
            return;
    }
}

}  // namespace peacrab
