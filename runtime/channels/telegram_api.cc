// The token is part of the address of each request, so nothing here may quote an address, and both its parts are
// looked at before there is one. What comes back is hostile: bounded in size, depth and time, and an answer that
// nobody can read is "unknown", not "failed", because what it answers may have been done.
#include "channels/telegram_api.h"

#include <algorithm>

#include "channels/channel_files.h"
#include "channels/web_call.h"
#include "error.h"

namespace peacrab {
namespace {

using Kind = TelegramAnswer::Kind;

constexpr json::Limits kAnswerLimits{kMostOfAnAnswer.count, 32};
constexpr const char* kWho = "Telegram's server";
constexpr const char* kJson = "Content-Type: application/json";

// What the conversation itself is the reason of.
constexpr const char* kGone[] = {
    "chat not found",    "bot was kicked",         "bot was blocked", "bot is not a member",
    "user is deactivated", "group chat was d",     "group chat was u", "peer_id_invalid",
    "chat_write_forbidden", "can't initiate conversation",
};

Milliseconds retry_of(const json::Value& answer, std::string_view header) {
    if (const json::Value* parameters = answer.find("parameters"))
        if (const json::Value* after = parameters->find("retry_after"))
            if (after->is_integer() || after->kind() == json::Value::Kind::Real) return wait_of(after->as_real());
    return wait_of(header);
}

TelegramAnswer failed(const char* kind, std::string error, Milliseconds retry = Milliseconds(0)) {
    TelegramAnswer answer;
    answer.failure = {kind, std::move(error), retry, {}};
    return answer;
}

TelegramAnswer of_kind(Kind kind, const char* class_name, std::string error) {
    TelegramAnswer answer = failed(class_name, std::move(error));
    answer.kind = kind;
    return answer;
}

TelegramAnswer unreadable(std::string_view body, std::string error) {
    TelegramAnswer answer = of_kind(Kind::Unreadable, "unknown", std::move(error));
    constexpr std::string_view kBegin = "{\"ok\":true,\"result\":[{\"update_id\":";
    if (!body.starts_with(kBegin)) return answer;
    const std::string_view rest = body.substr(kBegin.size(), 20);
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    if (digits > 0 && digits < std::min<size_t>(rest.size(), 18))
        answer.result = std::stoll(std::string(rest.substr(0, digits)));
    return answer;
}

// No word of Telegram's own: a proxy, a page of HTML, half an answer.
TelegramAnswer without_words(int status, std::string_view body, std::string_view retry_after) {
    const std::string what = std::string(kWho) + " answered with status " + std::to_string(status);
    if (status == 200) return unreadable(body, std::string(kWho) + " gave an answer that cannot be read");
    if (status == 429) return failed("throttled", what, retry_of({}, retry_after));
    if (status == 504) return failed("unknown", what);
    return failed("transient", what);
}

TelegramAnswer refused(const json::Value& answer, int status, std::string_view retry_after) {
    const int64_t code = answer.integer("error_code", status);
    const std::string words = answer.text("description", "no reason given");
    const std::string said = "Telegram refused it: " + words;
    if (code == 429) return failed("throttled", said, retry_of(answer, retry_after));
    if (code == 401 || code == 404) return of_kind(Kind::Auth, "not_sent", said);
    if (code == 409) return of_kind(Kind::Conflict, "not_sent", said);
    if (const json::Value* parameters = answer.find("parameters"))
        if (const int64_t to = parameters->integer("migrate_to_chat_id")) {
            TelegramAnswer moved = failed("gone", said);
            moved.failure.moved = std::to_string(to);
            return moved;
        }
    const std::string low = lower(words);
    for (const char* part : kGone)
        if (low.find(part) != std::string::npos) return failed("gone", said);
    if (code == 403) return failed("gone", said);
    return failed(code >= 400 && code < 500 ? "permanent" : "transient", said);
}

// Of a call to which there is no answer.
TelegramAnswer not_answered(WebAnswer& got) {
    if (got.what == WebAnswer::What::Cancelled) return of_kind(Kind::Cancelled, "unknown", std::move(got.failure.error));
    if (got.what == WebAnswer::What::Unreadable) return unreadable(got.body, std::move(got.failure.error));
    return failed(got.failure.kind, std::move(got.failure.error));
}

}  // namespace

bool TelegramAnswer::says(std::string_view part) const {
    return lower(failure.error).find(lower(part)) != std::string::npos;
}

TelegramAnswer read_telegram_answer(int status, std::string_view body, std::string_view retry_after) {
    try {
        json::Value answer = json::parse(body, kAnswerLimits);
        const json::Value* const ok = answer.find("ok");
        if (!ok || !ok->is_bool()) return without_words(status, body, retry_after);
        if (!ok->as_bool()) return refused(answer, status, retry_after);
        TelegramAnswer good;
        good.kind = Kind::Ok;
        if (json::Value* result = answer.find("result")) good.result = std::move(*result);
        return good;
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {  // a few bytes of text can be a large tree
    }
    return without_words(status, body, retry_after);
}

TelegramApi::TelegramApi(std::string base, Secret token) : base_(std::move(base)), token_(std::move(token)) {
    if (token_.empty() || token_.reveal().size() > 256 || !only(token_.reveal(), ":_-"))
        throw Error("telegram: the token is not one: it looks like 123456:ABC-DEF, as BotFather gave it");
    if (!is_api_address(base_))
        throw Error("telegram: api: an address like https://api.telegram.org is needed");
}

TelegramAnswer TelegramApi::call_on(std::optional<HttpClient>& client, const char* method, std::string content_type,
                                    std::string body, const Options& options) {
    HttpRequest request;
    request.url = base_ + "/bot" + token_.reveal() + "/" + method;
    request.headers = {std::move(content_type)};
    request.body = std::move(body);
    request.first_byte_limit = options.limit;
    WebAnswer got = web_call(client, request, kWho, options.cancel_fd);
    const Secret wiped(std::move(request.url));
    return got.what == WebAnswer::What::Answered ? read_telegram_answer(got.status, got.body, got.retry_after) : not_answered(got);
}

TelegramAnswer TelegramApi::call(const char* method, const json::Value& parameters, Options options) {
    std::optional<HttpClient> own;
    return call_on(options.repeat == Repeat::Once ? own : calls_, method, kJson, json::dump(parameters), options);
}

TelegramAnswer TelegramApi::poll(const json::Value& parameters, Options options) {
    return call_on(polls_, "getUpdates", kJson, json::dump(parameters), options);
}

TelegramAnswer TelegramApi::upload(const char* method, std::string content_type, std::string body) {
    std::optional<HttpClient> own;
    return call_on(own, method, std::move(content_type), std::move(body), {.repeat = Repeat::Once, .limit = Milliseconds(60'000)});
}

// Where it lies is Telegram's to say, and becomes a part of an address with the token in it.
void TelegramApi::fetch(ChannelPort& port, const json::Value& frame) {
    const std::string id = frame.text("id");
    const TelegramAnswer answer = call("getFile", json::Value::object({{"file_id", frame.text("handle")}}));
    if (!answer.ok()) return port.not_fetched(id, answer.failure.error);
    const std::string path = answer.result.text("file_path");
    if (path.empty() || path.size() > 512 || !only(path, "/._-") || path.find("..") != std::string::npos || path[0] == '/')
        return port.not_fetched(id, "Telegram does not say where it is");
    const Secret address(base_ + "/file/bot" + token_.reveal() + "/" + path);
    answer_fetch(port, frame, address.reveal(), {}, kWho);
}

}  // namespace peacrab
