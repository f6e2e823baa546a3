// Children of streams. What is on their command line is no secret; a key is read by the child that
// needs one, the rules of egress are handed to the child that must not read the configuration. Must
// not reuse an id, or a late end would hit another child.
#include "route_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxJob = size_t{32} << 10;  // fits into a pipe: nobody waits
constexpr uid_t kNobody = 65534;

}  // namespace

Confinement outgoing_confinement() {
    Confinement confinement;
    confinement.network = Confinement::Network::Host;
    confinement.file_limit = MiB(16);  // what it says goes to a log file of ours
    confinement.open_files = 64;
    if (::geteuid() == 0) confinement.ids = Confinement::UserIds{kNobody, kNobody, {}};
    return confinement;
}

void RouteStreams::serve(LinkPort& link, StreamId stream, const std::string& job) {
    if (children_.size() >= options_.most) return link.reset(stream, options_.what + ": too many at once");
    if (!starts_.take()) return link.reset(stream, options_.what + ": too many in too short a time");
    try {
        const int id = next_id_++;
        link.join(stream, start(job, id), [this, id] { ended(id); });
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        link.reset(stream, options_.what + ": it does not start");
    }
}

UniqueFd RouteStreams::start(const std::string& job, int id) {
    if (job.size() > kMaxJob) throw Error(options_.what + ": its job is too long");
    SocketPair pair = SocketPair::stream();
    Pipe words = Pipe::make();
    write_all(words.write.get(), job);
    words.write.reset();
    SpawnOptions options;
    options.program = options_.command.at(0);
    options.arguments = options_.command;
    options.arguments[0] = "peacrab";
    options.environment = options_.environment;
    options.descriptors = {{pair.theirs.get(), 3}, {words.read.get(), 4}, {2, 2}};
    options.die_with_parent = true;
    options.confinement = options_.confinement;
    Pidfd child = spawn(options);
    loop_.watch(child.fd(), POLLIN, [this, id](short) { reap(id); });
    children_.emplace(id, std::move(child));
    return std::move(pair.ours);
}

void RouteStreams::reap(int id) {
    const auto it = children_.find(id);
    if (it == children_.end()) return;
    const int fd = it->second.fd();
    const std::optional<ChildExit> exit = it->second.try_wait();
    if (!exit) return;
    loop_.forget(fd);
    children_.erase(it);
    if (!exit->ok()) log(LogLevel::Info, options_.what + ": " + exit->describe());
}

// The stream has ended: the child gets a moment to end as well.
void RouteStreams::ended(int id) {
    if (!children_.count(id)) return;
    loop_.after(Seconds(2), [this, id] {
        const auto it = children_.find(id);
        if (it == children_.end()) return;
        loop_.forget(it->second.fd());
        children_.erase(it);
    });
}

void RouteStreams::clear() {
    for (const auto& [id, child] : children_) loop_.forget(child.fd());
    children_.clear();
}

}  // namespace peacrab
