// What fits a schema and what does not; a schema that asks for what is not enforced is refused.
#include "channels/schema.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

namespace {

std::string problems(const std::string& schema, const std::string& value) {
    std::string all;
    for (const std::string& each : Schema(schema).problems(json::parse(value, json::kModelLimits)))
        all += (all.empty() ? "" : "|") + each;
    return all;
}

std::string refusal(const std::string& schema) {
    try {
        const Schema read(schema);
        return "";
    } catch (const Error& error) {
        return error.what();
    }
}

std::string stripped(const std::string& reply) {
    json::Value value;
    try {
        return std::string(json_of_reply(reply, value));
    } catch (const Error&) {
        return "none";
    }
}

}  // namespace

TEST_CASE("schema: what fits and what does not, case by case") {
    const struct {
        const char* schema;
        const char* value;
        const char* problems;
    } cases[] = {
        {"{}", "[1,{\"a\":null}]", ""},
        {"true", "1", ""},
        {"false", "1", "$: nothing is allowed here"},
        {R"({"type":"integer"})", "3", ""},
        {R"({"type":"integer"})", "3.0", ""},
        {R"({"type":"integer"})", "3.5", "$: wanted integer, got 3.5"},
        {R"({"type":"number"})", "3", ""},
        {R"({"type":"number"})", "\"3\"", "$: wanted number, got \"3\""},
        {R"({"type":["string","null"]})", "null", ""},
        {R"({"type":["string","null"]})", "false", "$: wanted string or null, got false"},
        {R"({"type":"boolean"})", "true", ""},
        {R"({"type":"array"})", "{}", "$: wanted array, got {}"},
        {R"({"type":"object"})", "[]", "$: wanted object, got []"},
        {R"({"const":{"a":1,"b":[2]}})", R"({"b":[2.0],"a":1})", ""},
        {R"({"const":1})", "true", "$: wanted 1, got true"},
        {R"({"enum":["a","b",3]})", "3", ""},
        {R"({"enum":["a","b"]})", "\"c\"", "$: wanted one of [\"a\",\"b\"], got \"c\""},
        {R"({"minimum":2,"maximum":4})", "2", ""},
        {R"({"minimum":2,"maximum":4})", "4.5", "$: 4.5 is above maximum 4"},
        {R"({"minimum":2})", "-1", "$: -1 is below minimum 2"},
        {R"({"minimum":2})", "\"text is no number\"", ""},
        {R"({"minLength":2,"maxLength":3})", "\"äöü\"", ""},
        {R"({"maxLength":2})", "\"äöü\"", "$: its length 3 is above maxLength 2"},
        {R"({"minLength":1})", "\"\"", "$: its length 0 is below minLength 1"},
        {R"({"minItems":1,"maxItems":2})", "[]", "$: its number of items 0 is below minItems 1"},
        {R"({"minItems":1,"maxItems":2})", "[1,2,3]", "$: its number of items 3 is above maxItems 2"},
        {R"({"items":{"type":"string"}})", R"(["a",1,"b",2])",
         "$[1]: wanted string, got 1|$[3]: wanted string, got 2"},
        {R"({"required":["a","b"]})", R"({"b":null})", "$: `a` is missing"},
        {R"({"required":["a"]})", "[]", ""},
        {R"({"properties":{"a":{"type":"string"}}})", R"({"a":1,"b":2})", "$.a: wanted string, got 1"},
        {R"({"properties":{"a":{}},"additionalProperties":false})", R"({"a":1,"b":2})", "$.b: is not allowed here"},
        {R"({"properties":{"a":{}},"additionalProperties":{"type":"integer"}})", R"({"a":"x","b":"y"})",
         "$.b: wanted integer, got \"y\""},
        {R"({"properties":{"a":{"items":{"properties":{"b":{"minimum":5}}}}}})", R"({"a":[{"b":9},{"b":1}]})",
         "$.a[1].b: 1 is below minimum 5"},
        {R"({"anyOf":[{"type":"string"},{"type":"integer","minimum":1}]})", "7", ""},
        {R"({"anyOf":[{"type":"string"},{"type":"integer","minimum":1}]})", "0",
         "$: fits none of anyOf ($: wanted string, got 0; or $: 0 is below minimum 1)"},
        {R"({"$schema":"x","title":"t","description":"d","default":1,"examples":[2]})", "\"any\"", ""},
    };
    for (const auto& each : cases) {
        CAPTURE(each.schema);
        CAPTURE(each.value);
        CHECK(problems(each.schema, each.value) == each.problems);
    }
}

