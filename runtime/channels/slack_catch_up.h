// What was said while no socket of ours was open: Slack queues nothing then, so it is looked up in the conversations.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "channels/slack_api.h"

namespace peacrab {

// How far everything is known, as it is stored with each batch.
class SlackCursor {
  public:
    SlackCursor() = default;
    explicit SlackCursor(const std::string& text);  // throws Error
    std::string dump() const;

    bool known() const { return !newest_.empty(); }
    void begin(const std::string& ts);  // from here on; when nothing is known
    void note(const json::Value& event);
    // A gap begins: until fill() all that is newer than `from()` may be missing.
    void open_gap();
    void close_gap() { gap_.clear(); }
    bool has_gap() const { return !gap_.empty(); }
    std::string from() const;  // some minutes before the gap began
    const std::vector<std::string>& threads() const { return threads_; }  // "C1/1700000000.000100", those that were used last

  private:
    std::string newest_, gap_;
    std::vector<std::string> threads_;
};

class SlackCatchUp {
  public:
    using Time = std::chrono::steady_clock::time_point;
    // Messages of one conversation, in order, each as an event would be; false: it is over.
    using Take = std::function<bool(const std::vector<const json::Value*>&)>;

    SlackCatchUp(SlackApi& api, Take take) : api_(api), take_(std::move(take)) {}

    void begin(const SlackCursor& cursor);
    bool running() const { return step_ != Step::Idle; }
    Time due() const { return running() ? due_ : Time::max(); }
    // One call. Gives what went wrong, when a person has to know: something could not be looked at.
    std::string step();

  private:
    enum class Step { Idle, List, Read };
    struct Place {
        std::string conversation, type, thread, cursor;
        int pages = 0;
        std::vector<json::Value> messages = {};
    };
    std::string list();
    std::string read();
    bool put_off(const SlackAnswer& answer);
    void take_page(Place& place, const json::Value& messages, std::vector<Place>& threads);

    SlackApi& api_;
    Take take_;
    Step step_ = Step::Idle;
    Time due_{};
    int failures_ = 0;
    std::string from_, cursor_;
    std::vector<Place> places_;
    std::vector<std::string> threads_;  // those that are queued already
};

}  // namespace peacrab
