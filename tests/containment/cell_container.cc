// What holds of a real cell: ids, namespaces, files, processes, network. Run by cell_guest_test.sh in
// our own guest, as root, together with what holds of every kind of cell (tests/unit/cell_test.cc).
#include <doctest/doctest.h>
#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "cell_fixture.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::vector<std::string> groups() {
    return list_folder("/run/cgroup/agents");
}

size_t group_folders() {
    size_t folders = 0;
    for (const std::string& name : groups()) folders += name.starts_with("test-");
    return folders;
}

size_t mounts() {
    const std::string text = read_file("/proc/self/mountinfo", MiB(1));
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Not the kernel's own, which come and go.
size_t processes() {
    size_t count = 0;
    for (const std::string& name : list_folder("/proc")) {
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const std::string folder = "/proc/" + name;
        count += !read_file_if_exists(folder + "/cmdline", KiB(64)).value_or("").empty();
    }
    return count;
}

}  // namespace

TEST_CASE("container: in-cell root has its own ids, and none of another cell's") {
    TestCell one, two;
    CHECK(one.run("id -u; echo $(cat /proc/self/uid_map)").output ==
          "0\n0 " + std::to_string(65536 * (one.cell.options().slot + 15)) + " 65536\n");
    const std::string other = two.run("cat /proc/self/uid_map /proc/self/gid_map").output;
    CHECK_FALSE(holds(other, " " + std::to_string(65536 * (one.cell.options().slot + 15)) + " "));
    REQUIRE(one.run("echo mine > file; chmod 600 file").exit.ok());
    struct stat info;
    REQUIRE(::stat((one.workspace() + "/file").c_str(), &info) == 0);
    CHECK(info.st_uid == 65536 * (one.cell.options().slot + 15));
}

TEST_CASE("container: in-cell root installs like root: owners, modes, system files") {
    TestCell test;
    CHECK(test.run("set -e; echo x > /etc/new; chown 100:65534 /etc/new; chmod 4755 /etc/new;"
                   "stat -c '%u %g %a' /etc/new; chown 33 /etc/passwd; stat -c %u /etc/passwd;"
                   "mkdir -p /var/lib/x; rm -r /usr/share/doc; ls /usr/share | grep -c ^doc$")
              .output == "100 65534 4755\n33\n0\n");
    CHECK(test.run("setpriv --reuid=33 --regid=33 --clear-groups id -u").output == "33\n");
    CHECK(test.run("chroot / true").exit.ok());
    CHECK_FALSE(test.run("chown 65536 /etc/new").exit.ok());
    CHECK_FALSE(test.run("mknod /null c 1 3").exit.ok());
}

TEST_CASE("container: in-cell root has no right over the namespaces it lives in") {
    TestCell test;
    for (const char* attempt :
         {"mount -t tmpfs none /mnt", "mount --bind /etc /mnt", "umount /proc", "umount /run/output",
          "mount -o remount,rw /run/output", "unshare -m true", "unshare -U true", "unshare -n true",
          "unshare -p true", "hostname other", "echo 1 > /proc/sys/kernel/panic",
          "echo x > /proc/sysrq-trigger && test ! -c /proc/sysrq-trigger",
          "python3 -c 'import socket as s; s.socket(s.AF_PACKET, s.SOCK_RAW)'",
          "python3 -c 'import socket as s; s.socket(s.AF_INET, s.SOCK_RAW, 1)'",
          "python3 -c 'import os; os.setpriority(os.PRIO_PROCESS, 0, -5)'",
          "ip link add d type dummy", "echo -1000 > /proc/self/oom_score_adj",
          "date -s 2000-01-01", "pivot_root / /mnt", "dmesg", "swapon /etc/passwd"})
        CHECK_MESSAGE(!test.run(attempt).exit.ok(), std::string(attempt));
    CHECK(test.run("hostname").output == "peacrab\n");
    CHECK(test.run("cat /proc/self/status | grep Cap").output ==
          "CapInh:\t0000000000000000\nCapPrm:\t00000000800401fb\nCapEff:\t00000000800401fb\n"
          "CapBnd:\t00000000800401fb\nCapAmb:\t0000000000000000\n");
    CHECK(test.run("cat /proc/sys/user/max_user_namespaces /proc/sys/user/max_net_namespaces")
              .output == "0\n0\n");
}

