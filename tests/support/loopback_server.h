// A server on loopback for tests: one thread, one connection after the other, each served by a
// function that reads requests and sends whatever bytes it likes. The n-th connection gets the n-th
// function, further ones the last.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace peacrab::test {

// One accepted connection. Every call is harmless after the peer has gone.
class Connection {
  public:
    explicit Connection(int fd) : fd_(fd) {}

    // Head and body (by content-length) of the next request; "" when the peer has gone.
    std::string request() {
        size_t head = 0;
        while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
            if (!more()) return {};
        head += 4;
        size_t length = 0;
        for (const char* name : {"Content-Length: ", "content-length: "})
            if (size_t at = buffer_.find(name); at < head)
                length = std::stoul(buffer_.substr(at + 16));
        while (buffer_.size() < head + length)
            if (!more()) return {};
        std::string whole = buffer_.substr(0, head + length);
        buffer_.erase(0, head + length);
        return whole;
    }
    // False when the peer has gone.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            bytes.remove_prefix(static_cast<size_t>(n));
        }
        return true;
    }
    void send_bytewise(std::string_view bytes) {
        const int on = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (char c : bytes)
            if (!send({&c, 1})) return;
    }
    // Silent until the peer closes.
    void hang() {
        while (more()) buffer_.clear();
    }
    // The close that follows is a reset instead of an end of file.
    void reset() {
        const struct linger now { 1, 0 };
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

  private:
    bool more() {
        char piece[4096];
        const ssize_t n = ::recv(fd_, piece, sizeof piece, 0);
        if (n > 0) buffer_.append(piece, static_cast<size_t>(n));
        return n > 0;
    }
    int fd_;
    std::string buffer_;
};

using Serve = std::function<void(Connection&)>;

class LoopbackServer {
  public:
    explicit LoopbackServer(std::vector<Serve> serve) : serve_(std::move(serve)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* any = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, any, length) != 0 || ::listen(listener_, 8) != 0 ||
            ::getsockname(listener_, any, &length) != 0)
            throw std::runtime_error("loopback server");
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    LoopbackServer(const LoopbackServer&) = delete;
    LoopbackServer& operator=(const LoopbackServer&) = delete;
    ~LoopbackServer() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            if (current_ >= 0) ::shutdown(current_, SHUT_RDWR);
        }
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    std::string port() const { return std::to_string(port_); }
    std::string url() const { return "http://127.0.0.1:" + port(); }
    int connections() const { return connections_; }

  private:
    void run() {
        for (;;) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            {
                const std::lock_guard lock(mutex_);
                current_ = fd;
                if (stopping_) ::shutdown(fd, SHUT_RDWR);
            }
            Connection connection(fd);
            const auto turn = static_cast<size_t>(connections_++);
            serve_[std::min(turn, serve_.size() - 1)](connection);
            const std::lock_guard lock(mutex_);
            current_ = -1;
            ::close(fd);
        }
    }
    std::vector<Serve> serve_;
    int listener_ = -1;
    int current_ = -1;
    bool stopping_ = false;
    uint16_t port_ = 0;
    std::atomic<int> connections_{0};
    std::mutex mutex_;
    std::thread thread_;
};

// A whole response with content-length.
inline std::string response(int status, std::string_view type, std::string_view body,
                            std::string_view more_headers = {}) {
    return "HTTP/1.1 " + std::to_string(status) +
           " Whatever\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more_headers) +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

// Answers one request.
inline Serve answer(std::string bytes) {
    return [bytes](Connection& c) {
        if (!c.request().empty()) c.send(bytes);
    };
}

}  // namespace peacrab::test
