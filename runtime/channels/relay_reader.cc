// The relay is ours, but what it hands on is from the world; its answer is bounded like any other.
#include "channels/relay_reader.h"

#include <algorithm>

#include "channels/web_call.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr Bytes kMostOfAPage = MiB(24);
constexpr json::Limits kLimits{kMostOfAPage.count, 8};
constexpr const char* kWho = "the relay";

bool small_only(std::string_view text, std::string_view more) {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || more.find(c) != std::string_view::npos;
    });
}

bool is_loopback(const std::string& place) {
    constexpr std::string_view kBegin = "127.0.0.1:";
    return place.starts_with(kBegin) && place.size() > kBegin.size() && place.size() <= kBegin.size() + 5 &&
           small_only(std::string_view(place).substr(kBegin.size()), "") && place.find_first_not_of("0123456789.:") == std::string::npos;
}

RelayAnswer read(const std::string& body) {
    RelayAnswer answer;
    const json::Value page = json::parse(body, kLimits);
    const std::string spool = page.text("spool");
    for (const json::Value& item : page.at("entries").items())
        answer.entries.push_back({item.text("key"), item.text("body"), item.integer("at"), spool + ":" + std::to_string(item.integer("seq"))});
    answer.kind = RelayAnswer::Kind::Ok;
    return answer;
}

}  // namespace

RelayReader::RelayReader(const json::Value& settings, const std::string& name, Secret token) : token_(std::move(token)) {
    const std::string place = settings.text("relay", "127.0.0.1:8788"), hook = settings.text("hook", name);
    if (!is_loopback(place)) throw Error("relay: 127.0.0.1:PORT was expected, as `local` says it under `relay:`");
    if (hook.empty() || hook.size() > 24 || !small_only(hook, "-")) throw Error("hook: the name of a webhook was expected");
    if (token_.reveal().find_first_of("\r\n") != std::string::npos) throw Error("relay: its token is none");
    url_ = "http://" + place + "/" + hook + "?";
}

RelayAnswer RelayReader::after(const std::string& cursor, int64_t seconds, int cancel_fd) {
    const std::string place = cursor.empty() || !small_only(cursor, ":") ? "" : "after=" + cursor + "&";
    return ask(place + "wait=" + std::to_string(seconds), Milliseconds(seconds * 1000 + 10'000), cancel_fd);
}

RelayAnswer RelayReader::having(const std::string& text) {
    if (text.empty() || !small_only(text, "-.")) return {RelayAnswer::Kind::Ok, {}, {}};
    return ask("having=" + text, Milliseconds(10'000), -1);
}

RelayAnswer RelayReader::ask(const std::string& query, Milliseconds limit, int cancel_fd) {
    RelayAnswer answer;
    if (token_.empty()) {
        answer.error = "the relay has never run on this machine: start `peacrab relay`";
        return answer;
    }
    if (!client_) {
        HttpOptions options;  // no proxy: it is on this machine
        options.connect_limit = Milliseconds(3'000);
        options.idle_limit = Milliseconds(10'000);
        options.response_limit = kMostOfAPage;
        client_.emplace(std::move(options));
    }
    HttpRequest request;
    request.method = "GET";
    request.url = url_ + query;
    request.headers = {"Authorization: Bearer " + token_.reveal()};
    request.first_byte_limit = limit;
    const WebAnswer got = web_call(client_, request, kWho, cancel_fd);
    const Secret wiped(std::move(request.headers[0]));
    if (got.what == WebAnswer::What::Cancelled) {
        answer.kind = RelayAnswer::Kind::Cancelled;
    } else if (got.what != WebAnswer::What::Answered) {
        answer.error = "the relay cannot be reached (" + got.failure.error + "): does `peacrab relay` run?";
    } else if (got.status == 401) {
        answer.error = "the relay does not take our token: start `peacrab serve` again";
    } else if (got.status == 404) {
        answer.error = "the relay knows no webhook of this name: it has to stand under `relay:` in the configuration";
    } else if (got.status != 200) {
        answer.error = "the relay answered with status " + std::to_string(got.status);
    } else {
        try {
            return read(got.body);
        } catch (const Error&) {
            answer.error = "the relay gave an answer that cannot be read";
        }
    }
    return answer;
}

}  // namespace peacrab
