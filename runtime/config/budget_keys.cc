// Budgets as a person writes them. What is said of a limit takes the place of all of its default; an agent's
// own budget takes that of every agent limit by limit.
#include "config/budget_keys.h"

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using yaml::Node;

Limit read_limit(const Node& node) {
    Limit limit = kLifted;
    if (node.kind == Node::Kind::Text) {
        parse_limit(node.text, limit);
        return limit;
    }
    if (node.kind != Node::Kind::List || node.items.empty())
        throw Error("`2 USD`, `500k tokens`, a list of both or `none` was expected");
    for (const Node& item : node.items) {
        if (item.kind != Node::Kind::Text || item.text == "none")
            throw Error("in a list, `2 USD` and `500k tokens` are expected");
        parse_limit(item.text, limit);
    }
    return limit;
}

// `day`: where the limit of that name goes.
void read_budget(const Node& node, const std::string& what, Budget& budget, Limit& day) {
    if (node.kind == Node::Kind::Text || node.kind == Node::Kind::List)
        throw Error(at(node) + what + ": `day: 10 USD` and the like were expected below it");
    for (const auto& [key, value] : node.entries) {
        try {
            if (key.text == "turn")
                budget.turn = read_limit(value);
            else if (key.text == "session")
                budget.session = read_limit(value);
            else if (key.text == "day")
                day = read_limit(value);
            else if (key.text == "delegate")
                budget.delegate = read_limit(value);
            else
                throw Error("unknown key; known: turn, session, day, delegate");
        } catch (const Error& error) {
            throw Error(at(key) + what + ": " + printable(key.text) + ": " + error.what());
        }
    }
}

Price read_price(const Node& name, const Node& node) {
    if (name.text.empty() || name.text.size() > 200) throw Error("the name of a model was expected");
    if (node.kind != Node::Kind::List || node.items.size() < 2 || node.items.size() > 4)
        throw Error("`[in, out]` or `[in, out, read from the cache, written to it]` was expected");
    uint64_t parts[4] = {};
    for (size_t i = 0; i < node.items.size(); ++i) parts[i] = parse_price(node.items[i].text);
    for (size_t i = node.items.size(); i < 4; ++i) parts[i] = parts[0];
    return {name.text, parts[0], parts[1], parts[2], parts[3]};
}

}  // namespace

Spending read_spending(const Node* budget, const Node* prices, const Node* agents) {
    Spending out;
    if (budget) read_budget(*budget, "budget", out.every, out.day);
    for (const auto& [name, node] : agents ? agents->entries : std::vector<yaml::Entry>()) {
        const Node* const own = node.find("budget");
        if (!own) continue;
        Budget& of = out.own[name.text] = out.every;
        read_budget(*own, name.text + ": budget", of, of.day);
    }
    if (!prices || prices->kind == Node::Kind::Null) return out;
    if (prices->kind != Node::Kind::Map)
        throw Error(at(*prices) + "prices: `model: [in, out]` lines were expected below it");
    for (const auto& [name, node] : prices->entries) {
        try {
            if (out.prices.size() == kMaxPrices) throw Error("too many");
            out.prices.push_back(read_price(name, node));
        } catch (const Error& error) {
            throw Error(at(name) + "prices: " + printable(name.text) + ": " + error.what());
        }
    }
    return out;
}

}  // namespace peacrab
