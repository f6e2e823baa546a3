// Its own main: this very binary is also the child that unpacks.
#include "skills/shelf.h"

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "../support/folder.h"
#include "error.h"
#include "guest_main.h"
#include "json.h"
#include "protocols/tar.h"
#include "skills/folders.h"

using namespace peacrab;
using namespace peacrab::test;
namespace fs = std::filesystem;

int peacrab::test::run_tests(int argc, char** argv) {
    return doctest::Context(argc, argv).run();
}

namespace {

std::string archive(const std::vector<std::pair<std::string, std::string>>& files) {
    std::string out;
    TarWriter tar([&](std::string_view bytes) { out += bytes; });
    for (const auto& [path, text] : files) {
        TarEntry entry;
        entry.path = path;
        entry.mode = 0755;
        entry.size = text.size();
        if (text == "LINK") entry = {TarEntry::Kind::Link, path, "/etc", 0777, 0, 0};
        tar.begin(entry);
        if (entry.kind == TarEntry::Kind::File) tar.data(text);
    }
    tar.finish();
    return out;
}

std::string skill(const std::string& description) {
    return "---\nname: x\ndescription: " + description + "\n---\nbody\n";
}

UniqueFd as_file(const std::string& bytes) {
    char name[] = "/tmp/peacrab-test-XXXXXX";
    UniqueFd file(::mkostemp(name, O_CLOEXEC));
    REQUIRE(file);
    ::unlink(name);
    write_all(file.get(), bytes);
    REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
    return file;
}

AgentSettings agent(std::optional<std::string> skills = {}) {
    AgentSettings settings;
    settings.name = "main";
    settings.skills = std::move(skills);
    return settings;
}

size_t count(const std::string& folder) {
    return list_folder(folder).size();
}

}  // namespace

TEST_CASE("shelf: what arrives is read-only in use, told of, and found where it says") {
    const Folder folder;
    Loop loop;
    Shelf shelf(loop, {.folder = folder.path + "/shelf", .seen = "/skills"});
    CHECK(shelf.catalogue(agent()).empty());
    CHECK(shelf.hooks().missing != "");
    CHECK(shelf.take_now(as_file(archive({{"hooks/check", "#!"},
                                          {"skills/b/SKILL.md", skill("second")},
                                          {"skills/b/scripts/run", "#!/bin/sh\n"},
                                          {"skills/a/skill.md", skill("first")},
                                          {"skills/c/other", "no skill"}}))) == "");
    const std::string text = shelf.catalogue(agent());
    const std::string id = list_folder(shelf.skills_folder()).at(0);
    CHECK(text.find("read /skills/" + id + "/NAME/SKILL.md") != std::string::npos);
    CHECK(text.ends_with("\nb: second\na: first"));
    CHECK(read_file(shelf.skills_folder() + "/" + id + "/b/scripts/run", KiB(1)) == "#!/bin/sh\n");
    CHECK(::access((shelf.skills_folder() + "/" + id + "/b/scripts/run").c_str(), X_OK) == 0);
    CHECK(shelf.hooks().missing == "");
    CHECK(shelf.hooks().folder == folder.path + "/shelf/hooks/" + id);
    CHECK(read_file(shelf.hooks().folder + "/check", KiB(1)) == "#!");
    CHECK(count(folder.path + "/shelf/new") == 0);
}

TEST_CASE("shelf: what an earlier run took is used again under its mark, and under no other") {
    const Folder folder;
    Loop loop;
    const std::string bytes = archive({{"hooks/check", "#!"}, {"skills/a/SKILL.md", skill("first")}});
    std::string id;
    {
        Shelf shelf(loop, {.folder = folder.path});
        CHECK_FALSE(shelf.reuse("mark"));
        REQUIRE(shelf.take_now(as_file(bytes), "mark") == "");
        id = list_folder(shelf.skills_folder()).at(0);
    }
    {
        Shelf shelf(loop, {.folder = folder.path});
        CHECK_FALSE(shelf.reuse("another"));
        CHECK_FALSE(shelf.reuse(""));
        CHECK(shelf.catalogue(agent()).empty());
        CHECK(shelf.hooks().missing != "");
        CHECK(shelf.reuse("mark"));
        CHECK(shelf.catalogue(agent()).ends_with("\na: first"));
        CHECK(shelf.hooks().missing == "");
        CHECK(read_file(folder.path + "/hooks/" + id + "/check", KiB(1)) == "#!");
        // A new one takes its place.
        REQUIRE(shelf.take_now(as_file(archive({{"skills/a/SKILL.md", skill("second")}})), "next") == "");
        CHECK(shelf.catalogue(agent()).ends_with("\na: second"));
    }
    {
        Shelf shelf(loop, {.folder = folder.path});
        CHECK(list_folder(shelf.skills_folder()) != std::vector<std::string>{id});
        CHECK_FALSE(shelf.reuse("mark"));
        CHECK(shelf.reuse("next"));
    }
    for (const char* damaged : {"", "{", "{\"mark\":\"next\"}", "[[[[[[[[]]]]]]]]"}) {
        write_file_atomic(folder.path + "/kept.json", damaged, 0600);
        Shelf shelf(loop, {.folder = folder.path});
        CHECK_FALSE(shelf.reuse("next"));
        CHECK(count(folder.path + "/skills") == 0);
    }
}

