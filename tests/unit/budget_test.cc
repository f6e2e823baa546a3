#include <doctest/doctest.h>

#include "budget/ledger.h"
#include "budget/usage_frame.h"
#include "cell_fixture.h"
#include "config.h"
#include "error.h"
#include "frame.h"

using namespace peacrab;
using Scope = Ledger::Scope;

namespace {

Usage usage(uint64_t input, uint64_t output, uint64_t read = 0, uint64_t written = 0) {
    return {input, output, written, read};
}

int64_t cost(const std::string& model, const Usage& used) {
    const Spent spent = spent_by(Spending(), {model, "", used});
    return spent.unpriced ? -1 : spent.money;
}

struct Book {
    test::Folder folder;
    Database database{folder.path + "/book.db", Durability::ProcessCrash};
    Budgets budgets{database, {Scope::Turn, Scope::Session, Scope::Agent, Scope::Day}};
    Ledger::Where where{"main", 1, 1};
    void spend(int64_t money) {
        Spent spent;
        spent.calls = 1;
        spent.money = money;
        budgets.ledger.add(where, "m", spent);
    }
};

}  // namespace

TEST_CASE("prices: each of the four counts has its own, to the billionth of a USD") {
    CHECK(cost("claude-sonnet-4-5", usage(1, 0)) == 3'000);
    CHECK(cost("claude-sonnet-4-5", usage(0, 1)) == 15'000);
    CHECK(cost("claude-sonnet-4-5", usage(0, 0, 1)) == 300);
    CHECK(cost("claude-sonnet-4-5", usage(0, 0, 0, 1)) == 3'750);
    CHECK(cost("gpt-5-nano", usage(1'000'000, 1'000'000, 1'000'000)) == 455'000'000);
}

TEST_CASE("prices: a dated name is of its model, another model's name is not, and unknown is never nothing") {
    CHECK(cost("claude-sonnet-4-5-20250929", usage(1, 0)) == 3'000);
    CHECK(cost("anthropic/claude-sonnet-4.5", usage(1, 0)) == 3'000);
    CHECK(cost("gpt-4o-2024-08-06", usage(1, 0)) == 2'500);
    CHECK(cost("gpt-5-pro", usage(1, 0)) == -1);
    CHECK(cost("claude-opus-4-99", usage(1, 0)) == -1);
    CHECK(cost("", usage(1, 0)) == -1);
    CHECK(in_words(spent_by(Spending(), {"who", "", usage(5, 5)})) == "cost unknown");
}

TEST_CASE("prices: the person's go before the list, the name asked for before the one that answered") {
    Spending spending;
    spending.prices = {{"gpt-5", 1, 2, 3, 4}};
    CHECK(spent_by(spending, {"gpt-5", "", usage(1, 1, 1, 1)}).money == 10);
    CHECK(spent_by(spending, {"auto", "gpt-5", usage(1, 0)}).money == 1);
    CHECK(spent_by(spending, {"gpt-5", "gpt-4o", usage(1, 0)}).money == 1);
    ModelCall local{"gpt-4o", "", usage(7, 0)};
    local.free = true;
    CHECK(spent_by(Spending(), local).money == 0);
    CHECK(spent_by(Spending(), local).unpriced == 0);
    local.asked = "gpt-5";
    CHECK(spent_by(spending, local).money == 7);
}

TEST_CASE("spent: no count and no sum of counts turns round") {
    const uint64_t all = ~uint64_t{0};
    Spent spent = spent_by(Spending(), {"claude-opus-4-1", "", usage(all, all, all, all)});
    CHECK(spent.input == static_cast<int64_t>(kMaxTokens));
    CHECK(spent.money > 0);
    spent.money = spent.unpriced = kNoLimit - 1;
    spent += spent;
    CHECK(spent.money == kNoLimit);
    CHECK(spent.weight() == kNoLimit);
    CHECK(sum(kNoLimit, 1) == kNoLimit);
    CHECK(product(kNoLimit, 2) == kNoLimit);
}

TEST_CASE("usage frame: what is written is read; what is below nothing or beyond all reason is refused") {
    ModelCount count{usage(1, 2, 3, 4), "answered", true};
    const json::Value frame = usage_frame("asked", count);
    CHECK_NOTHROW((void)write_frame(Dialect::TurnToWarden, frame));
    const ModelCall call = call_from(frame);
    CHECK(call.asked == "asked");
    CHECK(call.answered == "answered");
    CHECK(call.estimated);
    CHECK(call.usage.cache_read_input_tokens == 3);
    CHECK(call.usage.cache_creation_input_tokens == 4);
    for (const int64_t bad : {int64_t{-1}, int64_t{kMaxTokens} + 1, kNoLimit}) {
        json::Value broken = frame;
        broken.set("input", bad);
        CHECK_THROWS_AS((void)call_from(broken), Error);
    }
}

TEST_CASE("money: in words, as short as it is exact enough") {
    CHECK(in_usd(0) == "0 USD");
    CHECK(in_usd(10 * kUsd) == "10 USD");
    CHECK(in_usd(kUsd * 5 / 4) == "1.25 USD");
    CHECK(in_usd(1'200'000'000) == "1.20 USD");
    CHECK(in_usd(21'000'000) == "0.021 USD");
    CHECK(in_usd(123'456) == "0.000123 USD");
    CHECK(in_usd(1) == "0.000001 USD");
    CHECK(in_usd(1'234'567 * kUsd) == "1,234,567 USD");
    CHECK(in_usd(-5) == "0 USD");
}

TEST_CASE("limits: as a person writes them") {
    const auto parsed = [](const char* text) {
        Limit limit = kLifted;
        parse_limit(text, limit);
        return limit;
    };
    CHECK(parsed("2 USD") == Limit{2 * kUsd, kNoLimit});
    CHECK(parsed("$0.50") == Limit{kUsd / 2, kNoLimit});
    CHECK(parsed("500k tokens") == Limit{kNoLimit, 500'000});
    CHECK(parsed("2.5M tokens") == Limit{kNoLimit, 2'500'000});
    CHECK(parsed("none") == kLifted);
    for (const char* bad : {"", "2", "2 EUR", "-1 USD", "1e3 USD", "0.0000001 USD", "USD", ". USD", "1.2.3 USD",
                            "99999999999999999999 USD", "tokens", "1.5 tokens"})
        CHECK_THROWS_AS((void)parsed(bad), Error);
    CHECK(in_words(Limit{5 * kUsd, 500'000}) == "5 USD or 500,000 tokens");
    CHECK(in_words(kLifted) == "none");
}

TEST_CASE("config: budgets and prices; an agent's own goes before that of every agent") {
    const Config config = parse_config(
        "budget:\n  day: 20 USD\n  turn: [1 USD, 100k tokens]\nprices:\n  mine: [1, 4, 0.1, 1.25]\n  short: [2, 3]\n"
        "agents:\n  scout:\n    budget:\n      day: $2\n      session: none\n      delegate: 50k tokens\n",
        "test");
    CHECK(config.spending.day == Limit{20 * kUsd, kNoLimit});
    CHECK(config.spending.of("main").turn == Limit{kUsd, 100'000});
    CHECK(config.spending.of("main").day == kLifted);
    CHECK(config.spending.of("scout").turn == Limit{kUsd, 100'000});
    CHECK(config.spending.of("scout").day == Limit{2 * kUsd, kNoLimit});
    CHECK(config.spending.of("main").delegate == std::nullopt);
    CHECK(config.spending.of("scout").delegate == Limit{kNoLimit, 50'000});
    CHECK(parse_config("budget:\n  delegate: none", "test").spending.of("main").delegate == kLifted);
    REQUIRE(config.spending.prices.size() == 2);
    CHECK(config.spending.prices[0] == Price{"mine", 1000, 4000, 100, 1250});
    CHECK(config.spending.prices[1] == Price{"short", 2000, 3000, 2000, 2000});
    CHECK(parse_config("", "test").spending == Spending());
    CHECK(Spending().day == Limit{10 * kUsd, kNoLimit});
    for (const char* bad : {"budget: 5 USD", "budget:\n  week: 5 USD", "budget:\n  day: 5", "budget:\n  delegate: half", "budget:\n  day: [none]",
                            "prices:\n  m: 3", "prices:\n  m: [1]", "prices:\n  m: [1, x]", "prices:\n  m: [1, 9999]",
                            "agents:\n  scout:\n    budget: none"})
        CHECK_THROWS_AS((void)parse_config(bad, "test"), Error);
}

TEST_CASE("settings: what the host says of budgets is what the guest reads") {
    Spending spending;
    spending.day = {kUsd, 5};
    spending.every.session = {3, 4};
    spending.own["scout"].day = {7, 8};
    spending.own["scout"].delegate = {9, kNoLimit};
    spending.prices = {{"m", 1, 2, 3, 4}};
    json::Value frame = json::Value::object({});
    put_spending(frame, spending);
    CHECK(spending_from(json::parse(json::dump(frame))) == spending);
    CHECK(spending_from(json::Value::object({})) == Spending());
    json::Value other = frame;
    other.find("budget")->find("own")->find("scout")->items()[3] = "all";
    CHECK_THROWS_AS((void)spending_from(other), Error);
    frame.find("budget")->find("day")->items()[0] = -1;
    CHECK_THROWS_AS((void)spending_from(frame), Error);
}

TEST_CASE("ledger: sums are exact, kept over a restart, and each in its own scope") {
    test::Folder folder;
    const std::string path = folder.path + "/book.db";
    const Spent one = spent_by(Spending(), {"claude-haiku-4-5", "", usage(101, 37, 11, 7)});
    for (int i = 0; i < 30; ++i) {
        Database database(path, Durability::ProcessCrash);  // killed after each
        Ledger ledger(database);
        ledger.add({"main", 1 + i % 2, 1 + i, 20'000}, "claude-haiku-4-5", one);
        ledger.add({"scout", 9, 99, 20'001}, "claude-haiku-4-5", one);
    }
    Database database(path, Durability::ProcessCrash);
    Ledger ledger(database);
    CHECK(ledger.spent(Scope::Day, {"", 0, 0, 20'000}).money == 30 * one.money);
    CHECK(ledger.spent(Scope::Session, {"main", 1, 0, 20'000}).input == 15 * 101);
    CHECK(ledger.spent(Scope::Turn, {"scout", 9, 99, 20'001}).calls == 30);
    CHECK(ledger.spent(Scope::Agent, {"scout", 0, 0, 20'000}) == Spent());
    CHECK(ledger.days(20'000).size() == 2);
    CHECK(ledger.days(20'000)[0].spent.calls == 30);
    CHECK(ledger.days(20'001).size() == 1);
}

TEST_CASE("ledger: an estimate is gone when the count is there, and stays when none comes") {
    Book book;
    Spent estimate{1, 1000, 500, 0, 0, 9'000, 0, 1}, count{1, 10, 5, 0, 0, 90, 0, 0};
    book.budgets.ledger.add(book.where, "m", estimate);
    CHECK(book.budgets.ledger.spent(Scope::Day, book.where) == estimate);
    book.budgets.ledger.replace(book.where, "m", estimate, count);
    CHECK(book.budgets.ledger.spent(Scope::Day, book.where) == count);
}

TEST_CASE("ledger: the greatest number is the most there can be, and is still too much") {
    Book book;
    book.spend(kNoLimit - 5);
    book.spend(kNoLimit - 5);
    book.where.turn = 2;
    book.spend(kNoLimit - 5);
    CHECK(book.budgets.ledger.spent(Scope::Day, book.where).money == kNoLimit);
    CHECK_FALSE(book.budgets.refusal(book.where).empty());
    book.budgets.give_more(book.where);
    CHECK(book.budgets.ledger.given(Scope::Day, book.where) > 0);
}

TEST_CASE("budgets: 80 % is said once, and again of what was given; the end is a sentence that names it") {
    Book book;
    book.budgets.spending.every.turn = kLifted;
    book.spend(8 * kUsd - 1);
    CHECK(book.budgets.check(book.where).warnings.empty());
    book.spend(1);
    CHECK(book.budgets.check(book.where).warnings.size() == 1);
    CHECK(book.budgets.check(book.where).warnings.empty());
    CHECK(book.budgets.refusal(book.where).empty());
    CHECK_FALSE(book.budgets.give_more(book.where));
    book.spend(2 * kUsd);
    CHECK(book.budgets.refusal(book.where) ==
          "the budget of all agents today (UTC) is spent: 10 USD of 10 USD; answer `more` to allow as much again");
    CHECK(book.budgets.give_more(book.where));
    CHECK(book.budgets.refusal(book.where).empty());
    CHECK(book.budgets.check(book.where).warnings.empty());
    book.spend(6 * kUsd);
    CHECK(book.budgets.check(book.where).warnings.size() == 1);
}

TEST_CASE("budgets: one look at all scopes sees what each of them sees alone") {
    Book book;
    book.budgets.spending.every = {{3 * kUsd, kNoLimit}, {4 * kUsd, kNoLimit}, {5 * kUsd, kNoLimit}};
    const int64_t day = book.where.day;
    int64_t money = 1;
    for (const Ledger::Where& where :
         {book.where, Ledger::Where{"main", 1, 2, day}, Ledger::Where{"main", 2, 3, day},
          Ledger::Where{"scout", 3, 4, day}, Ledger::Where{"main", 1, 5, day - 1}, Ledger::Where{"main", 0, 0, day}}) {
        Spent spent{1, 7, 0, 0, 0, money};
        book.budgets.ledger.add(where, "m", spent);
        book.budgets.ledger.add(where, "n", spent);
        money *= 10;
    }
    const std::vector<Scope> scopes{Scope::Turn, Scope::Session, Scope::Agent, Scope::Day};
    const std::vector<Ledger::Standing> all = book.budgets.ledger.look(scopes, book.where);
    REQUIRE(all.size() == 4);
    for (size_t i = 0; i < 4; ++i) {
        CHECK(all[i].scope == scopes[i]);
        CHECK(all[i].spent == book.budgets.ledger.spent(scopes[i], book.where));
    }
    CHECK(all[0].spent.money == 2);
    CHECK(all[1].spent.money == 20'022);
    CHECK(all[2].spent.money == 200'222);
    CHECK(all[3].spent.money == 202'222);
    const std::vector<Ledger::Standing> host = book.budgets.ledger.look({Scope::Agent, Scope::Day}, {"main"});
    REQUIRE(host.size() == 2);
    CHECK(host[0].spent == all[2].spent);
    CHECK(host[1].spent == all[3].spent);
}

TEST_CASE("budgets: midnight UTC begins a new day, and what was given for the old one is gone") {
    Book book;
    book.budgets.spending.every.turn = kLifted;
    book.spend(11 * kUsd);
    CHECK(book.budgets.give_more(book.where));
    Ledger::Where tomorrow = book.where;
    ++tomorrow.day;
    CHECK(book.budgets.refusal(tomorrow).empty());
    CHECK(book.budgets.ledger.given(Scope::Day, tomorrow) == 0);
    CHECK(book.budgets.ledger.spent(Scope::Day, tomorrow) == Spent());
}

TEST_CASE("budgets: one `more` is enough however far it went, and none helps where nothing may be spent") {
    Book book;
    book.budgets.spending.every = {kLifted, kLifted, kLifted};
    book.spend(57 * kUsd);
    CHECK(book.budgets.give_more(book.where));
    CHECK(book.budgets.refusal(book.where).empty());
    book.budgets.spending.day = {0, 0};
    CHECK_FALSE(book.budgets.give_more(book.where));
    CHECK(book.budgets.refusal(book.where).ends_with("57 USD, 0 tokens of 0 USD or 0 tokens"));
}

TEST_CASE("budgets: a delegate may spend half of what is left, or what is said of it, never more than is left") {
    Book book;
    Budgets& budgets = book.budgets;
    CHECK(budgets.for_delegate(book.where, kLifted) == Limit{kUsd * 5 / 2, kNoLimit});
    book.spend(3 * kUsd);
    CHECK(budgets.for_delegate(book.where, kLifted) == Limit{kUsd, kNoLimit});
    CHECK(budgets.for_delegate(book.where, {kUsd / 4, kNoLimit}) == Limit{kUsd / 4, kNoLimit});
    CHECK(budgets.for_delegate(book.where, {100 * kUsd, 7}) == Limit{kUsd, 7});
    // Another turn of the agent's has spent most of the day: that is the tightest now.
    budgets.ledger.add({"main", 2, 2}, "m", {1, 0, 0, 0, 0, 6 * kUsd});
    CHECK(budgets.for_delegate(book.where, kLifted) == Limit{kUsd / 2, kNoLimit});
    budgets.spending.every.delegate = kLifted;
    CHECK(budgets.for_delegate(book.where, kLifted) == Limit{kUsd, kNoLimit});
    budgets.spending.own["main"] = budgets.spending.every;
    budgets.spending.own["main"].delegate = {kUsd / 10, 1000};
    CHECK(budgets.for_delegate(book.where, kLifted) == Limit{kUsd / 10, 1000});
    CHECK(budgets.for_delegate(book.where, {kUsd, 2000}) == Limit{kUsd / 10, 1000});
    book.spend(kUsd);
    CHECK(exhausted(budgets.for_delegate(book.where, kLifted), {}));
    budgets.spending = {kLifted, {kLifted, kLifted, kLifted}, {}, {}};
    CHECK(budgets.for_delegate(book.where, kLifted) == kLifted);
}

TEST_CASE("budgets: tokens without a price count against money, and the sentence says so") {
    Book book;
    Spent spent;
    spent.unpriced = spent.input = 10'000'000;
    book.budgets.ledger.add(book.where, "who", spent);
    CHECK(book.budgets.refusal(book.where).find("10,000,000 tokens whose price is not known, counted as 5 USD") !=
          std::string::npos);
    CHECK(book.budgets.report(book.where).items()[0].text("spent") == "cost unknown");
}

TEST_CASE("budgets: a bound of tokens holds without any price, and an agent's day is its own") {
    Book book;
    book.budgets.spending.own["scout"] = {kLifted, kLifted, {kNoLimit, 1000}};
    Spent spent;
    spent.cache_read = 1000;
    book.where = {"scout", 5, 6};
    book.budgets.ledger.add(book.where, "local", spent);
    CHECK(book.budgets.refusal(book.where) ==
          "the budget of the agent scout today (UTC) is spent: 1,000 tokens of 1,000 tokens; answer `more` to allow "
          "as much again");
    CHECK(book.budgets.refusal({"main", 1, 1}).empty());
}
