// Lines of IRC, as hostile bytes.
#include <doctest/doctest.h>

#include "channels/irc_line.h"

using namespace peacrab;

TEST_CASE("irc: a line is taken apart") {
    const IrcLine line = parse_irc("@msgid=a1;account=ann;x=\\:\\s\\\\ :ann!u@h privmsg #room :pea: hello : there");
    CHECK(line.tags.at("msgid") == "a1");
    CHECK(line.tags.at("x") == "; \\");
    CHECK(line.nick() == "ann");
    CHECK(line.command == "PRIVMSG");
    REQUIRE(line.words.size() == 2);
    CHECK(line.word(1) == "pea: hello : there");
    CHECK(line.word(7).empty());
}

TEST_CASE("irc: what is no line is one with nothing in it") {
    for (const char* text : {"", " ", ":", "@", "@a", "@;;=;", ":x", ":x ", "::", "@a :b", "\x01"}) {
        CAPTURE(text);
        CHECK(parse_irc(text).words.empty());
    }
    CHECK(parse_irc("A b c d e f g h i j k l m n o p q r s").words.size() == 15);
    std::string tags = "@";
    for (int n = 0; n < 1000; ++n) tags += "t" + std::to_string(n) + ";";
    CHECK(parse_irc(tags + " :a!b@c PRIVMSG x :y").tags.size() == 64);
}

TEST_CASE("irc: who is meant") {
    std::string text = "Pea[1]:   do it";
    CHECK(irc_addressed(text, "pea{1}"));
    CHECK(text == "do it");
    for (const char* other : {"peas: hi", "pea", "pea hi", "", ":pea", "hi pea:"}) {
        std::string same = other;
        CHECK(!irc_addressed(same, "pea"));
        CHECK(same == other);
    }
    std::string only = "pea:";
    CHECK(irc_addressed(only, "pea"));
    CHECK(only.empty());
}

TEST_CASE("irc: codes for how it looks are not what is said") {
    CHECK(irc_plain("\x02" "bold\x0f \x03" "04,12red\x03 \x1d" "x\x1b[2J") == "bold red x[2J");
    CHECK(irc_plain("\x03" "12345") == "345");
    CHECK(irc_plain("\x03" "1,x") == ",x");
}

TEST_CASE("irc: a text ends no line") {
    CHECK(irc_text(std::string("a\r\nQUIT\0b", 9)) == "a  QUIT b");
}
