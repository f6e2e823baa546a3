#include "config/secrets.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "error.h"

using namespace peacrab;

namespace {

// A folder of its own below /tmp, removed with the object.
struct Folder {
    Folder() {
        char name[] = "/tmp/peacrab-secrets-XXXXXX";
        path = mkdtemp(name);
    }
    ~Folder() {
        for (const char* file : {"/anthropic", "/anthropic.command", "/target"}) unlink((secrets() + file).c_str());
        rmdir(secrets().c_str());
        rmdir(path.c_str());
    }
    std::string secrets() const { return path + "/secrets"; }
    std::string path;
};

mode_t mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    return status.st_mode & 0777;
}

void plant(const std::string& path, std::string_view text, mode_t mode) {
    const UniqueFd file(open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600));
    write_all(file.get(), text);
    REQUIRE(fchmod(file.get(), mode) == 0);
}

}  // namespace

TEST_CASE("secrets: what is written is read, the file is 0600 in a folder 0700") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    CHECK_FALSE(store.exists("anthropic"));
    CHECK_FALSE(store.read("anthropic"));
    store.write("anthropic", Secret("sk-ant-one"));
    store.write("anthropic", Secret("sk-ant-two"));
    CHECK(store.exists("anthropic"));
    CHECK(store.read("anthropic")->reveal() == "sk-ant-two");
    CHECK(mode_of(folder.secrets()) == 0700);
    CHECK(mode_of(folder.secrets() + "/anthropic") == 0600);
    store.remove("anthropic");
    store.remove("anthropic");
    CHECK_FALSE(store.read("anthropic"));
}

TEST_CASE("secrets: a command says it each time, and one that fails or says what is no key is told") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    store.write("anthropic", Secret("sk-ant-file"));
    store.write_command("anthropic", "printf 'sk-%s\\n' \"$((40 + 2))\"");
    CHECK(store.exists("anthropic"));
    CHECK(mode_of(folder.secrets() + "/anthropic.command") == 0600);
    CHECK(store.read("anthropic")->reveal() == "sk-42");  // the file does not stand in front of it
    store.write_command("anthropic", "echo sk-partly; exit 3");
    CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("exit code 3"), Error);
    store.write_command("anthropic", "sleep 100 & echo sk-left-behind");
    CHECK(store.read("anthropic")->reveal() == "sk-left-behind");
    store.write_command("anthropic", "true");
    CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("empty"), Error);
    store.write_command("anthropic", "head -c 9000 /dev/zero | tr '\\0' x");
    CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("too long"), Error);
    store.write_command("anthropic", "echo sk-ours");
    REQUIRE(chmod((folder.secrets() + "/anthropic.command").c_str(), 0620) == 0);
    CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("chmod 600"), Error);
    CHECK_THROWS_AS(store.write_command("anthropic", ""), Error);
    store.write("anthropic", Secret("sk-ant-file"));
    CHECK(store.read("anthropic")->reveal() == "sk-ant-file");
    store.remove("anthropic");
    CHECK_FALSE(store.exists("anthropic"));
}

TEST_CASE("secrets: a file others can read is refused, with the command that mends it") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    store.write("anthropic", Secret("sk-ant-one"));
    for (const mode_t mode : {0640U, 0604U, 0620U, 0602U}) {
        REQUIRE(chmod((folder.secrets() + "/anthropic").c_str(), mode) == 0);
        CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("chmod 600"), Error);
    }
}

TEST_CASE("secrets: a folder others can write in is refused for reading and for writing") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    store.write("anthropic", Secret("sk-ant-one"));
    REQUIRE(chmod(folder.secrets().c_str(), 0770) == 0);
    CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("chmod 700"), Error);
    CHECK_THROWS_AS(store.write("anthropic", Secret("sk-ant-two")), Error);
}

TEST_CASE("secrets: a symlink, a fifo and a file of another user are refused") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    const std::string file = folder.secrets() + "/anthropic";
    make_directories(folder.secrets());
    plant(folder.secrets() + "/target", "sk-ant-one", 0600);
    REQUIRE(symlink("target", file.c_str()) == 0);
    CHECK_THROWS_AS(store.read("anthropic"), Error);
    REQUIRE(unlink(file.c_str()) == 0);
    REQUIRE(mkfifo(file.c_str(), 0600) == 0);
    CHECK_THROWS_AS(store.read("anthropic"), Error);
    REQUIRE(unlink(file.c_str()) == 0);
    if (geteuid() == 0) {  // only root can give a file away
        plant(file, "sk-ant-one", 0600);
        REQUIRE(chown(file.c_str(), 1234, 1234) == 0);
        CHECK_THROWS_WITH_AS(store.read("anthropic"), doctest::Contains("another user"), Error);
    }
}

TEST_CASE("secrets: one line break at the end is not part of a key, one inside makes it none") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    make_directories(folder.secrets());
    const std::string file = folder.secrets() + "/anthropic";
    plant(file, "sk-ant-one\r\n", 0600);
    CHECK(store.read("anthropic")->reveal() == "sk-ant-one");
    for (const char* text : {"", "\n", "two words", "a\r\nx-evil: 1", "caf\xc3\xa9-key"}) {
        plant(file, text, 0600);
        CHECK_THROWS_AS(store.read("anthropic"), Error);
        CHECK_THROWS_AS(store.write("anthropic", Secret(text)), Error);
    }
    plant(file, std::string(kMaxSecret.count + 1, 'k'), 0600);
    CHECK_THROWS_AS(store.read("anthropic"), Error);
}

TEST_CASE("secrets: a name cannot leave the folder") {
    const Folder folder;
    const SecretStore store(folder.secrets());
    for (const char* name : {"", ".", "..", "../x", "a/b", "A", "a b", "/etc/passwd"}) {
        CHECK_THROWS_AS(store.read(name), Error);
        CHECK_THROWS_AS(store.write(name, Secret("sk-ant-one")), Error);
        CHECK_THROWS_AS(store.remove(name), Error);
    }
}
