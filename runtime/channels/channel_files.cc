// What is downloaded is nobody's friend: it is counted as it comes, handed on in pieces, and looked at by nobody here.
// A server that trickles is given up like one that is silent.
#include "channels/channel_files.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "error.h"

namespace peacrab {
namespace {

constexpr Milliseconds kSilence{15'000};
constexpr Milliseconds kWhole{150'000};  // below what README.md says: the answer has to arrive in time
constexpr size_t kPiece = size_t{512} << 10;
constexpr size_t kMostAsked = size_t{64} << 10;  // bytes of a request to the fetcher

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

namespace {

void download(ChannelPort& port, const std::string& id, uint64_t most, const std::string& url,
              const std::vector<std::string>& headers, const std::string& what) {
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

std::vector<std::string> texts_of(const json::Value& array) {
    std::vector<std::string> texts;
    for (const json::Value& item : array.items()) texts.push_back(item.as_string());
    return texts;
}

[[noreturn]] void run_fetcher(ChannelPort& port, const UniqueFd& asked, pid_t parent, void (*confine)()) noexcept {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || ::getppid() != parent) ::_exit(1);
    try {
        confine();
        std::string bytes(kMostAsked, '\0');
        for (ssize_t n; (n = ::recv(asked.get(), bytes.data(), bytes.size(), 0)) > 0;) {
            const json::Value request = json::parse(std::string_view(bytes).substr(0, static_cast<size_t>(n)), {kMostAsked, 2});
            if (port.hidden().empty())
                for (std::string& secret : texts_of(request.at("hide"))) port.hide(std::move(secret));
            download(port, request.text("id"), static_cast<uint64_t>(request.integer("most")), request.text("url"),
                     texts_of(request.at("headers")), request.text("what"));
        }
    } catch (const std::exception& error) {
        log(LogLevel::Error, port.sentence(error.what()));
    }
    ::_exit(0);
}

json::Value array_of(const std::vector<std::string>& texts) {
    json::Value array = json::Value::array();
    for (const std::string& text : texts) array.push(text);
    return array;
}

}  // namespace

void begin_fetcher(ChannelPort& port, void (*confine)()) {
    SocketPair pair = SocketPair::seqpacket();
    UniqueFd turn = in_memory({});
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid < 0) throw ErrnoError("channel: fork");
    if (pid > 0) return port.share(std::move(turn), std::move(pair.ours));
    pair.ours.reset();
    port.share(std::move(turn), {});
    run_fetcher(port, pair.theirs, parent, confine);
}

void answer_fetch(ChannelPort& port, const json::Value& fetch, const std::string& url,
                  const std::vector<std::string>& headers, const std::string& what) {
    const std::string id = fetch.text("id");
    const int64_t most = std::max<int64_t>(fetch.integer("most"), 0);
    std::vector<std::string> hide;
    for (const Secret& secret : port.hidden()) hide.push_back(secret.reveal());
    const Secret request(json::dump(json::Value::object({{"id", id},
                                                         {"most", most},
                                                         {"url", url},
                                                         {"headers", array_of(headers)},
                                                         {"what", what},
                                                         {"hide", array_of(hide)}})));
    const auto size = static_cast<ssize_t>(request.reveal().size());
    const int fetcher = request.reveal().size() <= kMostAsked ? port.fetcher_fd() : -1;
    if (fetcher >= 0 && ::send(fetcher, request.reveal().data(), request.reveal().size(), MSG_NOSIGNAL | MSG_DONTWAIT) == size) return;
    if (fetcher >= 0 && errno == EAGAIN) return port.not_fetched(id, "too much is fetched already");
    download(port, id, static_cast<uint64_t>(most), url, headers, what);  // it has gone, or never was
}

}  // namespace peacrab
