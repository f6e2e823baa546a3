// A guest that is silent, and one that talks and never says hello, are told from a slow one by the
// watchdog (machine.h); a VM that ends early has its last words to say why.
#include "gateway_boot.h"

#include <poll.h>
#include <signal.h>

#include <array>

#include "error.h"

namespace peacrab {

std::string in_seconds(GatewayBoot::Clock::duration span) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(span).count());
    return text;
}

GatewayBoot::GatewayBoot(Loop& loop, Prepared& prepared, MachineDriver& driver,
                         const std::string& accelerator_cache, Owner& owner)
    : loop_(loop),
      prepared_(prepared),
      driver_(driver),
      owner_(owner),
      console_log_(prepared.place.console_log, KiB(256)) {
    accelerator_.cache_file = accelerator_cache;
}

void GatewayBoot::begin() {
    decide_accelerator();
    launch();
}

void GatewayBoot::decide_accelerator() {
    const std::string& asked = prepared_.options.accelerator;
    accelerator_.vmm = driver_.program();
    attempt_.accelerator_asked = asked != "auto";
    if (asked == "tcg") verdict_ = {Accelerator::Tcg, "asked", "--accel tcg"};
    else if (asked == "kvm") verdict_ = {Accelerator::Kvm, "asked", "--accel kvm"};
    else verdict_ = choose_accelerator(accelerator_);
    owner_.boot_says(std::string("booting under ") + accelerator_describe(verdict_.accelerator) + ": " +
                     verdict_.reason);
}

void GatewayBoot::fill_spec() {
    const Accelerator accelerator = verdict_.accelerator;
    attempt_.accelerator = accelerator;
    spec_.vmm = driver_.program();
    spec_.name = prepared_.place.name;
    spec_.accelerator = accelerator;
    spec_.cpu_model = attempt_.cpu_model;
    spec_.cpus = prepared_.options.cpus ? prepared_.options.cpus
                                        : default_cpus(accelerator, host_cpus());
    spec_.memory = prepared_.options.memory;
    spec_.kernel = prepared_.image.kernel;
    spec_.initramfs = prepared_.image.initramfs;
    spec_.base = prepared_.image.base;
    spec_.state = prepared_.place.state_image;
    spec_.command_line = kernel_command_line(
        accelerator, accelerator == Accelerator::Tcg ? measure_tsc_khz() : 0);
}

void GatewayBoot::launch() {
    try {
        fill_spec();
        launched_ = Clock::now();
        words_.clear();
        machine_ = driver_.launch(spec_);
        owner_.vm_launched(std::move(machine_.link));
        watch_output(machine_.console, &GatewayBoot::from_console);
        watch_output(machine_.errors, &GatewayBoot::from_vmm);
        loop_.watch(machine_.process.fd(), POLLIN, [this](short) { process_ended(); });
    } catch (const Error& error) {
        return owner_.boot_given_up(std::string("the machine did not start: ") + error.what());
    }
    watched_ = true;
    whole_ = loop_.after(boot_limits(verdict_.accelerator, host_load()).whole, [this] {
        failed(BootFailure::Silent, "the guest did not come up in time");
    });
    alive();
}

// Both are read for as long as they last: a full pipe would stop the guest.
void GatewayBoot::watch_output(UniqueFd& fd, void (GatewayBoot::*took)(std::string_view)) {
    set_nonblocking(fd.get());
    loop_.watch(fd.get(), POLLIN, [this, &fd, took](short) {
        if (read_output(fd, took)) return;
        loop_.forget(fd.get());
        fd.reset();
    });
}

// False at its end.
bool GatewayBoot::read_output(UniqueFd& fd, void (GatewayBoot::*took)(std::string_view)) {
    std::array<char, 16384> bytes;
    try {
        const std::optional<size_t> n = read_some(fd.get(), bytes);
        if (n.value_or(1) == 0) return false;
        if (n) (this->*took)({bytes.data(), *n});
        return true;
    } catch (const Error&) {  // a reset connection is an end as well
        return false;
    }
}

void GatewayBoot::from_console(std::string_view bytes) {
    console_log_.append(bytes);
    alive();
}

void GatewayBoot::from_vmm(std::string_view bytes) {
    words_.append(bytes);
    if (words_.size() > 2048) words_.erase(0, words_.size() - 2048);
    prepared_.log.append(bytes, "vmm: ");
}

void GatewayBoot::alive() {
    if (!watched_) return;
    loop_.cancel(silence_);
    const BootLimits limits = boot_limits(verdict_.accelerator, host_load());
    silence_ = loop_.after(limits.silence, [this, limits] {
        failed(BootFailure::Silent, "the guest was silent for " + in_seconds(limits.silence));
    });
}

void GatewayBoot::failed(BootFailure failure, const std::string& why) {
    const NextBoot next = after_failed_boot(attempt_, failure);
    owner_.vm_dropped();
    drop();
    if (failure == BootFailure::Exited) ++attempt_.exits;
    switch (next) {
        case NextBoot::GiveUp: {
            const size_t begin = words_.find_first_not_of(" \n"), end = words_.find_last_not_of(" \n") + 1;
            const std::string words =
                begin == std::string::npos ? "" : ": " + printable(words_.substr(begin, end - begin));
            const bool kvm = verdict_.accelerator == Accelerator::Kvm;
            return owner_.boot_given_up(
                "the machine did not start: " + why + words +
                (kvm ? "; leave --accel kvm away and it starts under TCG"
                     : "; what the guest printed is in " + prepared_.place.console_log));
        }
        case NextBoot::SameAgain: owner_.boot_says(why + "; trying once more"); break;
        case NextBoot::SecondCpuModel:
            attempt_.cpu_model = MachineSpec::CpuModel::Second;
            owner_.boot_says(why + "; trying another CPU model");
            break;
        case NextBoot::Tcg:
            verdict_ = {Accelerator::Tcg, "watchdog", "KVM passed its probe, but " + why};
            remember_verdict(accelerator_, verdict_);
            attempt_ = BootAttempt();
            owner_.boot_says(why + "; booting under " + accelerator_describe(Accelerator::Tcg));
            break;
    }
    launch();
}

void GatewayBoot::process_ended() {
    const int fd = machine_.process.fd();
    const std::optional<ChildExit> exit = machine_.process.try_wait();
    if (!exit) return;
    loop_.forget(fd);
    // What it said last is still in the pipes.
    for (int rounds = 0; rounds < 64 && read_output(machine_.console, &GatewayBoot::from_console);) ++rounds;
    for (int rounds = 0; rounds < 64 && read_output(machine_.errors, &GatewayBoot::from_vmm);) ++rounds;
    owner_.vm_ended(*exit);
}

void GatewayBoot::watch_no_more() {
    watched_ = false;
    loop_.cancel(silence_);
    loop_.cancel(whole_);
}

void GatewayBoot::terminate() {
    if (machine_.process) machine_.process.signal(SIGTERM);
}

void GatewayBoot::drop() {
    watch_no_more();
    for (UniqueFd* fd : {&machine_.console, &machine_.errors})
        if (*fd) loop_.forget(fd->get());
    if (machine_.process) loop_.forget(machine_.process.fd());
    machine_ = Machine();
}

}  // namespace peacrab
