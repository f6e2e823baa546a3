// Telegram: what its server answers, and the updates that strangers and it have made up together.
//
// What becomes an event is one the warden takes, within its bounds; an answer that is no good says what to do, with a
// wait that ends.
#include "channels/telegram_api.h"
#include "channels/telegram_update.h"
#include "error.h"
#include "fuzz.h"
#include "messaging/event.h"

using namespace peacrab;

namespace {

void check_updates(const std::vector<json::Value>& updates) {
    const std::vector<Arrived> arrived = read_telegram_updates(updates, {4242, "pea_bot"});
    require(arrived.size() <= 100);
    require(arrived.empty() || telegram_cursor(updates));
    for (const Arrived& one : arrived) {
        const Event event = read_event(one.event);  // throws for what the warden would not take
        require(!event.key.empty() && event.text.size() <= kMaxEventText);
        require(json::valid_utf8(one.event.text("text")) == one.event.text("text"));
        require(!one.cursor.empty());
    }
    (void)open_telegram_album(updates);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 2);
    const int status[] = {200, 400, 401, 403, 409, 429, 502, 504};
    const TelegramAnswer answer =
        read_telegram_answer(input.kind & 8 ? 200 : status[input.kind % 8], input.texts[0], input.texts[1]);
    if (answer.ok()) {
        if (answer.result.is_array()) check_updates(answer.result.items());
        return 0;
    }
    require(!answer.failure.error.empty());
    require(answer.failure.retry >= Milliseconds(0) && answer.failure.retry <= Seconds(24 * 3600));
    if (answer.failure.kind == std::string_view("throttled")) require(answer.failure.retry >= Seconds(1));
    if (answer.kind == TelegramAnswer::Kind::Unreadable && !answer.result.is_null())
        require(answer.result.as_integer() >= 0);
    return 0;
}
