// What models cost and what may be spent on them: data, its three written forms (a person's, a frame's, a
// sentence's), and arithmetic that is exact and cannot overflow. Nothing here has an effect.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"
#include "types.h"

namespace peacrab {

// Money is counted in billionths of a USD: every price a token has is a whole number of them.
constexpr int64_t kUsd = 1'000'000'000;
constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// Nothing may be spent, unless it says more.
struct Limit {
    int64_t money = 0;   // billionths of a USD
    int64_t tokens = 0;  // of all four kinds together
    bool operator==(const Limit&) const = default;
};
constexpr Limit kLifted{kNoLimit, kNoLimit};

struct Budget {
    Limit turn{5 * kUsd, kNoLimit};
    Limit session = kLifted;
    Limit day = kLifted;  // of this one agent
    // Of each turn that it gives to itself (`delegate`), within what is left of all these. Nothing: half of what
    // is left, so that a part of the work that goes astray leaves the turn that asked enough to end well with.
    std::optional<Limit> delegate = {};
    bool operator==(const Budget&) const = default;
};

// Billionths of a USD for one token, which is as much as thousandths of a USD for a million.
struct Price {
    std::string model;
    uint64_t input = 0, output = 0, cache_read = 0, cache_write = 0;
    bool operator==(const Price&) const = default;
};
constexpr uint64_t kMaxPrice = 1'000'000;        // 1000 USD for a million
constexpr uint64_t kMaxTokens = 1'000'000'000;   // of one kind in one call; what is more is no count
constexpr size_t kMaxPrices = 256;

struct Spending {
    Limit day{10 * kUsd, kNoLimit};  // of all agents of a machine together, from midnight to midnight UTC
    Budget every;                    // of each agent that has none of its own
    std::map<std::string, Budget> own;
    std::vector<Price> prices;       // the person's: they go before prices.def
    const Budget& of(const std::string& agent) const;
    bool operator==(const Spending&) const = default;
};

// One call of a model. Both names: a server may answer under another than it was asked for.
struct ModelCall {
    std::string asked;
    std::string answered;  // "": it did not say
    Usage usage;
    bool estimated = false;  // nobody counted
    bool free = false;       // a server of this machine, or the demo model
};

// What was spent. A call whose price is not known adds to `unpriced` instead of `money`.
struct Spent {
    int64_t calls = 0;
    int64_t input = 0, output = 0, cache_read = 0, cache_write = 0;  // tokens
    int64_t money = 0;
    int64_t unpriced = 0;   // tokens
    int64_t estimated = 0;  // calls nobody counted
    int64_t tokens() const;
    // What counts against a limit of money: a token without a known price counts as kUnknownPrice.
    int64_t weight() const;
    Spent& operator+=(const Spent& other);
    bool operator==(const Spent&) const = default;
};
constexpr int64_t kUnknownPrice = 500;  // half a USD for a million

// What both allow; what is left; half of it, rounded down. None of it is below nothing.
Limit least(const Limit& a, const Limit& b);
Limit left_of(const Limit& limit, const Spent& spent);
Limit half_of(const Limit& limit);

// Of two that are not negative; too much is the greatest number.
int64_t sum(int64_t a, int64_t b);
int64_t product(int64_t a, int64_t b);

// Of the name that was asked for, else of the one that answered: the person's, then nothing of a free one,
// then that of prices.def. Nothing: it is not known.
std::optional<Price> price_of(const Spending& spending, const ModelCall& call);
Spent spent_by(const Spending& spending, const ModelCall& call);

// "2 USD", "$0.50", "500k tokens", "20M tokens", "none". Sets its part of `limit`. Throws Error.
void parse_limit(std::string_view text, Limit& limit);
// "3", "0.075" USD for a million tokens. Throws Error.
uint64_t parse_price(std::string_view text);
std::string in_usd(int64_t money);  // "0.021 USD", "10 USD"
std::string grouped(int64_t number);  // "1,234,567"
std::string in_words(const Spent& spent);  // "0.021 USD", "cost unknown"
std::string in_words(const Limit& limit);  // "5 USD", "500,000 tokens", "5 USD or 500,000 tokens", "none"

// The key `budget` of a frame. Throws Error on what put_spending would not have written; a frame without
// it is the defaults.
void put_spending(json::Value& frame, const Spending& spending);
Spending spending_from(const json::Value& frame);

}  // namespace peacrab
