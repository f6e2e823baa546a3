// Blocking: who waits is a person at a terminal, and Ctrl-C ends it. The guest bounds its silence.
#include "files_link.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "client.h"
#include "error.h"

namespace peacrab {
namespace {

[[noreturn]] void cut_off() {
    throw Error("files: the connection ended before all was done: run it again, only what differs is "
                "sent; `peacrab doctor` tells whether the machine runs");
}

// What the guest sends: bytes, then lines.
class Incoming {
  public:
    explicit Incoming(int fd) : fd_(fd) {}
    // What has come, or comes next; empty at the end.
    std::string_view next() {
        if (at_ == filled_) {
            at_ = 0;
            try {
                filled_ = read_some(fd_, bytes_).value_or(0);
            } catch (const Error&) {  // reset
                filled_ = 0;
            }
        }
        return {bytes_.data() + at_, filled_ - at_};
    }
    void took(size_t n) { at_ += n; }
    std::string line() {
        std::string out;
        for (;;) {
            const std::string_view piece = next();
            if (piece.empty()) cut_off();
            const size_t end = piece.find('\n');
            out += piece.substr(0, end);
            if (out.size() > kMaxFilesLine) throw Error("files: the guest sent a line that is too long");
            took(std::min(end, piece.size() - 1) + 1);
            if (end != std::string_view::npos) return out;
        }
    }

  private:
    int fd_;
    size_t at_ = 0, filled_ = 0;
    std::array<char, 65536> bytes_;
};

// Who has refused does not read on; its verdict says why.
bool sent(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
}

void send_all(int fd, std::string_view bytes) {
    (void)sent(fd, bytes);
    ::shutdown(fd, SHUT_WR);
}

std::string lines_of(const std::vector<std::string>& paths) {
    std::string text;
    for (const std::string& path : paths) text += escaped(path) + "\n";
    return text;
}

}  // namespace

UniqueFd FilesLink::open(const std::string& op, const std::string& path) {
    std::optional<FrameSocket> gateway = connect_gateway(place_);
    if (!gateway)
        throw Error("the machine `" + place_.name + "` does not run; start it: " +
                    command_for("up", place_.name));
    const json::Value answer = ask_gateway(
        *gateway,
        json::Value::object(
            {{"type", "open"}, {"what", "files"}, {"agent", agent_}, {"op", op}, {"path", escaped(path)}}),
        Seconds(60));
    if (answer.text("type") != "opened") throw Error("files: the gateway's answer is none");
    // Nothing was read ahead: the guest speaks only when it was asked something, which comes now.
    UniqueFd fd(::fcntl(gateway->fd(), F_DUPFD_CLOEXEC, 3));
    if (!fd) throw ErrnoError("files: connection");
    return fd;
}

FilesVerdict FilesLink::list(const std::string& path, const Ignore& rules, Listing& into) {
    const UniqueFd fd = open("list", path);
    send_all(fd.get(), rules.text());
    Incoming in(fd.get());
    return read_listing([&] { return in.line(); }, into);
}

// A line that says an archive comes stands before it: what was refused has none.
FilesVerdict FilesLink::get(const std::string& path, const std::vector<std::string>& paths,
                            TarReader::Handlers handlers,
                            const std::function<void(Archive)>& kind) {
    const UniqueFd fd = open("get", path);
    send_all(fd.get(), lines_of(paths));
    Incoming in(fd.get());
    const std::string first = in.line();
    if (first.starts_with('{')) return parse_verdict(first);
    if (kind) kind(first == "archive of a file" ? Archive::OfFile : Archive::OfFolder);
    TarReader reader(std::move(handlers), {.entries = kMostFilesEntries});
    while (!reader.ended()) {
        const std::string_view piece = in.next();
        if (piece.empty()) cut_off();
        in.took(reader.feed(piece));
    }
    return parse_verdict(in.line());
}

FilesVerdict FilesLink::put(const std::string& path, const std::function<void(TarWriter&)>& fill) {
    const UniqueFd fd = open("put", path);
    struct Refused {};
    TarWriter writer([&](std::string_view bytes) {
        if (!sent(fd.get(), bytes)) throw Refused();
    });
    try {
        fill(writer);
        writer.finish();
    } catch (const Refused&) {
    }
    ::shutdown(fd.get(), SHUT_WR);
    return parse_verdict(Incoming(fd.get()).line());
}

FilesVerdict FilesLink::remove(const std::string& path, const std::vector<std::string>& paths) {
    const UniqueFd fd = open("remove", path);
    send_all(fd.get(), lines_of(paths));
    return parse_verdict(Incoming(fd.get()).line());
}

}  // namespace peacrab
