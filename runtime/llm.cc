// One call of a model over an unreliable network: try, judge, wait, try again, and say it in one
// sentence when that does not help. A retry is safe because the server keeps no state and no tool
// of a reply runs before the whole reply is here; what was shown of a failed try is declared void.
// Must not let a key into a sentence, not even when the server quotes it back, and must not wait
// longer than the person would: a stop is noticed at any time.
#include "llm.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>

#include "protocols/exchange.h"

namespace peacrab {

namespace {

constexpr Milliseconds kLongestBackoff{8'000};

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

constexpr int kPlainest = 2;

void leave_out_pictures(json::Value* blocks) {
    if (!blocks || !blocks->is_array()) return;
    for (json::Value& block : blocks->items()) {
        leave_out_pictures(block.find("content"));
        if (block.text("type") == "image")
            block = json::Value::object({{"type", "text"}, {"text", "[this model cannot be shown the picture]"}});
    }
}

// A server may refuse what only the model that wrote it understands (signatures that a change of the route
// made void), and pictures: the same conversation without the one, without both.
std::string plain_body(const ModelOptions& options, ModelRequest request, int plain) {
    for (json::Value& message : request.messages.items())
        if (plain >= 1) message.erase("origin");
    if (plain >= 2) leave_out_pictures(&request.messages);
    return dialect_table(options.dialect).body(options, request);
}

void fail(ModelReply& reply, const Problem& problem, int tried) {
    reply.error = problem.what;
    reply.another_may_do = problem.of_the_model;
    reply.spent = problem.spent;
    if (problem.too_long) reply.stop = ModelReply::Stop::ContextFull;
    reply.window = problem.window;
    if (tried > 1) reply.error += " (" + std::to_string(tried) + " tries)";
    if (!problem.next.empty()) reply.error += ": " + problem.next;
}

}  // namespace

Model::Model(ModelOptions options) : options_(std::move(options)), http_(options_.http) {}

// False: there is nothing that could be left out. What was left out stays so for the turn.
bool Model::make_plainer(const ModelRequest& request, std::string& body) {
    for (int plain = plain_ + 1; plain <= kPlainest; ++plain) {
        std::string other = plain_body(options_, request, plain);
        if (other == body) continue;
        plain_ = plain;
        body = std::move(other);
        return true;
    }
    return false;
}

ModelReply Model::ask(const ModelRequest& request, const ModelEvents& events, int cancel_fd) {
    HttpRequest http;
    const DialectTable& dialect = dialect_table(options_.dialect);
    http.url = request_url(options_.base_url, options_.dialect);
    http.headers = dialect.headers(options_.key.empty() ? kSentinelKey : options_.key.reveal());
    http.headers.push_back("content-type: application/json");
    http.headers.push_back(std::string("user-agent: peacrab/") + kVersion);
    http.body = plain_body(options_, request, plain_);
    for (int tried = 1;; ++tried) {
        Attempt attempt = try_model(options_, request.messages, http_, http, events, cancel_fd);
        if (!attempt.problem) return std::move(attempt.reply);
        Problem& problem = *attempt.problem;
        // Connections may be stale; a CA is read anew, once: that of a sandbox's proxy changes.
        if (problem.of_the_line) http_ = HttpClient(options_.http);
        if (problem.of_trust && tried == 1) continue;
        if (problem.malformed && make_plainer(request, http.body)) continue;
        attempt.reply.down = problem.again;  // what trying again could have mended
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
