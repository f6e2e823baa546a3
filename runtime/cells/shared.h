// Posture shared: a machine where no container can be made. A tool child has the same jail, on the
// machine's own files, with what namespaces an ordinary user can have.
#pragma once

#include <memory>

#include "cells/place.h"

namespace peacrab {

// Decides by real tries which layers there are. May complete `options`: real paths. Throws Error as
// root, or when a mechanism it needs is missing.
std::unique_ptr<Place> make_shared_place(CellOptions& options);

}  // namespace peacrab