TEST_CASE("shelf: what was taken without a mark is nobody's to use again; what is kept and gone neither") {
    const Folder folder;
    Loop loop;
    const std::string bytes = archive({{"skills/a/SKILL.md", skill("first")}});
    {
        Shelf shelf(loop, {.folder = folder.path});
        REQUIRE(shelf.take_now(as_file(bytes)) == "");
    }
    {
        Shelf shelf(loop, {.folder = folder.path});
        CHECK_FALSE(shelf.reuse(""));
        REQUIRE(shelf.take_now(as_file(bytes), "mark") == "");
    }
    fs::remove_all(folder.path + "/skills");
    Shelf shelf(loop, {.folder = folder.path});
    CHECK_FALSE(shelf.reuse("mark"));
}

TEST_CASE("shelf: an agent is told of what it is allowed, in the archive's order") {
    const Folder folder;
    Loop loop;
    Shelf shelf(loop, {.folder = folder.path});
    REQUIRE(shelf.take_now(as_file(archive({{"skills/b/SKILL.md", skill("second")},
                                            {"skills/a/SKILL.md", skill("first")}}))) == "");
    CHECK(shelf.catalogue(agent("")).empty());
    CHECK(shelf.catalogue(agent("none such")).empty());
    CHECK(shelf.catalogue(agent("a")).ends_with("it.\na: first"));
    CHECK(shelf.catalogue(agent("a b")).ends_with("it.\nb: second\na: first"));
    CHECK(shelf.catalogue(agent()).find(shelf.skills_folder()) != std::string::npos);
}

