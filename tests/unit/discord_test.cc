#include <doctest/doctest.h>

#include "channels/discord_api.h"
#include "channels/discord_cursor.h"
#include "channels/discord_event.h"
#include "channels/discord_gaps.h"
#include "channels/discord_poster.h"
#include "error.h"

using namespace peacrab;

namespace {

using Kind = DiscordAnswer::Kind;

const DiscordSelf kSelf{"4242", "pea"};

// The event of one message; `rest` are further members of it.
json::Value event(const std::string& rest, const DiscordPlace& place = {false, "#general (Team)"}) {
    const json::Value message = json::parse(
        R"({"id":"175928847299117063","channel_id":"101","author":{"id":"7","username":"ada","global_name":"Ada"})" + rest + "}",
        {size_t{1} << 20, 32});
    const std::optional<json::Value> read = read_discord_message(message, place, kSelf);
    return read ? *read : json::Value();
}

DiscordAnswer refusal(int status, int code) {
    return read_discord_answer(status, R"({"message":"no","code":)" + std::to_string(code) + "}");
}

json::Value message(uint64_t id) { return json::Value::object({{"id", std::to_string(id)}}); }

}  // namespace

TEST_CASE("discord: a refusal is of the class that says what to do with it") {
    CHECK(refusal(400, 50006).failure.kind == std::string("permanent"));
    CHECK(refusal(403, 50007).failure.kind == std::string("gone"));
    CHECK(refusal(404, 10003).failure.kind == std::string("gone"));
    CHECK(refusal(404, 10008).failure.kind == std::string("permanent"));
    CHECK(refusal(500, 0).failure.kind == std::string("transient"));
    CHECK(refusal(401, 0).kind == Kind::Auth);
    CHECK(read_discord_answer(204, "").ok());
    CHECK(read_discord_answer(200, R"({"id":"1"})").ok());
    for (const char* body : {"", "{", "7", "null", "<html>", "[[[[[[[["})
        CHECK(read_discord_answer(200, body).failure.kind == std::string("unknown"));
    CHECK(read_discord_answer(502, "<html>").failure.kind == std::string("transient"));
    CHECK(read_discord_answer(403, "<html>").failure.kind == std::string("transient"));
    const DiscordAnswer form = read_discord_answer(
        400, R"({"message":"Invalid Form Body","code":50035,"errors":{"content":{"_errors":[{"message":"too long"}]}}})");
    CHECK(form.failure.error.find("too long") != std::string::npos);
}

