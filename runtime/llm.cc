// One call of a model over an unreliable network: try, judge, wait, try again, and say it in one
// sentence when that does not help. A retry is safe because the server keeps no state and no tool
// of a reply runs before the whole reply is here; what was shown of a failed try is declared void.
// Must not let a key into a sentence, not even when the server quotes it back, and must not wait
// longer than the person would: a stop is noticed at any time.
#include "llm.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>

#include "protocols/reply.h"
#include "protocols/trouble.h"

namespace peacrab {

namespace {

using Failure = HttpResult::Failure;

constexpr Milliseconds kLongestBackoff{8'000};
constexpr size_t kWholeBodyLimit = json::kModelLimits.max_bytes;

struct Attempt {
    ModelReply reply;  // whole exactly when there is no problem
    std::optional<Problem> problem;
};

// One try: feeds what comes to the reader. Knows whether it comes as a stream or as one body.
class Exchange {
  public:
    Exchange(const ModelOptions& options, const ModelEvents& events, const json::Value& messages)
        : options_(options),
          messages_(messages),
          reader_(dialect_table(options.dialect).reader([&events](std::string_view text) {
              if (events.delta) events.delta(text);
          })),
          stream_([this](std::string_view name, std::string_view data) {
              reader_->event(name, data);
          }) {}

    Attempt run(HttpClient& http, HttpRequest& request, int cancel_fd) {
        Attempt attempt;
        try {
            request.enough = [this] { return reader_->ended(); };
            const HttpResult result = http.send(
                request, [this](const HttpResult& head) { return begins(head); },
                [this](std::string_view piece) { take(piece); }, cancel_fd);
            conclude(result, attempt);
        } catch (const ProtocolError& error) {
            attempt.problem = misunderstood(error);
        }
        if (attempt.problem || attempt.reply.cancelled) attempt.reply.text = reader_->text();
        return attempt;
    }

  private:
    const ModelOptions& options_;
    const json::Value& messages_;
    std::unique_ptr<ReplyReader> reader_;
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
        if (reader_->ended()) {
            attempt.reply = reader_->finish(messages_);
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
            if (streamed()) {
                stream_.finish();
                if (complete) reader_->end_of_stream();
            } else if (json && !body_.empty()) {
                reader_->whole(body_);
            }
        } catch (const ProtocolError&) {
            if (reader_->api_error() || (complete && !streamed())) throw;
        }
    }

    Problem no_model(const std::string& instead) const {
        return {
            origin_of(options_.base_url) + " answers, but not as a model does (" + instead + ")",
            "correct --model-url"};
    }

    Problem misunderstood(const ProtocolError& error) const {
        if (reader_->api_error()) return judge(*reader_->api_error(), options_);
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

// What only the model that wrote it understands, it may refuse to take back (signatures that a change of
// the route made void): the same conversation without it.
std::string plain_body(const ModelOptions& options, ModelRequest request) {
    for (json::Value& message : request.messages.items()) message.erase("origin");
    return dialect_table(options.dialect).body(options, request);
}

void fail(ModelReply& reply, const Problem& problem, int tried) {
    reply.error = problem.what;
    reply.another_may_do = problem.of_the_model;
    if (tried > 1) reply.error += " (" + std::to_string(tried) + " tries)";
    if (!problem.next.empty()) reply.error += ": " + problem.next;
}

}  // namespace

std::string model_origin(const ModelOptions& options) {
    return std::string(dialect_name(options.dialect)) + "/" + options.model;
}

Model::Model(ModelOptions options) : options_(std::move(options)), http_(options_.http) {}

ModelReply Model::ask(const ModelRequest& request, const ModelEvents& events, int cancel_fd) {
    HttpRequest http;
    const DialectTable& dialect = dialect_table(options_.dialect);
    http.url = request_url(options_.base_url, options_.dialect);
    http.headers = dialect.headers(options_.key.empty() ? kSentinelKey : options_.key.reveal());
    http.headers.push_back("content-type: application/json");
    http.headers.push_back(std::string("user-agent: peacrab/") + kVersion);
    http.body = plain_ ? plain_body(options_, request) : dialect.body(options_, request);
    for (int tried = 1;; ++tried) {
        Attempt attempt = Exchange(options_, events, request.messages).run(http_, http, cancel_fd);
        if (!attempt.problem) return std::move(attempt.reply);
        Problem& problem = *attempt.problem;
        // Connections may be stale; a CA is read anew, once: that of a sandbox's proxy changes.
        if (problem.of_the_line) http_ = HttpClient(options_.http);
        if (problem.of_trust && tried == 1) continue;
        if (problem.malformed && !plain_) {
            std::string plain = plain_body(options_, request);
            plain_ = plain != http.body;
            if (plain_) http.body = std::move(plain);
            if (plain_) continue;
        }
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
