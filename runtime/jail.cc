// Turns the tables of jails/tables.cc into BPF, and a child process into one that can do no more
// than its class says.
//
// First the architecture and unknown numbers, then a tree over the ranges of numbers that are answered
// alike; where arguments decide, its leaf looks at them. Of libseccomp it has the numbers of the names.
// Its filters would not do: several conditions on one argument do not compose, what matches none
// of them could not have an errno of its own, and each start of a program would wait for them.
// What runs between fork and exec must not allocate, log or throw.
#include "jail.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstddef>
#include <map>

#include "cells/mechanism.h"
#include "error.h"
#include "jails/tables.h"
#include "jails/tree.h"
#include "landlock.h"

namespace peacrab {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
constexpr uint32_t kForeignEntry = 0x40000000;  // the bit of the x32 entry
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
constexpr uint32_t kForeignEntry = 0x80000000;  // no such entry; no number reaches it
#else
#error "jail: this architecture has no seccomp tables"
#endif
static_assert(std::endian::native == std::endian::little, "low words of arguments come first");

constexpr uint32_t kAllowed = SECCOMP_RET_ALLOW;
constexpr uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr int kHighestNumber = 511;  // beyond any table libseccomp has; each number is looked for in all of it

constexpr uint32_t refuse(int code) {
    return SECCOMP_RET_ERRNO | static_cast<uint32_t>(code);
}

sock_filter answer(uint32_t action) {
    return statement(BPF_RET | BPF_K, action);
}
sock_filter load(size_t offset) {
    return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}

// The number of a call here, or nothing when this architecture or libseccomp does not have it.
std::optional<uint32_t> number_of(const std::string& name) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number < 0) return std::nullopt;
    return static_cast<uint32_t>(number);
}

uint32_t highest_known() {
    static const uint32_t highest = [] {
        for (int number = kHighestNumber; number >= 0; --number) {
            char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
            if (!name) continue;
            std::free(name);
            return static_cast<uint32_t>(number);
        }
        throw Error("jail: filter: libseccomp knows no system call");
    }();
    return highest;
}

// One argument row: its conditions, and the answer when all hold. Falls through to the next row.
Program row_program(const jail_tables::ArgumentRow& row) {
    // Backwards, so that each failed test knows how far the end is.
    const bool allowed = row.verdict == jail_tables::kAllow || !on(row.mechanism);
    Program program{answer(allowed ? kAllowed : refuse(row.verdict))};
    for (unsigned i = row.count; i-- > 0;) {
        const jail_tables::Condition& condition = row.when[i];
        Program test{load(offsetof(seccomp_data, args) + condition.argument * sizeof(uint64_t))};
        if (condition.mask != ~uint32_t{0})
            test.push_back(statement(BPF_ALU | BPF_AND | BPF_K, condition.mask));
        test.push_back(jump(BPF_JEQ, condition.value, 0, program.size()));
        program.insert(program.begin(), test.begin(), test.end());
    }
    return program;
}

// Whatever is asked by: afterwards the accumulator holds the number of a call that may be known.
Program prologue() {
    const uint32_t foreign = on(Mechanism::SeccompArchitecture) ? kKill : kAllowed;
    return {
        load(offsetof(seccomp_data, arch)),
        jump(BPF_JEQ, kArchitecture, 1, 0),
        answer(foreign),
        load(offsetof(seccomp_data, nr)),
        jump(BPF_JEQ, ~uint32_t{0}, 2, 0),  // -1: a debugger skips a call
        jump(BPF_JSET, kForeignEntry, 0, 2),
        answer(foreign),
        answer(refuse(ENOSYS)),
        jump(BPF_JGT, highest_known(), 0, 1),
        answer(refuse(ENOSYS)),
    };
}

Verdicts by_argument(unsigned bit) {
    Verdicts verdicts;
    std::map<uint32_t, bool> closed;
    for (const jail_tables::ArgumentRow& row : jail_tables::by_argument()) {
        if (!(row.classes & bit)) continue;
        const std::optional<uint32_t> number = number_of(row.name);
        if (!number) continue;
        const Program part = row_program(row);
        verdicts[*number].insert(verdicts[*number].end(), part.begin(), part.end());
        closed[*number] = row.count == 0;
    }
    for (const auto& [number, last] : closed)
        if (!last) throw Error("jail: filter: argument rows without a last answer");
    return verdicts;
}

void add(Verdicts& verdicts, uint32_t action, const char* names) {
    for (const std::string& name : split(names, ' '))
        if (const std::optional<uint32_t> number = number_of(name))
            verdicts.try_emplace(*number, Program{answer(action)});
}

