// Which webhook is genuine, and what the spool keeps of it. From outside it is attacked in ../channels/relay_test.py.
#include "relay_hooks.h"

#include <doctest/doctest.h>

#include "error.h"
#include "folder.h"
#include "os.h"
#include "relay_spool.h"

using namespace peacrab;

namespace {

const Secret kSecret("It's a Secret to Everybody");

ServedRequest request(const std::string& body, HeaderLines headers) {
    ServedRequest request;
    request.method = "POST";
    request.body = body;
    request.headers = std::move(headers);
    return request;
}

RelayConfig load(const std::string& text) {
    const test::Folder folder;
    write_file_atomic(folder.path + "/config.yaml", text, 0600);
    return load_relay(folder.path + "/config.yaml");
}

}  // namespace

TEST_CASE("relay: a signature is HMAC-SHA256 of the bytes as they came") {
    // The example of GitHub's documentation (validating webhook deliveries).
    const std::string right = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    CHECK(hmac_sha256(kSecret.reveal(), "Hello, World!") == right);
    RelayHook hook;
    hook.name = "a";
    CHECK(judge_hook(hook, kSecret, request("Hello, World!", {{"x-hub-signature-256", "sha256=" + right}}), 0).status == 200);
    CHECK(judge_hook(hook, kSecret, request("Hello, World!", {{"x-signature", right}}), 0).status == 200);
    CHECK(judge_hook(hook, kSecret, request("Hello, World?", {{"x-signature", right}}), 0).status == 401);
    CHECK(judge_hook(hook, kSecret, request("Hello, World!", {{"x-signature", ""}}), 0).status == 401);
    CHECK(judge_hook(hook, kSecret, request("Hello, World!", {}), 0).status == 401);
    CHECK(judge_hook(hook, Secret(), request("", {{"x-signature", hmac_sha256("", "")}}), 0).status == 503);
    hook.scheme = RelayHook::Scheme::WhatsApp;
    CHECK(judge_hook(hook, kSecret, request("Hello, World!", {{"x-signature", right}}), 0).status == 401);
    CHECK(HookVerdict().status == 401);
}

TEST_CASE("relay: with a timestamp that is what is signed, and it is of now") {
    RelayHook hook;
    hook.timestamp = "x-at";
    const auto judge = [&](const std::string& at, const std::string& signed_text) {
        return judge_hook(hook, kSecret, request("b", {{"x-at", at}, {"x-signature", hmac_sha256(kSecret.reveal(), signed_text)}}), 1000).status;
    };
    CHECK(judge("1000", "1000.b") == 200);
    CHECK(judge("700", "700.b") == 200);
    CHECK(judge("699", "699.b") == 401);
    CHECK(judge("1301", "1301.b") == 401);
    CHECK(judge("1000", "b") == 401);
    CHECK(judge("1000", "999.b") == 401);
    CHECK(judge("-1", "-1.b") == 401);
    CHECK(judge("99999999999999999999", "99999999999999999999.b") == 401);
}

TEST_CASE("relay: a second sending is known by its signature, or by the header that is named") {
    RelayHook hook;
    const std::string mark = hmac_sha256(kSecret.reveal(), "b");
    CHECK(judge_hook(hook, kSecret, request("b", {{"x-signature", mark}}), 0).key == mark);
    hook.delivery = "x-id";
    CHECK(judge_hook(hook, kSecret, request("b", {{"x-signature", mark}, {"x-id", "7"}}), 0).key == "id 7");
    CHECK(judge_hook(hook, kSecret, request("b", {{"x-signature", mark}}), 0).status == 400);
    CHECK(judge_hook(hook, kSecret, request("b", {{"x-signature", mark}, {"x-id", "7"}, {"x-id", "8"}}), 0).status == 400);
}

TEST_CASE("relay: a challenge is answered to who knows the token, and with letters only") {
    const std::string ask = "hub.mode=subscribe&hub.verify_token=" + verify_token(kSecret) + "&hub.challenge=";
    CHECK(answer_challenge(kSecret, ask + "aB3") == "aB3");
    CHECK(!answer_challenge(kSecret, ask + "<b>"));
    CHECK(!answer_challenge(kSecret, ask));
    CHECK(!answer_challenge(Secret(), ask + "1"));
    CHECK(!answer_challenge(kSecret, "hub.mode=subscribe&hub.challenge=1"));
}

TEST_CASE("relay: the key of the configuration") {
    CHECK(load("model: m\n").hooks.empty());
    const RelayConfig config = load("relay:\n  listen: 127.0.0.1:9\n  hooks:\n    w:\n      scheme: whatsapp\n    b:\n"
                                    "      scheme: signed\n      timestamp: X-At\n      hourly: 7\n");
    CHECK(config.listen == 9);
    CHECK(config.local == 8788);
    REQUIRE(config.hooks.size() == 2);
    CHECK(config.find("w")->hourly == 0);
    CHECK(config.find("b")->timestamp == "x-at");
    CHECK(config.find("b")->hourly == 7);
    CHECK(config.find("c") == nullptr);
    for (const char* bad : {"listen: 0.0.0.0:80", "listen: 127.0.0.1:0", "local: 127.0.0.1:99999", "x: y", "listen: 127.0.0.1:8788",
                            "hooks: [a]", "hooks:\n    a:", "hooks:\n    a:\n      scheme: none", "hooks:\n    a:\n      hourly: 3",
                            "hooks:\n    a:\n      scheme: signed\n      hourly: 9999", "hooks:\n    A:\n      scheme: signed",
                            "hooks:\n    a:\n      scheme: whatsapp\n      delivery: x"})
        CHECK_THROWS_AS((void)load("relay:\n  " + std::string(bad) + "\n"), Error);
}

TEST_CASE("relay: the spool keeps what was not taken, in order, once, within bounds") {
    const test::Folder folder;
    RelaySpool spool(folder.path + "/spool.db");
    using Added = RelaySpool::Added;
    CHECK(spool.add("a", "k1", "one", 0) == Added::New);
    CHECK(spool.add("a", "k1", "other", 0) == Added::Known);
    CHECK(spool.add("b", "k1", "of b", 0) == Added::New);
    CHECK(spool.add("a", "k2", "two", 0) == Added::New);
    CHECK(spool.after("a", 0).size() == 2);
    CHECK(spool.after("a", 0)[0].body == "one");
    const int64_t first = spool.after("a", 0)[0].seq;
    spool.take("a", first);
    spool.take("a", 99);  // which is none
    CHECK(spool.taken("a") == first);
    CHECK(spool.after("a", spool.taken("a")).size() == 1);
    CHECK(spool.having("a", "one").size() == 1);
    CHECK(spool.having("b", "one").empty());
    CHECK(spool.add("c", "1", "x", 2) == Added::New);
    CHECK(spool.add("c", "2", "x", 2) == Added::New);
    CHECK(spool.add("c", "3", "x", 2) == Added::TooMany);
    const std::string large(size_t{3} << 20, 'x');
    int kept = 0;
    while (spool.add("d", std::to_string(kept), large, 0) == Added::New) ++kept;
    CHECK(kept == 21);
    CHECK(spool.after("d", 0).size() == 1);  // a page is about a megabyte
    spool.take("d", spool.after("d", 0)[0].seq);
    CHECK(spool.add("d", "more", large, 0) == Added::New);
    const std::string id = spool.id();
    CHECK(RelaySpool(folder.path + "/spool.db").id() == id);
}
