#include "skills/folders.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "../support/folder.h"
#include "error.h"
#include "os.h"
#include "protocols/tar.h"

using namespace peacrab;
using namespace peacrab::test;
namespace fs = std::filesystem;

namespace {

struct PersonFolder : Folder {
    void file(const std::string& name, const std::string& text, mode_t mode = 0644) const {
        fs::create_directories(fs::path(path + "/" + name).parent_path());
        write_file_atomic(path + "/" + name, text, mode);
    }
    SkillPlaces places() const { return {path + "/own", path + "/bundled", path + "/hooks"}; }
};

std::string packed(const Pack& pack) {
    std::string out;
    write_pack(pack, [&](std::string_view bytes) { out += bytes; });
    return out;
}

std::map<std::string, std::string> contents(const Pack& pack) {
    std::map<std::string, std::string> files;
    std::string* now = nullptr;
    TarReader reader({[&](const TarEntry& entry) {
                          now = nullptr;
                          if (entry.kind == TarEntry::Kind::File)
                              now = &files[entry.path + (entry.mode & 0100 ? "*" : "")];
                      },
                      [&](std::string_view bytes) { now->append(bytes); }});
    reader.feed(packed(pack));
    REQUIRE(reader.ended());
    return files;
}

bool warned(const Pack& pack, const std::string& part) {
    for (const std::string& warning : pack.warnings)
        if (warning.find(part) != std::string::npos) return true;
    return false;
}

}  // namespace

TEST_CASE("skill folders: the person's skill wins over the bundled one of the same name, and comes first") {
    const PersonFolder folder;
    folder.file("own/b/SKILL.md", "mine");
    folder.file("own/README", "beside them");
    folder.file("bundled/a/SKILL.md", "theirs");
    folder.file("bundled/b/SKILL.md", "theirs too");
    folder.file("bundled/b/more", "theirs too");
    folder.file("hooks/check.sh", "#!/bin/sh", 0755);
    const Pack pack = find_pack(folder.places());
    REQUIRE(pack.skills.size() == 2);
    CHECK(pack.skills[0].name == "b");
    CHECK(pack.skills[0].own);
    CHECK(pack.skills[1].name == "a");
    CHECK_FALSE(pack.skills[1].own);
    CHECK(contents(pack) == std::map<std::string, std::string>{{"hooks/check.sh*", "#!/bin/sh"},
                                                               {"skills/a/SKILL.md", "theirs"},
                                                               {"skills/b/SKILL.md", "mine"}});
    CHECK(pack.warnings.empty());
}

TEST_CASE("skill folders: where there is nothing, an empty archive") {
    const PersonFolder folder;
    const Pack pack = find_pack(folder.places());
    CHECK(pack.skills.empty());
    CHECK(contents(pack).empty());
    CHECK(contents(find_pack({})).empty());
}

TEST_CASE("skill folders: no link is followed and nothing but files is packed") {
    const PersonFolder folder;
    folder.file("secret", "key");
    folder.file("own/a/SKILL.md", "a");
    fs::create_symlink(folder.path + "/secret", folder.path + "/own/a/link");
    fs::create_directory_symlink("/etc", folder.path + "/own/a/etc");
    fs::create_directory_symlink("/etc", folder.path + "/own/linked");
    fs::create_directory_symlink("/etc", folder.path + "/hooks");
    REQUIRE(::mkfifo((folder.path + "/own/a/pipe").c_str(), 0600) == 0);
    folder.file("own/a/.git/config", "token");
    folder.file("own/.git/config", "token");
    folder.file("own/has space/SKILL.md", "x");
    const Pack pack = find_pack(folder.places());
    CHECK(contents(pack) == std::map<std::string, std::string>{{"skills/a/SKILL.md", "a"}});
    CHECK(warned(pack, "skills/a/link"));
    CHECK(warned(pack, "skills/linked"));
    CHECK(warned(pack, "has space"));
}

TEST_CASE("skill folders: what does not fit is left out whole, and the rest is there") {
    const PersonFolder folder;
    folder.file("own/big/SKILL.md", "x");
    folder.file("own/big/a", std::string(kMaxPacked.count / 2, 'a'));
    folder.file("own/big/b", std::string(kMaxPacked.count / 2, 'b'));
    for (size_t i = 0; i < kMaxPackedFiles; ++i) folder.file("own/many/f" + std::to_string(i), "");
    folder.file("own/deep/1/2/3/4/5/6/7/8/file", "x");
    folder.file("own/small/SKILL.md", "small");
    const Pack pack = find_pack(folder.places());
    CHECK(contents(pack) == std::map<std::string, std::string>{{"skills/small/SKILL.md", "small"}});
    CHECK(warned(pack, "skills/big: left out: all files together are more than 8 MiB"));
    CHECK(warned(pack, "skills/many: left out"));
    CHECK(warned(pack, "skills/deep: left out"));
}

TEST_CASE("skill folders: the mark changes with what is packed, and the bytes only with contents") {
    const PersonFolder folder;
    folder.file("own/a/SKILL.md", "one");
    const Pack before = find_pack(folder.places());
    const std::string bytes = packed(before);
    CHECK(find_pack(folder.places()).mark == before.mark);
    folder.file("own/a/SKILL.md", "one");  // another file, the same contents
    const Pack same = find_pack(folder.places());
    CHECK(same.mark != before.mark);
    CHECK(packed(same) == bytes);
    folder.file("own/a/SKILL.md", "two");
    CHECK(packed(find_pack(folder.places())) != bytes);
    const std::string last = find_pack(folder.places()).mark;
    fs::create_directory(folder.path + "/own/a/new");
    CHECK(find_pack(folder.places()).mark != last);
    folder.file("hooks/h", "");
    CHECK(find_pack(folder.places()).folders.size() >= 4);
}
