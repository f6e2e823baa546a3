#include <doctest/doctest.h>

#include "channels/slack_api.h"
#include "channels/slack_catch_up.h"
#include "channels/slack_event.h"
#include "error.h"

using namespace peacrab;

namespace {

using Kind = SlackAnswer::Kind;

const SlackSelf kSelf{"U0PEA", "B0PEA", false};

SlackAnswer refusal(const char* error, int status = 200, const char* retry = "") {
    return read_slack_answer(status, R"({"ok":false,"error":")" + std::string(error) + "\"}", retry);
}

json::Value message(const std::string& rest, const SlackSelf& self = kSelf, const SlackNames& names = {}) {
    const std::optional<json::Value> event =
        read_slack_event(json::parse(R"({"type":"message","channel":"C1","channel_type":"channel",)"
                                     R"("ts":"1700000000.000100")" + rest + "}"), self, names);
    return event ? *event : json::Value();
}

json::Value said(const std::string& text) { return message(R"(,"user":"U7","text":")" + text + "\""); }

}  // namespace

TEST_CASE("slack: a refusal is of the class that says what to do with it") {
    const auto kind = [](const char* error) { return std::string(refusal(error).failure.kind); };
    for (const char* error : {"channel_not_found", "not_in_channel", "is_archived", "restricted_action_thread_locked"})
        CHECK(kind(error) == "gone");
    for (const char* error : {"msg_too_long", "no_text", "invalid_blocks", "of_tomorrow"})
        CHECK(kind(error) == "permanent");
    for (const char* error : {"internal_error", "fatal_error", "request_timeout"}) CHECK(kind(error) == "unknown");
    for (const char* error : {"ratelimited", "rate_limited"}) CHECK(kind(error) == "throttled");
    for (const char* error : {"invalid_auth", "account_inactive", "token_revoked", "not_allowed_token_type"}) {
        CHECK(refusal(error).kind == Kind::Auth);
        CHECK(kind(error) == "not_sent");
    }
    const SlackAnswer scope = read_slack_answer(200, R"({"ok":false,"error":"missing_scope","needed":"chat:write"})");
    CHECK(scope.failure.error.find("chat:write") != std::string::npos);
}

TEST_CASE("slack: what cannot be read may have been done") {
    for (const char* body : {"", "{", "<html>", "[]", R"({"ok":1})", R"({"ok":false})", "null"})
        CHECK(std::string(read_slack_answer(200, body).failure.kind) == "unknown");
    CHECK(std::string(read_slack_answer(502, "<html>").failure.kind) == "unknown");
    CHECK(std::string(read_slack_answer(404, "").failure.kind) == "transient");
    CHECK(read_slack_answer(200, R"({"ok":true,"ts":"1"})").ok());
}