TEST_CASE("container: whose kernel it is, only who has set it may say") {
    CellOptions options = guest_options();
    const std::string unsaid = Cell(options).posture().text();
    CHECK_MESSAGE(unsaid.starts_with("cells, "), unsaid);
    CHECK_MESSAGE(holds(unsaid, "no VM of ours"), unsaid);
    options.kernel = CellOptions::Kernel::Own;
    const std::string own = Cell(options).posture().text();
    CHECK_MESSAGE(own.starts_with("full"), own);
    CHECK_FALSE(holds(own, "no VM of ours"));
}

// With 1 a process that has taken other ids belongs to them again, until it hides its memory once more.
TEST_CASE("container: who waits for a call is nobody's, and hidden, whatever the kernel's setting") {
    constexpr const char* kSetting = "/proc/sys/fs/suid_dumpable";
    const auto set = [](const char* text) {
        write_all(UniqueFd(::open(kSetting, O_WRONLY | O_CLOEXEC)).get(), text);
    };
    set("1");
    size_t waiting = 0, seen = 0;
    {
        TestCell test;
        Command call = test.cell.shell({"echo $$ >pid; exec sleep 1000", Seconds(60),
                                        ShellCall::User::Root, ShellCall::Life::Background});
        // What was executed is a debugger's to look at, as ever.
        const std::string map =
            test.run("until [ -s pid ]; do sleep 0.1; done; grep stack /proc/$(cat pid)/maps").output;
        CHECK_MESSAGE(holds(map, "[stack]"), map);
        for (const std::string& name : list_folder("/proc")) {
            struct stat info;
            const std::string status =
                read_file_if_exists("/proc/" + name + "/status", KiB(64)).value_or("");
            if (!holds(status, "\nUid:\t1048573\t1048573\t1048573\t1048573\n")) continue;
            ++waiting;
            seen += ::stat(("/proc/" + name + "/mem").c_str(), &info) < 0 || info.st_uid != 0;
        }
        call.cancel();
        (void)call.run();
    }
    set("0");
    CHECK(waiting == 2);  // pid 1 and the keeper
    CHECK(seen == 0);
}

