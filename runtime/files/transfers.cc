// One child per stream. Its end is told only when its keeper has synced what it wrote, so the verdict
// is ours to send, behind everything the child has said. A child that could not answer gets none where
// it was in the middle of saying something: the host sees its stream end, and knows.
#include "files/transfers.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <optional>
#include <set>

#include "cells/command_watch.h"
#include "cells/output.h"
#include "error.h"
#include "tools.h"

namespace peacrab {
namespace {

constexpr size_t kMaxPath = 4000;
constexpr Milliseconds kGrace{2000};  // after which a child that nobody listens to is ended

timeval span_of(Milliseconds span) {
    return {static_cast<time_t>(span.count() / 1000), static_cast<suseconds_t>(span.count() % 1000 * 1000)};
}

// The child needs no clock: its reads and writes end by themselves.
void bound_idle(int socket, Milliseconds span) {
    const timeval time = span_of(span);
    for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
        if (::setsockopt(socket, SOL_SOCKET, option, &time, sizeof time) < 0)
            throw ErrnoError("files: idle limit");
}

bool known(const std::string& op) {
    return op == "list" || op == "get" || op == "put" || op == "remove";
}

}  // namespace

struct Transfers::Running {
    Running(Loop& loop, const Wanted& the_wanted, WarmCell::Stay the_stay, std::function<void()> step)
        : wanted(the_wanted), stay(std::move(the_stay)), watched(loop, std::move(step)) {}
    Wanted wanted;
    WarmCell::Stay stay;
    std::optional<Command> command;
    CommandWatch watched;
    UniqueFd socket;      // the child's end once more, for the verdict
    std::string verdict;  // what is left of it to be sent
    Loop::TimerId timer = 0;
    bool gone = false;  // nobody hears a verdict
};

Transfers::Transfers(Loop& loop, Note note) : loop_(loop), note_(std::move(note)) {}

Transfers::~Transfers() {
    cancel({});
}

std::string Transfers::verdict(bool ok, const std::string& why) {
    json::Value frame = json::Value::object({{"ok", ok}});
    if (!why.empty()) frame.set("why", json::valid_utf8(why));
    return json::dump(frame) + "\n";
}

Transfers::Begun Transfers::begin(WarmCell& cell, const Wanted& wanted) {
    const auto same = std::count_if(running_.begin(), running_.end(), [&](const auto& each) {
        return each.second->wanted.agent == wanted.agent;
    });
    if (running_.size() >= kMost || static_cast<size_t>(same) >= kMostOfAgent)
        throw Error("files of this agent are on their way already; try again when that has ended");
    if (!known(wanted.op) || wanted.path.size() > kMaxPath) throw Error("files: no such operation");
    const uint64_t number = next_++;
    auto running = std::make_unique<Running>(loop_, wanted, cell.enter(), [this, number] { step(number); });
    const CellOptions& options = running->stay.cell().options();
    SocketPair pair = SocketPair::stream();
    bound_idle(pair.theirs.get(), kIdle * std::max(1, options.time_factor));
    running->socket = UniqueFd(::fcntl(pair.theirs.get(), F_DUPFD_CLOEXEC, 3));
    if (!running->socket) throw ErrnoError("files: socket");
    write_all(pair.ours.get(), json::dump(json::Value::object({{"op", wanted.op},
                                                              {"path", json::valid_utf8(wanted.path)},
                                                              {"workspace", options.workspace}})) +
                                  "\n");
    if (!note_(json::Value::object({{"kind", "files before"},
                                    {"agent", wanted.agent},
                                    {"op", wanted.op},
                                    {"path", shown_line(wanted.path, 200)}})))
        throw Error("files: not begun: the audit cannot be written");
    running->command.emplace(running->stay.cell().files(std::move(pair.theirs), kLimit));
    running->watched.wait(*running->command);
    running_.emplace(number, std::move(running));
    return {number, std::move(pair.ours)};
}

void Transfers::step(uint64_t number) {
    Running& running = *running_.at(number);
    if (!running.command->step()) return running.watched.wait(*running.command);
    finish(number);
}

// What the child says is the child's word: only these of its keys go on, as what they must be.
void Transfers::finish(uint64_t number) {
    Running& running = *running_.at(number);
    const CommandResult done = running.command->result();
    running.command.reset();
    std::string why;
    json::Value frame;
    try {
        const json::Value answer = json::parse(done.output, {Cell::kMaxAnswer, 2});
        frame = json::Value::object({{"ok", answer.flag("ok") && done.exit.ok()}});
        for (const char* key : {"files", "bytes", "skipped", "failed"})
            frame.set(key, std::max<int64_t>(0, answer.integer(key)));
        frame.set("missing", answer.flag("missing"));
        why = json::valid_utf8(answer.text("why", "").substr(0, 1000));
    } catch (const Error&) {
        frame = json::Value::object({{"ok", false}});
        why = !done.limit_hit.empty()     ? "a limit of the agent was reached: " + done.limit_hit
              : !done.failed_step.empty() ? "could not be started: " + printable(done.failed_step)
              : done.timed_out            ? "it took too long"
                                          : "it was ended";
        // In the middle of a listing or an archive it would be taken for a part of it.
        running.gone = running.gone || running.wanted.op == "list" || running.wanted.op == "get";
    }
    if (!why.empty()) frame.set("why", why);
    json::Value record = json::Value::object({{"kind", "files after"},
                                              {"agent", running.wanted.agent},
                                              {"op", running.wanted.op}});
    for (const auto& [key, value] : frame.members())
        record.set(key, key == "why" ? json::Value(shown_line(why, 200)) : value);
    (void)note_(record);
    if (running.gone) return forget(number);
    running.verdict = json::dump(frame) + "\n";
    say(number);
}

void Transfers::say(uint64_t number) {
    Running& running = *running_.at(number);
    const ssize_t n = ::send(running.socket.get(), running.verdict.data(), running.verdict.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return forget(number);
    if (n > 0) running.verdict.erase(0, static_cast<size_t>(n));
    if (running.verdict.empty()) return forget(number);
    // It waits behind what the child has said. Whoever does not read that is not waited for.
    loop_.watch(running.socket.get(), POLLOUT, [this, number](short) {
        loop_.forget(running_.at(number)->socket.get());
        say(number);
    });
    if (!running.timer)
        running.timer = loop_.after(kIdle, [this, number] {
            running_.at(number)->timer = 0;
            forget(number);
        });
}

void Transfers::forget(uint64_t number) {
    const auto it = running_.find(number);
    if (it == running_.end()) return;
    if (it->second->timer) loop_.cancel(it->second->timer);
    loop_.forget(it->second->socket.get());
    running_.erase(it);
}

// The child sees the end of its stream by itself, and takes back what is not whole; one that is at work
// on something long does not.
void Transfers::left(uint64_t number) {
    const auto it = running_.find(number);
    if (it == running_.end()) return;
    Running& running = *it->second;
    running.gone = true;
    if (!running.command) return forget(number);
    loop_.after(kGrace, [this, number] {
        const auto same = running_.find(number);
        if (same == running_.end() || !same->second->command) return;
        if (same->second->command->output().total() == 0) same->second->command->cancel();
    });
}

void Transfers::cancel(const std::string& agent) {
    cancel_if([&](const std::string& name) { return agent.empty() || name == agent; });
}

void Transfers::cancel_if(const std::function<bool(const std::string& agent)>& ends) {
    std::vector<uint64_t> ended;
    for (const auto& [number, running] : running_)
        if (ends(running->wanted.agent)) ended.push_back(number);
    for (const uint64_t number : ended) {
        const Wanted& wanted = running_.at(number)->wanted;
        (void)note_(json::Value::object({{"kind", "files after"},
                                         {"agent", wanted.agent},
                                         {"op", wanted.op},
                                         {"ok", false},
                                         {"why", "the agent was stopped"}}));
        forget(number);
    }
}

}  // namespace peacrab
