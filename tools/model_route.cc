// Where the guest's words meet the key. Everything from the stream is hostile: the agent may be
// prompt-injected and the guest lost. So nothing of the client's request goes out but the JSON
// body, opened against the body schema and written anew, and two version headers of a known form;
// the address, the key and the model's name are the host's. Of the answer only listed headers come
// back, and the key is scrubbed from all of it.
// This file must not follow a redirect, must not put a host path or a key into an answer, and must
// not read a second request while one is answered: bytes that come then end the connection.
#include "model_route.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "agents.h"
#include "demo_model.h"
#include "json.h"
#include "model_body.h"
#include "model_meter.h"
#include "os.h"
#include "protocols/model_list.h"
#include "protocols/trouble.h"
#include "scrub.h"
#include "config/secrets.h"
#include "usage_book.h"

namespace peacrab {
namespace {

constexpr const char* kBase = "http://127.0.0.1";  // what the guest takes the server's address to be
constexpr const char* kApiVersion = "2023-06-01";
constexpr json::Limits kBodyLimits{size_t{32} << 20, json::kModelLimits.max_depth};
constexpr Bytes kMemory = GiB(1);  // a body of 32 MiB can be opened in it; a hostile one not
constexpr size_t kMaxReturned = 32;
constexpr size_t kMaxReturnedValue = 512;

// An answer of our own instead of the server's.
struct Refusal {
    int status = 403;
    const char* type = "permission_error";
    std::string message;
    bool again = false;  // whether trying again may help
};

struct Target {
    ModelChoice choice;
    Secret key;  // empty: the sentinel goes out
};

SecretStore store_of(const ModelRouteOptions& options) {
    return options.secrets.empty() ? SecretStore() : SecretStore(options.secrets);
}

std::string variable_of(const ModelRouteOptions& options, const ModelServer& server) {
    return options.key_variable ? options.key_variable : key_variable(server);
}

// Throws Error: the text is for the host's own log.
Target find_target(const ModelRouteOptions& options) {
    Target target{choose_model_here(options), {}};
    if (target.choice.key == ModelChoice::Key::Stored) {
        auto key = store_of(options).read(key_name(target.choice.server, target.choice.url));
        if (!key) throw Error("secrets: the key was removed at this moment");
        target.key = std::move(*key);
    } else if (target.choice.key == ModelChoice::Key::Environment) {
        const std::string variable = variable_of(options, target.choice.server);
        target.key = Secret(env(variable.c_str()));
        const std::string fault = secret_fault(target.key.reveal());
        if (!fault.empty()) throw Error(variable + ": " + fault);
    }
    return target;
}

bool is_json(const ServedRequest& request) {
    std::string type = request.header("content-type").value_or("");
    type.resize(std::min(type.find(';'), type.size()));
    while (type.ends_with(' ')) type.pop_back();
    return lower(type) == "application/json";
}

bool only(std::string_view text, std::string_view more, size_t limit) {
    return !text.empty() && text.size() <= limit &&
           std::all_of(text.begin(), text.end(), [&](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      more.find(c) != std::string_view::npos;
           });
}

std::string returned_value(const std::string& value, const Scrubber& scrubber) {
    return scrubber.whole(value).substr(0, kMaxReturnedValue);
}

HeaderLines returned_headers(const HttpResult& result, const Scrubber& scrubber) {
    HeaderLines lines;
    for (const char* name :
         {"content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id"}) {
        const std::string value = result.header(name);
        if (!value.empty()) lines.emplace_back(name, returned_value(value, scrubber));
    }
    for (const auto& [name, value] : result.headers)
        if (name.starts_with("anthropic-ratelimit-") && only(name, "-", 80) &&
            lines.size() < kMaxReturned)
            lines.emplace_back(name, returned_value(value, scrubber));
    return lines;
}

// An answer that has a body and is no redirect.
bool passed_on(int status) {
    return (status >= 200 && status < 300 && status != 204 && status != 205) ||
           (status >= 400 && status < 600);
}

// What one request comes to: its guess stands in the book from before it goes out until this object goes,
// however that comes about. Only a process that is killed leaves the guess there.
class Bill {
  public:
    Bill(ModelDialect dialect, size_t sent) : meter(dialect), sent_(sent) {}
    ~Bill() {
        if (!book_) return;
        try {
            if (refused) book_->cancel(entry_);
            else book_->settle(entry_, meter.count(sent_));
        } catch (const std::exception& error) {  // the guess stays
            log(LogLevel::Error, error.what());
        }
    }
    Bill(const Bill&) = delete;
    Bill& operator=(const Bill&) = delete;

