// What the channels of `peacrab relay` have in common: one thread that does what is due and else waits for what comes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <random>

#include "channels/relay_reader.h"

namespace peacrab {

class RelayLoop {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // Throws Error for settings that are none.
    RelayLoop(ChannelPort& port, const ChannelPort::Start& start, const std::string& name);
    virtual ~RelayLoop() = default;
    int run();  // the exit code

  protected:
    virtual bool introduce() = 0;                       // says hello; false: it is over
    virtual void take(const json::Value& frame) = 0;    // but `stop`
    virtual void work() {}                              // what is due
    virtual Time next_due() { return Time::max(); }
    virtual bool idle() const { return true; }
    virtual std::vector<json::Value> read(const RelayEntry& entry) = 0;  // its events
    virtual void stored(const std::vector<json::Value>&) {}

    ChannelPort& port() { return port_; }
    RelayReader& relay() { return relay_; }
    bool over() const { return ended_ || port_.ended(); }
    bool stopping() const { return stopping_; }
    void stand_down(const char* kind, const std::string& text);
    void note_trouble(const std::string& text);  // once for a time of trouble
    Milliseconds backoff();
    void wait(Milliseconds span);  // frames are taken meanwhile

  private:
    void take_frames(Deadline deadline);
    void poll();
    bool take_entries(const std::vector<RelayEntry>& entries);
    void note_alive();

    ChannelPort& port_;
    RelayReader relay_;
    std::minstd_rand random_;
    std::string cursor_;
    std::optional<int> ended_;
    const bool deaf_;  // a trial: nothing is taken from whom it is for
    bool stopping_ = false, troubled_ = false;
    Time next_poll_{}, last_alive_{};
    int failures_ = 0;  // in a row
};

// Until it is not wanted any more; what cannot be made stands down.
int run_on_relay(ChannelPort& port, const std::function<std::unique_ptr<RelayLoop>()>& make);

}  // namespace peacrab