TEST_CASE("shelf: a hostile or broken archive changes nothing and leaves nothing") {
    const Folder folder;
    Loop loop;
    Shelf shelf(loop, {.folder = folder.path});
    REQUIRE(shelf.take_now(as_file(archive({{"skills/a/SKILL.md", skill("first")}}))) == "");
    const std::string before = shelf.catalogue(agent());
    const std::string whole = archive({{"skills/a/SKILL.md", skill("other")}});
    std::string climbing = archive({{"skills/aaa/SKILL.md", skill("other")}});
    for (size_t at = 0; (at = climbing.find("skills/aaa", at)) != std::string::npos; ++at)
        climbing.replace(at, 10, "skills/../");
    for (const std::string& hostile :
         {std::string(), std::string(100'000, 'x'), whole.substr(0, 700), climbing,
          archive({{"elsewhere/a", "x"}}), archive({{"skills", "x"}, {"skills/a/SKILL.md", skill("other")}}),
          archive({{"skills/a/x", "1"}, {"skills/a/x", "2"}}),
          archive({{"skills/big/x", std::string(kMaxPacked.count, 'x')}, {"skills/big/y", "y"}})})
        CHECK(shelf.take_now(as_file(hostile)) != "");
    CHECK(shelf.catalogue(agent()) == before);
    CHECK(count(shelf.skills_folder()) == 1);
    CHECK(count(folder.path + "/new") == 0);
}

TEST_CASE("shelf: links are not made, and a skill that cannot be used is left out alone") {
    const Folder folder;
    Loop loop;
    Shelf shelf(loop, {.folder = folder.path});
    REQUIRE(shelf.take_now(as_file(archive({{"skills/a/etc", "LINK"},
                                            {"skills/a/SKILL.md", skill("first")},
                                            {"skills/has space/SKILL.md", skill("no")},
                                            {"skills/b/SKILL.md", "no front matter"}}))) == "");
    CHECK(shelf.catalogue(agent()).ends_with("it.\na: first"));
    const std::string a = shelf.skills_folder() + "/" + list_folder(shelf.skills_folder()).at(0) + "/a";
    CHECK(count(a) == 1);
}

TEST_CASE("shelf: the same contents are the same version; an older one stays while turns run") {
    const Folder folder;
    Loop loop;
    bool idle = false;
    Shelf shelf(loop, {.folder = folder.path, .idle = [&] { return idle; }});
    const auto arrive = [&](const std::string& text) {
        REQUIRE(shelf.take_now(as_file(archive({{"skills/a/SKILL.md", skill(text)}}))) == "");
        return shelf.catalogue(agent());
    };
    const std::string one = arrive("one");
    CHECK(arrive("two") != one);
    CHECK(count(shelf.skills_folder()) == 2);
    CHECK(arrive("one") == one);
    CHECK(count(shelf.skills_folder()) == 2);
    for (int i = 0; i < 20; ++i) arrive(std::to_string(i));
    CHECK(count(shelf.skills_folder()) == 8);
    idle = true;
    arrive("last");
    CHECK(count(shelf.skills_folder()) == 1);
    CHECK(count(folder.path + "/hooks") == 1);
    CHECK(shelf.catalogue(agent()).ends_with("\na: last"));
}

TEST_CASE("shelf: in the loop the one that began last is in force, and one that stays away ends") {
    const Folder folder;
    Loop loop;
    Shelf shelf(loop, {.folder = folder.path, .limit = Milliseconds(3000)});
    Pipe slow = Pipe::make();
    int done = 0;
    std::string why;
    shelf.take(std::move(slow.read), [&](const std::string& text) {
        ++done;
        why = text;
    });
    shelf.take(as_file(archive({{"skills/a/SKILL.md", skill("later")}})), [&](const std::string& text) {
        ++done;
        CHECK(text == "");
    });
    CHECK(shelf.taking());
    while (done < 1) loop.run_once(Milliseconds(5000));
    CHECK(shelf.taking());
    CHECK(shelf.catalogue(agent()).ends_with("\na: later"));
    write_all(slow.write.get(), archive({{"skills/a/SKILL.md", skill("earlier")}}));
    while (done < 2) loop.run_once(Milliseconds(5000));
    CHECK(shelf.catalogue(agent()).ends_with("\na: later"));
    CHECK_FALSE(shelf.taking());
    Pipe never = Pipe::make();
    shelf.take(std::move(never.read), [&](const std::string& text) {
        ++done;
        why = text;
    });
    while (done < 3) loop.run_once(Milliseconds(5000));
    CHECK(why.find("in time") != std::string::npos);
    CHECK(count(folder.path + "/new") == 0);
}

TEST_CASE("shelf: what an earlier run has left goes, unless others may use it") {
    const Folder folder;
    Loop loop;
    {
        Shelf shelf(loop, {.folder = folder.path});
        REQUIRE(shelf.take_now(as_file(archive({{"skills/a/SKILL.md", skill("x")}, {"hooks/h", "x"}}))) == "");
    }
    { Shelf beside(loop, {.folder = folder.path, .use = Shelf::Options::Use::Shared}); }
    CHECK(count(folder.path + "/skills") == 1);
    const Shelf after(loop, {.folder = folder.path});
    CHECK(count(folder.path + "/skills") == 0);
    CHECK(count(folder.path + "/hooks") == 0);
}

TEST_CASE("shelf: the child's answer is looked at as if it were hostile") {
    const auto answer = [](const char* id, const char* name, const char* description) {
        return json::dump(json::Value::object(
            {{"ok", true},
             {"id", id},
             {"skills", json::Value::array({json::Value::object({{"name", name}, {"description", description}})})}}));
    };
    CHECK(read_unpacked(answer("0123abcd", "a", "x")).skills.size() == 1);
    for (const char* id : {"", "0123abc", "0123abcde", "../../..", "0123ABCD", "0123abc/"})
        CHECK_THROWS_AS((void)read_unpacked(answer(id, "a", "x")), Error);
    for (const char* name : {"", "..", "a/b", "-a", "a\nb"})
        CHECK_THROWS_AS((void)read_unpacked(answer("0123abcd", name, "x")), Error);
    CHECK_THROWS_AS((void)read_unpacked(answer("0123abcd", "a", "x\ny")), Error);
    CHECK(read_unpacked(answer("0123abcd", "a", "\x1b[2J")).skills[0].description.find('\x1b') == std::string::npos);
    for (const char* text : {"", "{}", "[]", "{\"ok\":false}", "{\"ok\":true", "nothing"})
        CHECK_THROWS_AS((void)read_unpacked(text), Error);
}
