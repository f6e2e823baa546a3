// What comes back is hostile: bounded in size and depth, and an answer that nobody can read is "unknown".
#include "channels/matrix_api.h"

#include "error.h"
#include "web/address.h"

namespace peacrab {
namespace {

constexpr const char* kWho = "the Matrix server";
constexpr json::Limits kAnswerLimits{size_t{16} << 20, 64};
constexpr int64_t kLongestWait = 3'600'000;

Milliseconds retry_of(const json::Value& answer, std::string_view header) {
    const int64_t said = answer.integer("retry_after_ms", -1);
    return said >= 0 ? Milliseconds(std::clamp<int64_t>(said, 100, kLongestWait)) : wait_of(header);
}

}  // namespace

std::string in_matrix_path(std::string_view text) { 
    return percent_encoded(text, [](char c) { return only({&c, 1}, "-_.~"); });
}

MatrixAnswer read_matrix_answer(int status, std::string_view body, std::string_view retry_after) {
    MatrixAnswer answer;
    bool read = false;
    try {
        answer.result = json::parse(body, kAnswerLimits);
        read = answer.result.is_object();
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {  // a few bytes of text can be a large tree
    }
    if (read && status == 200) {
        answer.kind = MatrixAnswer::Kind::Ok;
        return answer;
    }
    if (!read) answer.result = json::Value::object();
    answer.code = utf8_prefix(answer.result.text("errcode"), 60);
    const std::string words = answer.result.text("error", "status " + std::to_string(status));
    const std::string said = std::string(kWho) + ": " + std::string(utf8_prefix(words, 200));
    const char* kind = status >= 500 ? "transient" : "permanent";
    if (status == 200 || status == 504) kind = "unknown";
    if (status == 403 || status == 404) kind = "gone";
    if (status == 401 || answer.code == "M_UNKNOWN_TOKEN" || answer.code == "M_MISSING_TOKEN") {
        answer.kind = MatrixAnswer::Kind::Auth;
        answer.soft = answer.result.flag("soft_logout");
        kind = "not_sent";
    }
    answer.failure = {kind, said};
    if (status == 429) answer.failure = {"throttled", said, retry_of(answer.result, retry_after)};
    return answer;
}

MatrixApi::MatrixApi(std::string base, Secret token) : base_(std::move(base)), token_(std::move(token)) {
    while (base_.ends_with('/')) base_.pop_back();
    const bool web = base_.starts_with("https://") || base_.starts_with("http://");
    if (!web || origin_of(base_).empty() || base_.find_first_of("?#@ ") != std::string::npos)
        throw Error("matrix: server: an address like https://matrix.example.org is needed");
    if (token_.empty() || token_.reveal().find_first_of(" \r\n") != std::string::npos)
        throw Error("matrix: the access token is missing, or none");
}

std::string MatrixApi::url_of(const std::string& path) const {
    return base_ + (path.starts_with("/_matrix/") ? "" : "/_matrix/client/v3") + path;
}

MatrixAnswer MatrixApi::call_on(std::optional<HttpClient>& client, const char* method, const std::string& path, std::string body,
                                const Options& options) {
    HttpRequest request;
    request.method = method;
    request.url = url_of(path);
    request.headers = {header()};
    if (request.method != "GET") request.headers.push_back("Content-Type: " + options.content_type);
    request.body = std::move(body);
    request.first_byte_limit = options.limit;
    const WebAnswer got = web_call(client, request, kWho, options.cancel_fd);
    if (got.what == WebAnswer::What::Answered) return read_matrix_answer(got.status, got.body, got.retry_after);
    MatrixAnswer answer;
    answer.failure = got.failure;
    answer.result = json::Value::object();
    if (got.what == WebAnswer::What::Cancelled) answer.kind = MatrixAnswer::Kind::Cancelled;
    return answer;
}

MatrixAnswer MatrixApi::call(const char* method, const std::string& path, std::string body, const Options& options) {
    return call_on(calls_, method, path, std::move(body), options);
}

MatrixAnswer MatrixApi::sync(const std::string& path, const Options& options) { return call_on(syncs_, "GET", path, {}, options); }

}  // namespace peacrab
