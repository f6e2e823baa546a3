// The VMM-neutral half of a machine: names and folders, the checks before a start, the state disk,
// and the decisions of the boot watchdog. Must not know any VMM's options, and must not touch what
// is in the state disk.
#include "machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "error.h"
#include "json.h"
#include "spawn.h"

namespace peacrab {
namespace {

// A folder beside those of the machines, with a lock too: see local.cc.
constexpr const char* kNoMachine = "local";

void check_name(const std::string& name) {
    const bool plain = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") ==
                       std::string::npos;
    if (name.empty() || name.size() > 32 || !plain)
        throw Error("machine: name `" + printable(name.substr(0, 64)) +
                    "`: 1 to 32 of a-z, 0-9 and - were expected");
    if (name == kNoMachine)
        throw Error("machine: name `local`: `peacrabd` keeps its own state there; take another name");
}

// XDG_RUNTIME_DIR, when it is really ours: after `sudo` it may still name the other user's.
std::string socket_folder(const std::string& otherwise) {
    const std::string runtime = env("XDG_RUNTIME_DIR");
    struct stat info;
    if (runtime.empty() || runtime[0] != '/' || ::stat(runtime.c_str(), &info) < 0 ||
        !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || ::access(runtime.c_str(), W_OK) < 0)
        return otherwise;
    return runtime + "/peacrab";
}

}  // namespace

MachinePlace machine_place(const std::string& name) {
    check_name(name);
    MachinePlace place;
    place.name = name;
    place.folder = state_folder() + "/" + name;
    place.state_image = place.folder + "/state.img";
    place.console_log = place.folder + "/console.log";
    place.gateway_log = place.folder + "/gateway.log";
    place.lock = place.folder + "/lock";
    place.record = place.folder + "/machine.json";
    const std::string folder = socket_folder(place.folder);
    place.socket = folder + "/" + (folder == place.folder ? "gateway" : name) + ".sock";
    return place;
}

std::vector<std::string> machine_names() {
    std::vector<std::string> names;
    DIR* directory = ::opendir(state_folder().c_str());
    if (!directory) return names;
    while (const dirent* entry = ::readdir(directory)) {
        const std::string lock = state_folder() + "/" + entry->d_name + "/lock";
        if (entry->d_name[0] != '.' && entry->d_name != std::string_view(kNoMachine) &&
            ::access(lock.c_str(), F_OK) == 0)
            names.push_back(entry->d_name);
    }
    ::closedir(directory);
    std::sort(names.begin(), names.end());
    return names;
}

std::string accelerator_cache_file() { return cache_folder() + "/accelerator.json"; }

MachineOptions with_config(MachineOptions options, const Config& config) {
    if (!options.cpus) options.cpus = config.cpus;
    if (!options.memory.count) options.memory = config.memory;
    if (!options.disk.count) options.disk = config.disk;
    if (options.accelerator.empty()) options.accelerator = config.accelerator;
    if (options.accelerator.empty()) options.accelerator = "auto";
    static_cast<ModelConfig&>(options) = options.or_else(config);
    return options;
}

std::vector<std::string> machine_flags(const MachineOptions& options) {
    std::vector<std::string> flags = {"--name", options.name};
    const auto add = [&flags](const char* flag, const std::string& value) {
        if (value.empty()) return;
        flags.push_back(flag);
        flags.push_back(value);
    };
    add("--cpus", options.cpus ? std::to_string(options.cpus) : "");
    add("--memory", options.memory.count ? format_size(options.memory) : "");
    add("--disk", options.disk.count ? format_size(options.disk) : "");
    add("--accel", options.accelerator);
    add("--model", options.model);
    add("--model-url", options.model_url);
    add("--dialect", options.dialect);
    return flags;
}

int default_cpus(Accelerator accelerator, int host_cpus) {
    // Under TCG a second one costs 0.2 s of boot and helps only parallel work.
    return accelerator == Accelerator::Kvm ? std::clamp(host_cpus, 1, 4) : 1;
}

std::optional<UniqueFd> take_machine_lock(const MachinePlace& place) {
    UniqueFd fd(::open(place.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) throw ErrnoError("machine: lock: " + place.lock);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno == EWOULDBLOCK) return std::nullopt;
    throw ErrnoError("machine: lock: " + place.lock);
}

std::optional<MachineRecord> read_record(const MachinePlace& place) {
    try {
        const std::optional<std::string> text = read_file_if_exists(place.record, KiB(64));
        if (!text) return std::nullopt;
        const json::Value value = json::parse(*text);
        return MachineRecord{static_cast<pid_t>(value.integer("gateway")), value.text("socket"),
                             value.text("ended")};
    } catch (const Error&) {
        return std::nullopt;
    }
}

void write_record(const MachinePlace& place, const MachineRecord& record) {
    const json::Value value = json::Value::object(
        {{"gateway", record.gateway}, {"socket", record.socket}, {"ended", record.ended}});
    write_file_atomic(place.record, json::dump(value) + "\n", 0600);
}

namespace {

// Rounded for a sentence: "312M", "7.4G".
std::string about(Bytes size) {
    char text[32];
    const double mebibytes = static_cast<double>(size.count) / (1 << 20);
    if (mebibytes < 1024) std::snprintf(text, sizeof text, "%.0fM", mebibytes);
    else std::snprintf(text, sizeof text, "%.1fG", mebibytes / 1024);
    return text;
}

// One "Name:   123 kB" line of a /proc file.
uint64_t kilobytes(const std::string& text, const std::string& name) {
    const size_t at = text.find("\n" + name + ":");
    const size_t start = text.rfind(name + ":", 0) == 0 ? 0 : at == std::string::npos ? at : at + 1;
    if (start == std::string::npos) return 0;
    return std::strtoull(text.c_str() + start + name.size() + 1, nullptr, 10);
}

}  // namespace

// More than the host has only makes them wait for each other, in the end longer than a boot may last.
void check_cpus(int asked, int available) {
    if (asked <= available) return;
    throw Error("cpus: " + std::to_string(asked) + " were asked for and this host has " +
                std::to_string(available) + "; try `peacrab up --cpus " + std::to_string(available) +
                "`");
}

void check_memory(Bytes asked, Bytes available) {
    if (asked < kLeastMemory)
        throw Error("memory: " + format_size(asked) + " is too little for a machine; give at least " +
                    format_size(kLeastMemory) + " with --memory");
    const Bytes overhead = MiB(256);  // the VMM itself, and part of TCG's translated code
    if (asked.count + overhead.count <= available.count) return;
    const uint64_t fits = available.count > overhead.count ? available.count - overhead.count : 0;
    throw Error("memory: " + format_size(asked) + " were asked for and this host has " +
                about(available) + " free" +
                (fits >= kLeastMemory.count
                     ? "; try `peacrab up --memory " + std::to_string(fits >> 20) + "M`"
                     : "; stop something, then try again"));
}

void check_disk(const std::string& folder, Bytes free) {
    if (free >= MiB(256)) return;
    throw Error("disk: " + printable(folder) + " has " + about(free) +
                " free, a machine needs 256M to start; make room there, or set XDG_STATE_HOME to a "
                "folder on a larger disk");
}

int host_cpus() { return static_cast<int>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L)); }

