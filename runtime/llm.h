// Speaks to a model in one of three dialects (protocols/), streaming, with tools.
//
// Stricter than the vendors' own clients: a cut stream is a failure, a tool input that does not
// parse never runs, silence ends by a clock, an unknown stop reason is not success.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "http.h"
#include "json.h"
#include "protocols/servers.h"
#include "types.h"

namespace peacrab {

struct ModelOptions {
    std::string model;     // e.g. "claude-sonnet-4-5"
    std::string base_url;  // e.g. "https://api.anthropic.com"; see request_url()
    ModelDialect dialect = ModelDialect::Unknown;
    ModelServer::Quirks quirks = {};
    Secret key;  // empty: the sentinel is sent, which a gateway or a sandbox's proxy replaces
    int64_t max_tokens = 8192;
    int max_tries = 4;                 // of one model call, first try included
    Milliseconds retry_base{500};      // before the first retry; doubles, up to 8 s
    Milliseconds retry_limit{60'000};  // a server that asks for a longer wait is a failure
    HttpOptions http;
};

// Whose own form an answer's blocks are in: no other model is told what only this one understands.
std::string model_origin(const ModelOptions& options);

// What the model is asked, in the form of Anthropic Messages (see context/prompt.h); a dialect writes it anew.
struct ModelRequest {
    json::Value system;    // array of text blocks
    json::Value tools;     // array
    json::Value messages;  // array; an assistant's also has its `origin`
};

// What stands in ToolCall.arguments of a call that did not arrive whole (cut by the output limit,
// no JSON, no object). It is no JSON, so that whoever opens the arguments refuses the call.
constexpr const char* kDamagedArguments = "(the arguments of this call did not arrive whole)";

struct [[nodiscard]] ModelReply {
    enum class Stop {
        Unknown,  // protocol failure: treat as failed
        EndTurn,  // also stop_sequence
        ToolUse,  // exactly when `calls` is not empty, whatever the server called it
        MaxTokens,
        PauseTurn,
        Refusal,      // `error` is set, nothing is to be replayed
        ContextFull,  // `error` is set; also when the server refuses the request for its length
    } stop = Stop::Unknown;
    // Blocks as they must be replayed, in order; unknown ones kept, blank text left out. May be
    // empty, and then there is no assistant message to replay. A `tool_use` block stands here
    // exactly for each of `calls`, with ids that are new to the conversation.
    json::Value content;
    // In order; each must be answered by one tool_result. A damaged one must never run and is
    // answered with an error: its `arguments` are kDamagedArguments.
    std::vector<ToolCall> calls;
    std::string text;  // all text blocks; after a failure, what had been shown
    Usage usage;
    std::string model;  // as the server named it
    // Failure: empty when the reply is whole. One sentence for a person, with the next step.
    std::string error;
    bool another_may_do = false;  // of a failure: another model of the same server could answer
    bool spent = false;           // of a failure: whoever passes our calls on lets no more be spent
    bool down = false;            // of a failure: nobody could be asked, or who was could not answer now
    uint64_t window = 0;          // of ContextFull: the tokens that fit, when the server said so
    // True when it was cancelled by `cancel_fd`: `stop` is Unknown, `error` empty, `text` is what
    // had been shown.
    bool cancelled = false;
};

// What one try of a call came to, whatever became of it; `estimated`: the server did not say.
struct ModelCount {
    Usage usage;
    std::string model;  // that answered, as the server named it
    bool estimated = false;
};

struct ModelEvents {
    std::function<void(std::string_view text)> delta;
    std::function<void()> restart;  // a retry begins: what was streamed so far is void
    std::function<void(std::string_view sentence)>
        notice;  // "the model is busy; trying again in 2 s"
    std::function<void()> asking;  // before each try
    std::function<void(const ModelCount& count)> counted;  // after each try that a server took
};

class Model {
  public:
    explicit Model(ModelOptions options);
    // One call, with retries (408, 409, 429, 5xx, 529, connection failures, cut streams; jitter;
    // retry-after honoured up to 60 s). Never throws for what the server or network does; what an
    // event's callback throws passes through.
    ModelReply ask(const ModelRequest& request, const ModelEvents& events, int cancel_fd = -1);
    const ModelOptions& options() const { return options_; }
    void use(const std::string& model) { options_.model = model; }  // from the next call on

  private:
    ModelOptions options_;
    HttpClient http_;
    bool make_plainer(const ModelRequest& request, std::string& body);
    int plain_ = 0;  // 1: the server takes nothing back that only its model understands; 2: nor pictures
};

}  // namespace peacrab