Verdicts verdicts_of(unsigned bit) {
    Verdicts verdicts = by_argument(bit);
    for (const jail_tables::AllowRow& row : jail_tables::allowed())
        if (row.classes & bit) add(verdicts, kAllowed, row.names);
    for (const jail_tables::RefusedRow& row : jail_tables::refused())
        if (row.classes & bit)
            add(verdicts, on(row.mechanism) ? refuse(row.code) : kAllowed, row.names);
    return verdicts;
}

unsigned bit_of(JailClass jail, JailFilter::Network network) {
    using Network = JailFilter::Network;
    switch (jail) {
        case JailClass::File:
            return jail_tables::kFile;
        case JailClass::Shell:
            if (network == Network::Own) return jail_tables::kShell;
            return network == Network::Tcp ? jail_tables::kTcpShell : jail_tables::kLocalShell;
        case JailClass::Fetch:
            return jail_tables::kFetch;
        case JailClass::Turn:
            return network == Network::Own ? jail_tables::kOwn : jail_tables::kTurn;
        case JailClass::Adapter:
            return network == Network::Own ? jail_tables::kAdapterOwn : jail_tables::kAdapter;
        case JailClass::Reaper:
            return jail_tables::kReaper;
    }
    throw Error("jail: unknown class");
}

// The mechanism that is the whole filter; Shell's are its rows.
std::optional<Mechanism> filter_of(JailClass jail) {
    if (jail == JailClass::File) return Mechanism::SeccompFile;
    if (jail == JailClass::Fetch) return Mechanism::SeccompFetch;
    if (jail == JailClass::Turn) return Mechanism::SeccompTurn;
    if (jail == JailClass::Reaper) return Mechanism::SeccompReaper;
    return std::nullopt;
}

}  // namespace

JailFilter JailFilter::compile(JailClass jail, Network network) {
    const unsigned bit = bit_of(jail, network);
    JailFilter filter;
    if (const std::optional<Mechanism> whole = filter_of(jail); whole && !on(*whole)) {
        filter.taken_away_ = true;
        return filter;
    }
    filter.program_ = prologue();
    const uint32_t otherwise = bit & jail_tables::kShells ? refuse(EPERM) : kKill;
    const Program rest = decide(verdicts_of(bit), highest_known(), answer(otherwise));
    filter.program_.insert(filter.program_.end(), rest.begin(), rest.end());
    if (filter.program_.size() > BPF_MAXINSNS) throw Error("jail: filter: too long");
    return filter;
}

namespace {

bool load_filter(const sock_filter* program, size_t length) noexcept {
    // The kernel only reads; its structure has no const.
    const sock_fprog prog{static_cast<unsigned short>(length), const_cast<sock_filter*>(program)};
    return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0;
}

}  // namespace

bool JailFilter::install() const noexcept {
    if (taken_away_) return true;
    if (program_.empty()) {  // the zero value refuses
        errno = EINVAL;
        return false;
    }
    return load_filter(program_.data(), program_.size());
}

bool forbid_new_code() noexcept {
    if (!on(Mechanism::ForbidNewCode)) return true;
    static constexpr auto kLoad = static_cast<uint16_t>(BPF_LD | BPF_W | BPF_ABS);
    static constexpr auto kEqual = static_cast<uint16_t>(BPF_JMP | BPF_JEQ | BPF_K);
    static constexpr auto kSet = static_cast<uint16_t>(BPF_JMP | BPF_JSET | BPF_K);
    static constexpr auto kReturn = static_cast<uint16_t>(BPF_RET | BPF_K);
    static constexpr sock_filter kProgram[] = {
        {kLoad, 0, 0, offsetof(seccomp_data, nr)},
        {kEqual, 6, 0, SYS_execve},
        {kEqual, 5, 0, SYS_execveat},
        {kEqual, 1, 0, SYS_mmap},
        {kEqual, 0, 2, SYS_mprotect},
        {kLoad, 0, 0, offsetof(seccomp_data, args) + 2 * sizeof(uint64_t)},
        {kSet, 1, 0, PROT_EXEC},
        {kReturn, 0, 0, kAllowed},
        {kReturn, 0, 0, kKill},
    };
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return false;
    return load_filter(kProgram, std::size(kProgram));
}

