// What was said gets into the journal once, and as the result of a question where one waits.
#include "context/pictures.h"
#include "context/said.h"

#include <doctest/doctest.h>

#include "context/prompt.h"

using namespace peacrab;

namespace {

json::Value object(std::initializer_list<json::Member> members) {
    return json::Value::object(members);
}

struct Book {
    std::vector<Entry> entries;
    std::string turn = "t1";

    Book& user(const std::string& text) {
        entries.push_back({Entry::Kind::User, turn, {}, text, {}, Outcome::Failed});
        return *this;
    }
    Book& calls(const std::string& id, const std::string& name, json::Value input) {
        json::Value block =
            object({{"type", "tool_use"}, {"id", id}, {"name", name}, {"input", std::move(input)}});
        entries.push_back({Entry::Kind::Assistant, turn, "a/m", {}, json::Value::array({std::move(block)}), Outcome::Ok});
        return *this;
    }
    Book& asks(const std::string& choices = "red\nblue") {
        return calls("q", "ask_user", object({{"question", "which?"}, {"choices", choices}}));
    }
    Book& result(const std::string& id) {
        entries.push_back({Entry::Kind::Result, turn, id, "x", {}, Outcome::Ok});
        return *this;
    }
};

json::Value start(const std::string& turn, const std::string& text) {
    return object({{"turn", turn},
                   {"messages", json::Value::array({text})},
                   {"asked", object({{"turn", "t1"}, {"call", "q"}, {"late", false}})}});
}

Entry only(const std::vector<Entry>& entries) {
    REQUIRE(entries.size() == 1);
    return entries[0];
}

}  // namespace

TEST_CASE("said: what comes after a question is its result, and a number is a choice") {
    const Book book = Book().user("go").asks();
    for (const auto& [text, told] :
         {std::pair("blue", "blue"), {"2", "blue"}, {" 2.\n", "blue"}, {"3", "3"}, {"0", "0"}, {"2x", "2x"},
          {"-1", "-1"}, {"99999999999999999999", "99999999999999999999"}, {"neither", "neither"},
          {"1\n\n[background: b2 ended (exit code 0): x]", "red\n\n[background: b2 ended (exit code 0): x]"}}) {
        const Entry entry = only(said_entries(book.entries, start("t2", text)));
        CHECK(entry.kind == Entry::Kind::Result);
        CHECK(entry.call == "q");
        CHECK(entry.turn == "t2");
        CHECK(entry.outcome == Outcome::Ok);
        CHECK(entry.text == std::string("The person answers: ") + told);
    }
}

TEST_CASE("said: what nobody said is not told as a person's words, and a question within more is one") {
    json::Value late = start("t2", "Nobody answered in time.");
    late.find("asked")->set("late", true);
    CHECK(only(said_entries(Book().user("go").asks().entries, late)).text == "Nobody answered in time.");
    const Book inner = Book().user("go").calls(
        "q", "more", object({{"tool", "ask_user"}, {"arguments", R"({"question":"?","choices":"a\nb"})"}}));
    CHECK(only(said_entries(inner.entries, start("t2", "1"))).text == "The person answers: a");
}

TEST_CASE("said: without an open question of that turn it is a message") {
    const auto is_message = [](const Book& book) {
        return only(said_entries(book.entries, start("t2", "blue"))).kind == Entry::Kind::User;
    };
    CHECK(is_message(Book()));
    CHECK(is_message(Book().user("go")));
    CHECK(is_message(Book().user("go").asks().result("q")));
    CHECK(is_message(Book().user("go").asks().user("never mind")));
    CHECK(is_message(Book().user("go").calls("q", "shell", object({{"command", "x"}}))));
    CHECK(is_message(Book().user("go").calls("other", "ask_user", object({{"question", "?"}}))));
    Book later;
    later.turn = "t0";
    CHECK(is_message(later.user("go").asks()));
    CHECK_FALSE(is_message(Book().user("go").asks().result("beside")));
}

TEST_CASE("said: an answer that a crash kept from the journal is the result, and comes once") {
    Book book = Book().user("go").asks();
    json::Value frame = start("t3", "and hurry");
    const auto earlier = [](const char* turn, const char* text) { return object({{"turn", turn}, {"text", text}}); };
    frame.set("earlier", json::Value::array({earlier("t1", "go"), earlier("t2", "2")}));
    const std::vector<Entry> said = said_entries(book.entries, frame);
    REQUIRE(said.size() == 2);
    CHECK(said[0].kind == Entry::Kind::Result);
    CHECK(said[0].text == "The person answers: blue");
    CHECK(said[0].turn == "t2");
    CHECK(said[1].text == "and hurry");
    // Journaled, it is not told again.
    book.entries.insert(book.entries.end(), said.begin(), said.end());
    frame.set("earlier", json::Value::array({earlier("t1", "go"), earlier("t2", "2"), earlier("t3", "and hurry")}));
    frame.set("turn", "t4");
    CHECK(only(said_entries(book.entries, frame)).turn == "t4");
    // The call has its one result, right behind it.
    const ModelRequest request = build_prompt({"main", "/w", {}}, book.entries);
    const std::string all = json::dump(request.messages);
    CHECK(all.find("did not finish") == std::string::npos);
    CHECK(all.find("The person answers: blue") != std::string::npos);
}

TEST_CASE("said: a picture that came with it stands behind it, for the model too") {
    const std::string kPicture = "image/png;base64,TWFu";
    std::vector<std::string> asked;
    const auto read = [&](const std::string& path) {
        asked.push_back(path);
        return path.find("lost") == std::string::npos ? kPicture : std::string();
    };
    const auto user = [](const std::string& text) { return Entry{Entry::Kind::User, "t1", {}, text, {}, Outcome::Failed}; };
    const std::vector<Entry> said = with_pictures(
        {user("look\n[picture: inbox/a.png, image/png, 3 bytes]\n[picture: inbox/lost.png, image/png, 3 bytes]"), user("and go")}, read);
    REQUIRE(said.size() == 3);
    CHECK(said[1].kind == Entry::Kind::Picture);
    CHECK(said[2].text == "and go");
    CHECK(asked == std::vector<std::string>{"inbox/a.png", "inbox/lost.png"});
    const ModelRequest request = build_prompt({"main", "/w", {}}, said);
    REQUIRE(request.messages.items().size() == 1);
    const json::Value& content = request.messages.items()[0].at("content");
    REQUIRE(content.items().size() == 3);
    CHECK(content.items()[1].text("type") == "image");
    CHECK(content.items()[1].find("source")->text("data") == "TWFu");
}

TEST_CASE("said: no line asks for more than a few pictures of the inbox, and no such line in the middle of another") {
    size_t asked = 0;
    const auto read = [&](const std::string&) { return ++asked, std::string(); };
    std::string many = "say [picture: inbox/a.png, x]\n    [picture: inbox/a.png, x]\n[picture: /etc/shadow, x]\n[picture: inbox/../a, x]\n"
                       "[picture: inbox/" + std::string(200, 'x') + ", x]\n[picture: inbox/b.png]\n";
    CHECK(with_pictures({{Entry::Kind::User, "t1", {}, many, {}, Outcome::Failed}}, read).size() == 1);
    CHECK(asked == 0);
    for (int n = 0; n < 20; ++n) many += "[picture: inbox/" + std::to_string(n % 15) + ".png, x]\n";
    (void)with_pictures({{Entry::Kind::User, "t1", {}, many, {}, Outcome::Failed}}, read);
    CHECK(asked == kMostPictures);
}
