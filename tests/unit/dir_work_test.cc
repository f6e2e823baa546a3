// A folder and the copy an agent works on, by the very child that serves it in a cell; here without one,
// and without a machine. The agent is hostile.
#include "dir_work.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "../support/folder.h"
#include "error.h"
#include "files/tree.h"
#include "json.h"
#include "tools.h"

using namespace peacrab;
using namespace peacrab::test;
namespace fs = std::filesystem;

namespace {

// The warden's part: one request before, one verdict behind. `dies`: bytes after which the stream ends.
class LocalLink : public FilesLink {
  public:
    LocalLink(const MachinePlace& place, std::string workspace)
        : FilesLink(place, "main"), workspace_(std::move(workspace)) {}
    size_t sent = 0;  // operations that were begun
    size_t dies = 0;

  protected:
    UniqueFd open(const std::string& op, const std::string& path) override {
        ++sent;
        SocketPair pair = SocketPair::stream();
        write_all(pair.ours.get(), json::dump(json::Value::object({{"op", op},
                                                                   {"path", escaped(path)},
                                                                   {"workspace", workspace_}})) +
                                       "\n");
        if (op == "put" && dies) return broken(std::move(pair));
        if (::fork() == 0) serve(pair);
        return std::move(pair.ours);
    }

  private:
    [[noreturn]] static void child(int stream, int out) {
        ::dup2(stream, 0);
        ::dup2(out, 1);
        ::close_range(3, ~0U, 0);
        ::_exit(tool_files_main());
    }
    [[noreturn]] void serve(SocketPair& pair) {
        pair.ours.reset();
        Pipe out = Pipe::make();
        const pid_t pid = ::fork();
        if (pid == 0) child(pair.theirs.get(), out.write.get());
        out.write.reset();
        std::string verdict;
        char bytes[4096];
        while (const size_t n = read_some(out.read.get(), bytes).value_or(0)) verdict.append(bytes, n);
        ::waitpid(pid, nullptr, 0);
        write_all(pair.theirs.get(), verdict + "\n");
        ::_exit(0);
    }
    // Passes on so many bytes, then hangs up on both.
    UniqueFd broken(SocketPair pair) {
        const size_t most = std::exchange(dies, 0);
        SocketPair front = SocketPair::stream();
        if (::fork() == 0) {
            front.ours.reset();
            const pid_t child = ::fork();
            if (child == 0) {
                front.theirs.reset();
                serve(pair);
            }
            pair.theirs.reset();
            (void)read_through(front.theirs.get(), most, [&](std::string_view piece) {
                write_all(pair.ours.get(), piece);
            });
            pair.ours.reset();
            ::waitpid(child, nullptr, 0);
            ::_exit(0);
        }
        return std::move(front.ours);
    }
    std::string workspace_;
};

struct Bench {
    Folder scratch;
    std::string dir = scratch.path + "/home/demo", copy = scratch.path + "/workspace/demo";
    std::string outside = scratch.path + "/outside";
    MachinePlace place;
    LocalLink link{place, scratch.path + "/workspace"};
    std::string told;

