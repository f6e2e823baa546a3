// The asker is hostile and so is what the web has to say; the service is the person's choice. The key goes into
// one header of one request to the address of its row, over TLS, and into nothing else: not into an error either.
#include "protocols/search_api.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "error.h"
#include "web/address.h"
#include "web/characters.h"
#include "web/entities.h"

namespace peacrab {
namespace {

using Method = SearchApi::Method;

constexpr size_t kMaxQuery = 2000;
constexpr size_t kMaxTitle = 300, kMaxUrl = 2000, kMaxSnippet = 1200;
constexpr Milliseconds kAskLimit{30'000};

constexpr SearchApi kApis[] = {
#define X(name, url, header, variable, method, list, title, address, text) \
    {name, url, header, variable, Method::method, list, title, address, text},
#include "protocols/search_apis.def"
#undef X
};

std::string percent(std::string_view text) {
    return percent_encoded(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    });
}

// Services mark what was found with elements; only words go on.
std::string words(const json::Value& item, const char* key, size_t most) {
    const std::string raw = item.text(key);
    std::string text;
    for (size_t i = 0; i < raw.size(); ++i) {
        const size_t end = raw[i] == '<' ? raw.find('>', i) : std::string::npos;
        if (end != std::string::npos && end - i < 16)
            i = end;
        else
            text += raw[i];
    }
    text = clean_text(decode_entities(text));
    std::replace(text.begin(), text.end(), '\n', ' ');
    return std::string(utf8_prefix(text, most));
}

std::string read_line(int fd) {
    std::string line;
    std::array<char, 4096> bytes;
    const Deadline deadline = Deadline::in(kAskLimit);
    while (line.find('\n') == std::string::npos) {
        pollfd one{fd, POLLIN, 0};
        if (::poll(&one, 1, deadline.poll_timeout()) != 1) throw Error("search: no request came");
        const size_t n = read_some(fd, bytes).value_or(0);
        if (n == 0 || line.size() > 8 * kMaxQuery) throw Error("search: no whole request came");
        line.append(bytes.data(), n);
    }
    return line.substr(0, line.find('\n'));
}

json::Value answer_to(const std::string& line, const SearchOptions& options) {
    const json::Value asked = json::parse(line, {8 * kMaxQuery, 3});
    const std::string query = asked.text("query");
    if (query.empty() || query.size() > kMaxQuery) throw Error("the query is empty or longer than 2000 bytes");
    const int count = static_cast<int>(std::clamp<int64_t>(asked.integer("count", 8), 1, kMostResults));
    const SearchApi* const api = search_api(options.api);
    if (!api)
        throw Error("no search service is set up here. The person at the host can set one: peacrab setup --search "
                    "brave (or tavily, searxng)");
    if (*api->key_header && options.key.empty())
        throw Error(std::string("there is no key for ") + api->name +
                    ". The person at the host can set it: peacrab setup --search " + api->name);
    if (!*api->url && options.url.empty()) throw Error("search-url in the configuration says where searxng is: none is set");
    std::string body;
    HttpOptions http = options.http;
    http.response_limit = MiB(2);
    HttpClient client(http);
    const HttpResult got = client.send(
        search_request(*api, options, query, count), [](const HttpResult& result) { return result.status == 200; },
        [&body](std::string_view piece) { body += piece; });
    if (got.failure != HttpResult::Failure::None) throw Error(std::string(api->name) + ": " + got.detail);
    if (got.status == 401 || got.status == 403)
        throw Error(std::string(api->name) + " does not take the key, or not this request (status " +
                    std::to_string(got.status) + ")");
    if (got.status == 429) throw Error(std::string(api->name) + ": too many searches for now; try again later");
    if (got.status != 200) throw Error(std::string(api->name) + " answered with status " + std::to_string(got.status));
    return json::Value::object({{"ok", true}, {"results", search_results(*api, body, count)}});
}

}  // namespace

std::span<const SearchApi> search_apis() {
    return kApis;
}

const SearchApi* search_api(std::string_view name) {
    for (const SearchApi& api : kApis)
        if (name == api.name) return &api;
    return nullptr;
}

std::string search_key_name(const SearchApi& api) {
    return std::string("search-") + api.name;
}

HttpRequest search_request(const SearchApi& api, const SearchOptions& options, const std::string& query, int count) {
    HttpRequest request;
    request.url = *api.url ? api.url : options.url;
    request.headers = {"Accept: application/json"};
    if (*api.key_header) request.headers.push_back(api.key_header + options.key.reveal());
    if (api.method == Method::Post) {
        request.headers.push_back("Content-Type: application/json");
        request.body = json::dump(json::Value::object({{"query", query}, {"max_results", count}}));
        return request;
    }
    request.method = "GET";
    if (api.method == Method::GetJson) {
        while (request.url.ends_with('/')) request.url.pop_back();
        request.url += "/search";
    }
    request.url += "?q=" + percent(query) +
                   (api.method == Method::GetJson ? std::string("&format=json") : "&count=" + std::to_string(count));
    return request;
}

json::Value search_results(const SearchApi& api, const std::string& body, int count) {
    const json::Value answer = json::parse(body, {size_t{2} << 20, 24});
    const json::Value* list = &answer;
    for (const std::string& step : split(api.list, '.')) list = list ? list->find(step) : nullptr;
    json::Value results = json::Value::array();
    if (!list) return results;  // Brave leaves it out where nothing was found
    if (!list->is_array()) throw Error(std::string(api.name) + ": its answer is not what its documentation says");
    for (const json::Value& item : list->items()) {
        if (results.items().size() >= static_cast<size_t>(count)) break;
        const std::string url = words(item, api.address, kMaxUrl);
        if (!url.starts_with("http://") && !url.starts_with("https://")) continue;
        results.push(json::Value::object({{"title", words(item, api.title, kMaxTitle)},
                                          {"url", url},
                                          {"snippet", words(item, api.text, kMaxSnippet)}}));
    }
    return results;
}

void serve_search(int fd, const SearchOptions& options) {
    json::Value answer;
    try {
        answer = answer_to(read_line(fd), options);
    } catch (const std::exception& error) {
        answer = json::Value::object({{"ok", false}, {"error", std::string(error.what()).substr(0, 500)}});
    }
    const std::string line = json::dump(answer) + "\n";
    for (size_t at = 0; at < line.size();) {
        const ssize_t n = ::send(fd, line.data() + at, line.size() - at, MSG_NOSIGNAL);
        if (n <= 0) return;  // nobody is left to tell
        at += static_cast<size_t>(n);
    }
}

}  // namespace peacrab
