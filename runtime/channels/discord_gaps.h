// What was said while there was no session: asked for channel by channel. What is told of such a channel meanwhile
// waits, so that it comes after it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "json.h"
#include "os.h"

namespace peacrab {

class DiscordGaps {
  public:
    struct Gap {
        uint64_t channel = 0;
        uint64_t after = 0;  // this message
        bool direct = false;
    };
    // What has arrived in a channel, in order.
    struct Found {
        Gap gap;
        std::vector<json::Value> messages;
        bool closed = false;  // and now what waited: `held`
        std::vector<json::Value> held;
    };

    bool empty() const { return gaps_.empty(); }
    bool has(uint64_t channel) const { return gaps_.contains(channel); }
    // Of more than some hundreds those that come later are left out.
    void add(const Gap& gap);
    // Nothing was said there since `message`, as Discord says.
    void known(uint64_t channel, uint64_t message);
    void hold(uint64_t channel, const json::Value& message);
    void clear() { gaps_.clear(); }

    // What is to be asked for next: GET of this path gives an array.
    std::string path() const;
    const Gap& next() const { return gaps_.begin()->second.gap; }
    // Its answer; of a channel that cannot be asked, none.
    Found take(const std::vector<json::Value>& answer);
    // It could not be asked just now. How long to wait; nothing: it is given up.
    std::optional<Milliseconds> failed();

  private:
    struct Open {
        Gap gap;
        std::vector<json::Value> held;
        bool overflowed = false;
        int pages = 0, failures = 0;
    };
    std::map<uint64_t, Open> gaps_;
};

}  // namespace peacrab
