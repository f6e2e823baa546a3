// Moves bytes between two sockets with back pressure. Must not look at them.
#include "relay_pair.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "error.h"

namespace peacrab {

RelayPair::RelayPair(int client, int server) : client_(client), server_(server) {
    set_nonblocking(client);
    set_nonblocking(server);
}

bool RelayPair::write_some(int fd, std::string& bytes, uint64_t& count) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    bytes.erase(0, static_cast<size_t>(n));
    count += static_cast<uint64_t>(n);
    return true;
}

bool RelayPair::read_into(int fd, std::string& bytes, bool& ended) {
    std::array<char, kBuffer> piece;
    const ssize_t n = ::recv(fd, piece.data(), piece.size(), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) ended = true;
    bytes.append(piece.data(), static_cast<size_t>(n));
    return true;
}

RelayPair::Outcome RelayPair::round(Read which, Deadline deadline) {
    const bool read_client = (which == Read::Client || which == Read::Both) && !client_ended &&
                             to_server.size() + from_client.size() < kBuffer;
    const bool read_server = (which == Read::Server || which == Read::Both) && !server_ended &&
                             to_client.size() + from_server.size() < kBuffer;
    const auto events = [](bool in, bool out) {
        return static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0));
    };
    // A side that waits for nothing is left out, for poll reports a hang-up without being asked.
    pollfd both[2] = {{client_, events(read_client, !to_client.empty()), 0},
                      {server_, events(read_server, !to_server.empty()), 0}};
    if (!both[1].events) both[1].fd = -1;
    if (!both[0].events && client_ended && !to_server.empty()) both[0].fd = -1;
    const int ready = ::poll(both, 2, deadline.poll_timeout());
    if (ready < 0) return errno == EINTR ? Outcome::Moved : Outcome::Broken;
    if (ready == 0) return Outcome::Idle;
    const short client = both[0].revents;
    const short server = both[1].revents;
    constexpr short kGone = POLLHUP | POLLERR | POLLNVAL;
    if ((client & kGone) && !(client & POLLIN)) return Outcome::Broken;  // nobody is there any more
    if ((client & POLLOUT) && !write_some(client_, to_client, down)) return Outcome::Broken;
    if ((server & (POLLOUT | kGone)) && !to_server.empty() && !write_some(server_, to_server, up))
        return Outcome::Broken;
    if (read_client && (client & (POLLIN | kGone)) && !read_into(client_, from_client, client_ended))
        return Outcome::Broken;
    if (read_server && (server & (POLLIN | kGone)) && !read_into(server_, from_server, server_ended))
        return Outcome::Broken;
    return Outcome::Moved;
}

void RelayPair::shut_server() { ::shutdown(server_, SHUT_WR); }
void RelayPair::shut_client() { ::shutdown(client_, SHUT_WR); }

}  // namespace peacrab
