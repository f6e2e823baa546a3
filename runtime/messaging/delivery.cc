// What is sent, and sent again. The states are messaging/post.h's; "sending" is on the disk before the adapter hears of
// it. What a class of failure means stands in channels/README.md.
#include <algorithm>

#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"

namespace peacrab {
namespace {

constexpr int64_t kHorizon = 30 * 60'000;  // ms: how long it is worth while
constexpr int64_t kLongestWait = 60'000;
constexpr int64_t kSecondTry = 5000;  // of what may have arrived, where nobody can look
constexpr int64_t kMostUnclear = 5;
constexpr Milliseconds kPatience{150'000};    // with an adapter; its own with the messenger is shorter
constexpr Milliseconds kPatienceForFile{600'000};  // more, since it last asked for a piece: it sends it on when it has all

int64_t number(const std::string& text) {
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos)
        throw Error("channel: no id of a delivery");
    return std::stoll(text);
}

int64_t backoff(int64_t attempts) {
    return std::min(kLongestWait, int64_t{1000} << std::min<int64_t>(attempts, 10));
}

}  // namespace

void Hub::State::pump(const std::string& name) {
    const auto found = channels.find(name);
    if (found == channels.end() || !found->second->ready) return;
    Channel& channel = *found->second;
    const int64_t now = unix_ms();
    for (const int64_t place : post.places_to_deliver(name, now)) {
        pump(channel, place);
        if (!channels.contains(name)) return;  // it was lost
    }
    loop.cancel(std::exchange(channel.timer, 0));
    const std::optional<int64_t> next = post.next_delivery(name, now);
    if (!next && channel.under_way.empty()) return;
    const Milliseconds span{next ? std::clamp<int64_t>(*next - unix_ms(), 50, kLongestWait) : kLongestWait};
    channel.timer = loop.after(span, [this, name] {
        const auto again = channels.find(name);
        if (again == channels.end()) return;
        again->second->timer = 0;
        for (const auto& [row, since] : again->second->under_way)
            if (Clock::now() - since > kPatience + kPatienceForFile * (post.parcel(row) ? 1 : 0)) return lost(name, "it does not say what became of a delivery");
        resolve_unknown(*again->second);
        pump(name);
    });
}

// A channel may be lost by what is sent to it.
void Hub::State::pump_all() {
    std::vector<std::string> names;
    for (const auto& [name, channel] : channels) names.push_back(name);
    for (const std::string& name : names) pump(name);
}

void Hub::State::pump(Channel& channel, int64_t place) {
    const auto chat = chats.find(place);
    if (!channel.ready || (chat != chats.end() && chat->second->show_under_way)) return;
    const std::optional<PlaceRow> where = post.place(place);
    const std::optional<int64_t> first = post.first_to_deliver(place, unix_ms());
    if (!where || !first || !parcel_ready(channel, *where, *first)) return;
    const std::optional<DeliveryRow> row = post.take(place, unix_ms());
    if (!row) return;
    const std::optional<Parcel> parcel = post.parcel(row->row);
    json::Value frame = json::Value::object({{"type", "deliver"},
                                             {"id", std::to_string(row->row)},
                                             {"key", row->key},
                                             {"conversation", where->conversation}});
    if (!where->thread.empty()) frame.set("thread", where->thread);
    if (!row->reply_to.empty()) frame.set("reply_to", row->reply_to);
    frame.set("text", parcel ? std::string() : row->text);
    if (parcel) frame.set("file", parcel_frame(*parcel));
    if (row->part == 0 && !row->platform.empty()) frame.set("platform", row->platform);
    if (row->part > 0) frame.set("from", row->part);
    if (row->again) frame.set("again", true);
    put_choices(channel, row->row, frame);
    try {
        channel.port->send(frame);
        channel.under_way[row->row] = Clock::now();
    } catch (const Error& error) {  // tried again it would end the channel each time
        given_up(*row, one_line(error.what(), 200));
    }
}

// Nobody else's: one channel cannot say what became of another's.
std::optional<DeliveryRow> Hub::State::delivery_of(const Channel& channel, const json::Value& frame) {
    std::optional<DeliveryRow> row = post.delivery(number(frame.text("id")));
    const std::optional<PlaceRow> place = row ? post.place(row->place) : std::nullopt;
    return place && place->channel == channel.options.name ? row : std::nullopt;
}

void Hub::State::on_sent(Channel& channel, const json::Value& frame) {
    const std::optional<DeliveryRow> row = delivery_of(channel, frame);
    if (!row || (row->state != "sending" && row->state != "unknown")) return;
    channel.under_way.erase(row->row);
    const int64_t part = frame.integer("part"), of = frame.integer("of");
    if (part < 0 || of < 1 || part >= of || of > 1000) throw Error("channel: sent: there is no such part");
    post.together([&] {
        post.part_sent(row->row, part, of, frame.text("platform").substr(0, kMaxEventId));
        if (const std::optional<Card> card = cards.card(row->row)) seal(*card, {});
    });
    if (row->state == "unknown" && part + 1 < of) post.put_off(row->row, 0, {}, false);
    if (part + 1 < of && row->state == "sending") channel.under_way[row->row] = Clock::now();
    else pump(channel.options.name);
    if (part + 1 == of) delivered(row->row);
}

void Hub::State::on_failed(Channel& channel, const json::Value& frame) {
    const std::optional<DeliveryRow> row = delivery_of(channel, frame);
    // The messenger had taken it, and says now that it could not be delivered.
    if (row && row->state == "sent" && frame.text("key") == row->key) return given_up(*row, one_line(frame.text("error"), 300));
    if (!row || (row->state != "sending" && row->state != "unknown")) return;
    channel.under_way.erase(row->row);
    const std::string kind = frame.text("class"), why = one_line(frame.text("error"), 300);
    const int64_t now = unix_ms();
    const bool late = now - row->created > kHorizon;
    if (kind == "gone" && !frame.text("moved").empty() && !late) {
        post.together([&] {
            const std::string to = frame.text("moved").substr(0, kMaxEventId);
            if (const std::optional<PlaceRow> place = post.place(row->place)) door.group_moved(place->channel, place->conversation, to);
            post.move_place(row->place, to);
            post.put_off(row->row, now, why, false);
        });
    } else if (kind == "unknown") {
        if (row->attempts >= kMostUnclear) {
            given_up(*row, why);
        } else {
            post.set_unknown(row->row, why);
            resolve_unknown(channel);
        }
    } else if (kind == "throttled") {
        const int64_t wait = std::clamp<int64_t>(frame.integer("retry_ms", 1000), 100, 3'600'000);
        if (late) given_up(*row, why);
        else post.put_off(row->row, now + wait, why, row->again);
    } else if ((kind == "not_sent" || kind == "transient") && !late) {
        post.put_off(row->row, now + backoff(row->attempts), why, row->again);
    } else {
        given_up(*row, why);
    }
    pump(channel.options.name);
}

// The agent is told with the next message of the place, the person where an owner can be told anything.
void Hub::State::given_up(const DeliveryRow& row, const std::string& why) {
    const std::string begin = one_line(row.text, 80);
    log(LogLevel::Error, "a message could not be delivered: " + why);
    post.together([&] {
        post.fail(row.row, why);
        delivered(row.row);
        if (row.origin.starts_with("n:") || row.origin.starts_with("c:")) return;  // such a notice itself; of a card that is decided
        post.note(row.place, "[Not delivered: your message \"" + begin + "\": " + why + "]");
        const std::optional<PlaceRow> place = post.place(row.place);
        for (const int64_t owner : door.owners_places({}))
            if (owner != row.place)
                post.enqueue(owner, "n:" + std::to_string(row.row) + ":" + std::to_string(owner),
                             "A message could not be delivered on " + (place ? place->channel : std::string("?")) + ": \"" +
                                 begin + "\": " + why);
    });
}

// Of each that nobody can say of whether it is there: asked again, looked for, or sent once more after a while.
void Hub::State::resolve_unknown(Channel& channel) {
    if (!channel.ready) return;
    for (const DeliveryRow& row : post.unknown(channel.options.name)) {
        const std::optional<PlaceRow> where = post.place(row.place);
        switch (channel.limits.dedupe) {
            case ChannelLimits::Dedupe::Key:
                post.put_off(row.row, 0, row.error, true);
                break;
            case ChannelLimits::Dedupe::Lookup: {
                if (!channel.under_way.emplace(row.row, Clock::now()).second) break;  // it is being looked for
                json::Value frame = json::Value::object({{"type", "resolve"},
                                                         {"id", std::to_string(row.row)},
                                                         {"key", row.key},
                                                         {"conversation", where->conversation}});
                if (!where->thread.empty()) frame.set("thread", where->thread);
                frame.set("part", row.part);
                channel.port->send(frame);
                break;
            }
            case ChannelLimits::Dedupe::None:
                log(LogLevel::Info, channel.options.name + ": a message may arrive twice: it went out and was not answered");
                post.put_off(row.row, unix_ms() + kSecondTry, row.error, true);
                break;
        }
    }
}

void Hub::State::was_cut(const std::string& channel) {
    for (const DeliveryRow& row : post.under_way(channel)) post.set_unknown(row.row, "the channel ended while it was sent");
}

}  // namespace peacrab
