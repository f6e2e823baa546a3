#include "machine.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "bounded_log.h"
#include "error.h"
#include "spawn.h"

using namespace peacrab;

namespace {

// A home of its own; what the environment said before comes back.
struct Home {
    std::string path;
    Home() {
        char name[] = "/tmp/peacrab-machine-XXXXXX";
        path = ::mkdtemp(name);
        ::setenv("HOME", path.c_str(), 1);
        for (const char* variable : {"XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
                                     "XDG_DATA_HOME", "XDG_RUNTIME_DIR"})
            ::unsetenv(variable);
    }
    ~Home() { std::filesystem::remove_all(path); }
};

SpawnOptions shell(const std::string& script) {
    SpawnOptions options;
    options.program = "/bin/sh";
    options.arguments = {"sh", "-c", script};
    return options;
}

std::string message(const std::function<void()>& what) {
    try {
        what();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("machine: a name that could leave its folder is refused") {
    const Home home;
    for (const char* bad : {"", "..", "a/b", "A", "x y", ".", "name\n", "-\x80",
                            "a23456789012345678901234567890123"})
        CHECK_THROWS_AS(machine_place(bad), Error);
    CHECK(machine_place("work-2").folder == home.path + "/.local/state/peacrab/work-2");
}

TEST_CASE("machine: the socket is in the runtime folder only when that is ours") {
    const Home home;
    CHECK(machine_place("a").socket == machine_place("a").folder + "/gateway.sock");
    ::mkdir((home.path + "/run").c_str(), 0700);
    ::setenv("XDG_RUNTIME_DIR", (home.path + "/run").c_str(), 1);
    CHECK(machine_place("a").socket == home.path + "/run/peacrab/a.sock");
    ::setenv("XDG_RUNTIME_DIR", (home.path + "/absent").c_str(), 1);
    CHECK(machine_place("a").socket == machine_place("a").folder + "/gateway.sock");
}

TEST_CASE("machine: flags win over the config, the config over the defaults") {
    Config config;
    config.cpus = 3;
    config.memory = GiB(2);
    config.accelerator = "tcg";
    MachineOptions flags;
    flags.cpus = 1;
    const MachineOptions options = with_config(flags, config);
    CHECK(options.cpus == 1);
    CHECK(options.memory == GiB(2));
    CHECK(options.accelerator == "tcg");
    CHECK(with_config({}, {}).accelerator == "auto");
    CHECK(machine_flags(flags) ==
          std::vector<std::string>{"--name", "default", "--cpus", "1"});
}

TEST_CASE("machine: one CPU under emulation, up to four with KVM") {
    CHECK(default_cpus(Accelerator::Tcg, 16) == 1);
    CHECK(default_cpus(Accelerator::Kvm, 16) == 4);
    CHECK(default_cpus(Accelerator::Kvm, 2) == 2);
    CHECK(default_cpus(Accelerator::Kvm, 0) == 1);
}

TEST_CASE("machine: the lock lets one in, and a lock file left behind lets the next one in") {
    const Home home;
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    {
        const std::optional<UniqueFd> first = take_machine_lock(place);
        REQUIRE(first);
        CHECK_FALSE(take_machine_lock(place));
    }
    CHECK(std::filesystem::exists(place.lock));
    CHECK(take_machine_lock(place));
}

TEST_CASE("machine: a lock whose holder was killed is free") {
    const Home home;
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    Pipe held = Pipe::make();
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        const std::optional<UniqueFd> lock = take_machine_lock(place);
        write_all(held.write.get(), "x");
        ::pause();
        ::_exit(lock ? 0 : 1);
    }
    Pidfd child = Pidfd::of_child(pid);
    char byte;
    REQUIRE(read_some(held.read.get(), {&byte, 1}) == 1);
    CHECK_FALSE(take_machine_lock(place));
    child.signal(SIGKILL);
    CHECK(child.wait().code == SIGKILL);
    CHECK(take_machine_lock(place));
}

TEST_CASE("machine: a damaged record reads as none") {
    const Home home;
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    CHECK_FALSE(read_record(place));
    write_record(place, {17, "/run/x.sock", "killed"});
    REQUIRE(read_record(place));
    CHECK(read_record(place)->socket == "/run/x.sock");
    CHECK(read_record(place)->ended == "killed");
    write_file_atomic(place.record, "{\"gateway\":", 0600);
    CHECK_FALSE(read_record(place));
    write_file_atomic(place.record, "[]", 0600);
    CHECK((!read_record(place) || read_record(place)->socket.empty()));
}

TEST_CASE("machine: the state of peacrabd is no machine") {
    CHECK(message([] { machine_place("local"); }).find("peacrabd") != std::string::npos);
}

TEST_CASE("machine: more CPUs than the host has is a sentence with what it has") {
    CHECK_NOTHROW(check_cpus(0, 2));
    CHECK_NOTHROW(check_cpus(2, 2));
    CHECK(message([] { check_cpus(200, 2); }).find("--cpus 2`") != std::string::npos);
    CHECK(host_cpus() >= 1);
}

TEST_CASE("machine: too little memory is a sentence with what would fit") {
    CHECK_NOTHROW(check_memory(GiB(1), GiB(2)));
    CHECK(message([] { check_memory(GiB(4), GiB(2)); }).find("--memory 1792M") != std::string::npos);
    CHECK(message([] { check_memory(GiB(1), MiB(200)); }).find("stop something") !=
          std::string::npos);
    CHECK(message([] { check_memory(MiB(16), GiB(2)); }).find("at least 128M") != std::string::npos);
    CHECK(available_memory() > MiB(1));
}

TEST_CASE("machine: too little disk is a sentence with what to do") {
    CHECK_NOTHROW(check_disk("/x", GiB(1)));
    CHECK(message([] { check_disk("/x", MiB(10)); }).find("XDG_STATE_HOME") != std::string::npos);
}

TEST_CASE("machine: the state disk is made once, sparse, and never shrunk or replaced") {
    const Home home;
    if (find_program("mke2fs").empty()) {
        MESSAGE("skipped: mke2fs is not installed");
        return;
    }
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    CHECK(prepare_state_disk(place, {}, GiB(1)) == GiB(1));
    struct stat disk;
    REQUIRE(::stat(place.state_image.c_str(), &disk) == 0);
    CHECK(disk.st_size == 1 << 30);
    CHECK(disk.st_blocks * 512 < 8 << 20);
    CHECK((disk.st_mode & 0777) == 0600);
    const std::string image = read_file(place.state_image, GiB(2)).substr(0, 4096);
    CHECK(image.substr(1080, 2) == "\x53\xef");            // ext4's magic
    CHECK(image.find("peacrab-state") != std::string::npos);
    CHECK(prepare_state_disk(place, {}, {}) == GiB(1));
    CHECK(prepare_state_disk(place, GiB(1), {}) == GiB(1));
    CHECK(message([&] { prepare_state_disk(place, GiB(2), {}); }).find("peacrab rm") !=
          std::string::npos);
    CHECK_THROWS_AS(prepare_state_disk(machine_place("b"), MiB(1), {}), Error);
    CHECK_FALSE(std::filesystem::exists(machine_place("b").state_image));
}

TEST_CASE("machine: a state disk without quotas is refused, with what to do") {
    const Home home;
    if (find_program("mke2fs").empty()) {
        MESSAGE("skipped: mke2fs is not installed");
        return;
    }
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    CHECK(prepare_state_disk(place, GiB(1), {}) == GiB(1));
    const UniqueFd disk(::open(place.state_image.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::pwrite(disk.get(), "\0\0", 2, 1024 + 0x64) == 2);  // as of an earlier version
    const std::string said = message([&] { prepare_state_disk(place, {}, {}); });
    CHECK(said.find("has no quotas") != std::string::npos);
    CHECK(said.find("`peacrab rm --name a`") != std::string::npos);
}

TEST_CASE("machine: a start that was killed while it made the disk leaves no half disk behind") {
    const Home home;
    const MachinePlace place = machine_place("a");
    make_directories(place.folder);
    write_file_atomic(place.state_image + ".new", "half", 0600);
    if (find_program("mke2fs").empty()) {
        MESSAGE("skipped: mke2fs is not installed");
        return;
    }
    CHECK(prepare_state_disk(place, GiB(1), {}) == GiB(1));
    CHECK_FALSE(std::filesystem::exists(place.state_image + ".new"));
}

TEST_CASE("machine: the kernel's command line hands in the clock only under emulation") {
    CHECK(kernel_command_line(Accelerator::Tcg, 2600000).find("tsc_early_khz=2600000") !=
          std::string::npos);
    CHECK(kernel_command_line(Accelerator::Kvm, 0).find("tsc") == std::string::npos);
}

TEST_CASE("machine: the watchdog falls back from KVM unless KVM was asked for") {
    BootAttempt kvm;
    kvm.accelerator = Accelerator::Kvm;
    CHECK(after_failed_boot(kvm, BootFailure::Silent) == NextBoot::Tcg);
    CHECK(after_failed_boot(kvm, BootFailure::Exited) == NextBoot::SecondCpuModel);
    kvm.cpu_model = MachineSpec::CpuModel::Second;
    CHECK(after_failed_boot(kvm, BootFailure::Exited) == NextBoot::Tcg);
    kvm.accelerator_asked = true;
    CHECK(after_failed_boot(kvm, BootFailure::Exited) == NextBoot::GiveUp);
    CHECK(after_failed_boot(kvm, BootFailure::Silent) == NextBoot::GiveUp);
}

TEST_CASE("machine: an early end under emulation is tried again once, a silence never") {
    BootAttempt tcg;
    CHECK(after_failed_boot(tcg, BootFailure::Exited) == NextBoot::SameAgain);
    tcg.exits = 1;
    CHECK(after_failed_boot(tcg, BootFailure::Exited) == NextBoot::GiveUp);
    CHECK(after_failed_boot({}, BootFailure::Silent) == NextBoot::GiveUp);
}

TEST_CASE("machine: a loaded host is given more time, without end never") {
    CHECK(boot_limits(Accelerator::Kvm, 9).silence == Milliseconds(3000));
    CHECK(boot_limits(Accelerator::Tcg, 0).silence == Milliseconds(15'000));
    CHECK(boot_limits(Accelerator::Tcg, 1).silence == Milliseconds(30'000));
    CHECK(boot_limits(Accelerator::Tcg, 1e9).whole < std::chrono::hours(1));
    CHECK(boot_limits(Accelerator::Tcg, -1).silence == Milliseconds(15'000));
}

TEST_CASE("spawn: a child has the listed descriptors, /dev/null and an empty environment") {
    Pipe secret = Pipe::make();
    inherit(secret.read.get());  // even one that would be inherited
    SpawnOptions options = shell("ls /proc/self/fd | tr '\\n' ' '; env | grep -v ^PWD= | grep -v ^_=; cat");
    ::setenv("PEACRAB_TEST_LEAK", "leak", 1);
    const RunResult result = run_program(options, Seconds(20));
    ::unsetenv("PEACRAB_TEST_LEAK");
    CHECK(result.exit.ok());
    CHECK(result.output.find("leak") == std::string::npos);
    CHECK(result.output.rfind("0 1 2 3 ", 0) == 0);  // 3 is ls's own
    CHECK(result.output.find(" " + std::to_string(secret.read.get()) + " ", 8) == std::string::npos);
}

TEST_CASE("spawn: what cannot be run is an Error that names the step") {
    SpawnOptions options;
    options.program = "/nonexistent/program";
    options.arguments = {"program"};
    CHECK(message([&] { static_cast<void>(spawn(options)); }) ==
          "spawn: /nonexistent/program: exec: No such file or directory");
    options = shell("true");
    options.descriptors = {{9999, 5}};
    CHECK(message([&] { static_cast<void>(spawn(options)); }).find("descriptors") !=
          std::string::npos);
}

TEST_CASE("spawn: a program that does not end is killed at its limit") {
    const Deadline deadline = Deadline::in(Seconds(10));
    CHECK_THROWS_AS(static_cast<void>(run_program(shell("exec sleep 100"), Milliseconds(100))), Error);
    CHECK_FALSE(deadline.passed());
}

TEST_CASE("spawn: descriptors arrive at their numbers even when these overlap") {
    // Descriptors 3 and 4 of ours swapped: the naive order would copy one of them twice.
    Pipe a = Pipe::make();
    Pipe b = Pipe::make();
    write_all(a.write.get(), "a");
    write_all(b.write.get(), "b");
    SpawnOptions options = shell("head -c1 <&3; head -c1 <&4");
    options.descriptors = {{b.read.get(), 3}, {a.read.get(), 4}};
    CHECK(run_program(options, Seconds(20)).output == "ba");
}

TEST_CASE("spawn: a confined child has no capabilities, no new privileges and no core") {
    SpawnOptions options =
        shell("grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status; ulimit -c; ls -l "
              "/proc/self/ns/net; grep -c : /proc/net/dev");
    Confinement confinement;
    confinement.file_limit = MiB(1);
    if (::geteuid() == 0) confinement.ids = Confinement::UserIds{65534, 65534, {}};
    options.confinement = confinement;
    const RunResult result = run_program(options, Seconds(20));
    CHECK(result.output.find("CapEff:\t0000000000000000") != std::string::npos);
    CHECK(result.output.find("CapPrm:\t0000000000000000") != std::string::npos);
    CHECK(result.output.find("NoNewPrivs:\t1\n0\n") != std::string::npos);
    if (::geteuid() == 0) {
        CHECK(result.output.find("Uid:\t65534\t65534\t65534\t65534") != std::string::npos);
        CHECK(result.output.find("CapBnd:\t0000000000000000") != std::string::npos);
    }
    char ours[64] = "";
    REQUIRE(::readlink("/proc/self/ns/net", ours, sizeof ours - 1) > 0);
    if (result.output.find(ours) != std::string::npos)
        MESSAGE("this host allows no network namespace: that layer is not in force here");
}

TEST_CASE("spawn: a child that is to die with its parent does") {
    Pipe alive = Pipe::make();
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        SpawnOptions options = shell("exec sleep 100");
        options.die_with_parent = true;
        options.descriptors = {{alive.write.get(), 5}};
        const Pidfd grandchild = spawn(options);
        alive.write.reset();
        ::kill(::getpid(), SIGKILL);
        ::_exit(1);
    }
    Pidfd child = Pidfd::of_child(pid);
    alive.write.reset();
    CHECK(child.wait().code == SIGKILL);
    pollfd one{alive.read.get(), POLLIN, 0};
    REQUIRE(::poll(&one, 1, 10'000) == 1);  // end of file: the last writer has gone
    CHECK((one.revents & POLLHUP) != 0);
}

TEST_CASE("bounded log: hostile bytes without end stay within the limit and cannot write escapes") {
    const Home home;
    const std::string path = home.path + "/console.log";
    BoundedLog log(path, KiB(64));
    for (int i = 0; i < 400; ++i) log.append("\033[2J" + std::string(1000, 'x') + "\r\n", "guest: ");
    CHECK(std::filesystem::file_size(path) + std::filesystem::file_size(path + ".1") <= 64 << 10);
    const std::string text = read_file(path, MiB(1));
    CHECK(text.find('\033') == std::string::npos);
    CHECK(text.find('\r') == std::string::npos);
    CHECK(text.find("guest: \\x1b[2Jx") != std::string::npos);
    log.append(std::string(200'000, 'y'));
    CHECK(std::filesystem::file_size(path) <= 32 << 10);
}
