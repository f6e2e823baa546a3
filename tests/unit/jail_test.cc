#include "jail.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "error.h"
#include "jails/tables.h"
#include "landlock.h"

using namespace peacrab;

// The tables' names are checked against the library, without its header (which jail.cc owns).
extern "C" int seccomp_syscall_resolve_name(const char* name);

namespace {

constexpr int kNoJail = 250;

// What became of `act` in a jail: its value (an errno, or 0), or minus the signal that ended it.
int in_jail(JailClass jail, const std::function<int()>& act,
            std::optional<JailFilter::Network> network = std::nullopt, JailOptions options = {}) {
    using Network = JailFilter::Network;
    const JailFilter filter = JailFilter::compile(
        jail, network.value_or(jail == JailClass::Shell ? Network::Own : Network::None));
    if (::geteuid() == 0 && !options.ids) options.ids = Ids{54321, 54321};
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (enter_jail(options, filter)) ::_exit(kNoJail);
        ::_exit(act());
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int outcome(long result) {
    return result < 0 ? errno : 0;
}

int anonymous_map(int protection) {
    void* at = ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? errno : 0;
}

// The errno of one system call in class shell.
template <typename... Arguments>
int in_shell(long number, Arguments... arguments) {
    return in_jail(JailClass::Shell, [=] { return outcome(::syscall(number, arguments...)); });
}

int in_shell_socket(int family, int type, int protocol) {
    return in_jail(JailClass::Shell, [=] { return outcome(::socket(family, type, protocol)); });
}

// Each filter there is, with its bit in the tables.
struct Compiled {
    JailClass jail;
    JailFilter::Network network;
    unsigned bit;
};
constexpr Compiled kCompiled[] = {
    {JailClass::File, JailFilter::Network::None, jail_tables::kFile},
    {JailClass::Shell, JailFilter::Network::Own, jail_tables::kShell},
    {JailClass::Shell, JailFilter::Network::Tcp, jail_tables::kTcpShell},
    {JailClass::Shell, JailFilter::Network::None, jail_tables::kLocalShell},
    {JailClass::Fetch, JailFilter::Network::None, jail_tables::kFetch},
    {JailClass::Turn, JailFilter::Network::None, jail_tables::kTurn},
    {JailClass::Turn, JailFilter::Network::Own, jail_tables::kOwn},
    {JailClass::Adapter, JailFilter::Network::None, jail_tables::kAdapter},
    {JailClass::Adapter, JailFilter::Network::Own, jail_tables::kAdapterOwn},
    {JailClass::Reaper, JailFilter::Network::None, jail_tables::kReaper},
};
#if defined(__x86_64__)
constexpr uint32_t kHere = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t kHere = AUDIT_ARCH_AARCH64;
#endif

// What the kernel would be told, by running the program as it does.
uint32_t answer_to(const JailFilter& filter, const seccomp_data& call) {
    const auto program = filter.program();
    uint32_t value = 0;
    for (size_t at = 0;;) {
        REQUIRE(at < program.size());
        const sock_filter& now = program[at++];
        const auto go = [&](bool yes) { at += yes ? now.jt : now.jf; };
        switch (now.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                std::memcpy(&value, reinterpret_cast<const char*>(&call) + now.k, sizeof value);
                break;
            case BPF_ALU | BPF_AND | BPF_K: value &= now.k; break;
            case BPF_JMP | BPF_JEQ | BPF_K: go(value == now.k); break;
            case BPF_JMP | BPF_JGT | BPF_K: go(value > now.k); break;
            case BPF_JMP | BPF_JGE | BPF_K: go(value >= now.k); break;
            case BPF_JMP | BPF_JSET | BPF_K: go(value & now.k); break;
            case BPF_JMP | BPF_JA: at += now.k; break;
            case BPF_RET | BPF_K: return now.k;
            default: FAIL("no instruction of ours: " << now.code);
        }
    }
}

}  // namespace

TEST_CASE("jail: every name in the tables is a system call, but for the newest") {
    const std::set<std::string> newer = {
        "fchmodat2",     "mseal",     "map_shadow_stack", "futex_wake", "futex_wait",
        "futex_requeue", "cachestat", "statmount",        "listmount",  "open_tree_attr"};
    const auto known = [&](const std::string& name) {
        return newer.count(name) || seccomp_syscall_resolve_name(name.c_str()) >= 0;
    };
    for (const auto& row : jail_tables::allowed()) {
        CHECK(std::strlen(row.reason) > 0);
        for (const std::string& name : split(row.names, ' ')) CHECK_MESSAGE(known(name), name);
    }
    for (const auto& row : jail_tables::refused())
        for (const std::string& name : split(row.names, ' ')) CHECK_MESSAGE(known(name), name);
    for (const auto& row : jail_tables::by_argument()) CHECK_MESSAGE(known(row.name), row.name);
}

TEST_CASE("jail: no call of a class stands in two tables") {
    for (unsigned bit = 1; bit <= jail_tables::kLocalShell; bit <<= 1) {
        std::set<std::string> seen, argued;
        for (const auto& row : jail_tables::by_argument())
            if (row.classes & bit) argued.insert(row.name);
        const auto once = [&](unsigned classes, const char* names) {
            if (!(classes & bit)) return;
            for (const std::string& name : split(names, ' ')) {
                CHECK_MESSAGE(seen.insert(name).second, name);
                CHECK_MESSAGE(!argued.count(name), name);
            }
        };
        for (const auto& row : jail_tables::allowed()) once(row.classes, row.names);
        for (const auto& row : jail_tables::refused()) once(row.classes, row.names);
    }
}

TEST_CASE("jail: each number is answered as its row says, whatever its place in the tree") {
    for (const auto& [jail, network, bit] : kCompiled) {
        const JailFilter filter = JailFilter::compile(jail, network);
        const bool shell = bit & jail_tables::kShells;
        std::map<int, uint32_t> expected;
        const auto expect = [&](const char* names, uint32_t action) {
            for (const std::string& name : split(names, ' '))
                expected[seccomp_syscall_resolve_name(name.c_str())] = action;
        };
        for (const auto& row : jail_tables::allowed())
            if (row.classes & bit) expect(row.names, SECCOMP_RET_ALLOW);
        for (const auto& row : jail_tables::refused())
            if (row.classes & bit) expect(row.names, SECCOMP_RET_ERRNO | static_cast<uint32_t>(row.code));
        std::set<int> argued;
        for (const auto& row : jail_tables::by_argument()) {
            const int number = seccomp_syscall_resolve_name(row.name);
            if (!(row.classes & bit) || !argued.insert(number).second) continue;
            // With arguments that all conditions of its first row like.
            seccomp_data call{number, kHere, 0, {}};
            for (unsigned i = 0; i < row.count; ++i) call.args[row.when[i].argument] = row.when[i].value;
            const uint32_t code = static_cast<uint32_t>(row.verdict);
            CHECK_MESSAGE(answer_to(filter, call) ==
                              (row.verdict == jail_tables::kAllow ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | code),
                          row.name);
        }
        int highest = 0;
        for (const auto& [number, action] : expected) highest = std::max(highest, number);
        for (int number = 0; number <= highest; ++number) {
            if (argued.count(number)) continue;
            const auto found = expected.find(number);
            const uint32_t otherwise = shell ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS;
            CHECK_MESSAGE(answer_to(filter, {number, kHere, 0, {}}) ==
                              (found == expected.end() ? otherwise : found->second),
                          number);
            CHECK(answer_to(filter, {number, kHere ^ 1, 0, {}}) == SECCOMP_RET_KILL_PROCESS);
        }
    }
}

TEST_CASE("jail: a filter that was never compiled installs nothing and says so") {
    const JailFilter none;
    CHECK_FALSE(none.install());
}

TEST_CASE("jail: a shell child has ordinary sockets") {
    CHECK(in_shell_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) == 0);
    CHECK(in_shell_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) == 0);
    CHECK(in_shell_socket(AF_INET, SOCK_DGRAM, 17) == 0);
    CHECK(in_shell_socket(AF_NETLINK, SOCK_RAW, 0) == 0);
}

