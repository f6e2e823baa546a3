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

// The program for an accelerator: with KVM the reduced one of Debian's package when it is there.
// "" when QEMU is not installed.
std::string find_qemu(Accelerator accelerator);

class QemuDriver : public MachineDriver {
  public:
    Machine launch(const MachineSpec& spec) override;
};

}  // namespace peacrab
