// A real cell: an agent's own container.
//
// Its mount, net, pid, ipc, uts and cgroup namespaces are made by real root and belong to the
// machine; a user namespace of its own only gives it 65,536 ids. So its root installs packages and
// runs servers, and has no right over any namespace it lives in.
#pragma once

#include <memory>

#include "cells/place.h"

namespace peacrab {

// Needs root, control groups (v2) at kControlGroups and, unless its files are discarded, a state disk
// with project quotas. Throws Error naming what is missing; nothing of it is left then.
std::unique_ptr<Place> make_container(const CellOptions& options);

}  // namespace peacrab