    Bench() {
        place.folder = scratch.path + "/state";
        place.name = "default";
        for (const std::string& each : {dir, scratch.path + "/workspace", outside}) fs::create_directories(each);
        here("a.txt", "foo\n");
        here("sub/b.txt", "more foo\n");
        here("run.sh", "#!/bin/sh\necho foo\n");
        ::chmod((dir + "/run.sh").c_str(), 0755);
        fs::create_symlink("a.txt", dir + "/link");
        fs::create_directory(dir + "/empty");
        write_file_atomic(outside + "/victim", "safe", 0644);
    }
    static void put(const std::string& path, const std::string& text) {
        fs::create_directories(fs::path(path).parent_path());
        const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        write_all(file.get(), text);
    }
    void here(const std::string& name, const std::string& text) const { put(dir + "/" + name, text); }
    void there(const std::string& name, const std::string& text) const { put(copy + "/" + name, text); }
    static std::string read(const std::string& path) {
        return read_file_if_exists(path, MiB(1)).value_or("(nothing)");
    }
    std::string of_here(const std::string& name) const { return read(dir + "/" + name); }
    std::string of_there(const std::string& name) const { return read(copy + "/" + name); }
    // Everything, as one text.
    static std::string all(const std::string& folder) {
        std::string text;
        const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        (void)walk_tree(fd.get(), nullptr, RuleFiles::Leave, {}, [&](const WalkedEntry& entry) {
            text += listing_line(entry.path, listed_within(fd.get(), entry));
            if (S_ISREG(entry.info.st_mode)) text += std::to_string(entry.info.st_mode & 07777) + "\n";
        });
        return text;
    }
    // A new process each time.
    template <typename What>
    auto with(What what, DirBounds bounds = {}) {
        DirState state(place, "main", dir);
        told.clear();
        DirWork work(state, link, [this](const std::string& sentence) { told += sentence + "\n"; }, bounds);
        return what(work, state);
    }
    bool send(DirBounds bounds = {}) {
        return with([](DirWork& work, DirState&) { return work.send(); }, bounds);
    }
    bool apply(DirWork::Hooks hooks = DirWork::Hooks::Refuse, DirWork::Run run = DirWork::Run::Really) {
        return with([&](DirWork& work, DirState&) { return work.apply(hooks, run); });
    }
    bool undo() {
        return with([](DirWork& work, DirState&) { return work.undo(); });
    }
    bool discard() {
        return with([](DirWork& work, DirState&) { return work.discard(); });
    }
    std::string diff(DiffForm form = {}) {
        return with([&](DirWork& work, DirState& state) {
            char* text = nullptr;
            size_t size = 0;
            FILE* to = ::open_memstream(&text, &size);
            show_diff(to, state, work.changes().list, form);
            std::fclose(to);
            const std::string out(text, size);
            ::free(text);
            return out;
        });
    }
    bool says(const std::string& part) const { return told.find(part) != std::string::npos; }
};

}  // namespace

TEST_CASE("dir: what is sent is the folder, and again only what changed") {
    Bench bench;
    bench.here(".git/config", "private");
    bench.here("x.o", "");
    bench.here(".gitignore", "*.o\n");
    REQUIRE(::mkfifo((bench.dir + "/pipe").c_str(), 0600) == 0);
    CHECK(bench.send());
    CHECK(bench.says("2 left out"));
    CHECK(bench.says("1 device, socket or pipe skipped"));
    CHECK(!fs::exists(bench.copy + "/.git"));
    CHECK(!fs::exists(bench.copy + "/x.o"));
    for (const char* name : {".git", "x.o", "pipe"}) fs::remove_all(bench.dir + "/" + name);
    CHECK(Bench::all(bench.copy) == Bench::all(bench.dir));
    CHECK(fs::read_symlink(bench.copy + "/link") == "a.txt");
    bench.link.sent = 0;
    CHECK(bench.send());
    CHECK(bench.says("has it as it is here"));
    CHECK(bench.link.sent == 1);  // only looked
    bench.here("a.txt", "new");
    fs::remove(bench.dir + "/sub/b.txt");
    fs::remove(bench.dir + "/empty");
    CHECK(bench.send());
    CHECK(bench.says("1 entry, 3 bytes; removed: 2"));
    CHECK(Bench::all(bench.copy) == Bench::all(bench.dir));
    // A file where a folder was, and the other way.
    fs::remove_all(bench.dir + "/sub");
    bench.here("sub", "a file now");
    fs::remove(bench.dir + "/a.txt");
    bench.here("a.txt/inner", "x");
    CHECK(bench.send());
    CHECK(Bench::all(bench.copy) == Bench::all(bench.dir));
}

