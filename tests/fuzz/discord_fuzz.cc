// Discord: what its server answers, messages that strangers and it have made up together, and cursors.
//
// What becomes an event is one the warden takes, within its bounds; an answer that is no good says what to do, with a
// wait that ends; a cursor that is taken comes back as it was.
#include "channels/discord_api.h"
#include "channels/discord_cursor.h"
#include "channels/discord_event.h"
#include "channels/discord_gaps.h"
#include "error.h"
#include "fuzz.h"
#include "messaging/event.h"

using namespace peacrab;

namespace {

void check_message(const json::Value& message, bool direct) {
    const DiscordPlace place{direct, "#general (Team)"};
    const DiscordSelf self{"4242", "pea"};
    for (const auto read : {read_discord_message, read_discord_edit}) {
        const std::optional<json::Value> found = read(message, place, self);
        if (!found) continue;
        const Event event = read_event(*found);  // throws for what the warden would not take
        require(!event.key.empty() && event.text.size() <= kMaxEventText && event.sender != "4242");
        require(discord_id(event.id) && discord_id(event.conversation) && event.group != direct);
        require(json::valid_utf8(found->text("text")) == found->text("text"));
    }
    (void)discord_file_url(message, "1");
}

void check_gaps(const std::vector<json::Value>& page) {
    DiscordGaps gaps;
    gaps.add({7, 100, true});
    for (const json::Value& message : page) gaps.hold(7, message);
    for (int round = 0; !gaps.empty(); ++round) {
        require(round < 100);
        const DiscordGaps::Found found = gaps.take(page);
        uint64_t last = 100;
        for (const json::Value& message : found.messages) {
            const uint64_t id = discord_id(message.text("id")).value_or(0);
            require(id >= last);
            last = id;
        }
    }
}

void check_cursor(const std::string& text) {
    try {
        const DiscordCursor cursor = read_discord_cursor(text);
        require(cursor.places.size() <= 300);
        require(read_discord_cursor(cursor.text(true)).text(true) == cursor.text(true));
        require(read_discord_cursor(cursor.text(false)).session.id.empty());
    } catch (const Error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 2);
    check_cursor(input.texts[0]);
    const int status[] = {200, 400, 401, 403, 404, 429, 502, 504};
    const DiscordAnswer answer =
        read_discord_answer(input.kind & 8 ? 200 : status[input.kind % 8], input.texts[0], input.texts[1]);
    if (answer.ok()) {
        check_message(answer.result, input.kind & 16);
        if (answer.result.is_array()) check_gaps(answer.result.items());
        return 0;
    }
    require(!answer.failure.error.empty());
    require(answer.failure.retry >= Milliseconds(0) && answer.failure.retry <= Seconds(24 * 3600));
    if (answer.failure.kind == std::string_view("throttled")) require(answer.failure.retry >= Milliseconds(100));
    return 0;
}
