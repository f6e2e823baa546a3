// One call of a model over an unreliable network: try, judge, wait, try again, and say it in one
// sentence when that does not help. A retry is safe because the server keeps no state and no tool
// of a reply runs before the whole reply is here; what was shown of a failed try is declared void.
// Must not let a key into a sentence, not even when the server quotes it back, and must not wait
// longer than the person would: a stop is noticed at any time.
#include "llm.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "protocols/anthropic.h"
#include "protocols/sse.h"

namespace peacrab {

namespace {

using anthropic::ApiError;
using anthropic::ReplyReader;
using Failure = HttpResult::Failure;

constexpr Milliseconds kLongestBackoff{8'000};
constexpr size_t kWholeBodyLimit = json::kModelLimits.max_bytes;

// Why a try failed. `what` and `next` make the sentence; neither ends in a full stop.
struct Problem {
    std::string what;
    std::string next;
    bool again = false;                               // trying again may help
    std::optional<Milliseconds> wait = std::nullopt;  // what the server asks for
};

struct Attempt {
    ModelReply reply;  // whole exactly when there is no problem
    std::optional<Problem> problem;
};

std::string clean_base(std::string base) {
    while (base.ends_with('/')) base.pop_back();
    if (base.ends_with("/v1")) base.resize(base.size() - 3);
    return base;
}

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

std::string in_words(Milliseconds span) {
    const auto seconds = std::max<int64_t>(1, (span.count() + 999) / 1000);
    if (seconds < 120) return std::to_string(seconds) + " s";
    if (seconds < 120 * 60) return std::to_string((seconds + 59) / 60) + " min";
    return std::to_string((seconds + 3599) / 3600) + " h";
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

bool spent(const ApiError& error) {
    return error.code == "enforced_spend_limit_reached" ||
           error.code == "contract_spend_limit_reached";
}

// What an HTTP status, or an error inside the stream, means and what helps.
Problem judge(const ApiError& error, const ModelOptions& options) {
    const std::string number = " (" + std::to_string(error.status) + ")";
    const std::string said = quoted(error.message, options.key);
    const std::string fresh = "start a new conversation with /new";
    const int status = error.status;
    if (status == 401 || status == 403)
        return {"the model refused the key" + number + (status == 403 ? said : ""),
                "set another with `peacrab setup`"};
    if (status == 402 || (status == 429 && spent(error)))
        return {"the account of this key has nothing left to spend" + number + said,
                "add credit with the provider, or set another key with `peacrab setup`"};
    if (status == 404)
        return {"there is no model '" + printable(options.model) + "' at " +
                    origin_of(options.base_url) + number,
                "choose another with --model, or correct --model-url"};
    if (status == 413) return {"the conversation is too large for the model" + number, fresh};
    if (status == 429)
        return {"the model's rate limit is reached" + number, "try again later", true};
    if (status == 529)
        return {"the model is overloaded" + number, "try again in a few minutes", true};
    if (status >= 500 || status == 408 || status == 409)
        return {"the model's server failed" + number + said, "try again later", true};
    return {"the model refused the request" + number + said, "if it happens again, " + fresh};
}

Problem judge_status(const HttpResult& result, const ModelOptions& options) {
    const std::string next = "if that is right, set it with --model-url";
    if (result.status < 400 && !result.detail.empty()) return {result.detail, next};
    if (result.status < 400)
        return {origin_of(options.base_url) + " answers, but not as a model does (" +
                    std::to_string(result.status) + ")",
                "correct --model-url"};
    Problem problem =
        judge(anthropic::read_error(result.status, result.content_type, result.body), options);
    const std::string advice = result.header("x-should-retry");
    if (advice == "true") problem.again = true;
    if (advice == "false") problem.again = false;
    problem.wait = server_wait(result);
    if (const std::string id = result.header("request-id"); !id.empty())
        log(LogLevel::Debug, "model: status " + std::to_string(result.status) + ", request " + id);
    return problem;
}

Problem judge_transport(const HttpResult& result) {
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

// One try: feeds what comes to the reader. Knows whether it comes as a stream or as one body.
class Exchange {
  public:
    Exchange(const ModelOptions& options, const ModelEvents& events, const json::Value& messages)
        : options_(options),
          messages_(messages),
          reader_([&events](std::string_view text) {
              if (events.delta) events.delta(text);
          }),
          stream_([this](std::string_view name, std::string_view data) {
              reader_.event(name, data);
          }) {}

    Attempt run(HttpClient& http, HttpRequest& request, int cancel_fd) {
        Attempt attempt;
        try {
            request.enough = [this] { return reader_.ended(); };
            const HttpResult result = http.send(
                request, [this](const HttpResult& head) { return begins(head); },
                [this](std::string_view piece) { take(piece); }, cancel_fd);
            conclude(result, attempt);
        } catch (const ProtocolError& error) {
            attempt.problem = misunderstood(error);
        }
        if (attempt.problem || attempt.reply.cancelled) attempt.reply.text = reader_.text();
        return attempt;
    }

  private:
    const ModelOptions& options_;
    const json::Value& messages_;
    ReplyReader reader_;
    SseParser stream_;
    std::string body_;
    std::string type_;

    bool begins(const HttpResult& head) {
        type_ = head.content_type;
        return head.status == 200;
    }
    bool streamed() const { return type_ == "text/event-stream" || type_.empty(); }

    void take(std::string_view piece) {
        if (streamed()) return stream_.feed(piece);
        if (body_.size() + piece.size() > kWholeBodyLimit)
            throw ProtocolError("it is larger than 16 MiB");
        body_ += piece;
    }

    void conclude(const HttpResult& result, Attempt& attempt) {
        if (result.failure == Failure::Cancelled) {
            attempt.reply.cancelled = true;
            return;
        }
        if (result.status != 0 && result.status != 200) {
            attempt.problem = judge_status(result, options_);
            return;
        }
        const bool complete = result.failure == Failure::None;
        if (complete || result.failure == Failure::Cut) finish_input(complete);
        if (reader_.ended()) {
            attempt.reply = reader_.finish(messages_);
        } else if (!complete) {
            attempt.problem = judge_transport(result);
        } else if (streamed()) {
            attempt.problem =
                Problem{origin_of(options_.base_url) + " broke off in the middle of its answer",
                        "try again", true};
        } else {
            attempt.problem = no_model(printable(type_));
        }
    }

    // The last event, or the one body. What was cut does not parse, which is not bad grammar then.
    void finish_input(bool complete) {
        const bool json = body_.find_first_not_of(" \t\r\n") == body_.find('{');
        try {
            if (streamed())
                stream_.finish();
            else if (json && !body_.empty())
                reader_.whole(body_);
        } catch (const ProtocolError&) {
            if (reader_.api_error() || (complete && !streamed())) throw;
        }
    }

    Problem no_model(const std::string& instead) const {
        return {
            origin_of(options_.base_url) + " answers, but not as a model does (" + instead + ")",
            "correct --model-url"};
    }

    Problem misunderstood(const ProtocolError& error) const {
        if (reader_.api_error()) return judge(*reader_.api_error(), options_);
        return {"the answer of " + origin_of(options_.base_url) + " was not understood (" +
                    printable(error.what()) + ")",
                "try again, or correct --model-url", true};
    }
};

// Waits unless the person says stop; true when the time has passed.
bool pause(Milliseconds span, int cancel_fd) {
    const Deadline deadline = Deadline::in(span);
    pollfd entry{cancel_fd, POLLIN, 0};  // a negative fd is skipped by poll
    while (!deadline.passed())
        if (::poll(&entry, 1, deadline.poll_timeout()) > 0) return false;
    return true;
}

// Doubles with each try, less a random part of up to a quarter, so that clients do not return all
// at once.
Milliseconds backoff(Milliseconds base, int tried) {
    Milliseconds full = base;
    for (int i = 1; i < tried && full < kLongestBackoff; ++i) full *= 2;
    full = std::min(full, kLongestBackoff);
    const long random = std::strtol(random_hex(2).c_str(), nullptr, 16);
    return full - full * random / (4 * 65536);
}

void fail(ModelReply& reply, const Problem& problem, int tried) {
    reply.error = problem.what;
    if (tried > 1) reply.error += " (" + std::to_string(tried) + " tries)";
    if (!problem.next.empty()) reply.error += ": " + problem.next;
}

}  // namespace

Model::Model(ModelOptions options) : options_(std::move(options)), http_(options_.http) {
    options_.base_url = clean_base(std::move(options_.base_url));
}

ModelReply Model::ask(const ModelRequest& request, const ModelEvents& events, int cancel_fd) {
    HttpRequest http;
    http.url = options_.base_url + "/v1/messages";
    http.headers = {"content-type: application/json", "anthropic-version: 2023-06-01",
                    std::string("user-agent: peacrab/") + kVersion,
                    "x-api-key: " + (options_.key.empty() ? kSentinelKey : options_.key.reveal())};
    http.body = anthropic::request_body(options_, request);
    for (int tried = 1;; ++tried) {
        Attempt attempt = Exchange(options_, events, request.messages).run(http_, http, cancel_fd);
        if (!attempt.problem) return std::move(attempt.reply);
        Problem& problem = *attempt.problem;
        const Milliseconds wait = problem.wait.value_or(backoff(options_.retry_base, tried));
        if (problem.again && wait > options_.retry_limit) {
            problem.again = false;
            problem.next = "it asks to wait " + in_words(wait) + ": try again then";
        }
        if (!problem.again || tried >= options_.max_tries) {
            fail(attempt.reply, problem, tried);
            return std::move(attempt.reply);
        }
        if (!attempt.reply.text.empty() && events.restart) events.restart();
        if (events.notice) events.notice(problem.what + "; trying again in " + in_words(wait));
        if (!pause(wait, cancel_fd)) {
            attempt.reply.cancelled = true;
            attempt.reply.text.clear();
            return std::move(attempt.reply);
        }
    }
}

}  // namespace peacrab
