// Server-sent events, byte by byte: LF, CRLF, CR, BOM, comments, multi-line data, any split; linear
// in time. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "error.h"

namespace peacrab {

// The peer broke the protocol. Caught where the exchange with that peer is; nothing else that a
// callback throws may be taken for it.
class ProtocolError : public Error {
  public:
    using Error::Error;
};

class SseParser {
  public:
    // Calls `event(name, data)` for each dispatched event; name is "" when the event has none.
    // What it throws passes through feed(), and the parser is of no further use then.
    explicit SseParser(std::function<void(std::string_view name, std::string_view data)> event);
    // Throws ProtocolError when one event grows beyond 16 MiB.
    void feed(std::string_view bytes);
    // End of stream: dispatches a pending event that lacks only its blank line.
    void finish();

  private:
    std::function<void(std::string_view, std::string_view)> event_;
    std::string line_, name_, data_;
    bool has_data_ = false, after_cr_ = false, first_line_ = true;
    void grow(std::string_view part);
    void end_line();
    void dispatch();
};

}  // namespace peacrab
