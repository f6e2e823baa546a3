#include "config.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

TEST_CASE("config: every key reads, an empty file is the defaults") {
    const Config config = parse_config(
        "# mine\nmodel: m1\nmodel-url: 'http://127.0.0.1:1'\ncpus: 2\nmemory: 1G\ndisk: 512M\n"
        "accelerator: tcg\n",
        "c");
    CHECK(config.model == "m1");
    CHECK(config.model_url == "http://127.0.0.1:1");
    CHECK(config.cpus == 2);
    CHECK(config.memory == GiB(1));
    CHECK(config.disk == MiB(512));
    CHECK(config.accelerator == "tcg");
    for (const char* empty : {"", "# only a comment\n", "---\n"})
        CHECK(parse_config(empty, "c").model.empty());
}

TEST_CASE("config: a misspelt key is an error that names the line and the right ones") {
    try {
        (void)parse_config("model: a\nmodle: b\n", "file.yaml");
        FAIL("accepted");
    } catch (const Error& error) {
        const std::string text = error.what();
        CHECK(text.find("file.yaml: line 2") != std::string::npos);
        CHECK(text.find("modle") != std::string::npos);
        CHECK(text.find("model-url") != std::string::npos);
    }
}

TEST_CASE("config: what is not one flat mapping is refused") {
    for (const char* bad : {"- a\n", "model: [a]\n", "model: {a: b}\n", "a: &x 1\nmodel: *x\n",
                            "model: a\nmodel: b\n", "model: a\n---\nmodel: b\n", "model: \"a\n",
                            "cpus: 0\n", "cpus: many\n", "memory: -1\n", "memory: 1X\n",
                            "memory: 99999999999G\n", "accelerator: fast\n", "just text\n", "\x01"})
        CHECK_THROWS_AS((void)parse_config(bad, "c"), Error);
}

TEST_CASE("config: sizes read back as they were written") {
    for (const char* text : {"512M", "8G", "1K", "1000", "1025", "3T"})
        CHECK(format_size(parse_size(text)) == text);
    CHECK(format_size(KiB(1024)) == "1M");
}

TEST_CASE("config: a saved file loads the same, whatever stands in its values") {
    Config config;
    config.model = "it's: a #model";
    config.memory = MiB(768);
    const std::string path = "/tmp/peacrab-config-test-" + std::to_string(rand()) + "/c.yaml";
    save_config(path, config);
    const Config loaded = load_config(path);
    CHECK(loaded.model == config.model);
    CHECK(loaded.memory == config.memory);
    std::remove(path.c_str());
    std::remove(path.substr(0, path.rfind('/')).c_str());
}
