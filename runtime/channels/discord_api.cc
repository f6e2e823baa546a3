// What comes back is hostile: bounded in size, depth and time. An answer that nobody can read is "unknown": what was
// sent with a nonce may then be sent again. Who goes on asking what is refused is shut out for a while (10,000 in ten
// minutes), so what is throttled is known here and not asked.
#include "channels/discord_api.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = DiscordAnswer::Kind;

constexpr json::Limits kAnswerLimits{kMostOfAnAnswer.count, 40};
constexpr const char* kWho = "Discord's server";
constexpr double kLongestWait = 24 * 3600;
constexpr Milliseconds kUsualWait{5'000};  // when Discord does not say how long
constexpr size_t kMostBuckets = 1'000;
constexpr size_t kMaxDetail = 200;

// What the conversation itself is the reason of: unknown channel, server or user; no access to it; of a kind that
// nothing can be said in; a person who takes no messages; not allowed to speak; locked; no server in common.
constexpr int64_t kGone[] = {10003, 10004, 10013, 50001, 50007, 50008, 50013, 50024, 50083, 50278, 160005};

DiscordAnswer failed(const char* kind, std::string error, Milliseconds retry = Milliseconds(0)) {
    DiscordAnswer answer;
    answer.failure = {kind, std::move(error), retry, {}};
    return answer;
}

Milliseconds milliseconds(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return kUsualWait;
    return Milliseconds(static_cast<int64_t>(std::ceil(std::clamp(seconds, 0.1, kLongestWait) * 1000)));
}

std::optional<double> number_of(const std::string& text) {
    if (text.empty() || text.size() > 20 || text.find_first_not_of("0123456789.") != std::string::npos)
        return std::nullopt;
    return std::strtod(text.c_str(), nullptr);
}

DiscordAnswer throttled(const json::Value& body, std::string_view retry_after, std::string said) {
    Milliseconds wait = kUsualWait;
    if (const json::Value* const after = body.find("retry_after");
        after && (after->is_integer() || after->kind() == json::Value::Kind::Real))
        wait = milliseconds(after->as_real());
    else if (const std::optional<double> header = number_of(std::string(retry_after)))
        wait = milliseconds(*header);
    DiscordAnswer answer = failed("throttled", std::move(said), wait);
    answer.global = body.flag("global");
    return answer;
}

// No word of Discord's own: a proxy, a page of HTML, half an answer.
DiscordAnswer without_words(int status, std::string_view retry_after) {
    const std::string what = std::string(kWho) + " answered with status " + std::to_string(status);
    if (status == 429) return throttled({}, retry_after, what);
    if (status >= 200 && status < 300)
        return failed("unknown", std::string(kWho) + " gave an answer that cannot be read");
    return failed(status == 504 ? "unknown" : "transient", what);
}

DiscordAnswer refused(const json::Value& body, int status, std::string_view retry_after) {
    std::string said = "Discord refused it: " + body.text("message", "no reason given");
    if (const json::Value* const errors = body.find("errors"))
        said += ": " + std::string(utf8_prefix(json::dump(*errors), kMaxDetail));
    const int64_t code = body.integer("code");
    DiscordAnswer answer;
    if (status == 429) {
        answer = throttled(body, retry_after, said);
    } else if (status == 401) {
        answer = failed("not_sent", said);
        answer.kind = Kind::Auth;
    } else if (status >= 500) {
        answer = failed("transient", said);
    } else {
        const bool gone = std::find(std::begin(kGone), std::end(kGone), code) != std::end(kGone);
        answer = failed(gone || (status == 403 && code == 0) ? "gone" : "permanent", said);
    }
    answer.code = code;
    return answer;
}

// The calls that Discord counts together: a method, what it is about, and the conversation.
std::string bucket_of(const char* method, const std::string& path) {
    std::string kept = std::string(method) + " ";
    size_t slashes = 0;
    for (const char c : path) {
        if (c == '?' || (c == '/' && ++slashes == 4)) break;
        kept += c;
    }
    return kept;
}

std::string header_of(const WebAnswer& got, std::string_view name) {
    for (const auto& [key, value] : got.headers)
        if (key == name) return value;
    return {};
}

}  // namespace

