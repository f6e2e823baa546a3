// The QEMU `microvm` driver of the machine seam: a pure function spec → arguments, and a spawn.
//
// QEMU gets no path of ours: kernel, initramfs and disks come as descriptors with fixed numbers, so
// it runs as an id that owns nothing. No network card, no monitor, no display, no PCI, no option
// ROM. Source: https://www.qemu.org/docs/master/system/i386/microvm.html.
#pragma once

#include <string>
#include <vector>

#include "machine.h"

namespace peacrab {

// The descriptor numbers QEMU is started with.
constexpr int kQemuLink = 3;
constexpr int kQemuConsole = 4;
constexpr int kQemuKernel = 5;
constexpr int kQemuInitramfs = 6;
constexpr int kQemuBase = 7;
constexpr int kQemuState = 8;

// Pure: argv with the name in front. In the guest the base is vda and the state disk is vdb.
std::vector<std::string> qemu_arguments(const MachineSpec& spec);

// "" when QEMU is not installed. The reduced qemu-system-x86_64-microvm of Debian is no choice: it is
// built without seccomp, so its -sandbox is refused.
std::string find_qemu();

class QemuDriver : public MachineDriver {
  public:
    std::string program() const override;
    Machine launch(const MachineSpec& spec) override;
};

}  // namespace peacrab
