// Rulesets for landlock(2). The headers of the systems this is built on are older than the kernels
// it runs on, so what is newer is written down here. Must never leave out silently what was asked
// for: a kernel whose Landlock is too old for a rule is an error.
#include "landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "error.h"

namespace peacrab {
namespace {

// Newer than the headers this is built with. Source: landlock(7).
constexpr uint64_t kTruncate = 1u << 14, kDeviceIoctl = 1u << 15;
constexpr uint64_t kBindTcp = 1, kConnectTcp = 2;
constexpr uint64_t kAbstractSockets = 1, kSignals = 2;
constexpr int kRuleOfPort = 2;
struct Handled {
    uint64_t files, network, scopes;
};
struct PortRule {
    uint64_t allowed, port;
};
constexpr uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                              LANDLOCK_ACCESS_FS_READ_FILE | kTruncate | kDeviceIoctl;

uint64_t all_of_files(int version) {
    uint64_t all = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1;
    if (version >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) all |= kTruncate;
    if (version >= 5) all |= kDeviceIoctl;
    return all;
}

void allow(const UniqueFd& ruleset, int at, uint64_t rights, const std::string& path) {
    struct stat info;
    if (::fstat(at, &info) < 0) throw ErrnoError("jail: landlock: " + printable(path));
    landlock_path_beneath_attr rule{};
    rule.allowed_access = S_ISDIR(info.st_mode) ? rights : rights & kOfFiles;
    rule.parent_fd = at;
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        throw ErrnoError("jail: landlock: " + printable(path));
}

void allow_path(const UniqueFd& ruleset, const std::string& path, uint64_t rights) {
    const UniqueFd at(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!at && (errno == ENOENT || errno == EACCES || errno == ENOTDIR)) return;
    if (!at) throw ErrnoError("jail: landlock: " + printable(path));
    allow(ruleset, at.get(), rights, path);
}

}  // namespace

int landlock_version() {
    const long version =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? 0 : static_cast<int>(version);
}

UniqueFd landlock_ruleset(const LandlockRules& rules, int least) {
    const int version = landlock_version();
    if (version < std::max(least, 1))
        throw Error("jail: landlock: version " + std::to_string(std::max(least, 1)) +
                    " is needed and this kernel has " +
                    (version ? std::to_string(version) : std::string("none")));
    using Tcp = LandlockRules::Tcp;
    Handled handled{all_of_files(version), 0, 0};
    if (rules.executing == LandlockRules::Execute::Any)
        handled.files &= ~uint64_t{LANDLOCK_ACCESS_FS_EXECUTE};
    if (version >= 4 && rules.tcp != Tcp::Any) handled.network = kBindTcp | kConnectTcp;
    if (version >= 6) handled.scopes = kAbstractSockets | kSignals;
    if (version < 4 && rules.tcp == Tcp::Listed)
        throw Error("jail: landlock: this kernel's cannot limit connections");
    const size_t size = version >= 6   ? sizeof handled
                        : version >= 4 ? offsetof(Handled, scopes)
                                       : offsetof(Handled, network);
    UniqueFd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, size, 0)));
    if (!ruleset) throw ErrnoError("jail: landlock: ruleset");
    const uint64_t execute = LANDLOCK_ACCESS_FS_EXECUTE;
    for (const std::string& path : rules.write) allow_path(ruleset, path, handled.files & ~execute);
    for (const std::string& path : rules.read) allow_path(ruleset, path, kReading);
    for (const std::string& path : rules.execute)
        allow_path(ruleset, path, handled.files & (kReading | execute));
    if (rules.program >= 0)
        allow(ruleset, rules.program, handled.files & (kReading | execute), "our own program");
    for (const uint16_t port : rules.tcp == Tcp::Listed ? rules.ports : std::vector<uint16_t>()) {
        const PortRule rule{kConnectTcp, port};
        if (::syscall(SYS_landlock_add_rule, ruleset.get(), kRuleOfPort, &rule, 0) < 0)
            throw ErrnoError("jail: landlock: port");
    }
    return ruleset;
}

bool landlock_restrict(int ruleset) noexcept {
    return ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}

}  // namespace peacrab
