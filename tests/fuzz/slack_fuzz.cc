// Slack: what its server answers, and what strangers and it have made up together: events, commands, texts, cursors.
//
// What becomes an event is one the warden takes, within its bounds, and has one key however often it comes; an answer
// that is no good says what to do, with a wait that ends; a token goes to Slack alone.
#include "channels/slack_api.h"
#include "channels/slack_catch_up.h"
#include "channels/slack_event.h"
#include "error.h"
#include "fuzz.h"
#include "messaging/event.h"

using namespace peacrab;

namespace {

const SlackNames kNames{{"U7", "Ada <&> \u202e"}, {"C1", "#team"}};

void check_event(const std::optional<json::Value>& event) {
    if (!event) return;
    const Event read = read_event(*event);  // throws for what the warden would not take
    require(!read.key.empty() && read.text.size() <= kMaxEventText);
    require(json::valid_utf8(event->text("text")) == event->text("text"));
    SlackCursor cursor;
    cursor.begin("1700000000.000001");
    cursor.note(*event);
    require(SlackCursor(cursor.dump()).dump() == cursor.dump());
    require(is_slack_ts(cursor.from()));
}

void check_value(const json::Value& value) {
    const SlackSelf self{"U0PEA", "B0PEA", false};
    const std::optional<json::Value> event = read_slack_event(value, self, kNames);
    check_event(event);
    check_event(read_slack_event(value, {"U0PEA", "B0PEA", true}, {}));
    check_event(read_slack_command(value, kNames));
    for (const std::string& id : slack_ids(value)) require(id.size() <= 40 && !id.empty());
    if (!event) return;
    require(read_slack_event(value, self, {})->text("key") == event->text("key"));
    require(is_slack_place(event->text("conversation")));
}

void check_cursor(const std::string& text) {
    try {
        const SlackCursor cursor(text);
        require(SlackCursor(cursor.dump()).dump() == cursor.dump());
    } catch (const Error&) {
    }
}

void check_address(const std::string& url) {
    const SlackApi api("https://slack.com/api", Secret("xoxb-1"), Secret("xapp-1"));
    if (!api.has_file(url)) return;
    require(url.starts_with("https://files.slack.com/") || url.starts_with("https://slack.com/"));
    require(url.find('@') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 2);
    const int status[] = {200, 400, 401, 403, 404, 429, 502, 504};
    require(slack_plain(input.texts[0], kNames).size() <= kMaxEventText);
    check_cursor(input.texts[0]);
    check_address(input.texts[1]);
    try {
        check_value(json::parse(input.texts[0], {size_t{8} << 20, 40}));
    } catch (const Error&) {  // no JSON; what the warden would not take is not among these
        bool is_json = true;
        try {
            (void)json::parse(input.texts[0], {size_t{8} << 20, 40});
        } catch (const Error&) {
            is_json = false;
        }
        require(!is_json);
    }
    const SlackAnswer answer =
        read_slack_answer(input.kind & 8 ? 200 : status[input.kind % 8], input.texts[0], input.texts[1]);
    if (answer.ok()) return 0;
    require(!answer.failure.error.empty());
    require(answer.failure.retry >= Milliseconds(0) && answer.failure.retry <= Seconds(24 * 3600));
    if (answer.failure.kind == std::string_view("throttled")) require(answer.failure.retry >= Seconds(1));
    return 0;
}