TEST_CASE("jail: a child cannot open a vsock, nor any family, type or protocol not listed") {
    CHECK(in_shell_socket(AF_VSOCK, SOCK_STREAM, 0) == EAFNOSUPPORT);
    const int bad = in_jail(JailClass::Shell, [] {
        for (int family = 0; family <= 47; ++family)
            for (int type = 1; type <= 10; ++type) {
                const bool listed = family == AF_UNIX || family == AF_NETLINK ||
                                    ((family == AF_INET || family == AF_INET6) && type <= 2);
                if (!listed && (::socket(family, type, 0) >= 0 || errno != EAFNOSUPPORT))
                    return family + 100;
            }
        for (int protocol = 1; protocol <= 22; ++protocol)
            if (::socket(AF_NETLINK, SOCK_RAW, protocol) >= 0) return 1;
        for (const int protocol : {1, 33, 132, 136, 262})
            if (::socket(AF_INET, SOCK_STREAM, protocol) >= 0 ||
                ::socket(AF_INET, SOCK_DGRAM, protocol) >= 0)
                return 2;
        return 0;
    });
    CHECK(bad == 0);
    // Whatever stands above the low 32 bits.
    CHECK(in_shell(SYS_socket, AF_VSOCK | (1L << 32), SOCK_STREAM, 0) == EAFNOSUPPORT);
    CHECK(in_shell(SYS_socketpair, AF_INET, SOCK_STREAM, 0, nullptr) == EAFNOSUPPORT);
}

