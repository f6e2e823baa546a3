// The client's end of the gateway's socket: finds the gateway of a machine, starts it when there is
// none, and waits until the machine is ready.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "frame.h"
#include "json.h"
#include "machine.h"

namespace peacrab {

// Nothing: no gateway listens, the machine does not run.
std::optional<FrameSocket> connect_gateway(const MachinePlace& place);

// What the person is told while the machine boots; one sentence at a time.
using Progress = std::function<void(const std::string& sentence)>;

struct UpResult {
    json::Value report;    // as `ps` has it
    bool started = false;  // false: it ran already
    std::string differs;   // not empty: it runs, and otherwise than asked for; one sentence
};
// Throws Error when the machine cannot be started.
UpResult bring_up(const MachineOptions& flags, const Progress& progress);

// "peacrab up --name lab": what to type for that machine.
std::string command_for(const std::string& command, const std::string& machine);

struct ChatConnection {
    FrameSocket warden;  // Client↔Warden
    std::string accelerator;
    std::string model;
    bool demo = false;
};
// Opens a chat on a machine that runs (bring_up was called). Throws Error.
ChatConnection open_chat(const MachineOptions& flags, Deadline deadline = Deadline::never());

// What the agents of a machine that runs have spent today by their own count, in tokens. Nothing: it does not
// run, or does not say so soon. It is the guest's word.
std::optional<int64_t> tokens_by_own_count(const MachinePlace& place);

// One question, one answer: `ps`, `stop`, `inspect`. Throws Error when the answer is `failed`, when
// the gateway ends, or when there is none within `limit`.
json::Value ask_gateway(FrameSocket& gateway, const char* type, Milliseconds limit);
json::Value ask_gateway(FrameSocket& gateway, const json::Value& frame, Milliseconds limit);

// Why the last run ended, for a person; "" when it was stopped in order or never ran.
std::string why_it_ended(const MachinePlace& place);

}  // namespace peacrab