TEST_CASE("dir: what the agent changed is never overwritten by sending, and named") {
    Bench bench;
    CHECK(bench.send());
    bench.there("a.txt", "the agent's");
    bench.there("new.txt", "the agent's");
    CHECK(bench.send());
    CHECK(bench.of_there("a.txt") == "the agent's");
    bench.here("a.txt", "mine");
    bench.here("new.txt", "mine");
    fs::remove(bench.copy + "/sub/b.txt");
    bench.here("sub/b.txt", "mine");
    CHECK(bench.send());
    CHECK(bench.says("changed here and by the agent"));
    for (const char* name : {"a.txt", "new.txt", "sub/b.txt"}) CHECK(bench.says(std::string("\n  ") + name));
    CHECK(bench.of_there("a.txt") == "the agent's");
    CHECK(bench.of_there("new.txt") == "the agent's");
    CHECK(!fs::exists(bench.copy + "/sub/b.txt"));
}

TEST_CASE("dir: diff, apply and undo, byte for byte") {
    Bench bench;
    CHECK(bench.send());
    const std::string before = Bench::all(bench.dir);
    CHECK(bench.diff().empty());
    bench.there("a.txt", "bar\n");
    bench.there("sub/new", "no newline");
    bench.there("run.sh", "#!/bin/sh\necho bar\n");
    ::chmod((bench.copy + "/run.sh").c_str(), 0644);
    fs::remove(bench.copy + "/sub/b.txt");
    bench.there("deep/er/x", "");
    fs::remove(bench.copy + "/link");
    fs::create_symlink("sub/new", bench.copy + "/link");
    const std::string diff = bench.diff();
    for (const std::string part :
         {"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-foo\n+bar\n",
          "old mode 100755\nnew mode 100644\n", "deleted file mode 100644\n--- a/sub/b.txt\n+++ /dev/null\n",
          "new file mode 100644\n--- /dev/null\n+++ b/sub/new\n", "\\ No newline at end of file\n",
          "diff --git a/deep/er/x b/deep/er/x\nnew file mode 100644\n", "-a.txt\n"}) {
        CAPTURE(part);
        CHECK(diff.find(part) != std::string::npos);
    }
    const DiffForm stat{DiffForm::What::Stat};
    CHECK(bench.diff(stat).find("   +1    -1  a.txt\n") != std::string::npos);
    CHECK(bench.apply(DirWork::Hooks::Refuse, DirWork::Run::Dry));
    CHECK(Bench::all(bench.dir) == before);
    CHECK(bench.says("changed  a.txt"));
    CHECK(bench.apply());
    CHECK(Bench::all(bench.dir) == Bench::all(bench.copy));
    CHECK(bench.diff().empty());
    CHECK(bench.apply());
    CHECK(bench.says("changed nothing"));
    CHECK(bench.undo());
    CHECK(Bench::all(bench.dir) == before);
    CHECK(bench.diff() == diff);
    // Nothing is applied now: undo means the agent's changes.
    CHECK(!bench.with([](DirWork& work, DirState&) { return work.can_undo(); }));
    CHECK(bench.discard());
    CHECK(bench.diff().empty());
    CHECK(Bench::all(bench.copy) == before);
}

TEST_CASE("dir: git takes the diff") {
    Bench bench;
    if (std::system("git --version >/dev/null 2>&1") != 0) {
        MESSAGE("skipped: no git");
        return;
    }
    bench.here("with space", "1\n");
    bench.here("new\nline \"q\"", "1\n");
    CHECK(bench.send());
    bench.there("a.txt", "bar\n");
    bench.there("with space", "2\n");
    bench.there("new\nline \"q\"", "2\n");
    bench.there("fresh", "x");
    fs::remove(bench.copy + "/sub/b.txt");
    ::chmod((bench.copy + "/run.sh").c_str(), 0644);
    Bench::put(bench.scratch.path + "/patch", bench.diff());
    CHECK(std::system(("cd " + bench.dir + " && git apply ../../patch").c_str()) == 0);
    fs::remove(bench.copy + "/sub");
    fs::remove(bench.dir + "/sub");
    CHECK(Bench::all(bench.dir) == Bench::all(bench.copy));
}

