// What holds an agent to its share: memory, processes, disk, files, CPU; and that it is said.
#include <doctest/doctest.h>
#include <poll.h>

#include "cell_fixture.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

CommandResult run(Cell& cell, const std::string& command, Milliseconds limit = Seconds(60)) {
    return cell.shell({command, limit}).run();
}

}  // namespace

TEST_CASE("limits: memory ends the whole call and nothing else, and is named") {
    CellOptions options = guest_options();
    options.limits.memory = MiB(64);
    Cell cell(options);
    ShellCall other{"echo up; sleep 1000", Seconds(1)};
    other.life = ShellCall::Life::Background;
    Command background = cell.shell(other);
    pollfd output{background.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 20'000) == 1);
    const CommandResult result = run(
        cell, "sleep 1000 & python3 -c 'a = []\nwhile True: a.append(bytearray(1 << 20))'; echo on");
    CHECK(result.limit_hit == "memory: 64M");
    CHECK_FALSE(holds(result.output, "on"));
    CHECK(result.exit.how == ChildExit::How::Signalled);
    CHECK_FALSE(background.step());
    const CommandResult after = run(cell, "echo fine; cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    CHECK(after.output.starts_with("fine\n"));
    CHECK(after.limit_hit.empty());
    background.cancel();
    (void)background.run();
}

TEST_CASE("limits: scratch files count as memory and have a bound of their own") {
    CellOptions options = guest_options();
    options.limits.memory = MiB(64);
    Cell cell(options);
    const CommandResult result = run(cell, "head -c 100M /dev/zero > /tmp/x; stat -c %s /tmp/x");
    CHECK(holds(result.output, "No space left"));
    CHECK(holds(result.output, std::to_string(MiB(32).count)));
}

TEST_CASE("limits: processes are counted over all ids of the agent, and are named") {
    CellOptions options = guest_options();
    options.limits.processes = 40;
    Cell cell(options);
    const CommandResult result = run(
        cell, "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done 2>&1; echo end");
    CHECK(result.limit_hit == "processes: 40");
    const CommandResult after = run(cell, "echo fine");
    CHECK(after.output == "fine\n");
    CHECK(after.limit_hit.empty());
    // The file helper is not kept from starting by a shell at its limit.
    ShellCall full{"perl -e 'while ($n < 5) { $p = fork; ++$n unless defined $p;"
                   "sleep 1000 if defined $p && !$p } $| = 1; print \"full\"; sleep 1000'",
                   Seconds(1)};
    full.life = ShellCall::Life::Background;
    Command bomb = cell.shell(full);
    pollfd output{bomb.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 30'000) == 1);
    CHECK_FALSE(run(cell, "true").failed_step.empty());
    const CommandResult file =
        cell.file("{\"tool\":\"write\",\"path\":\"f\",\"content\":\"x\"}", Seconds(20)).run();
    CHECK(file.failed_step.empty());
    CHECK(file.exit.ok());
    bomb.cancel();
    (void)bomb.run();
}

TEST_CASE("limits: a throw-away cell counts within its agent's memory") {
    CellOptions options = guest_options();
    options.limits.memory = MiB(96);
    Cell kept(options);
    options.files = CellOptions::Files::Discarded;
    Cell away(options);
    const std::string fill = "python3 -c 'a = bytearray(60 << 20); print(\"full\", flush=True);"
                             "import time; time.sleep(1000)'";
    CHECK(holds(run(away, "timeout 5 " + fill).output, "full"));  // alone it has room
    ShellCall half{fill, Seconds(1)};
    half.life = ShellCall::Life::Background;
    Command background = kept.shell(half);
    pollfd output{background.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 30'000) == 1);
    // One of the two has to go: together they are more than the agent has.
    const CommandResult both = run(away, fill, Seconds(15));
    CHECK((both.limit_hit == "memory: 96M" || background.step()));
    background.cancel();
    (void)background.run();
}

TEST_CASE("limits: a throw-away cell counts within its agent's processes, and that is named") {
    CellOptions options = guest_options();
    options.limits.processes = 60;
    Cell kept(options);
    options.files = CellOptions::Files::Discarded;
    Cell away(options);
    const std::string start = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done 2>&1; ";
    CHECK(run(away, start + "echo end").output == "end\n");  // alone it has room
    ShellCall half{start + "echo up; wait", Seconds(1)};
    half.life = ShellCall::Life::Background;
    Command background = kept.shell(half);
    pollfd output{background.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 30'000) == 1);
    CHECK(run(away, start + "echo end").limit_hit == "processes: 60");
    background.cancel();
    (void)background.run();
    CHECK(run(away, start + "echo end").output == "end\n");
}

TEST_CASE("limits: the disk's share holds in the home, in system files, and is named") {
    CellOptions options = guest_options();
    options.limits.disk = MiB(24);
    Cell cell(options);
    for (const char* path : {"/home/agent/big", "/opt/big", "/root/big", "/var/tmp/big"}) {
        const std::string file = path;
        CAPTURE(file);
        const CommandResult result =
            run(cell, "head -c 100M /dev/zero > " + file + "; sync; stat -c %s " + file);
        CHECK(holds(result.output, "Disk quota exceeded"));
        CHECK(std::atoll(result.output.c_str() + result.output.rfind("exceeded\n") + 9) <
              static_cast<long long>(MiB(25).count));
        CHECK(result.limit_hit == "disk: 24M");
        CHECK(run(cell, "rm " + file + "; sync").limit_hit.empty());
    }
}

TEST_CASE("limits: the number of files holds, in the home and in system files, and is named") {
    CellOptions options = guest_options();
    options.limits.files = 300;
    Cell cell(options);
    for (const char* path : {"/home/agent/d", "/opt/d"}) {
        const std::string folder = path;
        CAPTURE(folder);
        const CommandResult result =
            run(cell, "mkdir " + folder + "; cd " + folder +
                          "; i=0; while [ $i -lt 400 ]; do : > $i || break; i=$((i+1)); done; ls | wc -l");
        CHECK(holds(result.output, "Disk quota exceeded"));
        CHECK(result.limit_hit == "files: 300");
        CHECK(run(cell, "rm -r " + folder).limit_hit.empty());
    }
}

TEST_CASE("limits: an agent that has used up its share can start again, and make room") {
    CellOptions options = guest_options();
    options.limits.files = 200;
    options.limits.disk = MiB(8);
    for (int start = 0; start < 4; ++start) {
        Cell cell(options);
        CHECK(holds(run(cell, "i=0; while [ $i -lt 400 ]; do : > /opt/f$i || break; i=$((i+1)); done;"
                              "head -c 20M /dev/zero >> /home/agent/big")
                        .output,
                    "Disk quota exceeded"));
    }
    Cell cell(options);
    CHECK(run(cell, "rm -f /opt/f* /home/agent/big && echo x > /home/agent/new && echo fine").output ==
          "fine\n");
}

TEST_CASE("limits: no id of the cell writes past the disk's share") {
    CellOptions options = guest_options();
    options.limits.disk = MiB(16);
    Cell cell(options);
    const CommandResult result =
        run(cell, "chmod 777 /opt; setpriv --reuid=2000 --regid=2000 --clear-groups "
                  "sh -c 'head -c 50M /dev/zero > /opt/x'");
    CHECK(holds(result.output, "Disk quota exceeded"));
}

TEST_CASE("limits: the share of the CPU holds") {
    CellOptions options = guest_options();
    options.limits.cpu_percent = 20;
    Cell cell(options);
    // 2 s of wall time: 0.4 s of CPU, and a little.
    const CommandResult result = run(
        cell, "timeout 2 sh -c 'while :; do :; done'; cat /proc/self/schedstat >/dev/null; times");
    const std::string line = result.output.substr(result.output.find('\n') + 1);
    CHECK(std::atof(line.c_str() + line.find('m') + 1) < 1.0);
}