    // "" or why it may not go out. Throws Error when it cannot be written down.
    std::string begin(UsageBook& book, const std::string& agent, const json::Value& body, const ModelChoice& choice) {
        ModelCall guess;
        guess.asked = body.text("model").substr(0, 200);
        guess.free = choice.demo || choice.server.quirks.local;
        guess.usage.input_tokens = sent_ / 4;
        guess.usage.output_tokens = kMostAnswer;
        for (const char* key : {"max_tokens", "max_completion_tokens", "max_output_tokens"})
            if (const int64_t most = body.integer(key, -1); most >= 0)
                guess.usage.output_tokens = static_cast<uint64_t>(std::min<int64_t>(most, kMostAnswer));
        const std::string why = book.begin(agent, std::move(guess), entry_);
        if (why.empty()) book_ = &book;
        return why;
    }

    ModelMeter meter;
    bool refused = false;  // nobody took it, or whoever did gave no answer that is paid for

  private:
    static constexpr int64_t kMostAnswer = 65'536;
    size_t sent_;
    UsageBook* book_ = nullptr;
    UsageBook::Entry entry_;
};

class Route {
  public:
    explicit Route(const ModelRouteOptions& options)
        : options_(options), server_(options.fd, options.limits), client_(options.upstream) {
        if (!options.book.empty()) book_.emplace(options.book, options.spending);
    }
    int run();

  private:
    // False: the connection cannot be used for another request.
    bool serve(const ServedRequest& request);
    void answer_demo(const json::Value& body, size_t bytes, Bill& bill);
    bool forward(const ServedRequest& request, const json::Value& body, const Target& target, Bill& bill);
    bool conclude(const HttpResult& result, const ModelChoice& choice);
    bool refuse(const Refusal& refusal);  // always true: the connection goes on

