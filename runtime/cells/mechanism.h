// The mechanisms that protect, each with the name by which a test takes it away.
//
// A wall nobody would miss is no wall: the mutation run (tests/containment/) starts `peacrabd-mutant`,
// in which exactly one mechanism is off for an agent called `off-<name>`, and wants some test of the
// hostile suite to go red. Code asks where it protects: `if (on(Mechanism::X)) …`. In what ships,
// on() is the constant true, no name stands in the binary and nothing can be switched.
//
// A new entry: one line here, one question in the code, one test that goes red without it. A source
// that asks stands in `runtime_asking_sources` (runtime/meson.build; tests/layers.py checks it).
#pragma once

#include <string>

// X(identifier, name): names are at most 28 characters, so that "off-<name>" is an agent's name.
// clang-format off: one row a line.
#define PEACRAB_MECHANISMS(X) \
    /* seccomp, class shell: what becomes possible when the row group is gone */ \
    X(SeccompArchitecture, "seccomp-architecture")  /* the i386 and x32 entries */ \
    X(SeccompNamespaces, "seccomp-namespaces")      /* unshare, setns, namespace bits in clone */ \
    X(SeccompClone3, "seccomp-clone3") \
    X(SeccompMount, "seccomp-mount")                /* mount calls old and new, pivot_root */ \
    X(SeccompSocket, "seccomp-socket")              /* every family, type and protocol */ \
    X(SeccompTerminal, "seccomp-terminal")          /* TIOCSTI and its like */ \
    X(SeccompFreeze, "seccomp-freeze")              /* FIFREEZE, FITHAW */ \
    X(SeccompPrctl, "seccomp-prctl")                /* PR_SET_MM */ \
    X(SeccompPersonality, "seccomp-personality") \
    X(SeccompListener, "seccomp-listener") \
    X(SeccompUring, "seccomp-uring") \
    X(SeccompUserfault, "seccomp-userfault") \
    X(SeccompBpf, "seccomp-bpf") \
    X(SeccompPerf, "seccomp-perf") \
    X(SeccompKeys, "seccomp-keys")                  /* keyctl, add_key, request_key */ \
    X(SeccompHandles, "seccomp-handles")            /* open_by_handle_at, fanotify_init */ \
    X(SeccompForeign, "seccomp-foreign")            /* pidfd_getfd, kcmp */ \
    X(SeccompMemory, "seccomp-memory")              /* vmsplice, memfd_secret, cachestat */ \
    X(SeccompLdt, "seccomp-ldt") \
    X(SeccompQuota, "seccomp-quota") \
    X(SeccompMachine, "seccomp-machine")            /* modules, kexec, reboot, swap, acct, clocks */ \
    X(SeccompSyslog, "seccomp-syslog") \
    X(SeccompPorts, "seccomp-ports")                /* iopl, ioperm */ \
    /* the other classes: the filter is not installed at all */ \
    X(SeccompFile, "seccomp-file") \
    X(SeccompFetch, "seccomp-fetch") \
    X(SeccompTurn, "seccomp-turn") \
    X(SeccompReaper, "seccomp-reaper") \
    X(ForbidNewCode, "forbid-new-code")             /* of our own programs, once started */ \
    /* what a child gives up */ \
    X(NoNewPrivs, "no-new-privs") \
    X(BoundingSet, "bounding-set") \
    X(Capabilities, "capabilities")                 /* effective and permitted beyond the kept */ \
    X(Ids, "ids")                                   /* stays the warden's uid */ \
    X(Groups, "groups") \
    X(Dumpable, "dumpable")                         /* the file helper's memory */ \
    X(CoreLimit, "core-limit") \
    X(OpenFilesLimit, "open-files-limit") \
    X(FileSizeLimit, "file-size-limit") \
    X(LockedMemoryLimit, "locked-memory-limit") \
    X(QueueLimits, "queue-limits")                  /* message queues, pending signals */ \
    X(PriorityLimits, "priority-limits")            /* real time, nice */ \
    X(Descriptors, "descriptors")                   /* what the warden has open is closed */ \
    X(WorkingDirectory, "working-directory")        /* entered through no magic link */ \
    X(LandlockFile, "landlock-file") \
    X(LandlockTurn, "landlock-turn") \
    /* the cell: namespaces and ids */ \
    X(UserNamespace, "user-namespace") \
    X(NestedNamespaces, "nested-namespaces")        /* user.max_*_namespaces = 0 */ \
    X(MountNamespace, "mount-namespace") \
    X(NetNamespace, "net-namespace") \
    X(PidNamespace, "pid-namespace") \
    X(IpcNamespace, "ipc-namespace") \
    X(UtsNamespace, "uts-namespace") \
    X(CgroupNamespace, "cgroup-namespace") \
    X(ReaperIds, "reaper-ids")                      /* pid 1 outside of the cell's ids */ \
    /* the cell: files */ \
    X(OldRoot, "old-root")                          /* detached after pivot_root */ \
    X(RootNosuid, "root-nosuid") \
    X(RootNodev, "root-nodev") \
    X(HomeNosuid, "home-nosuid") \
    X(HomeNodev, "home-nodev") \
    X(OutputReadOnly, "output-read-only") \
    X(OutputNoexec, "output-noexec") \
    X(ProcMasked, "proc-masked") \
    X(ProcReadOnly, "proc-read-only") \
    X(SmallDev, "small-dev")                        /* the machine's own /dev instead */ \
    X(ScratchSize, "scratch-size")                  /* of /tmp, /run, /dev/shm */ \
    X(TerminalsLimit, "terminals-limit")            /* devpts max= */ \
    /* the cell: limits */ \
    X(MemoryLimit, "memory-limit") \
    X(MemoryGroup, "memory-group")                  /* the call ends as a whole */ \
    X(MemoryStall, "memory-stall")                  /* a call that only reads again what was dropped */ \
    X(ProcessLimit, "process-limit") \
    X(CpuLimit, "cpu-limit") \
    X(IoLimit, "io-limit") \
    X(DiskQuota, "disk-quota") \
    X(FilesQuota, "files-quota") \
    X(QuotaInherited, "quota-inherited")            /* PROJINHERIT */ \
    X(JournalQuota, "journal-quota")                /* what a turn may add to its journals */ \
    X(KillCall, "kill-call")                        /* cgroup.kill at its end */ \
    X(CallTime, "call-time") \
    X(OutputCap, "output-cap") \
    X(SelfProbe, "self-probe")                      /* forbidden effects tried at the start */ \
    /* the file helper */ \
    X(FileBeneath, "file-beneath")                  /* openat2's RESOLVE_BENEATH */ \
    X(FilePrefix, "file-prefix")                    /* absolute only with the workspace's prefix */ \
    X(FileRegular, "file-regular") \
    X(FileSize, "file-size") \
    X(FileAtomic, "file-atomic")                    /* temporary file, then rename */ \
    /* warden and policy */ \
    X(PolicySchema, "policy-schema")                /* unknown tools, fields and types */ \
    X(MessageRoute, "message-route") \
    X(MessageRate, "message-rate") \
    X(MessageHops, "message-hops") \
    X(ScrubOutput, "scrub-output")                  /* terminal escapes of a command */
// clang-format on

namespace peacrab {

enum class Mechanism {
#define PEACRAB_ENTRY(identifier, name) identifier,
    PEACRAB_MECHANISMS(PEACRAB_ENTRY)
#undef PEACRAB_ENTRY
};

#ifdef PEACRAB_MUTANTS

// noexcept, no allocation: also asked between fork and exec.
[[nodiscard]] bool on(Mechanism mechanism) noexcept;
const char* mechanism_name(Mechanism mechanism) noexcept;
// From here on the mechanism `agent` is named after is off in this process, and no other. To be
// called whenever work for an agent begins: its cell, a call, its turn.
void use_mechanisms_of(const std::string& agent) noexcept;
// The argument by which a program of ours learns the same, after its own; null: all are on.
const char* mechanism_argument() noexcept;

#else

constexpr bool on(Mechanism) noexcept {
    return true;
}
inline void use_mechanisms_of(const std::string&) noexcept {}
constexpr const char* mechanism_argument() noexcept {
    return nullptr;
}

#endif

}  // namespace peacrab
