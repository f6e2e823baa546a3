// A Link with its effects: the port's descriptor, timers, and the sockets joined to streams.
//
// What it solves is back pressure through three queues (socket, credit, port) without a byte
// copied that nobody asked for: a socket is read only while its stream has room, credit is given
// back only for what its socket took. A descriptor that can make no progress is not watched at all,
// since poll reports a hang-up whether asked or not. It must survive its owner's callbacks: after
// each one, the stream or the whole port may be gone.
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>

#include "error.h"
#include "link.h"

namespace peacrab {

namespace {

constexpr size_t kRead = size_t{64} << 10;
constexpr int kReadsPerRound = 16;  // the guest's port gives at most a page at a time
constexpr int kWritesPerRound = 16;
constexpr Milliseconds kAttachAgain{250};
constexpr Milliseconds kShortestPause{2};
constexpr Milliseconds kLongestPause{50};

bool would_block(int code) {
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

}  // namespace

struct LinkPort::State : std::enable_shared_from_this<LinkPort::State> {
    struct Local {
        // Kept streams: taken from the owner, not yet by the link.
        std::string backlog = {};
        size_t backlog_at = 0;
        bool finishing = false;      // the owner has finished: once the backlog is out
        bool peer_finished = false;  // the peer has
        // Joined streams.
        UniqueFd socket = {};
        std::string inbound = {};  // of the stream, not yet taken by the socket
        size_t inbound_at = 0;
        short watched = 0;          // events of the socket; 0: not watched
        bool socket_ended = false;  // nothing more comes from the socket
        bool shut = false;          // nothing more goes to it
        std::function<void()> ended = {};

        bool joined() const { return static_cast<bool>(socket); }
        size_t backlogged() const { return backlog.size() - backlog_at; }
        size_t pending() const { return inbound.size() - inbound_at; }
    };

    State(Loop& with, UniqueFd port, Link::Side which, Handlers to)
        : loop(with), fd(std::move(port)), side(which), handlers(std::move(to)), link(which) {}

    void start();
    void close();
    void broken(const std::string& why);
    void attach(uint32_t epoch);
    void attach_again();

    // The port.
    void on_port(short revents);
    bool read_port();
    void flush();
    ssize_t write_port(std::string_view bytes);
    void want_write();
    void arm();
    void pause();

    // Events of the link.
    void drain();
    void take(Link::Event& event);
    void take_data(StreamId id, std::string_view bytes);
    void take_finished(StreamId id);

    // Streams.
    void push_backlog(StreamId id, Local& local);
    void drop_if_done(StreamId id);
    Local take_out(StreamId id);
    void tell(StreamId id, Local& local, const std::string& reason);
    void drop(StreamId id, const std::string& reason);
    void drop_later(StreamId id, const std::string& reason);
    void drop_all(const std::string& reason);
    void later(std::function<void()> what);

    // Joined sockets.
    void on_socket(StreamId id);
    bool read_socket(StreamId id, Local& local);
    bool write_socket(StreamId id, Local& local, std::string_view fresh);
    void watch_socket(StreamId id, Local& local);
    bool settle(StreamId id, Local& local);
    void fail_socket(StreamId id, int code);

    Loop& loop;
    UniqueFd fd;
    const Link::Side side;
    const Handlers handlers;
    Link link;
    std::map<StreamId, Local> locals;
    std::vector<char> buffer = std::vector<char>(kRead);
    bool is_socket = false;
    bool closed = false;      // dropped by the owner, or broken: nothing may be done any more
    bool paused = false;      // guest: no host is there; a timer will look again
    bool dirty = false;       // the link may have output
    bool write_dead = false;  // what can still be read is read; then the end comes by itself
    short events = 0;
    Milliseconds pause_span = kShortestPause;
    Loop::TimerId pause_timer = 0, attach_timer = 0, later_timer = 0;
    std::vector<std::function<void()>> due;
};

// ---- the port

void LinkPort::State::start() {
    set_nonblocking(fd.get());
    struct stat status = {};
    is_socket = ::fstat(fd.get(), &status) == 0 && S_ISSOCK(status.st_mode);
    events = POLLIN;
    loop.watch(fd.get(), events, [this](short revents) { on_port(revents); });
}

void LinkPort::State::close() {
    if (closed) return;
    closed = true;
    for (const auto timer : {pause_timer, attach_timer, later_timer}) loop.cancel(timer);
    for (auto& [id, local] : locals) {
        if (local.watched != 0) loop.forget(local.socket.get());
    }
    loop.forget(fd.get());
    fd.reset();
}

void LinkPort::State::broken(const std::string& why) {
    if (closed) return;
    drop_all("the link is broken: " + why);
    if (closed) return;
    close();
    if (handlers.broken) handlers.broken(why);
}

void LinkPort::State::on_port(short revents) {
    const auto self = shared_from_this();
    if ((revents & POLLNVAL) != 0) return broken("link: port: closed under us");
    if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !read_port()) return;
    flush();
}

// False: the port is closed, broken or paused.
bool LinkPort::State::read_port() {
    for (int round = 0; round < kReadsPerRound; ++round) {
        const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got < 0 && would_block(errno)) return true;
        if (got < 0) {
            broken(ErrnoError("link: read port").what());
            return false;
        }
        if (got == 0 && side == Link::Side::Host) {
            broken("link: port: the machine has closed it");
            return false;
        }
        if (got == 0) {
            pause();
            return false;
        }
        pause_span = kShortestPause;
        std::string breach;
        try {
            link.receive({buffer.data(), static_cast<size_t>(got)});
        } catch (const Error& error) {
            breach = error.what();
        }
        drain();
        if (!breach.empty()) broken(breach);
        if (closed) return false;
        dirty = true;
        if (is_socket && static_cast<size_t>(got) < buffer.size()) return true;
    }
    return true;
}

