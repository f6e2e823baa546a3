#include "config_edit.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "error.h"

using namespace peacrab;

namespace {

struct File {
    std::string folder;
    std::string path;
    explicit File(const std::string& text) {
        char name[] = "/tmp/peacrab-config-edit-XXXXXX";
        folder = ::mkdtemp(name);
        path = folder + "/config.yaml";
        write_file_atomic(path, text, 0640);
    }
    ~File() { [[maybe_unused]] int r = std::system(("rm -rf " + folder).c_str()); }
    std::string text() const { return read_file(path, KiB(256)); }
};

// The text after `edit` was done and saved.
template <typename Edit>
std::string edited(const std::string& text, Edit edit) {
    File file(text);
    ConfigEdit open(file.path);
    edit(open);
    open.save();
    CHECK(file.text() == open.text());
    return file.text();
}

template <typename Edit>
std::string refusal(const std::string& text, Edit edit) {
    File file(text);
    ConfigEdit open(file.path);
    std::string why;
    try {
        edit(open);
        open.save();
    } catch (const Error& error) {
        why = error.what();
    }
    CHECK(file.text() == text);
    CHECK(open.text() == text);
    CHECK(!why.empty());
    return why;
}

}  // namespace

TEST_CASE("config edit: a value is changed in its line, and what stands behind it stays") {
    const auto model = [](ConfigEdit& edit) { edit.set({"model"}, "new one"); };
    CHECK(edited("# a\nmodel: old  # why\ncpus: 2\n", model) == "# a\nmodel: new one  # why\ncpus: 2\n");
    CHECK(edited("model: 'it''s \xc3\xa9'   # b\n", model) == "model: new one   # b\n");
    CHECK(edited("\"model\" :   \"x\"\n", model) == "\"model\" :   new one\n");
    CHECK(edited("model: |\n  of\n  two\n# c\ncpus: 2\n", model) == "model: new one\n# c\ncpus: 2\n");
    CHECK(edited("model:\ncpus: 2\n", model) == "model: new one\ncpus: 2\n");
    CHECK(edited("model: old", model) == "model: new one\n");
    CHECK(edited("model: old\r\ncpus: 2\r\n", model) == "model: new one\r\ncpus: 2\r\n");
    CHECK(edited("model: 'a\n  b'\ncpus: 2\n", model) == "model: new one\ncpus: 2\n");
}

TEST_CASE("config edit: a value that is not there is put behind what is") {
    const auto model = [](ConfigEdit& edit) { edit.set({"model"}, "m"); };
    CHECK(edited("", model) == "model: m\n");
    CHECK(edited("# mine\n", model) == "# mine\nmodel: m\n");
    CHECK(edited("---\n", model) == "---\nmodel: m\n");
    CHECK(edited("cpus: 2\n...\n", model) == "cpus: 2\nmodel: m\n...\n");
    CHECK(edited("cpus: 2\n\n# the end\n", model) == "cpus: 2\nmodel: m\n\n# the end\n");
    CHECK(edited("  cpus: 2\n", model) == "  cpus: 2\n  model: m\n");
    CHECK(edited("agents:\n  a:\n    rules: |\n      x\n\n      y\n", model) ==
          "agents:\n  a:\n    rules: |\n      x\n\n      y\nmodel: m\n");
}

TEST_CASE("config edit: an agent is made, changed and removed, its neighbours and comments stay") {
    const std::string before =
        "model: m  # mine\n"
        "agents:\n"
        "    # the first\n"
        "    one:\n"
        "        model: a\n"
        "        # of one\n"
        "    two:   # nothing yet\n"
        "# at the end\n";
    CHECK(edited(before, [](ConfigEdit& edit) { edit.set({"agents", "one", "memory"}, "300M"); }) ==
          "model: m  # mine\nagents:\n    # the first\n    one:\n        model: a\n"
          "        memory: 300M\n        # of one\n    two:   # nothing yet\n# at the end\n");
    CHECK(edited(before, [](ConfigEdit& edit) { edit.set({"agents", "two", "model"}, "b"); }) ==
          "model: m  # mine\nagents:\n    # the first\n    one:\n        model: a\n"
          "        # of one\n    two:   # nothing yet\n      model: b\n# at the end\n");
    CHECK(edited(before, [](ConfigEdit& edit) { edit.make({"agents", "three"}); }) ==
          "model: m  # mine\nagents:\n    # the first\n    one:\n        model: a\n"
          "        # of one\n    two:   # nothing yet\n    three:\n# at the end\n");
    CHECK(edited(before, [](ConfigEdit& edit) { CHECK(edit.remove({"agents", "one"})); }) ==
          "model: m  # mine\nagents:\n    # the first\n    two:   # nothing yet\n# at the end\n");
    CHECK(edited(before, [](ConfigEdit& edit) {
              edit.remove({"agents", "one"});
              CHECK(edit.remove({"agents", "two"}));
              CHECK_FALSE(edit.remove({"agents", "two"}));
              edit.set({"agents", "one", "model"}, "again");
          }) == "model: m  # mine\nagents:\n  one:\n    model: again\n    # the first\n# at the end\n");
}

TEST_CASE("config edit: what is missing above a value is made") {
    const auto paused = [](ConfigEdit& edit) { edit.set({"agents", "scout", "paused"}, "true"); };
    CHECK(edited("cpus: 2\n", paused) == "cpus: 2\nagents:\n  scout:\n    paused: true\n");
    CHECK(edited("agents:\n", paused) == "agents:\n  scout:\n    paused: true\n");
    CHECK(edited("agents: {}  # none\ncpus: 2\n", paused) ==
          "agents:   # none\n  scout:\n    paused: true\ncpus: 2\n");
    CHECK(edited("agents:\n  scout:\ncpus: 2\n", paused) ==
          "agents:\n  scout:\n    paused: true\ncpus: 2\n");
}

