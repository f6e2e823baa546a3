// What Slack answers is hostile: bounded in size, depth and time. An answer that nobody can read is "unknown", and so is
// one that says something went wrong inside: it may have been done, and can be looked for.
#include "channels/slack_api.h"

#include <algorithm>

#include "error.h"
#include "web/address.h"

namespace peacrab {
namespace {

using Kind = SlackAnswer::Kind;

constexpr json::Limits kAnswerLimits{kMostOfAnAnswer.count, 40};
constexpr const char* kWho = "Slack's server";
constexpr const char* kFiles = "https://files.slack.com/";

// Of the token itself.
constexpr const char* kAuth[] = {
    "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type",
    "org_login_required", "team_access_not_granted", "user_removed_from_team", "team_disabled", "invalid_token",
};
// What the conversation itself is the reason of.
constexpr const char* kGone[] = {
    "channel_not_found", "not_in_channel", "is_archived", "user_not_found", "user_disabled", "cannot_dm_bot",
    "messages_tab_disabled", "channel_is_limited_access", "is_inactive", "no_permission", "access_denied",
    "ekm_access_denied",
};
// It may have been done all the same.
constexpr const char* kUnclear[] = {"internal_error", "fatal_error", "request_timeout", "service_unavailable"};

template <size_t N>
bool among(const char* const (&words)[N], const std::string& word) {
    return std::any_of(std::begin(words), std::end(words), [&](const char* each) { return word == each; });
}

SlackAnswer failed(const char* kind, std::string error, Milliseconds retry = Milliseconds(0)) {
    SlackAnswer answer;
    answer.failure = {kind, std::move(error), retry, {}};
    return answer;
}

// No word of Slack's own: a proxy, a page of HTML, half an answer.
SlackAnswer without_words(int status, std::string_view retry_after) {
    const std::string what = std::string(kWho) + " answered with status " + std::to_string(status);
    if (status == 429) return failed("throttled", what, wait_of(retry_after));
    if (status == 200) return failed("unknown", std::string(kWho) + " gave an answer that cannot be read");
    return failed(status >= 500 ? "unknown" : "transient", what);
}

SlackAnswer refused(const json::Value& body, int status, std::string_view retry_after) {
    const std::string error = std::string(utf8_prefix(body.text("error"), 100));
    if (error.empty()) return without_words(status, retry_after);
    std::string said = "Slack refused it: " + error;
    if (const std::string scope = body.text("needed"); error == "missing_scope")
        said += ": the app lacks the scope " + std::string(utf8_prefix(scope, 200)) +
                "; add it under OAuth & Permissions and install the app again";
    SlackAnswer answer;
    if (status == 429 || error == "ratelimited" || error == "rate_limited" || error == "message_limit_exceeded") {
        answer = failed("throttled", said, wait_of(retry_after));
    } else if (among(kAuth, error)) {
        answer = failed("not_sent", said);
        answer.kind = Kind::Auth;
    } else {
        const bool gone = among(kGone, error) || error.starts_with("restricted_action");
        answer = failed(gone ? "gone" : among(kUnclear, error) || status >= 500 ? "unknown" : "permanent", said);
    }
    answer.error = error;
    return answer;
}

}  // namespace

SlackAnswer read_slack_answer(int status, std::string_view body, std::string_view retry_after) {
    try {
        json::Value value = json::parse(body, kAnswerLimits);
        const json::Value* const ok = value.find("ok");
        if (!ok || !ok->is_bool()) return without_words(status, retry_after);
        if (!ok->as_bool()) return refused(value, status, retry_after);
        SlackAnswer good;
        good.kind = Kind::Ok;
        good.body = std::move(value);
        return good;
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {  // a few bytes of text can be a large tree
    }
    return without_words(status, retry_after);
}

SlackForm& SlackForm::add(const char* name, std::string_view value) {
    if (!body_.empty()) body_ += '&';
    body_ += name;
    body_ += '=';
    body_ += percent_encoded(value, [](char c) { return only({&c, 1}, "-_.~"); });
    return *this;
}

SlackApi::SlackApi(std::string base, Secret bot, Secret app)
    : base_(std::move(base)), bot_(std::move(bot)), app_(std::move(app)) {
    const auto token = [](const Secret& secret, std::string_view begin) {
        return secret.reveal().starts_with(begin) && secret.reveal().size() <= 512 && only(secret.reveal(), "-._");
    };
    if (!token(bot_, "xoxb-"))
        throw Error("slack: the token of the bot is not one: it begins with xoxb-, and stands under OAuth & Permissions");
    if (!token(app_, "xapp-"))
        throw Error(
            "slack: the token of the app is not one: it begins with xapp-, and stands under Basic Information, "
            "App-Level Tokens");
    if (!is_api_address(base_))
        throw Error("slack: api: an address like https://slack.com/api is needed");
}

SlackAnswer SlackApi::call(const char* method, const SlackForm& form) { return call(method, form, Options()); }

SlackAnswer SlackApi::call(const char* method, const SlackForm& form, const Options& options) {
    HttpRequest request;
    request.url = base_ + "/" + method;
    request.headers = {"Content-Type: application/x-www-form-urlencoded",
                       options.as == As::App ? "Authorization: Bearer " + app_.reveal() : bot_header()};
    request.body = form.body();
    request.first_byte_limit = options.limit;
    std::optional<HttpClient> own;
    const WebAnswer got = web_call(options.repeat == Repeat::Once ? own : client_, request, kWho);
    const Secret wiped(std::move(request.headers[1]));
    if (got.what == WebAnswer::What::Answered) return read_slack_answer(got.status, got.body, got.retry_after);
    SlackAnswer answer;
    answer.failure = got.failure;
    return answer;
}

SlackAnswer SlackApi::put(const std::string& url, std::string bytes) {
    if (!has_file(url)) return failed("permanent", "Slack wants a file to be put at a place that is not its own");
    HttpRequest request;
    request.url = url;
    request.headers = {"Content-Type: application/octet-stream"};
    request.body = std::move(bytes);
    request.first_byte_limit = Milliseconds(120'000);
    std::optional<HttpClient> own;
    const WebAnswer got = web_call(own, request, kWho);
    SlackAnswer answer;
    answer.failure = got.failure;
    if (got.what != WebAnswer::What::Answered) return answer;
    if (got.status != 200) return without_words(got.status, got.retry_after);
    answer.kind = Kind::Ok;
    return answer;
}

bool SlackApi::has_socket(const std::string& url) const {
    return url.starts_with("wss://") || (url.starts_with("ws://") && base_.starts_with("http://"));
}

bool SlackApi::has_file(const std::string& url) const {
    // "@" would make a name of what stands before it, and nothing may be hidden in it.
    if (url.size() > 2000 || url.find_first_of("@\\ \r\n\t#") != std::string::npos) return false;
    if (url.starts_with(kFiles)) return true;
    // Where the API is, too: only the paths of files, and nothing that leads out of them.
    for (const char* out : {"/.", "%2e", "%2E", "%2f", "%2F", "%5c", "%5C"})
        if (url.find(out) != std::string::npos) return false;
    const std::string own = origin_of(base_);
    return url.starts_with(own + "/files-pri/") || url.starts_with(own + "/upload/");
}

bool is_slack_ts(std::string_view text) {
    const size_t dot = text.find('.');
    return dot != std::string_view::npos && dot > 0 && dot <= 12 && text.size() - dot == 7 &&
           text.find_first_not_of("0123456789.") == std::string_view::npos && text.find('.', dot + 1) == std::string_view::npos;
}

bool slack_ts_before(const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
}

bool is_slack_place(std::string_view text) {
    return text.size() > 1 && text.size() <= 40 && std::string_view("CDG").find(text[0]) != std::string_view::npos &&
           only(text, "");
}

}  // namespace peacrab
