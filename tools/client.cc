// Clients of the gateway: connect, start, wait. Two that start one machine at the same moment both
// end up waiting for the same boot: the lock decides who owns it, the other connects. Must not touch
// anything in the machine's folder; that is the gateway's.
#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <set>

#include "error.h"
#include "gateway_clients.h"
#include "spawn.h"

namespace peacrab {
namespace {

// Empty when nobody listens there.
UniqueFd connect_to(const std::string& path) {
    if (::access(path.c_str(), F_OK) < 0) return {};
    const SocketAddress address(path);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw ErrnoError("socket");
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address.text.copy(name.sun_path, sizeof name.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) return fd;
    if (errno == ECONNREFUSED || errno == ENOENT) return {};
    throw ErrnoError("gateway: connect: " + printable(path));
}

// Starts the gateway and gives its first word: "listening", "busy" or "failed …".
std::string start_gateway(const MachineOptions& flags) {
    Pipe report = Pipe::make();
    SpawnOptions options;
    options.program = "/proc/self/exe";
    options.arguments = {"peacrab", "gateway", "--report"};
    for (const std::string& flag : machine_flags(flags)) options.arguments.push_back(flag);
    options.environment = own_environment();
    options.descriptors = {{report.write.get(), 3}};
    options.new_session = true;
    Pidfd child = spawn(options);
    report.write.reset();
    std::string line;
    std::vector<char> bytes(4096);
    for (;;) {
        const size_t n = read_some(report.read.get(), bytes).value_or(0);
        line.append(bytes.data(), n);
        if (n == 0 || line.find('\n') != std::string::npos || line.size() > 65536) break;
    }
    const ChildExit exit = child.wait();  // it has forked: the gateway is nobody's child
    if (line.empty()) return "failed the gateway ended early (" + exit.describe() + ")";
    return line.substr(0, line.find('\n'));
}

std::string differences(const MachineOptions& flags, const json::Value& report) {
    std::string out;
    const auto differ = [&out](const char* what, const std::string& has, const std::string& asked) {
        out += (out.empty() ? "" : ", ") + std::string(what) + " " + (has.empty() ? "none" : has) +
               " and not " + asked;
    };
    const auto size = [&report](const char* key) {
        return Bytes{static_cast<uint64_t>(report.integer(key))};
    };
    if (flags.cpus && flags.cpus != report.integer("cpus"))
        differ("cpus", std::to_string(report.integer("cpus")), std::to_string(flags.cpus));
    if (flags.memory.count && flags.memory.count >> 20 != size("memory").count >> 20)
        differ("memory", format_size(size("memory")), format_size(flags.memory));
    if (flags.disk.count && flags.disk != size("disk"))
        differ("disk", format_size(size("disk")), format_size(flags.disk));
    if (!flags.accelerator.empty() && flags.accelerator != "auto" &&
        flags.accelerator != report.text("accelerator"))
        differ("accelerator", report.text("accelerator"), flags.accelerator);
    if (!flags.model.empty() && flags.model != report.text("model"))
        differ("model", report.text("model"), flags.model);
    std::string url = flags.model_url;
    while (url.ends_with('/')) url.pop_back();
    if (!url.empty() && url != report.text("model_url"))
        differ("model-url", report.text("model_url"), url);
    if (out.empty()) return "";
    return "the machine `" + flags.name + "` runs already, with " + printable(out) +
           "; stop it first: " + command_for("stop", flags.name);
}

// Waits for the end of the boot on a connected socket.
json::Value wait_ready(FrameSocket& gateway, const MachinePlace& place, const Progress& progress) {
    gateway.send(json::Value::object({{"type", "ready"}}));
    for (;;) {
        const std::optional<json::Value> frame = gateway.receive(Deadline::never());
        if (!frame) {
            if (!gateway.closed()) continue;  // a signal
            const std::string why = why_it_ended(place);
            throw Error(why.empty() ? "the machine ended while it booted; see " + place.gateway_log
                                    : why);
        }
        const std::string type = frame->text("type");
        if (type == "progress") progress(printable(frame->text("text")));
        else if (type == "machine") return frame->at("report");
        else if (type == "failed") throw Error(printable(frame->text("why")));
    }
}

}  // namespace

std::optional<FrameSocket> connect_gateway(const MachinePlace& place) {
    // The record first: the gateway may have been started with another XDG_RUNTIME_DIR than ours.
    const std::optional<MachineRecord> record = read_record(place);
    std::set<std::string> tried;
    for (const std::string& path : {record ? record->socket : std::string(), place.socket}) {
        if (path.empty() || !tried.insert(path).second) continue;
        UniqueFd fd = connect_to(path);
        if (fd) return FrameSocket(std::move(fd), Dialect::GatewayToClient, Dialect::ClientToGateway);
    }
    return std::nullopt;
}

std::string why_it_ended(const MachinePlace& place) {
    const std::optional<MachineRecord> record = read_record(place);
    return record ? printable(record->ended) : "";
}

UpResult bring_up(const MachineOptions& flags, const Progress& progress) {
    const MachinePlace place = machine_place(flags.name);
    UpResult result;
    std::optional<FrameSocket> gateway = connect_gateway(place);
    const Deadline deadline = Deadline::in(Seconds(20));
    while (!gateway) {
        const std::string word = start_gateway(flags);
        if (word.rfind("failed ", 0) == 0) throw Error(printable(word.substr(7)));
        result.started = word == "listening";
        gateway = connect_gateway(place);
        if (gateway) break;
        if (result.started) {  // it listened, and has ended since
            const std::string why = why_it_ended(place);
            throw Error(why.empty() ? "the machine ended at once; see " + place.gateway_log : why);
        }
        // Another gateway holds the lock: it is about to listen, or about to be gone.
        if (deadline.passed())
            throw Error("the machine `" + flags.name + "` is held by a process that does not "
                        "answer; `peacrab doctor` shows which");
        ::poll(nullptr, 0, 50);
    }
    result.report = wait_ready(*gateway, place, progress);
    if (!result.started) result.differs = differences(flags, result.report);
    return result;
}

std::string command_for(const std::string& command, const std::string& machine) {
    return "peacrab " + command + (machine == "default" ? "" : " --name " + machine);
}

ChatConnection open_chat(const MachineOptions& flags, Deadline deadline) {
    const MachinePlace place = machine_place(flags.name);
    std::optional<FrameSocket> gateway = connect_gateway(place);
    if (!gateway) throw Error("the machine `" + flags.name + "` does not run; start it: " + command_for("up", flags.name));
    gateway->send(json::Value::object({{"type", "open"}, {"what", "chat"}}));
    for (;;) {
        const std::optional<json::Value> frame = gateway->receive(deadline);
        if (!frame && deadline.passed()) throw Error("the machine does not answer");
        if (!frame && !gateway->closed()) continue;
        if (!frame) throw Error("the machine ended; start it again: " + command_for("up", flags.name));
        const std::string type = frame->text("type");
        if (type == "failed") throw Error(printable(frame->text("why")));
        if (type != "opened") continue;
        // The same connection speaks to the warden from here on; nothing of it was read ahead, as
        // the warden answers only after `attach`.
        UniqueFd fd(::fcntl(gateway->fd(), F_DUPFD_CLOEXEC, 3));
        if (!fd) throw ErrnoError("gateway: connection");
        return {FrameSocket(std::move(fd), Dialect::WardenToClient, Dialect::ClientToWarden),
                printable(frame->text("accelerator")), printable(frame->text("model")),
                frame->flag("demo")};
    }
}

std::optional<int64_t> tokens_by_own_count(const MachinePlace& place) try {
    const Deadline deadline = Deadline::in(Seconds(2));
    std::optional<FrameSocket> gateway = connect_gateway(place);
    if (!gateway) return std::nullopt;
    gateway->send(json::Value::object({{"type", "open"}, {"what", "chat"}}));
    for (std::string type; type != "opened";) {
        const std::optional<json::Value> frame = gateway->receive(deadline);
        if (!frame) return std::nullopt;
        type = frame->text("type");
        if (type == "failed") return std::nullopt;
    }
    UniqueFd fd(::fcntl(gateway->fd(), F_DUPFD_CLOEXEC, 3));
    if (!fd) return std::nullopt;
    FrameSocket warden(std::move(fd), Dialect::WardenToClient, Dialect::ClientToWarden);
    warden.send(json::Value::object({{"type", "usage"}}));
    const std::optional<json::Value> told = warden.receive(deadline);
    if (!told || told->text("type") != "usage" || told->at("rows").items().empty()) return std::nullopt;
    return told->at("rows").items().back().integer("tokens");  // the last row is of all agents today
} catch (const Error&) {
    return std::nullopt;
}

json::Value ask_gateway(FrameSocket& gateway, const char* type, Milliseconds limit) {
    return ask_gateway(gateway, json::Value::object({{"type", type}}), limit);
}

json::Value ask_gateway(FrameSocket& gateway, const json::Value& asked, Milliseconds limit) {
    gateway.send(asked);
    const Deadline deadline = Deadline::in(limit);
    for (;;) {
        std::optional<json::Value> frame = gateway.receive(deadline);
        if (frame && frame->text("type") == "failed") throw Error(printable(frame->text("why")));
        if (frame && frame->text("type") != "progress") return std::move(*frame);
        if (gateway.closed()) throw Error("the machine's gateway ended");
        if (deadline.passed()) throw Error("the machine's gateway does not answer");
    }
}

}  // namespace peacrab
