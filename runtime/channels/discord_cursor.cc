// Bounded: who is in many channels keeps those where something was said last.
#include "channels/discord_cursor.h"

#include <algorithm>

#include "channels/discord_api.h"

namespace peacrab {
namespace {

constexpr size_t kMostPlaces = 300;
constexpr json::Limits kCursorLimits{size_t{256} << 10, 4};

json::Value numbers(const DiscordCursor& cursor, bool direct) {
    json::Value out = json::Value::object();
    for (const auto& [channel, place] : cursor.places)
        if (place.direct == direct) out.members().emplace_back(std::to_string(channel), std::to_string(place.last));
    return out;
}

void read_numbers(DiscordCursor& cursor, const json::Value* from, bool direct) {
    if (!from) return;
    for (const json::Member& member : from->members())
        if (const std::optional<uint64_t> channel = discord_id(member.first), last = discord_id(member.second.as_string());
            channel && last)
            cursor.note(*channel, *last, direct);
}

}  // namespace

void DiscordCursor::note(uint64_t channel, uint64_t message, bool direct) {
    mark = std::max(mark, message);
    Place& place = places[channel];
    place.last = std::max(place.last, message);
    place.direct = direct;
    if (places.size() <= kMostPlaces) return;
    places.erase(std::min_element(places.begin(), places.end(),
                                  [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
}

std::string DiscordCursor::text(bool whole) const {
    json::Value out = json::Value::object();
    if (whole && !session.id.empty()) {
        out.set("session", session.id);
        out.set("url", session.url);
        out.set("seq", session.seq);
    }
    out.set("mark", std::to_string(mark));
    out.set("direct", numbers(*this, true));
    out.set("group", numbers(*this, false));
    return json::dump(out);
}

DiscordCursor read_discord_cursor(std::string_view text) {
    const json::Value from = json::parse(text, kCursorLimits);
    DiscordCursor cursor;
    cursor.session = {from.text("session"), from.text("url"), from.integer("seq")};
    read_numbers(cursor, from.find("direct"), true);
    read_numbers(cursor, from.find("group"), false);
    cursor.mark = std::max(cursor.mark, discord_id(from.text("mark")).value_or(0));
    return cursor;
}

}  // namespace peacrab
