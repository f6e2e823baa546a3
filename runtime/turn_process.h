// Spawns `peacrabd turn`: our own binary, executed anew so that it starts with an empty memory, on
// ids of its own, without capabilities, without a network where the model route is ours.
#pragma once

#include <optional>
#include <string>

#include "jail.h"
#include "os.h"

namespace peacrab {

struct TurnProcess {
    Pidfd process;
    UniqueFd frames;  // our end of kTurnFrames
    UniqueFd model;   // our end of kTurnModelRoute; empty without one
    UniqueFd stop;    // write a byte, or drop it: the turn stops
    UniqueFd report;  // of the steps before exec, until started()
};

// `ids`: whom it runs as (needs root); nothing: as we are. Own: it connects by itself. `journals`: the
// folder it may write. Throws when a step fails; the step's name is in the text.
enum class TurnRoute { Given, Own };
TurnProcess spawn_turn(const std::optional<Ids>& ids, TurnRoute route, const std::string& journals);
// The same in two halves: what is begun comes up while we do something else. With `forget` it is a copy of us, not
// executed anew, which takes a millisecond less: what it knows is what we know, but for what `forget` wipes out, and
// its memory lies where ours does. For who knows nothing yet.
TurnProcess begin_turn(const std::optional<Ids>& ids, TurnRoute route, const std::string& journals,
                       void (*forget)() = nullptr);
TurnProcess started(TurnProcess begun);

// Of the agent that is about to be asked; comes up while the warden does.
struct BegunTurn {
    std::string agent;
    TurnProcess process;
};

}  // namespace peacrab
