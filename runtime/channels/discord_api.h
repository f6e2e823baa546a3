// One call of Discord's REST API (v10), and what its answer means for what was to be sent.
// Source: https://docs.discord.com/developers/reference, .../topics/rate-limits, .../topics/opcodes-and-status-codes.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channels/web_call.h"
#include "json.h"

namespace peacrab {

// Not ok unless Discord said so.
struct DiscordAnswer {
    enum class Kind {
        Failed,  // as `failure` says
        Ok,      // `result` is there, null when there is none to be
        Auth,    // this token is not, or no more, a bot's
    } kind = Kind::Failed;
    json::Value result;
    int64_t code = 0;     // Discord's own, of a refusal
    bool global = false;  // throttled: with everything
    ChannelFailure failure;
    bool ok() const { return kind == Kind::Ok; }
};

// `status` and `body` as they came. Never throws for what is in them.
DiscordAnswer read_discord_answer(int status, std::string_view body, std::string_view retry_after = {});

// A number as Discord names everything by; it grows with time. Nothing: it is none.
std::optional<uint64_t> discord_id(std::string_view text);

class DiscordApi {
  public:
    using Time = std::chrono::steady_clock::time_point;
    static constexpr Milliseconds kLimit{15'000};

    // `base` without a slash at the end. Throws Error, for a person, when it is no address or `token` cannot be one.
    DiscordApi(std::string base, Secret token);

    // `path` below the base, of our own making. What Discord would refuse, because there were too many of the kind, is
    // not asked: the answer is "throttled" then too. Calls may be repeated by the library: what must not be done twice
    // carries a nonce.
    DiscordAnswer get(const std::string& path) { return call("GET", path, {}, {}); }
    DiscordAnswer send(const char* method, const std::string& path, const json::Value& body);
    DiscordAnswer send_form(const std::string& path, const std::string& content_type, std::string body);

    const std::string& base() const { return base_; }
    const Secret& token() const { return token_; }
    // Called before each call, which may take as long as kLimit and some seconds more.
    std::function<void()> before;

  private:
    DiscordAnswer call(const char* method, const std::string& path, const std::string& content_type, std::string body);
    DiscordAnswer wait_for(const std::string& bucket) const;
    void hold_back(const std::string& bucket, Milliseconds span);
    void heed(const std::string& bucket, const WebAnswer& got, const DiscordAnswer& answer);

    std::string base_;
    Secret token_;
    std::optional<HttpClient> client_;
    struct Bucket {
        std::string name;  // "": all of them
        Time free;         // not before
    };
    std::vector<Bucket> buckets_;
};

}  // namespace peacrab