TEST_CASE("slack: how long to wait is what it says, within reason") {
    const auto wait = [](const char* header) { return refusal("ratelimited", 429, header).failure.retry.count(); };
    CHECK(wait("30") == 30'000);
    CHECK(wait("0") == 1'000);
    CHECK(wait("1.25") == 1'250);
    CHECK(wait("99999999") == 86'400'000);
    CHECK(wait("-1") == 5'000);
    CHECK(wait("1e9") == 5'000);
    CHECK(wait("") == 5'000);
    CHECK(read_slack_answer(429, "<html>", "7").failure.retry.count() == 7'000);
}

TEST_CASE("slack: tokens are of the right kind, and the right way round") {
    const auto fault = [](const char* base, const char* bot, const char* app) {
        try {
            SlackApi(base, Secret(bot), Secret(app));
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK(fault("https://slack.com/api", "xoxb-1", "xapp-1").empty());
    CHECK(fault("https://slack.com/api", "xapp-1", "xoxb-1").find("of the bot") != std::string::npos);
    CHECK(fault("https://slack.com/api", "xoxb-1", "").find("of the app") != std::string::npos);
    CHECK(fault("https://slack.com/api", "xoxb-1\r\nX: y", "xapp-1").find("of the bot") != std::string::npos);
    CHECK(fault("https://a@slack.com/api", "xoxb-1", "xapp-1").find("api") != std::string::npos);
    CHECK(fault("file:///x", "xoxb-1", "xapp-1").find("api") != std::string::npos);
}

TEST_CASE("slack: its token goes to Slack and nowhere else") {
    const SlackApi api("https://slack.example:8443/api", Secret("xoxb-1"), Secret("xapp-1"));
    CHECK(api.has_file("https://files.slack.com/files-pri/T1-F1/download/a.txt"));
    CHECK(api.has_file("https://slack.example:8443/files-pri/T1-F1/download/v1..2.txt"));
    CHECK(api.has_file("https://slack.example:8443/upload/v1/F1"));
    for (const char* url : {"http://files.slack.com/x", "https://files.slack.com@evil.example/", "https://files.slack.com.evil.example/",
                            "https://slack.example:84430/x", "https://evil.example/#https://files.slack.com/", "",
                            "https://files.slack.com/\r\nHost: x", "https://slack.example/x",
                            "https://slack.example:8443/api/chat.delete?channel=C1&ts=1", "https://slack.example:8443/files-pri/../api/auth.revoke",
                            "https://slack.example:8443/upload/%2e%2E/api/auth.revoke", "https://slack.example:8443/"})
        CHECK_MESSAGE(!api.has_file(url), url);
}

TEST_CASE("slack: a form is what a server reads as it was meant") {
    CHECK(SlackForm().add("text", "a b&c=d\n\u00e9+%").add("x", "").body() == "text=a%20b%26c%3Dd%0A%C3%A9%2B%25&x=");
}

TEST_CASE("slack: a message and its mention are one event") {
    const std::string rest = R"("channel":"C1","ts":"1700000000.000100","user":"U7","text":"<@U0PEA>: hi")";
    const json::Value one = *read_slack_event(json::parse(R"({"type":"message","channel_type":"channel",)" + rest + "}"), kSelf, {});
    const json::Value two = *read_slack_event(json::parse(R"({"type":"app_mention",)" + rest + "}"), kSelf, {});
    CHECK(json::dump(one) == json::dump(two));
    CHECK(one.text("key") == "C1:1700000000.000100");
    CHECK(one.text("text") == "hi");
    CHECK(one.flag("addressed"));
}

TEST_CASE("slack: who is spoken to") {
    CHECK_FALSE(said("hi").flag("addressed"));
    CHECK(said("so, <@U0PEA|pea>, hi").flag("addressed"));
    CHECK_FALSE(said("<@U0PEAS> hi").flag("addressed"));
    CHECK_FALSE(said("&lt;@U0PEA&gt; hi").flag("addressed"));
    CHECK_FALSE(message(R"(,"user":"U7","text":"x","thread_ts":"1699999999.000100","parent_user_id":"U8")").flag("addressed"));
    CHECK(message(R"(,"user":"U7","text":"x","thread_ts":"1699999999.000100","parent_user_id":"U0PEA")").flag("addressed"));
    const SlackSelf threads{"U0PEA", "B0PEA", true};
    CHECK(message(R"(,"user":"U7","text":"<@U0PEA> x")", threads).text("thread") == "1700000000.000100");
    CHECK(message(R"(,"user":"U7","text":"x")", threads).text("thread").empty());
}

TEST_CASE("slack: a press is one of a button below our own message, by who it says") {
    const std::string good = R"({"type":"block_actions","user":{"id":"U7"},"trigger_id":"1.2.ab","channel":{"id":"C1"},)"
                             R"("container":{"message_ts":"1700000000.000100","channel_id":"C1"},)"
                             R"("message":{"user":"U0PEA","ts":"1700000000.000100","thread_ts":"1700000000.000001"},)"
                             R"("actions":[{"type":"button","action_id":"choice0","value":"ab12"}]})";
    const auto press = [](std::string text, const std::string& from = {}, const std::string& to = {}) {
        if (const size_t at = text.find(from); !from.empty()) {
            REQUIRE(at != std::string::npos);
            text.replace(at, from.size(), to);
        }
        return read_slack_press(json::parse(text), kSelf, {{"U7", "Ada"}, {"C1", "#team"}});
    };
    const std::optional<json::Value> event = press(good);
    REQUIRE(event);
    CHECK(json::dump(*event) == R"({"conversation":"C1","scope":"group","title":"#team","key":"press:1.2.ab","kind":"press",)"
                                R"("id":"1700000000.000100","sender":"U7","name":"Ada","value":"ab12","thread":"1700000000.000001"})");
    for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{{"U0PEA", "U0BOB"},
                                   {"block_actions", "view_submission"},
                                   {R"("type":"button")", R"("type":"datepicker")"},
                                   {R"("ab12")", R"("")"},
                                   {R"("ab12")", "7"},
                                   {R"({"id":"U7"})", R"(["U7"])"},
                                   {R"("message_ts":"1700000000.000100")", R"("message_ts":"now")"},
                                   {R"("trigger_id":"1.2.ab")", R"("trigger_id":"")"},
                                   {R"([{"type":"button","action_id":"choice0","value":"ab12"}])", "[]"}})
        CHECK(!press(good, from, to));
    CHECK(!press(good, "ab12", std::string(65, 'x')));
}

TEST_CASE("slack: what is no message to us is none") {
    CHECK(message(R"(,"user":"U0PEA","text":"mine")").is_null());
    CHECK(message(R"(,"bot_id":"B0PEA","user":"U1","text":"mine")").is_null());
    CHECK(message(R"(,"user":"U7","text":"x","subtype":"channel_join")").is_null());
    CHECK(message(R"(,"user":"U7","text":"x","hidden":true)").is_null());
    CHECK(message(R"(,"user":"U7","text":"")").is_null());
    CHECK(message(R"(,"user":"u7","text":"x")").is_null());
    CHECK(message(R"(,"bot_id":"B5","text":"x","subtype":"bot_message")").flag("bot"));
    CHECK(message(R"(,"user":"USLACKBOT","text":"x")").flag("bot"));
}

TEST_CASE("slack: what it writes is read as it was meant") {
    const SlackNames names{{"U7", "Ada"}, {"C1", "#team"}};
    const auto plain = [&](const char* text) { return slack_plain(text, names); };
    CHECK(plain("&lt;@U7&gt; &amp;lt; &quot;") == "<@U7> &lt; &quot;");
    CHECK(plain("<@U7> <@U8> <@U9|nine> <#C1> <#C2|two> <!here>") == "@Ada @U8 @nine #team #two @here");
    CHECK(plain("<!subteam^S1> <!date^139^{date}|then>") == "@subteam then");
    CHECK(plain("<https://a.b/?x&amp;y|see> <https://a.b> <mailto:a@b.c|a@b.c>") == "see (https://a.b/?x&y) https://a.b a@b.c");
    CHECK(plain("a < b <unclosed") == "a < b <unclosed");
    CHECK(plain("") == "");
}

TEST_CASE("slack: a cursor says what may be missing") {
    SlackCursor cursor;
    CHECK_FALSE(cursor.known());
    CHECK(cursor.from().empty());
    cursor.begin("1700000000.000100");
    cursor.note(json::parse(R"({"conversation":"C1","id":"1700000900.000100","thread":"1699000000.000100"})"));
    cursor.note(json::parse(R"({"conversation":"C1","id":"1700000800.000100"})"));
    CHECK(cursor.from() == "1700000600.000000");  // some minutes before the newest
    cursor.open_gap();
    cursor.note(json::parse(R"({"conversation":"C1","id":"1700005000.000100"})"));
    cursor.open_gap();  // one that is open stays as it began
    CHECK(cursor.from() == "1700000600.000000");
    const SlackCursor again(cursor.dump());
    CHECK(again.dump() == cursor.dump());
    CHECK(again.has_gap());
    CHECK(again.threads() == std::vector<std::string>{"C1/1699000000.000100"});
    cursor.close_gap();
    CHECK(cursor.from() == "1700004700.000000");
    for (int i = 0; i < 200; ++i)
        cursor.note(json::parse(R"({"conversation":"C1","id":"1700005000.000100","thread":"17000)" +
                                std::to_string(10000 + i) + R"(.000100"})"));
    CHECK(cursor.threads().size() == 50);
    CHECK(cursor.dump().size() < 4096);
    for (const char* bad : {"", "{}", "[]", R"({"ts":"now"})", R"({"ts":"1700000000.000100","gap":"x"})"})
        CHECK_THROWS_AS(SlackCursor{bad}, Error);
}
