// KVM or TCG. Everything that touches /dev/kvm happens in a short-lived child: what a broken KVM
// does to its caller (hang, crash) must not happen to the gateway. Must not decide anything from
// the presence of a device alone, and must not treat TCG as an error: it is a mode.
#include "accelerator.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>

#include "error.h"
#include "json.h"
#include "os.h"

namespace peacrab {

const char* accelerator_name(Accelerator accelerator) {
    return accelerator == Accelerator::Kvm ? "kvm" : "tcg";
}

const char* accelerator_describe(Accelerator accelerator) {
    return accelerator == Accelerator::Kvm ? "KVM" : "TCG (software emulation)";
}

KvmFacts read_kvm_facts(const std::string& device) {
    KvmFacts facts;
    facts.present = ::access(device.c_str(), F_OK) == 0;
    if (facts.present) {
        UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
        facts.open_error = fd ? 0 : errno;
        struct stat info;
        facts.group_may = ::stat(device.c_str(), &info) == 0 && (info.st_mode & 060) == 060 &&
                          info.st_gid != 0;
    }
    const std::string cpu = read_file_if_exists("/proc/cpuinfo", MiB(4)).value_or("");
    facts.cpu_flag = cpu.find(" vmx") != std::string::npos || cpu.find(" svm") != std::string::npos;
    if (DIR* directory = ::opendir("/sys/module")) {
        while (const dirent* entry = ::readdir(directory))
            if (std::strncmp(entry->d_name, "kvm", 3) == 0) facts.modules.push_back(entry->d_name);
        ::closedir(directory);
    }
    std::sort(facts.modules.begin(), facts.modules.end());
    return facts;
}

namespace {

// What the child writes to the pipe: no pointers, `step` is an index into kSteps.
struct ProbeReport {
    int step;
    int error;
    int64_t loop;  // microseconds
};

constexpr const char* kSteps[] = {"open",        "API version", "create VM", "map memory",
                                  "create vCPU", "registers",   "run",       "exit"};

constexpr uint64_t kGuestMemory = uint64_t{2} << 20;
constexpr uint64_t kTables = 0x1000;  // PML4, PDPT and PD in three pages
constexpr uint64_t kCode = 0x4000;

// 64-bit code: a counted loop, then halt.
constexpr unsigned char kLoop[] = {0xb9, 0xa0, 0x86, 0x01, 0x00,  // mov ecx, 100000
                                   0xff, 0xc9,                    // dec ecx
                                   0x75, 0xfc,                    // jnz back
                                   0xf4};                         // hlt

// One 2 MiB page, mapped to itself: long mode wants page tables.
void fill_memory(unsigned char* memory) noexcept {
    const uint64_t tables[] = {(kTables + 0x1000) | 3, (kTables + 0x2000) | 3, 0x83};
    for (size_t i = 0; i < 3; ++i)
        std::memcpy(memory + kTables + i * 0x1000, &tables[i], sizeof tables[i]);
    std::memcpy(memory + kCode, kLoop, sizeof kLoop);
}

bool enter_long_mode(int vcpu) noexcept {
    kvm_sregs special{};
    if (::ioctl(vcpu, KVM_GET_SREGS, &special) < 0) return false;
    special.cr3 = kTables;
    special.cr4 |= uint64_t{1} << 5;                      // PAE
    special.cr0 |= (uint64_t{1} << 31) | 1;               // PG, PE
    special.efer |= (uint64_t{1} << 8) | (uint64_t{1} << 10);  // LME, LMA
    kvm_segment flat{};
    flat.limit = 0xffffffff;
    flat.selector = 8;
    flat.type = 11;  // code, readable, accessed
    flat.present = flat.s = flat.l = flat.g = 1;
    special.cs = flat;
    flat.selector = 16;
    flat.type = 3;  // data, writable, accessed
    flat.l = 0;
    flat.db = 1;
    special.ds = special.es = special.fs = special.gs = special.ss = flat;
    kvm_regs general{};
    general.rip = kCode;
    general.rflags = 2;
    return ::ioctl(vcpu, KVM_SET_SREGS, &special) == 0 &&
           ::ioctl(vcpu, KVM_SET_REGS, &general) == 0;
}

int64_t cpu_microseconds() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

// In the child. Gives the report; the process ends right after, which frees everything.
ProbeReport run_one_vcpu(const char* device) noexcept {
    int step = 0;
    const auto refused = [&step] { return ProbeReport{step, errno, -1}; };
    const int kvm = ::open(device, O_RDWR | O_CLOEXEC);
    if (kvm < 0) return refused();
    ++step;
    const int version = ::ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) return {step, version < 0 ? errno : EPROTO, -1};
    ++step;
    const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) return refused();
    ::ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);  // only old Intel needs it; elsewhere it may fail
    ++step;
    void* memory = ::mmap(nullptr, kGuestMemory, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return refused();
    fill_memory(static_cast<unsigned char*>(memory));
    kvm_userspace_memory_region region{};
    region.memory_size = kGuestMemory;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory);
    if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) return refused();
    ++step;
    const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0);
    const int size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vcpu < 0 || size < 0) return refused();
    void* shared = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED,
                          vcpu, 0);
    if (shared == MAP_FAILED) return refused();
    ++step;
    if (!enter_long_mode(vcpu)) return refused();
    ++step;
    const int64_t start = cpu_microseconds();
    if (::ioctl(vcpu, KVM_RUN, 0) < 0) return refused();
    const int64_t loop = cpu_microseconds() - start;
    ++step;
    if (static_cast<const kvm_run*>(shared)->exit_reason != KVM_EXIT_HLT) return {step, EIO, -1};
    return {step, 0, loop};
}

