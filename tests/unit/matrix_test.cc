// Events as other servers and strangers write them.
#include <doctest/doctest.h>

#include "channels/event_parts.h"
#include "channels/matrix_event.h"

using namespace peacrab;

namespace {

const MatrixSelf kPea{"@pea:test.example", "Pea"};

json::Value event_of(const std::string& content) {
    return json::parse(R"({"type":"m.room.message","event_id":"$e","sender":"@ann:test.example","content":)" + content + "}", {1 << 20, 16});
}

json::Value file_of(const std::string& address) {
    const auto said = read_matrix_event(event_of(R"({"msgtype":"m.file","body":"x","url":")" + address + "\"}"), {"!r:test.example", "", true}, kPea);
    REQUIRE(said);
    return said->find("files")->items()[0];
}

json::Value member(const std::string& now, const std::string& before, const char* who = "@pea:test.example") {
    return json::parse(R"({"type":"m.room.member","state_key":")" + std::string(who) + R"(","content":{"membership":")" + now +
                           R"("},"unsigned":{"prev_content":{"membership":")" + before + "\"}}}",
                       {1 << 20, 16});
}

}  // namespace

TEST_CASE("matrix: only what names a file of a server is a file's handle") {
    for (const char* address : {"mxc://test.example/AbC_d-9", "mxc://127.0.0.1:8448/x", "mxc://[::1]:8448/x"}) {
        CAPTURE(address);
        CHECK(is_matrix_media(address));
        CHECK(file_of(address).text("handle") == address);
    }
    for (const char* address : {"", "mxc://", "mxc:///x", "mxc://a/", "mxc://../x", "mxc://./x", "mxc://a/..", "mxc://a/b/c", "mxc://a/b?c", "mxc://a/b#c",
                                "mxc://a%2f../x", "mxc://a/%2e%2e", "mxc://a\\\\b/c", "mxc://user@a/b", "https://a/b", "MXC://a/b", "mxc://a b/c"}) {
        CAPTURE(address);
        CHECK_FALSE(is_matrix_media(address));
        CHECK(file_of(address).find("handle") == nullptr);
        CHECK_FALSE(file_of(address).text("note").empty());
    }
    CHECK_FALSE(is_matrix_media("mxc://a/" + std::string(600, 'x')));
}

TEST_CASE("matrix: what was said before it came in is not for it") {
    const json::Value said = event_of(R"({"msgtype":"m.text","body":"x"})");
    const std::string self = kPea.user;
    CHECK(entry_of({}, self) == 0);
    CHECK(entry_of({said, member("invite", ""), said, member("join", "invite"), said}, self) == 1);
    CHECK(entry_of({said, member("join", ""), said}, self) == 1);
    CHECK(entry_of({said, member("join", "leave"), said, member("join", "join"), said}, self) == 1);
    CHECK(entry_of({said, member("join", "", "@bob:test.example"), said}, self) == 0);
}

TEST_CASE("matrix: an answer and a thread are told as the specification has them") {
    CHECK(matrix_content("a", "a", "", "").find("formatted_body") == nullptr);
    CHECK(matrix_content("a", "a", "", "").find("m.relates_to") == nullptr);
    const json::Value answer = matrix_content("a", "<b>a</b>", "", "$b");
    CHECK(answer.text("format") == "org.matrix.custom.html");
    CHECK(part(part(answer, "m.relates_to"), "m.in_reply_to").text("event_id") == "$b");
    CHECK(part(answer, "m.relates_to").find("rel_type") == nullptr);
    for (const char* answers : {"", "$b"}) {
        const json::Value content = matrix_content("a", "a", "$root", answers), &relation = part(content, "m.relates_to");
        CHECK(relation.text("rel_type") == "m.thread");
        CHECK(relation.text("event_id") == "$root");
        CHECK(relation.flag("is_falling_back") == (*answers == '\0'));
        CHECK(part(relation, "m.in_reply_to").text("event_id") == (*answers ? answers : "$root"));
    }
    CHECK(matrix_content("a", "a", "not an event", "nor this").find("m.relates_to") == nullptr);
}
