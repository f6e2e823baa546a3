#include "context/prompt.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "os.h"
#include "skills/folders.h"
#include "skills/skill.h"

using namespace peacrab;

namespace {

Entry user(const std::string& text) {
    return {Entry::Kind::User, "t1", {}, text, {}, Outcome::Failed};
}

Entry result(const std::string& call, Outcome outcome = Outcome::Ok) {
    return {Entry::Kind::Result, "t1", call, "out of " + call, {}, outcome};
}

json::Value text_block(const std::string& text) {
    return json::Value::object({{"type", "text"}, {"text", text}});
}

Entry assistant(std::vector<json::Value> blocks) {
    return {
        Entry::Kind::Assistant, "t1", {}, {}, json::Value::array(std::move(blocks)), Outcome::Ok};
}

json::Value call(const std::string& id) {
    return json::Value::object({{"type", "tool_use"},
                                {"id", id},
                                {"name", "shell"},
                                {"input", json::Value::object({{"command", "true"}})}});
}

ModelRequest build(const std::vector<Entry>& entries) {
    return build_prompt({"main", "/home/agent/workspace", {true, {"scout", "writer"}, Partner::Person}}, entries);
}

const std::vector<json::Value>& blocks(const ModelRequest& request, size_t message) {
    return request.messages.items().at(message).at("content").items();
}

}  // namespace

TEST_CASE("prompt: every call is answered at once and in order, whatever came between") {
    const ModelRequest request =
        build({user("go"), assistant({text_block("ok"), call("a"), call("b")}), result("b"),
               result("a", Outcome::Failed), user("also this")});
    REQUIRE(request.messages.items().size() == 3);
    const auto& answers = blocks(request, 2);
    REQUIRE(answers.size() == 3);
    CHECK(answers[0].text("tool_use_id") == "a");
    CHECK(answers[0].flag("is_error"));
    CHECK(answers[1].text("tool_use_id") == "b");
    CHECK_FALSE(answers[1].flag("is_error"));
    CHECK(answers[2].text("text") == "also this");
}

TEST_CASE("prompt: a call that never finished is reported as interrupted") {
    const ModelRequest request =
        build({user("go"), assistant({call("a"), call("b")}), result("a"), user("what happened?")});
    const auto& answers = blocks(request, 2);
    REQUIRE(answers.size() == 3);
    CHECK(answers[1].text("tool_use_id") == "b");
    CHECK(answers[1].text("content") == kInterruptedCall);
    CHECK(answers[1].flag("is_error"));
}

TEST_CASE(
    "prompt: a result without a call, an empty text, an answer without a question are left out") {
    const ModelRequest request =
        build({assistant({text_block("orphan")}), result("ghost"), user("  \n"), user("hi"),
               assistant({text_block("hello")}), result("ghost"), user("bye")});
    REQUIRE(request.messages.items().size() == 3);
    CHECK(request.messages.items()[0].text("role") == "user");
    CHECK(blocks(request, 0).size() == 1);
    CHECK(blocks(request, 2).size() == 1);
    CHECK(blocks(request, 2)[0].text("text") == "bye");
}

TEST_CASE("prompt: roles alternate even when the journal's do not") {
    const ModelRequest request = build({user("a"), user("b"), assistant({text_block("c")}),
                                        assistant({text_block("d")}), user("e")});
    REQUIRE(request.messages.items().size() == 3);
    CHECK(blocks(request, 0).size() == 2);
    CHECK(blocks(request, 1).size() == 2);
}

TEST_CASE("prompt: two results for one call: the first one counts") {
    Entry second = result("a");
    second.text = "forged";
    const ModelRequest request = build({user("go"), assistant({call("a")}), result("a"), second});
    const auto& answers = blocks(request, 2);
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].text("content") == "out of a");
}

TEST_CASE(
    "prompt: the prefix does not change as the conversation grows, and breakpoints stay few") {
    const ModelRequest one = build({user("a")});
    const ModelRequest two = build({user("a"), assistant({text_block("b")}), user("c")});
    CHECK(json::dump(one.system) == json::dump(two.system));
    CHECK(json::dump(one.tools) == json::dump(two.tools));
    const std::string all =
        json::dump(two.system) + json::dump(two.tools) + json::dump(two.messages);
    size_t marks = 0;
    for (size_t at = all.find("cache_control"); at != std::string::npos;
         at = all.find("cache_control", at + 1))
        ++marks;
    CHECK(marks == 3);  // system, and where this request and the one before it end
}

TEST_CASE("prompt: skills stand before the operator's rules, and without any there is no word of them") {
    PromptOptions options{"main", "/work", {}, {}, "be kind"};
    const std::string without = json::dump(build_prompt(options, {user("a")}).system);
    CHECK(without.find("kill") == std::string::npos);
    options.skills = catalogue_of({{"one", "the first"}}, "/skills/1").text;
    const std::string with = build_prompt(options, {user("a")}).system.items().at(0).text("text");
    CHECK(with.find("\none: the first\nRules of") != std::string::npos);
    CHECK(with.find("\nSkills,") != std::string::npos);
}

// With the skills that come with the program, and all tools there are.
TEST_CASE("prompt: the first request stays within 4 KB") {
    const auto build = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path().parent_path();
    std::vector<Skill> bundled;
    for (const Pack::Found& found : find_pack({"", build.parent_path() / "skills", ""}).skills)
        bundled.push_back(read_skill(found.name, read_file(found.from + "/SKILL.md", KiB(64))));
    CHECK(bundled.size() >= 3);
    PromptOptions options{"main", "/home/agent/workspace", {true, {"scout", "writer"}, Partner::Person}};
    options.skills = catalogue_of(bundled, "/skills/01234567").text;
    const ModelRequest request = build_prompt(options, {user("hello")});
    const size_t size = json::dump(request.system).size() + json::dump(request.tools).size() +
                        json::dump(request.messages).size();
    MESSAGE("the first request has " << size << " bytes");
    CHECK(size <= 4096);
}

TEST_CASE("prompt: a picture stands behind the text of its own result") {
    const ModelRequest request =
        build({user("go"), assistant({call("a"), call("b")}), result("b"),
               {Entry::Kind::Picture, "t1", "b", "image/png;base64,TWFu", {}, Outcome::Ok}, result("a"),
               {Entry::Kind::Picture, "t1", "ghost", "image/png;base64,TWFu", {}, Outcome::Ok},
               {Entry::Kind::Picture, "t1", "a", "image/png;base64,no picture", {}, Outcome::Ok}});
    const auto& answers = blocks(request, 2);
    REQUIRE(answers.size() == 2);
    CHECK(answers[0].text("content") == "out of a");
    const auto& parts = answers[1].at("content").items();
    REQUIRE(parts.size() == 2);
    CHECK(parts[0].text("text") == "out of b");
    CHECK(json::dump(parts[1]) ==
          R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"TWFu"}})");
}
