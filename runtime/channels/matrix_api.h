// One call of Matrix's client-server API, and what its answer means for what was to be sent.
#pragma once

#include "channels/web_call.h"
#include "json.h"

namespace peacrab {

// Not ok unless the homeserver said so.
struct MatrixAnswer {
    enum class Kind {
        Failed,  // as `failure` says
        Ok,      // `result` is an object
        Auth,    // the token is not, or no more, an account's
        Cancelled,
    } kind = Kind::Failed;
    json::Value result;
    std::string code;   // M_…, of a refusal
    bool soft = false;  // of Auth: the session is still there, for who logs in with its device
    ChannelFailure failure;
    bool ok() const { return kind == Kind::Ok; }
    // Asked again it would say the same: it did so, or there is no such thing.
    bool settled() const { return ok() || (kind == Kind::Failed && (std::string_view(failure.kind) == "gone" || std::string_view(failure.kind) == "permanent")); }
};

// `status` and `body` as they came. Never throws for what is in them.
MatrixAnswer read_matrix_answer(int status, std::string_view body, std::string_view retry_after = {});

// As a part of a path, or a value in a query.
std::string in_matrix_path(std::string_view text);

class MatrixApi {
  public:
    // Throws Error when `base` is no address, or `token` can be none.
    MatrixApi(std::string base, Secret token);

    struct Options {
        Milliseconds limit{15'000};
        int cancel_fd = -1;
        std::string content_type = "application/json";
    };
    // `path` begins with a slash: below /_matrix/client/v3, or with "/_matrix/" all of it. Calls may be repeated by the
    // library: what must not be done twice carries a transaction of its own.
    MatrixAnswer call(const char* method, const std::string& path, std::string body, const Options& options);
    MatrixAnswer get(const std::string& path) { return call("GET", path, {}, {}); }
    MatrixAnswer put(const std::string& path, const json::Value& body) { return call("PUT", path, json::dump(body), {}); }
    MatrixAnswer post(const std::string& path, const json::Value& body) { return call("POST", path, json::dump(body), {}); }
    // GET, on a connection of its own.
    MatrixAnswer sync(const std::string& path, const Options& options);

    std::string url_of(const std::string& path) const;
    std::string header() const { return "Authorization: Bearer " + token_.reveal(); }

  private:
    MatrixAnswer call_on(std::optional<HttpClient>& client, const char* method, const std::string& path, std::string body,
                         const Options& options);
    std::string base_;
    Secret token_;
    std::optional<HttpClient> calls_, syncs_;
};

}  // namespace peacrab