TEST_CASE("dir: conflicts are named and left, and the rest comes home") {
    Bench bench;
    CHECK(bench.send());
    bench.there("a.txt", "agent");
    bench.here("a.txt", "mine");
    bench.there("sub/b.txt", "agent");
    fs::remove(bench.dir + "/sub/b.txt");
    bench.there("both", "agent");
    bench.here("both", "mine");
    bench.there("same", "equal");
    bench.here("same", "equal");
    bench.there("fine", "agent");
    CHECK(!bench.apply());
    for (const char* name : {"a.txt", "sub/b.txt", "both"})
        CHECK(bench.says(std::string(name) + ": changed here since it was sent"));
    CHECK(bench.of_here("a.txt") == "mine");
    CHECK(bench.of_here("both") == "mine");
    CHECK(!fs::exists(bench.dir + "/sub/b.txt"));
    CHECK(bench.of_here("fine") == "agent");
    // What was changed since the apply is left by undo, and named.
    bench.here("fine", "mine since");
    CHECK(!bench.undo());
    CHECK(bench.says("fine: it was changed here"));
    CHECK(bench.of_here("fine") == "mine since");
}

TEST_CASE("dir: a hostile copy gets nothing out of the folder") {
    Bench bench;
    bench.here(".git/hooks/keep", "x");
    CHECK(bench.send());
    const std::string before = Bench::all(bench.dir);
    // Links that lead out, by each way.
    for (const auto& [name, target] : std::vector<std::pair<std::string, std::string>>{
             {"abs", bench.outside}, {"up", "../outside"}, {"sub/up", "../../x"}, {"twist", "sub/../../x"}, {"link", "/etc/passwd"}}) {
        fs::remove(bench.copy + "/" + name);
        fs::create_symlink(target, bench.copy + "/" + name);
    }
    // A folder replaced by a link, and a file beneath it.
    fs::remove_all(bench.copy + "/empty");
    fs::create_symlink(bench.outside, bench.copy + "/empty");
    bench.there(".git/hooks/pre-commit", "#!/bin/sh\nevil\n");
    bench.there("sub/.GIT/config", "evil");
    bench.there(".husky/pre-commit", "evil");
    bench.there("x/.envrc", "evil");
    bench.there("setuid", "x");
    ::chmod((bench.copy + "/setuid").c_str(), 06755);
    CHECK(!bench.apply());
    for (const char* part : {"abs: a link that could lead out", "sub/up: a link", "twist: a link", "link: a link",
                             "empty: a link", ".husky/pre-commit: programs here", "x/.envrc: programs here",
                             ".git: never brought home"})
        CHECK_MESSAGE(bench.says(part), part);
    CHECK(!fs::exists(bench.dir + "/.git/hooks/pre-commit"));
    CHECK(!fs::exists(bench.dir + "/sub/.GIT"));
    CHECK(!fs::exists(bench.dir + "/.husky/pre-commit"));
    CHECK(!fs::is_symlink(bench.dir + "/empty"));
    CHECK(fs::read_symlink(bench.dir + "/link") == "a.txt");
    struct stat info;
    REQUIRE(::stat((bench.dir + "/setuid").c_str(), &info) == 0);
    CHECK((info.st_mode & 07000) == 0);
    CHECK(Bench::read(bench.outside + "/victim") == "safe");
    CHECK(!bench.apply(DirWork::Hooks::Allow));
    CHECK(bench.of_here(".husky/pre-commit") == "evil");
    CHECK(!fs::exists(bench.dir + "/.git/hooks/pre-commit"));
    (void)before;
}