TEST_CASE("schema: one that asks for what is not enforced, or says nothing, is refused with where") {
    const struct {
        const char* schema;
        const char* says;
    } cases[] = {
        {R"({"pattern":"^a"})", "unknown keyword `pattern`; known are type,"},
        {R"({"properties":{"n":{"items":{"format":"date"}}}})", "properties.n.items: unknown keyword `format`"},
        {R"({"anyOf":[{},{"$ref":"#"}]})", "anyOf[1]: unknown keyword `$ref`"},
        {R"({"type":"text"})", "type: a type is"},
        {R"({"type":[]})", "type: no type at all"},
        {R"({"required":"a"})", "required: a list of names"},
        {R"({"required":[1]})", "required: a list of names"},
        {R"({"enum":[]})", "enum: a list of values"},
        {R"({"anyOf":[]})", "anyOf: a list of schemas"},
        {R"({"minLength":-1})", "minLength: a number from 0 on"},
        {R"({"maxItems":1.5})", "maxItems: a number from 0 on"},
        {R"({"minimum":"1"})", "minimum: a number"},
        {R"({"properties":[]})", "properties: an object"},
        {R"({"items":[{}]})", "items: a schema is an object"},
        {R"({"items":)", "schema: json:"},
        {"7", "a schema is an object, true or false"},
        {"{\"\\u001b[2J\":1}", "unknown keyword `\\u001b[2J`"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.schema);
        CHECK(refusal(each.schema).find(each.says) != std::string::npos);
    }
    std::string deep = "{}";
    for (int n = 0; n < 40; ++n) deep = "{\"items\":" + deep + "}";
    CHECK(refusal(deep) != "");
    CHECK(refusal("{\"title\":\"" + std::string(70'000, 'x') + "\"}").find("64 KiB") != std::string::npos);
}

TEST_CASE("schema: of many problems the first eight are told") {
    std::string many = "[1";
    for (int n = 0; n < 50; ++n) many += ",1";
    CHECK(Schema(R"({"items":{"type":"string"}})").problems(json::parse(many + "]")).size() == 8);
}

TEST_CASE("schema: a name that a model has made up stays on its line, without what a terminal obeys") {
    const std::string closed = R"({"properties":{},"additionalProperties":false})";
    CHECK(problems(closed, R"({"a\nb\u001b[2J":1})") == "$.a\\nb\\u001b[2J: is not allowed here");
    CHECK(problems(closed, R"({"\u202ex\"":1})") == "$.\\u{202e}x\\\": is not allowed here");
    std::string cut(99, 'x');
    CHECK(problems(closed, "{\"" + cut + "\xc3\xa4\":1}") == "$." + cut + "\xef\xbf\xbd: is not allowed here");
    CHECK(refusal(R"({"properties":{"a\nb":{"type":"text"}}})").starts_with("schema: properties.a\\nb.type: a type is"));
}

TEST_CASE("schema: the JSON of a reply is what is left without blanks and one fence, as written") {
    CHECK(stripped(R"({"a": 1.10})") == R"({"a": 1.10})");
    CHECK(stripped(" \n[1]\n\n") == "[1]");
    CHECK(stripped("```json\n{\"a\":\n 1}\n```\n") == "{\"a\":\n 1}");
    CHECK(stripped("```\n\"x\"```") == "\"x\"");
    CHECK(stripped("Here it is:\n```json\n{}\n```") == "none");
    CHECK(stripped("{} {}") == "none");
    CHECK(stripped("```") == "none");
    CHECK(stripped("``````") == "none");
    CHECK(stripped("```json```") == "none");
    CHECK(stripped("") == "none");
    CHECK(stripped(R"({"a":1,"a":2})") == "none");
}
