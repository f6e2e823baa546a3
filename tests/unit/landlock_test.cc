#include "landlock.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "error.h"

using namespace peacrab;

namespace {

const bool kMissing = landlock_version() < 1;

// What became of `act` under the rules: its value, or minus the signal that ended it.
int under(const LandlockRules& rules, const std::function<int()>& act) {
    const UniqueFd ruleset = landlock_ruleset(rules, 1);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ::_exit(250);
        ::_exit(landlock_restrict(ruleset.get()) ? act() : 251);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int opened(const std::string& path, int flags) {
    const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC, 0600));
    return file ? 0 : errno;
}

struct Folder {
    Folder() {
        char name[] = "/tmp/peacrab-landlock-XXXXXX";
        REQUIRE(::mkdtemp(name));
        path = name;
        for (const char* part : {"/write", "/read", "/other"}) {
            ::mkdir((path + part).c_str(), 0700);
            write_file_atomic(path + part + "/f", "#!/bin/true\n", 0755);
        }
    }
    ~Folder() { REQUIRE(std::system(("rm -rf " + path).c_str()) == 0); }
    std::string path;
};

UniqueFd listener(uint16_t& port) {
    UniqueFd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(made.get(), 8) == 0);
    REQUIRE(::getsockname(made.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port = ntohs(at.sin_port);
    return made;
}

int dialled(uint16_t port) {
    const UniqueFd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ? 0 : errno;
}

}  // namespace

TEST_CASE("landlock: a kernel that has too little of it is refused") {
    CHECK_THROWS_AS((void)landlock_ruleset({}, 1000), const Error&);
}

TEST_CASE("landlock: only the named paths are left, each for what it is named for" *
          doctest::skip(kMissing)) {
    const Folder folder;
    LandlockRules rules;
    rules.write = {folder.path + "/write"};
    rules.read = {folder.path + "/read", folder.path + "/missing"};
    CHECK(under(rules, [&] { return opened(folder.path + "/write/new", O_WRONLY | O_CREAT); }) ==
          0);
    CHECK(under(rules, [&] { return opened(folder.path + "/write/f", O_RDWR); }) == 0);
    CHECK(under(rules, [&] { return opened(folder.path + "/read/f", O_RDONLY); }) == 0);
    CHECK(under(rules, [&] { return opened(folder.path + "/read/f", O_WRONLY); }) == EACCES);
    CHECK(under(rules, [&] { return opened(folder.path + "/read/n", O_WRONLY | O_CREAT); }) ==
          EACCES);
    CHECK(under(rules, [&] { return opened(folder.path + "/other/f", O_RDONLY); }) == EACCES);
    CHECK(under(rules, [&] { return opened("/etc/passwd", O_RDONLY); }) == EACCES);
    CHECK(under(rules, [&] {
              const std::string from = folder.path + "/other/f", to = folder.path + "/write/g";
              return ::link(from.c_str(), to.c_str()) == 0 ? 0 : 1;
          }) == 1);
}

TEST_CASE("landlock: a program runs only from where it may, or where that is left to the filter" *
          doctest::skip(kMissing)) {
    const auto start = [] {
        ::execl("/bin/true", "true", nullptr);
        return errno;
    };
    LandlockRules rules;
    rules.read = {"/"};
    CHECK(under(rules, start) == EACCES);
    rules.executing = LandlockRules::Execute::Any;
    CHECK(under(rules, start) == 0);
    rules.executing = LandlockRules::Execute::Listed;
    rules.execute = {"/usr", "/bin", "/lib", "/lib64"};
    CHECK(under(rules, start) == 0);
}

TEST_CASE("landlock: no port but a listed one is reached, and none is bound" *
          doctest::skip(landlock_version() < 4)) {
    uint16_t open = 0, other = 0;
    const UniqueFd one = listener(open), two = listener(other);
    LandlockRules rules;
    CHECK(under(rules, [&] { return dialled(open); }) == EACCES);
    rules.tcp = LandlockRules::Tcp::Listed;
    rules.ports = {open};
    CHECK(under(rules, [&] { return dialled(open); }) == 0);
    CHECK(under(rules, [&] { return dialled(other); }) == EACCES);
    CHECK(under(rules, [&] {
              const UniqueFd made(::socket(AF_INET, SOCK_STREAM, 0));
              sockaddr_in at{};
              at.sin_family = AF_INET;
              return ::bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) ? errno : 0;
          }) == EACCES);
    rules.tcp = LandlockRules::Tcp::Any;
    CHECK(under(rules, [&] { return dialled(other); }) == 0);
}

TEST_CASE("landlock: nobody outside can be signalled, nor an abstract socket of theirs reached" *
          doctest::skip(landlock_version() < kGuestLandlock)) {
    const pid_t parent = ::getpid();
    CHECK(under({}, [=] { return ::kill(parent, 0) == 0 ? 0 : errno; }) == EPERM);
    const UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    const std::string name = std::string(1, '\0') + "peacrab-test-" + std::to_string(parent);
    std::memcpy(at.sun_path, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    const auto* address = reinterpret_cast<const sockaddr*>(&at);
    REQUIRE(::bind(server.get(), address, size) == 0);
    REQUIRE(::listen(server.get(), 1) == 0);
    CHECK(under({}, [&] {
              const UniqueFd made(::socket(AF_UNIX, SOCK_STREAM, 0));
              return ::connect(made.get(), address, size) == 0 ? 0 : errno;
          }) == EPERM);
}

TEST_CASE("landlock: a process traces nobody outside" * doctest::skip(kMissing)) {
    const pid_t parent = ::getpid();
    CHECK(under({}, [=] {
              const std::string memory = "/proc/" + std::to_string(parent) + "/mem";
              return opened(memory, O_RDONLY);
          }) == EACCES);
    LandlockRules rules;
    rules.read = {"/proc"};
    CHECK(under(rules, [=] {
              return opened("/proc/" + std::to_string(parent) + "/mem", O_RDONLY);
          }) == EACCES);
}