TEST_CASE("dir: a folder here that became a link is not written through") {
    Bench bench;
    CHECK(bench.send());
    fs::remove_all(bench.dir + "/sub");
    fs::create_symlink(bench.outside, bench.dir + "/sub");
    bench.there("sub/b.txt", "agent");
    bench.there("sub/victim", "agent");
    CHECK(!bench.apply());
    CHECK(Bench::read(bench.outside + "/victim") == "safe");
    CHECK(!fs::exists(bench.outside + "/b.txt"));
    CHECK(fs::is_symlink(bench.dir + "/sub"));
}

TEST_CASE("dir: names and contents that could steer a terminal are escaped there, and raw in a pipe") {
    Bench bench;
    CHECK(bench.send());
    bench.there("esc\x1b[31m\nname", "\x1b]0;title\x07tab\tend\n");
    bench.there("bin", std::string("a\0b", 3));
    const std::string raw = bench.diff(), shown = bench.diff({DiffForm::What::Lines, DiffForm::Bytes::Escaped});
    CHECK(raw.find("+\x1b]0;title\x07tab\tend\n") != std::string::npos);
    CHECK(raw.find("\"b/esc\\033[31m\\nname\"") != std::string::npos);
    CHECK(shown.find('\x1b') == std::string::npos);
    CHECK(shown.find("tab\tend\n") != std::string::npos);
    CHECK(shown.find("Binary files /dev/null and b/bin differ\n") != std::string::npos);
    CHECK(bench.apply());
    CHECK(bench.told.find('\x1b') == std::string::npos);
    CHECK(bench.of_here("esc\x1b[31m\nname") == "\x1b]0;title\x07tab\tend\n");
}

