// What webhooks have said and a channel has not stored yet: one file, in the order of arrival. Whoever adds to it has it
// on the disk before it answers. Several processes may have it open.
//
// What was taken stays for a day, so that a second sending is known, and what a channel looks for can be found.
#pragma once

#include <string>
#include <vector>

#include "store.h"

namespace peacrab {

struct SpoolEntry {
    int64_t seq = 0;
    int64_t at = 0;  // Unix ms
    std::string key, body;
};

class RelaySpool {
  public:
    // Throws Error ("store: …"), which is also what everything below does on a full disk.
    explicit RelaySpool(const std::string& path);

    // A name of this file that no other has: numbers of another one mean nothing here.
    std::string id();

    enum class Added { New, Known, Full, TooMany };  // of the last two nothing was kept
    Added add(const std::string& hook, const std::string& key, const std::string& body, int64_t hourly);

    // Behind `seq`, the oldest first, about a megabyte.
    std::vector<SpoolEntry> after(const std::string& hook, int64_t seq);
    int64_t newest(const std::string& hook);  // 0: none
    int64_t taken(const std::string& hook);  // up to which it was
    void take(const std::string& hook, int64_t seq);
    // With `text` in it, the newest first, at most 20.
    std::vector<SpoolEntry> having(const std::string& hook, const std::string& text);

    static constexpr int64_t kMostWaiting = 10'000;  // of one hook
    static constexpr int64_t kMostBytes = int64_t{64} << 20;

  private:
    void prune(const std::string& hook);
    Database database_;
};

}  // namespace peacrab
