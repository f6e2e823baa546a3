// The body is told as it came, its beginning when it is long: whatever form it has, it is the model that reads it.
#include "channels/webhook.h"

#include "channels/relay_loop.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMostOfBody = size_t{16} << 10;

class Webhook : public RelayLoop {
  public:
    Webhook(ChannelPort& port, const ChannelPort::Start& start)
        : RelayLoop(port, start, "webhook"), hook_(start.settings.text("hook", "webhook")) {}

  protected:
    bool introduce() override {
        port().hello("webhook", hook_, hook_, json::Value::object({{"edits", 0}, {"typing", 0}, {"dedupe", "none"}, {"files", 0}}));
        return true;
    }

    void take(const json::Value& frame) override {
        const std::string type = frame.text("type"), id = frame.text("id");
        if (type == "deliver" || type == "resolve") port().failed(id, {"permanent", "nothing can be sent to a webhook"});
        else if (type == "fetch") port().not_fetched(id, "there are no files");
        else if (type == "show") port().shown(frame.text("slot"), "");
    }

    std::vector<json::Value> read(const RelayEntry& entry) override {
        const std::string_view text = utf8_prefix(entry.body, kMostOfBody);
        const bool cut = text.size() < entry.body.size();
        json::Value event = json::Value::object({{"key", entry.key},
                                                 {"kind", "message"},
                                                 {"conversation", hook_},
                                                 {"scope", "direct"},
                                                 {"id", entry.key},
                                                 {"sender", hook_},
                                                 {"bot", true},
                                                 {"at", entry.at}});
        event.set("text", std::string(text) + (cut ? "\n[cut: it has " + std::to_string(entry.body.size()) + " bytes]" : ""));
        std::vector<json::Value> events;
        events.push_back(std::move(event));
        return events;
    }

  private:
    const std::string hook_;
};

}  // namespace

int run_webhook(ChannelPort& port, const ChannelPort::Start& start) {
    return run_on_relay(port, [&] { return std::make_unique<Webhook>(port, start); });
}

}  // namespace peacrab
