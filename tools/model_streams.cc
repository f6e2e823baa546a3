// Children of model streams. What is on their command line is no secret: which model, which server;
// the key is read by the child itself. Must not reuse an id, or a late end would hit another child.
#include "model_streams.h"

#include <poll.h>

#include "error.h"
#include "spawn.h"

namespace peacrab {

ModelStreams::Started ModelStreams::start() {
    SocketPair pair = SocketPair::stream();
    SpawnOptions options;
    options.program = command_.at(0);
    options.arguments = command_;
    options.arguments[0] = "peacrab";
    options.environment = own_environment();  // proxies, CA, HOME, ANTHROPIC_API_KEY
    options.descriptors = {{pair.theirs.get(), 3}, {2, 2}};
    options.die_with_parent = true;
    Pidfd child = spawn(options);
    const int id = next_id_++;
    loop_.watch(child.fd(), POLLIN, [this, id](short) { reap(id); });
    children_.emplace(id, std::move(child));
    return {std::move(pair.ours), id};
}

void ModelStreams::reap(int id) {
    const auto it = children_.find(id);
    if (it == children_.end()) return;
    const int fd = it->second.fd();
    const std::optional<ChildExit> exit = it->second.try_wait();
    if (!exit) return;
    loop_.forget(fd);
    children_.erase(it);
    if (!exit->ok()) log(LogLevel::Info, "model route: " + exit->describe());
}

void ModelStreams::ended(int id) {
    if (!children_.count(id)) return;
    loop_.after(Seconds(2), [this, id] {
        const auto it = children_.find(id);
        if (it == children_.end()) return;
        loop_.forget(it->second.fd());
        children_.erase(it);
    });
}

void ModelStreams::clear() {
    for (const auto& [id, child] : children_) loop_.forget(child.fd());
    children_.clear();
}

}  // namespace peacrab
