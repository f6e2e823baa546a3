// Prints the accelerator and the kernel's command line for a guest of this machine, for guest_unit.
#include <cstdio>

#include "accelerator.h"
#include "machine.h"
#include "qemu.h"

int main() {
    using namespace peacrab;
    AcceleratorOptions options;
    options.vmm = find_qemu();
    options.cache_file = accelerator_cache_file();
    const Accelerator accelerator = choose_accelerator(options).accelerator;
    const uint64_t tsc = accelerator == Accelerator::Tcg ? measure_tsc_khz() : 0;
    std::printf("%s\n%s\n", accelerator_name(accelerator),
                kernel_command_line(accelerator, tsc).c_str());
}
