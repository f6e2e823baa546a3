// What comes back is hostile: bounded in size, depth and time. An answer that nobody can read is "unknown", and so is one
// that says something went wrong inside: it may have been done, and is looked for among the statuses that WhatsApp tells.
#include "channels/whatsapp_api.h"

#include <algorithm>

#include "channels/web_call.h"
#include "error.h"

namespace peacrab {
namespace {

using Kind = WhatsAppAnswer::Kind;

constexpr json::Limits kAnswerLimits{size_t{1} << 20, 16};
constexpr const char* kWho = "WhatsApp's server";
constexpr const char* kMedia = "https://lookaside.fbsbx.com/";
constexpr Milliseconds kPair{6'000};  // between two messages to one person, as it is paced

// What a code means. Others are "permanent".
constexpr struct {
    int64_t code;
    const char* kind;
    Milliseconds retry;
    const char* words;  // beside WhatsApp's own
} kCodes[] = {
    {1, "unknown", {}, nullptr},
    {2, "unknown", {}, nullptr},
    {4, "throttled", Milliseconds(60'000), nullptr},
    {613, "throttled", Milliseconds(60'000), nullptr},
    {80007, "throttled", Milliseconds(60'000), nullptr},
    {130429, "throttled", Milliseconds(10'000), nullptr},
    {131048, "throttled", Milliseconds(900'000), nullptr},
    {131056, "throttled", kPair, nullptr},
    {131000, "unknown", {}, nullptr},
    {131016, "transient", {}, nullptr},
    {131057, "transient", {}, nullptr},
    {133004, "transient", {}, nullptr},
    {131026, "gone", {}, "this number cannot be reached on WhatsApp"},
    {131030, "gone", {}, "this number is not on the list of recipients that a test number may write to"},
    {131047, "permanent", {},
     "they have not written for 24 hours, and then WhatsApp lets nobody write to them but with a template; it can be said "
     "when they have written again"},
    {131049, "permanent", {}, "WhatsApp lets no more be sent to this person for now"},
    {131031, "permanent", {}, "the business account is locked: look into WhatsApp Manager"},
    {131042, "permanent", {}, "the account's payment is not in order: look into WhatsApp Manager"},
    {131053, "permanent", {}, "WhatsApp does not take a file of this kind"},
};

WhatsAppAnswer failed(const char* kind, std::string error, Milliseconds retry = Milliseconds(0)) {
    WhatsAppAnswer answer;
    answer.failure = {kind, std::move(error), retry, {}};
    return answer;
}

// No word of the API's own: a proxy, a page of HTML, half an answer.
WhatsAppAnswer without_words(int status, std::string_view retry_after) {
    const std::string what = std::string(kWho) + " answered with status " + std::to_string(status);
    if (status == 429) return failed("throttled", what, wait_of(retry_after));
    if (status == 200) return failed("unknown", std::string(kWho) + " gave an answer that cannot be read");
    return failed(status >= 500 ? "unknown" : "transient", what);
}

WhatsAppAnswer refused(const json::Value& error, int status, std::string_view retry_after) {
    WhatsAppAnswer answer;
    answer.code = error.integer("code");
    answer.failure = whatsapp_failure(error);
    if (answer.code == 190 || answer.code == 102 || status == 401) {
        answer.kind = Kind::Auth;
        answer.failure.kind = "not_sent";
    } else if (status == 429) {
        answer.failure.kind = "throttled";
        answer.failure.retry = std::max(answer.failure.retry, wait_of(retry_after));
    } else if (status >= 500 && answer.failure.kind == std::string_view("permanent")) {
        answer.failure.kind = "unknown";
    }
    return answer;
}

}  // namespace

ChannelFailure whatsapp_failure(const json::Value& error) {
    const int64_t code = error.integer("code");
    std::string said = error.text("message", error.text("title"));
    if (const json::Value* const data = error.find("error_data"); data && data->is_object())
        if (const std::string details = data->text("details"); !details.empty()) said = details;
    ChannelFailure failure{"permanent", "WhatsApp refused it (" + std::to_string(code) + "): " + std::string(utf8_prefix(said, 300)), {}, {}};
    for (const auto& row : kCodes) {
        if (row.code != code) continue;
        failure.kind = row.kind;
        failure.retry = row.retry;
        if (row.words) failure.error = std::string(row.words) + " (WhatsApp's error " + std::to_string(code) + ")";
    }
    return failure;
}

WhatsAppAnswer read_whatsapp_answer(int status, std::string_view body, std::string_view retry_after) {
    try {
        json::Value value = json::parse(body, kAnswerLimits);
        if (!value.is_object()) return without_words(status, retry_after);
        if (const json::Value* const error = value.find("error"))
            return error->is_object() ? refused(*error, status, retry_after) : without_words(status, retry_after);
        if (status < 200 || status > 299) return without_words(status, retry_after);
        WhatsAppAnswer good;
        good.kind = Kind::Ok;
        good.body = std::move(value);
        return good;
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {  // a few bytes of text can be a large tree
    }
    return without_words(status, retry_after);
}

WhatsAppApi::WhatsAppApi(std::string base, std::string phone, Secret token)
    : base_(std::move(base)), phone_(std::move(phone)), token_(std::move(token)) {
    if (!is_api_address(base_))
        throw Error("whatsapp: api: an address like https://graph.facebook.com/v23.0 is needed");
    if (phone_.empty() || phone_.size() > 30 || phone_.find_first_not_of("0123456789") != std::string::npos)
        throw Error("whatsapp: phone: the id of the phone number is needed (digits; it stands under API Setup, and is not the number)");
    if (token_.empty() || token_.reveal().size() > 1024 || !only(token_.reveal(), "-._|~+/="))
        throw Error("whatsapp: the token is not one: that of a system user with whatsapp_business_messaging is needed");
}

WhatsAppAnswer WhatsAppApi::call(std::optional<HttpClient>& client, HttpRequest request) {
    request.headers.push_back(authorization());
    const WebAnswer got = web_call(client, request, kWho);
    const Secret wiped(std::move(request.headers.back()));
    if (got.what == WebAnswer::What::Answered) return read_whatsapp_answer(got.status, got.body, got.retry_after);
    WhatsAppAnswer answer;
    answer.failure = got.failure;
    return answer;
}

WhatsAppAnswer WhatsAppApi::about_us() {
    HttpRequest request;
    request.method = "GET";
    request.url = base_ + "/" + phone_ + "?fields=display_phone_number,verified_name";
    request.first_byte_limit = Milliseconds(15'000);
    return call(client_, std::move(request));
}

WhatsAppAnswer WhatsAppApi::post(const char* what, const json::Value& body) {
    std::optional<HttpClient> own;
    HttpRequest request;
    request.url = base_ + "/" + phone_ + "/" + what;
    request.headers = {"Content-Type: application/json"};
    request.body = json::dump(body);
    request.first_byte_limit = Milliseconds(20'000);
    return call(own, std::move(request));
}

WhatsAppAnswer WhatsAppApi::post_again(const char* what, const json::Value& body, Milliseconds limit) {
    HttpRequest request;
    request.url = base_ + "/" + phone_ + "/" + what;
    request.headers = {"Content-Type: application/json"};
    request.body = json::dump(body);
    request.first_byte_limit = limit;
    return call(client_, std::move(request));
}

WhatsAppAnswer WhatsAppApi::upload(std::string content_type, std::string body) {
    std::optional<HttpClient> own;
    HttpRequest request;
    request.url = base_ + "/" + phone_ + "/media";
    request.headers = {std::move(content_type)};
    request.body = std::move(body);
    request.first_byte_limit = Milliseconds(120'000);
    return call(own, std::move(request));
}

WhatsAppAnswer WhatsAppApi::media(const std::string& id) {
    if (!is_whatsapp_id(id)) return failed("permanent", "it is no file of WhatsApp's");
    HttpRequest request;
    request.method = "GET";
    request.url = base_ + "/" + id + "?phone_number_id=" + phone_;
    request.first_byte_limit = Milliseconds(15'000);
    return call(client_, std::move(request));
}

bool WhatsAppApi::has_media(const std::string& url) const {
    // "@" would make a name of what stands before it, and nothing may be hidden in it.
    if (url.size() > 4000 || url.find_first_of("@\\ \r\n\t#") != std::string::npos) return false;
    return url.starts_with(kMedia) || url.starts_with(origin_of(base_) + "/");
}

bool is_whatsapp_id(std::string_view id) {
    return !id.empty() && id.size() <= 200 && only(id, "-_.=") && id.find("..") == std::string_view::npos && id != ".";
}

bool is_whatsapp_person(std::string_view id) {
    return id.size() >= 5 && id.size() <= 20 && id.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace peacrab
