#include "skills/skill.h"

#include <doctest/doctest.h>

#include "error.h"
#include "json.h"

using namespace peacrab;

namespace {

bool warned(const Skill& skill, const std::string& part) {
    for (const std::string& warning : skill.warnings)
        if (warning.find(part) != std::string::npos) return true;
    return false;
}

// What there is to say of one that cannot be used; "" when it can.
std::string refusal(const std::string& folder, const std::string& text) {
    try {
        (void)read_skill(folder, text);
        return {};
    } catch (const Error& error) {
        return error.what();
    }
}

std::string with_description(const std::string& value) {
    return "---\nname: a\ndescription: " + value + "\n---\nbody\n";
}

std::vector<Skill> many(size_t count, size_t length) {
    std::vector<Skill> skills;
    for (size_t i = 0; i < count; ++i) skills.push_back({"skill-" + std::to_string(i), std::string(length, 'x')});
    return skills;
}

}  // namespace

TEST_CASE("skill: name and description are taken, and the known rest brings no warning") {
    const Skill skill = read_skill(
        "pdf-forms",
        "---\nname: pdf-forms\ndescription: >\n  Fill in forms.\n  Use it for PDF.\nlicense: MIT\n"
        "metadata:\n  author: me\n  version: \"1.0\"\ncompatibility: needs python3\n---\n# Body\n---\nmore\n");
    CHECK(skill.name == "pdf-forms");
    CHECK(skill.description == "Fill in forms. Use it for PDF.");
    CHECK(skill.warnings.empty());
}

TEST_CASE("skill: what real ones bend is a warning") {
    CHECK(warned(read_skill("a", "---\ndescription: x\n---\n"), "no name"));
    CHECK(warned(read_skill("a", "---\nname: b\ndescription: x\n---\n"), "calls itself `b`"));
    CHECK(warned(read_skill("a", "---\nname: a\ndescription: x\nversion: 2\ntriggers: [b, c]\n---\n"),
                 "ignored: version, triggers"));
    CHECK(warned(read_skill("a", "---\nname: a\ndescription: x\nallowed-tools: Bash(*)\n---\n"), "not a grant"));
    const Skill windows = read_skill("a", "\xef\xbb\xbf---\r\nname: a\r\ndescription: x y\r\n---\r\nbody");
    CHECK(windows.description == "x y");
    CHECK(windows.warnings.empty());
    CHECK(read_skill("a", "\n\n---  \nname: a\ndescription: x\n--- \n").description == "x");
}

TEST_CASE("skill: what is no YAML is read line by line") {
    const Skill colons = read_skill("a", with_description("Use it: when a: b"));
    CHECK(colons.description == "Use it: when a: b");
    CHECK(warned(colons, "not YAML"));
    CHECK(read_skill("a", "---\nname: a\ndescription: x: y\n  and more\nmetadata: &m {a: *m}\n---\n").description ==
          "x: y and more");
    CHECK(read_skill("a", "---\nmetadata:\n  description: not this: one\ndescription: \"this: one\"\n---\n").description ==
          "this: one");
    CHECK(read_skill("a", "---\ndescription: >-\n  one: two\nbad: [\n---\n").description == "one: two");
    CHECK(read_skill("a", "---\ndescription: first\ndescription: second\n---\n").description == "first");
}

TEST_CASE("skill: line ends that only YAML knows lead nowhere outside of the text") {
    for (const std::string end : {"\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"}) {
        const Skill skill = read_skill("s", "---\nname: s\nx: a" + end + end + end + end +
                                                "y: b\ndescription: said\nmore: |\n  text\n---\n");
        CHECK(skill.description == "said");
    }
}

TEST_CASE("skill: what cannot be used says why") {
    CHECK(refusal("a", "").find("does not begin") != std::string::npos);
    CHECK(refusal("a", "# Only a title\n").find("does not begin") != std::string::npos);
    CHECK(refusal("a", "---\nname: a\ndescription: x\n").find("second ---") != std::string::npos);
    CHECK(refusal("a", "---\nname: a\n---\n").find("no description") != std::string::npos);
    CHECK(refusal("a", "---\n- a\n- b\n---\n").find("no description") != std::string::npos);
    CHECK(refusal("a", "---\ndescription: [x]\n---\n").find("no description") != std::string::npos);
    CHECK(refusal("a", "---\ndescription: \" \\n \"\n---\n").find("no description") != std::string::npos);
    CHECK(refusal("a", "---\n---\n").find("no description") != std::string::npos);
    for (const char* name : {"", ".", "..", "../a", "a/b", "a b", ".git", "-rf", "a\nb", "\xc3\xa9"})
        CHECK(refusal(name, with_description("x")).find("folder's name") != std::string::npos);
    CHECK(refusal(std::string("a\0b", 3), with_description("x")).find("folder's name") != std::string::npos);
    CHECK(refusal(std::string(65, 'a'), with_description("x")).find("folder's name") != std::string::npos);
    CHECK(refusal(std::string(64, 'a'), with_description("x")).empty());
}