    const ModelRouteOptions& options_;
    HttpServer server_;
    HttpClient client_;
    std::optional<UsageBook> book_;
};

bool Route::refuse(const Refusal& refusal) {
    log(LogLevel::Info, "refused (" + std::to_string(refusal.status) + "): " + refusal.message);
    server_.answer(refusal.status,
                   {{"content-type", "application/json"},
                    {"x-should-retry", refusal.again ? "true" : "false"}},
                   json::dump(error_body(refusal.type, refusal.message)));
    return true;
}

bool Route::serve(const ServedRequest& request) {
    Target target;
    try {
        target = find_target(options_);
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return refuse({502, "api_error",
                       "the host's settings for the model cannot be used; `peacrab doctor` on the "
                       "host says why"});
    }
    const std::string path = request_url(kBase, target.choice.server.dialect).substr(strlen(kBase));
    if (request.method != "POST" || request.target != path)
        return refuse({.message = "the model route passes on POST " + path + " and nothing else"});
    if (!is_json(request))
        return refuse({.message = "the model route passes on application/json and nothing else"});
    json::Value body;
    try {
        body = json::parse(request.body, kBodyLimits);
    } catch (const Error& error) {
        return refuse({400, "invalid_request_error", error.what()});
    } catch (const std::bad_alloc&) {  // millions of tiny values: see kMemory
        return refuse({413, "request_too_large", "the request holds too many values"});
    }
    const std::string fault = body_fault(target.choice.server.dialect, body);
    if (!fault.empty()) return refuse({.message = fault});
    const std::string asked = body.text("model");
    const bool allowed = std::find(options_.models.begin(), options_.models.end(), asked) !=
                         options_.models.end();
    if (target.choice.demo || !allowed) body.set("model", target.choice.model);
    // Else a server of Chat says nothing of what it counted.
    if (target.choice.server.dialect == ModelDialect::Chat && body.flag("stream"))
        body.set("stream_options", json::Value::object({{"include_usage", true}}));
    Bill bill(target.choice.server.dialect, request.body.size());
    try {
        const std::string why = book_ ? bill.begin(*book_, options_.agent, body, target.choice) : "";
        if (!why.empty()) return refuse({402, kBudgetError, why});
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return refuse({502, "api_error", "the host cannot write down what is spent, and so lets nothing be spent"});
    }
    if (target.choice.demo) return answer_demo(body, request.body.size(), bill), true;
    return forward(request, body, target, bill);
}

void Route::answer_demo(const json::Value& body, size_t bytes, Bill& bill) {
    const DemoAnswer answer = demo_answer(body, bytes);
    bill.refused = answer.status != 200;
    bill.meter.begin(answer.events.empty() ? "application/json" : "text/event-stream");
    for (const std::string& event : answer.events) bill.meter.feed(event);
    if (answer.events.empty()) bill.meter.feed(json::dump(answer.body));
    const HeaderLines id = {{"request-id", "req_demo"}};
    if (answer.events.empty()) {
        HeaderLines headers = id;
        headers.emplace_back("content-type", "application/json");
        return server_.answer(answer.status, headers, json::dump(answer.body));
    }
    HeaderLines headers = id;
    headers.emplace_back("content-type", "text/event-stream");
    server_.begin(answer.status, headers);
    for (const std::string& event : answer.events) server_.piece(event);
    server_.end();
}

// The request as it goes out: our own headers, our own writing of the body.
HttpRequest outgoing(const ServedRequest& request, const json::Value& body, const Target& target) {
    HttpRequest out;
    const ModelDialect dialect = target.choice.server.dialect;
    out.url = request_url(target.choice.url, dialect);
    out.body = json::dump(body);
    const std::string version = request.header("anthropic-version").value_or("");
    const std::string beta = request.header("anthropic-beta").value_or("");
    out.headers = {
        "content-type: application/json",
        body.flag("stream") ? "accept: text/event-stream" : "accept: application/json"};
    const std::string key = target.key.empty() ? kSentinelKey : target.key.reveal();
    if (dialect != ModelDialect::Anthropic) {
        out.headers.push_back("authorization: Bearer " + key);
        return out;
    }
    out.headers.push_back("anthropic-version: " + (only(version, "-", 32) ? version : kApiVersion));
    out.headers.push_back("x-api-key: " + key);
    if (only(beta, "-_., ", 512)) out.headers.push_back("anthropic-beta: " + beta);
    return out;
}

void wipe(HttpRequest& request) {
    for (std::string& line : request.headers) const Secret wiped(std::move(line));
}

bool Route::forward(const ServedRequest& request, const json::Value& body, const Target& target, Bill& bill) {
    if (!target.choice.note.empty()) log(LogLevel::Info, target.choice.note);
    Scrubber scrubber(target.key.reveal());
    HttpRequest out = outgoing(request, body, target);
    bool begun = false;
    // Both write to the guest and throw when it has gone; send() carries that out.
    const auto wants = [&](const HttpResult& result) {
        bill.refused = result.status / 100 != 2;
        bill.meter.begin(result.content_type);
        if (!passed_on(result.status)) return false;
        server_.begin(result.status, returned_headers(result, scrubber));
        begun = true;
        return true;
    };
    const auto sink = [&](std::string_view bytes) {
        bill.meter.feed(bytes);
        server_.piece(scrubber.feed(bytes));
    };
    if (target.choice.server.quirks.local) out.first_byte_limit = kModelLoads;
    HttpResult result = client_.send(out, wants, sink, options_.fd);
    wipe(out);
    if (result.status == 0 && result.failure == HttpResult::Failure::Unreachable) bill.refused = true;
    if (!begun) {
        result.detail = scrubber.whole(result.detail);
        return conclude(result, target.choice);
    }
    if (result.failure != HttpResult::Failure::None) {
        // No end of the answer: the guest has to see that it was cut.
        log(LogLevel::Info, "answer cut: " + result.detail);
        return false;
    }
    server_.piece(scrubber.finish());
    server_.end();
    return true;
}

// The server gave no answer that is passed on.
bool Route::conclude(const HttpResult& result, const ModelChoice& choice) {
    using Failure = HttpResult::Failure;
    const std::string host = url_host(choice.url);
    const char* mend = "; check model-url and the host's network";
    switch (result.failure) {
        case Failure::Cancelled:
            return false;
        case Failure::None:
            return refuse({502, "api_error",
                           result.status / 100 == 3
                               ? "the model's server " + host +
                                     " answers with a redirect, which is not followed with a key; "
                                     "set model-url to the address it moved to"
                               : "the model's server " + host + " answers with status " +
                                     std::to_string(result.status) + ", which means nothing here"});
        case Failure::Silent:
            return refuse({504, "timeout_error", result.detail + "; try again later", true});
        case Failure::Unknown:
            return refuse({502, "api_error", result.detail + mend});
        case Failure::Unreachable:
        case Failure::Cut:
        case Failure::TooLarge:
            break;
    }
    return refuse({502, "api_error", result.detail + mend, true});
}

int Route::run() {
    try {
        while (const auto request = server_.next())
            if (!serve(*request)) return 0;
        return 0;
    } catch (const BadRequest& bad) {
        log(LogLevel::Info, std::string("refused: ") + bad.what());
        const char* type = bad.status() == 413 ? "request_too_large" : "invalid_request_error";
        server_.answer(bad.status(),
                       {{"content-type", "application/json"}, {"x-should-retry", "false"}},
                       json::dump(error_body(type, bad.what())), HttpServer::After::Close);
        server_.hang_up();
    }
    return 1;
}

}  // namespace

ModelChoice choose_model_here(const ModelRouteOptions& options) {
    ModelChoice choice = choose_model(options.config, [&](const ModelServer& server, const std::string& url) {
        const std::string variable = variable_of(options, server);
        return KeysPresent{store_of(options).exists(key_name(server, url)),
                           !variable.empty() && !env(variable.c_str()).empty()};
    });
    if (choice.model.empty()) choice.model = first_model(choice.url, choice.server.dialect);
    return choice;
}

std::string model_job(const std::string& agent, const std::string& book) {
    return json::dump(json::Value::object({{"agent", agent}, {"book", book}}));
}

void read_model_job(const std::string& job, ModelRouteOptions& options) {
    const json::Value read = json::parse(job);
    options.agent = read.at("agent").as_string();
    options.book = read.at("book").as_string();
    if (!is_agent_name(options.agent) || options.book.empty()) throw Error("model route: no job");
}

int serve_model_route(const ModelRouteOptions& options) {
    try {
        return Route(options).run();
    } catch (const std::exception& error) {  // bad_alloc too: a request that asks for too much
        log(LogLevel::Error, error.what());
        return 1;
    }
}

int model_route_main(const ModelRouteOptions& options) {
    set_log_name("peacrab model-route");
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is larger
    const struct rlimit memory { kMemory.count, kMemory.count };
    if (setrlimit(RLIMIT_AS, &memory) != 0) {
        log(LogLevel::Error, "model route: limit the memory: refused");
        return 1;
    }
#endif
    return serve_model_route(options);
}

}  // namespace peacrab
