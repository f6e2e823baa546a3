// What a machine's own files say of its package sources.
#include "egress_preset.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "config.h"
#include "error.h"
#include "os.h"

using namespace peacrab;

namespace {

using Texts = std::vector<std::string>;

class Folder {
  public:
    Folder() {
        char path[] = "/tmp/peacrab-preset.XXXXXX";
        REQUIRE(::mkdtemp(path));
        path_ = path;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name, const std::string& text) const {
        write_file_atomic(path_ + "/" + name, text, 0600);
        return path_ + "/" + name;
    }
    std::string path(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

bool public_host(const std::string&) { return false; }

}  // namespace

TEST_CASE("preset: apt's one-line sources") {
    CHECK(apt_list_addresses("# deb http://off.example/debian x main\n"
                             "deb http://deb.example.org/debian trixie main # note\n"
                             "deb-src http://src.example.org/debian trixie main\n"
                             "deb [arch=amd64 signed-by=/k] https://tools.example:8443/apt ./ \n"
                             "deb cdrom:[Debian]/ trixie main\n\ndeb\n") ==
          Texts{"http://deb.example.org/debian", "https://tools.example:8443/apt", "cdrom:/"});
}

TEST_CASE("preset: apt's stanzas, with continued lines, comments and what is off") {
    CHECK(apt_stanza_addresses("Types: deb deb-src\n# URIs: http://old.example\n"
                               "URIs: http://a.example/debian\n  http://b.example/debian\nSuites: x\n\n"
                               "Types: deb\nURIs: http://off.example\nEnabled: no\n\n"
                               "Types: deb-src\nURIs: http://src.example\n\n"
                               "types: deb\nuris: https://c.example/") ==
          Texts{"http://a.example/debian", "http://b.example/debian", "https://c.example/"});
}

TEST_CASE("preset: what npm and pip are told") {
    CHECK(npm_addresses("fund=false\nregistry = https://npm.example/\n@own:registry=https://own.example/x\n"
                        "//npm.example/:_authToken=secret\n") ==
          Texts{"https://npm.example/", "https://own.example/x"});
    CHECK(pip_addresses("[global]\nindex-url = https://u:p@pip.example/simple\n# index-url = http://no\n"
                        "extra-index-url =\n    https://one.example/\n    https://two.example/\ncert = /x\n") ==
          Texts{"https://u:p@pip.example/simple", "https://one.example/", "https://two.example/"});
}

TEST_CASE("preset: addresses become exact rules, without names, passwords and paths") {
    const Folder folder;
    PackageSources sources;
    sources.apt_lists = {folder.file("a.list", "deb http://deb.example.org/debian x main\n"
                                               "deb http://deb.example.org/other x main\n"
                                               "deb http://mirror.internal:3142/deb x main\n"
                                               "deb cdrom:[x]/ x main\ndeb file:/srv x main\n"
                                               "deb http://0x7f.1/ x main\n"),
                         folder.path("absent")};
    sources.addresses = {"https://user:secret@npm.example/x"};
    const auto rules =
        developer_rules(sources, [](const std::string& host) { return host == "mirror.internal"; });
    Texts texts;
    for (const EgressRule& rule : rules) texts.push_back(format_egress_rule(rule));
    CHECK(texts == Texts{"http://deb.example.org:80 GET HEAD",
                         "http://mirror.internal:3142 GET HEAD private", "npm.example:443"});
}

TEST_CASE("preset: it is written once, with a comment, beside what the person wrote") {
    const Folder folder;
    const std::string config = folder.file("config.yaml", "cpus: 2  # mine\n");
    PackageSources sources;
    sources.addresses = {"http://deb.example.org/"};
    CHECK(write_developer_preset(config, folder.path("marker"), sources, public_host).size() == 1);
    const std::string text = read_file(config, MiB(1));
    CHECK(text.starts_with("cpus: 2  # mine\n# What cells may reach"));
    CHECK(text.ends_with("egress:\n  - http://deb.example.org:80 GET HEAD\n"));
    // Taken out by the person: closed, and never filled again.
    write_file_atomic(config, "cpus: 2\n", 0600);
    CHECK(write_developer_preset(config, folder.path("marker"), sources, public_host).empty());
    CHECK(read_file(config, MiB(1)) == "cpus: 2\n");
}

TEST_CASE("preset: what the person has written is not touched, also when it is empty") {
    const Folder folder;
    for (const char* written : {"egress: []\n", "egress:\n  - a.example:443\n"}) {
        const std::string config = folder.file("config.yaml", written);
        PackageSources sources;
        sources.addresses = {"http://deb.example.org/"};
        ::unlink(folder.path("marker").c_str());
        CHECK(write_developer_preset(config, folder.path("marker"), sources, public_host).empty());
        CHECK(read_file(config, MiB(1)) == written);
    }
}

TEST_CASE("preset: a machine without sources, or a file that cannot be added to, stays closed") {
    const Folder folder;
    CHECK(write_developer_preset(folder.path("new.yaml"), folder.path("m1"), {}, public_host).empty());
    CHECK(load_config(folder.path("new.yaml")).egress.empty());
    CHECK(load_config(folder.path("new.yaml")).egress_given);
    const std::string braces = folder.file("braces.yaml", "{cpus: 2}\n");
    PackageSources sources;
    sources.addresses = {"http://deb.example.org/"};
    CHECK_THROWS_AS((void)write_developer_preset(braces, folder.path("m2"), sources, public_host), Error);
    CHECK(read_file(braces, MiB(1)) == "{cpus: 2}\n");
    CHECK(::access(folder.path("m2").c_str(), F_OK) != 0);
}
