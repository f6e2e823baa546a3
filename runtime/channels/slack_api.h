// One call of Slack's Web API, and what its answer means for what was to be sent.
// Source: https://docs.slack.dev/reference/methods, and each method's page for its errors.
#pragma once

#include <string>
#include <string_view>

#include "channels/web_call.h"
#include "json.h"

namespace peacrab {

// Not ok unless Slack said so.
struct SlackAnswer {
    enum class Kind {
        Failed,  // as `failure` says
        Ok,      // `body` is there
        Auth,    // this token is not, or no more, one of an app that is installed
    } kind = Kind::Failed;
    json::Value body;
    std::string error;  // Slack's own word for why not: "channel_not_found"
    ChannelFailure failure;
    bool ok() const { return kind == Kind::Ok; }
};

// `status` and `body` as they came. Never throws for what is in them.
SlackAnswer read_slack_answer(int status, std::string_view body, std::string_view retry_after = {});

// Parameters of a call, as they go out (application/x-www-form-urlencoded).
class SlackForm {
  public:
    SlackForm& add(const char* name, std::string_view value);
    const std::string& body() const { return body_; }

  private:
    std::string body_;
};

class SlackApi {
  public:
    // `base` without a slash at the end. Throws Error, for a person, when it is no address or one of the tokens cannot
    // be what it should be.
    SlackApi(std::string base, Secret bot, Secret app);

    enum class As { Bot, App };                   // App: for sockets alone
    enum class Repeat { Harmless, Once };         // Once: on a connection of its own (web_call.h)
    struct Options {
        Repeat repeat = Repeat::Harmless;
        As as = As::Bot;
        Milliseconds limit{15'000};
    };
    SlackAnswer call(const char* method, const SlackForm& form, const Options& options);
    SlackAnswer call(const char* method, const SlackForm& form);

    // Whether a socket may be opened there: what is asked for under TLS is not heard without.
    bool has_socket(const std::string& url) const;
    // Where files of the app may be asked for with its token: at Slack's server for files, or where this one has them.
    bool has_file(const std::string& url) const;
    std::string bot_header() const { return "Authorization: Bearer " + bot_.reveal(); }
    // Puts bytes where Slack said they may be put; without a token.
    SlackAnswer put(const std::string& url, std::string bytes);

  private:
    std::string base_;
    Secret bot_, app_;
    std::optional<HttpClient> client_;
};

// "1700000000.000100": what Slack tells messages of a conversation apart by, and in which order.
bool is_slack_ts(std::string_view text);
bool slack_ts_before(const std::string& a, const std::string& b);
bool is_slack_place(std::string_view text);  // of a conversation

}  // namespace peacrab