TEST_CASE("jail: a child cannot make or enter a namespace") {
    for (const long flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                            CLONE_NEWPID, CLONE_NEWNET}) {
        CHECK(in_shell(SYS_unshare, flag) == EPERM);
        CHECK(in_shell(SYS_clone, flag | SIGCHLD, 0L, 0L, 0L, 0L) == EPERM);
    }
    CHECK(in_shell(SYS_clone3, 0L, 0L) == ENOSYS);
    CHECK(in_shell(SYS_setns, 0L, 0L) == EPERM);
}

TEST_CASE("jail: a child cannot mount, by the old calls or the new") {
    for (const long number : {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_open_tree, SYS_move_mount,
                              SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr})
        CHECK_MESSAGE(in_shell(number, 0L, 0L, 0L, 0L, 0L) == EPERM, number);
}

TEST_CASE("jail: kernel doors no tool needs are shut") {
    for (const long number : {SYS_bpf,           SYS_perf_event_open,
                              SYS_keyctl,        SYS_add_key,
                              SYS_request_key,   SYS_kexec_load,
                              SYS_init_module,   SYS_finit_module,
                              SYS_delete_module, SYS_open_by_handle_at,
                              SYS_fanotify_init, SYS_pidfd_getfd,
                              SYS_kcmp,          SYS_vmsplice,
                              SYS_memfd_secret,  SYS_quotactl,
                              SYS_syslog,        SYS_swapon,
                              SYS_acct,          SYS_reboot,
                              SYS_settimeofday,  SYS_clock_settime,
                              SYS_sethostname})
        CHECK_MESSAGE(in_shell(number, 0L, 0L, 0L, 0L, 0L) == EPERM, number);
    for (const long number :
         {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd})
        CHECK_MESSAGE(in_shell(number, 0L, 0L, 0L, 0L, 0L) == ENOSYS, number);
}

TEST_CASE("jail: a number nobody knows does not exist") {
    CHECK(in_shell(1000L) == ENOSYS);
    CHECK(in_jail(JailClass::File, [] { return outcome(::syscall(1000)); }) == ENOSYS);
}

