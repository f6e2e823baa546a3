// Moves the bytes of one client and one server in the cell, at most one piece of each in memory. A
// request that must not go on ends the connection: the client asks again over another one, which is
// judged from its beginning and gets an answer.
#include "gated_connection.h"

#include <sys/socket.h>

#include <array>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kPiece = size_t{64} << 10;

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

GatedConnection::GatedConnection(Loop& loop, const PortGate& gate, UniqueFd client, UniqueFd inner,
                                 std::function<void()> ended, Milliseconds patience)
    : loop_(loop), requests_(gate), ended_(std::move(ended)), patience_(patience) {
    client_.fd = std::move(client);
    cell_.fd = std::move(inner);
    set_nonblocking(client_.fd.get());
    set_nonblocking(cell_.fd.get());
    watch(client_, true, false);
    watch(cell_, true, false);
}

GatedConnection::~GatedConnection() {
    watch(client_, false, false);
    watch(cell_, false, false);
    for (const auto timer : {farewell_, waiting_})
        if (timer) loop_.cancel(timer);
}

// False: the connection is over.
bool GatedConnection::read_client() {
    std::array<char, kPiece> bytes;
    const ssize_t n = ::recv(client_.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0) return would_block();
    up_.ended = n == 0;
    const GatedRequests::Step step = requests_.take({bytes.data(), static_cast<size_t>(n)});
    up_.waiting = step.pass;
    if (up_.ended) be_patient();
    return !step.over;
}

bool GatedConnection::read_cell() {
    std::array<char, kPiece> bytes;
    const ssize_t n = ::recv(cell_.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0) return would_block();
    down_.ended = n == 0;
    down_.waiting.assign(bytes.data(), static_cast<size_t>(n));
    if (up_.ended) be_patient();
    return true;
}

bool GatedConnection::write(End& to, Way& way) {
    if (!way.waiting.empty()) {
        const ssize_t n =
            ::send(to.fd.get(), way.waiting.data(), way.waiting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) return would_block();
        way.waiting.erase(0, static_cast<size_t>(n));
    }
    if (way.ended && way.waiting.empty() && !way.shut) {
        way.shut = true;
        ::shutdown(to.fd.get(), SHUT_WR);
    }
    return true;
}

void GatedConnection::be_patient() {
    if (waiting_) loop_.cancel(waiting_);
    waiting_ = loop_.after(patience_, [this] {
        waiting_ = 0;
        if (!over_) end();
    });
}

void GatedConnection::act() {
    if (over_) return;
    const bool well = (up_.ended || !up_.waiting.empty() || read_client()) &&
                      (down_.ended || !down_.waiting.empty() || read_cell()) && write(cell_, up_) &&
                      write(client_, down_);
    if (!well || (up_.done() && down_.done())) return end();
    watch(client_, !up_.ended && up_.waiting.empty(), !down_.waiting.empty());
    watch(cell_, !down_.ended && down_.waiting.empty(), !up_.waiting.empty());
}

// Watches for what can make progress, and for nothing else: a hang-up comes without being asked for.
void GatedConnection::watch(End& end, bool in, bool out) {
    const int wanted = (in ? POLLIN : 0) | (out ? POLLOUT : 0);
    const int fd = end.fd.get();
    if (wanted == end.watched) return;
    if (wanted == 0) loop_.forget(fd);
    else if (end.watched == 0) loop_.watch(fd, static_cast<short>(wanted), [this](short) { act(); });
    else loop_.change(fd, static_cast<short>(wanted));
    end.watched = static_cast<short>(wanted);
}

void GatedConnection::end() {
    over_ = true;
    watch(client_, false, false);
    watch(cell_, false, false);
    farewell_ = loop_.after(Milliseconds(0), [this] {
        farewell_ = 0;
        const auto ended = ended_;
        ended();
    });
}

}  // namespace peacrab
