// Whole numbers all the way: what a ledger adds up must be what the provider adds up. Counts come from a
// hostile wire or a hostile frame, so every sum stops at the greatest number instead of turning round.
#include "budget/spending.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

struct Row {
    std::string_view model;
    uint32_t input, output, cache_read, cache_write;
};
constexpr std::array kRows = {
#define PRICE(model, input, output, cache_read, cache_write) \
    Row{model, input, output, cache_read, cache_write},
#include "budget/prices.def"
#undef PRICE
};

// Whether `name` is the model of that row: itself, or one of its dated names.
bool is_of(std::string_view name, std::string_view row) {
    if (!name.starts_with(row)) return false;
    name.remove_prefix(row.size());
    return name.empty() || name == "-latest" || name.starts_with("-20") || name.starts_with("@20");
}

std::optional<Price> listed_price(std::string_view name) {
    name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
    for (const Row& row : kRows)
        if (is_of(name, row.model))
            return Price{std::string(row.model), row.input, row.output, row.cache_read, row.cache_write};
    return std::nullopt;
}

// "12.5" in units of 1/10^places; at most `most` of them. Throws Error.
uint64_t decimal(std::string_view text, int places, uint64_t most) {
    uint64_t number = 0;
    int behind = -1;
    bool digits = false;
    for (const char c : text) {
        if (c == '.' && behind < 0) {
            behind = 0;
            continue;
        }
        if (c < '0' || c > '9' || behind == places) throw Error("");
        if (behind >= 0) ++behind;
        digits = true;
        number = number * 10 + static_cast<uint64_t>(c - '0');
        if (number > most) throw Error("");
    }
    for (int i = std::max(behind, 0); i < places; ++i) number *= 10;
    if (!digits || number > most) throw Error("");
    return number;
}

std::string_view trimmed(std::string_view text) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    return text;
}

// True when `text` ended in it, which is then gone.
bool take_end(std::string_view& text, std::string_view end) {
    if (!text.ends_with(end)) return false;
    text = trimmed(text.substr(0, text.size() - end.size()));
    return true;
}

json::Value limit_row(const Limit& limit) {
    return json::Value::array({limit.money, limit.tokens});
}

json::Value budget_row(const Budget& budget) {
    return json::Value::array({limit_row(budget.turn), limit_row(budget.session), limit_row(budget.day),
                               budget.delegate ? limit_row(*budget.delegate) : json::Value()});
}

int64_t not_negative(const json::Value& value, int64_t most) {
    const int64_t number = value.as_integer();
    if (number < 0 || number > most) throw Error("budget: a number is out of range");
    return number;
}

Limit limit_from(const json::Value& row) {
    if (row.items().size() != 2) throw Error("budget: no limit");
    return {not_negative(row.items()[0], kNoLimit), not_negative(row.items()[1], kNoLimit)};
}

Budget budget_from(const json::Value& row) {
    if (row.items().size() != 4) throw Error("budget: no budget");
    Budget budget{limit_from(row.items()[0]), limit_from(row.items()[1]), limit_from(row.items()[2])};
    if (!row.items()[3].is_null()) budget.delegate = limit_from(row.items()[3]);
    return budget;
}

Price price_from(const json::Value& row) {
    if (row.items().size() != 5) throw Error("budget: no price");
    Price price{row.items()[0].as_string()};
    if (price.model.empty() || price.model.size() > 200) throw Error("budget: a price of no model");
    uint64_t* const parts[] = {&price.input, &price.output, &price.cache_read, &price.cache_write};
    for (size_t i = 0; i < 4; ++i)
        *parts[i] = static_cast<uint64_t>(not_negative(row.items()[i + 1], kMaxPrice));
    return price;
}

}  // namespace

int64_t sum(int64_t a, int64_t b) {
    int64_t out = 0;
    return __builtin_add_overflow(a, b, &out) ? kNoLimit : out;
}

int64_t product(int64_t a, int64_t b) {
    int64_t out = 0;
    return __builtin_mul_overflow(a, b, &out) ? kNoLimit : out;
}

Limit least(const Limit& a, const Limit& b) {
    return {std::min(a.money, b.money), std::min(a.tokens, b.tokens)};
}

Limit left_of(const Limit& limit, const Spent& spent) {
    const auto left = [](int64_t all, int64_t gone) { return all == kNoLimit ? all : std::max<int64_t>(0, all - gone); };
    return {left(limit.money, spent.weight()), left(limit.tokens, spent.tokens())};
}

Limit half_of(const Limit& limit) {
    const auto half = [](int64_t all) { return all == kNoLimit ? all : all / 2; };
    return {half(limit.money), half(limit.tokens)};
}

const Budget& Spending::of(const std::string& agent) const {
    const auto it = own.find(agent);
    return it == own.end() ? every : it->second;
}

int64_t Spent::tokens() const {
    return sum(sum(input, output), sum(cache_read, cache_write));
}

int64_t Spent::weight() const {
    return sum(money, product(unpriced, kUnknownPrice));
}

Spent& Spent::operator+=(const Spent& other) {
    for (int64_t Spent::*part : {&Spent::calls, &Spent::input, &Spent::output, &Spent::cache_read,
                                 &Spent::cache_write, &Spent::money, &Spent::unpriced, &Spent::estimated})
        this->*part = sum(this->*part, other.*part);
    return *this;
}

