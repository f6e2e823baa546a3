// One turn: prompt → model → tool frames → … → reply. Runs in the turn process (`peacrabd turn`),
// which parses everything a hostile model says and may therefore do nothing itself: its journal,
// the model route and the frames to the warden are all it has.
#pragma once

#include <string>

#include "frame.h"

namespace peacrab {

// Descriptors the warden hands to `peacrabd turn`.
constexpr int kTurnFrames = 3;  // stream socket: WardenToTurn in, TurnToWarden out
constexpr int kTurnModelRoute =
    4;                        // seqpacket: a byte out, a connected descriptor back; only in a VM
constexpr int kTurnStop = 5;  // pipe: readable or closed means "stop this turn"

// The turn process's main. Enters jail class turn before it reads anything; `network` says whether
// it opens its own connections (no VM); `journals` is the folder of its session's journal, of all
// files the only ones it keeps. Gives the exit code; every end it can still report goes out as a
// `done` frame first.
enum class TurnNetwork { ModelRoute, Own };
int turn_main(TurnNetwork network, const std::string& journals);

}  // namespace peacrab
