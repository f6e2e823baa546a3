// Posture shared, as an ordinary user, with user namespaces and without. Its own main: a place runs
// its own binary as the file helper, and here that is this program.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cell_fixture.h"
#include "cells/shared_relay.h"
#include "guest_main.h"
#include "jail.h"
#include "landlock.h"
#include "loopback_server.h"

using namespace peacrab;
using namespace peacrab::test;

int peacrab::test::run_tests(int argc, char** argv) {
    stay_ordinary();
    for (const char* name : {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"})
        ::unsetenv(name);
    return doctest::Context(argc, argv).run();
}

namespace {

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

enum class Spaces { Had, Missing };
const std::vector<Spaces> kBoth = {Spaces::Had, Spaces::Missing};

// Answers `number` with `code` from here on, for this process and its children.
void take_away(long number, int code) {
    const sock_filter program[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<uint32_t>(number)},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<uint32_t>(code)},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    const sock_fprog prog{4, const_cast<sock_filter*>(program)};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        throw ErrnoError("test: filter");
}

// In a child, so that what is taken away is only its own.
std::string with(Spaces spaces, const std::function<std::string()>& act) {
    return as_ordinary_user([&] {
        // As a container runtime does that has none to give.
        if (spaces == Spaces::Missing) {
            take_away(SYS_unshare, EPERM);
            take_away(SYS_setns, EPERM);
        }
        return act();
    });
}

CellOptions options_for(const std::string& workspace) {
    CellOptions options;
    options.place = CellOptions::Place::Here;
    options.workspace = workspace;
    return options;
}

std::string said(Cell& cell, const std::string& command) {
    const CommandResult result = cell.shell({command, Seconds(20)}).run();
    return result.failed_step + result.output;
}

bool has_spaces() {
    Folder folder;
    return with(Spaces::Had, [&] {
               Cell cell(options_for(folder.path));
               return cell.posture().text();
           }).find("no user namespaces here") == std::string::npos;
}

}  // namespace

TEST_CASE("shared: a kernel without Landlock is refused, and the reason names it") {
    Folder folder;
    for (const Spaces spaces : kBoth) {
        const std::string why = with(spaces, [&]() -> std::string {
            take_away(SYS_landlock_create_ruleset, ENOSYS);
            Cell cell(options_for(folder.path));
            return "made";
        });
        CHECK_MESSAGE(holds(why, "threw: cell: posture shared needs Landlock"), why);
    }
}

TEST_CASE("shared: what is cut from long output is in a file that tools read and cannot change") {
    for (const Spaces spaces : kBoth) {
        Folder folder;
        Folder cache;
        const std::string all = with(spaces, [&] {
            CellOptions options = options_for(folder.path);
            options.folder = cache.path + "/local";
            Cell cell(options);
            const CommandResult result = cell.shell({"seq 100000", Seconds(20)}).run();
            const std::string& kept = result.kept_output;
            std::string text = "kept in " + kept + "\n" + std::to_string(result.output.size() < 60'000);
            text += said(cell, "head -n 1 " + kept + "; tail -n 1 " + kept + "; wc -l <" + kept);
            text += said(cell, "for act in 'echo x >>" + kept + "' 'rm " + kept + "' 'mv " + kept + " " + kept +
                                   "2' 'touch " + cache.path + "/local/output/new'; do sh -c \"$act\" 2>/dev/null && "
                                   "echo \"worked: $act\"; done; wc -l <" + kept);
            return text;
        });
        CHECK_MESSAGE(all.starts_with("kept in " + cache.path + "/local/output/out-000001.txt\n1"), all);
        CHECK_MESSAGE(all.ends_with("1\n100000\n100000\n100000\n"), all);
    }
}

TEST_CASE("shared: a folder of kept output that tools could write is not used, and the posture says so") {
    Folder folder;
    for (const Spaces spaces : kBoth) {
        const std::string all = with(spaces, [&] {
            CellOptions options = options_for(folder.path);
            options.folder = folder.path + "/.cache/local";
            Cell cell(options);
            return cell.shell({"seq 100000", Seconds(20)}).run().kept_output + cell.posture().text();
        });
        CHECK_MESSAGE(all.starts_with("shared, "), all);
        CHECK_MESSAGE(holds(all, "what is cut from long output is not kept"), all);
    }
}

TEST_CASE("shared: where a tool has put a link for kept output, nothing is kept and nothing behind it read") {
    Folder folder;
    for (const Spaces spaces : kBoth)
        for (const char* link : {"/local", "/local/output"}) {
            Folder cache, secret;
            std::filesystem::create_directory(secret.path + "/output");
            for (const char* file : {"/key", "/output/key"}) std::ofstream(secret.path + file) << "canary-5";
            if (link == std::string("/local/output")) std::filesystem::create_directory(cache.path + "/local");
            std::filesystem::create_symlink(secret.path, cache.path + link);
            for (const std::string& path : {secret.path, secret.path + "/output", cache.path, cache.path + "/local"})
                give_to_ordinary_user(path);
            const std::string all = with(spaces, [&] {
                CellOptions options = options_for(folder.path);
                options.folder = cache.path + "/local";
                Cell cell(options);
                const std::string kept = cell.shell({"seq 100000", Seconds(20)}).run().kept_output;
                return kept + cell.posture().text() + said(cell, "cat " + secret.path + "/key " + secret.path +
                                                                     "/output/key " + cache.path + "/local/output/key");
            });
            CHECK_MESSAGE(all.starts_with("shared, "), all);
            CHECK_MESSAGE(holds(all, "what is cut from long output is not kept"), all);
            CHECK_MESSAGE(!holds(all, "canary-5"), all);
        }
}

TEST_CASE("shared: what is hidden does not lie within kept output where it cannot be covered") {
    Folder folder, cache;
    const std::string why = with(Spaces::Missing, [&] {
        CellOptions options = options_for(folder.path);
        options.folder = cache.path + "/local";
        options.hidden = {cache.path + "/local/output/state"};
        Cell cell(options);
        return cell.posture().text();
    });
    CHECK_MESSAGE(holds(why, "/local/output/state: lies within"), why);
}

TEST_CASE("shared: forbidden effects were tried, and the posture says what is not given") {
    Folder folder;
    for (const Spaces spaces : kBoth) {
        const std::string text = with(spaces, [&] {
            Cell cell(options_for(folder.path));
            return std::to_string(cell.posture().probes) + " " + cell.posture().text();
        });
        CHECK(std::atoi(text.c_str()) >= 20);
        CHECK(holds(text, "no VM"));
        CHECK(holds(text, "no way out for tools"));
        if (spaces == Spaces::Missing) CHECK(holds(text, "no user namespaces here"));
    }
}

TEST_CASE("shared: the workspace and scratch are written, the person's own files not even read") {
    for (const Spaces spaces : kBoth) {
        Folder work, person("/var/tmp");
        write_file_atomic(person.path + "/key", "canary", 0600);
        const std::string out = with(spaces, [&] {
            CellOptions options = options_for(work.path);
            options.hidden = {person.path};
            Cell cell(options);
            return said(cell,
                        "echo 1 > f; mkdir d; echo 2 > $HOME/g; echo 3 > $TMPDIR/h; "
                        "cat f $HOME/g $TMPDIR/h; printf '#!/bin/sh\\necho ran\\n' > x; "
                        "chmod +x x; ./x; cat " +
                            person.path + "/key; echo no > " + person.path +
                            "/new; cat /etc/passwd | grep -c root; ls /home /root; "
                            "echo no > /var/tmp/peacrab-outside");
        });
        CHECK_MESSAGE(holds(out, "1\n2\n3\nran\n"), out);
        CHECK_FALSE(holds(out, "canary"));
        CHECK_FALSE(std::filesystem::exists(person.path + "/new"));
        CHECK_FALSE(std::filesystem::exists("/var/tmp/peacrab-outside"));
        CHECK(holds(out, "Permission denied"));
    }
}

TEST_CASE("shared: hidden folders in a workspace are refused where they cannot be covered") {
    Folder work;
    make_directories(work.path + "/.config/peacrab", 0700);
    write_file_atomic(work.path + "/.config/peacrab/key", "canary", 0600);
    const auto look = [&] {
        CellOptions options = options_for(work.path);
        options.hidden = {work.path + "/.config/peacrab"};
        Cell cell(options);
        return said(cell, "cat .config/peacrab/key; ls -A .config/peacrab");
    };
    CHECK(holds(with(Spaces::Missing, look), "start in another folder"));
    CHECK_FALSE(holds(with(Spaces::Had, look), "canary"));
}

TEST_CASE("shared: a later call may look into and end what an earlier one left running") {
    for (const Spaces spaces : kBoth) {
        Folder folder;
        const std::string out = with(spaces, [&]() -> std::string {
            Cell cell(options_for(folder.path));
            Command server =
                cell.shell({"export MARK=here; sh -c 'echo $$ > new; mv new pid; exec "
                            "sleep 1000'",
                            {},
                            ShellCall::User::Root,
                            ShellCall::Life::Background});
            const std::string seen =
                said(cell,
                     "for i in $(seq 200); do test -e pid && break; sleep 0.05; done; "
                     "pid=$(cat pid); "  // which has no environment for a moment, until it is `sleep`
                     "for i in $(seq 200); do tr '\\0' '\\n' < /proc/$pid/environ | grep MARK && break; sleep 0.05; done; "
                     "kill $pid && echo ended");
            return seen + server.run().exit.describe();
        });
        CHECK_MESSAGE(out == "MARK=here\nended\nexit code 143", out);
    }
}

TEST_CASE("shared: what waits for the next command is not seen in /proc, and cannot be looked into") {
    if (!kept_apart()) {
        MESSAGE("skipped: no user namespaces for ordinary users here");
        return;
    }
    const std::string out = with(Spaces::Had, [] {
        Folder folder;
        Cell cell(options_for(folder.path));
        (void)said(cell, "true");
        return said(cell,
                    "sleep 0.2; for each in /proc/[0-9]*; do read name <$each/comm; echo $name; done; n=1; "
                    "while [ $n -lt 300 ]; do [ $n = $$ ] || ! (exec 3</proc/$n/maps) 2>/dev/null || echo in $n; "
                    "n=$((n+1)); done");
    });
    CHECK(out == "sh\n");
}

TEST_CASE("shared: who ends what waits for the next command has ended nothing else") {
    for (const Spaces spaces : kBoth) {
        const std::string out = with(spaces, [] {
            Folder folder;
            Cell cell(options_for(folder.path));
            const auto children = [] {
                const std::string own = "/proc/self/task/" + std::to_string(::getpid()) + "/children";
                return split(read_file_if_exists(own, KiB(4)).value_or(""), ' ');
            };
            std::string all = said(cell, "echo one");
            std::vector<std::string> old = children(), waiting;
            all += said(cell, "echo two");
            // The holder stays; what came since waits.
            for (const Deadline patience = Deadline::in(Seconds(10)); waiting.empty() && !patience.passed();)
                for (const std::string& pid : children())
                    if (!pid.empty() && std::find(old.begin(), old.end(), pid) == old.end()) waiting.push_back(pid);
            for (const std::string& pid : waiting) {
                ::kill(std::stoi(pid), SIGKILL);
                while (!holds(read_file_if_exists("/proc/" + pid + "/stat", KiB(4)).value_or(") Z"), ") Z")) ::usleep(1000);
            }
            return (waiting.empty() ? "none waits " : "") + all + said(cell, "echo three") + said(cell, "echo four");
        });
        CHECK(out == "one\ntwo\nthree\nfour\n");
    }
}

TEST_CASE("shared: nobody outlives a call, whoever ends its keeper") {
    Folder folder;
    const std::string out = with(Spaces::Had, [&] {
        Cell cell(options_for(folder.path));
        (void)said(cell,
                   "exec 9>lock; flock 9; setsid sleep 1000 & kill -STOP $PPID; "
                   "kill -9 $PPID; sleep 1000");
        return said(cell, "flock -n lock echo free");
    });
    if (!has_spaces()) return;  // without a pid namespace there is nobody to end them all
    CHECK(out == "free\n");
}

TEST_CASE("shared: with a proxy in the environment it is the only way out") {
    for (const Spaces spaces : kBoth) {
        if (spaces == Spaces::Missing && landlock_version() < 4) continue;
        Folder folder;
        const auto says = [](const char* word) {
            return [word](Connection& connection) {
                (void)connection.request();
                connection.send(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n");
                connection.send(word);
            };
        };
        LoopbackServer proxy({says("proxy")}), other({says("other")});
        const std::string out = with(spaces, [&] {
            ::setenv("HTTPS_PROXY", proxy.url().c_str(), 1);
            Cell cell(options_for(folder.path));
            return said(cell,
                        "python3 -c '\nimport os, urllib.request as u\n"
                        "print(u.urlopen(\"http://example.invalid/\").read().decode())\n'; "
                        "python3 -c '\nimport urllib.request as u\n"
                        "o = u.build_opener(u.ProxyHandler({}))\n"
                        "print(o.open(\"" +
                            other.url() + "\").read().decode())\n' 2>&1 | tail -n 1");
        });
        CHECK_MESSAGE(out.starts_with("proxy\n"), out);
        CHECK_FALSE(holds(out, "other\n"));
        CHECK(holds(out, "refused") != holds(out, "denied"));
    }
}

TEST_CASE("shared: with a proxy that asks for a password tools have no way out, which is said") {
    const Folder folder;
    give_to_ordinary_user(folder.path);
    const std::string out = as_ordinary_user([&] {
        ::setenv("HTTPS_PROXY", "http://someone:geheim@127.0.0.1:9", 1);
        Cell cell(options_for(folder.path));
        return cell.posture().text() + said(cell, "env; echo works");
    });
    CHECK(holds(out, "no way out for tools (cell: the environment's proxy: asks for a password"));
    CHECK(holds(out, "works"));
    CHECK_FALSE(holds(out, "geheim"));
}

TEST_CASE("shared: a proxy that cannot be used is an error, not a way around it") {
    const auto parsed = [](const char* text) {
        return as_ordinary_user([&]() -> std::string {
            ::setenv("HTTPS_PROXY", text, 1);
            const auto proxy = proxy_of_environment();
            return proxy ? proxy->url() : "none";
        });
    };
    CHECK(parsed("") == "none");
    CHECK(parsed("http://proxy:3128") == "http://proxy:3128");
    CHECK(parsed("proxy:3128/") == "http://proxy:3128");
    CHECK(parsed("http://[::1]:8080") == "http://[::1]:8080");
    CHECK(parsed("http://proxy") == "http://proxy:80");
    for (const char* text : {"socks5://proxy:1", "http://user:secret@proxy:1", "http://proxy:0",
                             "http://proxy:99999", "http://proxy:1x", "http://:1"}) {
        const std::string why = parsed(text);
        CHECK_MESSAGE(why.starts_with("threw: cell: the environment's proxy"), why);
        CHECK_FALSE(holds(why, "secret"));
    }
}
