#include "protocols/curl_setup.h"

#include <cstring>

#include "http.h"
#include "os.h"

namespace peacrab {
namespace {

std::string either_env(const char* small, const char* large) {
    const std::string value = env(small);
    return value.empty() ? env(large) : value;
}

long proxy_answer(CURL* easy) {
    long answer = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &answer);
    return answer;
}

}  // namespace

std::string set_proxy(CURL* easy, bool tls, bool environment) {
    std::string proxy, exceptions = "*";
    if (environment) {
        proxy = tls ? either_env("https_proxy", "HTTPS_PROXY") : either_env("http_proxy", "HTTP_PROXY");
        exceptions = either_env("no_proxy", "NO_PROXY");
    }
    // Both always set: left out, curl would look into the environment itself.
    set_option(easy, CURLOPT_PROXY, proxy.c_str());
    set_option(easy, CURLOPT_NOPROXY, exceptions.c_str());
    return proxy.empty() ? proxy : origin_of(proxy);
}

void set_trust(CURL* easy, const Trust& trust) {
    if (trust.pem.empty()) {
        set_option(easy, CURLOPT_CAINFO, trust.path.c_str());
        curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, trust.path.c_str());
        return;
    }
    curl_blob blob{const_cast<char*>(trust.pem.data()), trust.pem.size(), CURL_BLOB_NOCOPY};
    set_option(easy, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO_BLOB, &blob);
}

std::string why_no_connection(CURL* easy, CURLcode code, const char* message, Milliseconds limit) {
    long os_error = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
    if (const long answer = proxy_answer(easy); answer >= 300)
        return "the proxy refused it (" + std::to_string(answer) + ")";
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
            return "this host name is not known";
        case CURLE_COULDNT_RESOLVE_PROXY:
            return "the proxy's host name is not known";
        case CURLE_COULDNT_CONNECT:
            return os_error ? std::strerror(static_cast<int>(os_error)) : "nothing answers there";
        case CURLE_OPERATION_TIMEDOUT:
            return "no connection within " + std::to_string(limit.count() / 1000) + " s";
        case CURLE_ABORTED_BY_CALLBACK:
            return "cancelled";
        case CURLE_LOGIN_DENIED:
            return "it does not take the name or the secret";
        case CURLE_USE_SSL_FAILED:
            return "it offers no TLS there";
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
            if (message[0]) return printable(message);
            break;
        default:
            break;
    }
    return curl_easy_strerror(code);
}

bool is_hopeless(CURL* easy, CURLcode code) {
    const long answer = proxy_answer(easy);
    if (answer >= 400 && answer < 500) return true;
    switch (code) {
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_LOGIN_DENIED:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
            return true;
        default:
            return false;
    }
}

}  // namespace peacrab