Bytes available_memory() {
    const std::string host = read_file_if_exists("/proc/meminfo", KiB(64)).value_or("");
    uint64_t available = kilobytes(host, "MemAvailable") << 10;
    const auto number = [](const char* path) -> std::optional<uint64_t> {
        const std::optional<std::string> text = read_file_if_exists(path, KiB(1));
        if (!text || text->empty() || !std::isdigit(static_cast<unsigned char>((*text)[0])))
            return std::nullopt;
        return std::strtoull(text->c_str(), nullptr, 10);
    };
    // Inside a container the limit that counts is that of its cgroup, seen at the root of the mount.
    const auto limit = number("/sys/fs/cgroup/memory.max");
    const auto used = number("/sys/fs/cgroup/memory.current");
    if (limit && used) available = std::min(available, *limit > *used ? *limit - *used : 0);
    return {available};
}

Bytes free_space(const std::string& folder) {
    struct statvfs info;
    if (::statvfs(folder.c_str(), &info) < 0) throw ErrnoError("disk: " + printable(folder));
    return {uint64_t{info.f_bavail} * info.f_frsize};
}

namespace {

void make_state_disk(const std::string& path, Bytes size) {
    const std::string mke2fs = find_program("mke2fs");
    if (mke2fs.empty())
        throw Error("disk: mke2fs is missing; install it: apt install e2fsprogs");
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) throw ErrnoError("disk: " + printable(path));
    if (::ftruncate(fd.get(), static_cast<off_t>(size.count)) < 0)
        throw ErrnoError("disk: " + printable(path));
    SpawnOptions options;
    options.program = mke2fs;
    options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    // The file is all zeroes: nothing needs to be written now (200 KiB in all), and with the tables
    // marked as done no kernel thread of the guest fills them in later. A hundredth is held back
    // from the agent, so that a disk it has filled can still be worked on.
    options.arguments = {"mke2fs", "-q", "-F", "-t", "ext4", "-L", "peacrab-state", "-m", "1",
                         "-O", "^resize_inode,metadata_csum,64bit,quota,project", "-E",
                         "lazy_itable_init=0,lazy_journal_init=1,root_owner=0:0,quotatype=prjquota",
                         path};
    const RunResult result = run_program(options, Seconds(60));
    if (!result.exit.ok())
        throw Error("disk: mke2fs: " + result.exit.describe() + ": " + printable(result.output));
    if (::fsync(fd.get()) < 0) throw ErrnoError("disk: " + printable(path));
}

