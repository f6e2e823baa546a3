// What every connection by libcurl has in common, whatever goes over it: the way through a proxy, whom it trusts, and
// why there is none. Source: https://curl.se/libcurl/c/curl_easy_setopt.html.
#pragma once

#include <curl/curl.h>

#include <string>

#include "error.h"
#include "trust.h"
#include "types.h"

namespace peacrab {

void set_option(CURL* easy, CURLoption option, auto value) {
    if (const CURLcode code = curl_easy_setopt(easy, option, value); code != CURLE_OK)
        throw Error(std::string("curl: option: ") + curl_easy_strerror(code));
}

// The proxy that the environment names, if it is asked; its origin comes back, or "". curl itself never asks it.
std::string set_proxy(CURL* easy, bool tls, bool environment);
void set_trust(CURL* easy, const Trust& trust);  // which outlives `easy`

// After a transfer that made no connection within `limit`: why, for a person, `message` being its error buffer; of
// curl's own words only those on TLS, others may quote the proxy with its password. And whether trying again is vain.
std::string why_no_connection(CURL* easy, CURLcode code, const char* message, Milliseconds limit);
bool is_hopeless(CURL* easy, CURLcode code);

}  // namespace peacrab
