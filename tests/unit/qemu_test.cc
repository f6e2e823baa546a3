#include "qemu.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace peacrab;

namespace {

std::string joined(const std::vector<std::string>& arguments) {
    std::string text;
    for (const std::string& argument : arguments) text += argument + "\n";
    return text;
}

MachineSpec spec() {
    MachineSpec spec;
    spec.vmm = "/usr/bin/qemu-system-x86_64";
    spec.name = "default";
    spec.cpus = 1;
    spec.memory = GiB(1);
    spec.kernel = "/images/1/vmlinux";
    spec.initramfs = "/images/1/initramfs.cpio";
    spec.base = "/images/1/base.erofs";
    spec.state = "/state/default/state.img";
    spec.command_line = kernel_command_line(Accelerator::Tcg, 2596123);
    return spec;
}

constexpr const char* kGoldenTcg = R"(qemu-system-x86_64
-name
peacrab-default
-nodefaults
-no-user-config
-display
none
-no-reboot
-sandbox
on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-M
microvm,x-option-roms=off,rtc=on,isa-serial=off,acpi=on,pit=off,pic=off
-accel
tcg,thread=multi,tb-size=256
-cpu
max
-smp
1
-m
1024M
-global
virtio-mmio.force-legacy=off
-kernel
/proc/self/fd/5
-initrd
/proc/self/fd/6
-append
console=hvc0 quiet loglevel=1 reboot=t panic=-1 cryptomgr.notests no_timer_check tsc=reliable tsc_early_khz=2596123 rdinit=/peacrabd
-device
virtio-serial-device,max_ports=2
-chardev
socket,id=console,fd=4
-device
virtconsole,chardev=console,nr=0
-chardev
socket,id=link,fd=3
-device
virtserialport,chardev=link,nr=1,name=peacrab.link
-add-fd
fd=7,set=1,opaque=base
-blockdev
driver=raw,node-name=base,read-only=on,file.driver=file,file.filename=/dev/fdset/1
-device
virtio-blk-device,drive=base,serial=base
-add-fd
fd=8,set=2,opaque=state
-blockdev
driver=raw,node-name=state,discard=unmap,file.driver=file,file.filename=/dev/fdset/2,file.discard=unmap,cache.direct=off,cache.no-flush=off
-device
virtio-blk-device,drive=state,serial=state,write-cache=on,werror=report
-object
rng-builtin,id=rng
-device
virtio-rng-device,rng=rng
)";

}  // namespace

TEST_CASE("qemu: the arguments under TCG are the measured ones, word for word") {
    CHECK(joined(qemu_arguments(spec())) == kGoldenTcg);
}

TEST_CASE("qemu: under KVM only the accelerator, the CPU and the clock words differ") {
    MachineSpec kvm = spec();
    kvm.accelerator = Accelerator::Kvm;
    kvm.command_line = kernel_command_line(Accelerator::Kvm, 0);
    const std::vector<std::string> tcg_words = qemu_arguments(spec());
    const std::vector<std::string> kvm_words = qemu_arguments(kvm);
    REQUIRE(tcg_words.size() == kvm_words.size());
    std::vector<std::string> changed;
    for (size_t i = 0; i < tcg_words.size(); ++i)
        if (tcg_words[i] != kvm_words[i]) changed.push_back(kvm_words[i]);
    CHECK(changed == std::vector<std::string>{
                         "kvm", "host",
                         "console=hvc0 quiet loglevel=1 reboot=t panic=-1 cryptomgr.notests "
                         "rdinit=/peacrabd"});
    kvm.cpu_model = MachineSpec::CpuModel::Second;
    const std::vector<std::string> second = qemu_arguments(kvm);
    CHECK(std::count(second.begin(), second.end(), "host,arch-capabilities=off") == 1);
}

TEST_CASE("qemu: there is no network, no monitor and no path of the host") {
    const std::string words = joined(qemu_arguments(spec()));
    for (const std::string never : {"virtio-net", "\n-net", "\n-nic", "\n-monitor", "\n-qmp",
                                    "\n-mon\n", "\n-serial", "vnc", "usb", "/images", "/state/",
                                    "\n-virtfs", "\n-fsdev"})
        CHECK_MESSAGE(words.find(never) == std::string::npos, never);
}

TEST_CASE("qemu: memory and CPUs are what the spec says") {
    MachineSpec big = spec();
    big.cpus = 3;
    big.memory = MiB(1536);
    const std::string words = joined(qemu_arguments(big));
    CHECK(words.find("-smp\n3\n") != std::string::npos);
    CHECK(words.find("-m\n1536M\n") != std::string::npos);
}