#if defined(__x86_64__)
TEST_CASE("jail: the x32 and i386 entries end the process") {
    CHECK(in_shell(SYS_getpid | 0x40000000L) == -SIGSYS);
    const int old_entry = in_jail(JailClass::Shell, [] {
        long result = 20;  // getpid there
        asm volatile("int $0x80" : "+a"(result) : : "memory");
        return result == -ENOSYS ? ENOSYS : 0;
    });
    // A kernel without that entry at all faults.
    const bool ended = old_entry == -SIGSYS || old_entry == -SIGSEGV;
    CHECK_MESSAGE(ended, old_entry);
}
#endif

TEST_CASE("jail: terminal tricks are refused, with or without high bits") {
    for (const unsigned long command :
         {static_cast<unsigned long>(TIOCSTI), 0x541cul, static_cast<unsigned long>(TIOCCONS),
          static_cast<unsigned long>(TIOCSETD), 0xc0045877ul}) {
        CHECK(in_shell(SYS_ioctl, 0L, command, 0L) == EPERM);
        CHECK(in_shell(SYS_ioctl, 0L, command | (1ul << 40), 0L) == EPERM);
    }
    CHECK(in_shell(SYS_prctl, PR_SET_MM | (1L << 32), 0L, 0L, 0L, 0L) == EPERM);
    CHECK(in_shell(SYS_personality, 0x0400000L) == EPERM);  // READ_IMPLIES_EXEC
    CHECK(in_shell(SYS_personality, 0xffffffffL) == 0);
    CHECK(in_shell(SYS_seccomp, 1L, 8L, 0L) == EPERM);  // a listener
}

TEST_CASE("jail: what real work needs is there") {
    const int result = in_jail(JailClass::Shell, [] {
        if (::memfd_create("x", 0) < 0) return 1;
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(0);
        if (::waitpid(pid, nullptr, 0) != pid) return 2;
        int done = 0;
        std::thread([&] { done = 1; }).join();
        if (!done) return 3;
        const char* const words[] = {"true", nullptr};
        ::execv("/bin/true", const_cast<char* const*>(words));
        return 4;
    });
    CHECK(result == 0);
}

TEST_CASE("jail: a file child ends at a socket, a fork or another's memory") {
    CHECK(in_jail(JailClass::File, [] { return outcome(::socket(AF_UNIX, SOCK_STREAM, 0)); }) ==
          -SIGSYS);
    CHECK(in_jail(JailClass::File, [] { return outcome(::fork()); }) == -SIGSYS);
    CHECK(in_jail(JailClass::File, [] { return outcome(::kill(1, 0)); }) == -SIGSYS);
    CHECK(in_jail(JailClass::File, [] { return outcome(::unshare(0)); }) == -SIGSYS);
    CHECK(in_jail(JailClass::File, [] { return outcome(::open("/dev/null", O_RDONLY)); }) == 0);
}

TEST_CASE("jail: after forbid_new_code nothing new can run") {
    const char* const words[] = {"true", nullptr};
    auto* const arguments = const_cast<char* const*>(words);
    CHECK(in_jail(JailClass::File, [&] { return outcome(::execv("/bin/true", arguments)); }) == 0);
    CHECK(in_jail(JailClass::File, [&] {
              if (!forbid_new_code()) return 99;
              return outcome(::execv("/bin/true", arguments));
          }) == -SIGSYS);
    CHECK(in_jail(JailClass::File, [] {
              if (!forbid_new_code()) return 99;
              return anonymous_map(PROT_READ | PROT_EXEC);
          }) == -SIGSYS);
    CHECK(in_jail(JailClass::File, [] {
              if (!forbid_new_code()) return 99;
              return anonymous_map(PROT_READ | PROT_WRITE);
          }) == 0);
}

