// What the child has to say lies in its socket when it has ended: then it is read, without waiting.
#include "messaging/errand.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMostText = size_t{64} << 10;
constexpr int kSocket = 3;
constexpr char kText = '+', kWithFd = 'f', kFailed = '-';  // the first byte of what it says

void tell(char how, const std::string& text) {
    const std::string message = how + text.substr(0, kMostText);
    if (::send(kSocket, message.data(), message.size(), MSG_NOSIGNAL) < 0) ::_exit(1);
}

[[noreturn]] void run_child(int socket, pid_t parent, const std::function<Errand::Given()>& work) noexcept {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || ::getppid() != parent) ::_exit(1);
    if (socket != kSocket && ::dup3(socket, kSocket, O_CLOEXEC) < 0) ::_exit(1);
    if (::close_range(kSocket + 1, UINT_MAX, 0) < 0) ::_exit(1);
    try {
        const Errand::Given given = work();
        if (given.text.size() > kMostText) throw Error("errand: it gives too much");
        tell(given.fd ? kWithFd : kText, given.text);
        if (given.fd) send_fd(kSocket, given.fd.get());
    } catch (const std::exception& error) {
        tell(kFailed, error.what());
    }
    ::_exit(0);
}

}  // namespace

Errand::Errand(Loop& loop, Milliseconds limit, const std::function<Given()>& work, Done done) : loop_(loop), done_(std::move(done)) {
    SocketPair pair = SocketPair::seqpacket();
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid < 0) throw ErrnoError("errand: fork");
    if (pid == 0) run_child(pair.theirs.get(), parent, work);
    child_ = Pidfd::of_child(pid);
    socket_ = std::move(pair.ours);
    set_nonblocking(socket_.get());
    loop_.watch(child_.fd(), POLLIN, [this](short) { ended(); });
    timer_ = loop_.after(limit, [this] {
        timer_ = 0;
        child_.signal(SIGKILL);
    });
}

Errand::~Errand() {
    loop_.cancel(timer_);
    if (child_) loop_.forget(child_.fd());
}

void Errand::ended() {
    const bool late = timer_ == 0;
    loop_.forget(child_.fd());
    loop_.cancel(std::exchange(timer_, 0));
    const ChildExit exit = child_.wait();
    Given given;
    std::string why = late ? "it took too long" : "it ended with " + exit.describe();
    std::string message(kMostText + 1, '\0');
    const ssize_t n = ::recv(socket_.get(), message.data(), message.size(), 0);
    try {
        if (n > 0 && exit.ok()) {
            given.text = message.substr(1, static_cast<size_t>(n) - 1);
            if (message[0] == kWithFd) given.fd = receive_fd(socket_.get());
            why = message[0] == kFailed ? std::exchange(given.text, {}) : std::string();
            if (message[0] == kFailed && why.empty()) why = "it failed";
        }
    } catch (const Error& error) {
        why = error.what();
    }
    if (!why.empty()) given = {};
    const Done done = std::move(done_);
    done(std::move(given), why);
}

}  // namespace peacrab
