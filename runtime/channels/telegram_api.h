// One call of Telegram's Bot API, and what its answer means for what was to be sent.
// Source: https://core.telegram.org/bots/api.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "channels/channel_port.h"
#include "http.h"
#include "json.h"

namespace peacrab {

// Not ok unless Telegram said so.
struct TelegramAnswer {
    enum class Kind {
        Failed,      // as `failure` says
        Ok,          // `result` is there
        Auth,        // this token is not, or no more, a bot's
        Conflict,    // somebody else asks for the same bot's updates
        Unreadable,  // it was answered, and nobody can say what; `failure` has it as unknown. `result`: the number
                     // of the update it begins with, when that can be seen
        Cancelled,
    } kind = Kind::Failed;
    json::Value result;
    ChannelFailure failure;
    bool ok() const { return kind == Kind::Ok; }
    bool says(std::string_view part) const;  // in Telegram's own description of a failure, either case
};

// `status` and `body` as they came. Never throws for what is in them.
TelegramAnswer read_telegram_answer(int status, std::string_view body, std::string_view retry_after = {});

class TelegramApi {
  public:
    // `base` without a slash at the end. Throws Error when it is no address or `token` cannot be one: both become
    // part of an address, and nothing may be hidden in it.
    TelegramApi(std::string base, Secret token);

    // Once: on a connection of its own, because a library sends again by itself on one that turns out to be dead.
    enum class Repeat { Harmless, Once };
    struct Options {
        Repeat repeat = Repeat::Harmless;
        Milliseconds limit{15'000};  // for the whole of it, beginning when it is connected
        int cancel_fd = -1;
    };
    TelegramAnswer call(const char* method, const json::Value& parameters, Options options);
    TelegramAnswer call(const char* method, const json::Value& parameters) { return call(method, parameters, {}); }
    // A call with a file: multipart/form-data, once.
    TelegramAnswer upload(const char* method, std::string content_type, std::string body);
    // Answers a `fetch` with the file of that id.
    void fetch(ChannelPort& port, const json::Value& frame);
    // getUpdates, which has a connection for itself.
    TelegramAnswer poll(const json::Value& parameters, Options options);

  private:
    TelegramAnswer call_on(std::optional<HttpClient>& client, const char* method, std::string content_type, std::string body,
                           const Options& options);

    std::string base_;
    Secret token_;
    std::optional<HttpClient> calls_;
    std::optional<HttpClient> polls_;
};

}  // namespace peacrab
