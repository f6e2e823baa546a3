// What PID 1 of our guest does before and after it is the warden: mounts, kernel modules, disks,
// the link's port, the clock, power-off. Only ever called in our own microVM.
#pragma once

#include <string>
#include <vector>

#include "os.h"

namespace peacrab {

struct Booted {
    std::vector<std::string> complaints;  // what failed and the guest can still talk about
    bool state_mounted = false;           // the state disk is at /state
};

// True when we are the first process of an initramfs: PID 1 and nothing mounted on /proc yet. (A
// container's PID 1 has a /proc.)
bool is_guest_init();

// proc, sys, dev, run; the modules of /modules in the order of their names; the disks by serial:
// "base" (erofs, read-only) on /base, "state" (ext4, with quotas by project) on /state; control groups. Throws only when nothing could be
// said to anybody; all else is a complaint.
Booted boot_guest();

// The link's port, by its name: `peacrab.link`. Waits for it up to `deadline`.
UniqueFd open_link_port(Deadline deadline);

void set_clock(int64_t unix_milliseconds);

// Syncs, unmounts the state disk, turns the machine off. Does not return.
[[noreturn]] void power_off();

}  // namespace peacrab