std::optional<uint64_t> discord_id(std::string_view text) {
    if (text.empty() || text.size() > 19 || text.find_first_not_of("0123456789") != std::string_view::npos)
        return std::nullopt;
    const uint64_t number = std::strtoull(std::string(text).c_str(), nullptr, 10);
    return number > 0 ? std::optional(number) : std::nullopt;
}

DiscordAnswer read_discord_answer(int status, std::string_view body, std::string_view retry_after) {
    DiscordAnswer good;
    good.kind = Kind::Ok;
    if (status == 204) return good;
    try {
        json::Value value = json::parse(body, kAnswerLimits);
        const bool done = status >= 200 && status < 300;
        if (done && (value.is_object() || value.is_array())) {
            good.result = std::move(value);
            return good;
        }
        if (!done && value.is_object() && value.find("message")) return refused(value, status, retry_after);
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {  // a few bytes of text can be a large tree
    }
    return without_words(status, retry_after);
}

DiscordApi::DiscordApi(std::string base, Secret token) : base_(std::move(base)), token_(std::move(token)) {
    if (token_.empty() || token_.reveal().size() > 256 || !only(token_.reveal(), "._-"))
        throw Error("discord: the token is not one: it stands under Bot, where \"Reset Token\" shows it once");
    if (!is_api_address(base_))
        throw Error("discord: api: an address like https://discord.com/api/v10 is needed");
}

DiscordAnswer DiscordApi::wait_for(const std::string& bucket) const {
    const Clock::time_point now = Clock::now();
    Clock::time_point free = now;
    for (const Bucket& one : buckets_)
        if (one.name.empty() || one.name == bucket) free = std::max(free, one.free);
    if (free <= now) return {};
    return failed("throttled", "Discord wants us to wait", std::chrono::ceil<Milliseconds>(free - now));
}

void DiscordApi::hold_back(const std::string& bucket, Milliseconds span) {
    const Clock::time_point now = Clock::now();
    std::erase_if(buckets_, [&](const Bucket& one) { return one.free <= now || one.name == bucket; });
    if (buckets_.size() < kMostBuckets) buckets_.push_back({bucket, now + span});
}

// Source: the headers of https://docs.discord.com/developers/topics/rate-limits.
void DiscordApi::heed(const std::string& bucket, const WebAnswer& got, const DiscordAnswer& answer) {
    const std::optional<double> reset = number_of(header_of(got, "x-ratelimit-reset-after"));
    if (header_of(got, "x-ratelimit-remaining") == "0" && reset) hold_back(bucket, milliseconds(*reset));
    if (answer.failure.kind != std::string_view("throttled")) return;
    const bool all = answer.global || !header_of(got, "x-ratelimit-global").empty();
    hold_back(all ? std::string() : bucket, answer.failure.retry);
}

DiscordAnswer DiscordApi::call(const char* method, const std::string& path, const std::string& content_type,
                               std::string body) {
    const std::string bucket = bucket_of(method, path);
    if (DiscordAnswer wait = wait_for(bucket); wait.failure.retry > Milliseconds(0)) return wait;
    if (before) before();
    HttpRequest request;
    request.method = method;
    request.url = base_ + path;
    request.headers = {"Authorization: Bot " + token_.reveal(), "User-Agent: DiscordBot (peacrab, 1)"};
    if (!content_type.empty()) request.headers.push_back(content_type);
    request.body = std::move(body);
    request.first_byte_limit = kLimit;
    const WebAnswer got = web_call(client_, request, kWho);
    const Secret wiped(std::move(request.headers[0]));
    DiscordAnswer answer;
    answer.failure = got.failure;
    if (got.what == WebAnswer::What::Answered) answer = read_discord_answer(got.status, got.body, got.retry_after);
    heed(bucket, got, answer);
    return answer;
}

DiscordAnswer DiscordApi::send(const char* method, const std::string& path, const json::Value& body) {
    return call(method, path, "Content-Type: application/json", json::dump(body));
}

DiscordAnswer DiscordApi::send_form(const std::string& path, const std::string& content_type, std::string body) {
    return call("POST", path, content_type, std::move(body));
}

}  // namespace peacrab
