// The same runtime without a VM: a warden forked off this process, joined to it by a socketpair.
// How it runs inside a Docker sandbox, and how it is measured beside its peers. Posture `shared`:
// one agent, the person's own ids; `posture()` says what is and is not separated.
#pragma once

#include <string>

#include "frame.h"

namespace peacrab {

struct LocalOptions {
    std::string model;      // --model; else the config; else the default for the key there is
    std::string model_url;  // --model-url; else the config; else the provider's
    // Continues the person's one conversation, of which only one process may be at work; a
    // one-shot question starts its own session and needs no such lock.
    enum class Use { OneShot, Conversation } use = Use::OneShot;
};

// Forks the warden and gives our end of the frames. Throws Error with the next step when it cannot:
// as root, without a model, when another process holds the conversation.
// The warden ends by itself when its last client has left and no turn runs.
FrameSocket start_local_warden(const LocalOptions& options);

// The model that answers here, for people: its name.
std::string local_model(const LocalOptions& options);

}  // namespace peacrab
