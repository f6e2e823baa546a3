// The key `relay` of the configuration: which webhooks there are, and what makes one genuine.
//
//     relay:
//       listen: 127.0.0.1:8787     # where the reverse proxy or the tunnel leads, which has the TLS
//       local: 127.0.0.1:8788      # where channels ask for what has come; for nobody else
//       hooks:
//         whatsapp:                # https://…/whatsapp
//           scheme: whatsapp       # the secret is the app's own
//         builds:
//           scheme: signed         # X-Hub-Signature-256 or X-Signature: HMAC-SHA256 of the body, in hexadecimal
//           timestamp: x-timestamp # a header with Unix seconds; then "SECONDS.BODY" is what is signed
//           delivery: x-github-delivery   # a header by which a second sending is known; else by what is in it
//           hourly: 60             # as many are taken in an hour
//
// A secret is `hook-NAME` of config/secrets. Without one nothing is taken: there is no webhook without a signature.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http_server.h"

namespace peacrab {

struct RelayHook {
    enum class Scheme { Signed, WhatsApp } scheme = Scheme::Signed;
    std::string name;
    std::string timestamp, delivery;  // headers, in lower case; "": none
    int64_t hourly = 60;              // 0: as many as come
};

struct RelayConfig {
    uint16_t listen = 8787, local = 8788;  // ports of 127.0.0.1
    std::vector<RelayHook> hooks;
    const RelayHook* find(std::string_view name) const;
};

// None but the ports when there is no such file or key. Throws Error naming file and line.
RelayConfig load_relay(const std::string& path);

// What becomes of one. The default is refused.
struct HookVerdict {
    int status = 401;
    std::string why;  // for the log
    std::string key;  // of what is genuine: the same when it is sent again
};
// `now` in Unix seconds. Nothing of the body is looked at but its signature.
HookVerdict judge_hook(const RelayHook& hook, const Secret& secret, const ServedRequest& request, int64_t now);

// What WhatsApp's set-up page is told as "verify token", made of the secret, so that there is only one.
std::string verify_token(const Secret& secret);
// The answer to its challenge, a GET with this query ("hub.mode=subscribe&…"). Nothing: it is not it that asks.
std::optional<std::string> answer_challenge(const Secret& secret, std::string_view query);

std::string hmac_sha256(std::string_view key, std::string_view text);  // in hexadecimal
bool same_secret(std::string_view one, std::string_view other);        // in a time that tells nothing of where they differ

}  // namespace peacrab