[[noreturn]] void probe_child(const char* device, int report_fd) noexcept {
    // SIGALRM must end us even if our parent's parent had it blocked or ignored.
    ::signal(SIGALRM, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::alarm(1);
    const ProbeReport report = run_one_vcpu(device);
    const ssize_t n = ::write(report_fd, &report, sizeof report);
    ::_exit(n == sizeof report ? 0 : 1);
}

}  // namespace

KvmProbe probe_kvm(const std::string& device) {
    Pipe pipe = Pipe::make();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("accelerator: fork");
    if (pid == 0) probe_child(device.c_str(), pipe.write.get());
    const Pidfd child = Pidfd::of_child(pid);  // kills and reaps it, whatever happens here
    pipe.write.reset();
    KvmProbe probe;
    probe.end = KvmProbe::End::Stuck;
    pollfd one{pipe.read.get(), POLLIN, 0};
    const Deadline deadline = Deadline::in(Milliseconds(1500));
    while (::poll(&one, 1, deadline.poll_timeout()) < 0 && errno == EINTR) {
    }
    ProbeReport report{};
    if (!one.revents || ::read(pipe.read.get(), &report, sizeof report) != sizeof report)
        return probe;
    probe.step = kSteps[report.step];
    probe.error = report.error;
    probe.loop = Microseconds(report.loop);
    probe.end = report.error ? KvmProbe::End::Refused : KvmProbe::End::Finished;
    return probe;
}

namespace {

std::string milliseconds(Microseconds span) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(span.count()) / 1000);
    return text;
}

std::string facts_against(const KvmFacts& facts) {
    if (!facts.present) return "this host has no /dev/kvm";
    if (facts.open_error == EACCES || facts.open_error == EPERM)
        return facts.group_may ? "/dev/kvm may not be opened by this user (join its group: sudo "
                                 "adduser $USER kvm, then log in again)"
                               : "/dev/kvm may not be opened by this user, only by root";
    if (facts.open_error)
        return std::string("/dev/kvm does not open: ") + std::strerror(facts.open_error);
    return "";
}

}  // namespace

Verdict judge(const KvmFacts& facts, const KvmProbe& probe) {
    const std::string against = facts_against(facts);
    if (!against.empty()) return {Accelerator::Tcg, "facts", against};
    switch (probe.end) {
        case KvmProbe::End::NotRun:
            return {Accelerator::Tcg, "probe", "KVM was not probed"};
        case KvmProbe::End::Refused:
            return {Accelerator::Tcg, "probe",
                    std::string("KVM opens here but fails (") + probe.step + ": " +
                        std::strerror(probe.error) + ")"};
        case KvmProbe::End::Stuck:
            return {Accelerator::Tcg, "probe", "KVM opens here but its virtual CPU hangs"};
        case KvmProbe::End::Finished: break;
    }
    if (probe.loop > kProbeLimit)
        return {Accelerator::Tcg, "probe",
                "KVM opens here but runs guest code far too slowly: " + milliseconds(probe.loop) +
                    " for a loop that takes 0.1 ms"};
    return {Accelerator::Kvm, "probe", "KVM works: the probe loop took " + milliseconds(probe.loop)};
}