TEST_CASE("jail: a turn has no exec, no process and no network but what it was given") {
    const char* const words[] = {"true", nullptr};
    auto* const arguments = const_cast<char* const*>(words);
    CHECK(in_jail(JailClass::Turn, [&] { return outcome(::execv("/bin/true", arguments)); }) ==
          -SIGSYS);
    CHECK(in_jail(JailClass::Turn, [] { return outcome(::fork()); }) == -SIGSYS);
    CHECK(in_jail(JailClass::Turn, [] { return outcome(::connect(0, nullptr, 0)); }) == -SIGSYS);
    CHECK(in_jail(JailClass::Turn, [] { return outcome(::socket(AF_INET, SOCK_STREAM, 0)); }) ==
          EAFNOSUPPORT);
}

TEST_CASE("jail: a turn with its own network may connect and start threads, not processes") {
    const auto own = [](const std::function<int()>& act) {
        return in_jail(JailClass::Turn, act, JailFilter::Network::Own);
    };
    CHECK(own([] { return outcome(::socket(AF_INET, SOCK_STREAM, 0)); }) == 0);
    CHECK(own([] { return outcome(::socket(AF_VSOCK, SOCK_STREAM, 0)); }) == EAFNOSUPPORT);
    CHECK(own([] { return outcome(::socket(AF_INET, SOCK_RAW, 1)); }) == EAFNOSUPPORT);
    CHECK(own([] {
              int done = 0;
              std::thread([&] { done = 1; }).join();
              return done ? 0 : 1;
          }) == 0);
    CHECK(own([] { return outcome(::fork()); }) == EPERM);
    CHECK(own([] { return outcome(::execl("/bin/true", "true", nullptr)); }) == -SIGSYS);
}

TEST_CASE("jail: a fetch child has its streams and no file, socket, process or program") {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(in_jail(JailClass::Fetch, [=] {
              char byte = 'x';
              if (::send(pair[0], &byte, 1, MSG_NOSIGNAL) != 1) return 1;
              pollfd one{pair[1], POLLIN, 0};
              if (::poll(&one, 1, 1000) != 1 || ::recv(pair[1], &byte, 1, 0) != 1) return 2;
              if (::fcntl(pair[1], F_SETFL, ::fcntl(pair[1], F_GETFL) | O_NONBLOCK) != 0) return 4;
              if (::fcntl(pair[1], F_DUPFD_CLOEXEC, 0) >= 0 || errno != EPERM) return 5;
              const auto at = std::make_unique<char[]>(size_t{1} << 20);
              return at[5] == 0 && ::close(pair[0]) == 0 ? 0 : 3;
          }) == 0);
    const std::function<long()> forbidden[] = {
        [] { return ::open("/dev/null", O_RDONLY); },
        [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); },
        [] { return ::connect(0, nullptr, 0); },
        [] { return ::fork(); },
        [] { return ::execl("/bin/true", "true", nullptr); },
        [] { return ::kill(0, 0); },
        [] { return ::prctl(PR_SET_DUMPABLE, 1); },
        [] { return ::ioctl(0, FIONREAD, nullptr); },
        [] { return ::unlink("/nothing"); },
    };
    for (const auto& act : forbidden)
        CHECK(in_jail(JailClass::Fetch, [&] { return outcome(act()); }) == -SIGSYS);
    ::close(pair[0]);
    ::close(pair[1]);
}

