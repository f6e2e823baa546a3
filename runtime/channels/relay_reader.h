// What `peacrab relay` keeps of webhooks, as a channel asks for it: a long poll with a place, over loopback and without
// a proxy. Its other end is tools/relay.h.
//
// Secrets: `relay`, the relay's own. Settings: `relay`, where it is ("127.0.0.1:8788"), and `hook`, the webhook's name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "http.h"

namespace peacrab {

struct RelayEntry {
    std::string key;     // the same when it was sent again
    std::string body;    // as the sender has signed it, made valid UTF-8
    int64_t at = 0;      // Unix ms
    std::string cursor;  // behind it
};

struct RelayAnswer {
    enum class Kind { Failed, Ok, Cancelled } kind = Kind::Failed;
    std::string error;  // a sentence
    std::vector<RelayEntry> entries;
};

class RelayReader {
  public:
    // `name`: of the channel, which is the webhook's as long as no setting says another. Throws Error.
    RelayReader(const json::Value& settings, const std::string& name, Secret token);

    // What is behind `cursor` ("": behind what was taken); waits for it. What is before it may go.
    RelayAnswer after(const std::string& cursor, int64_t seconds, int cancel_fd);
    // The newest that have `text` in them, taken or not. Letters, digits, - and . only.
    RelayAnswer having(const std::string& text);

  private:
    RelayAnswer ask(const std::string& query, Milliseconds limit, int cancel_fd);

    std::string url_;
    Secret token_;
    std::optional<HttpClient> client_;
};

}  // namespace peacrab
