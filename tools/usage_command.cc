// Reads the book, and has it raised. Must not make a folder for a machine there is not.
#include "usage_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "config.h"
#include "error.h"
#include "usage_book.h"

namespace peacrab {
namespace {

std::string date_of(int64_t day) {
    const std::time_t seconds = day * 86'400;
    std::tm date{};
    char text[32];
    if (!::gmtime_r(&seconds, &date) || !std::strftime(text, sizeof text, "%Y-%m-%d", &date)) return "?";
    return text;
}

UsageBook open_book(const MachinePlace& place) {
    if (::access(place.folder.c_str(), F_OK) < 0) throw Error("there is no machine `" + place.name + "`");
    return UsageBook(usage_book(place), load_config(config_file()).spending);
}

json::Value as_json(const Ledger::Row& row) {
    const Spent& spent = row.spent;
    json::Value out = json::Value::object({{"day", date_of(row.day)},
                                           {"agent", row.agent},
                                           {"model", row.model},
                                           {"calls", spent.calls},
                                           {"input_tokens", spent.input},
                                           {"output_tokens", spent.output},
                                           {"cache_read_tokens", spent.cache_read},
                                           {"cache_write_tokens", spent.cache_write},
                                           {"estimated_calls", spent.estimated},
                                           {"unpriced_tokens", spent.unpriced}});
    out.set("cost_nano_usd", spent.money);
    return out;
}

// Tokens are counted exactly on both sides, so any difference means something.
void print_difference(const MachinePlace& place, UsageBook& book) {
    const std::optional<int64_t> said = tokens_by_own_count(place);
    const Spent seen = book.ledger().spent(Ledger::Scope::Day, {});
    if (!said || *said == seen.tokens()) return;
    std::printf("the agents themselves count %s tokens today, %s passed to the model and back%s\n",
                grouped(*said).c_str(), grouped(seen.tokens()).c_str(),
                seen.estimated ? " (a call under way, or one that was cut off, is estimated)" : "");
}

void print(const Ledger::Row& row) {
    const Spent& spent = row.spent;
    const std::string estimated =
        spent.estimated ? "  (" + grouped(spent.estimated) + " of the calls estimated)" : "";
    std::printf("%-10s  %-12s  %-28s  %6s  %13s  %11s  %s%s\n", date_of(row.day).c_str(),
                printable(row.agent).c_str(), printable(row.model).c_str(), grouped(spent.calls).c_str(),
                grouped(sum(spent.input, sum(spent.cache_read, spent.cache_write))).c_str(),
                grouped(spent.output).c_str(), in_words(spent).c_str(), estimated.c_str());
}

}  // namespace

std::string usage_book(const MachinePlace& place) {
    return place.folder + "/usage.db";
}

int usage_list(const MachinePlace& place, const UsageAsked& asked) {
    UsageBook book = open_book(place);
    std::vector<Ledger::Row> rows = book.ledger().days(Ledger::today() - asked.days + 1);
    if (!asked.agent.empty())
        std::erase_if(rows, [&](const Ledger::Row& row) { return row.agent != asked.agent; });
    Spent all;
    for (const Ledger::Row& row : rows) all += row.spent;
    if (asked.form == OutputForm::Json) {
        json::Value list = json::Value::array();
        for (const Ledger::Row& row : rows) list.push(as_json(row));
        const json::Value out = json::Value::object({{"rows", std::move(list)},
                                                     {"cost_nano_usd", all.money},
                                                     {"unpriced_tokens", all.unpriced},
                                                     {"today", book.today(asked.agent)}});
        std::printf("%s\n", json::dump(out).c_str());
        return 0;
    }
    if (!rows.empty())
        std::printf("%-10s  %-12s  %-28s  %6s  %13s  %11s  %s\n", "day (UTC)", "agent", "model", "calls",
                    "tokens in", "out", "cost");
    for (const Ledger::Row& row : rows) print(row);
    std::printf("%s%d day%s: %s\ntoday: %s\n", rows.empty() ? "" : "\n", asked.days, asked.days == 1 ? "" : "s",
                in_words(all).c_str(), book.today(asked.agent).c_str());
    if (asked.agent.empty()) print_difference(place, book);
    return 0;
}

Spending raised_today(const MachinePlace& place, const Spending& spending) {
    try {
        return UsageBook(usage_book(place), spending).raised();
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return spending;
    }
}

bool allow_more(const MachinePlace& place) {
    const Config config = load_config(config_file());
    std::vector<std::string> agents;
    for (const AgentSettings& agent : config.agents.list) agents.push_back(agent.name);
    const bool any = open_book(place).give_more(agents);
    std::optional<FrameSocket> gateway = any ? connect_gateway(place) : std::nullopt;
    if (gateway) ask_gateway(*gateway, "more", Seconds(10));
    return any;
}

}  // namespace peacrab