namespace {

bool limit(Mechanism mechanism, __rlimit_resource resource, uint64_t wanted) noexcept {
    if (!on(mechanism)) return true;
    rlimit now;
    if (::getrlimit(resource, &now) < 0) return false;
    // Never more than there was: an ordinary user may only lower.
    now.rlim_max = std::min<rlim_t>(now.rlim_max, wanted);
    now.rlim_cur = now.rlim_max;
    return ::setrlimit(resource, &now) == 0;
}

bool set_limits(const JailOptions& options) noexcept {
    using enum Mechanism;
    return limit(CoreLimit, RLIMIT_CORE, 0) &&
           limit(OpenFilesLimit, RLIMIT_NOFILE, options.max_open_files) &&
           limit(FileSizeLimit, RLIMIT_FSIZE, options.max_file_bytes) &&
           limit(ProcessLimit, RLIMIT_NPROC, options.max_processes) &&
           limit(LockedMemoryLimit, RLIMIT_MEMLOCK, MiB(8).count) &&
           limit(QueueLimits, RLIMIT_MSGQUEUE, KiB(800).count) &&
           limit(QueueLimits, RLIMIT_SIGPENDING, 4096) && limit(PriorityLimits, RLIMIT_RTPRIO, 0) &&
           limit(PriorityLimits, RLIMIT_NICE, 0);
}

struct Capabilities {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
};

// Without CAP_SETPCAP the bounding set cannot be changed, and need not be: with no capability and
// no-new-privs nothing can ever be taken from it.
bool lower_bounding_set(uint64_t kept) noexcept {
    if (!on(Mechanism::BoundingSet)) return true;
    Capabilities now;
    if (::syscall(SYS_capget, &now.header, now.sets) < 0) return false;
    if (!(now.sets[0].effective & (1u << CAP_SETPCAP))) return kept == 0;
    for (int capability = 0; capability < 64; ++capability) {
        const int present = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (present < 0) return errno == EINVAL;  // beyond the kernel's last
        if (kept >> capability & 1) continue;
        if (present == 1 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return false;
    }
    return true;
}

bool lower_capabilities(uint64_t kept) noexcept {
    if (!on(Mechanism::Capabilities)) return true;
    Capabilities set;
    for (unsigned i = 0; i < std::size(set.sets); ++i)
        set.sets[i].effective = set.sets[i].permitted = static_cast<uint32_t>(kept >> 32 * i);
    return ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           ::syscall(SYS_capset, &set.header, set.sets) == 0;
}

bool take_ids(const Ids& ids) noexcept {
    // Groups first: afterwards there is no right to change them. Raw calls: libc's would look for
    // other threads, which a child made by clone3 has only in libc's books.
    if (on(Mechanism::Groups) && ::syscall(SYS_setgroups, ids.also != 0, &ids.also) < 0) return false;
    return ::syscall(SYS_setresgid, ids.gid, ids.gid, ids.gid) == 0 &&
           ::syscall(SYS_setresuid, ids.uid, ids.uid, ids.uid) == 0;
}

}  // namespace

bool enter_directory(const char* path) noexcept {
    const UniqueFd folder = open_resolved(AT_FDCWD, path, O_PATH | O_DIRECTORY,
                                          on(Mechanism::WorkingDirectory) ? RESOLVE_NO_MAGICLINKS : 0);
    if (!folder) return false;
    // Relative, "(unreachable)…": it lies outside of our root.
    char name[PATH_MAX];
    return ::fchdir(folder.get()) == 0 && ::syscall(SYS_getcwd, name, sizeof name) > 0 &&
           (name[0] == '/' || (errno = EXDEV, false));
}

const char* drop_privileges(const JailOptions& options) noexcept {
    if (::setsid() < 0) return "session";
    if (!set_limits(options)) return "limits";
    if (options.user_namespace >= 0 && ::setns(options.user_namespace, CLONE_NEWUSER) < 0)
        return "user namespace";
    // After the namespace, which gives a full set; before the ids, which may take the right to.
    if (!lower_bounding_set(options.capabilities)) return "bounding set";
    if (options.ids && on(Mechanism::Ids) && !take_ids(*options.ids)) return "ids";
    if (!lower_capabilities(options.capabilities)) return "capabilities";
    if (options.directory && !enter_directory(options.directory) &&
        (!options.otherwise || !enter_directory(options.otherwise)))
        return "working directory";
    if (on(Mechanism::NoNewPrivs) && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return "no-new-privs";
    if (options.landlock >= 0 && !landlock_restrict(options.landlock)) return "landlock";
    return nullptr;
}

const char* enter_jail(const JailOptions& options, const JailFilter& filter) noexcept {
    if (const char* step = drop_privileges(options)) return step;
    if (!filter.install()) return "filter";
    return nullptr;
}

}  // namespace peacrab