std::optional<Price> price_of(const Spending& spending, const ModelCall& call) {
    for (const std::string& name : {call.asked, call.answered})
        for (const Price& price : spending.prices)
            if (is_of(name, price.model)) return price;
    if (call.free) return Price{};
    const std::optional<Price> asked = listed_price(call.asked);
    return asked ? asked : listed_price(call.answered);
}

Spent spent_by(const Spending& spending, const ModelCall& call) {
    const auto count = [](uint64_t tokens) { return static_cast<int64_t>(std::min(tokens, kMaxTokens)); };
    const auto cost = [](int64_t tokens, uint64_t price) {
        return product(tokens, static_cast<int64_t>(std::min(price, kMaxPrice)));
    };
    const Usage& usage = call.usage;
    Spent spent{1, count(usage.input_tokens), count(usage.output_tokens),
                count(usage.cache_read_input_tokens), count(usage.cache_creation_input_tokens)};
    spent.estimated = call.estimated;
    if (const std::optional<Price> price = price_of(spending, call))
        spent.money = sum(sum(cost(spent.input, price->input), cost(spent.output, price->output)),
                          sum(cost(spent.cache_read, price->cache_read), cost(spent.cache_write, price->cache_write)));
    else
        spent.unpriced = spent.tokens();
    return spent;
}

void parse_limit(std::string_view text, Limit& limit) {
    const std::string whole(text);
    text = trimmed(text);
    if (text == "none") {
        limit = kLifted;
        return;
    }
    try {
        if (take_end(text, "tokens")) {
            const int places = take_end(text, "k") ? 3 : take_end(text, "M") ? 6 : 0;
            limit.tokens = static_cast<int64_t>(decimal(text, places, 1'000'000'000'000));
            return;
        }
        const bool sign = text.starts_with('$');
        if (sign) text.remove_prefix(1);
        if (sign || take_end(text, "USD")) {
            limit.money = static_cast<int64_t>(decimal(trimmed(text), 6, 1'000'000'000'000)) * 1000;
            return;
        }
    } catch (const Error&) {
    }
    throw Error("`2 USD`, `500k tokens` or `none` was expected, not `" + printable(whole.substr(0, 60)) + "`");
}

uint64_t parse_price(std::string_view text) {
    try {
        return decimal(trimmed(text), 3, kMaxPrice);
    } catch (const Error&) {
        throw Error("USD for a million tokens, such as 3 or 0.075, were expected");
    }
}

std::string grouped(int64_t number) {
    std::string text = std::to_string(std::max<int64_t>(number, 0));
    for (size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
    return text;
}

// To the thousandth, and to three digits below that; the least that is not nothing is a millionth.
std::string in_usd(int64_t money) {
    money = std::max<int64_t>(money, 0);
    int64_t unit = kUsd / 1000;
    int places = 3;
    for (; places < 6 && money > 0 && money < unit * 100; ++places) unit /= 10;
    int64_t rounded = sum(money, unit / 2) / unit;
    if (money > 0 && rounded == 0) rounded = 1;
    const int64_t whole = kUsd / unit;
    std::string out = grouped(rounded / whole);
    if (rounded % whole) {
        std::string part = std::to_string(whole + rounded % whole).substr(1);
        while (part.ends_with('0') && part.size() > 2) part.pop_back();
        out += "." + part;
    }
    return out + " USD";
}

std::string in_words(const Spent& spent) {
    if (spent.unpriced == 0) return in_usd(spent.money);
    return spent.money ? in_usd(spent.money) + " and more, not known" : "cost unknown";
}

std::string in_words(const Limit& limit) {
    std::string out;
    if (limit.money != kNoLimit) out = in_usd(limit.money);
    if (limit.tokens != kNoLimit) out += (out.empty() ? "" : " or ") + grouped(limit.tokens) + " tokens";
    return out.empty() ? "none" : out;
}

void put_spending(json::Value& frame, const Spending& spending) {
    json::Value own = json::Value::object({}), prices = json::Value::array();
    for (const auto& [agent, budget] : spending.own) own.set(agent, budget_row(budget));
    for (const Price& price : spending.prices)
        prices.push(json::Value::array(
            {price.model, price.input, price.output, price.cache_read, price.cache_write}));
    frame.set("budget", json::Value::object({{"day", limit_row(spending.day)},
                                             {"every", budget_row(spending.every)},
                                             {"own", std::move(own)},
                                             {"prices", std::move(prices)}}));
}

Spending spending_from(const json::Value& frame) {
    Spending out;
    const json::Value* const budget = frame.find("budget");
    if (!budget) return out;
    out.day = limit_from(budget->at("day"));
    out.every = budget_from(budget->at("every"));
    for (const auto& [agent, row] : budget->at("own").members()) out.own[agent] = budget_from(row);
    const std::vector<json::Value>& prices = budget->at("prices").items();
    if (prices.size() > kMaxPrices) throw Error("budget: too many prices");
    for (const json::Value& row : prices) out.prices.push_back(price_from(row));
    return out;
}

}  // namespace peacrab
