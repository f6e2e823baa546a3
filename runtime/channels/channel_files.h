// Files on the frames of README.md, for adapters of ours that speak HTTP.
#pragma once

#include <string>
#include <string_view>

#include "channels/channel_port.h"
#include "http.h"

namespace peacrab {

// multipart/form-data, RFC 7578. Its boundary is random, so that no file can have it in it.
class Multipart {
  public:
    void field(std::string_view name, std::string_view value);
    // From here on the file's bytes are put behind body(), until the next call. `name` is the field's.
    void file(std::string_view name, std::string_view file_name, std::string_view mime);
    std::string& body() { return body_; }
    std::string content_type() const;  // "Content-Type: …", a header
    std::string finish();              // all of it

  private:
    void begin(std::string_view name);
    std::string boundary_ = random_hex(16);
    std::string body_;
};

// From here on answer_fetch() has a process beside this one do it, in the jail that `confine` puts on it, so that
// nothing else waits for a download. Before this one's jail, in which there are no processes. It ends with this one.
// Throws Error.
void begin_fetcher(ChannelPort& port, void (*confine)());

// Answers a `fetch` with what a GET of `url` gives, in pieces as they come: status 200, as many bytes as are wanted,
// within the time that the warden has for it. `what` names who is asked, in sentences: "Telegram's server". The
// address is shown nowhere.
void answer_fetch(ChannelPort& port, const json::Value& fetch, const std::string& url,
                  const std::vector<std::string>& headers, const std::string& what);

}  // namespace peacrab