TEST_CASE("dir: a put that was cut off is repeated, and only the rest is sent") {
    Bench bench;
    bench.here("big1", std::string(300'000, '1'));
    bench.here("big2", std::string(300'000, '2'));
    bench.link.dies = 400'000;
    CHECK_THROWS_AS((void)bench.send(), Error);
    CHECK((bench.of_there("big1") == std::string(300'000, '1')));
    CHECK(!fs::exists(bench.copy + "/big2"));
    for (const auto& each : fs::directory_iterator(bench.copy))
        CHECK(each.path().filename().string().find(Ignore::kOurs) == std::string::npos);
    CHECK(bench.send());
    CHECK(bench.says("entries, 300.0 kB; the folder demo"));  // half of it
    CHECK(Bench::all(bench.copy) == Bench::all(bench.dir));
    CHECK(bench.diff().empty());
}

TEST_CASE("dir: a copy that is gone is not brought home as if all was removed") {
    Bench bench;
    CHECK(bench.send());
    fs::remove_all(bench.copy);
    const std::string before = Bench::all(bench.dir);
    CHECK_THROWS_AS((void)bench.apply(), Error);
    CHECK(Bench::all(bench.dir) == before);
    CHECK(bench.send());
    CHECK(bench.says("all of it is sent again"));
    CHECK(Bench::all(bench.copy) == before);
}

TEST_CASE("dir: too much is refused with what to do, before anything is sent") {
    Bench bench;
    bench.here("big", std::string(2000, 'x'));
    for (const DirBounds bounds : {DirBounds{.entries = 3}, DirBounds{.total = Bytes{1000}}}) {
        bench.link.sent = 0;
        try {
            (void)bench.send(bounds);
            FAIL("was sent");
        } catch (const Error& error) {
            CHECK(std::string(error.what()).find(".peacrabignore") != std::string::npos);
        }
        CHECK(bench.link.sent == 0);
    }
}

TEST_CASE("dir: the child keeps to the workspace, whatever it is asked") {
    Bench bench;
    CHECK(bench.send());
    fs::create_symlink(bench.outside, bench.copy + "/out");
    Listing listing;
    for (const std::string path : {"../outside", "/etc", "demo/out", "demo/out/x"}) {
        CAPTURE(path);
        const FilesVerdict listed = bench.link.list(path, Ignore(), listing);
        CHECK((!listed.ok || listed.missing));
        CHECK(listing.empty());
        CHECK(!bench.link.put(path, [](TarWriter& writer) {
            writer.begin({TarEntry::Kind::File, "planted", "", 0644, 1, 0});
            writer.data("x");
        }).ok);
        CHECK(!bench.link.remove(path, {"victim"}).ok);
    }
    CHECK(!bench.link.put("demo", [](TarWriter& writer) {
        writer.begin({TarEntry::Kind::File, "out/planted", "", 0644, 1, 0});
        writer.data("x");
        writer.begin({TarEntry::Kind::File, "fine", "", 0644, 1, 0});
        writer.data("y");
    }).ok);
    CHECK(bench.of_there("fine") == "y");  // one bad entry does not take the others with it
    const FilesVerdict verdict = bench.link.get("demo", {"out/victim", "a.txt"}, {});
    CHECK(verdict.files == 1);
    CHECK(bench.link.get("not/there", {}, {}).missing);
    CHECK(!fs::exists(bench.outside + "/planted"));
    CHECK(Bench::read(bench.outside + "/victim") == "safe");
}

TEST_CASE("dir: what holds our own files is not sent") {
    Bench bench;
    for (const std::string& dir : {bench.place.folder, bench.scratch.path, bench.place.folder + "/inner"}) {
        fs::create_directories(dir);
        CHECK_THROWS_AS(DirState(bench.place, "main", dir), Error);
    }
    CHECK_THROWS_AS(DirState(bench.place, "main", "/"), Error);
    CHECK_THROWS_AS(DirState(bench.place, "main", bench.dir + "/not-there"), Error);
}

TEST_CASE("dir: two folders of one name are two in the workspace") {
    Bench bench;
    CHECK(bench.send());
    const std::string other = bench.scratch.path + "/elsewhere/demo";
    fs::create_directories(other);
    DirState state(bench.place, "main", other);
    CHECK(state.name() != "demo");
    CHECK(state.name().starts_with("demo-"));
    std::string why;
    CHECK(DirState::only_dir(bench.place, "main", why) == bench.dir);
    state.save();
    CHECK(DirState::only_dir(bench.place, "main", why).empty());
    CHECK(why.find("--dir") != std::string::npos);
}

TEST_CASE("dir: decisions are the same from both sides") {
    const Listed one{Listed::Kind::File, 1, "1"}, two{Listed::Kind::File, 1, "2"}, three{Listed::Kind::File, 1, "3"};
    CHECK(send_step(one, one, two) == Step::Nothing);
    CHECK(send_step(one, two, one) == Step::Bring);
    CHECK(send_step(one, two, two) == Step::Adopt);
    CHECK(send_step(one, two, three) == Step::Conflict);
    CHECK(send_step({}, two, {}) == Step::Bring);
    CHECK(send_step({}, two, three) == Step::Conflict);
    CHECK(send_step(one, {}, one) == Step::Bring);
    CHECK(send_step(one, {}, {}) == Step::Adopt);
    CHECK(send_step(one, {}, two) == Step::Conflict);
    CHECK(apply_step(one, one, two) == Step::Bring);
    CHECK(apply_step(one, two, one) == Step::Nothing);
    for (const char* path : {".git", "a/.git/hooks/x", "A/.Git/x", ".hg/hgrc"}) CHECK(guard_of(path) == Guard::Never);
    for (const char* path : {".husky/x", "a/.envrc", ".VSCode/tasks.json"}) CHECK(guard_of(path) == Guard::Hooks);
    for (const char* path : {".gitignore", "git", "a.git", ".github/x"}) CHECK(guard_of(path) == Guard::None);
    CHECK(!leads_out("a/b/l", "../../x"));
    CHECK(leads_out("a/b/l", "../../../x"));
    CHECK(leads_out("l", "a/../b"));
    CHECK(leads_out("l", ".."));
    CHECK(!leads_out("a/l", ".."));
}