// A guest without a host: poll would report the hang-up again and again.
void LinkPort::State::pause() {
    loop.forget(fd.get());
    paused = true;
    pause_timer = loop.after(pause_span, [this] {
        paused = false;
        events = static_cast<short>(dirty ? POLLIN | POLLOUT : POLLIN);
        loop.watch(fd.get(), events, [this](short revents) { on_port(revents); });
    });
    pause_span = std::min(pause_span * 2, kLongestPause);
}

ssize_t LinkPort::State::write_port(std::string_view bytes) {
    if (!is_socket) return ::write(fd.get(), bytes.data(), bytes.size());
    return ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void LinkPort::State::flush() {
    for (int round = 0; dirty && !closed && !paused && round < kWritesPerRound; ++round) {
        const std::string_view bytes = link.output();
        if (bytes.empty() || write_dead) {
            dirty = false;
            break;
        }
        const ssize_t put = write_port(bytes);
        // The guest's port may also take nothing without an error: its ring is full.
        if (put == 0 || (put < 0 && would_block(errno))) break;
        if (put < 0 && side == Link::Side::Guest) return pause();
        if (put < 0) {
            write_dead = true;
        } else {
            link.written(static_cast<size_t>(put));
        }
        drain();  // there may be room in queues
    }
    if (!closed) arm();
}

// Not written at once: all small frames of a round of the loop share one write.
void LinkPort::State::want_write() {
    dirty = true;
    arm();
}

void LinkPort::State::arm() {
    const short wanted = static_cast<short>(dirty ? POLLIN | POLLOUT : POLLIN);
    if (closed || paused || wanted == events) return;
    events = wanted;
    loop.change(fd.get(), events);
}

void LinkPort::State::attach(uint32_t epoch) {
    while (!locals.empty()) drop_later(locals.begin()->first, "the link begins a new epoch");
    link.attach(epoch, random_hex(8));
    loop.cancel(attach_timer);
    attach_timer = loop.after(kAttachAgain, [this] { attach_again(); });
    want_write();
}

void LinkPort::State::attach_again() {
    if (link.attached()) return;
    link.repeat_attach();
    attach_timer = loop.after(kAttachAgain, [this] { attach_again(); });
    want_write();
}

// ---- events of the link

void LinkPort::State::drain() {
    Link::Event event;
    while (!closed && link.next(event)) take(event);
}

void LinkPort::State::take(Link::Event& event) {
    using Kind = Link::Event::Kind;
    const auto it = locals.find(event.stream);
    switch (event.kind) {
        case Kind::Attached:
            if (side == Link::Side::Guest) drop_all("the host began a new epoch");
            if (!closed && handlers.attached) handlers.attached(event.text);
            return;
        case Kind::Opened:
            if (!handlers.opened) return link.reset(event.stream, "nobody takes streams here");
            locals.emplace(event.stream, Local{});
            return handlers.opened(event.stream, event.text, event.meta);
        case Kind::Data:
            return take_data(event.stream, event.text);
        case Kind::Finished:
            return take_finished(event.stream);
        case Kind::Reset:
            return drop(event.stream, event.text);
        case Kind::Writable:
            if (it == locals.end()) return;
            push_backlog(event.stream, it->second);
            if (it->second.joined()) return watch_socket(event.stream, it->second);
            return drop_if_done(event.stream);
    }
}

void LinkPort::State::take_data(StreamId id, std::string_view bytes) {
    const auto it = locals.find(id);
    if (it != locals.end() && it->second.joined()) {
        if (write_socket(id, it->second, bytes)) watch_socket(id, it->second);
        return;
    }
    link.consumed(id, bytes.size());
    if (it != locals.end() && handlers.data) handlers.data(id, bytes);
}

void LinkPort::State::take_finished(StreamId id) {
    const auto it = locals.find(id);
    if (it == locals.end()) return;
    Local& local = it->second;
    local.peer_finished = true;
    if (local.joined()) {
        if (settle(id, local)) watch_socket(id, local);
        return;
    }
    drop_if_done(id);
    if (handlers.finished) handlers.finished(id);
}

// ---- streams

void LinkPort::State::push_backlog(StreamId id, Local& local) {
    if (local.backlogged() > 0) {
        local.backlog_at += link.send(id, std::string_view(local.backlog).substr(local.backlog_at));
        dirty = true;
    }
    if (local.backlogged() == 0) {
        std::string().swap(local.backlog);
        local.backlog_at = 0;
        if (local.finishing) link.finish(id);
    } else if (local.backlog_at > local.backlog.size() / 2) {
        local.backlog.erase(0, local.backlog_at);
        local.backlog_at = 0;
    }
}

void LinkPort::State::drop_if_done(StreamId id) {
    const auto it = locals.find(id);
    if (it == locals.end() || it->second.joined()) return;
    const Local& local = it->second;
    if (local.finishing && local.peer_finished && local.backlogged() == 0) locals.erase(it);
}

LinkPort::State::Local LinkPort::State::take_out(StreamId id) {
    const auto it = locals.find(id);
    Local local = std::move(it->second);
    locals.erase(it);
    if (local.watched != 0) loop.forget(local.socket.get());
    return local;
}

// Last thing of its caller: the owner may drop the whole port from here.
void LinkPort::State::tell(StreamId id, Local& local, const std::string& reason) {
    const bool joined = local.joined();
    local.socket.reset();
    if (joined && local.ended) local.ended();
    if (!joined && handlers.reset) handlers.reset(id, reason);
}

// The link has forgotten the stream already, or never hears of it again.
void LinkPort::State::drop(StreamId id, const std::string& reason) {
    if (locals.count(id) == 0) return;
    Local local = take_out(id);
    tell(id, local, reason);
}

void LinkPort::State::drop_later(StreamId id, const std::string& reason) {
    const auto local = std::make_shared<Local>(take_out(id));
    later([this, id, local, reason] { tell(id, *local, reason); });
}

// All are out before the first owner is told: it may open new streams with the old ids.
void LinkPort::State::drop_all(const std::string& reason) {
    std::vector<std::pair<StreamId, Local>> old;
    while (!locals.empty()) {
        const StreamId id = locals.begin()->first;
        old.emplace_back(id, take_out(id));
    }
    for (auto& [id, local] : old) {
        if (!closed) tell(id, local, reason);
    }
}

// Timers run before handlers, so a call made now is told before anything new arrives.
void LinkPort::State::later(std::function<void()> what) {
    due.push_back(std::move(what));
    if (due.size() > 1) return;
    later_timer = loop.after(Milliseconds(0), [this] {
        const auto self = shared_from_this();
        const auto calls = std::exchange(due, {});
        for (const auto& call : calls) {
            if (!closed) call();
        }
    });
}

// ---- joined sockets

void LinkPort::State::on_socket(StreamId id) {
    const auto self = shared_from_this();
    auto it = locals.find(id);
    if (it == locals.end()) return;
    Local& local = it->second;
    const bool readable = (local.watched & POLLIN) != 0;
    if (local.pending() > 0 && !write_socket(id, local, {})) return;
    if (readable && !read_socket(id, local)) return;
    watch_socket(id, local);
}

// Socket → stream: as much as the stream takes. False: the join has ended.
bool LinkPort::State::read_socket(StreamId id, Local& local) {
    const size_t room = std::min(link.window(id), buffer.size());
    if (local.socket_ended || room == 0) return true;
    const ssize_t got = ::read(local.socket.get(), buffer.data(), room);
    if (got < 0 && would_block(errno)) return true;
    if (got < 0) {
        fail_socket(id, errno);
        return false;
    }
    want_write();
    if (got > 0) {
        link.send(id, {buffer.data(), static_cast<size_t>(got)});
        return true;
    }
    local.socket_ended = true;
    link.finish(id);
    return settle(id, local);
}

// Stream → socket: what waits, then `fresh`. What the socket does not take is kept, and its credit
// with it. False: the join has ended.
bool LinkPort::State::write_socket(StreamId id, Local& local, std::string_view fresh) {
    const bool waiting = local.pending() > 0;
    if (waiting) local.inbound.append(fresh);
    std::string_view bytes =
        waiting ? std::string_view(local.inbound).substr(local.inbound_at) : fresh;
    const size_t all = bytes.size();
    while (!bytes.empty()) {
        const ssize_t put = ::send(local.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && would_block(errno)) break;
        if (put < 0) {
            fail_socket(id, errno);
            return false;
        }
        bytes.remove_prefix(static_cast<size_t>(put));
    }
    const size_t taken = all - bytes.size();
    if (!waiting) {
        local.inbound.assign(bytes);
    } else if (bytes.empty()) {
        std::string().swap(local.inbound);
        local.inbound_at = 0;
    } else if ((local.inbound_at += taken) > local.inbound.size() / 2) {
        local.inbound.erase(0, local.inbound_at);
        local.inbound_at = 0;
    }
    link.consumed(id, taken);
    want_write();
    return settle(id, local);
}

// Watches for what can make progress, and for nothing else.
void LinkPort::State::watch_socket(StreamId id, Local& local) {
    int wanted = 0;
    if (!local.socket_ended && local.backlogged() == 0 && link.window(id) > 0) wanted |= POLLIN;
    if (local.pending() > 0) wanted |= POLLOUT;
    const int socket = local.socket.get();
    if (wanted == local.watched) return;
    if (wanted == 0) {
        loop.forget(socket);
    } else if (local.watched == 0) {
        loop.watch(socket, static_cast<short>(wanted), [this, id](short) { on_socket(id); });
    } else {
        loop.change(socket, static_cast<short>(wanted));
    }
    local.watched = static_cast<short>(wanted);
}

// Hands on the peer's half-close, and ends the join when both halves are closed. False: ended.
bool LinkPort::State::settle(StreamId id, Local& local) {
    if (local.peer_finished && local.pending() == 0 && !local.shut) {
        local.shut = true;
        ::shutdown(local.socket.get(), SHUT_WR);  // ENOTCONN: it has gone; the read will say so
    }
    if (!local.shut || !local.socket_ended) return true;
    drop(id, "");
    return false;
}

void LinkPort::State::fail_socket(StreamId id, int code) {
    link.reset(id, std::string("the other end has gone: ") + std::strerror(code));
    want_write();
    drop(id, "");
}

// ---- LinkPort

LinkPort::LinkPort(Loop& loop, UniqueFd fd, Link::Side side, Handlers handlers)
    : state_(std::make_shared<State>(loop, std::move(fd), side, std::move(handlers))) {
    state_->start();
}

LinkPort::~LinkPort() {
    state_->close();
}

void LinkPort::attach(uint32_t epoch) {
    if (!state_->closed) state_->attach(epoch);
}

bool LinkPort::attached() const {
    return !state_->closed && state_->link.attached();
}

void LinkPort::set_hello(std::string hello) {
    state_->link.set_hello(std::move(hello));
}

StreamId LinkPort::open(std::string_view kind, std::string_view meta) {
    if (state_->closed) throw Error("link: open: the link is broken");
    const StreamId id = state_->link.open(kind, meta);
    state_->locals.emplace(id, State::Local{});
    state_->want_write();
    return id;
}

void LinkPort::send(StreamId stream, std::string_view bytes) {
    const auto it = state_->locals.find(stream);
    if (state_->closed || it == state_->locals.end() || it->second.finishing) return;
    State::Local& local = it->second;
    assert(!local.joined());
    if (local.backlogged() + bytes.size() > kMaxQueued) {
        const std::string reason = "too much is queued for a peer that does not read";
        state_->link.reset(stream, reason);
        state_->drop_later(stream, reason);
        return state_->want_write();
    }
    local.backlog.append(bytes);
    state_->push_backlog(stream, local);
    state_->want_write();
}

void LinkPort::finish(StreamId stream) {
    const auto it = state_->locals.find(stream);
    if (state_->closed || it == state_->locals.end() || it->second.finishing) return;
    it->second.finishing = true;
    state_->push_backlog(stream, it->second);
    state_->drop_if_done(stream);
    state_->want_write();
}

void LinkPort::reset(StreamId stream, std::string_view reason) {
    const auto it = state_->locals.find(stream);
    if (state_->closed || it == state_->locals.end()) return;
    state_->link.reset(stream, reason);
    if (it->second.joined()) {
        state_->drop_later(stream, {});
    } else {
        state_->locals.erase(it);
    }
    state_->want_write();
}

void LinkPort::join(StreamId stream, UniqueFd socket, std::function<void()> ended) {
    const auto it = state_->locals.find(stream);
    if (state_->closed || it == state_->locals.end() || it->second.finishing) {
        if (ended && !state_->closed) state_->later(std::move(ended));
        return;
    }
    State::Local& local = it->second;
    assert(!local.joined());
    set_nonblocking(socket.get());
    local.socket = std::move(socket);
    local.ended = std::move(ended);
    if (state_->settle(stream, local)) state_->watch_socket(stream, local);
}

}  // namespace peacrab
