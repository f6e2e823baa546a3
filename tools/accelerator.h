// Chooses between KVM and TCG (QEMU's software emulation) and says why.
//
// Three steps decide: the facts that can be read (is there a device, may we open it), a probe that
// runs 100,000 loops on one virtual CPU, and, later, the boot watchdog (machine.h). The probe is
// there because a KVM that opens and then crawls is real: a host that is itself a VM may run guest
// kernel code through an instruction emulator, 500 to 1000 times too slow, and every ioctl succeeds.
// A verdict is remembered for one boot of the host, one kernel and one VMM binary.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "types.h"

namespace peacrab {

enum class Accelerator { Tcg, Kvm };  // the zero value works everywhere
const char* accelerator_name(Accelerator accelerator);      // "tcg", "kvm"
const char* accelerator_describe(Accelerator accelerator);  // for a person

using Microseconds = std::chrono::microseconds;

struct KvmFacts {
    bool present = false;        // the device node is there
    int open_error = 0;          // errno of opening it; 0: it opens
    bool group_may = false;      // its group, which is not root's, may open it
    bool cpu_flag = false;       // vmx or svm in /proc/cpuinfo; told, never decisive
    std::vector<std::string> modules;  // /sys/module/kvm*
};
KvmFacts read_kvm_facts(const std::string& device);

// What one virtual CPU did. The default says it was never asked.
struct KvmProbe {
    enum class End {
        NotRun,
        Refused,   // `step` failed with `error`
        Stuck,     // no answer within a second
        Finished,  // the loop ended after `loop`
    } end = End::NotRun;
    const char* step = "";
    int error = 0;
    Microseconds loop{0};  // CPU time of the loop: another process's load does not count
};
// In a child with an alarm, so that a hang in the kernel's KVM costs a second and nothing more.
KvmProbe probe_kvm(const std::string& device);
constexpr Microseconds kProbeLimit{20'000};  // good KVM needs 50 µs; the emulator 136 ms

struct Verdict {
    Accelerator accelerator = Accelerator::Tcg;
    std::string decided_by;  // "facts", "probe", "watchdog", "asked"
    std::string reason;      // one sentence, no full stop
    Microseconds took{0};
    bool remembered = false;
};
// Pure.
Verdict judge(const KvmFacts& facts, const KvmProbe& probe);

struct AcceleratorOptions {
    std::string device = "/dev/kvm";
    std::string vmm;         // the binary whose identity is part of the memory
    std::string cache_file;  // "": nothing is remembered
};
Verdict choose_accelerator(const AcceleratorOptions& options);
// The watchdog's word: remembered like a probe's, so that the next start does not wait again.
void remember_verdict(const AcceleratorOptions& options, const Verdict& verdict);

// The host's time-stamp counter in kHz, from 25 ms of it against CLOCK_MONOTONIC_RAW. Measured at
// every start: a host that was moved while it ran has another rate under the same boot id.
uint64_t measure_tsc_khz();

}  // namespace peacrab
