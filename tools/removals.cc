// One name a line. The command line adds while the gateway takes away: the folder's lock is between
// them. A line that is no agent's name is left out, so that nothing else can be asked of the guest.
#include "removals.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <functional>

#include "agents.h"
#include "error.h"

namespace peacrab {
namespace {

std::string file_of(const MachinePlace& place) {
    return place.folder + "/removed-agents";
}

void change(const MachinePlace& place, const std::function<void(std::vector<std::string>&)>& edit) {
    const UniqueFd folder(::open(place.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) throw ErrnoError("agent: " + place.folder);
    while (::flock(folder.get(), LOCK_EX) < 0)
        if (errno != EINTR) throw ErrnoError("agent: lock " + place.folder);
    std::vector<std::string> names = pending_removals(place);
    edit(names);
    std::string text;
    for (const std::string& name : names) text += name + "\n";
    write_file_atomic(file_of(place), text, 0600);
}

}  // namespace

std::vector<std::string> pending_removals(const MachinePlace& place) {
    std::vector<std::string> names;
    for (std::string& line : split(read_file_if_exists(file_of(place), MiB(1)).value_or(""), '\n'))
        if (is_agent_name(line)) names.push_back(std::move(line));
    return names;
}

void add_removal(const MachinePlace& place, const std::string& agent) {
    change(place, [&](std::vector<std::string>& names) {
        if (std::find(names.begin(), names.end(), agent) == names.end()) names.push_back(agent);
    });
}

void end_removal(const MachinePlace& place, const std::string& agent) {
    change(place, [&](std::vector<std::string>& names) { std::erase(names, agent); });
}

}  // namespace peacrab
