// What root needs in somebody else's sandbox, as far as it can be told without one. The rest is tried in a
// VM (tests/e2e/sandbox_test.sh).
#include "launch/sandbox.h"

#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cells/foreign.h"
#include "cells/limits.h"
#include "error.h"

using namespace peacrab;

namespace {

constexpr uint64_t kAll = (uint64_t{1} << 41) - 1;

constexpr const char* kTable =
    "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
    "cpu\t0\t4\t1\nmemory\t4\t20\t1\nblkio\t0\t1\t1\npids\t0\t1\t0\n";

std::string why_not(const std::string& base) {
    try {
        check_base(base);
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

struct Folder {
    std::string path = "/tmp/peacrab-sandbox.XXXXXX";
    Folder() { REQUIRE(::mkdtemp(path.data())); }
    Folder(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }
};

struct Tree {
    std::string path;
    Tree() {
        char name[] = "/tmp/peacrab-base.XXXXXX";
        path = ::mkdtemp(name);
        for (const char* folder : {"/bin", "/etc"}) ::mkdir((path + folder).c_str(), 0755);
        std::ofstream(path + "/bin/sh") << "#!";
        std::ofstream(path + "/etc/debian_version") << "13.0\n";
        ::chmod((path + "/bin/sh").c_str(), 0755);
        ::chmod(path.c_str(), 0755);
    }
    ~Tree() {
        for (const char* each : {"/bin/sh", "/etc/debian_version", "/bin", "/etc", ""})
            if (::unlink((path + each).c_str()) < 0) ::rmdir((path + each).c_str());
    }
};

}  // namespace

TEST_CASE("sandbox: every right that is missing is named") {
    CHECK(missing_rights(kAll) == "");
    CHECK(missing_rights(kAll & ~(uint64_t{1} << CAP_SYS_ADMIN)) == "CAP_SYS_ADMIN");
    CHECK(missing_rights(kAll & ~(uint64_t{1} << CAP_MKNOD) & ~(uint64_t{1} << CAP_NET_ADMIN)) ==
          "CAP_NET_ADMIN, CAP_MKNOD");
    CHECK(missing_rights(0).find("CAP_SETFCAP") != std::string::npos);
}

TEST_CASE("sandbox: why a controller cannot be had is told apart") {
    CHECK(why_missing("memory", kTable).starts_with("it is bound to version 1"));
    CHECK(why_missing("pids", kTable).starts_with("it is switched off"));
    CHECK(why_missing("io", kTable).starts_with("the sandbox is not given it"));
    CHECK(why_missing("memory", "").starts_with("the sandbox is not given it"));
}

TEST_CASE("sandbox: a base is never the sandbox's own root, by whatever name") {
    CHECK(why_not("/").find("own root") != std::string::npos);
    CHECK(why_not("/proc/self/root").find("own root") != std::string::npos);
    CHECK(why_not("/usr/..").find("own root") != std::string::npos);
}

TEST_CASE("sandbox: a base holds a Debian that only root may write to") {
    CHECK(why_not("/does/not/exist").find("no clean Debian") != std::string::npos);
    CHECK(why_not("/proc").find("holds no Debian") != std::string::npos);
    const Tree tree;
    if (::geteuid() != 0) {
        CHECK(why_not(tree.path).find("others than root") != std::string::npos);
        return;
    }
    CHECK(why_not(tree.path).find("others than root") == std::string::npos);
    ::chmod(tree.path.c_str(), 0775);
    CHECK(why_not(tree.path).find("others than root") != std::string::npos);
}

TEST_CASE("sandbox: a way that others may write to is named, a sticky folder too") {
    CHECK(not_roots_alone("/usr/bin") == "");
    CHECK(not_roots_alone("/usr/not-there/below") == "");
    CHECK(not_roots_alone("/usr/bin/env") == "/usr/bin/env");  // no folder
    const Folder folder;
    ::mkdir((folder.path + "/inner").c_str(), 0755);
    CHECK(not_roots_alone("/tmp") == "/tmp");
    CHECK(not_roots_alone(folder.path + "/inner") == "/tmp");
    CHECK(not_roots_alone("/proc/self/root/tmp") != "");
}

TEST_CASE("sandbox: of memory there is the least of the machine's and of the bounds above us") {
    const Folder tree;
    const uint64_t whole = memory_of(tree.path, "").count;
    CHECK(whole > MiB(64).count);
    std::filesystem::create_directories(tree.path + "/box/own/inner");
    const auto bound = [&](const char* group, const std::string& text) {
        std::ofstream(tree.path + group + "/memory.max") << text << "\n";
    };
    bound("", "max");
    bound("/box/own", "max");
    bound("/box/own/inner", "9999999999999999");
    CHECK(memory_of(tree.path, "/box/own/inner").count == whole);
    bound("/box", "67108864");
    CHECK(memory_of(tree.path, "/box/own/inner").count == MiB(64).count);
    CHECK(memory_of(tree.path, "/box/own").count == MiB(64).count);
    CHECK(memory_of(tree.path, "/").count == whole);
    bound("", "33554432");
    CHECK(memory_of(tree.path, "/").count == MiB(32).count);
    CHECK(memory_of(tree.path, "/box/own").count == MiB(32).count);
}

TEST_CASE("sandbox: traffic of a partition is bounded on its whole disk") {
    const Folder sys;
    std::filesystem::create_directories(sys.path + "/devices/vda/vda1");
    std::filesystem::create_directories(sys.path + "/dev");
    std::ofstream(sys.path + "/devices/vda/dev") << "254:0\n";
    std::ofstream(sys.path + "/devices/vda/vda1/dev") << "254:1\n";
    std::ofstream(sys.path + "/devices/vda/vda1/partition") << "1\n";
    std::filesystem::create_symlink("../devices/vda", sys.path + "/dev/254:0");
    std::filesystem::create_symlink("../devices/vda/vda1", sys.path + "/dev/254:1");
    CHECK(whole_disk("254:1", sys.path + "/dev") == "254:0");
    CHECK(whole_disk("254:0", sys.path + "/dev") == "254:0");
    CHECK(whole_disk("7:3", sys.path + "/dev") == "7:3");  // no sysfs here
}

TEST_CASE("sandbox: the posture says whose kernel it is, and where the way out leads") {
    ::unsetenv("https_proxy");
    ::unsetenv("HTTP_PROXY");
    ::unsetenv("http_proxy");
    const auto way = [] { return lacks_of_a_sandbox().at(1); };
    ::unsetenv("HTTPS_PROXY");
    CHECK(lacks_of_a_sandbox().at(0).find("the kernel is the sandbox's own") != std::string::npos);
    CHECK(way().find("no way out for tools (the environment names no proxy)") == 0);
    ::setenv("HTTPS_PROXY", "http://127.0.0.1:8118", 1);
    CHECK(way() == "where tools may go, the environment's proxy says");
    ::setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:8118", 1);
    CHECK(way().find("asks for a password") != std::string::npos);
    CHECK(way().find("secret") == std::string::npos);
    ::unsetenv("HTTPS_PROXY");
}
