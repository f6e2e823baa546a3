#include "os.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "../support/folder.h"
#include "error.h"

using namespace peacrab;
using namespace peacrab::test;

TEST_CASE("os: a file is replaced whole or not at all, and its mode is the one asked for") {
    Folder folder;
    const std::string file = folder.path + "/f";
    write_file_atomic(file, "one", 0600);
    write_file_atomic(file, "two", 0600);
    CHECK(read_file(file, KiB(1)) == "two");
    struct stat info;
    REQUIRE(::stat(file.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK_THROWS_AS(write_file_atomic(folder.path + "/no/f", "x", 0600), ErrnoError);
    CHECK_THROWS_AS((void)read_file(file, Bytes{2}), Error);
    CHECK_FALSE(read_file_if_exists(folder.path + "/none", KiB(1)).has_value());
}

TEST_CASE("os: a dropped child is killed and reaped") {
    pid_t pid = ::fork();
    if (pid == 0) {
        ::pause();
        ::_exit(0);
    }
    { Pidfd child = Pidfd::of_child(pid); }
    CHECK(::kill(pid, 0) < 0);
}

TEST_CASE("os: the default child exit is not success, the default deadline has passed") {
    CHECK_FALSE(ChildExit().ok());
    CHECK(Deadline().passed());
    CHECK_FALSE(Deadline::never().passed());
    CHECK(Deadline::in(Milliseconds(10'000)).poll_timeout() > 9'000);
}

TEST_CASE("os: a child's exit code and its signal are told apart") {
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(3);
    CHECK(Pidfd::of_child(pid).wait().describe() == "exit code 3");
    pid = ::fork();
    if (pid == 0) {
        ::raise(SIGKILL);
        ::_exit(0);
    }
    CHECK(Pidfd::of_child(pid).wait().describe() == "killed by signal 9");
}

TEST_CASE("os: hostile bytes become visible before they reach a terminal") {
    CHECK(printable("a\x1b[2Jb\r") == "a\\x1b[2Jb\\x0d");
    CHECK(printable("gr\xc3\xbcn\n\t") == "gr\xc3\xbcn\n\t");
    CHECK(printable("\xe2\x80\xae"
                    "evil") == "\\u{202e}evil");
    CHECK(printable("\xc2\x9b"
                    "1m") == "\\x9b1m");
    CHECK(printable("\xff") == "\\xff");
}

TEST_CASE("os: a descriptor travels over a socket; end of file gives none") {
    SocketPair pair = SocketPair::seqpacket();
    Pipe pipe = Pipe::make();
    send_fd(pair.ours.get(), pipe.write.get());
    UniqueFd received = receive_fd(pair.theirs.get());
    REQUIRE(received);
    write_all(received.get(), "x");
    char byte;
    CHECK(read_some(pipe.read.get(), {&byte, 1}) == 1);
    CHECK((::fcntl(received.get(), F_GETFD) & FD_CLOEXEC) != 0);
    pair.ours.reset();
    CHECK_FALSE(receive_fd(pair.theirs.get()));
}

TEST_CASE("os: a text in memory is read from its beginning, whole") {
    const std::string text = std::string(200'000, 'x') + '\0' + "end";
    const UniqueFd file = in_memory(text);
    CHECK((::fcntl(file.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(read_all(file.get(), text.size()) == text);
    CHECK(read_all(file.get(), 10).empty());
    CHECK(read_all(in_memory("").get(), 10).empty());
}

TEST_CASE("os: of what is longer than its bound one byte more is read, and no further") {
    const UniqueFd file = in_memory(std::string(100'000, 'x'));
    CHECK(read_all(file.get(), 70'000).size() == 70'001);
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 70'001);
    CHECK(read_all(in_memory("abc").get(), 3) == "abc");
    CHECK(read_all(in_memory("abc").get(), 0) == "a");
    CHECK(read_all(in_memory("abc").get(), SIZE_MAX) == "abc");
    CHECK_THROWS_AS((void)read_all(-1, 10), ErrnoError);
}

TEST_CASE("os: a real path has no links in it; what is not there has none") {
    Folder folder;
    make_directories(folder.path + "/a/b");
    REQUIRE(::symlink("a/b", (folder.path + "/link").c_str()) == 0);
    CHECK(real_path(folder.path + "/link/../b/.") == folder.path + "/a/b");
    CHECK_FALSE(real_path(folder.path + "/none"));
    CHECK(errno == ENOENT);
    CHECK(require_real_path("x", folder.path + "/link") == folder.path + "/a/b");
    CHECK_THROWS_WITH((void)require_real_path("x", "/none\x1b"), "x: /none\\x1b: No such file or directory");
}

TEST_CASE("os: within a folder is what lies beneath it, not what only begins like it") {
    CHECK(is_within("/a/b", "/a/b"));
    CHECK(is_within("/a/b/c", "/a/b"));
    CHECK_FALSE(is_within("/a/bc", "/a/b"));
    CHECK_FALSE(is_within("/a", "/a/b"));
    CHECK(is_within("/a", "/"));
    CHECK(is_within("/", "/"));
    CHECK_FALSE(is_within("", "/"));
    CHECK_FALSE(is_within("/a", ""));
}

TEST_CASE("os: what is opened keeps to how it may be resolved") {
    Folder folder;
    make_directories(folder.path + "/a");
    write_file_atomic(folder.path + "/f", "f", 0600);
    REQUIRE(::symlink("../f", (folder.path + "/a/up").c_str()) == 0);
    const UniqueFd root = open_resolved(AT_FDCWD, (folder.path + "/a").c_str(), O_PATH | O_DIRECTORY, 0);
    REQUIRE(root);
    CHECK((::fcntl(root.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(read_all(open_resolved(root.get(), "up", O_RDONLY, 0).get(), 10) == "f");
    CHECK_FALSE(open_resolved(root.get(), "up", O_RDONLY, RESOLVE_BENEATH));
    CHECK(errno == EXDEV);
    CHECK_FALSE(open_resolved(root.get(), "up", O_RDONLY, RESOLVE_NO_SYMLINKS));
    CHECK(errno == ELOOP);
    CHECK_FALSE(open_resolved(root.get(), "../f", O_RDONLY, RESOLVE_BENEATH));
}

TEST_CASE("os: a text is cut between its characters, and one that is no UTF-8 is cut all the same") {
    const std::string text = "a\xc3\xbc\xf0\x9f\xa6\x80z";  // 1, 2, 4 and 1 bytes
    const size_t ends[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8};
    for (size_t most = 0; most < std::size(ends); ++most) CHECK(utf8_prefix(text, most) == text.substr(0, ends[most]));
    CHECK(utf8_prefix("\xc3\xbc", 1).empty());
    const std::string torn(100, '\x80');
    CHECK(utf8_prefix(torn, 50).size() == 50);
    CHECK(utf8_prefix(torn, 1).size() == 1);
    CHECK(utf8_prefix("", 0).empty());
}

TEST_CASE("os: bytes as digits, and the hash of a text") {
    CHECK(hex_digits(std::string_view("\x00\x0f\xff", 3)) == "000fff");
    CHECK(random_hex(8).size() == 16);
    // The tables of the FNV-1a draft.
    CHECK(text_hash("") == 0xcbf29ce484222325u);
    CHECK(text_hash("a") == 0xaf63dc4c8601ec8cu);
    CHECK(text_hash("foobar") == 0x85944171f73967e8u);
}