TEST_CASE("discord: how long to wait is what it says, within reason") {
    const auto wait = [](const char* body, const char* header = "") {
        return read_discord_answer(429, body, header).failure.retry.count();
    };
    CHECK(wait(R"({"message":"x","retry_after":30})") == 30'000);
    CHECK(wait(R"({"message":"x","retry_after":0})") == 100);
    CHECK(wait(R"({"message":"x","retry_after":0.643})") == 643);
    CHECK(wait(R"({"message":"x","retry_after":1e300})") == 86'400'000);
    CHECK(wait(R"({"message":"x","retry_after":-1})") == 5'000);
    CHECK(wait(R"({"message":"x","retry_after":"9"})", "2.5") == 2'500);
    CHECK(wait("<html>", "7") == 7'000);
    CHECK(wait("<html>", "soon") == 5'000);
    CHECK(read_discord_answer(429, R"({"message":"x","global":true})").global);
}

TEST_CASE("discord: an id is a number") {
    CHECK(discord_id("175928847299117063") == 175928847299117063U);
    for (const char* text : {"", "0", "-5", "1.5", "x", " 7", "99999999999999999999", "../users/@me"}) CHECK(!discord_id(text));
}

TEST_CASE("discord: what is not an address or a token is told, and nothing is hidden in one") {
    CHECK_THROWS_AS(DiscordApi("https://discord.com/api/v10", Secret("a b")), Error);
    CHECK_THROWS_AS(DiscordApi("https://discord.com/api/v10", Secret("a\r\nx: y")), Error);
    CHECK_THROWS_AS(DiscordApi("https://discord.com/api/v10", Secret()), Error);
    for (const char* base : {"", "discord.com", "ftp://x", "https://x/", "https://x/?a", "https://x\n"})
        CHECK_THROWS_AS(DiscordApi(base, Secret("a.b-c_d")), Error);
    CHECK_NOTHROW(DiscordApi("https://discord.com/api/v10", Secret("a.b-c_d")));
}

TEST_CASE("discord: who is spoken to") {
    CHECK(!event(R"(,"type":0,"content":"hi")").flag("addressed"));
    CHECK(event(R"(,"type":0,"content":"hi")", {true, ""}).flag("addressed"));
    const json::Value named = event(R"(,"type":0,"content":"<@!4242>: hi <@8>","mentions":[{"id":"4242"},{"id":"8","username":"bob"}])");
    CHECK(named.flag("addressed"));
    CHECK(named.text("text") == "hi @bob");
    const json::Value reply =
        event(R"(,"type":19,"content":"and?","referenced_message":{"id":"9","content":"x","author":{"id":"4242"}})");
    CHECK(reply.flag("addressed"));
    CHECK(reply.at("reply_to").flag("own"));
    CHECK(event(R"(,"type":0,"content":"only me","mentions":[{"id":"4242"}])").text("text") == "only me");
    CHECK(event(R"(,"type":0,"content":"<@4242>","mentions":[{"id":"4242"}])").flag("addressed"));
}

TEST_CASE("discord: what nobody said is no event") {
    CHECK(event(R"(,"type":7,"content":"")").is_null());
    CHECK(event(R"(,"type":0,"content":"")").is_null());
    CHECK(event(R"(,"content":"hi")").is_null());
    const json::Value own = json::parse(R"({"id":"5","channel_id":"1","type":0,"content":"x","author":{"id":"4242"}})");
    CHECK(!read_discord_message(own, {true, ""}, kSelf));
}

TEST_CASE("discord: marks that are cut short or are none stay as they are") {
    for (const char* text : {"<@", "<@>", "<@!", "<@12", "<:a", "<::1>", "<:a:b>", "<a:", "<", "a<@&5>", "<#7>", "<t:123:R>"}) {
        const json::Value read = event(R"(,"type":0,"content":")" + std::string(text) + "\"");
        CHECK(read.text("text") == text);
    }
}

TEST_CASE("discord: only a change by its writer is an edit, and each has a key of its own") {
    const auto edit = [](const std::string& rest) {
        return read_discord_edit(json::parse(R"({"id":"5","channel_id":"1","type":0,"author":{"id":"7"})" + rest + "}"), {true, ""}, kSelf);
    };
    CHECK(!edit(R"(,"content":"x","edited_timestamp":null)"));
    CHECK(!edit(R"(,"edited_timestamp":"2026-01-01")"));
    const std::optional<json::Value> one = edit(R"(,"content":"x","edited_timestamp":"2026-01-01")");
    const std::optional<json::Value> two = edit(R"(,"content":"x","edited_timestamp":"2026-01-02")");
    REQUIRE((one && two));
    CHECK(one->text("kind") == "edit");
    CHECK(one->text("key") != two->text("key"));
}

TEST_CASE("discord: a press is one of a button below our own message, by who it says") {
    const std::string good = R"({"id":"175928847299117063","type":3,"token":"aW50ZXI_-.x=","channel_id":"101","guild_id":"100",)"
                             R"("member":{"nick":"Ady","user":{"id":"7","username":"ada","global_name":"Ada"}},)"
                             R"("message":{"id":"55","author":{"id":"4242"}},"data":{"component_type":2,"custom_id":"ab12"}})";
    const auto press = [](std::string text, const std::string& from = {}, const std::string& to = {}) {
        if (const size_t at = text.find(from); !from.empty()) {
            REQUIRE(at != std::string::npos);
            text.replace(at, from.size(), to);
        }
        return read_discord_press(json::parse(text), {false, "#general (Team)"}, kSelf);
    };
    const std::optional<json::Value> event = press(good);
    REQUIRE(event);
    CHECK(json::dump(*event) == R"({"key":"press 175928847299117063","kind":"press","conversation":"101","scope":"group","id":"55",)"
                                R"~("sender":"7","name":"Ady","value":"ab12","at":1462015105796,"title":"#general (Team)"})~");
    for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{{R"("4242")", R"("4243")"},
                                   {R"("type":3)", R"("type":2)"},
                                   {R"("component_type":2)", R"("component_type":3)"},
                                   {R"("ab12")", R"("")"},
                                   {R"("ab12")", R"(["ab12"])"},
                                   {R"("id":"7")", R"("id":"seven")"},
                                   {R"("id":"55")", R"("id":"../55")"},
                                   {R"("message":{)", R"("massage":{)"}})
        CHECK(!press(good, from, to));
    CHECK(!press(good, "ab12", std::string(65, 'x')));
    CHECK(discord_press_answer(json::parse(good)) == "/interactions/175928847299117063/aW50ZXI_-.x=/callback");
    for (const char* token : {"", "a/../b", "a?b", "a b", "a%2fb"})
        CHECK(discord_press_answer(json::Value::object({{"id", "7"}, {"token", token}})).empty());
}

TEST_CASE("discord: a nonce is short, and of one part of one delivery") {
    CHECK(discord_nonce("k", 0) == discord_nonce("k", 0));
    CHECK(discord_nonce("k", 0) != discord_nonce("k", 1));
    CHECK(discord_nonce("k1", 0) != discord_nonce("k", 10));
    CHECK(discord_nonce(std::string(500, 'x'), 999).size() <= 25);
}

TEST_CASE("discord: a cursor comes back as it was, without a session that is ahead of what is stored") {
    DiscordCursor cursor;
    cursor.session = {"abc", "wss://gateway.example", 17};
    cursor.note(5, 100, true);
    cursor.note(6, 90, false);
    cursor.note(5, 80, true);  // older: it was said before
    const DiscordCursor whole = read_discord_cursor(cursor.text(true)), rest = read_discord_cursor(cursor.text(false));
    CHECK(whole.session.id == "abc");
    CHECK(whole.session.seq == 17);
    CHECK(rest.session.id.empty());
    CHECK(rest.mark == 100);
    CHECK(rest.places.at(5).last == 100);
    CHECK(rest.places.at(5).direct);
    CHECK(!rest.places.at(6).direct);
    for (const char* text : {"", "x", "[", R"({"direct":{"5":7}})"}) CHECK_THROWS_AS((void)read_discord_cursor(text), Error);
}

TEST_CASE("discord: of very many places those are kept where something was said last") {
    DiscordCursor cursor;
    for (uint64_t i = 1; i <= 2000; ++i) cursor.note(i, 10'000 + i, false);
    CHECK(cursor.places.size() == 300);
    CHECK(cursor.places.contains(2000));
    CHECK(!cursor.places.contains(1));
    CHECK(cursor.text(true).size() < 20'000);
}

TEST_CASE("discord: a gap is asked for page by page, and what waited comes after it") {
    DiscordGaps gaps;
    gaps.add({7, 1000, true});
    gaps.hold(7, message(1150));
    gaps.hold(7, message(1200));
    CHECK(gaps.path() == "/channels/7/messages?limit=100&after=1000");
    std::vector<json::Value> page;
    for (uint64_t id = 1100; id > 1000; --id) page.push_back(message(id));  // the newest first
    const DiscordGaps::Found first = gaps.take(page);
    REQUIRE(first.messages.size() == 100);
    CHECK(first.messages.front().text("id") == "1001");
    CHECK(!first.closed);
    CHECK(gaps.path() == "/channels/7/messages?limit=100&after=1100");
    const DiscordGaps::Found last = gaps.take({message(1150), message(1120)});
    CHECK(last.closed);
    REQUIRE(last.messages.size() == 2);
    REQUIRE(last.held.size() == 1);  // the other one was in the page
    CHECK(last.held[0].text("id") == "1200");
    CHECK(gaps.empty());
}

TEST_CASE("discord: a server that gives the same page for ever is asked twenty times at most") {
    DiscordGaps gaps;
    gaps.add({7, 1000, false});
    int asked = 0;
    for (uint64_t id = 2000; !gaps.empty(); id += 100, ++asked) {
        std::vector<json::Value> page;
        for (uint64_t i = 0; i < 100; ++i) page.push_back(message(id + i));
        (void)gaps.take(page);
    }
    CHECK(asked == 20);
    gaps.add({7, 1000, false});
    (void)gaps.take(std::vector<json::Value>(100, message(5)));  // nothing of it is new
    CHECK(gaps.empty());
}

TEST_CASE("discord: where nothing was said nothing is asked, and what cannot be asked is given up in the end") {
    DiscordGaps gaps;
    gaps.add({7, 1000, false});
    gaps.add({8, 1000, false});
    gaps.known(7, 1000);
    gaps.known(8, 1001);
    CHECK(!gaps.has(7));
    CHECK(gaps.has(8));
    int failures = 0;
    while (gaps.failed()) ++failures;
    CHECK(failures > 5);
    CHECK(failures < 20);
}
