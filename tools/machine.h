// A machine: what it is made of, where its state lives, and how it is started, whatever the VMM.
//
// The seam is MachineSpec → MachineDriver::launch → Machine. A driver is a pure function from the
// spec to the VMM's own words plus a spawn; one exists (qemu.h). Nothing of a session, no name, no
// key is in a spec: that goes over the link after the guest has said hello.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "accelerator.h"
#include "config.h"
#include "os.h"
#include "types.h"

namespace peacrab {

// What a person asks for: flags first, then the config, then the defaults.
struct MachineOptions : ModelConfig {  // what is empty there is the config's
    std::string name = "default";  // [a-z0-9-]{1,32}
    int cpus = 0;                  // 0: the config's, else 1 under TCG, min(4, host's) with KVM
    Bytes memory;                  // 0: the config's, else 1G
    Bytes disk;                    // 0: the config's, else 8G; sparse, fixed when it is made
    std::string accelerator;       // "": the config's, else auto; kvm means no silent fallback
};
MachineOptions with_config(MachineOptions options, const Config& config);
// The flags that say the same; for the gateway and the model route, which read the config anew.
std::vector<std::string> machine_flags(const MachineOptions& options);

constexpr Bytes kDefaultMemory = GiB(1);
constexpr Bytes kDefaultDisk = GiB(8);
constexpr Bytes kLeastMemory = MiB(128);
constexpr Bytes kLeastDisk = MiB(256);
int default_cpus(Accelerator accelerator, int host_cpus);

// Where everything of one machine is. Throws Error for a bad name.
struct MachinePlace {
    std::string name;
    std::string folder;       // 0700
    std::string state_image;  // folder/state.img
    std::string console_log;
    std::string gateway_log;
    std::string lock;    // held by the gateway as long as it lives; the kernel lets go of it
    std::string record;  // machine.json: what runs, or how it ended
    std::string socket;  // where the gateway listens
};
MachinePlace machine_place(const std::string& name);
std::vector<std::string> machine_names();  // that have a folder, sorted
std::string accelerator_cache_file();

// The lock of a machine; nothing when another process has it.
std::optional<UniqueFd> take_machine_lock(const MachinePlace& place);

// The record tells clients where the socket is, and why the last run ended ("" after an orderly
// stop). A damaged record reads as none.
struct MachineRecord {
    pid_t gateway = 0;
    std::string socket;
    std::string ended;
};
std::optional<MachineRecord> read_record(const MachinePlace& place);
void write_record(const MachinePlace& place, const MachineRecord& record);

// Checks before anything is started; each throws Error with what happened and what to do next.
void check_cpus(int asked, int available);
void check_memory(Bytes asked, Bytes available);
void check_disk(const std::string& folder, Bytes free);
int host_cpus();
Bytes available_memory();  // MemAvailable, and the limit of our cgroup when it is lower
Bytes free_space(const std::string& folder);

// Makes the sparse ext4 state disk when there is none: label peacrab-state, in one step. Gives its
// size. Throws when mke2fs is missing, or when `asked` is not 0 and the disk that is there differs.
// A new disk that nobody asked a size for gets `configured`, or the default when that is 0.
Bytes prepare_state_disk(const MachinePlace& place, Bytes asked, Bytes configured);

struct MachineSpec {
    std::string vmm;   // the program
    std::string name;  // shown by ps(1)
    Accelerator accelerator = Accelerator::Tcg;
    // The second CPU model is what to try when the VMM refuses the first.
    enum class CpuModel { First, Second } cpu_model = CpuModel::First;
    int cpus = 1;
    Bytes memory = kDefaultMemory;
    std::string kernel;     // uncompressed ELF with a PVH entry
    std::string initramfs;
    std::string command_line;
    std::string base;   // read-only disk, first
    std::string state;  // read-write disk, second
};

// No name, no key, no session: every process of the guest can read it.
std::string kernel_command_line(Accelerator accelerator, uint64_t tsc_khz);

// A running VM. Dropping it kills it.
struct Machine {
    Pidfd process;
    UniqueFd link;     // the virtio-serial port `peacrab.link`
    UniqueFd console;  // what the kernel prints; hostile
    UniqueFd errors;   // stdout and stderr of the VMM
};

class MachineDriver {
  public:
    virtual ~MachineDriver() = default;
    virtual std::string program() const = 0;  // of the VMM; throws Error saying how to install it
    virtual Machine launch(const MachineSpec& spec) = 0;  // throws Error
};

// The boot watchdog. Pure; the gateway's loop has the clock. Silence counts from the last byte on
// console or link, so that a slow guest (nested KVM) is waited for and a dead one is not; `whole`
// bounds a guest that talks and never says hello.
struct BootLimits {
    Milliseconds silence;
    Milliseconds whole;
};
BootLimits boot_limits(Accelerator accelerator, double load);
double host_load();  // runnable per core, the last minute's mean

enum class BootFailure { Silent, Exited };
enum class NextBoot { GiveUp, SameAgain, SecondCpuModel, Tcg };
struct BootAttempt {
    Accelerator accelerator = Accelerator::Tcg;
    bool accelerator_asked = false;  // --accel: never another one
    MachineSpec::CpuModel cpu_model = MachineSpec::CpuModel::First;
    int exits = 0;  // early ends under this accelerator before this one
};
NextBoot after_failed_boot(const BootAttempt& attempt, BootFailure failure);

// What is in force around the VMM, read from /proc.
struct VmmStatus {
    Bytes resident;
    uid_t user = 0;
    bool no_capabilities = false;
    bool no_new_privileges = false;
    bool filtered = false;      // a seccomp filter is on
    bool own_network = false;   // not our network namespace
};
VmmStatus vmm_status(pid_t pid);

}  // namespace peacrab
