#include "channels/web_call.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "error.h"

namespace peacrab {
namespace {

constexpr double kLongestWait = 24 * 3600;
constexpr Milliseconds kUsualWait{5'000};  // when it is not said how long

HttpClient connection() {
    HttpOptions options;
    options.environment = true;
    options.idle_limit = Seconds(10);
    options.response_limit = kMostOfAnAnswer;
    return HttpClient(std::move(options));
}

}  // namespace

WebAnswer web_call(std::optional<HttpClient>& client, const HttpRequest& request, const char* who, int cancel_fd) {
    WebAnswer answer;
    std::optional<Deadline> whole;  // from the first byte on
    HttpResult got;
    try {
        if (!client) client.emplace(connection());
        got = client->send(
            request, [](const HttpResult&) { return true; },
            [&](std::string_view piece) {
                if (!whole) whole = Deadline::in(Seconds(10));
                if (whole->passed()) throw Error(std::string(who) + " is too slow");
                answer.body += piece;
            },
            cancel_fd);
    } catch (const Error& error) {
        got.failure = HttpResult::Failure::Silent;
        got.detail = error.what();
    }
    using Failure = HttpResult::Failure;
    if (got.failure != Failure::None && got.failure != Failure::Cancelled) client.reset();
    answer.status = got.status;
    answer.retry_after = got.header("retry-after");
    answer.headers = std::move(got.headers);
    const bool out = got.failure != Failure::Unreachable && got.failure != Failure::Unknown;
    answer.failure = {out ? "unknown" : "not_sent", got.detail};
    answer.what = got.failure == Failure::None        ? WebAnswer::What::Answered
                  : got.failure == Failure::Cancelled ? WebAnswer::What::Cancelled
                  : got.failure == Failure::TooLarge  ? WebAnswer::What::Unreadable
                                                      : WebAnswer::What::None;
    return answer;
}

Members& Members::text(const char* key, std::string_view value) { return object_.set(key, value), *this; }
Members& Members::number(const char* key, int64_t value) { return object_.set(key, value), *this; }
Members& Members::flag(const char* key, bool value) { return object_.set(key, value), *this; }

bool only(std::string_view text, std::string_view more) {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               more.find(c) != std::string_view::npos;
    });
}

bool is_api_address(std::string_view base) {
    const bool web = base.starts_with("https://") || base.starts_with("http://");
    return web && base.size() <= 1000 && only(base, ":/.-_[]~") && !base.ends_with('/');
}

Milliseconds wait_of(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return kUsualWait;
    return Milliseconds(static_cast<int64_t>(std::ceil(std::clamp(seconds, 1.0, kLongestWait) * 1000)));
}

Milliseconds wait_of(std::string_view header) {
    if (header.empty() || header.find_first_not_of("0123456789.") != std::string_view::npos) return kUsualWait;
    return wait_of(std::strtod(std::string(header).c_str(), nullptr));
}

}  // namespace peacrab
