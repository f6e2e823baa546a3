// Search services: a row each (search_apis.def), what is sent to one and what its answer holds; and the process
// that asks one, where its key is: on the host, or beside a warden without a VM.
#pragma once

#include <span>
#include <string>

#include "http.h"
#include "json.h"
#include "os.h"

namespace peacrab {

struct SearchApi {
    const char* name;
    const char* url;  // "": the person's own server, which the configuration names
    const char* key_header;
    const char* key_variable;
    enum class Method { Get, GetJson, Post } method;  // GetJson: asks for format=json
    const char* list;
    const char *title, *address, *text;
};
std::span<const SearchApi> search_apis();
const SearchApi* search_api(std::string_view name);  // null: there is none
std::string search_key_name(const SearchApi& api);   // in the store of secrets

struct SearchOptions {
    std::string api;  // "": none is set, which the answer says
    std::string url;  // of a service that has none in its row; a key never goes to another than its row's
    Secret key;
    HttpOptions http;
};

constexpr size_t kMaxSearchLine = size_t{256} << 10;
constexpr int kMostResults = 20;

HttpRequest search_request(const SearchApi& api, const SearchOptions& options, const std::string& query, int count);
// The array {title, url, snippet} of an answer; bounded, plain text. Throws Error for what is no such answer.
json::Value search_results(const SearchApi& api, const std::string& body, int count);

// One exchange on `fd`: a line {query, count} comes in, a line {ok, error, results} goes out. Never throws.
void serve_search(int fd, const SearchOptions& options);

}  // namespace peacrab
