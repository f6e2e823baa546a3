// What the link costs: a round trip and a bulk stream through two ports on a socketpair, beside the
// same through a bare unix socket in the same run. Prints one line each; the ratio is the number to
// watch. Each end is a process of its own, as host and guest are. The bulk stream comes from a
// third process through a joined socket: two socket hops beside the one of the floor, and on two
// cores a process more than there are cores; its ratio says what a relayed transfer costs, not the
// framing alone. No virtual machine is in it.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "error.h"
#include "link.h"
#include "loop.h"

using namespace peacrab;

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kTrips = 20'000;
constexpr size_t kMessage = 200;  // a chat frame
constexpr size_t kBulk = size_t{256} << 20;
constexpr size_t kPiece = size_t{64} << 10;
constexpr unsigned kLimitSeconds = 120;

double microseconds(Clock::duration span) {
    return std::chrono::duration<double, std::micro>(span).count();
}

// Runs `what` in a child until it returns; the child is reaped when the guard goes.
class Child {
  public:
    explicit Child(const std::function<void()>& what) : pid_(::fork()) {
        if (pid_ < 0) throw ErrnoError("bench: fork");
        if (pid_ > 0) return;
        ::alarm(kLimitSeconds);
        what();
        ::_exit(0);
    }
    ~Child() {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

  private:
    pid_t pid_;
};

// The buffer is the caller's: to make one for each message would cost the bare socket more than the
// message does.
void read_all(int fd, size_t bytes, std::vector<char>& buffer) {
    while (bytes > 0) {
        const auto got = read_some(fd, {buffer.data(), std::min(bytes, buffer.size())});
        if (!got || *got == 0) throw Error("bench: the other end has gone");
        bytes -= *got;
    }
}

void write_bulk(int fd) {
    const std::string piece(kPiece, 'b');
    for (size_t sent = 0; sent < kBulk; sent += piece.size()) write_all(fd, piece);
}

struct Trips {
    double p50, p99;
};

Trips summary(std::vector<double> spans) {
    std::sort(spans.begin(), spans.end());
    return {spans[spans.size() / 2], spans[spans.size() * 99 / 100]};
}

Trips bare_trips() {
    auto pair = SocketPair::stream();
    const std::string message(kMessage, 'm');
    Child echo([&] {
        pair.ours.reset();
        std::vector<char> buffer(kPiece);
        for (int i = 0; i < kTrips; ++i) {
            read_all(pair.theirs.get(), kMessage, buffer);
            write_all(pair.theirs.get(), message);
        }
    });
    pair.theirs.reset();
    std::vector<double> spans;
    std::vector<char> buffer(kPiece);
    for (int i = 0; i < kTrips; ++i) {
        const auto start = Clock::now();
        write_all(pair.ours.get(), message);
        read_all(pair.ours.get(), kMessage, buffer);
        spans.push_back(microseconds(Clock::now() - start));
    }
    return summary(std::move(spans));
}

double bare_bulk() {
    auto pair = SocketPair::stream();
    Child writer([&] {
        pair.ours.reset();
        write_bulk(pair.theirs.get());
        char byte;
        (void)read_some(pair.theirs.get(), {&byte, 1});
    });
    pair.theirs.reset();
    std::vector<char> buffer(kPiece);
    const auto start = Clock::now();
    read_all(pair.ours.get(), kBulk, buffer);
    return static_cast<double>(kBulk) / microseconds(Clock::now() - start);
}

// The guest's process: gives chat frames back; fills a `log` stream when it is told to.
void guest(UniqueFd wire) {
    Loop loop;
    LinkPort* self = nullptr;
    std::vector<std::unique_ptr<Child>> writers;
    LinkPort port(loop, std::move(wire), Link::Side::Guest,
                  {.opened =
                       [&](StreamId, const std::string& kind, const std::string&) {
                           if (kind != "files") return;
                           auto pair = SocketPair::stream();
                           writers.push_back(std::make_unique<Child>([&] {
                               pair.ours.reset();
                               write_bulk(pair.theirs.get());
                           }));
                           self->join(self->open("log"), std::move(pair.ours));
                       },
                   .data = [&](StreamId id, std::string_view bytes) { self->send(id, bytes); }});
    self = &port;
    loop.run();
}

struct Measured {
    Trips trips;
    double bulk;
};

Measured through_link() {
    auto wire = SocketPair::stream();
    Child other([&] {
        wire.ours.reset();
        guest(std::move(wire.theirs));
    });
    wire.theirs.reset();
    Loop loop;
    std::vector<double> spans;
    const std::string message(kMessage, 'm');
    size_t received = 0;
    StreamId chat = 0;
    Clock::time_point start;
    LinkPort* self = nullptr;
    const auto on_data = [&](StreamId id, std::string_view bytes) {
        received += bytes.size();
        if (id != chat) return received == kBulk ? loop.stop() : void();
        if (received < kMessage) return;
        received = 0;
        spans.push_back(microseconds(Clock::now() - start));
        if (spans.size() == kTrips) return loop.stop();
        start = Clock::now();
        self->send(id, message);
    };
    LinkPort port(loop, std::move(wire.ours), Link::Side::Host,
                  {.attached = [&](const std::string&) { loop.stop(); },
                   .opened = [](StreamId, const std::string&, const std::string&) {},
                   .data = on_data});
    self = &port;
    port.attach(1);
    loop.run();
    chat = port.open("chat");
    start = Clock::now();
    port.send(chat, message);
    loop.run();
    received = 0;
    port.open("files");
    start = Clock::now();
    loop.run();
    return {summary(std::move(spans)),
            static_cast<double>(kBulk) / microseconds(Clock::now() - start)};
}

}  // namespace

int main() {
    ::alarm(kLimitSeconds);
    try {
        const Trips bare = bare_trips();
        const double bare_rate = bare_bulk();
        const Measured link = through_link();
        std::printf(
            "link round trip, %zu bytes: p50 %.1f us, p99 %.1f us; bare unix socket p50 "
            "%.1f us, p99 %.1f us; ratio %.2f, %.2f\n",
            kMessage, link.trips.p50, link.trips.p99, bare.p50, bare.p99, link.trips.p50 / bare.p50,
            link.trips.p99 / bare.p99);
        std::printf(
            "link bulk stream, %zu MiB: %.0f MB/s; bare unix socket %.0f MB/s; ratio %.2f\n",
            kBulk >> 20, link.bulk, bare_rate, link.bulk / bare_rate);
    } catch (const Error& error) {
        std::fprintf(stderr, "link_bench: %s\n", error.what());
        return 1;
    }
    return 0;
}
