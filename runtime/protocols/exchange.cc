// An answer comes as a stream or as one body, whole or cut, or is none at all: what it is, the content type
// says, and whether it is whole, the reader of its dialect alone.
#include "protocols/exchange.h"

namespace peacrab {
namespace {

using Failure = HttpResult::Failure;

constexpr size_t kWholeBodyLimit = json::kModelLimits.max_bytes;

class Exchange {
  public:
    Exchange(const ModelOptions& options, const ModelEvents& events, const json::Value& messages)
        : options_(options),
          events_(events),
          messages_(messages),
          reader_(dialect_table(options.dialect).reader([&events](std::string_view text) {
              if (events.delta) events.delta(text);
          })),
          stream_([this](std::string_view name, std::string_view data) {
              reader_->event(name, data);
          }) {}

    Attempt run(HttpClient& http, HttpRequest& request, int cancel_fd) {
        Attempt attempt;
        if (events_.asking) events_.asking();
        try {
            request.enough = [this] { return reader_->ended(); };
            const HttpResult result = http.send(
                request, [this](const HttpResult& head) { return begins(head); },
                [this](std::string_view piece) { take(piece); }, cancel_fd);
            conclude(result, attempt);
        } catch (const ProtocolError& error) {
            attempt.problem = misunderstood(error);
        }
        if (taken_ && events_.counted) events_.counted(reader_->count(request.body.size()));
        if (attempt.problem || attempt.reply.cancelled) attempt.reply.text = reader_->text();
        return attempt;
    }

  private:
    const ModelOptions& options_;
    const ModelEvents& events_;
    const json::Value& messages_;
    std::unique_ptr<ReplyReader> reader_;
    SseParser stream_;
    std::string body_;
    std::string type_;
    bool taken_ = false;  // an answer began: it is paid for, however it ends

    bool begins(const HttpResult& head) {
        type_ = head.content_type;
        taken_ = head.status == 200;
        return taken_;
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

}  // namespace

Attempt try_model(const ModelOptions& options, const json::Value& messages, HttpClient& http,
                  HttpRequest& request, const ModelEvents& events, int cancel_fd) {
    return Exchange(options, events, messages).run(http, request, cancel_fd);
}

}  // namespace peacrab