namespace {

// What a remembered verdict holds for: any difference makes it void.
std::string memory_key(const AcceleratorOptions& options) {
    utsname kernel{};
    ::uname(&kernel);
    struct stat vmm {};
    ::stat(options.vmm.c_str(), &vmm);
    struct stat device {};
    ::stat(options.device.c_str(), &device);
    std::string boot =
        read_file_if_exists("/proc/sys/kernel/random/boot_id", KiB(1)).value_or("unknown");
    while (!boot.empty() && boot.back() == '\n') boot.pop_back();
    // The user and the device's owner are in it because permission is part of the facts.
    return boot + " " + kernel.release + " " + options.vmm + " " + std::to_string(vmm.st_dev) + ":" +
           std::to_string(vmm.st_ino) + ":" + std::to_string(vmm.st_size) + ":" +
           std::to_string(vmm.st_mtim.tv_sec) + " " + options.device + " " +
           std::to_string(device.st_rdev) + ":" + std::to_string(device.st_mode) + ":" +
           std::to_string(device.st_gid) + " " + std::to_string(::geteuid());
}

// A damaged or foreign memory is no memory.
std::optional<Verdict> recall(const AcceleratorOptions& options) {
    if (options.cache_file.empty()) return std::nullopt;
    try {
        const std::optional<std::string> text = read_file_if_exists(options.cache_file, KiB(16));
        if (!text) return std::nullopt;
        const json::Value memory = json::parse(*text);
        if (memory.at("key").as_string() != memory_key(options)) return std::nullopt;
        Verdict verdict;
        const std::string name = memory.at("accelerator").as_string();
        if (name != "kvm" && name != "tcg") return std::nullopt;
        verdict.accelerator = name == "kvm" ? Accelerator::Kvm : Accelerator::Tcg;
        verdict.decided_by = memory.at("decided_by").as_string();
        verdict.reason = memory.at("reason").as_string();
        verdict.took = Microseconds(memory.at("took").as_integer());
        verdict.remembered = true;
        return verdict;
    } catch (const Error&) {
        return std::nullopt;
    }
}

}  // namespace

void remember_verdict(const AcceleratorOptions& options, const Verdict& verdict) {
    if (options.cache_file.empty()) return;
    try {
        make_directories(options.cache_file.substr(0, options.cache_file.rfind('/')));
        const json::Value memory =
            json::Value::object({{"key", memory_key(options)},
                                 {"accelerator", accelerator_name(verdict.accelerator)},
                                 {"decided_by", verdict.decided_by},
                                 {"reason", verdict.reason},
                                 {"took", verdict.took.count()}});
        write_file_atomic(options.cache_file, json::dump(memory) + "\n", 0600);
    } catch (const Error& error) {
        log(LogLevel::Info, error.what());  // the next start probes again: slower, not wrong
    }
}

Verdict choose_accelerator(const AcceleratorOptions& options) {
    if (std::optional<Verdict> known = recall(options)) return std::move(*known);
    const auto start = std::chrono::steady_clock::now();
    const KvmFacts facts = read_kvm_facts(options.device);
    const KvmProbe probe =
        facts.present && !facts.open_error ? probe_kvm(options.device) : KvmProbe();
    Verdict verdict = judge(facts, probe);
    verdict.took =
        std::chrono::duration_cast<Microseconds>(std::chrono::steady_clock::now() - start);
    // What the facts said costs nothing to ask again, and may change under us (a group, a module).
    if (verdict.decided_by == "probe") remember_verdict(options, verdict);
    return verdict;
}

namespace {

struct ClockReading {
    uint64_t tsc;
    int64_t nanoseconds;
};

// The tightest of a few readings: a preemption between the two clocks would be the error.
ClockReading read_clocks() {
    ClockReading best{};
    uint64_t best_gap = UINT64_MAX;
    for (int i = 0; i < 8; ++i) {
        timespec now{};
        const uint64_t before = __rdtsc();
        ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
        const uint64_t after = __rdtsc();
        if (after - before >= best_gap) continue;
        best_gap = after - before;
        best = {before + best_gap / 2, int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
    }
    return best;
}

}  // namespace

uint64_t measure_tsc_khz() {
    const ClockReading first = read_clocks();
    timespec span{0, 25'000'000};
    while (::nanosleep(&span, &span) < 0 && errno == EINTR) {
    }
    const ClockReading last = read_clocks();
    const int64_t nanoseconds = last.nanoseconds - first.nanoseconds;
    if (nanoseconds <= 0 || last.tsc <= first.tsc)
        throw Error("accelerator: the time-stamp counter does not advance");
    return static_cast<uint64_t>(static_cast<double>(last.tsc - first.tsc) * 1e6 /
                                 static_cast<double>(nanoseconds));
}

}  // namespace peacrab