TEST_CASE("config edit: items of a list come and go, an emptied list stays a list") {
    const auto add = [](ConfigEdit& edit) { CHECK(edit.add("egress", "b.example.org:443")); };
    CHECK(edited("egress:\n  - a.example.org:443  # one\ncpus: 2\n", add) ==
          "egress:\n  - a.example.org:443  # one\n  - b.example.org:443\ncpus: 2\n");
    CHECK(edited("egress:\n- a.example.org:443\ncpus: 2\n", add) ==
          "egress:\n- a.example.org:443\n- b.example.org:443\ncpus: 2\n");
    CHECK(edited("cpus: 2\n", add) == "cpus: 2\negress:\n  - b.example.org:443\n");
    CHECK(edited("egress: []\n", add) == "egress:\n  - b.example.org:443\n");
    CHECK(edited("egress:\n", add) == "egress:\n  - b.example.org:443\n");
    const std::string emptied = edited("# x\negress:\n  - a.example.org:443\n# y\n", [](ConfigEdit& edit) {
        CHECK_FALSE(edit.add("egress", "a.example.org:443"));
        CHECK(edit.take("egress", "a.example.org:443"));
        CHECK_FALSE(edit.take("egress", "a.example.org:443"));
    });
    CHECK(emptied == "# x\negress:\n# y\n");
    CHECK(parse_config(emptied, "c").egress_given);
    CHECK(edited("agents:\n  a:\n", [](ConfigEdit& edit) { edit.add("may-message", "main -> a"); }) ==
          "agents:\n  a:\nmay-message:\n  - main -> a\n");
}

TEST_CASE("config edit: what is in brackets or would change more is refused, and nothing is written") {
    const auto scout = [](ConfigEdit& edit) { edit.set({"agents", "scout", "model"}, "m"); };
    CHECK(refusal("cpus: 2\nagents: {a: {model: b}}\n", scout).find("line 2") != std::string::npos);
    CHECK(refusal("agents:\n  scout: {model: b,\n    cpus: 2}\n",
                  [](ConfigEdit& edit) { edit.remove({"agents", "scout", "model"}); })
              .find("by hand") != std::string::npos);
    refusal("{model: a}\n", scout);
    refusal("egress: [a.example.org:443]\n",
            [](ConfigEdit& edit) { edit.add("egress", "b.example.org:443"); });
    refusal("egress: [a.example.org:443, c.example.org:1]\n",
            [](ConfigEdit& edit) { edit.take("egress", "a.example.org:443"); });
    refusal("egress:\n  - a.example.org:443\n  -\n   b.example.org:443\n",
            [](ConfigEdit& edit) { edit.take("egress", "b.example.org:443"); });
}

TEST_CASE("config edit: what would be no configuration is not saved") {
    File file("cpus: 2\n");
    ConfigEdit edit(file.path);
    edit.set({"cpus"}, "many");
    CHECK_THROWS_WITH_AS(edit.save(), doctest::Contains("line 1: cpus"), Error);
    CHECK(file.text() == "cpus: 2\n");
}

TEST_CASE("config edit: any text is read back as it was given") {
    for (const char* text : {"it's: a #model", "- x", "true", "", " lead", "trail ", "a: b", "a:",
                             "line one\nline two", "\n\nx\n  y\n", "x\n\n", "x\n", "\xc3\xa9\xf0\x9f\xa6\x80",
                             "#x", "a # b", "'", "\"", "{a}", "*x", "! y", "a\\nb", "  deep\nless"}) {
        CAPTURE(std::string(text));
        const std::string result = edited("# c\nagents:\n  a:\n    model: x  # y\n",
                                          [&](ConfigEdit& edit) {
                                              edit.set({"agents", "a", "rules"}, text);
                                              edit.set({"agents", "a", "memory"}, "64M");
                                              edit.set({"agents", "a", "rules"}, text);
                                          });
        const Config config = parse_config(result, "c");
        CHECK(config.agents.find("a")->rules == text);
        CHECK(config.agents.find("a")->limits.memory == MiB(64));
        CHECK(result.find("model: x  # y\n") != std::string::npos);
        CHECK(edited(result, [](ConfigEdit& edit) {
                  edit.set({"agents", "a", "rules"}, "short");
              }).find("rules: short\n") != std::string::npos);
    }
    CHECK_THROWS_AS((void)yaml_value("a\x1b[2J", 0), Error);
}

TEST_CASE("config edit: mode and link of the file stay, an absent file is made for its owner alone") {
    File file("model: a\n");
    const std::string link = file.folder + "/link.yaml";
    REQUIRE(::symlink("config.yaml", link.c_str()) == 0);
    {
        ConfigEdit edit(link);
        edit.set({"model"}, "b");
        edit.save();
    }
    struct stat status {};
    REQUIRE(::lstat(link.c_str(), &status) == 0);
    CHECK(S_ISLNK(status.st_mode));
    CHECK(file.text() == "model: b\n");
    REQUIRE(::stat(file.path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0640);
    const std::string fresh = file.folder + "/deeper/config.yaml";
    ConfigEdit edit(fresh);
    edit.add("egress", "a.example.org:443");
    CHECK(::access(fresh.c_str(), F_OK) < 0);  // nothing before save()
    edit.save();
    REQUIRE(::stat(fresh.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("config edit: a file that is no configuration is not touched") {
    File file("modle: a\n");
    CHECK_THROWS_WITH_AS(ConfigEdit(file.path), doctest::Contains("line 1"), Error);
}
