// What is checked and made before a machine is started: its configuration, image, disk and log. The order
// is that of what may fail cheaply first.
#pragma once

#include "bounded_log.h"
#include "image.h"
#include "machine.h"

namespace peacrab {

// What is known once the checks have passed.
struct Prepared {
    MachinePlace place;
    MachineOptions options;  // with the config
    UniqueFd lock;
    Image image;
    Bytes disk;
    BoundedLog log;
};

// Takes over stderr for the log. Throws Error with what to do.
Prepared prepare(const MachineOptions& flags, const MachinePlace& place, UniqueFd lock,
                 const std::string& image_folder, const MachineDriver& driver);

}  // namespace peacrab
