// The key is read here, at each search, and goes where its row says and nowhere else. What comes from the stream is
// the guest's and hostile; it decides the words that are looked for, and how many results, and nothing else.
#include "search_route.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "config.h"
#include "config_edit.h"
#include "dialogue.h"
#include "error.h"
#include "protocols/search_api.h"
#include "config/secrets.h"

namespace peacrab {
namespace {

constexpr int kStream = 3;
constexpr Bytes kMemory = MiB(512);

Secret asked_key() {
    if (!::isatty(STDIN_FILENO)) return read_key(STDIN_FILENO);
    return Dialogue(STDIN_FILENO, STDERR_FILENO).ask_hidden("the key (it is not shown): ");
}

int refuse(const std::string& why) {
    std::fprintf(stderr, "peacrab: setup: %s\n", printable(why).c_str());
    return 2;
}

}  // namespace

int search_route_main() {
    set_log_name("peacrab search-route");
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is larger
    const rlimit memory{kMemory.count, kMemory.count};
    if (::setrlimit(RLIMIT_AS, &memory) < 0) throw ErrnoError("search route: limit the memory");
#endif
    SearchOptions options;
    const Config config = load_config(config_file());
    options.api = config.search;
    options.url = config.search_url;
    options.http.environment = true;
    const SearchApi* const api = search_api(options.api);
    if (api && *api->key_header) {
        if (std::optional<Secret> key = SecretStore().read(search_key_name(*api)))
            options.key = std::move(*key);
        else
            options.key = Secret(env(api->key_variable));
    }
    serve_search(kStream, options);
    return 0;
}

int setup_search(const std::string& name, const std::string& url) try {
    const SearchApi* const api = search_api(name);
    if (!api) return refuse("--search: brave, tavily or searxng was expected");
    const bool own = *api->url == '\0';
    if (own && !url.starts_with("http://") && !url.starts_with("https://"))
        return refuse(name + ": its address is needed: --search-url https://HOST");
    if (!own && !url.empty()) return refuse(name + ": it has one address, and its key goes nowhere else; leave --search-url out");
    if (*api->key_header) {
        const Secret key = asked_key();
        if (const std::string fault = secret_fault(key.reveal()); !fault.empty()) return refuse("the key: " + fault);
        SecretStore().write(search_key_name(*api), key);
    }
    ConfigEdit edit(config_file());
    edit.set({"search"}, name);
    if (own)
        edit.set({"search-url"}, url);
    else
        edit.remove({"search-url"});
    (void)edit.save();
    std::fprintf(stderr, "web_search asks %s from now on\n", name.c_str());
    return 0;
} catch (const Interrupted&) {
    std::fputs("\nnothing was stored\n", stderr);
    return 130;
}

}  // namespace peacrab
