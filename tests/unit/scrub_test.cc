#include "scrub.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

constexpr const char* kKey = "sk-ant-api03-Zx9/+Qw==7LmN_tail";

std::string pass(const std::string& text, size_t step) {
    Scrubber scrubber(kKey);
    std::string out;
    for (size_t at = 0; at < text.size(); at += step) out += scrubber.feed(text.substr(at, step));
    return out + scrubber.finish();
}

}  // namespace

TEST_CASE("scrub: the key is removed at every split of the stream") {
    const std::string text = std::string("before ") + kKey + " between " + kKey + kKey + " after";
    for (size_t step = 1; step <= text.size(); ++step)
        CHECK(pass(text, step) == "before [key removed] between [key removed][key removed] after");
}

TEST_CASE("scrub: base64 at any alignment and percent-encoding are removed") {
    // base64("sk-…"), base64("u:sk-…"), base64("xsk-…"): made by coreutils' base64.
    for (const char* form : {"c2stYW50LWFwaTAzLVp4OS8rUXc9PTdMbU5fdGFpbA==",
                             "dTpzay1hbnQtYXBpMDMtWng5LytRdz09N0xtTl90YWls",
                             "eHNrLWFudC1hcGkwMy1aeDkvK1F3PT03TG1OX3RhaWw="}) {
        const std::string out = pass(std::string("Basic ") + form + " end", 3);
        CHECK(out.find("[key removed]") != std::string::npos);
        CHECK(out.size() < 40);
        CHECK(out.ends_with(" end"));
    }
    CHECK(pass("k=sk-ant-api03-Zx9%2F%2BQw%3D%3D7LmN_tail&", 2) == "k=[key removed]&");
    CHECK(pass("k=sk-ant-api03-Zx9%2f%2bQw%3d%3d7LmN_tail&", 2) == "k=[key removed]&");
}

TEST_CASE("scrub: a stream is held back only while its end could begin a key") {
    Scrubber scrubber(kKey);
    CHECK(scrubber.feed("data: hello\n\n") == "data: hello\n\n");
    CHECK(scrubber.feed("x sk-an") == "x ");
    CHECK(scrubber.feed("swer\n\n") == "sk-answer\n\n");
    CHECK(scrubber.feed("sk-ant-api03") == "");
    CHECK(scrubber.finish() == "sk-ant-api03");
}

TEST_CASE("scrub: a false start directly before the key hides nothing") {
    CHECK(pass(std::string("sk-ant-sk-ant-api03-") + kKey, 1) ==
          "sk-ant-sk-ant-api03-[key removed]");
}

TEST_CASE("scrub: a placeholder is no key, and no key removes nothing") {
    for (const char* key : {"", "none", "ollama"}) {
        Scrubber scrubber(key);
        CHECK(scrubber.feed("ollama says none") == "ollama says none");
        CHECK(scrubber.whole("ollama") == "ollama");
    }
}
