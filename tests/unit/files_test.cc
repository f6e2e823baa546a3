#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "error.h"
#include "files/ignore.h"
#include "files/listing.h"
#include "audit.h"
#include "files/tree.h"
#include "os.h"

using namespace peacrab;
namespace fs = std::filesystem;

namespace {

struct Folder {
    std::string path;
    UniqueFd fd;
    Folder() {
        char name[] = "/tmp/files-test-XXXXXX";
        REQUIRE(::mkdtemp(name));
        path = name;
        fd = UniqueFd(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    ~Folder() { fs::remove_all(path); }
    void write(const std::string& name, const std::string& text) const {
        fs::create_directories(fs::path(path + "/" + name).parent_path());
        write_file_atomic(path + "/" + name, text, 0644);
    }
    std::string read(const std::string& name) const { return read_file(path + "/" + name, MiB(1)); }
    std::vector<std::string> walk(Ignore* rules = nullptr, RuleFiles files = RuleFiles::Leave,
                                  TreeLimits limits = {}) const {
        std::vector<std::string> found;
        (void)walk_tree(fd.get(), rules, files, limits,
                        [&](const WalkedEntry& entry) { found.push_back(entry.path); });
        return found;
    }
};

using Names = std::vector<std::string>;

bool left_out(const std::string& rules, const std::string& path,
              Ignore::What what = Ignore::What::File) {
    Ignore ignore;
    ignore.add_file("", rules);
    Ignore again;  // as it comes over the link
    again.add_text(ignore.text());
    const bool out = ignore.leaves_out_within(path, what);
    CHECK(again.leaves_out_within(path, what) == out);
    return out;
}

}  // namespace

TEST_CASE("files: a hash is that of sha256sum, however it is fed") {
    const auto hash = [](std::string_view text, size_t piece) {
        Sha256 sum;
        for (size_t at = 0; at < text.size(); at += piece) sum.add(text.substr(at, piece));
        return sum.hex();
    };
    CHECK(hash("", 1) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc", 1) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const std::string million(1'000'000, 'a');
    for (const size_t piece : {size_t{1000}, size_t{63}, size_t{64}, size_t{1'000'000}})
        CHECK(hash(million, piece) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    // Each length around a block.
    for (size_t length = 54; length < 70; ++length)
        CHECK(hash(million.substr(0, length), 1) == hash(million.substr(0, length), 100));
}

TEST_CASE("files: a line of a listing is one line, whatever the name, and nothing else is taken for one") {
    const Listed file{Listed::Kind::Program, 12, std::string(64, 'a')};
    const Listed link{Listed::Kind::Link, 0, "", "../x y\n"};
    for (const std::string name : {"a", "with space", "new\nline", "f 1 x", "100%", "\xff\x01", "{\"ok\":true}"}) {
        CAPTURE(name);
        for (const Listed& entry : {file, link, Listed{Listed::Kind::Folder}}) {
            const std::string line = listing_line(name, entry);
            CHECK(line.find('\n') == line.size() - 1);
            CHECK(line[0] != '{');
            const auto [path, again] = parse_listing_line(line.substr(0, line.size() - 1));
            CHECK(path == name);
            CHECK(again == entry);
        }
    }
    const std::string hash(64, '0');
    for (const std::string& bad :
         {std::string(""), std::string("f 1"), "q 1 " + hash + " a", "f -1 " + hash + " a", std::string("f 1 short a"),
          "f 1 " + hash + " ../a", "f 1 " + hash + " /a", "f 1 " + hash + " a/./b", "f 1 " + hash + " ",
          "f 1 " + hash + " a b", "f 1 " + hash + " %zz", "f 1 " + hash + " a%00b", std::string("l 0 - a"), std::string("l 0 - a "),
          std::string("l 0 - a %00"), std::string("d 0 - a/../b")}) {
        CAPTURE(bad);
        CHECK_THROWS_AS((void)parse_listing_line(bad), Error);
    }
}

TEST_CASE("files: ignore rules are those of gitignore") {
    CHECK(left_out("*.o", "a/b/x.o"));
    CHECK(!left_out("*.o", "x.oo"));
    CHECK(left_out("build/", "build", Ignore::What::Folder));
    CHECK(!left_out("build/", "build"));
    CHECK(left_out("build/", "a/build/x/y"));
    CHECK(left_out("/build", "build"));
    CHECK(!left_out("/build", "a/build"));
    CHECK(left_out("a/b", "a/b/c"));
    CHECK(!left_out("a/b", "x/a/b"));
    CHECK(left_out("**/b/c", "x/y/b/c"));
    CHECK(left_out("a/**/z", "a/z"));
    CHECK(left_out("a/**/z", "a/b/c/z"));
    CHECK(left_out("a/**", "a/b/c"));
    CHECK(!left_out("a/**", "a", Ignore::What::Folder));
    CHECK(left_out("x?[a-c]", "x1b"));
    CHECK(!left_out("x?[!a-c]", "x1b"));
    CHECK(!left_out("*", ".git/x") == false);
    CHECK(left_out("", ".git/config"));
    CHECK(left_out("", "sub/.git", Ignore::What::Folder));
    CHECK(!left_out("", ".gitignore"));
    // The last rule counts; what is in a folder that is left out stays out.
    CHECK(!left_out("*.log\n!keep.log", "keep.log"));
    CHECK(left_out("logs/\n!logs/keep.log", "logs/keep.log"));
    CHECK(left_out("!keep.log\n*.log", "keep.log"));
    // Comments, escapes, ends of lines.
    CHECK(!left_out("# x", "# x"));
    CHECK(left_out("\\# x", "# x"));
    CHECK(left_out("\\!x", "!x"));
    CHECK(left_out("x  \r", "x"));
    CHECK(left_out("x\\ ", "x "));
    CHECK(left_out("x\r\r", "x\r"));
    CHECK(left_out("x\r ", "x\r"));
    CHECK(left_out("[", "[") == false);
    CHECK(left_out("a[]]b", "a]b"));
    Ignore nested;
    nested.add_file("sub", "/x\n*.y");
    CHECK(nested.leaves_out("sub/x", Ignore::What::File));
    CHECK(nested.leaves_out("sub/deep/a.y", Ignore::What::File));
    CHECK(!nested.leaves_out("x", Ignore::What::File));
    CHECK(!nested.leaves_out("subx/a.y", Ignore::What::File));
}

TEST_CASE("files: a hostile pattern takes no time, and too many are refused") {
    std::string stars;
    for (int i = 0; i < 200; ++i) stars += "*a";
    const auto begin = std::chrono::steady_clock::now();
    CHECK(!matches_part(stars + "b", std::string(255, 'a')));
    std::string deep, path;
    for (int i = 0; i < 100; ++i) deep += "**/a*/";
    for (int i = 0; i < 64; ++i) path += "aa/";
    CHECK(!left_out(deep + "b", path + "c"));
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
    Ignore rules;
    CHECK_THROWS_AS(rules.add("", std::string(2000, 'x')), Error);
    for (size_t i = 0; i < Ignore::kMostRules; ++i) rules.add("", "x");
    CHECK_THROWS_AS(rules.add("", "x"), Error);
}

TEST_CASE("files: a walk reads ignore files, follows no link and opens no device") {
    const Folder folder;
    folder.write("a/x.o", "");
    folder.write("a/keep.o", "");
    folder.write("a/.gitignore", "!keep.o\n");
    folder.write(".gitignore", "*.o\nout/\n");
    folder.write(".peacrabignore", "secret\n");
    folder.write("secret", "");
    folder.write("out/y", "");
    folder.write(".git/config", "");
    folder.write("new\nline", "");
    fs::create_symlink("/etc", folder.path + "/etc");
    REQUIRE(::mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
    Ignore rules;
    CHECK(folder.walk(&rules, RuleFiles::Read) ==
          Names{".gitignore", ".peacrabignore", "a", "a/.gitignore", "a/keep.o", "etc", "new\nline"});
    // The other side has the rules, and is told that there is a .git; not what is in it.
    CHECK(folder.walk(&rules) ==
          Names{".git", ".gitignore", ".peacrabignore", "a", "a/.gitignore", "a/keep.o", "etc", "new\nline"});
    CHECK(folder.walk().size() == 13);  // everything but the pipe
    CHECK_THROWS_AS((void)folder.walk(nullptr, RuleFiles::Leave, {.entries = 12}), Error);
    CHECK_THROWS_AS((void)folder.walk(nullptr, RuleFiles::Leave, {.depth = 1}), Error);
    CHECK_THROWS_AS((void)folder.walk(nullptr, RuleFiles::Leave, {.total = Bytes{10}}), Error);
}

TEST_CASE("files: nothing is written or read through a link, or over a folder") {
    const Folder folder, outside;
    outside.write("victim", "safe");
    fs::create_symlink(outside.path, folder.path + "/link");
    fs::create_symlink(outside.path + "/victim", folder.path + "/file");
    fs::create_directory(folder.path + "/folder");
    TreeWriter writer(folder.fd.get(), TreeWriter::Sync::Each);
    CHECK_THROWS_AS((void)writer.create("link/victim", 0644), Error);
    CHECK_THROWS_AS((void)writer.create("link/fresh/x", 0644), Error);
    CHECK_THROWS_AS(writer.link("link/l", "x"), Error);
    CHECK_THROWS_AS(writer.folder("link/f"), Error);
    CHECK_THROWS_AS((void)writer.remove("link/victim"), Error);
    CHECK_THROWS_AS((void)writer.create("folder", 0644), Error);
    CHECK_THROWS_AS(writer.link("folder", "x"), Error);
    CHECK_THROWS_AS((void)writer.create("../out", 0644), Error);
    struct stat info;
    CHECK(!open_file_within(folder.fd.get(), "file", info));
    CHECK(!open_file_within(folder.fd.get(), "link/victim", info));
    CHECK(!look_within(folder.fd.get(), "link/victim", info));
    // A link in the place of a file is replaced, not followed.
    TreeWriter::File file = writer.create("file", 04755);
    file.write("new");
    file.commit();
    CHECK(!fs::is_symlink(folder.path + "/file"));
    CHECK(folder.read("file") == "new");
    REQUIRE(::stat((folder.path + "/file").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0755);
    CHECK(outside.read("victim") == "safe");
    CHECK(folder.walk() == Names{"file", "folder", "link"});
}

TEST_CASE("files: what is not committed leaves nothing, and an old file is whole until then") {
    const Folder folder;
    folder.write("a", "old");
    {
        TreeWriter writer(folder.fd.get(), TreeWriter::Sync::Never);
        TreeWriter::File file = writer.create("a", 0644);
        file.write("half");
        CHECK(folder.read("a") == "old");
        CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 2);
        CHECK(folder.walk() == Names{"a"});  // what is being written is not there
    }
    CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);
    TreeWriter writer(folder.fd.get(), TreeWriter::Sync::Never);
    writer.folder("x/y");
    CHECK(!writer.remove("x"));
    CHECK(writer.remove("x/y"));
    CHECK(writer.remove("x"));
    CHECK(writer.remove("never/there"));
}
