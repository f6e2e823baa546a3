// Who fills the state disk fills it for himself: a turn process that writes its journals full, with the
// right to the blocks that are held back, and agents that use every file there is.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>

#include "cell_fixture.h"
#include "cells/quota.h"
#include "sessions/journal.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

constexpr gid_t kHeldBackFor = 2000;  // launch/boot
constexpr const char* kFill = "/state/fill";

struct statvfs disk_at(const std::string& path = "/state") {
    struct statvfs info;
    REQUIRE(::statvfs(path.c_str(), &info) == 0);
    return info;
}

// What `act` gives in a child with those ids and no rights.
int as(uid_t uid, gid_t group, const std::function<int()>& act) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (::setgroups(1, &group) < 0 || ::setresgid(uid, uid, uid) < 0 || ::setresuid(uid, uid, uid) < 0)
            ::_exit(255);
        ::_exit(act());
    }
    return Pidfd::of_child(pid).wait().code;
}

// All that an agent could take, as fast as the file system gives it.
void fill_the_disk() {
    REQUIRE(::mkdir(kFill, 0777) == 0);
    REQUIRE(::chmod(kFill, 0777) == 0);
    CHECK(as(54321, 54321, [] {
        const int file = ::open("/state/fill/all", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        off_t size = 0;
        for (off_t step = off_t{64} << 20; step >= 4096; step /= 2)
            while (::fallocate(file, 0, size, step) == 0) size += step;
        return errno == ENOSPC ? 0 : 1;
    }) == 0);
}

std::string journals_of(uint32_t slot) {
    const std::string folder = "/state/journals-" + std::to_string(slot);
    make_directories(folder, 0700);
    REQUIRE(::chown(folder.c_str(), 2000 + slot, kHeldBackFor) == 0);
    return folder;
}

// A turn process that was taken over: it writes until it may not. Its errno, and how much there is.
int write_all_it_may(const std::string& journals, uint32_t slot) {
    return as(2000 + slot, kHeldBackFor, [&] {
        static const char block[65536] = {1};
        const int file = ::open((journals + "/s1.db-wal").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0) return errno;
        while (::write(file, block, sizeof block) > 0) {
        }
        return errno;
    });
}

uint64_t size_of(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

}  // namespace

TEST_CASE("quota: a turn cannot take what a full disk holds back, and a neighbour's message is stored") {
    const std::string mine = journals_of(501), next = journals_of(502);
    (void)hold_journals(mine, 501);
    (void)hold_journals(next, 502);
    fill_the_disk();
    const struct statvfs full = disk_at();
    const uint64_t held = uint64_t{full.f_bfree} * full.f_frsize;
    CHECK(full.f_bavail * full.f_frsize < MiB(1).count);
    REQUIRE(held > MiB(8).count);
    // However often a turn begins anew.
    for (int turn = 0; turn < 20; ++turn) {
        CHECK(hold_journals(mine, 501) <= MiB(16));
        CHECK(write_all_it_may(mine, 501) == EDQUOT);
    }
    CHECK(size_of(mine + "/s1.db-wal") > KiB(512).count);
    CHECK(size_of(mine + "/s1.db-wal") <= uint64_t{full.f_blocks} * full.f_frsize / 180);  // of a hundredth
    CHECK(disk_at().f_bfree * disk_at().f_frsize > held / 2);
    // The warden and the neighbour's turn go on.
    WardenStore store("/state/test-warden.db", Durability::PowerLoss);
    const SessionRow session = store.current_session("neighbour", "terminal");
    const int64_t turn = store.begin_turn(session.id);
    store.add_message(turn, "terminal", "m1", std::string(100'000, 'x'));
    CHECK(store.messages(turn).size() == 1);
    (void)hold_journals(next, 502);
    CHECK(as(2502, kHeldBackFor, [&] {
        try {
            Journal journal(next + "/s2.db", Durability::PowerLoss);
            journal.append(Entry{Entry::Kind::User, "t2", {}, "make room", {}, Outcome::Failed});
            return journal.entries().size() == 1 ? 0 : 1;
        } catch (const Error&) {
            return 2;
        }
    }) == 0);
    // With room, it may go on as well.
    REQUIRE(::unlink("/state/fill/all") == 0);
    REQUIRE(::rmdir(kFill) == 0);
    ::sync();  // until then it is not free
    const uint64_t before = size_of(mine + "/s1.db-wal");
    CHECK(hold_journals(mine, 501) == MiB(256));
    CHECK(write_all_it_may(mine, 501) == EDQUOT);
    CHECK(size_of(mine + "/s1.db-wal") > before);
}

TEST_CASE("quota: a journal that may not grow says what to do") {
    const std::string folder = journals_of(503);
    (void)hold_journals(folder, 503);
    (void)write_all_it_may(folder, 503);
    CHECK(as(2503, kHeldBackFor, [&] {
        try {
            Journal journal(folder + "/s3.db", Durability::PowerLoss);
            return 1;
        } catch (const Error& error) {
            const std::string why = error.what();
            return why.find("make room, then say it again") != std::string::npos ? 0 : 2;
        }
    }) == 0);
}

TEST_CASE("quota: a turn cannot use up the files, nor take another's journals into its own") {
    const std::string folder = journals_of(504);
    { std::ofstream(folder + "/left.db") << std::string(100'000, 'x'); }  // by an earlier version
    (void)hold_journals(folder, 504);
    CHECK(disk_at(folder).f_files == 64 + 2);  // of the project: the folder and that one
    CHECK(as(2504, kHeldBackFor, [&] {
        for (int i = 0; i < 1000; ++i) {
            const int file = ::open((folder + "/f" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (file < 0) return errno == EDQUOT && i == 64 ? 0 : 1;
            ::close(file);
        }
        return 2;
    }) == 0);
}

TEST_CASE("quota: all agents together leave some files for the warden") {
    const auto folder_of = [](uint32_t project) {
        const std::string path = "/state/files-" + std::to_string(project);
        make_directories(path, 0700);
        const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        count_for_project(fd.get(), project);
        return path;
    };
    const UniqueFd disk(::open("/state", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    uint64_t promised = 0;
    const struct statvfs all = disk_at();
    for (const uint32_t project : {601U, 602U, 603U}) {
        const std::string path = folder_of(project);
        CellLimits limits;
        limits.files = share_files(disk.get(), project, all.f_files);
        CHECK(limits.files < all.f_files);
        set_quota(disk.get(), project, limits, Room::Running);
    }
    for (const uint32_t project : {601U, 602U, 603U})
        promised += disk_at("/state/files-" + std::to_string(project)).f_ffree;
    CHECK(promised > all.f_ffree / 16);  // cells of other tests have their shares
    CHECK(promised < all.f_ffree - all.f_files / 64);
    CHECK(share_files(disk.get(), 601, 1000) == 1000);
}