TEST_CASE("jail: an adapter that connects by itself reaches no service of this machine by a path") {
    const auto jailed = [](const std::function<int()>& act) {
        return in_jail(JailClass::Adapter, act, JailFilter::Network::Own);
    };
    CHECK(jailed([] { return outcome(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)); }) == 0);
    CHECK(jailed([] { return outcome(::socket(AF_INET6, SOCK_DGRAM, 0)); }) == 0);
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET})
        CHECK(jailed([=] { return outcome(::socket(AF_UNIX, type, 0)); }) == EAFNOSUPPORT);
    for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET})
        CHECK(jailed([=] {
                  int ends[2];
                  return outcome(::socketpair(AF_UNIX, type, 0, ends));
              }) == EAFNOSUPPORT);
    const UniqueFd service(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    socklen_t size = sizeof(sa_family_t);
    address.sun_family = AF_UNIX;
    REQUIRE(::bind(service.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);  // a name by itself
    REQUIRE(::listen(service.get(), 1) == 0);
    size = sizeof address;
    REQUIRE(::getsockname(service.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    CHECK(jailed([=] {
              int ends[2];
              if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) return 99;
              return outcome(::connect(ends[0], reinterpret_cast<const sockaddr*>(&address), size));
          }) == EISCONN);
    CHECK(jailed([] { return outcome(::socket(AF_VSOCK, SOCK_STREAM, 0)); }) == EAFNOSUPPORT);
    CHECK(jailed([] { return outcome(::fork()); }) == EPERM);
    CHECK(jailed([] { return outcome(::kill(1, 0)); }) == -SIGSYS);
}

TEST_CASE("jail: an adapter has files and the sockets it is given, no other, and runs nothing") {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(in_jail(JailClass::Adapter, [=] {
              char byte = 'x';
              const int file = ::open("/dev/null", O_RDWR);
              return file >= 0 && ::write(file, "x", 1) == 1 && ::write(pair[0], "x", 1) == 1 &&
                             ::read(pair[1], &byte, 1) == 1
                         ? 0
                         : 1;
          }) == 0);
    for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_VSOCK})
        CHECK(in_jail(JailClass::Adapter,
                      [=] { return outcome(::socket(family, SOCK_STREAM, 0)); }) == EAFNOSUPPORT);
    CHECK(in_jail(JailClass::Adapter, [] { return outcome(::connect(0, nullptr, 0)); }) == -SIGSYS);
    CHECK(in_jail(JailClass::Adapter, [] { return outcome(::fork()); }) == -SIGSYS);
    CHECK(in_jail(JailClass::Adapter,
                  [] { return outcome(::execl("/bin/true", "true", nullptr)); }) == -SIGSYS);
    ::close(pair[0]);
    ::close(pair[1]);
}

TEST_CASE(
    "jail: a shell without a network of its own has TCP at most, and no connection by sending") {
    using Network = JailFilter::Network;
    const auto made = [](Network network, int family, int type, int protocol = 0) {
        return in_jail(
            JailClass::Shell, [=] { return outcome(::socket(family, type, protocol)); }, network);
    };
    for (const int family : {AF_INET, AF_INET6}) {
        CHECK(made(Network::Own, family, SOCK_STREAM) == 0);
        CHECK(made(Network::Own, family, SOCK_DGRAM) == 0);
        CHECK(made(Network::Tcp, family, SOCK_STREAM) == 0);
        CHECK(made(Network::Tcp, family, SOCK_STREAM | SOCK_CLOEXEC, 6) == 0);
        CHECK(made(Network::Tcp, family, SOCK_DGRAM) == EAFNOSUPPORT);
        CHECK(made(Network::Tcp, family, SOCK_RAW, 1) == EAFNOSUPPORT);
        CHECK(made(Network::Tcp, family, SOCK_STREAM, 262) == EAFNOSUPPORT);
        for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW})
            CHECK(made(Network::None, family, type) == EAFNOSUPPORT);
    }
    CHECK(made(Network::None, AF_UNIX, SOCK_STREAM) == 0);
    const auto fast = [](long number, Network network) {
        return in_jail(
            JailClass::Shell,
            [=] {
                const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
                return number == SYS_sendmsg
                           ? outcome(::syscall(number, fd, nullptr, MSG_FASTOPEN))
                           : outcome(::syscall(number, fd, nullptr, 0, MSG_FASTOPEN, nullptr, 0));
            },
            network);
    };
    for (const long number : {SYS_sendto, SYS_sendmsg, SYS_sendmmsg}) {
        CHECK(fast(number, Network::Tcp) == EOPNOTSUPP);
        CHECK(fast(number, Network::None) != EOPNOTSUPP);
    }
}

