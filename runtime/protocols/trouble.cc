// One sentence for a person, with the next step: whose fault it is, and whether it helps to wait. The
// server's own words are hostile and may quote the key back; no part of it may get into a sentence.
#include "protocols/trouble.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>

#include "os.h"

namespace peacrab {
namespace {

using Failure = HttpResult::Failure;

// The server's own words, for a sentence of ours: one line, clipped, and without any part of the
// key (servers quote keys back, whole or shortened).
std::string quoted(std::string message, const Secret& key) {
    constexpr size_t kPart = 8, kLongest = 300;
    const std::string& secret = key.reveal();
    message.resize(std::min<size_t>(message.size(), 4096));
    for (size_t at = 0; secret.size() >= kPart && at + kPart <= message.size(); ++at) {
        if (secret.find(message.substr(at, kPart)) == std::string::npos) continue;
        size_t length = kPart;
        while (at + length < message.size() &&
               secret.find(message.substr(at, length + 1)) != std::string::npos)
            ++length;
        message.replace(at, length, "[key]");
        at += 4;
    }
    for (char& c : message)
        if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    while (message.ends_with(' ') || message.ends_with('.')) message.pop_back();
    if (message.size() > kLongest) message = message.substr(0, kLongest) + "...";
    return message.empty() ? "" : ", saying: " + printable(json::valid_utf8(message));
}

// `retry-after-ms`, else `retry-after` in seconds or as a date. RFC 9110, section 10.2.3.
std::optional<Milliseconds> server_wait(const HttpResult& result) {
    const auto number = [](const std::string& text, double unit) -> std::optional<Milliseconds> {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        if (text.empty() || *end || !(value >= 0)) return std::nullopt;
        return Milliseconds(static_cast<int64_t>(std::min(value * unit, 1e12)));
    };
    if (auto exact = number(result.header("retry-after-ms"), 1)) return exact;
    const std::string after = result.header("retry-after");
    if (auto seconds = number(after, 1000)) return seconds;
    if (after.empty()) return std::nullopt;
    const auto date = http_date(after);
    if (!date) return std::nullopt;
    return Milliseconds(std::max<int64_t>(0, *date - std::time(nullptr)) * 1000);
}

constexpr size_t kLookedAt = 4096;  // of what a server says

bool spent(const ApiError& error) {
    return error.code == "enforced_spend_limit_reached" ||
           error.code == "contract_spend_limit_reached" || error.code == "insufficient_quota" ||
           error.type == "insufficient_quota";
}

// Sources: the error texts of Anthropic, OpenAI, llama.cpp, Ollama, vLLM, Gemini, Mistral, Bedrock.
bool too_long(const ApiError& error) {
    if (error.status == 413) return true;
    if (error.status != 400) return false;
    constexpr std::array kCodes = {"exceed_context_size_error", "context_length_exceeded",
                                   "context_too_large"};
    for (const char* code : kCodes)
        if (error.type == code || error.code == code) return true;
    constexpr std::array kPhrases = {
        "prompt is too long",         "input is too long",
        "exceeds the context",        "exceed context limit",
        "maximum context length",     "exceeds the available context",
        "exceed_context_size_error",  "exceeds the maximum number of tokens",
        "reduce the length of the messages", "greater than the context length",
        "too large for model with"};
    const std::string said = lower(std::string_view(error.message).substr(0, kLookedAt));
    for (const char* phrase : kPhrases)
        if (said.find(phrase) != std::string::npos) return true;
    return false;
}

// How many tokens fit: a field of its own, or "maximum context length is N", "N tokens > N maximum".
uint64_t window_in(const ApiError& error) {
    int64_t window = error.window;
    const std::string said = lower(std::string_view(error.message).substr(0, kLookedAt));
    for (const char* before : {"maximum context length is ", " > ", "maximum number of tokens allowed ("}) {
        const size_t at = said.find(before);
        if (window > 0 || at == std::string::npos) continue;
        const char* first = said.data() + at + std::char_traits<char>::length(before);
        std::from_chars(first, said.data() + said.size(), window);
    }
    return window >= 512 && window <= 100'000'000 ? static_cast<uint64_t>(window) : 0;
}

}  // namespace

std::string in_words(Milliseconds span) {
    const auto seconds = std::max<int64_t>(1, (span.count() + 999) / 1000);
    if (seconds < 120) return std::to_string(seconds) + " s";
    if (seconds < 120 * 60) return std::to_string((seconds + 59) / 60) + " min";
    return std::to_string((seconds + 3599) / 3600) + " h";
}

namespace {

Problem in_words(const ApiError& error, const ModelOptions& options) {
    const std::string number = " (" + std::to_string(error.status) + ")";
    const std::string said = quoted(error.message, options.key);
    const std::string fresh = "start a new conversation with /new";
    const int status = error.status;
    if (status == 401 || status == 403)
        return {"the model refused the key" + number + (status == 403 ? said : ""),
                "set another with `peacrab setup`"};
    // The sentence is the host's, which is nearer to the person than we are.
    if (status == 402 && error.type == kBudgetError)
        return {printable(json::valid_utf8(error.message.substr(0, 600))), ""};
    if (status == 402 || (status == 429 && spent(error)))
        return {"the account of this key has nothing left to spend" + number + said,
                "add credit with the provider, or set another key with `peacrab setup`"};
    if (status == 404)
        return {"there is no model '" + printable(options.model) + "' at " +
                    origin_of(options.base_url) + number,
                "choose another with --model, or correct --model-url"};
    if (status == 413) return {"the conversation is too large for the model" + number, fresh};
    if (too_long(error)) return {kTooLong, fresh};
    if (status == 429)
        return {"the model's rate limit is reached" + number, "try again later", true};
    if (status == 529)
        return {"the model is overloaded" + number, "try again in a few minutes", true};
    if (status >= 500 || status == 408 || status == 409)
        return {"the model's server failed" + number + said, "try again later", true};
    return {"the model refused the request" + number + said, "if it happens again, " + fresh};
}

}  // namespace

Problem judge(const ApiError& error, const ModelOptions& options) {
    Problem problem = in_words(error, options);
    problem.of_the_model = problem.again || error.status == 404;
    problem.spent = error.status == 402 && error.type == kBudgetError;
    problem.too_long = too_long(error);
    // 403: the model route does not pass on what it does not know. And who takes no pictures says so in many ways.
    const std::string said = lower(std::string_view(error.message).substr(0, kLookedAt));
    problem.malformed = error.status == 400 || error.status == 403 || said.find("image") != std::string::npos;
    if (problem.too_long) problem.window = window_in(error);
    return problem;
}

Problem judge_status(const HttpResult& result, const ModelOptions& options) {
    const std::string next = "if that is right, set it with --model-url";
    if (result.status < 400 && !result.detail.empty()) return {result.detail, next};
    if (result.status < 400)
        return {origin_of(options.base_url) + " answers, but not as a model does (" +
                    std::to_string(result.status) + ")",
                "correct --model-url"};
    Problem problem =
        judge(read_error(result.status, result.content_type, result.body), options);
    const std::string advice = result.header("x-should-retry");
    if (advice == "true") problem.again = true;
    if (advice == "false") problem.again = false;
    problem.wait = server_wait(result);
    if (const std::string id = result.header("request-id"); !id.empty())
        log(LogLevel::Debug, "model: status " + std::to_string(result.status) + ", request " + id);
    return problem;
}

namespace {

Problem in_words(const HttpResult& result) {
    switch (result.failure) {
        case Failure::Unreachable:
            return {result.detail, "check the network and --model-url", true};
        case Failure::Cut:
            return {result.detail, "try again", true};
        case Failure::Silent:
            return {result.detail, "try again; a local model may still be loading", true};
        case Failure::TooLarge:
            return {result.detail, "correct --model-url"};
        default:
            return {result.detail, "correct that, or --model-url, and try again"};
    }
}

}  // namespace

Problem judge_transport(const HttpResult& result) {
    Problem problem = in_words(result);
    problem.of_the_line = true;
    problem.of_trust = result.failure == Failure::Unknown;
    return problem;
}

}  // namespace peacrab
