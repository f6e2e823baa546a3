// Bounded in channels, in pages, in what waits. A page has the messages that follow one, the newest first.
#include "channels/discord_gaps.h"

#include <algorithm>
#include <utility>

#include "channels/discord_api.h"

namespace peacrab {
namespace {

constexpr size_t kMostGaps = 500;
constexpr size_t kPage = 100;
constexpr int kMostPages = 20;
constexpr int kMostFailures = 15;
constexpr size_t kMostHeld = 200;

uint64_t id_of(const json::Value& message) { return discord_id(message.text("id")).value_or(0); }

}  // namespace

void DiscordGaps::add(const Gap& gap) {
    if (gaps_.size() < kMostGaps && !has(gap.channel)) gaps_[gap.channel].gap = gap;
}

void DiscordGaps::known(uint64_t channel, uint64_t message) {
    const auto found = gaps_.find(channel);
    if (found != gaps_.end() && message <= found->second.gap.after && found->second.held.empty()) gaps_.erase(found);
}

void DiscordGaps::hold(uint64_t channel, const json::Value& message) {
    Open& open = gaps_.at(channel);
    if (open.held.size() < kMostHeld) open.held.push_back(message);
    else open.overflowed = true;  // it is asked for
}

std::string DiscordGaps::path() const {
    return "/channels/" + std::to_string(next().channel) + "/messages?limit=" + std::to_string(kPage) +
           "&after=" + std::to_string(next().after);
}

DiscordGaps::Found DiscordGaps::take(const std::vector<json::Value>& answer) {
    Open& open = gaps_.begin()->second;
    Found found{open.gap, {}, false, {}};
    std::vector<uint64_t> ids;
    for (const json::Value& message : answer) ids.push_back(id_of(message));
    for (;;) {  // a page is short: the least that is left, again and again
        size_t next = ids.size();
        for (size_t i = 0; i < ids.size(); ++i)
            if (ids[i] > open.gap.after && (next == ids.size() || ids[i] < ids[next])) next = i;
        if (next == ids.size()) break;
        open.gap.after = ids[next];
        found.messages.push_back(answer[next]);
    }
    const bool more = answer.size() >= kPage || std::exchange(open.overflowed, false);
    if (more && !found.messages.empty() && ++open.pages < kMostPages) return found;
    found.closed = true;
    found.held = std::move(open.held);
    std::erase_if(found.held, [&](const json::Value& message) { return id_of(message) <= open.gap.after; });
    gaps_.erase(gaps_.begin());
    return found;
}

std::optional<Milliseconds> DiscordGaps::failed() {
    const int failures = ++gaps_.begin()->second.failures;
    if (failures >= kMostFailures) return std::nullopt;
    return Milliseconds(std::min<int64_t>(60'000, int64_t{500} << failures));
}

}  // namespace peacrab