TEST_CASE("container: nothing of the machine is in it") {
    TestCell test;
    CHECK(test.run("ls /sys | wc -l").output == "0\n");
    CHECK(test.run("cat /proc/kallsyms /proc/keys /proc/timer_list 2>/dev/null | wc -c").output ==
          "0\n");
    CHECK(test.run("ls -A /dev | tr '\\n' ' '").output ==
          "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
    const std::string mounted = test.run("cat /proc/self/mountinfo").output;
    for (const char* part : {"/state", " cgroup2 ", " sysfs ", " erofs ", " devtmpfs "})
        CHECK_MESSAGE(!holds(mounted, part), std::string(part));
    CHECK(test.run("findmnt -rno OPTIONS /home/agent").output.starts_with("rw,nosuid,nodev"));
    CHECK(test.run("findmnt -rno OPTIONS /").output.starts_with("rw,nosuid,nodev"));
    CHECK(test.run("findmnt -rno OPTIONS /run/output").output.starts_with("ro,nosuid,nodev,noexec"));
    CHECK(test.run("cat /proc/self/cgroup").output.starts_with("0::/../shell/call-"));
    CHECK(test.run("ls -A /tmp /run /dev/shm").output ==
          "/dev/shm:\n\n/run:\nlock\noutput\n\n/tmp:\n");
    CHECK(test.run("cat /proc/self/oom_score_adj").output == "500\n");
}

TEST_CASE("container: pid 1 cannot be signalled, traced or read by in-cell root") {
    TestCell test;
    for (const char* attempt : {"kill -9 1", "kill -STOP 1", "kill -0 1", "cat /proc/1/environ",
                                "ls /proc/1/fd/", "ls /proc/1/root/", "readlink /proc/1/exe",
                                "cat /proc/1/mem", "cat /proc/1/maps"})
        CHECK_MESSAGE(!test.run(attempt).exit.ok(), std::string(attempt));
    // In the shell's jail ptrace is allowed: it is the kernel that refuses.
    CHECK(test.run("perl -e 'print syscall(101, 0x4206, 1, 0, 0), \" \", $! + 0'").output == "-1 1");
    CHECK(test.run("sleep 100 & perl -e 'print syscall(101, 0x4206, $ARGV[0] + 0, 0, 0)' $!").output ==
          "0");
    const CommandResult all = test.run("kill -9 -1; echo alive");
    CHECK(test.run("echo alive").output == "alive\n");
    CHECK_FALSE(all.timed_out);
}

TEST_CASE("container: files stay from call to call and from cell to cell, scratch space with the cell") {
    CellOptions options = guest_options();
    {
        Cell cell(options);
        CHECK(cell.shell({"echo kept > a; echo kept > /opt/b; echo c > /tmp/c", Seconds(20)})
                  .run()
                  .exit.ok());
        CHECK(cell.shell({"cat a /opt/b /tmp/c", Seconds(20)}).run().output == "kept\nkept\nc\n");
    }
    Cell cell(options);
    CHECK(cell.shell({"cat a /opt/b; ls -A /tmp", Seconds(20)}).run().output == "kept\nkept\n");
}

TEST_CASE("container: of a throw-away cell nothing stays, and it sees nothing of the agent's") {
    CellOptions options = guest_options();
    Cell kept(options);
    REQUIRE(kept.shell({"echo private > a; echo private > /opt/b", Seconds(20)}).run().exit.ok());
    options.files = CellOptions::Files::Discarded;
    {
        Cell away(options);
        CHECK(away.shell({"cat a /opt/b", Seconds(20)}).run().exit.code == 1);
        CHECK(away.shell({"pwd; echo x > new; echo x > /opt/new; cat new; ls -A /run/output",
                          Seconds(20)})
                  .run()
                  .output == "/home/agent/workspace\nx\n");
    }
    CHECK(kept.shell({"ls; ls /opt", Seconds(20)}).run().output == "a\nb\n");
    for (const std::string& name : list_folder("/run/cgroup/agents/" + options.agent + "/shell"))
        CHECK_FALSE(holds(name, "away"));
}

TEST_CASE("container: without its agent's cell there is no throw-away one, and with it both end") {
    CellOptions options = guest_options();
    options.files = CellOptions::Files::Discarded;
    CHECK_THROWS_WITH_AS(Cell{options},
                         "cell: control group: a throw-away cell is within its agent's: No such file "
                         "or directory",
                         Error);
    const size_t before = processes();
    options.files = CellOptions::Files::Kept;
    auto kept = std::make_unique<Cell>(options);
    options.files = CellOptions::Files::Discarded;
    Cell away(options);
    Command command = away.shell({"echo up; sleep 1000", Seconds(600)});
    pollfd output{command.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 20'000) == 1);
    kept.reset();
    CHECK_FALSE(command.run().exit.ok());
    CHECK(list_folder("/run/cgroup/agents/" + options.agent).empty());
    CHECK(processes() <= before);
}

TEST_CASE("container: two cells cannot see each other") {
    TestCell one, two;
    const std::string server =
        "python3 -c '\n"
        "import socket, os, sys, time\n"
        "a = socket.socket(socket.AF_UNIX); a.bind(\"\\0shared\"); a.listen()\n"
        "b = socket.create_server((\"127.0.0.1\", 5000))\n"
        "open(\"/tmp/shared\", \"w\"); open(\"/dev/shm/shared\", \"w\")\n"
        "print(\"up\", flush=True); time.sleep(1000)'";
    ShellCall call{server, Seconds(60)};
    call.life = ShellCall::Life::Background;
    Command background = one.cell.shell(call);
    pollfd output{background.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 30'000) == 1);
    const std::string reach =
        "python3 -c '\n"
        "import socket\n"
        "def attempt(name, f):\n"
        "    try: f(); print(\"REACHED\", name)\n"
        "    except OSError as e: print(\"refused\", name)\n"
        "attempt(\"abstract\", lambda: socket.socket(socket.AF_UNIX).connect(\"\\0shared\"))\n"
        "attempt(\"port\", lambda: socket.create_connection((\"127.0.0.1\", 5000)))\n"
        "attempt(\"tmp\", lambda: open(\"/tmp/shared\"))\n"
        "attempt(\"shm\", lambda: open(\"/dev/shm/shared\"))'";
    CHECK(two.run(reach).output == "refused abstract\nrefused port\nrefused tmp\nrefused shm\n");
    const std::string own = one.run(reach).output;
    CHECK(std::count(own.begin(), own.end(), 'R') == 4);  // the positive twin
    CHECK(std::atoi(two.run("ls -d /proc/[0-9]* | wc -l").output.c_str()) <= 5);
    REQUIRE(one.run("perl -e 'shmget(77, 4096, 01666) // die'")
                .exit.ok());
    CHECK(holds(one.run("cat /proc/sysvipc/shm").output, " 77 "));
    CHECK_FALSE(holds(two.run("cat /proc/sysvipc/shm").output, " 77 "));
    background.cancel();
    (void)background.run();
}

TEST_CASE("container: a call ends with all it started, whatever session it fled to") {
    TestCell test;
    const CommandResult result =
        test.run("(setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' >/dev/null 2>&1 &);"
                 "sleep 0.1; echo left");
    CHECK(result.output == "left\n");
    const std::string left = test.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output;
    CHECK_FALSE(holds(left, "sleep 1000"));
}

TEST_CASE("container: a background process survives calls, and ends with the cell") {
    auto test = std::make_unique<TestCell>();
    // The daemon's way: who was started has ended, what it started serves.
    ShellCall call{"socat TCP-LISTEN:8000,bind=127.0.0.1,fork SYSTEM:'echo served' & echo started",
                   Seconds(1)};
    call.life = ShellCall::Life::Background;
    Command background = test->cell.shell(call);
    CHECK(background.deadline().left() > Seconds(3600));
    const std::string ask = "socat -u TCP:127.0.0.1:8000 - 2>/dev/null";
    CHECK(test->run("for i in $(seq 200); do " + ask + " && break; sleep 0.1; done").output ==
          "served\n");
    CHECK(test->run(ask).output == "served\n");
    CHECK_FALSE(background.step());
    const size_t before = processes();
    test.reset();
    CHECK(background.run().exit.how != ChildExit::How::Unknown);
    CHECK(processes() < before);
}

TEST_CASE("container: a background process that is cancelled ends with all of it") {
    TestCell test;
    ShellCall call{"setsid sleep 1001 & sleep 1001", Seconds(1)};
    call.life = ShellCall::Life::Background;
    Command background = test.cell.shell(call);
    CHECK(test.run("for i in $(seq 100); do test $(cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o "
                   "'sleep 1001 ' | wc -l) -ge 2 && break; sleep 0.05; done").exit.ok());
    background.cancel();
    CHECK(background.run().cancelled);
    CHECK_FALSE(holds(test.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output, "sleep 1001 "));
}

TEST_CASE("container: many background processes of a frozen cell end at once") {
    auto test = std::make_unique<TestCell>();
    std::vector<Command> all;
    for (int i = 0; i < 20; ++i) {
        ShellCall call{"echo up; trap '' TERM; sleep 1002 & wait", Seconds(1)};
        call.life = ShellCall::Life::Background;
        all.push_back(test->cell.shell(call));
    }
    for (Command& each : all) {
        pollfd output{each.output_fd(), POLLIN, 0};
        REQUIRE(::poll(&output, 1, 20'000) == 1);
    }
    const size_t before = processes();
    test->cell.freeze();
    const auto began = std::chrono::steady_clock::now();
    all.clear();
    CHECK(std::chrono::steady_clock::now() - began < Seconds(8));  // on a busy machine; waited for it is 40
    test->cell.thaw();
    CHECK(test->run("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep [1]002'").output == "0\n");
    CHECK(processes() + 40 <= before);
    // The same by its own word: cancelled, then looked at.
    ShellCall call{"echo up; sleep 1003 & wait", Seconds(1)};
    call.life = ShellCall::Life::Background;
    Command last = test->cell.shell(call);
    pollfd output{last.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 20'000) == 1);
    test->cell.freeze();
    last.cancel();
    CHECK(last.run().cancelled);
}

TEST_CASE("container: a server that never accepts holds up nobody who connects to it") {
    TestCell test;
    const auto listen = [&](const char* family, const char* address, int port, const char* then) {
        ShellCall call{std::string("python3 -c 'import socket, time\ns = socket.socket(socket.") + family +
                           ")\ns.bind((\"" + address + "\", " + std::to_string(port) +
                           "))\ns.listen(0)\nprint(\"up\", flush=True)\n" + then + "'",
                       Seconds(1)};
        call.life = ShellCall::Life::Background;
        Command server = test.cell.shell(call);
        pollfd output{server.output_fd(), POLLIN, 0};
        REQUIRE(::poll(&output, 1, 60'000) == 1);
        return server;
    };
    const Command deaf = listen("AF_INET", "127.0.0.1", 8100, "time.sleep(1000)");
    const auto began = std::chrono::steady_clock::now();
    std::vector<UniqueFd> connections;
    for (int i = 0; i < 100; ++i) connections.push_back(test.cell.connect(8100));
    CHECK(std::chrono::steady_clock::now() - began < Seconds(5));  // waited for it is 20
    pollfd last{connections.back().get(), POLLOUT, 0};
    CHECK(::poll(&last, 1, 0) == 0);  // its queue was full
    pollfd first{connections.front().get(), POLLOUT, 0};
    CHECK(::poll(&first, 1, 0) == 1);
    // Who is not there at all is told so, and a server on ::1 alone is found.
    CHECK_THROWS_WITH_AS((void)test.cell.connect(8101), "cell: connect: nobody listens on port 8101", Error);
    const Command serves =
        listen("AF_INET6", "::1", 8102, "c = s.accept()[0]\nc.sendall(b\"served\")\ntime.sleep(1000)");
    const UniqueFd served = test.cell.connect(8102);
    pollfd readable{served.get(), POLLIN, 0};
    CHECK(::poll(&readable, 1, 20'000) == 1);
    char text[16] = {};
    CHECK(::read(served.get(), text, sizeof text - 1) == 6);
}

TEST_CASE("container: the listening socket of ours is its only way out") {
    TestCell test;
    Command command = test.cell.shell(
        {"curl -s -m 20 http://deb.example.org/; echo; cat /proc/net/route | wc -l;"
         "ls /proc/sys/net/ipv4/conf", Seconds(30)});
    pollfd one{test.cell.proxy(), POLLIN, 0};
    REQUIRE(::poll(&one, 1, 20'000) == 1);
    const UniqueFd peer(::accept4(test.cell.proxy(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(peer);
    char request[512];
    const ssize_t n = ::read(peer.get(), request, sizeof request);
    REQUIRE(n > 0);
    CHECK(std::string(request, static_cast<size_t>(n))
              .starts_with("GET http://deb.example.org/ HTTP/1.1\r\n"));
    write_all(peer.get(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    CHECK(command.run().output == "hello\n1\nall\ndefault\nlo\n");
    CHECK_FALSE(test.run("bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'").exit.ok());
}

TEST_CASE("container: a server in it can be connected to, and only where somebody listens") {
    TestCell test;
    ShellCall call{"python3 -c 'import socket as s; l = s.create_server((\"127.0.0.1\", 80));"
                   "print(\"up\", flush=True); c = l.accept()[0]; c.sendall(b\"hi\")'",
                   Seconds(20)};
    Command command = test.cell.shell(call);
    pollfd output{command.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 20'000) == 1);
    const UniqueFd peer = test.cell.connect(80);
    pollfd one{peer.get(), POLLIN, 0};
    REQUIRE(::poll(&one, 1, 10'000) == 1);
    char text[8];
    CHECK(::read(peer.get(), text, sizeof text) == 2);
    CHECK(command.run().exit.ok());
    CHECK_THROWS_WITH_AS(test.cell.connect(81), "cell: connect: nobody listens on port 81", Error);
}

TEST_CASE("container: frozen it does nothing, and goes on when it is thawed") {
    TestCell test;
    Command command = test.cell.shell({"while :; do echo tick; sleep 0.01; done", Seconds(60)});
    pollfd output{command.output_fd(), POLLIN, 0};
    REQUIRE(::poll(&output, 1, 20'000) == 1);
    test.cell.freeze();
    // What was on its way still comes; then nothing does.
    bool quiet = false;
    for (int i = 0; i < 100 && !quiet; ++i) {
        CHECK_FALSE(command.step());
        quiet = ::poll(&output, 1, 300) == 0;
    }
    CHECK(quiet);
    test.cell.thaw();
    CHECK(::poll(&output, 1, 20'000) == 1);
    test.cell.freeze();
    command.cancel();  // also who is frozen ends
    CHECK(command.run().cancelled);
}

TEST_CASE("container: a layer that an agent has spoilt is mended at the next start, and nothing followed") {
    CellOptions options = guest_options();
    { const Cell cell(options); }
    const std::string upper = options.folder + "/layer/upper/";
    // As an agent could have left it, had it found a way to move what is mounted.
    for (const char* name : {"home", "tmp", "proc", "run", "dev"}) {
        std::filesystem::remove_all(upper + name);
        REQUIRE(::symlink("/state", (upper + name).c_str()) == 0);
    }
    {
        Cell cell(options);
        CHECK(cell.shell({"pwd; echo $HOME; rm -r /home/agent/* 2>/dev/null; ls -ld /home", Seconds(20)})
                  .run()
                  .output.starts_with("/home/agent/workspace\n/home/agent\ndrwxr-xr-x"));
    }
    CHECK_FALSE(std::filesystem::exists("/state/agent"));
    std::filesystem::remove_all(upper + "home");
    REQUIRE(::mkdir((upper + "home").c_str(), 0755) == 0);
    write_file_atomic(upper + "home/agent", "a file", 0644);
    Cell cell(options);
    CHECK(cell.shell({"cd; pwd", Seconds(20)}).run().output == "/home/agent\n");
}

TEST_CASE("container: a workspace that became a link to a descriptor of ours is not entered") {
    TestCell test;
    REQUIRE(test.run("cd .. && rm -rf workspace && ln -s /proc/self/fd/11 workspace").exit.ok());
    CHECK(test.run("pwd").output == "/\n");
}

TEST_CASE("container: an agent that has spoilt its workspace or its home can mend it") {
    for (const char* spoil : {"cd .. && rm -rf workspace && touch workspace",
                              "cd .. && mv workspace other"}) {
        TestCell test;
        CAPTURE(std::string(spoil));
        REQUIRE(test.run(spoil).exit.ok());
        CHECK(test.run("pwd").output == "/\n");
        CHECK(test.run("cd /home/agent; rm -f workspace; mkdir workspace").exit.ok());
        CHECK(test.run("pwd").output == "/home/agent/workspace\n");
    }
}

TEST_CASE("container: what cannot be made is refused by name, and leaves nothing") {
    const size_t before = group_folders();
    const auto message = [](const CellOptions& options) -> std::string {
        try {
            const Cell cell(options);
        } catch (const Error& error) {
            return error.what();
        }
        return "a cell was made";
    };
    CellOptions options = guest_options();
    options.base = "/nowhere";
    CHECK(message(options).starts_with("cell: disk: /nowhere: "));
    options = guest_options();
    options.base = "/proc";
    CHECK(message(options).starts_with("cell: control group: "));
    options = guest_options();
    options.base = "/";
    CHECK(message(options).starts_with("cell: base: "));
    options = guest_options();
    options.slot = 0;
    CHECK(message(options) == "cell: no slot for its ids");
    options = guest_options();
    options.workspace = "/etc";
    CHECK(message(options).starts_with("cell: workspace: "));
    options = guest_options();
    options.folder = "/tmp/no-quotas";
    CHECK(message(options).starts_with("cell: quota: "));
    options = guest_options();
    options.place = CellOptions::Place::Here;
    CHECK(message(options).starts_with("cell: without a VM"));
    CHECK(group_folders() == before);
}

TEST_CASE("container: fifty cells built and ended leave no group, mount or process behind") {
    CellOptions options = guest_options();
    const size_t groups_before = group_folders(), mounts_before = mounts(),
                 processes_before = processes();
    for (int i = 0; i < 50; ++i) {
        Cell cell(options);
        const CommandResult result = cell.shell({"setsid sleep 1000 & echo $$", Seconds(20)}).run();
        REQUIRE(result.exit.ok());
    }
    CHECK(group_folders() == groups_before);
    CHECK(mounts() == mounts_before);
    CHECK(processes() <= processes_before);
}
