// QEMU's command line and its start. The options are the measured ones: under TCG only a machine
// with ACPI, without PIT and PIC, and with the host's TSC rate handed in has working clocks. Must
// not pass a path that QEMU would have to be allowed to reach, and must not open a network.
#include "qemu.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "spawn.h"

namespace peacrab {
namespace {

constexpr uid_t kNobody = 65534;

std::string descriptor_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::string cpu_model(const MachineSpec& spec) {
    if (spec.accelerator == Accelerator::Tcg) return "max";
    // Some nested hosts refuse that one register.
    return spec.cpu_model == MachineSpec::CpuModel::First ? "host" : "host,arch-capabilities=off";
}

}  // namespace

std::vector<std::string> qemu_arguments(const MachineSpec& spec) {
    const std::string memory = std::to_string(spec.memory.count >> 20) + "M";
    return {
        "qemu-system-x86_64",
        "-name", "peacrab-" + spec.name,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-M", "microvm,x-option-roms=off,rtc=on,isa-serial=off,acpi=on,pit=off,pic=off",
        // Translated code may not grow to QEMU's own default of 1 GiB.
        "-accel", spec.accelerator == Accelerator::Kvm ? "kvm" : "tcg,thread=multi,tb-size=256",
        "-cpu", cpu_model(spec),
        "-smp", std::to_string(spec.cpus),
        "-m", memory,
        "-global", "virtio-mmio.force-legacy=off",
        "-kernel", descriptor_path(kQemuKernel),
        "-initrd", descriptor_path(kQemuInitramfs),
        "-append", spec.command_line,
        // Port 0 is the kernel's console, port 1 the link.
        "-device", "virtio-serial-device,max_ports=2",
        "-chardev", "socket,id=console,fd=" + std::to_string(kQemuConsole),
        "-device", "virtconsole,chardev=console,nr=0",
        "-chardev", "socket,id=link,fd=" + std::to_string(kQemuLink),
        "-device", "virtserialport,chardev=link,nr=1,name=peacrab.link",
        "-add-fd", "fd=" + std::to_string(kQemuBase) + ",set=1,opaque=base",
        "-blockdev",
        "driver=raw,node-name=base,read-only=on,file.driver=file,file.filename=/dev/fdset/1",
        "-device", "virtio-blk-device,drive=base,serial=base",
        // Write-back with flushes passed on: what the guest syncs is on the host's disk.
        // On a full host the guest is told; QEMU's default is to stop it without a word.
        "-add-fd", "fd=" + std::to_string(kQemuState) + ",set=2,opaque=state",
        "-blockdev",
        "driver=raw,node-name=state,discard=unmap,file.driver=file,file.filename=/dev/fdset/2,"
        "file.discard=unmap,cache.direct=off,cache.no-flush=off",
        "-device", "virtio-blk-device,drive=state,serial=state,write-cache=on,werror=report",
        "-object", "rng-builtin,id=rng",
        "-device", "virtio-rng-device,rng=rng",
    };
}

std::string find_qemu() { return find_program("qemu-system-x86_64"); }

namespace {

UniqueFd open_part(const std::string& path, int flags) {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY));
    if (!fd) throw ErrnoError("qemu: open: " + printable(path));
    return fd;
}

// The ids for QEMU when we are root: nobody's. /dev/kvm is the one thing it opens by itself, so
// where that is root's alone QEMU keeps our ids, without a single capability.
std::optional<Confinement::UserIds> vmm_ids(Accelerator accelerator) {
    if (::geteuid() != 0) return std::nullopt;
    Confinement::UserIds ids{kNobody, kNobody, {}};
    if (accelerator == Accelerator::Tcg) return ids;
    struct stat device;
    if (::stat("/dev/kvm", &device) < 0) throw ErrnoError("qemu: /dev/kvm");
    if ((device.st_mode & 06) == 06) return ids;
    if ((device.st_mode & 060) != 060 || device.st_gid == 0) return std::nullopt;
    ids.groups.push_back(device.st_gid);
    return ids;
}

// Opened again by QEMU through /proc/self/fd, with its own ids. Neither file holds a secret.
UniqueFd open_for_all(const std::string& path) {
    UniqueFd fd = open_part(path, O_RDONLY);
    struct stat info;
    if (::fstat(fd.get(), &info) < 0) throw ErrnoError("qemu: " + printable(path));
    const mode_t mode = info.st_mode & 07777;
    if (::geteuid() == 0 && (mode & 0444) != 0444 && ::fchmod(fd.get(), mode | 0444) < 0)
        throw ErrnoError("qemu: make readable: " + printable(path));
    return fd;
}

}  // namespace

std::string QemuDriver::program() const {
    const std::string path = find_qemu();
    if (path.empty()) throw Error("QEMU is missing; install it: apt install qemu-system-x86");
    return path;
}

Machine QemuDriver::launch(const MachineSpec& spec) {
    const UniqueFd kernel = open_for_all(spec.kernel);
    const UniqueFd initramfs = open_for_all(spec.initramfs);
    const UniqueFd base = open_part(spec.base, O_RDONLY);
    const UniqueFd state = open_part(spec.state, O_RDWR | O_NOFOLLOW);
    struct stat disk;
    if (::fstat(state.get(), &disk) < 0) throw ErrnoError("qemu: " + printable(spec.state));
    SocketPair link = SocketPair::stream();
    SocketPair console = SocketPair::stream();
    Pipe errors = Pipe::make();

    SpawnOptions options;
    options.program = spec.vmm;
    options.arguments = qemu_arguments(spec);
    options.environment = {"PATH=/usr/bin:/bin"};
    options.descriptors = {{errors.write.get(), 1},
                           {errors.write.get(), 2},
                           {link.theirs.get(), kQemuLink},
                           {console.theirs.get(), kQemuConsole},
                           {kernel.get(), kQemuKernel},
                           {initramfs.get(), kQemuInitramfs},
                           {base.get(), kQemuBase},
                           {state.get(), kQemuState}};
    options.new_session = true;
    options.die_with_parent = true;
    Confinement confinement;
    confinement.ids = vmm_ids(spec.accelerator);
    confinement.file_limit = {static_cast<uint64_t>(disk.st_size)};
    options.confinement = confinement;

    Machine machine;
    machine.process = spawn(options);
    machine.link = std::move(link.ours);
    machine.console = std::move(console.ours);
    machine.errors = std::move(errors.read);
    return machine;
}

}  // namespace peacrab
