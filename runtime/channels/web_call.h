// One call of a messenger's web API: bounded in size and time, and what it means for something that was to be sent
// when there is no answer to it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channels/channel_port.h"
#include "http.h"
#include "json.h"

namespace peacrab {

constexpr Bytes kMostOfAnAnswer = MiB(16);

struct WebAnswer {
    enum class What {
        None,       // `failure` says whether it may have been done: "not_sent" or "unknown"
        Answered,   // `status` and `body`
        Unreadable,  // more than is read: `failure` is "unknown"
        Cancelled,
    } what = What::None;
    int status = 0;
    std::string body;
    std::string retry_after;  // the header
    std::vector<std::pair<std::string, std::string>> headers;  // all of them, as HttpResult has them
    ChannelFailure failure;
};

// On `client`, which is made when it is empty and dropped when its connection is no good any more. A call that must not
// be repeated by a library, which does so on a connection that turns out to be dead, wants an empty one.
// `limit`: for the whole of it until the first byte. `who`, in sentences: "Telegram's server".
WebAnswer web_call(std::optional<HttpClient>& client, const HttpRequest& request, const char* who, int cancel_fd = -1);

// An object of such members. Each place that builds one from a list is ten times as much code.
class Members {
  public:
    Members& text(const char* key, std::string_view value);
    Members& number(const char* key, int64_t value);
    Members& flag(const char* key, bool value);
    json::Value& object() { return object_; }

  private:
    json::Value object_ = json::Value::object();
};

// Whether it is letters and digits, and what else is allowed.
bool only(std::string_view text, std::string_view more);
// Where an API is: http or https, without a slash at the end. Nothing can be hidden in it: no name, no query.
bool is_api_address(std::string_view base);

// How long to wait when a messenger says so, in seconds; what is no number, or none, is `otherwise`.
Milliseconds wait_of(double seconds);
Milliseconds wait_of(std::string_view header);

}  // namespace peacrab