// Agents are held to their share of the disk by quotas, which a disk of an earlier version has no
// place for. Source: the superblock of Linux Documentation/filesystems/ext4.
void require_quotas(const MachinePlace& place) {
    constexpr off_t kSuperblock = 1024;
    constexpr uint32_t kMagic = 0xef53, kQuota = 0x100, kProject = 0x2000;
    std::array<unsigned char, 256> block{};
    const UniqueFd fd(::open(place.state_image.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) throw ErrnoError("disk: " + printable(place.state_image));
    const ssize_t n = ::pread(fd.get(), block.data(), block.size(), kSuperblock);
    const uint32_t magic = block[0x38] | uint32_t{block[0x39]} << 8;
    const uint32_t features = block[0x64] | uint32_t{block[0x65]} << 8;
    if (n == static_cast<ssize_t>(block.size()) && magic == kMagic &&
        (features & (kQuota | kProject)) == (kQuota | kProject))
        return;
    throw Error("disk: the state disk of `" + place.name +
                "` has no quotas, without which no agent could be held to its share of it: it was "
                "made by an earlier version; begin anew with `peacrab rm --name " +
                place.name + "` (everything in it is lost)");
}

}  // namespace

Bytes prepare_state_disk(const MachinePlace& place, Bytes asked, Bytes configured) {
    struct stat info;
    if (::stat(place.state_image.c_str(), &info) == 0) {
        const Bytes there{static_cast<uint64_t>(info.st_size)};
        if (asked.count && asked != there)
            throw Error("disk: the state disk of `" + place.name + "` is " + format_size(there) +
                        " and was made so; leave --disk away, or begin anew with `peacrab rm --name " +
                        place.name + "` (everything in it is lost)");
        require_quotas(place);
        return there;
    }
    if (errno != ENOENT) throw ErrnoError("disk: " + printable(place.state_image));
    const Bytes size = asked.count ? asked : configured.count ? configured : kDefaultDisk;
    if (size < kLeastDisk || size.count % 4096 != 0)
        throw Error("disk: " + format_size(size) + ": at least " + format_size(kLeastDisk) +
                    " was expected, in whole 4K");
    const std::string fresh = place.state_image + ".new";
    try {
        make_state_disk(fresh, size);
    } catch (...) {
        ::unlink(fresh.c_str());
        throw;
    }
    if (::rename(fresh.c_str(), place.state_image.c_str()) < 0)
        throw ErrnoError("disk: " + printable(place.state_image));
    return size;
}

std::string kernel_command_line(Accelerator accelerator, uint64_t tsc_khz) {
    std::string line = "console=hvc0 quiet loglevel=1 reboot=t panic=-1 cryptomgr.notests";
    // Under TCG the guest can calibrate its clock against nothing; under KVM there is kvmclock.
    if (accelerator == Accelerator::Tcg)
        line += " no_timer_check tsc=reliable tsc_early_khz=" + std::to_string(tsc_khz);
    return line + " rdinit=/peacrabd";
}

BootLimits boot_limits(Accelerator accelerator, double load) {
    const auto silence =
        accelerator == Accelerator::Kvm
            ? Milliseconds(3000)
            : Milliseconds(static_cast<int64_t>(15'000 * (1 + std::clamp(load, 0.0, 8.0))));
    return {silence, silence * 8};
}

double host_load() {
    double mean = 0;
    if (::getloadavg(&mean, 1) != 1) return 1;
    return mean / static_cast<double>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

NextBoot after_failed_boot(const BootAttempt& attempt, BootFailure failure) {
    const bool kvm = attempt.accelerator == Accelerator::Kvm;
    const NextBoot otherwise =
        kvm && !attempt.accelerator_asked ? NextBoot::Tcg : NextBoot::GiveUp;
    if (failure == BootFailure::Silent) return otherwise;
    if (kvm && attempt.cpu_model == MachineSpec::CpuModel::First) return NextBoot::SecondCpuModel;
    // A stock kernel dies early in a few of a hundred boots under QEMU 7.2 with TCG.
    if (!kvm && attempt.exits == 0) return NextBoot::SameAgain;
    return otherwise;
}

VmmStatus vmm_status(pid_t pid) {
    VmmStatus status;
    const std::string folder = "/proc/" + std::to_string(pid);
    const std::string text = read_file_if_exists(folder + "/status", KiB(64)).value_or("");
    if (text.empty()) return status;
    const auto hexadecimal = [&text](const char* name) {
        const size_t at = text.find(name);
        return at == std::string::npos
                   ? UINT64_MAX
                   : std::strtoull(text.c_str() + at + std::char_traits<char>::length(name), nullptr, 16);
    };
    status.resident = {kilobytes(text, "VmRSS") << 10};
    status.user = static_cast<uid_t>(kilobytes(text, "Uid"));
    status.no_capabilities = hexadecimal("CapPrm:") == 0 && hexadecimal("CapEff:") == 0;
    status.no_new_privileges = kilobytes(text, "NoNewPrivs") == 1;
    status.filtered = kilobytes(text, "Seccomp") == 2;
    struct stat theirs, ours;
    status.own_network = ::stat((folder + "/ns/net").c_str(), &theirs) == 0 &&
                         ::stat("/proc/self/ns/net", &ours) == 0 && theirs.st_ino != ours.st_ino;
    return status;
}

}  // namespace peacrab
