// What a cell lacks in a sandbox that is somebody else's (posture `cells`), beside its own walls.
#pragma once

#include <string>
#include <vector>

namespace peacrab {

// For Posture::lacks: what our own guest sets for the whole kernel and we may not set here, as far as
// it is otherwise, and where the way out leads.
std::vector<std::string> lacks_of_a_sandbox();

}  // namespace peacrab
