// The host process that owns one machine: it starts the VMM, holds the host's end of the link, and
// listens for clients on a unix socket. One per machine, for as long as the machine runs.
//
//     lock → checks → listen → accelerator → boot (watchdog) → settings → ready → relay → power off
//
// Frames of its clients are the tables ClientToGateway and GatewayToClient in frame.cc:
//   open {what: "chat"}  waits until the machine is ready, is answered by `opened` or `failed`; from
//                        then on the connection carries Client↔Warden frames, byte for byte
//   ready                `progress` while the machine boots, then `machine` or `failed`
//   ps                   `machine`, at once
//   inspect              asks the guest; `inspected`
//   remove_agent         has the guest remove an agent's files; `done` when they are gone
//   stop                 powers the machine off; `done` when the VMM has gone
//   port                 `port_open`; the port is closed when the client leaves, unless it detached
// Streams the guest opens: `search` goes to a child `peacrab search-route`, `model` goes to a child `peacrab model-route`, `egress` to a child
// `peacrab egress-route` with the rules of the config, `log` to the log file.
// Every byte of the guest is hostile.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machine.h"
#include "os.h"

namespace peacrab {

struct GatewayOptions {
    MachineOptions flags;  // what was asked for on the command line; the config fills the rest
    // Where to say how the start went, as one line: "listening", "busy" (another has the machine)
    // or "failed " and a sentence. Closed after it.
    UniqueFd report;
    // The child of a model stream, which gets the stream as descriptor 3.
    std::vector<std::string> model_route = {"/proc/self/exe", "model-route"};
    std::vector<std::string> egress_route = {"/proc/self/exe", "egress-route"};
    std::string image_folder;  // empty: the current image
    std::string accelerator_cache = accelerator_cache_file();
};

// Runs until the machine has ended; 0 after an orderly stop, 1 otherwise. Throws Error (after it
// was reported) when the machine could not be started at all.
int run_gateway(GatewayOptions options, MachineDriver& driver);

}  // namespace peacrab
