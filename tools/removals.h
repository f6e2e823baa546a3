// Agents whose files are still to be removed from a machine: the person has said so, the guest has not
// answered yet. Kept in the machine's folder, so that a machine that does not run does it at its next
// start, and only then.
#pragma once

#include <string>
#include <vector>

#include "machine.h"

namespace peacrab {

std::vector<std::string> pending_removals(const MachinePlace& place);  // a damaged file holds none
void add_removal(const MachinePlace& place, const std::string& agent);
void end_removal(const MachinePlace& place, const std::string& agent);

}  // namespace peacrab
