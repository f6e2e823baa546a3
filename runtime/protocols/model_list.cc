// A local server is a guess by its port until it has answered as one: so it is asked for its models, with
// short clocks and small bounds, and whatever else listens there is left alone.
#include "protocols/model_list.h"

#include <sys/timerfd.h>

#include "error.h"
#include "http.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kMostModels = 200;
constexpr size_t kLongestName = 200;

}  // namespace

std::vector<std::string> models_at(const std::string& base, ModelDialect dialect) {
    HttpOptions options;
    options.connect_limit = Milliseconds(200);
    options.first_byte_limit = options.idle_limit = Milliseconds(300);
    options.response_limit = options.error_body_limit = MiB(1);
    HttpRequest request;
    request.method = "GET";
    // The path of a request, its last part put into the place of "chat/completions".
    std::string url = request_url(base, dialect);
    const std::string_view tail = dialect == ModelDialect::Anthropic ? "messages"
                                  : dialect == ModelDialect::Chat    ? "chat/completions"
                                                                     : "responses";
    request.url = url.substr(0, url.size() - tail.size()) + "models";
    std::vector<std::string> names;
    // Whoever answers a byte at a time is no server of models: all of it is over after two seconds.
    const UniqueFd end(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec span{{0, 0}, {2, 0}};
    if (!end || ::timerfd_settime(end.get(), 0, &span, nullptr) < 0) return names;
    try {
        HttpClient client(options);
        std::string body;
        const HttpResult result = client.send(
            request, [](const HttpResult& head) { return head.status == 200; },
            [&body](std::string_view piece) { body += piece; }, end.get());
        if (result.failure != HttpResult::Failure::None || result.status != 200) return names;
        const json::Value list = json::parse(json::valid_utf8(body), json::kModelLimits);
        const json::Value* data = list.find("data");
        if (!data || !data->is_array()) return names;
        for (const json::Value& model : data->items()) {
            const std::string id = model.text("id");
            if (!id.empty() && id.size() <= kLongestName && names.size() < kMostModels)
                names.push_back(id);
        }
    } catch (const Error&) {
        // Something else listens there.
    }
    return names;
}

std::string first_model(const std::string& base, ModelDialect dialect) {
    const std::vector<std::string> names = models_at(base, dialect);
    return names.empty() ? "default" : names.front();
}

bool answers(const ModelServer& server) {
    return !models_at(server.base, server.dialect).empty();
}

}  // namespace peacrab
