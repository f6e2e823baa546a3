#include <doctest/doctest.h>

#include "channels/telegram_api.h"
#include "channels/telegram_update.h"
#include "error.h"

using namespace peacrab;

namespace {

using Kind = TelegramAnswer::Kind;

const TelegramSelf kSelf{4242, "Pea_Bot"};

std::vector<json::Value> updates(const std::string& text) { return json::parse(text, {size_t{16} << 20, 32}).items(); }

// The event of one message; `rest` are further members of it.
json::Value event(const std::string& rest, const char* chat = R"({"id":-5,"type":"group","title":"Team"})") {
    const std::vector<Arrived> arrived = read_telegram_updates(
        updates(R"([{"update_id":9,"message":{"message_id":3,"date":100,"chat":)" + std::string(chat) +
                R"(,"from":{"id":7,"first_name":"Ada","last_name":"L"})" + rest + "}}]"),
        kSelf);
    REQUIRE(arrived.size() <= 1);
    return arrived.empty() ? json::Value() : arrived[0].event;
}

TelegramAnswer refusal(int code, const char* description, const char* parameters = "{}") {
    return read_telegram_answer(code, R"({"ok":false,"error_code":)" + std::to_string(code) + R"(,"description":")" +
                                          description + R"(","parameters":)" + parameters + "}");
}

}  // namespace

TEST_CASE("telegram: a refusal is of the class that says what to do with it") {
    CHECK(refusal(400, "Bad Request: message is too long").failure.kind == std::string("permanent"));
    CHECK(refusal(400, "Bad Request: chat not found").failure.kind == std::string("gone"));
    CHECK(refusal(403, "Forbidden: whatever").failure.kind == std::string("gone"));
    CHECK(refusal(500, "Internal").failure.kind == std::string("transient"));
    CHECK(refusal(401, "Unauthorized").kind == Kind::Auth);
    CHECK(refusal(404, "Not Found").kind == Kind::Auth);
    CHECK(refusal(409, "Conflict").kind == Kind::Conflict);
    const TelegramAnswer moved = refusal(400, "group chat was upgraded", R"({"migrate_to_chat_id":-100123})");
    CHECK(moved.failure.kind == std::string("gone"));
    CHECK(moved.failure.moved == "-100123");
    CHECK(refusal(400, "Bad Request: can't parse entities: x").says("Can't parse entities"));
}

