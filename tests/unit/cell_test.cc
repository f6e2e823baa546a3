// Run in our own guest too (tests/containment/cell_guest_test.sh), there in containers.
#define DOCTEST_CONFIG_IMPLEMENT
#include "cell.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>

#include "cell_fixture.h"
#include "guest_main.h"
#include "jail.h"
#include "tools.h"

using namespace peacrab;
using namespace peacrab::test;

int peacrab::test::run_tests(int argc, char** argv) {
    stay_ordinary();
    return doctest::Context(argc, argv).run();
}

namespace {

// The guest's own root has no programs to run.
const auto elsewhere = doctest::skip(in_guest());

// True: said, and the case has nothing to look at.
bool not_apart() {
    if (!kept_apart()) MESSAGE("skipped: no user namespaces for ordinary users here");
    return !kept_apart();
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// Is the lock that a command took still held by something it left behind?
bool lock_is_free(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(file);
    return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

// Leaves processes behind that hold the lock and the output: one orphan, one in another session.
constexpr const char* kHoldInBackground =
    "exec 9>lock; flock 9; (setsid sleep 1000 & sleep 1000 &) ; echo left";

// Of the pid 1 that a child of ours has started: without a cell, nobody in the place sees it.
std::string status_of_init() {
    const auto line = [](const std::string& status, const std::string& name) {
        const size_t at = status.find("\n" + name + ":");
        return at == std::string::npos ? "" : status.substr(at + 1, status.find('\n', at + 1) - at - 1);
    };
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string status = read_file_if_exists(entry.path().string() + "/status", KiB(16)).value_or("");
        if (!line(status, "NSpid").ends_with("\t1")) continue;
        const std::string parent = line(status, "PPid").substr(std::strlen("PPid:\t"));
        const std::string above = read_file_if_exists("/proc/" + parent + "/status", KiB(16)).value_or("");
        if (line(above, "PPid") == "PPid:\t" + std::to_string(::getpid())) return status;
    }
    return {};
}

std::string here(const std::string& workspace, std::vector<std::string> hidden,
                 const std::string& command) {
    CellOptions options;
    options.place = CellOptions::Place::Here;
    options.workspace = workspace;
    options.hidden = std::move(hidden);
    Cell cell(std::move(options));
    const CommandResult result = cell.shell({command, Seconds(20)}).run();
    return cell.posture().text() + "\n" + result.failed_step + result.output + result.exit.describe();
}

}  // namespace

TEST_CASE("cell: without a place nothing runs") {
    CHECK_THROWS_AS(Cell(CellOptions{}), Error);
}

TEST_CASE("cell: a command has no capability, no new privilege and a filter") {
    TestCell test;
    const CommandResult result =
        test.cell.shell({"cat /proc/self/status; id -u; id -G", Seconds(20), ShellCall::User::Agent})
            .run();
    CHECK(result.exit.ok());
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
        CHECK_MESSAGE(holds(result.output, std::string(set) + ":\t0000000000000000\n"), set);
    // Without a namespace of its own an ordinary user cannot lower it, and with nothing to gain need not.
    if (kept_apart()) CHECK(holds(result.output, "CapBnd:\t0000000000000000\n"));
    CHECK(holds(result.output, "NoNewPrivs:\t1\n"));
    CHECK(holds(result.output, "Seccomp:\t2\n"));
    if (in_guest()) CHECK(holds(result.output, "\n1000\n1000\n"));
}

TEST_CASE("cell: a command sees no network but its own loopback") {
    if (not_apart()) return;
    TestCell test;
    const std::string devices = test.run("tail -n +3 /proc/net/dev | cut -d: -f1").output;
    CHECK(holds(devices, "lo"));
    CHECK(std::count(devices.begin(), devices.end(), '\n') == 1);
    CHECK(test.run("cat /proc/net/route | tail -n +2").output.empty());
    const CommandResult dial = test.run("bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'");
    CHECK(holds(dial.output, "Network is unreachable"));
}

TEST_CASE("cell: a command sees only the processes of its call") {
    if (not_apart()) return;
    TestCell test;
    const CommandResult result = test.run("ls -d /proc/[0-9]* | wc -l");
    CHECK(std::atoi(result.output.c_str()) <= 5);
    CHECK(std::atoi(result.output.c_str()) >= 2);
    CHECK_FALSE(test.run("kill -0 " + std::to_string(::getpid())).exit.ok());
}

TEST_CASE("cell: pid 1 of a call cannot be read, traced or ended") {
    TestCell test;
    CHECK_FALSE(test.run("cat /proc/1/environ").exit.ok());
    CHECK_FALSE(test.run("cat /proc/1/mem").exit.ok());
    CHECK_FALSE(test.run("ls /proc/1/fd/").exit.ok());
    const CommandResult killed = test.run("kill -9 1; kill -STOP 1; echo alive");
    CHECK(holds(killed.output, "alive"));
    CHECK(killed.exit.ok());
    // In a cell nothing of ours can be named; without one whoever ends his own keeper ends his call.
    const CommandResult all = test.run("kill -9 -1; echo alive");
    CHECK(all.exit.ok() == in_guest());
    CHECK(test.run("echo again").output == "again\n");
}

TEST_CASE("cell: pid 1 of a call has given everything up before the command may start") {
    if (not_apart()) return;
    TestCell test;
    const std::string status = in_guest() ? test.run("cat /proc/1/status").output : status_of_init();
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
        CHECK_MESSAGE(holds(status, std::string(set) + ":\t0000000000000000\n"), set);
    CHECK(holds(status, "NoNewPrivs:\t1\n"));
    CHECK(holds(status, "Seccomp:\t2\n"));
    // In the cell: an id it has no name for.
    if (in_guest()) CHECK(holds(status, "Uid:\t65534\t65534\t65534\t65534\n"));
}

TEST_CASE("cell: a call ends with the process that made it" * elsewhere) {
    Folder folder;
    give_to_ordinary_user(folder.path);
    const std::string said = as_ordinary_user([&]() -> std::string {
        CellOptions options;
        options.place = CellOptions::Place::Here;
        options.workspace = folder.path;
        Cell cell(options);
        Command command =
            cell.shell({"exec 9>lock; flock 9; echo on; setsid sleep 1000", Seconds(60)});
        pollfd output{command.output_fd(), POLLIN, 0};
        if (::poll(&output, 1, 10'000) != 1) return "no output";
        ::_exit(0);  // without a word, as if killed
    });
    CHECK(said.empty());
    const UniqueFd lock(::open((folder.path + "/lock").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(lock);
    ::alarm(20);  // fails the test by its signal, should the lock never be free
    CHECK(::flock(lock.get(), LOCK_EX) == 0);
    ::alarm(0);
}

TEST_CASE("cell: a command inherits no descriptor and no variable") {
    // Not CLOEXEC, on purpose; and high, where nothing else comes to stand.
    const UniqueFd low(::open("/etc/passwd", O_RDONLY)), leaked(::fcntl(low.get(), F_DUPFD, 40));
    ::setenv("PEACRAB_TEST_SECRET", "canary", 1);
    TestCell test;
    // 3 is the directory ls reads.
    CHECK(test.run("exec ls /proc/self/fd").output == "0\n1\n2\n3\n");
    const std::string variables = test.run("env").output;
    CHECK_FALSE(holds(variables, "canary"));
    CHECK(holds(variables, "TERM=dumb\n"));
    ::unsetenv("PEACRAB_TEST_SECRET");
}

TEST_CASE("cell: signals are as a program expects them, whatever we ignore") {
    ::signal(SIGPIPE, SIG_IGN);
    TestCell test;
    CHECK(holds(test.run("grep SigIgn /proc/self/status").output, "SigIgn:\t0000000000000000"));
    ::signal(SIGPIPE, SIG_DFL);
}

TEST_CASE("cell: the exit code and the signal of the command come through") {
    TestCell test;
    CHECK(test.run("exit 0").exit.ok());
    CHECK(test.run("exit 42").exit.describe() == "exit code 42");
    CHECK(test.run("exit 255").exit.code == 255);
    CHECK(test.run("kill -TERM $$").exit.describe() == "killed by signal 15");
    CHECK(test.run("kill -9 $$").exit.describe() == "killed by signal 9");
    CHECK(test.run("-x").exit.code == 127);
}

TEST_CASE("cell: both streams are one, in order") {
    TestCell test;
    CHECK(test.run("echo a; echo b >&2; echo c").output == "a\nb\nc\n");
}

TEST_CASE("cell: what a command leaves behind ends with it and does not hold the call") {
    TestCell test;
    const CommandResult result = test.run(kHoldInBackground);
    CHECK(result.output == "left\n");
    CHECK(result.exit.ok());
    CHECK(lock_is_free(test.workspace() + "/lock"));
}

TEST_CASE("cell: a command that is too slow ends, with all it started") {
    TestCell test;
    const CommandResult result =
        test.run("exec 9>lock; flock 9; trap '' TERM INT HUP; setsid sleep 1000 & echo on; wait",
                 Seconds(2));
    CHECK(result.timed_out);
    CHECK_FALSE(result.exit.ok());
    CHECK(result.output == "on\n");
    CHECK(lock_is_free(test.workspace() + "/lock"));
}

TEST_CASE("cell: time-outs are multiplied on a slow machine") {
    TestCell usual(1), slow(20);
    CHECK(usual.cell.shell({"true", Seconds(10)}).deadline().left() <= Seconds(10));
    const Milliseconds left = slow.cell.shell({"true", Seconds(10)}).deadline().left();
    CHECK(left > Seconds(150));
    CHECK(left <= Seconds(200));
}

TEST_CASE("cell: a cancelled command ends, with all it started") {
    TestCell test;
    Command command = test.cell.shell({"exec 9>lock; flock 9; echo on; sleep 1000", Seconds(20)});
    pollfd output{command.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 10'000) == 1);
    command.cancel();
    const CommandResult result = command.run();
    CHECK(result.cancelled);
    CHECK_FALSE(result.timed_out);
    CHECK(lock_is_free(test.workspace() + "/lock"));
}

TEST_CASE("cell: a dropped command ends, with all it started") {
    TestCell test;
    {
        Command command = test.cell.shell({"exec 9>lock; flock 9; echo on; sleep 1000", Seconds(20)});
        pollfd output{command.output_fd(), POLLIN, 0};
        REQUIRE(::poll(&output, 1, 10'000) == 1);
    }
    CHECK(lock_is_free(test.workspace() + "/lock"));
}

TEST_CASE("cell: of long output head and tail are kept, and what was cut is said") {
    TestCell test;
    const CommandResult result =
        test.run("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last");
    CHECK(result.total_bytes == 3000012);
    CHECK(result.output.size() <= Cell::kMaxOutput + 200);
    CHECK(result.output.starts_with("first\n"));
    CHECK(result.output.ends_with("\nlast\n"));
    CHECK(holds(result.output, std::to_string(3000012 - Cell::kMaxOutput) + " bytes cut"));
}

TEST_CASE("cell: output at the limit is whole") {
    TestCell test;
    const CommandResult result = test.run("head -c 49152 /dev/zero | tr '\\0' x");
    CHECK(result.output == std::string(Cell::kMaxOutput, 'x'));
}

TEST_CASE("cell: a cut does not tear a character") {
    TestCell test;
    // 3-byte characters; neither half is a multiple of 3.
    const CommandResult result =
        test.run("printf x; for i in $(seq 30000); do printf '\xe2\x82\xac'; done");
    std::string text = result.output;
    const size_t cut = text.find("\n[... ");
    REQUIRE(cut != std::string::npos);
    CHECK((cut - 1) % 3 == 0);
    CHECK((text.size() - text.find(" ...]\n") - 6) % 3 == 0);
}

TEST_CASE("cell: a flood of output does not keep step() from returning") {
    TestCell test;
    Command command = test.cell.shell({"yes", Seconds(20)});
    pollfd output{command.output_fd(), POLLIN, 0};
    for (int i = 0; i < 5; ++i) {
        REQUIRE(::poll(&output, 1, 10'000) == 1);
        CHECK_FALSE(command.step());
    }
    command.cancel();
    const CommandResult result = command.run();
    CHECK(result.output.size() <= Cell::kMaxOutput + 200);
}

TEST_CASE("cell: a call without descriptors left is a result, not a hang") {
    TestCell test;
    rlimit before;
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    std::vector<UniqueFd> taken;
    const rlimit few{64, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (UniqueFd one{::open("/dev/null", O_RDONLY | O_CLOEXEC)}) taken.push_back(std::move(one));
    taken.resize(taken.size() - 3);  // a pipe can be had, the second not
    Command command = test.cell.shell({"true", Seconds(5)});
    taken.clear();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    pollfd ended{command.exit_fd(), POLLIN, 0};
    CHECK(::poll(&ended, 1, 0) == 1);
    CHECK(command.step());
    CHECK(holds(command.result().failed_step, "Too many open files"));
    CHECK(test.run("true").exit.ok());
}

TEST_CASE("cell: without a VM the posture says what is in force, and hidden folders are empty" * elsewhere) {
    Folder folder("/var/tmp");  // what is in /tmp is covered anyway
    give_to_ordinary_user(folder.path);
    const std::string workspace = folder.path + "/work", secret = folder.path + "/secret";
    const std::string said = as_ordinary_user([&] {
        make_directories(workspace, 0700);
        make_directories(secret, 0700);
        write_file_atomic(secret + "/key", "canary", 0600);
        return here(
            workspace, {secret, folder.path + "/not-yet"},
            "cat ../secret/key; echo x > ../secret/new; ls -A ../secret ../not-yet; "
            "mkdir -p ../not-yet/config; echo mine > file; umount ../secret; cat ../secret/*");
    });
    if (holds(said, "no user namespaces here")) {
        MESSAGE("skipped: no user namespaces for ordinary users here");
        return;
    }
    CHECK(said.starts_with("shared"));
    CHECK(holds(said, "no VM"));
    CHECK_FALSE(holds(said, "canary"));
    CHECK(holds(said, "Permission denied"));
    CHECK(read_file(workspace + "/file", KiB(1)) == "mine\n");
    CHECK(read_file(secret + "/key", KiB(1)) == "canary");
    CHECK(std::filesystem::is_empty(folder.path + "/not-yet"));
}

TEST_CASE("cell: without a VM the doors among the machine's files are covered" * elsewhere) {
    Folder work, other;
    give_to_ordinary_user(work.path);
    give_to_ordinary_user(other.path);
    const std::string said = as_ordinary_user([&] {
        return here(work.path, {},
                    "ls -A /tmp /run /dev/shm /dev/pts; echo x > /tmp/$(basename " + work.path +
                        ").door; echo kept > kept; "
                        "test -e " +
                        other.path +
                        " || echo covered; python3 -c 'import pty; "
                        "pty.spawn([\"true\"])'");
    });
    if (holds(said, "no user namespaces")) {
        MESSAGE("skipped: no user namespaces for ordinary users here");
        return;
    }
    const std::string name = work.path.substr(work.path.rfind('/') + 1);
    CHECK(holds(said, "/dev/pts:\nptmx\n\n/dev/shm:\n\n/run:\n\n/tmp:\nhome\n" + name + "\n"));
    CHECK(holds(said, "covered\n"));
    CHECK(said.ends_with("exit code 0"));
    CHECK(read_file(work.path + "/kept", KiB(1)) == "kept\n");
    CHECK_FALSE(std::filesystem::exists(work.path + ".door"));
}

TEST_CASE("cell: a workspace inside a hidden folder is refused" * elsewhere) {
    Folder folder;
    give_to_ordinary_user(folder.path);
    const std::string said = as_ordinary_user([&] { return here(folder.path, {folder.path}, ""); });
    CHECK(said.starts_with("threw: cell: workspace:"));
}

TEST_CASE("cell: without user namespaces only the jail is left, and the posture says so" * elsewhere) {
    Folder folder;
    give_to_ordinary_user(folder.path);
    const std::string said = as_ordinary_user([&] {
        // A jail around us, as a container runtime has one: no namespaces to give.
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (!JailFilter::compile(JailClass::Shell, JailFilter::Network::Own).install()) return std::string("no filter");
        return here(folder.path, {}, kHoldInBackground + std::string("; exit 7"));
    });
    CHECK(said.starts_with("shared"));
    CHECK(holds(said, "no VM"));
    CHECK(holds(said, "no user namespaces here"));
    CHECK(holds(said, "no way out"));
    CHECK(said.ends_with("left\nexit code 7"));
    CHECK(lock_is_free(folder.path + "/lock"));
}

TEST_CASE("cell: without a pid namespace a slow command still ends, with all it started" * elsewhere) {
    Folder folder;
    give_to_ordinary_user(folder.path);
    const std::string said = as_ordinary_user([&]() -> std::string {
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (!JailFilter::compile(JailClass::Shell, JailFilter::Network::Own).install()) return "no filter";
        CellOptions options;
        options.place = CellOptions::Place::Here;
        options.workspace = folder.path;
        Cell cell(options);
        const CommandResult result =
            cell.shell({
                    "exec 9>lock; flock 9; trap '' TERM; setsid sh -c 'sleep 1000 & wait' & wait",
                    Milliseconds(300)})
                .run();
        return result.timed_out ? "timed out" : result.output + result.exit.describe();
    });
    CHECK(said == "timed out");
    CHECK(lock_is_free(folder.path + "/lock"));
}