TEST_CASE("skill: a hostile front matter is bounded, and costs no more than its size") {
    CHECK(refusal("a", "---\ndescription: " + std::string(kMaxFrontMatter, 'x') + "\n---\n").find("16 KiB") !=
          std::string::npos);
    CHECK(refusal("a", with_description("x") + std::string(kMaxSkillText, 'x')).find("256 KiB") != std::string::npos);
    std::string bomb = "---\na: &a [x, x]\n";
    for (char c = 'b'; c < 'z'; ++c)
        bomb += std::string(1, c) + ": &" + c + " [*" + std::string(1, static_cast<char>(c - 1)) + ", *" +
                std::string(1, static_cast<char>(c - 1)) + "]\n";
    const Skill laughs = read_skill("a", bomb + "description: after all\n---\n");
    CHECK(laughs.description == "after all");
    CHECK(warned(laughs, "not YAML"));
    CHECK(read_skill("a", "---\ndescription: x\nd: " + std::string(5000, '[') + "\n---\n").description == "x");
    CHECK(read_skill("a", "---\ndescription: x\nd: " + std::string(5000, '{') + "\n---\n").description == "x");
    CHECK(read_skill("a", "---\ndescription: x\n" + std::string(8000, '?') + "\n---\n").description == "x");
}

TEST_CASE("skill: a description is one line without control bytes, whatever it holds") {
    using namespace std::string_literals;
    for (const std::string& value :
         {"a\x1b[31mb"s, "a\0b"s, "a\xff\xfe\x62"s, "a\x7f\x62"s, "\"a\\u202eb\""s, "\"a\\r\\n\\nb\""s, "\"a\\eb\\0\""s}) {
        const Skill skill = read_skill("a", with_description(value));
        CHECK(json::valid_utf8(skill.description) == skill.description);
        for (const char c : skill.description) {
            CHECK(static_cast<unsigned char>(c) >= 0x20);
            CHECK(c != 0x7f);
        }
        CHECK(skill.description.find("\xe2\x80\xae") == std::string::npos);
    }
    const Skill longer = read_skill("a", with_description(std::string(3000, 'x')));
    CHECK(longer.description.size() <= kMaxDescription);
    CHECK(warned(longer, "shortened"));
    std::string umlauts;
    for (int i = 0; i < 1000; ++i) umlauts += "\xc3\xbc";
    const std::string cut = read_skill("a", with_description(umlauts)).description;
    CHECK(cut.size() <= kMaxDescription);
    CHECK(json::valid_utf8(cut) == cut);
    const std::string warning = read_skill("a", "---\nname: \"x\\n\\e[2J\"\ndescription: d\n---\n").warnings.at(0);
    CHECK(warning.find('\x1b') == std::string::npos);
    CHECK(warning.find('\n') == std::string::npos);
}

TEST_CASE("skill: the catalogue says where they are, one line each; without any it is empty") {
    CHECK(catalogue_of({}, "/skills").text.empty());
    const Catalogue two = catalogue_of({{"a", "first"}, {"b", "second"}}, "/skills/1");
    CHECK(two.text ==
          "Skills, for when one fits the task: read /skills/1/NAME/SKILL.md first, then follow it.\na: first\nb: second");
    CHECK(two.warnings.empty());
}

TEST_CASE("skill: a catalogue that is too long is shortened first, then cut from the end, and says so") {
    const Catalogue shorter = catalogue_of(many(50, 400), "/skills");
    CHECK(shorter.text.size() <= kMaxCatalogue);
    CHECK(shorter.text.size() > kMaxCatalogue - 100);
    CHECK(shorter.text.find("skill-49: xxx") != std::string::npos);
    CHECK(shorter.warnings.size() == 1);
    const Catalogue cut = catalogue_of(many(kMaxSkills, 400), "/skills");
    CHECK(cut.text.size() <= kMaxCatalogue);
    CHECK(cut.text.find("skill-0: xxx") != std::string::npos);
    CHECK(cut.text.find("skill-199: xxx") == std::string::npos);
    CHECK(cut.warnings.size() == 2);
    CHECK(catalogue_of(many(3, 50), "/skills", 10).text.empty());
}
