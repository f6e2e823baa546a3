// What is downloaded is nobody's friend: it is counted as it comes, handed on in pieces, and looked at by nobody here.
// A server that trickles is given up like one that is silent.
#include "channels/channel_files.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

constexpr Milliseconds kSilence{15'000};
constexpr Milliseconds kWhole{150'000};  // below what README.md says: the answer has to arrive in time
constexpr size_t kPiece = size_t{512} << 10;

// What stands in quotes: RFC 7578 leaves these three to be escaped.
std::string quoted(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '"') out += "%22";
        else if (c == '\r' || c == '\n') out += ' ';
        else out += c;
    }
    return out;
}

}  // namespace

void Multipart::begin(std::string_view name) {
    if (!body_.empty()) body_ += "\r\n";
    body_ += "--" + boundary_ + "\r\nContent-Disposition: form-data; name=\"" + quoted(name) + "\"";
}

void Multipart::field(std::string_view name, std::string_view value) {
    begin(name);
    body_ += "\r\n\r\n";
    body_ += value;
}

void Multipart::file(std::string_view name, std::string_view file_name, std::string_view mime) {
    begin(name);
    body_ += "; filename=\"" + quoted(file_name) + "\"\r\nContent-Type: " + quoted(mime) + "\r\n\r\n";
}

std::string Multipart::content_type() const { return "Content-Type: multipart/form-data; boundary=" + boundary_; }

std::string Multipart::finish() {
    body_ += "\r\n--" + boundary_ + "--\r\n";
    return std::move(body_);
}

void answer_fetch(ChannelPort& port, const json::Value& fetch, const std::string& url,
                  const std::vector<std::string>& headers, const std::string& what) {
    const std::string id = fetch.text("id");
    const auto most = static_cast<uint64_t>(std::max<int64_t>(fetch.integer("most"), 0));
    HttpOptions options;
    options.environment = true;
    options.first_byte_limit = options.idle_limit = kSilence;
    options.response_limit = Bytes{most + 1};
    HttpClient client(std::move(options));
    HttpRequest request;
    request.method = "GET";
    request.url = url;
    request.headers = headers;
    const Deadline deadline = Deadline::in(kWhole);
    uint64_t size = 0;
    std::string piece;
    try {
        const HttpResult got = client.send(
            request, [](const HttpResult& head) { return head.status == 200; },
            [&](std::string_view bytes) {
                size += bytes.size();
                if (size > most) throw Error("it is larger than " + std::to_string(most) + " bytes");
                if (deadline.passed()) throw Error(what + " is too slow");
                if (port.ended()) throw Error("it is over");
                piece += bytes;
                if (piece.size() < kPiece) return;
                port.data(id, piece);
                piece.clear();
            });
        if (got.failure == HttpResult::Failure::TooLarge)
            return port.not_fetched(id, "it is larger than " + std::to_string(most) + " bytes");
        if (got.failure != HttpResult::Failure::None) return port.not_fetched(id, what + ": " + got.detail);
        if (got.status == 404 || got.status == 403 || got.status == 410 || got.status == 401)
            return port.not_fetched(id, what + " does not have it any more (status " + std::to_string(got.status) + ")");
        if (got.status != 200) return port.not_fetched(id, what + " answered with status " + std::to_string(got.status));
    } catch (const Error& error) {
        return port.not_fetched(id, error.what());
    }
    port.data(id, piece);
    port.fetched(id, size);
}

}  // namespace peacrab