TEST_CASE("jail: exactly the capabilities that are kept are left, also after exec" *
          doctest::skip(::geteuid() != 0)) {
    JailOptions options;
    options.ids = Ids{0, 0};
    options.capabilities = 1u << CAP_CHOWN | 1u << CAP_KILL | 1u << CAP_SETPCAP;
    const auto left = [] {
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct sets[2] = {};
        if (::syscall(SYS_capget, &header, sets) < 0) return 1;
        constexpr uint64_t wanted = 1u << CAP_CHOWN | 1u << CAP_KILL | 1u << CAP_SETPCAP;
        if (sets[0].effective != wanted || sets[0].permitted != wanted || sets[1].permitted)
            return 2;
        for (int i = 0; ::prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; ++i)
            if (::prctl(PR_CAPBSET_READ, i, 0, 0, 0) != static_cast<int>(wanted >> i & 1)) return 3;
        return 0;
    };
    CHECK(in_jail(JailClass::Shell, left, std::nullopt, options) == 0);
    // In a program that root starts it is the bounding set that counts.
    CHECK(in_jail(
              JailClass::Shell,
              [] {
                  ::execl("/bin/sh", "sh", "-c",
                          "grep -q CapEff:.*0000000000000121$ /proc/self/status", nullptr);
                  return 9;
              },
              std::nullopt, options) == 0);
}

TEST_CASE("jail: capabilities can be kept only by who has them") {
    const JailFilter filter = JailFilter::compile(JailClass::Shell);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        JailOptions first, then;
        if (::geteuid() == 0) first.ids = Ids{54321, 54321};
        if (drop_privileges(first)) ::_exit(1);
        then.capabilities = 1u << CAP_CHOWN;
        // A process that leads a session cannot begin one: a child can.
        const pid_t inner = ::fork();
        if (inner == 0) {
            const char* step = enter_jail(then, filter);
            ::_exit(step && std::strcmp(step, "bounding set") == 0 ? 0 : 2);
        }
        int status = 1;
        ::waitpid(inner, &status, 0);
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
    }
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
}

