// What WhatsApp's answers and webhooks mean. The channel as a whole: ../channels/whatsapp_test.py.
#include "channels/whatsapp_api.h"
#include "channels/whatsapp_event.h"

#include <doctest/doctest.h>

#include "error.h"

using namespace peacrab;

namespace {

std::string kind_of(int status, const std::string& body, const std::string& retry_after = {}) {
    return read_whatsapp_answer(status, body, retry_after).failure.kind;
}

std::string hook(const std::string& value) {
    return R"({"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"1","display_phone_number":"+1 555"},)" + value + "}}]}]}";
}

}  // namespace

TEST_CASE("whatsapp: what nobody can say of is unknown, and what was refused is not") {
    CHECK(read_whatsapp_answer(200, R"({"messages":[{"id":"x"}]})").ok());
    CHECK(WhatsAppAnswer().ok() == false);
    CHECK(kind_of(200, "{") == "unknown");
    CHECK(kind_of(200, "[]") == "unknown");
    CHECK(kind_of(502, "<html>") == "unknown");
    CHECK(kind_of(500, R"({"error":{"code":131009}})") == "unknown");
    CHECK(kind_of(404, "") == "transient");
    CHECK(kind_of(400, R"({"error":{"code":100,"message":"no"}})") == "permanent");
    CHECK(kind_of(400, R"({"error":"x"})") == "transient");
    CHECK(kind_of(400, R"({"error":{"code":131056}})") == "throttled");
    CHECK(read_whatsapp_answer(400, R"({"error":{"code":131056}})").failure.retry == Milliseconds(6'000));
    CHECK(read_whatsapp_answer(429, R"({"error":{"code":4}})", "120").failure.retry == Milliseconds(120'000));
    CHECK(read_whatsapp_answer(401, R"({"error":{"code":0}})").kind == WhatsAppAnswer::Kind::Auth);
    CHECK(read_whatsapp_answer(400, R"({"error":{"code":190}})").kind == WhatsAppAnswer::Kind::Auth);
    CHECK(read_whatsapp_answer(400, R"({"error":{"code":131047}})").failure.error.find("24 hours") != std::string::npos);
}

TEST_CASE("whatsapp: nothing can be hidden in an address") {
    CHECK_THROWS_AS(WhatsAppApi("https://x/v1", "1/../2", Secret("t")), Error);
    CHECK_THROWS_AS(WhatsAppApi("https://x/v1?a", "1", Secret("t")), Error);
    CHECK_THROWS_AS(WhatsAppApi("https://x/v1", "1", Secret("t\r\nX: y")), Error);
    const WhatsAppApi api("https://graph.example/v1", "1", Secret("t"));
    CHECK(api.has_media("https://lookaside.fbsbx.com/whatsapp?x=1"));
    CHECK(api.has_media("https://graph.example/x"));
    CHECK(!api.has_media("https://lookaside.fbsbx.com@evil.example/"));
    CHECK(!api.has_media("https://lookaside.fbsbx.com.evil.example/"));
    CHECK(!api.has_media("http://lookaside.fbsbx.com/"));
    CHECK(!api.has_media("https://graph.example.evil/x"));
    for (const char* bad : {"", ".", "..", "a/b", "a?b", "a#b", "../me"}) CHECK(!is_whatsapp_id(bad));
    for (const char* bad : {"", "1234", "12345x", "+12345", "123456789012345678901"}) CHECK(!is_whatsapp_person(bad));
}

TEST_CASE("whatsapp: a webhook is read as hostile") {
    const std::string message = R"("messages":[{"from":"49170000001","id":"wamid.A","timestamp":"7","type":"text","text":{"body":"hi"}}])";
    const WhatsAppNews news = read_whatsapp(hook(message), "1");
    REQUIRE(news.events.size() == 1);
    CHECK(news.events[0].text("key") == "wamid.A");
    CHECK(news.events[0].text("sender") == "49170000001");
    CHECK(news.events[0].integer("at") == 7000);
    CHECK(read_whatsapp(hook(message), "2").events.empty());
    for (const char* odd : {"", "null", "[]", "{\"entry\":{}}", "{\"entry\":[null]}", "{\"entry\":[{\"changes\":[{\"value\":[]}]}]}"})
        CHECK(read_whatsapp(odd, "1").events.empty());
    for (const char* odd : {R"("messages":[{"from":"x","id":"a","type":"text"}])", R"("messages":[{"from":"49170000001","id":"a/b"}])",
                            R"("messages":[7,null,"x"])", R"("messages":{})"})
        CHECK(read_whatsapp(hook(odd), "1").events.empty());
    const std::string deep = std::string(100'000, '[');
    CHECK(read_whatsapp(deep, "1").events.empty());
}

TEST_CASE("whatsapp: a status tells by its mark what became of ours") {
    const WhatsAppNews news = read_whatsapp(
        hook(R"("statuses":[{"id":"w1","status":"delivered","biz_opaque_callback_data":"k.0.1.5"},)"
             R"({"id":"w2","status":"failed","biz_opaque_callback_data":"k.0.1.6","errors":[{"code":131047}]},{"id":"w3","status":"deleted"}])"),
        "1");
    REQUIRE(news.statuses.size() == 2);
    CHECK(news.statuses[0].mark == "k.0.1.5");
    CHECK(!news.statuses[0].failed);
    CHECK(news.statuses[1].failed);
    CHECK(std::string(news.statuses[1].failure.kind) == "permanent");
}
