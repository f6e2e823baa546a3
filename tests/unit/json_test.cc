#include "json.h"

#include <doctest/doctest.h>

#include <cmath>

#include "error.h"

using namespace peacrab;

TEST_CASE("json: what was written reads back the same") {
    const std::string text =
        R"({"type":"x","n":-9007199254740993,"r":0.5,"t":true,"z":null,"a":[1,"é\n\"\\"],"o":{}})";
    CHECK(json::dump(json::parse(text)) == text);
}

TEST_CASE("json: a number is read back as the same, of the same kind") {
    for (const double number : {0.1, -0.0, 1.0, 1e23, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308,
                                1.0 / 3, 9007199254740993.0, 123456789012345680.0}) {
        const json::Value back = json::parse(json::dump(json::Value(number)));
        CHECK(back.kind() == json::Value::Kind::Real);
        CHECK(back.as_real() == number);
    }
    CHECK(json::dump(json::Value(INFINITY)) == "null");
}

TEST_CASE("json: depth, size, trailing bytes, bad UTF-8 and double keys are refused") {
    CHECK_NOTHROW((void)json::parse("[[[[[[[[1]]]]]]]]", {64, 8}));
    CHECK_THROWS_AS((void)json::parse("[[[[[[[[[1]]]]]]]]]", {64, 8}), Error);
    CHECK_THROWS_AS((void)json::parse(std::string(65, ' '), {64, 8}), Error);
    CHECK_THROWS_AS((void)json::parse("{} {}"), Error);
    CHECK_THROWS_AS((void)json::parse("\"\xff\""), Error);
    CHECK_THROWS_AS((void)json::parse(R"({"a":1,"a":2})"), Error);
    CHECK_THROWS_AS((void)json::parse(R"({"a":{"b":1,"c":2,"b":3}})"), Error);
    CHECK_THROWS_AS((void)json::parse(""), Error);
    CHECK_THROWS_AS((void)json::parse("{\"a\":1"), Error);
}

TEST_CASE("json: control bytes are escaped and broken UTF-8 is replaced when written") {
    CHECK(json::dump(json::Value(std::string("a\x1b\x01\xff"))) ==
          "\"a\\u001b\\u0001\xef\xbf\xbd\"");
    CHECK(json::valid_utf8("\xc0\xaf") == "\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(json::valid_utf8("\xed\xa0\x80") != "\xed\xa0\x80");
    CHECK(json::valid_utf8("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
}

TEST_CASE("json: typed reads refuse another kind, look-ups give the default") {
    const json::Value value = json::parse(R"({"n":1,"s":"x","b":true})");
    CHECK_THROWS_AS((void)value.at("n").as_string(), Error);
    CHECK_THROWS_AS((void)value.at("missing"), Error);
    CHECK(value.integer("s", 7) == 7);
    CHECK(value.text("n", "d") == "d");
    CHECK(value.flag("b"));
    CHECK_FALSE(value.flag("n"));
}