TEST_CASE("jail: in a user namespace ids and rights are of it alone" *
          doctest::skip(::geteuid() != 0)) {
    int ready[2], go[2];
    REQUIRE(::pipe(ready) == 0);
    REQUIRE(::pipe(go) == 0);
    const pid_t owner = ::fork();
    if (owner == 0) {
        char byte;
        ::close(go[1]);
        if (::unshare(CLONE_NEWUSER) == 0 && ::write(ready[1], "", 1) == 1) [[maybe_unused]]
            const ssize_t n = ::read(go[0], &byte, 1);
        ::_exit(0);
    }
    char byte;
    ::close(ready[1]);
    if (::read(ready[0], &byte, 1) != 1) {  // in a chroot even root makes none
        ::waitpid(owner, nullptr, 0);
        for (const int fd : {ready[0], go[0], go[1]}) ::close(fd);
        MESSAGE("skipped: no user namespaces here");
        return;
    }
    const std::string proc = "/proc/" + std::to_string(owner);
    for (const char* map : {"/uid_map", "/gid_map"}) {
        const UniqueFd file(::open((proc + map).c_str(), O_WRONLY | O_CLOEXEC));
        REQUIRE(file);
        write_all(file.get(), "0 1048576 65536");
    }
    const UniqueFd users(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(users);
    JailOptions options;
    options.user_namespace = users.get();
    options.ids = Ids{0, 0};
    options.capabilities = 1u << CAP_CHOWN | 1u << CAP_SETPCAP | 1u << CAP_SETUID;
    const int result = in_jail(
        JailClass::Shell,
        [] {
            struct stat info;
            if (::getuid() != 0 || ::getgid() != 0) return 1;
            if (::stat("/", &info) < 0 || info.st_uid != 65534) return 2;  // nobody here
            if (::sethostname("x", 1) == 0 || ::chown("/", 0, 0) == 0) return 3;
            if (::setresuid(7, 7, 7) < 0 || ::getuid() != 7) return 4;
            return 0;
        },
        std::nullopt, options);
    CHECK(result == 0);
    ::close(go[1]);
    ::waitpid(owner, nullptr, 0);
    for (const int fd : {ready[0], go[0]}) ::close(fd);
}

TEST_CASE("jail: a Landlock ruleset is on before the filter" *
          doctest::skip(landlock_version() < 1)) {
    LandlockRules rules;
    rules.read = {"/usr"};
    const UniqueFd ruleset = landlock_ruleset(rules, 1);
    JailOptions options;
    if (::geteuid() == 0) options.ids = Ids{54321, 54321};
    options.landlock = ruleset.get();
    CHECK(in_jail(
              JailClass::File, [] { return outcome(::open("/usr", O_RDONLY)); }, std::nullopt,
              options) == 0);
    CHECK(in_jail(
              JailClass::File, [] { return outcome(::open("/etc/passwd", O_RDONLY)); },
              std::nullopt, options) == EACCES);
}

TEST_CASE("jail: pid 1 of a call can wait and report, and nothing else") {
    CHECK(in_jail(JailClass::Reaper, [] { return outcome(::write(2, "", 0)); }) == 0);
    CHECK(in_jail(JailClass::Reaper, [] { return outcome(::open("/", O_RDONLY)); }) == -SIGSYS);
    CHECK(in_jail(JailClass::Reaper, [] { return outcome(::kill(0, 0)); }) == -SIGSYS);
}

TEST_CASE("jail: no id, capability, group or new privilege is left") {
    const int left = in_jail(JailClass::Shell, [] {
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct sets[2];
        if (::syscall(SYS_capget, &header, sets) < 0) return 1;
        for (const auto& set : sets)
            if (set.effective || set.permitted || set.inheritable) return 2;
        if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 3;
        if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0) != 0) return 4;
        if (::geteuid() == 0 || ::getuid() == 0) return 5;
        return 0;
    });
    CHECK(left == 0);
}

TEST_CASE("jail: root gives up its ids and the bounding set" * doctest::skip(::geteuid() != 0)) {
    const int kept = in_jail(JailClass::Shell, [] {
        for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
            if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 0) return 1;
        if (::getgroups(0, nullptr) != 0) return 2;
        if (::getuid() != 54321 || ::getegid() != 54321) return 3;
        return ::setuid(0) == 0 ? 4 : 0;
    });
    CHECK(kept == 0);
}

TEST_CASE("jail: who keeps its id still loses its capabilities" * doctest::skip(::geteuid() != 0)) {
    const JailFilter filter = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (enter_jail(JailOptions{}, filter)) ::_exit(1);
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        __user_cap_data_struct sets[2];
        if (::syscall(SYS_capget, &header, sets) < 0) ::_exit(2);
        ::_exit(sets[0].effective || sets[0].permitted || sets[1].permitted ? 3 : 0);
    }
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
}

TEST_CASE("jail: limits are lowered and cannot be raised again") {
    const int wrong = in_jail(JailClass::Shell, [] {
        rlimit limit;
        if (::getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_max != 0) return 1;
        if (::getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max > 256) return 2;
        if (::getrlimit(RLIMIT_NPROC, &limit) < 0 || limit.rlim_max > 512) return 3;
        if (::getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_max > (1u << 30)) return 4;
        limit.rlim_cur = limit.rlim_max = 1024;
        return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 5 : 0;
    });
    CHECK(wrong == 0);
}

TEST_CASE("jail: a working directory behind a magic link is refused") {
    const JailFilter filter = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    const UniqueFd leaked(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string path = "/proc/self/fd/" + std::to_string(leaked.get());
    const pid_t pid = ::fork();
    if (pid == 0) {
        JailOptions options;
        options.directory = path.c_str();
        const char* step = enter_jail(options, filter);
        ::_exit(step && std::strcmp(step, "working directory") == 0 && errno == ELOOP ? 0 : 1);
    }
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
}
