// One thread: do what the warden wants and what is due, then ask the relay for what has come for as long as nothing is
// due. A frame cuts that wait short. The next webhooks are asked for when the last ones are stored: asking is what lets
// the relay forget them.
#include "channels/whatsapp.h"

#include <algorithm>

#include "channels/channel_files.h"
#include "channels/relay_loop.h"
#include "channels/whatsapp_poster.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = WhatsAppAnswer::Kind;

int64_t number_of(const json::Value& settings, const char* key, int64_t otherwise, int64_t most) {
    const std::string text = settings.text(key);
    if (text.empty()) return otherwise;
    if (text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos || std::stoll(text) > most)
        throw Error(std::string("whatsapp: ") + key + ": a number up to " + std::to_string(most) + " was expected");
    return std::stoll(text);
}

class WhatsApp : public RelayLoop {
  public:
    WhatsApp(ChannelPort& port, const ChannelPort::Start& start)
        : RelayLoop(port, start, "whatsapp"),
          phone_(start.settings.text("phone")),
          api_(start.settings.text("api", "https://graph.facebook.com/v23.0"), phone_, port.take_secret("token")),
          poster_(port, api_, relay(), Seconds(number_of(start.settings, "settle", 30, 600))),
          outbox_(port, poster_, WhatsAppPoster::pace(Milliseconds(number_of(start.settings, "pace", 6'000, 600'000)))) {}

  protected:
    bool introduce() override;
    void take(const json::Value& frame) override;
    void work() override;
    Time next_due() override { return std::min(outbox_.next_due(), poster_.next_due()); }
    bool idle() const override { return outbox_.idle() && poster_.idle(); }
    std::vector<json::Value> read(const RelayEntry& entry) override;
    void stored(const std::vector<json::Value>& events) override;

  private:
    void fetch(const json::Value& frame);

    const std::string phone_;
    WhatsAppApi api_;
    WhatsAppPoster poster_;
    Outbox outbox_;
};

bool WhatsApp::introduce() {
    while (!over() && !stopping()) {
        const WhatsAppAnswer answer = api_.about_us();
        if (answer.ok()) {
            port().hello("whatsapp", phone_, answer.body.text("display_phone_number", phone_).substr(0, 100),
                         json::Value::object({{"edits", 0},
                                              {"typing", static_cast<int64_t>(WhatsAppPoster::kTypingAgain.count())},
                                              {"dedupe", "lookup"},
                                              {"files", WhatsAppPoster::kMostOfAFile},
                                              {"text", 4096},
                                              {"buttons", WhatsAppPoster::kButtons}}));
            return true;
        }
        const std::string_view kind = answer.failure.kind;
        if (answer.kind == Kind::Auth || kind == "permanent") {
            stand_down("auth", "WhatsApp does not take this token for this phone: " + answer.failure.error);
            return false;
        }
        note_trouble(answer.failure.error);
        wait(std::max(backoff(), answer.failure.retry));
    }
    return false;
}

void WhatsApp::take(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "resolve") poster_.take_resolve(frame);
    else if (type == "fetch") fetch(frame);
    else outbox_.take(frame);
}

void WhatsApp::fetch(const json::Value& frame) {
    const std::string id = frame.text("id");
    const WhatsAppAnswer answer = api_.media(frame.text("handle"));
    if (!answer.ok()) return port().not_fetched(id, answer.failure.error);
    const std::string url = answer.body.text("url");
    if (!api_.has_media(url)) return port().not_fetched(id, "it does not lie with WhatsApp");
    answer_fetch(port(), frame, url, {api_.authorization()}, "WhatsApp's server");
}

void WhatsApp::work() {
    outbox_.work();
    poster_.work();
    if (const std::optional<ChannelFailure> auth = poster_.take_auth())
        return stand_down("auth", "WhatsApp does not take this token any more: " + auth->error);
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
}

std::vector<json::Value> WhatsApp::read(const RelayEntry& entry) {
    WhatsAppNews news = read_whatsapp(entry.body, phone_);
    for (const WhatsAppStatus& status : news.statuses) poster_.take(status);
    return std::move(news.events);
}

void WhatsApp::stored(const std::vector<json::Value>& events) {
    for (const json::Value& event : events) poster_.heard(event);
}

}  // namespace

int run_whatsapp(ChannelPort& port, const ChannelPort::Start& start) {
    return run_on_relay(port, [&] { return std::make_unique<WhatsApp>(port, start); });
}

}  // namespace peacrab