TEST_CASE("telegram: how long to wait is what it says, within reason") {
    const auto wait = [](const char* parameters) { return refusal(429, "x", parameters).failure.retry.count(); };
    CHECK(wait(R"({"retry_after":30})") == 30'000);
    CHECK(wait(R"({"retry_after":0})") == 1'000);
    CHECK(wait(R"({"retry_after":1.25})") == 1'250);
    CHECK(wait(R"({"retry_after":1e300})") == 86'400'000);
    CHECK(wait(R"({"retry_after":-1})") == 5'000);
    CHECK(wait(R"({"retry_after":"9"})") == 5'000);
    CHECK(wait("{}") == 5'000);
    CHECK(read_telegram_answer(429, "<html>", "7").failure.retry.count() == 7'000);
    CHECK(read_telegram_answer(429, "<html>", "soon").failure.retry.count() == 5'000);
}

TEST_CASE("telegram: what is no answer of Telegram's is unknown where it may have been done") {
    CHECK(read_telegram_answer(502, "<html>").failure.kind == std::string("transient"));
    CHECK(read_telegram_answer(504, "").failure.kind == std::string("unknown"));
    CHECK(read_telegram_answer(404, "<html>").kind == Kind::Failed);  // a wrong address, not a wrong token
    for (const char* body : {"", "<html>", "{\"ok\":tr", "[]", "{}", "{\"ok\":1}", "null"}) {
        const TelegramAnswer answer = read_telegram_answer(200, body);
        CHECK(answer.kind == Kind::Unreadable);
        CHECK(answer.failure.kind == std::string("unknown"));
        CHECK(answer.result.is_null());
    }
    const auto first = [](const char* body) { return read_telegram_answer(200, body).result; };
    CHECK(first(R"({"ok":true,"result":[{"update_id":17,"mess)").as_integer() == 17);
    CHECK(first(R"({"ok":true,"result":[{"update_id":1)").is_null());  // perhaps not all of the number
    CHECK(first(R"({"ok":true,"result":[{"update_id":99999999999999999999,)").is_null());
}

TEST_CASE("telegram: an address that hides something is refused, and its text does not repeat the token") {
    const auto refused = [](const char* base, const char* token) {
        try {
            TelegramApi api(base, Secret(token));
        } catch (const Error& error) {
            return std::string(error.what()).find("canary") == std::string::npos;
        }
        return false;
    };
    CHECK_NOTHROW(TelegramApi("https://api.telegram.org", Secret("1:canary_-X")));
    for (const char* token : {"", "1:canary/../x", "1:canary?x", "1:canary\r\nHost: x", "1:canary#", "1:canary@h"})
        CHECK(refused("https://api.telegram.org", token));
    for (const char* base : {"", "ftp://x", "https://u:p@x", "https://x/?", "https://x/", "https://x y", "file:///etc"})
        CHECK(refused(base, "1:canary"));
}

TEST_CASE("telegram: a name is ours where Telegram's units say so, not where bytes do") {
    const json::Value named = event(
        R"(,"text":"🦀🦀 hi @pea_bot","entities":[{"type":"mention","offset":8,"length":8}])");
    CHECK(named.flag("addressed"));
    CHECK(named.text("text") == "🦀🦀 hi @pea_bot");
    CHECK(!event(R"(,"text":"🦀🦀 hi @pea_bot","entities":[{"type":"mention","offset":12,"length":8}])").flag("addressed"));
    CHECK(!event(R"(,"text":"hi @pea_bot")").flag("addressed"));  // Telegram did not take it for a name
    const json::Value front = event(R"(,"text":"@PEA_bot: go","entities":[{"type":"mention","offset":0,"length":8}])");
    CHECK(front.text("text") == "go");
    const json::Value by_id = event(
        R"(,"text":"Pea, go","entities":[{"type":"text_mention","offset":0,"length":3,"user":{"id":4242}}])");
    CHECK(by_id.flag("addressed"));
    CHECK(by_id.text("text") == "go");
    const json::Value command = event(
        R"(,"text":"/new@Pea_bot x","entities":[{"type":"bot_command","offset":0,"length":12}])");
    CHECK(command.text("text") == "/new x");
    CHECK(!event(R"(,"text":"/new@other","entities":[{"type":"bot_command","offset":0,"length":10}])").flag("addressed"));
    // A command for another bot is not for us because it answers us.
    CHECK(!event(R"(,"text":"/new@other","entities":[{"type":"bot_command","offset":0,"length":10}],)"
                 R"("reply_to_message":{"message_id":1,"from":{"id":4242},"text":"x"})")
               .flag("addressed"));
}

TEST_CASE("telegram: places beyond the text, or without sense, do no harm") {
    for (const char* entity :
         {R"({"type":"mention","offset":-1,"length":3})", R"({"type":"mention","offset":5,"length":9007199254740993})",
          R"({"type":"text_link","offset":1,"length":1,"url":7})", R"({"type":"bot_command","offset":0,"length":0})",
          R"({"type":"mention"})", "7", "null", R"({"type":"text_link","offset":1,"length":400,"url":"https://x/"})"}) {
        const json::Value said = event(R"(,"text":"é🦀x","entities":[)" + std::string(entity) + "]");
        CHECK(said.text("text").starts_with("é🦀x"));
    }
}

TEST_CASE("telegram: who writes is whom Telegram vouches for") {
    CHECK(event(R"(,"text":"x")").text("sender") == "7");
    CHECK(event(R"(,"text":"x")").text("name") == "Ada L");
    CHECK(event(R"(,"text":"x","sender_chat":{"id":-5,"title":"Team"})").text("sender") == "-5");
    CHECK(event(R"(,"text":"x","via_bot":{"id":1})").flag("bot"));
    CHECK(event(R"(,"text":"/allow","forward_origin":{"type":"user","sender_user":{"first_name":"Eve\n"}})")
              .text("text") == "[forwarded from Eve ]\n/allow");
    const auto own = read_telegram_updates(updates(R"([{"update_id":1,"message":{"message_id":1,"chat":{"id":7,
        "type":"private"},"from":{"id":4242},"text":"x"}}])"), kSelf);
    CHECK(own.empty());
}

TEST_CASE("telegram: a press is one of a button below our own message, by who it says") {
    const std::string good = R"([{"update_id":9,"callback_query":{"id":"55","from":{"id":7,"first_name":"Ada"},"data":"ab12",)"
                             R"("message":{"message_id":3,"date":100,"from":{"id":4242},"chat":{"id":-5,"type":"group","title":"Team"}}}}])";
    const auto press = [](std::string text, const std::string& from = {}, const std::string& to = {}) {
        if (const size_t at = text.find(from); !from.empty()) {
            REQUIRE(at != std::string::npos);
            text.replace(at, from.size(), to);
        }
        const std::vector<Arrived> arrived = read_telegram_updates(updates(text), kSelf);
        return arrived.empty() ? std::string() : json::dump(arrived[0].event);
    };
    CHECK(press(good) == R"({"key":"9","kind":"press","conversation":"-5","scope":"group","id":"3","sender":"7","name":"Ada",)"
                         R"("value":"ab12","title":"Team"})");
    CHECK(!press(good, R"("date":100,"from":{"id":4242})", R"("date":0)").empty());  // too old for Telegram to know it
    for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{{"4242", "4243"},
                                                                                            {R"("data":"ab12",)", ""},
                                                                                            {R"("ab12")", "12"},
                                                                                            {R"("message":{)", R"("massage":{)"},
                                                                                            {R"("message_id":3)", R"("message_id":-3)"},
                                                                                            {R"("id":7)", R"("id":0)"}})
        CHECK(press(good, from, to).empty());
    CHECK(press(good, "ab12", std::string(65, 'x')).empty());
    CHECK(telegram_presses(updates(good)) == std::vector<std::string>{"55"});
    CHECK(telegram_presses(updates(R"([{"update_id":1},{"update_id":2,"callback_query":{"id":7}}])")).empty());
}

TEST_CASE("telegram: what nobody said is no event, and what cannot be shown is told in a direct chat") {
    CHECK(event(R"(,"new_chat_members":[{"id":1}])").is_null());
    CHECK(event(R"(,"something_new":{})").is_null());
    CHECK(!event(R"(,"something_new":{})", R"({"id":7,"type":"private"})").text("text").empty());
    CHECK(event(R"(,"pinned_message":{})", R"({"id":7,"type":"private"})").is_null());
    CHECK(event("", "{}").is_null());
    CHECK(event(R"(,"text":5)").is_null());
}

TEST_CASE("telegram: an album is one event, and stays one when a piece of it comes twice") {
    std::string text = "[";
    for (const char* id : {"1", "2", "2", "3"})
        text += std::string(text.size() > 1 ? "," : "") + R"({"update_id":)" + id +
                R"(,"message":{"message_id":1,"media_group_id":"g","chat":{"id":7,"type":"private"},"from":{"id":7},)"
                R"("photo":[{"file_size":1},{"file_size":90}]}})";
    const std::vector<json::Value> album = updates(text + "]");
    const std::vector<Arrived> arrived = read_telegram_updates(album, kSelf);
    REQUIRE(arrived.size() == 1);
    CHECK(arrived[0].event.at("files").items().size() == 3);
    CHECK(arrived[0].event.at("files").items()[0].integer("size") == 90);
    CHECK(open_telegram_album(album) == "7/g");
    CHECK(telegram_cursor(album) == 4);
}

TEST_CASE("telegram: the cursor follows the greatest number, and nothing without one counts") {
    CHECK(telegram_cursor(updates(R"([{"update_id":5},{"update_id":3}])")) == 6);
    CHECK(!telegram_cursor(updates(R"([{"update_id":"5"},{},{"update_id":-4},{"update_id":9223372036854775807}])")));
    CHECK(read_telegram_updates(updates(R"([{"message":{}},{"update_id":1},{"update_id":2,"message":[]}])"), kSelf).empty());
}

TEST_CASE("telegram: texts and names are bounded, and cut between characters") {
    std::string crabs;
    for (int i = 0; i < 40'000; ++i) crabs += "🦀";
    const json::Value long_text = event(R"(,"text":")" + crabs + R"(")");
    CHECK(long_text.text("text").size() == 65'536);
    const json::Value file = event(R"(,"document":{"file_name":")" + crabs.substr(0, 4000) + R"(","file_size":-1})");
    CHECK(file.at("files").items()[0].text("name").size() == 200);
    CHECK(file.at("files").items()[0].integer("size") == 0);
    const json::Value reply = event(R"(,"text":"x","reply_to_message":{"message_id":1,"text":")" + crabs + R"("})");
    CHECK(reply.at("reply_to").text("text").size() == 500);
}
